//! `sekisho serve`.

use super::command::Serve;
use super::{Exit, Failure};

/// Not built yet.
pub fn run(_arguments: &Serve) -> Result<Exit, Failure> {
    Err(Failure::Unavailable("not built yet".to_owned()))
}
