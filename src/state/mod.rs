//! What the daemon remembers, shared between threads: each table is its own type with its own locks.

// By the million.
mod parts;
mod people;
mod pieces;
mod slots;

// What must survive a crash.
pub mod marks;
pub mod pins;
pub mod tokens;
pub mod users;

// What the directory says.
pub mod bindings;
pub mod contracts;

// What ends with the process.
pub mod admission;
pub mod challenges;
pub mod duplicates;
pub mod logins;
pub mod proofs;
pub mod sources;
pub mod time_guard;

pub use admission::{Admission, Place};
pub use bindings::{Bindings, Known, Scope};
pub use challenges::{Challenge, Challenges};
pub use contracts::Contracts;
pub use duplicates::{Duplicates, Seen};
pub use logins::Logins;
pub use marks::{Mark, Marks, TokenMark, UserMark};
pub use pins::Pins;
pub use proofs::{Proof, Proofs};
pub use sources::Sources;
pub use time_guard::{Look, TimeGuard};
pub use tokens::{Claimed, Renewal, Tokens, Use};
pub use users::{Counted, Guess, Users};

use crate::clock::{Moment, Wall};
use crate::otp::{self, Drift, Moving, Period, Step};
use crate::tokens::{Past, Token};
use ahash::RandomState;
use dashmap::DashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many parts each large table has. A part is locked while a snapshot or the housekeeper walks through it: with a
/// million entries that is a fifth of a millisecond for one request in five hundred, and no time for the others.
const PARTS: usize = 512;

/// A table that may grow to millions of entries.
fn large<K: Eq + Hash, V>() -> DashMap<K, V, RandomState> {
    DashMap::with_capacity_and_hasher_and_shard_amount(0, RandomState::new(), PARTS)
}

/// The tables that survive a restart: what the journal is replayed into and snapshots are taken of.
#[derive(Default)]
pub struct Durable {
    /// Failures and locks.
    pub users: Users,
    /// Used-up steps, drift, failures, claims.
    pub tokens: Tokens,
    /// Sources that must sign.
    pub pins: Pins,
    /// Seconds since 1970 up to which marks may have been lost; 0 if none were.
    lost_until: AtomicU64,
}

impl Durable {
    /// Marks up to this time may have been lost (a journal was recovered, or a backup restored): every code of a step
    /// that begins before it counts as used, and of as many steps after it as a window may reach that has moved with the
    /// token's clock, and every counter code until its token is synchronised anew.
    pub fn refuse_until(&self, until: Wall) {
        self.lost_until.fetch_max(until.seconds(), Ordering::Relaxed);
    }

    /// What is remembered of a token, with what may have been forgotten counted as used.
    pub fn past<Serial, Key>(&self, token: &Token<Serial, Key>) -> Past {
        let past = self.tokens.past(token.id, token.imprint, renewal(token));
        let lost_until = self.lost_until.load(Ordering::Relaxed);
        if lost_until == 0 {
            return past;
        }
        let used = match token.parameters.moving {
            // What a clock was learned to be ahead may have been lost as well.
            Moving::Time { period } => {
                let ahead = past.drift.steps().max(Drift::LEARNED_MAX);
                reached(token, period, ahead, Wall::from_seconds(lost_until))
            }
            Moving::Counter { .. } if is_synchronised(&past) => return past,
            Moving::Counter { .. } => Step(u64::MAX),
        };
        Past { last: past.last.max(Some(used)), ..past }
    }

    /// Beyond which step or counter two codes in a row have to lie that synchronise a token: where its counter is not
    /// known, what is remembered is the least that was used.
    pub fn synchronised_from(&self, token: &Token) -> Option<Step> {
        match token.parameters.moving {
            Moving::Time { .. } => self.past(token).last,
            Moving::Counter { .. } => self.tokens.past(token.id, token.imprint, renewal(token)).last,
        }
    }

    /// Takes over one mark from the journal; marks may come in any order and number.
    pub fn replay(&self, mark: &Mark) {
        match mark {
            Mark::User(mark) => self.users.replay(mark),
            Mark::Token(mark) => self.tokens.replay(mark),
            Mark::Pin(source) => {
                self.pins.pin(*source);
            }
            // The store reports the highest time of all records itself.
            Mark::Clock(_) => {}
        }
    }

    /// Takes over what another node knows, and keeps what this one knows beside it. Gives what is known now, if that
    /// is more than before.
    pub fn learn(&self, mark: &Mark) -> Option<Mark> {
        let (before, after) = match mark {
            Mark::User(mark) => {
                let before = self.users.as_it_is(mark.user);
                (Mark::User(before), Mark::User(before.merged(mark)))
            }
            Mark::Token(mark) => {
                let before = self.tokens.as_it_is(mark.token);
                (Mark::Token(before), Mark::Token(before.merged(mark)))
            }
            Mark::Pin(source) => return self.pins.pin(*source).then_some(*mark),
            Mark::Clock(_) => return None,
        };
        if before == after {
            return None;
        }
        self.replay(&after);
        Some(after)
    }

    /// Hands everything worth keeping to `sink`, shard by shard, while requests go on.
    pub fn each_mark(&self, highest: Wall, sink: &mut dyn FnMut(Mark)) {
        sink(Mark::Clock(highest));
        self.pins.each(|source| sink(Mark::Pin(source)));
        self.users.each_mark(|mark| sink(Mark::User(mark)));
        self.tokens.each_mark(|mark| sink(Mark::Token(mark)));
    }
}

/// The tables that end with the process.
pub struct Passing {
    /// Retransmissions and their replies.
    pub duplicates: Duplicates,
    /// Open two-step logins.
    pub challenges: Challenges,
    /// Failures per source.
    pub sources: Sources,
}

impl Passing {
    /// Removes what has run out in every table; called about once a second.
    pub fn sweep(&self, now: Moment) {
        self.duplicates.sweep(now.mono);
        self.challenges.sweep(now.mono);
        self.sources.sweep(now.mono);
    }
}

/// Whether a counter token was synchronised since marks were lost: then what is remembered is what was used.
fn is_synchronised(past: &Past) -> bool {
    past.last.is_some_and(|last| last < marks::COUNTERS_END) && past.drift == Drift::default()
}

/// The last step that a time token's code can have been accepted for by `then`, when its clock is so many steps ahead.
pub fn reached<Serial, Key>(token: &Token<Serial, Key>, period: Period, ahead: i16, then: Wall) -> Step {
    let window = u64::from(token.parameters.window.forward());
    let ahead = u64::try_from(ahead).unwrap_or(0);
    Step(otp::step_at(then, period).0.saturating_add(window).saturating_add(ahead))
}

/// What a new key means for a token's last step.
pub fn renewal<Serial, Key>(token: &Token<Serial, Key>) -> Renewal {
    match token.parameters.moving {
        Moving::Time { .. } => Renewal::KeepsStep,
        Moving::Counter { .. } => Renewal::RestartsCounter,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{EntryId, TokenSerial};
    use crate::otp::{Algorithm, Digits, LookAhead, Parameters, Window};
    use crate::secret::Secret;
    use crate::tokens::Standing;

    const LOST: u64 = 1_800_000_000;

    fn token(moving: Moving) -> Token {
        Token {
            id: EntryId::new([1; 16]),
            serial: TokenSerial::new("T"),
            parameters: Parameters {
                algorithm: Algorithm::Sha1,
                digits: Digits::SIX,
                moving,
                window: Window::ONE,
            },
            secret: Secret::new([7; 20]),
            imprint: 3,
            spent: None,
            begins: None,
            ends: None,
            standing: Standing::Active,
        }
    }

    fn restored(last: u64, drift: Drift) -> Durable {
        let mark = TokenMark {
            token: EntryId::new([1; 16]),
            version: 1,
            last: Some(Step(last)),
            drift: drift.quarters(),
            failures: 2,
            imprint: 3,
        };
        let durable = Durable::default();
        durable.replay(&Mark::Token(mark.doubted()));
        durable.refuse_until(Wall::from_seconds(LOST));
        durable
    }

    #[test]
    fn otp_25_a_fast_clock_is_refused_as_far_ahead_as_its_codes_may_have_been() {
        let token = token(Moving::Time { period: Period::HALF_MINUTE });
        let then = LOST / 30;
        for (drift, upto) in [(0, 11), (4, 11), (-4, 11), (60, 61)] {
            let past = restored(then - 100, Drift::from_steps(drift)).past(&token);
            assert_eq!(past.last, Some(Step(then + upto)), "{drift}");
            assert_eq!((past.drift, past.failures), (Drift::from_steps(drift), 2), "nothing else is lost");
        }
        let beyond = restored(then + 50, Drift::default()).past(&token);
        assert_eq!(beyond.last, Some(Step(then + 50)));
    }

    #[test]
    fn otp_25_no_counter_is_known_after_a_loss_until_two_codes_tell_it() {
        let token = token(Moving::Counter { look_ahead: LookAhead::DEFAULT });
        // Higher than any counter comes: nobody can tell it from a time, so it is never known again.
        for (last, known_again) in [(9, true), (marks::COUNTERS_END.0 - 9, true), (u64::MAX / 2, false)] {
            let durable = restored(last, Drift::default());
            assert_eq!(durable.past(&token).last, Some(Step(u64::MAX)));
            assert_eq!(durable.synchronised_from(&token), Some(Step(last)));
            let used = Use {
                token: token.id,
                imprint: 3,
                step: Step(last + 2),
                drift: Drift::default(),
                renewal: Renewal::RestartsCounter,
            };
            let _ = durable.tokens.fail(token.id, 3, Renewal::RestartsCounter);
            assert_eq!(durable.past(&token).last, Some(Step(u64::MAX)), "a failure tells nothing");
            durable.tokens.accept(&used, crate::identity::RequestId(1)).unwrap();
            let expected = if known_again { last + 2 } else { u64::MAX };
            assert_eq!(durable.past(&token).last, Some(Step(expected)));
        }
        let nothing = Durable::default();
        assert_eq!(nothing.past(&token).last, None);
        nothing.refuse_until(Wall::from_seconds(LOST));
        assert_eq!(nothing.past(&token).last, Some(Step(u64::MAX)));
        assert_eq!(nothing.synchronised_from(&token), None);
    }
}
