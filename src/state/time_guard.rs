//! The time guard: notices when the wall clock jumps, and keeps codes from being judged by a clock that may be wrong.
//!
//! ```text
//!            jump beyond the bound
//!  trusted ──────────────────────────▶ guarded ── back within the bound, or the new time has held for a while ──┐
//!     ▲                                                                                                         │
//!     └─────────────────────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! A clock that runs ahead would move each accepted step into the future and lock its user out once the clock is
//! right again; a clock that runs behind would only find used steps. In both cases another node should answer.

use crate::clock::{Moment, Mono, Wall};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

/// The largest difference between the wall clock's way and the monotonic clock's way that is taken as correction by a
/// time service rather than as a jump.
pub const BOUND: Duration = Duration::from_secs(30);

/// How long a new time must hold before it is believed without anybody confirming it.
pub const SETTLE: Duration = Duration::from_secs(300);

/// Watches the wall clock against the monotonic one.
pub struct TimeGuard {
    /// Wall time minus monotonic time, in milliseconds, as last believed.
    offset: AtomicI64,
    guarded: AtomicBool,
    suspect: Mutex<Option<Suspect>>,
}

/// A new time that is not believed yet.
#[derive(Clone, Copy)]
struct Suspect {
    offset: i64,
    since: Moment,
}

/// What a look at the clock came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// As before.
    Trusted,
    /// As before: not to be trusted.
    Guarded,
    /// It has just jumped by this many milliseconds (negative: back).
    Jumped(i64),
    /// It is trusted again.
    Recovered,
}

impl TimeGuard {
    /// Starts from the clock as it is, unless it is behind `highest`, the latest time any code was judged at before
    /// the restart: then it starts guarded.
    pub fn new(now: Moment, highest: Option<Wall>) -> TimeGuard {
        let behind = highest.map_or(Duration::ZERO, |highest| highest.since(now.wall));
        let offset = offset_of(now);
        let start_guarded = behind > BOUND;
        let believed = if start_guarded { offset.saturating_add(millis(behind)) } else { offset };
        let suspect = start_guarded.then_some(Suspect { offset, since: now });
        TimeGuard {
            offset: AtomicI64::new(believed),
            guarded: AtomicBool::new(start_guarded),
            suspect: Mutex::new(suspect),
        }
    }

    /// Looks at the clock. Costs two loads while nothing is wrong.
    pub fn look(&self, now: Moment) -> Look {
        let offset = offset_of(now);
        let off = offset.saturating_sub(self.offset.load(Ordering::Relaxed));
        let guarded = self.guarded.load(Ordering::Relaxed);
        if off.unsigned_abs() <= millis(BOUND).unsigned_abs() {
            if !guarded && off.unsigned_abs() < 100 {
                return Look::Trusted;
            }
            return self.believe(offset);
        }
        // Guards the suspected time; nothing else is locked or waited for under it.
        let Ok(mut suspect) = self.suspect.lock() else { return Look::Guarded };
        match *suspect {
            Some(held) if (offset.saturating_sub(held.offset)).unsigned_abs() <= 1000 => {
                if now.mono.since(held.since.mono) < SETTLE {
                    return Look::Guarded;
                }
                drop(suspect);
                self.believe(offset)
            }
            _ => {
                *suspect = Some(Suspect { offset, since: now });
                self.guarded.store(true, Ordering::Relaxed);
                Look::Jumped(off)
            }
        }
    }

    /// The time as it is believed now, whatever the wall clock says.
    pub fn believed(&self, mono: Mono) -> Wall {
        let milliseconds = i64::try_from(mono.nanos() / 1_000_000)
            .unwrap_or(i64::MAX)
            .saturating_add(self.offset.load(Ordering::Relaxed));
        let milliseconds = u64::try_from(milliseconds).unwrap_or(0);
        Wall::from_seconds(milliseconds / 1000).plus(Duration::from_millis(milliseconds % 1000))
    }

    /// Whether codes are not judged now.
    pub fn is_guarded(&self) -> bool {
        self.guarded.load(Ordering::Relaxed)
    }

    fn believe(&self, offset: i64) -> Look {
        self.offset.store(offset, Ordering::Relaxed);
        if let Ok(mut suspect) = self.suspect.lock() {
            *suspect = None;
        }
        if self.guarded.swap(false, Ordering::Relaxed) { Look::Recovered } else { Look::Trusted }
    }
}

fn offset_of(now: Moment) -> i64 {
    let wall = i64::try_from(now.wall.seconds())
        .unwrap_or(i64::MAX / 2000)
        .saturating_mul(1000)
        .saturating_add(i64::from(now.wall.subsec_nanos() / 1_000_000));
    wall.saturating_sub(i64::try_from(now.mono.nanos() / 1_000_000).unwrap_or(i64::MAX))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(wall: u64, mono_seconds: u64) -> Moment {
        Moment::at(wall, Mono::default().plus(Duration::from_secs(mono_seconds)))
    }

    #[test]
    fn small_corrections_are_followed() {
        let guard = TimeGuard::new(at(1000, 0), None);
        for (wall, mono) in [(1010, 10), (1040, 20), (1045, 30), (1055, 40)] {
            assert_eq!(guard.look(at(wall, mono)), Look::Trusted, "{wall}");
        }
    }

    #[test]
    fn otp_24_a_jump_guards_until_the_clock_is_back() {
        let guard = TimeGuard::new(at(1000, 0), None);
        assert_eq!(guard.look(at(1000 + 86_400, 1)), Look::Jumped(86_399_000));
        assert!(guard.is_guarded());
        assert_eq!(guard.believed(at(0, 2).mono), Wall::from_seconds(1002));
        assert_eq!(guard.look(at(1001 + 86_400, 2)), Look::Guarded);
        assert_eq!(guard.look(at(1003, 3)), Look::Recovered);
        assert_eq!(guard.look(at(1003 - 120, 3)), Look::Jumped(-120_000));
        assert_eq!(guard.look(at(1010, 10)), Look::Recovered);
        assert!(!guard.is_guarded());
    }

    #[test]
    fn a_new_time_that_holds_is_believed_in_the_end() {
        let guard = TimeGuard::new(at(1000, 0), None);
        assert_eq!(guard.look(at(5000, 0)), Look::Jumped(4_000_000));
        assert_eq!(guard.look(at(5299, 299)), Look::Guarded);
        assert_eq!(guard.look(at(5300, 300)), Look::Recovered);
        assert_eq!(guard.look(at(5301, 301)), Look::Trusted);
    }

    #[test]
    fn a_restart_with_an_earlier_clock_starts_guarded() {
        let guard = TimeGuard::new(at(1000, 0), Some(Wall::from_seconds(2000)));
        assert!(guard.is_guarded());
        assert_eq!(guard.look(at(1001, 1)), Look::Guarded);
        assert_eq!(guard.look(at(2002, 2)), Look::Recovered);
        assert!(!TimeGuard::new(at(1990, 0), Some(Wall::from_seconds(2000))).is_guarded());
    }
}
