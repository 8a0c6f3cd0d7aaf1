//! What commands that speak to the running daemon have in common: its socket, its answer, a secret from standard input.

use super::command::Daemon;
use super::output::{complain, print};
use super::{Exit, Failure};
use crate::admin::client;
use crate::admin::protocol::{Ask, Password, Told};
use crate::config::{self, Inputs};
use std::io::{BufRead as _, IsTerminal as _};
use std::path::PathBuf;

/// Asks the daemon that the arguments name.
///
/// # Errors
/// If there is no daemon, no answer, or no configuration that names its socket.
pub fn ask(daemon: &Daemon, question: &Ask) -> Result<Told, Failure> {
    let socket = match &daemon.socket {
        Some(socket) => socket.clone(),
        None => configured_socket(daemon)?,
    };
    client::ask(&socket, question).map_err(|error| match error {
        client::Error::NotRunning { error: ref cause, .. }
            if cause.kind() == std::io::ErrorKind::PermissionDenied =>
        {
            Failure::NotAllowed(format!("{error}; only the daemon's own user and root may"))
        }
        other => Failure::Unavailable(other.to_string()),
    })
}

fn configured_socket(daemon: &Daemon) -> Result<PathBuf, Failure> {
    config::admin_socket(&Inputs::of_process(&daemon.config)).ok_or_else(|| {
        Failure::Configuration(format!(
            "{} cannot be read, see `sekisho check`; or name the socket with --socket",
            daemon.config.display()
        ))
    })
}

/// The exit code of an answer that is not what was asked for.
///
/// # Errors
/// None; it has the shape of every command's end.
pub fn refused(told: Told) -> Result<Exit, Failure> {
    match told {
        Told::Refused { why } => {
            complain(&why);
            Ok(Exit::Refused)
        }
        Told::NotAllowed { why } => Err(Failure::NotAllowed(why)),
        _ => Err(Failure::Unavailable(
            "the daemon answered something else; are both of the same version?".into(),
        )),
    }
}

/// Prints one JSON object.
///
/// # Errors
/// If standard output cannot be written.
pub fn print_json(value: &impl serde::Serialize) -> Result<Exit, Failure> {
    let text = serde_json::to_string(value).map_err(|error| Failure::Io("JSON".into(), error.into()))?;
    print(&format!("{text}\n"))?;
    Ok(Exit::Done)
}

/// Reads one line from standard input, without echo on a terminal.
///
/// # Errors
/// If there is no line.
pub fn read_secret(prompt: &str) -> Result<Password, Failure> {
    let failed = |error| Failure::Io("standard input".to_owned(), error);
    if std::io::stdin().is_terminal() {
        return rpassword::prompt_password(prompt).map(Password).map_err(failed);
    }
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(failed)?;
    let length = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(length);
    Ok(Password(line))
}
