//! `sekisho user`: what is known of a user, and lifting a lock.

use super::command::{UserRelease, UserShow};
use super::output::print;
use super::remote::{ask, print_json, read_secret, refused};
use super::{Exit, Failure};
use crate::admin::protocol::{Ask, Told, UserShown};
use std::fmt::Write as _;

/// Shows a user.
pub fn show(arguments: &UserShow) -> Result<Exit, Failure> {
    match ask(&arguments.daemon, &Ask::UserShow { user: arguments.user.clone() })? {
        Told::User(user) if arguments.json => print_json(&*user),
        Told::User(user) => {
            print(&text(&user))?;
            Ok(Exit::Done)
        }
        other => refused(other),
    }
}

/// Releases a locked user.
pub fn release(arguments: &UserRelease) -> Result<Exit, Failure> {
    let password = match arguments.by.as_str() {
        "counter" => None,
        actor => Some(read_secret(&format!("confirmation password of {actor}: "))?),
    };
    let question = Ask::UserRelease { user: arguments.user.clone(), by: arguments.by.clone(), password };
    match ask(&arguments.daemon, &question)? {
        Told::Done { what } if arguments.json => print_json(&serde_json::json!({ "done": what })),
        Told::Done { what } => {
            print(&format!("{what}\n"))?;
            Ok(Exit::Done)
        }
        other => refused(other),
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
