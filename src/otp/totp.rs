//! TOTP (RFC 6238): the step that a time belongs to.

use super::{Period, Step};
use crate::clock::Wall;

/// The number of whole periods since 1970-01-01T00:00:00Z (RFC 6238 §4.2, T0 = 0).
pub fn step_at(now: Wall, period: Period) -> Step {
    Step(now.seconds() / period.seconds())
}
