//! `sekisho explain` and `sekisho why`: what would be asked, and what was.

use super::command::{Explain, Why};
use super::output::print;
use super::remote::{ended, look, print_json};
use super::{Exit, Failure};
use crate::admin::protocol::{Ask, Told};
use std::fmt::Write as _;

/// Says step by step what a user would be asked and why.
pub fn explain(arguments: &Explain) -> Result<Exit, Failure> {
    let question = Ask::Explain {
        user: arguments.user.clone(),
        client: arguments.client.clone(),
        operation: arguments.operation.clone(),
    };
    match look(&arguments.looking, question)? {
        Told::Explained(steps) if arguments.looking.json => print_json(&steps),
        Told::Explained(steps) => {
            let mut text = String::new();
            for (at, step) in steps.iter().enumerate() {
                // Writing to a String cannot fail.
                let _ = writeln!(
                    text,
                    "{:>2}. {:<12} {}\n    {:<12} → {}",
                    at.saturating_add(1),
                    step.looks_at,
                    step.finds,
                    "",
                    step.follows
                );
            }
            print(&text)?;
            Ok(Exit::Done)
        }
        other => ended(other, arguments.looking.json),
    }
}

/// Says what became of a request.
pub fn why(arguments: &Why) -> Result<Exit, Failure> {
    match look(&arguments.looking, Ask::Why { request: arguments.request.clone() })? {
        Told::Why(lines) if arguments.looking.json => print_json(&lines),
        Told::Why(lines) => {
            let mut text = String::new();
            for line in &lines {
                let word =
                    |key: &str| line.get(key).and_then(|value| value.as_str()).unwrap_or("-").to_owned();
                let _ = writeln!(
                    text,
                    "{} {}: {} {}",
                    word("time"),
                    word("event"),
                    word("outcome"),
                    word("reason")
                );
                for (key, value) in line.as_object().into_iter().flatten() {
                    if !["time", "event", "outcome", "reason", "prev", "request"].contains(&key.as_str()) {
                        let _ = writeln!(
                            text,
                            "  {key:<16} {}",
                            value.as_str().map_or(value.to_string(), str::to_owned)
                        );
                    }
                }
            }
            print(&text)?;
            Ok(Exit::Done)
        }
        other => ended(other, arguments.looking.json),
    }
}
