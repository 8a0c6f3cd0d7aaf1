//! `sekisho audit verify`: whether the evidence is whole.

use super::command::AuditVerify;
use super::output::{complain, print};
use super::{Exit, Failure};
use crate::audit::{self, Start, Why};

/// Says how far the chain reaches, or where it breaks.
pub fn verify(arguments: &AuditVerify) -> Result<Exit, Failure> {
    match audit::verify(&arguments.files) {
        Ok(whole) => {
            let start = match whole.start {
                Start::Beginning => "the beginning",
                Start::Middle => "the middle; an earlier file was not given",
            };
            let (lines, first, last, hash) = (whole.lines, whole.first, whole.last, whole.hash);
            print(&format!("whole: {lines} lines, {first} to {last}, from {start}; last hash {hash}\n"))?;
            Ok(Exit::Done)
        }
        Err(broken) => {
            complain(&broken.to_string());
            Ok(match broken.why {
                Why::Unreadable(_) if broken.line == 0 => Exit::Io,
                _ => Exit::Refused,
            })
        }
    }
}
