//! Consecutive failures and locks: a state machine with time as an argument.
//!
//! ```text
//!          failure (below the limit)          failure at the limit
//!   ┌────┐  ┌──────────────────────┐   ┌──────────────────────────────▶ locked until a time ── time passes ──┐
//!   ▼    │  ▼                      │   │                                                                     │
//!  open ─┴─ open with n failures ──┴───┴──────────────────────────────▶ locked until released ── release ──┐ │
//!   ▲                                                                                                      │ │
//!   └──────────────── success, release, or the end of a timed lock ────────────────────────────────────────┴─┘
//! ```

use crate::clock::Wall;
use std::time::Duration;

/// How many failures lock, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The failure that locks: the fifth, if this is 5.
    pub max_failures: u16,
    /// How long a timed lock holds; `None` holds until somebody releases the user.
    pub length: Option<Duration>,
}

/// Whether a user is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Lock {
    /// Not locked.
    #[default]
    Open,
    /// Locked until this time (whole seconds).
    Until(Wall),
    /// Locked until somebody releases the user.
    UntilReleased,
}

/// A user's failures in a row, and the lock they led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Lockout {
    /// Failures since the last success, release or end of a timed lock.
    pub failures: u16,
    /// The lock.
    pub lock: Lock,
}

/// What a failure led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Counted.
    Counted,
    /// Counted, and it was one too many.
    Locks,
}

impl Lockout {
    /// Whether nothing is accepted at `now`.
    pub fn is_locked(&self, now: Wall) -> bool {
        match self.lock {
            Lock::Open => false,
            Lock::Until(until) => now < until,
            Lock::UntilReleased => true,
        }
    }

    /// One more failure at `now`. A timed lock that has run out begins a new count.
    #[must_use]
    pub fn fail(self, rules: Rules, now: Wall) -> (Lockout, Failure) {
        if self.is_locked(now) {
            return (self, Failure::Counted);
        }
        let before = if self.lock == Lock::Open { self.failures } else { 0 };
        let failures = before.saturating_add(1);
        if failures < rules.max_failures {
            return (Lockout { failures, lock: Lock::Open }, Failure::Counted);
        }
        let lock = match rules.length {
            Some(length) => Lock::Until(Wall::from_seconds(now.plus(length).seconds())),
            None => Lock::UntilReleased,
        };
        (Lockout { failures, lock }, Failure::Locks)
    }

    /// Of two that may both be true, what is worse for the user: the longer lock, or more failures.
    #[must_use]
    pub fn worse(self, other: Lockout) -> Lockout {
        let rank = |lockout: &Lockout| match lockout.lock {
            Lock::Open => (0, 0, lockout.failures),
            Lock::Until(until) => (1, until.seconds(), lockout.failures),
            Lock::UntilReleased => (2, 0, lockout.failures),
        };
        if rank(&other) > rank(&self) { other } else { self }
    }

    /// After a success or a release: nothing is held against the user.
    #[must_use]
    pub fn cleared() -> Lockout {
        Lockout::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIVE: Rules = Rules { max_failures: 5, length: None };

    fn at(seconds: u64) -> Wall {
        Wall::from_seconds(seconds)
    }

    fn after(failures: u16, rules: Rules, now: Wall) -> Lockout {
        (0..failures).fold(Lockout::default(), |lockout, _| lockout.fail(rules, now).0)
    }

    #[test]
    fn s_17_the_fifth_failure_locks_until_released() {
        assert!(!after(4, FIVE, at(0)).is_locked(at(0)));
        let locked = after(5, FIVE, at(0));
        assert_eq!(after(4, FIVE, at(0)).fail(FIVE, at(0)), (locked, Failure::Locks));
        assert!(locked.is_locked(at(u64::MAX)));
    }

    #[test]
    fn otp_18_a_timed_lock_runs_out_and_begins_a_new_count() {
        let rules = Rules { length: Some(Duration::from_secs(1800)), ..FIVE };
        let locked = after(5, rules, at(100));
        assert!(locked.is_locked(at(1899)));
        assert!(!locked.is_locked(at(1900)));
        let (again, failure) = locked.fail(rules, at(1900));
        assert_eq!((again.failures, again.lock, failure), (1, Lock::Open, Failure::Counted));
    }

    #[test]
    fn failures_during_a_lock_change_nothing() {
        let locked = after(5, FIVE, at(0));
        assert_eq!(locked.fail(FIVE, at(1)), (locked, Failure::Counted));
    }
}
