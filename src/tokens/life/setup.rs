//! What one try at a setup does: right hands the key out, wrong is counted, and too many end it (S-14).

use super::Refusal;
use crate::clock::Wall;
use crate::tokens::Setup;

/// Wrong start passwords that end a setup: 4 digits have 10,000 values, so five tries guess one in two thousand.
pub const TRIES_MAX: u16 = 5;

/// What a try leaves behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tried {
    /// The start password is right: the setup is over and the key goes out.
    Right,
    /// It is wrong: this is what is kept; `None` when the setup has ended with it.
    Wrong(Option<Setup>),
}

/// Judges one try.
///
/// # Errors
/// The setup is too old, or has ended.
pub fn try_setup(setup: &Setup, right: bool, now: Wall) -> Result<Tried, Refusal> {
    if setup.until <= now || setup.failures >= TRIES_MAX {
        return Err(Refusal::NoSetup);
    }
    if right {
        return Ok(Tried::Right);
    }
    let failures = setup.failures.saturating_add(1);
    Ok(Tried::Wrong((failures < TRIES_MAX).then(|| Setup { failures, ..setup.clone() })))
}
