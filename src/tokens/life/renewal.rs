//! When a token may be renewed, and until when it is valid then (S-24).

use super::Refusal;
use crate::clock::Wall;
use std::time::Duration;

/// The new end of a token that ended, or ends, at `ends`. Before its end the time that is left is not lost; after it
/// the new time begins now.
///
/// # Errors
/// A token without an end, a service whose tokens have none, or a renewal before its time.
pub fn renewed_end(
    ends: Option<Wall>,
    lifetime: Option<Duration>,
    renewal_from: Duration,
    now: Wall,
) -> Result<Wall, Refusal> {
    let (Some(ends), Some(lifetime)) = (ends, lifetime) else { return Err(Refusal::NoEnd) };
    if now.plus(renewal_from) < ends {
        return Err(Refusal::TooEarly);
    }
    Ok(ends.max(now).plus(lifetime))
}
