//! `sekisho audit verify`.

use super::command::AuditVerify;
use super::{Exit, Failure};

/// Not built yet.
pub fn verify(_arguments: &AuditVerify) -> Result<Exit, Failure> {
    Err(Failure::Unavailable("not built yet".to_owned()))
}
