//! `sekisho user`: what is known of users, lifting a lock, the choice for login.

use super::command::{Choice, UserAdd, UserList, UserLoginCode, UserRelease, UserRemove, UserShow};
use super::output::print;
use super::remote::{act, ended, look, print_json, read_line, read_proof, read_secret};
use super::{Exit, Failure};
use crate::admin::protocol::{Added, Ask, LoginChoice, PAGE_MAX, Told, UserShown};
use crate::policy::Act;
use std::fmt::Write as _;

/// Lists users.
pub fn list(arguments: &UserList) -> Result<Exit, Failure> {
    let mut all: Vec<UserShown> = Vec::new();
    let mut after = None;
    loop {
        let question = Ask::UserList {
            contract: arguments.contract.clone(),
            locked: arguments.locked,
            after,
            limit: Some(PAGE_MAX),
        };
        match look(&arguments.looking, question)? {
            Told::Users { users, next } => {
                all.extend(users);
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
    let line = |user: &UserShown| {
        let contract = user.contract.as_deref().unwrap_or("-");
        let tokens: Vec<String> =
            user.tokens.iter().map(|token| format!("{} {}", token.serial, token.state)).collect();
        format!(
            "{:<20} {:<8} {:<16} {:<16} {}\n",
            user.user,
            user.role,
            contract,
            user.lock,
            tokens.join(", ")
        )
    };
    print(&all.iter().map(line).collect::<String>())?;
    Ok(Exit::Done)
}

/// Shows a user.
pub fn show(arguments: &UserShow) -> Result<Exit, Failure> {
    match look(&arguments.looking, Ask::UserShow { user: arguments.user.clone() })? {
        Told::User(user) if arguments.looking.json => print_json(&*user),
        Told::User(user) => {
            print(&text(&user))?;
            Ok(Exit::Done)
        }
        other => ended(other, arguments.looking.json),
    }
}

/// Releases a locked user.
pub fn release(arguments: &UserRelease) -> Result<Exit, Failure> {
    let acting = &arguments.acting;
    let password = match arguments.by.as_deref() {
        None => read_proof(acting, Act::Release)?.password,
        Some("counter") => None,
        Some(actor) if actor.starts_with("counter:") => None,
        Some(actor) => Some(read_secret(acting, &format!("confirmation password of {actor}"))?),
    };
    let question = Ask::UserRelease { user: arguments.user.clone(), by: arguments.by.clone(), password };
    act(acting, question)
}

/// Sets a user's choice for login.
pub fn login_code(arguments: &UserLoginCode) -> Result<Exit, Failure> {
    let proof = read_proof(&arguments.acting, Act::LoginCode)?;
    let (user, choice) = (arguments.user.clone(), arguments.choice.into());
    act(&arguments.acting, Ask::UserLoginCode { user, choice, proof })
}

/// Adds a user to the embedded directory.
pub fn add(arguments: &UserAdd) -> Result<Exit, Failure> {
    let UserAdd { user, contract, role, mail, acting } = arguments;
    // Looked at in a dry run too: it is the password of nobody yet.
    let password = read_line(&format!("password of {user}"))?;
    let (user, contract, role, mail) = (user.clone(), contract.clone(), role.clone(), mail.clone());
    act(acting, Ask::UserAdd(Added { user, password, contract, role, mail }))
}

/// Removes one.
pub fn remove(arguments: &UserRemove) -> Result<Exit, Failure> {
    act(&arguments.acting, Ask::UserRemove { user: arguments.user.clone() })
}

impl From<Choice> for LoginChoice {
    fn from(choice: Choice) -> LoginChoice {
        match choice {
            Choice::Required => LoginChoice::Required,
            Choice::NotRequired => LoginChoice::NotRequired,
        }
    }
}

fn text(user: &UserShown) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{} ({})", user.user, user.dn);
    let _ = writeln!(text, "entry         {}", user.entry);
    let _ = writeln!(text, "contract      {}", user.contract.as_deref().unwrap_or("-"));
    let _ = writeln!(text, "role          {}", user.role);
    let _ = writeln!(text, "lock          {} ({} failures in a row)", user.lock, user.failures);
    if let Some(choice) = &user.login_code {
        let _ = writeln!(text, "code at login {choice}");
    }
    if let Some(account) = &user.account {
        let _ = writeln!(text, "account       {account}");
    }
    if let Some(count) = user.tokens_too_many {
        let _ = writeln!(text, "tokens        {count}: more than one request may try; remove all but 8");
    }
    for token in &user.tokens {
        super::token::write(&mut text, token);
    }
    text
}
