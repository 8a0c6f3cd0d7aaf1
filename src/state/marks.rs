//! Marks: what must survive a crash, as absolute values that may be replayed in any number.

use crate::clock::Wall;
use crate::identity::EntryId;
use crate::lockout::Lockout;
use crate::otp::{Drift, Step};
use arrayvec::ArrayVec;
use std::net::IpAddr;

/// One durable fact. Each carries the whole new value of one slot and the slot's version, so that replaying a mark
/// twice, or an older one after a newer one, changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A user's failures and lock.
    User(UserMark),
    /// A token's used-up step, drift and failures.
    Token(TokenMark),
    /// A source that has once sent a valid Message-Authenticator and must always send one (RAD-21).
    Pin(IpAddr),
    /// The latest wall-clock time that any code was judged at: a clock behind it is not trusted (OTP-24).
    Clock(Wall),
}

/// The marks of one decision: at most one per token, the user's, a pin and the clock.
pub type Marks = ArrayVec<Mark, { crate::tokens::TOKENS_MAX + 3 }>;

/// The whole value of a user's slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserMark {
    /// The user's entry.
    pub user: EntryId,
    /// Counts the changes of this slot; a mark with a lower or equal version is old.
    pub version: u32,
    /// Wrong codes in a row (and right codes with wrong passwords), and the lock they led to.
    pub codes: Lockout,
    /// Wrong passwords in a row where no code was asked for, and the lock they led to.
    pub passwords: Lockout,
}

/// A last step below is a counter's: in 2010, before there was anything to remember, time steps of the longest period
/// were here already. No counter comes this far in practice.
pub const COUNTERS_END: Step = Step(1_262_304_000 / 120);

/// The whole value of a token's slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenMark {
    /// The token's entry.
    pub token: EntryId,
    /// Counts the changes of this slot; a mark with a lower or equal version is old.
    pub version: u32,
    /// The last accepted step or counter; nothing at or below it is ever accepted again.
    pub last: Option<Step>,
    /// The drift learned so far, in quarters of a step ([`crate::otp::Drift::quarters`]). A counter has none: anything but
    /// 0 says that later counters may have been used ([`TokenMark::doubted`]).
    pub drift: i16,
    /// Failures in a row, over all locks and releases; at the limit the token is disabled.
    pub failures: u16,
    /// Tells one binding of the token from the next: part of a hash of the key. A new key clears `failures`.
    pub imprint: u32,
}

impl TokenMark {
    /// The same where later marks may have been lost: time makes up for it, and a counter is doubted until its token is
    /// synchronised anew.
    #[must_use]
    pub fn doubted(self) -> TokenMark {
        match self.last {
            Some(last) if last < COUNTERS_END => {
                TokenMark { drift: Drift::from_steps(-Drift::MAX).quarters(), ..self }
            }
            _ => self,
        }
    }

    /// Whether this is a counter's, and later ones may have been used.
    pub fn is_doubted(&self) -> bool {
        self.last.is_some_and(|last| last < COUNTERS_END) && self.doubted() == *self
    }
}
