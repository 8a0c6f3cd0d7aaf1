//! One moment in two readings, and the one place that reads the clock.
//!
//! Steps of a code come from the wall clock; deadlines, delays and lifetimes come from the monotonic clock,
//! because an administrator or an attacker on the time service can move the wall clock but not the other.
//! Everything below the edges takes a [`Moment`] as an argument and never asks for one.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// When something happened: both clocks, read together once per request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Time since 1970-01-01T00:00:00Z; a clock before 1970 reads as zero.
    pub wall: Wall,
    /// Time since the process started.
    pub mono: Mono,
}

/// Wall-clock time since the Unix epoch, exact to the nanosecond and without an end in practice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Wall(Duration);

impl Wall {
    /// The given number of whole seconds since the epoch.
    pub const fn from_seconds(seconds: u64) -> Wall {
        Wall(Duration::from_secs(seconds))
    }

    /// Whole seconds since the epoch: what the step of a code is computed from.
    pub const fn seconds(self) -> u64 {
        self.0.as_secs()
    }

    /// The part below one second, in nanoseconds.
    pub const fn subsec_nanos(self) -> u32 {
        self.0.subsec_nanos()
    }

    /// This time moved forward; saturates at the end of the range.
    pub fn plus(self, by: Duration) -> Wall {
        Wall(self.0.saturating_add(by))
    }

    /// How much later this is than `earlier`; zero if it is not later.
    pub fn since(self, earlier: Wall) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// Monotonic time since the process started, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Mono(u64);

impl Mono {
    /// The given time after the start of the process.
    pub const fn from_nanos(nanos: u64) -> Mono {
        Mono(nanos)
    }

    /// Nanoseconds since the start of the process.
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// This time moved forward; saturates at the end of the range.
    pub fn plus(self, by: Duration) -> Mono {
        Mono(self.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// How much later this is than `earlier`; zero if it is not later.
    pub fn since(self, earlier: Mono) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Moment {
    /// A made-up moment, for tests, fuzzing and replay: wall seconds and monotonic time given.
    pub const fn at(wall_seconds: u64, mono: Mono) -> Moment {
        Moment { wall: Wall::from_seconds(wall_seconds), mono }
    }

    /// The same distance later on both clocks.
    pub fn plus(self, by: Duration) -> Moment {
        Moment { wall: self.wall.plus(by), mono: self.mono.plus(by) }
    }
}

/// Reads both clocks. Called once per datagram and by the timers of the edges; see `clippy.toml`.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clocks")]
pub fn now() -> Moment {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = *START.get_or_init(Instant::now);
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment { wall: Wall(wall), mono: Mono::default().plus(start.elapsed()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_time_carries_and_saturates() {
        let late = Wall(Duration::new(1, 999_999_999));
        assert_eq!(late.plus(Duration::from_nanos(1)), Wall::from_seconds(2));
        assert_eq!(Wall::from_seconds(u64::MAX).plus(Duration::from_secs(5)).seconds(), u64::MAX);
        assert_eq!(Wall::from_seconds(1).since(Wall::from_seconds(9)), Duration::ZERO);
    }

    #[test]
    fn the_year_2603_is_exact() {
        // RFC 6238 Appendix B ends at 20,000,000,000 seconds.
        assert_eq!(Wall::from_seconds(20_000_000_000).seconds(), 20_000_000_000);
    }
}
