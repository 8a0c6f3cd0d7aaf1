//! `sekisho token`: what is known of a token.

use super::command::TokenShow;
use super::output::print;
use super::remote::{ask, print_json, refused};
use super::{Exit, Failure};
use crate::admin::protocol::{Ask, TokenShown, Told};
use std::fmt::Write as _;

/// Shows a token.
pub fn show(arguments: &TokenShow) -> Result<Exit, Failure> {
    match ask(&arguments.daemon, &Ask::TokenShow { serial: arguments.serial.clone() })? {
        Told::Token(token) if arguments.json => print_json(&*token),
        Told::Token(token) => {
            let mut text = String::new();
            write(&mut text, &token);
            print(&text)?;
            Ok(Exit::Done)
        }
        other => refused(other),
    }
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
