//! What commands that speak to the running daemon have in common: its socket, its answer, secrets from standard input.

use super::command::{Acting, Daemon, Looking};
use super::output::{complain, print};
use super::{Exit, Failure};
use crate::admin::client;
use crate::admin::protocol::{Ask, Mode, Password, Proof, Question, Refused, Told};
use crate::config::{self, Inputs};
use crate::policy::{self, Act, ActorRole};
use serde_json::json;
use std::io::{BufRead as _, IsTerminal as _, Read as _};
use std::path::PathBuf;

/// The longest secret that is read, in octets.
const SECRET_OCTETS_MAX: u64 = 1024;

/// Asks the daemon that the arguments name.
///
/// # Errors
/// If there is no daemon, no answer, or no configuration that names its socket.
pub fn ask(daemon: &Daemon, question: &Question) -> Result<Told, Failure> {
    let socket = match &daemon.socket {
        Some(socket) => socket.clone(),
        None => configured_socket(daemon)?,
    };
    client::ask(&socket, question).map_err(|error| match error {
        client::Error::NotRunning { error: ref cause, .. }
            if cause.kind() == std::io::ErrorKind::PermissionDenied =>
        {
            Failure::NotAllowed(format!(
                "{error}; only the daemon's own user, root and the members of admin.socket-group may"
            ))
        }
        other => Failure::Unavailable(other.to_string()),
    })
}

/// Asks for something to look at.
///
/// # Errors
/// See [`ask`].
pub fn look(looking: &Looking, ask_for: Ask) -> Result<Told, Failure> {
    ask(&looking.daemon, &Question { ask: ask_for, actor: looking.actor.clone(), mode: Mode::Do })
}

/// Asks for an act, and says what came of it.
///
/// # Errors
/// See [`ask`].
pub fn act(acting: &Acting, ask_for: Ask) -> Result<Exit, Failure> {
    let mode = if acting.dry_run { Mode::DryRun } else { Mode::Do };
    let question = Question { ask: ask_for, actor: acting.actor.clone(), mode };
    say(ask(&acting.daemon, &question)?, acting.json)
}

/// Says what came of an act.
fn say(told: Told, json: bool) -> Result<Exit, Failure> {
    match told {
        Told::Done { what, serial } if json => print_json(&json!({ "done": what, "serial": serial })),
        Told::Done { what, .. } => said(&what),
        Told::WouldDo { what } if json => print_json(&json!({ "would": what })),
        Told::WouldDo { what } => said(&format!("would {what}")),
        Told::Pending(request) if json => print_json(&json!({ "pending": *request })),
        Told::Pending(request) => said(&format!(
            "request {} waits for a second person until {}: {} (digest {})",
            request.id, request.until, request.what, request.digest
        )),
        Told::Issued(issued) if json => print_json(&*issued),
        Told::Issued(issued) => said(super::token::issued_text(&issued).trim_end()),
        other => ended(other, json),
    }
}

fn said(line: &str) -> Result<Exit, Failure> {
    print(&format!("{line}\n"))?;
    Ok(Exit::Done)
}

fn configured_socket(daemon: &Daemon) -> Result<PathBuf, Failure> {
    config::admin_socket(&Inputs::of_process(&daemon.config)).ok_or_else(|| {
        Failure::Configuration(format!(
            "{} cannot be read, see `sekisho check`; or name the socket with --socket",
            daemon.config.display()
        ))
    })
}

/// The end of a command whose answer is not what was asked for: the reason on standard error, and as JSON if that was
/// asked for.
///
/// # Errors
/// [`Failure::NotAllowed`]; and [`Failure::Unavailable`] for an answer that fits nothing.
pub fn ended(told: Told, json: bool) -> Result<Exit, Failure> {
    if let (Told::Refused(refused) | Told::NotAllowed(refused), true) = (&told, json) {
        print_json(&json!({ "refused": refused }))?;
    }
    match told {
        Told::Refused(Refused { why, .. }) => {
            complain(&why);
            Ok(Exit::Refused)
        }
        Told::NotAllowed(Refused { why, .. }) => Err(Failure::NotAllowed(why)),
        _ => Err(Failure::Unavailable(
            "the daemon answered something else; are both of the same version?".into(),
        )),
    }
}

/// Prints one JSON value.
///
/// # Errors
/// If standard output cannot be written.
pub fn print_json(value: &impl serde::Serialize) -> Result<Exit, Failure> {
    let text = serde_json::to_string(value).map_err(|error| Failure::Io("JSON".into(), error.into()))?;
    print(&format!("{text}\n"))?;
    Ok(Exit::Done)
}

/// Reads one line from standard input, without echo on a terminal; nothing where nothing is to happen.
///
/// # Errors
/// If the line is no text, or longer than any secret.
pub fn read_secret(acting: &Acting, prompt: &str) -> Result<Password, Failure> {
    if acting.dry_run { Ok(Password(String::new())) } else { read_line(prompt) }
}

/// Reads one line from standard input, without echo on a terminal.
///
/// # Errors
/// If the line is no text, or longer than any secret.
pub fn read_line(prompt: &str) -> Result<Password, Failure> {
    let failed = |error| Failure::Io("standard input".to_owned(), error);
    if std::io::stdin().is_terminal() {
        return rpassword::prompt_password(format!("{prompt}: ")).map(Password).map_err(failed);
    }
    let mut line = zeroize::Zeroizing::new(Vec::with_capacity(256));
    let mut input = std::io::stdin().lock();
    input.by_ref().take(SECRET_OCTETS_MAX).read_until(b'\n', &mut line).map_err(failed)?;
    if line.last() != Some(&b'\n') && line.len() as u64 == SECRET_OCTETS_MAX {
        return Err(Failure::Usage(format!("{prompt}: a line has at most {SECRET_OCTETS_MAX} octets")));
    }
    while line.last().is_some_and(|octet| matches!(octet, b'\n' | b'\r')) {
        line.pop();
    }
    let text = std::str::from_utf8(&line)
        .map_err(|_| Failure::Usage(format!("{prompt}: the line on standard input is not UTF-8")))?;
    Ok(Password(text.to_owned()))
}

/// Reads what the actor has to prove for an act, in the order code, confirmation password.
///
/// # Errors
/// See [`read_secret`].
pub fn read_proof(acting: &Acting, act: Act) -> Result<Proof, Failure> {
    let (role, name) = match acting.actor.as_deref().map(|actor| actor.split_once(':').unwrap_or((actor, "")))
    {
        Some((role, name)) => (ActorRole::parse(role), name),
        None => (None, ""),
    };
    let (code, password) = match role.map(|role| act.proof(role)) {
        None | Some(policy::Proof::Nothing) => (false, false),
        Some(policy::Proof::Password) => (false, true),
        Some(policy::Proof::Code) => (true, false),
        Some(policy::Proof::CodeAndPassword) => (true, true),
    };
    let mut proof = Proof::default();
    if code && !acting.dry_run {
        proof.code = Some(read_line(&format!("code of {name}"))?);
    }
    if password && !acting.dry_run {
        proof.password = Some(read_line(&format!("confirmation password of {name}"))?);
    }
    Ok(proof)
}
