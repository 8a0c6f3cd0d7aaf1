//! `sekisho request`: what waits for a second person.

use super::command::{RequestAct, RequestList};
use super::output::print;
use super::remote::{act, ended, look, print_json};
use super::{Exit, Failure};
use crate::admin::protocol::{Ask, Told};
use std::fmt::Write as _;

/// Lists requests.
pub fn list(arguments: &RequestList) -> Result<Exit, Failure> {
    match look(&arguments.looking, Ask::RequestList { all: arguments.all })? {
        Told::Requests(requests) if arguments.looking.json => print_json(&requests),
        Told::Requests(requests) => {
            let mut text = String::new();
            for request in &requests {
                let by = request.decided_by.as_deref().map(|by| format!(" by {by}")).unwrap_or_default();
                // Writing to a String cannot fail.
                let _ = writeln!(
                    text,
                    "{:<6} {}{by}: {}\n       asked by {} at {}, until {}, digest {}",
                    request.id,
                    request.state,
                    request.what,
                    request.asked_by,
                    request.asked,
                    request.until,
                    request.digest
                );
            }
            print(&text)?;
            Ok(Exit::Done)
        }
        other => ended(other, arguments.looking.json),
    }
}

/// Lets it happen.
pub fn approve(arguments: &RequestAct) -> Result<Exit, Failure> {
    act(&arguments.acting, Ask::RequestApprove { id: arguments.id.clone() })
}

/// Does not let it happen.
pub fn deny(arguments: &RequestAct) -> Result<Exit, Failure> {
    act(&arguments.acting, Ask::RequestDeny { id: arguments.id.clone() })
}
