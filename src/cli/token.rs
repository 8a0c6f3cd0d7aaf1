//! `sekisho token`: the life of a token.

use super::command::{
    TokenAct, TokenConfirm, TokenExchange, TokenIssue, TokenList, TokenRegister, TokenSetup, TokenShow,
    TokenStop,
};
use super::output::print;
use super::remote::{act, ask, ended, look, print_json, read_line, read_proof, read_secret};
use super::{Exit, Failure};
use crate::admin::protocol::{
    Ask, IssuedShown, MailShown, PAGE_MAX, Proof, Question, SetUpShown, TokenShown, Told,
};
use crate::policy::Act;
use std::fmt::Write as _;
use std::io::IsTerminal as _;

/// Lists tokens.
pub fn list(arguments: &TokenList) -> Result<Exit, Failure> {
    let mut all: Vec<TokenShown> = Vec::new();
    let mut after = None;
    loop {
        let (user, state) = (arguments.user.clone(), arguments.state.clone());
        let question = Ask::TokenList { user, state, after, limit: Some(PAGE_MAX) };
        match look(&arguments.looking, question)? {
            Told::Tokens { tokens, next } => {
                all.extend(tokens);
                after = next;
            }
            other => return ended(other, arguments.looking.json),
        }
        if after.is_none() {
            break;
        }
    }
    if arguments.looking.json {
        return print_json(&all);
    }
    let line = |token: &TokenShown| {
        let (user, contract) =
            (token.user.as_deref().unwrap_or("-"), token.contract.as_deref().unwrap_or("-"));
        let period = token.period.map_or("by counter".to_owned(), |period| format!("{period} s"));
        format!(
            "{:<20} {:<10} {user:<20} {contract:<16} {} digits, {period}\n",
            token.serial, token.state, token.digits
        )
    };
    print(&all.iter().map(line).collect::<String>())?;
    Ok(Exit::Done)
}

/// Shows a token.
pub fn show(arguments: &TokenShow) -> Result<Exit, Failure> {
    match look(&arguments.looking, Ask::TokenShow { serial: arguments.serial.clone() })? {
        Told::Token(token) if arguments.looking.json => print_json(&*token),
        Told::Token(token) => {
            let mut text = String::new();
            write(&mut text, &token);
            print(&text)?;
            Ok(Exit::Done)
        }
        other => ended(other, arguments.looking.json),
    }
}

/// Promises a user a token.
pub fn issue(arguments: &TokenIssue) -> Result<Exit, Failure> {
    let acting = &arguments.acting;
    let start_password = match &arguments.existing {
        Some(_) => None,
        None if acting.dry_run => None,
        None => Some(read_secret(acting, "start password")?),
    };
    let proof = read_proof(acting, Act::Issue)?;
    let (user, mail, existing) = (arguments.user.clone(), arguments.mail.clone(), arguments.existing.clone());
    act(acting, Ask::TokenIssue { user, mail, start_password, existing, proof })
}

/// Fetches the key of an issued token.
pub fn setup(arguments: &TokenSetup) -> Result<Exit, Failure> {
    let question = Ask::TokenSetup {
        service_id: arguments.service_id.clone(),
        user_id: arguments.user_id.clone(),
        start_password: read_line("start password")?,
    };
    match ask(&arguments.daemon, &Question::from(question))? {
        Told::SetUp(shown) if arguments.json => print_json(&*shown),
        Told::SetUp(shown) => {
            print(&set_up_text(&shown))?;
            Ok(Exit::Done)
        }
        other => ended(other, arguments.json),
    }
}

/// Puts a token into service by its first correct code.
pub fn confirm(arguments: &TokenConfirm) -> Result<Exit, Failure> {
    let code = read_secret(&arguments.acting, "code")?;
    act(&arguments.acting, Ask::TokenConfirm { user: arguments.user.clone(), code })
}

/// Gives a user a token of the inventory.
pub fn register(arguments: &TokenRegister) -> Result<Exit, Failure> {
    let code = read_secret(&arguments.acting, "code")?;
    let password = read_secret(&arguments.acting, "confirmation password")?;
    let (user, serial) = (arguments.user.clone(), arguments.serial.clone());
    let login_code = arguments.login_code.map(Into::into);
    act(&arguments.acting, Ask::TokenRegister { user, serial, code, password, login_code })
}

/// Moves a user to another token, or takes that back.
pub fn exchange(arguments: &TokenExchange) -> Result<Exit, Failure> {
    let (acting, user) = (&arguments.acting, arguments.user.clone());
    let Some(serial) = arguments.serial.clone() else {
        let proof = read_proof(acting, Act::UndoExchange)?;
        return act(acting, Ask::TokenExchangeUndo { user, proof });
    };
    let old_code = read_secret(acting, "code of the old token")?;
    let new_code = read_secret(acting, "code of the new token")?;
    act(acting, Ask::TokenExchange { user, serial, old_code, new_code })
}

/// Ends a token.
pub fn revoke(arguments: &TokenAct) -> Result<Exit, Failure> {
    proven(arguments, Act::Revoke, |serial, proof| Ask::TokenRevoke { serial, proof })
}

/// Stops a token for a time.
pub fn suspend(arguments: &TokenAct) -> Result<Exit, Failure> {
    proven(arguments, Act::Suspend, |serial, proof| Ask::TokenSuspend { serial, proof })
}

/// Lets a suspended token go on.
pub fn resume(arguments: &TokenAct) -> Result<Exit, Failure> {
    proven(arguments, Act::Resume, |serial, proof| Ask::TokenResume { serial, proof })
}

/// Gives a token a new expiry date.
pub fn renew(arguments: &TokenAct) -> Result<Exit, Failure> {
    proven(arguments, Act::Renew, |serial, proof| Ask::TokenRenew { serial, proof })
}

/// Ends a user's use of one-time passwords.
pub fn stop(arguments: &TokenStop) -> Result<Exit, Failure> {
    let proof = read_proof(&arguments.acting, Act::Stop)?;
    act(&arguments.acting, Ask::TokenStop { user: arguments.user.clone(), proof })
}

/// Learns a token's clock anew.
pub fn resync(arguments: &TokenAct) -> Result<Exit, Failure> {
    let first = read_secret(&arguments.acting, "a code")?;
    let second = read_secret(&arguments.acting, "the code after it")?;
    act(&arguments.acting, Ask::TokenResync { serial: arguments.serial.clone(), first, second })
}

fn proven(
    arguments: &TokenAct,
    what: Act,
    question: impl FnOnce(String, Proof) -> Ask,
) -> Result<Exit, Failure> {
    let proof = read_proof(&arguments.acting, what)?;
    act(&arguments.acting, question(arguments.serial.clone(), proof))
}

/// What was issued, for people.
pub fn issued_text(issued: &IssuedShown) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "serial        {}", issued.serial);
    let _ = writeln!(text, "service id    {}", issued.service_id);
    let _ = writeln!(text, "user id       {}", issued.user_id);
    let _ = writeln!(text, "set up until  {}", issued.until);
    let _ = match &issued.mail {
        MailShown::NoAddress => writeln!(text, "mail          none: nobody gave an address"),
        MailShown::Sent { to } => writeln!(text, "mail          sent to {to}"),
        MailShown::NotSent { to, why } => writeln!(text, "mail          not sent to {to}: {why}"),
        MailShown::WouldHaveBeen { to, subject, text: letter } => writeln!(
            text,
            "mail          there is no [mail]; this would have been sent to {to}:\n\n{subject}\n\n{letter}"
        ),
    };
    text
}

/// A key, for people: once as a QR code where somebody looks, and as text.
fn set_up_text(shown: &SetUpShown) -> String {
    let mut text = String::new();
    if std::io::stdout().is_terminal()
        && let Ok(code) = qrcode::QrCode::new(shown.otpauth.0.as_bytes())
    {
        let drawn = code.render::<qrcode::render::unicode::Dense1x2>().quiet_zone(true).build();
        let _ = writeln!(text, "{drawn}");
    }
    let _ = writeln!(text, "serial        {}", shown.serial);
    let _ = writeln!(text, "key           {}", shown.key.0);
    let _ = writeln!(
        text,
        "codes         {}, {} digits, every {} s",
        shown.algorithm, shown.digits, shown.period
    );
    if let Some(ends) = &shown.ends {
        let _ = writeln!(text, "valid until   {ends}");
    }
    let _ = writeln!(text, "{}", shown.otpauth.0);
    text
}

/// Writes one token for people.
pub fn write(text: &mut String, token: &TokenShown) {
    let moving = token.period.map_or("by counter".to_owned(), |period| format!("every {period} s"));
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "token         {}: {} ({} {}, {} digits {moving})",
        token.serial, token.state, token.kind, token.algorithm, token.digits
    );
    if let Some(user) = &token.user {
        let contract = token.contract.as_deref().map(|contract| format!(" of contract {contract}"));
        let _ = writeln!(text, "  user        {user}{}", contract.unwrap_or_default());
    }
    if let Some(ends) = &token.ends {
        let _ = writeln!(text, "  valid until {ends}");
    }
    if let Some(opens) = &token.opens {
        let _ = writeln!(text, "  a new one   from {opens} on");
    }
    if let Some(defect) = &token.defect {
        let _ = writeln!(text, "  defect      {defect}");
    }
    let last = token.last_step.map_or("none".to_owned(), |step| step.to_string());
    let _ = writeln!(
        text,
        "  last step   {last}, drift {} steps, {} failures in a row",
        token.drift_steps, token.failures
    );
}
