//! `sekisho demo`.

use super::command::Demo;
use super::{Exit, Failure};

/// Not built yet.
pub fn run(_arguments: &Demo) -> Result<Exit, Failure> {
    Err(Failure::Unavailable("not built yet".to_owned()))
}
