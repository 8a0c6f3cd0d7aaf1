//! `sekisho token`.

use super::command::TokenShow;
use super::{Exit, Failure};

/// Not built yet.
pub fn show(_arguments: &TokenShow) -> Result<Exit, Failure> {
    Err(Failure::Unavailable("not built yet".to_owned()))
}
