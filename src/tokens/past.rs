//! What is remembered of a token's use, as the judgement sees it.

use crate::otp::{Drift, Step};

/// Failures in a row, over all locks and releases, after which a token is disabled until it is bound anew
/// (NIST SP 800-63B-4 §3.2.2).
pub const FAILURES_DISABLE: u16 = 100;

/// What is remembered of one token, as a copy for the judgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Past {
    /// The last accepted step or counter.
    pub last: Option<Step>,
    /// The drift learned so far.
    pub drift: Drift,
    /// Failures in a row.
    pub failures: u16,
}

impl Past {
    /// Whether the token is disabled until it is bound anew.
    pub fn is_disabled(&self) -> bool {
        self.failures >= FAILURES_DISABLE
    }
}
