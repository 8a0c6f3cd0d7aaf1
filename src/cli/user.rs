//! `sekisho user`.

use super::command::{UserRelease, UserShow};
use super::{Exit, Failure};

/// Not built yet.
pub fn show(_arguments: &UserShow) -> Result<Exit, Failure> {
    Err(Failure::Unavailable("not built yet".to_owned()))
}

/// Not built yet.
pub fn release(_arguments: &UserRelease) -> Result<Exit, Failure> {
    Err(Failure::Unavailable("not built yet".to_owned()))
}
