//! `sekisho status`.

use super::command::Status;
use super::{Exit, Failure};

/// Not built yet.
pub fn run(_arguments: &Status) -> Result<Exit, Failure> {
    Err(Failure::Unavailable("not built yet".to_owned()))
}
