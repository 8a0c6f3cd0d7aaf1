//! What is held against each user: failures in a row and the locks they led to.
//!
//! Codes and passwords are counted apart. A login that asks for no code and has the right password says nothing about
//! who guesses codes: if it cleared their count, whoever knows the password could guess for ever.

use super::marks::UserMark;
use super::slots::Slots;
use crate::clock::{Moment, Mono, Wall};
use crate::identity::EntryId;
use crate::lockout::{Failure, Lock, Lockout, Rules};
use ahash::RandomState;
use dashmap::DashMap;
use std::time::Duration;

/// The same wrong credential within this time counts once: gateways and mail programs repeat what the user typed once.
pub const REPEAT_COUNTS_ONCE: Duration = Duration::from_secs(60);

/// The slots of all users who ever failed; a user without a slot has a clean past.
pub struct Users {
    slots: Slots<Kept>,
    fingerprints: RandomState,
    /// The last wrong credential of each user who failed within the last minute, and when. Whoever needs both tables
    /// holds an entry of the slots first.
    wrong: DashMap<EntryId, (u64, Mono), RandomState>,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    version: u32,
    codes: Lockout,
    passwords: Lockout,
}

/// A slot as it is kept by the million: as few octets as it can do with, and none of them padding.
#[derive(Clone, Copy, Default)]
struct Kept {
    version: u32,
    codes: KeptLockout,
    passwords: KeptLockout,
}

/// Failures in the lower 16 bits, above them in 48 bits the second at which the lock ends; 0 for none, the highest
/// number for one that has to be released. In halves: as one number it would have to lie at a multiple of eight.
#[derive(Clone, Copy, Default)]
struct KeptLockout([u32; 2]);

const UNTIL_RELEASED: u64 = (1 << 48) - 1;

/// What was guessed, or proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guess {
    /// A code, with or without a password.
    Code,
    /// A password alone.
    Password,
}

/// What a failure did to a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// The same credential was counted less than a minute ago.
    Already,
    /// It was counted; the mark must become durable.
    Now(UserMark, Failure),
}

impl Default for Users {
    fn default() -> Users {
        Users { slots: Slots::default(), fingerprints: RandomState::new(), wrong: super::large() }
    }
}

impl Users {
    /// What is held against the user: of the two counts the one that locks at `now`, or else the higher one.
    pub fn lockout(&self, user: EntryId, now: Wall) -> Lockout {
        self.slots.get(user).map(|kept| Slot::from(kept).worse(now)).unwrap_or_default()
    }

    /// One more failure with this credential, unless the same one was counted within the last minute.
    pub fn fail(&self, user: EntryId, guess: Guess, rules: Rules, credential: &[u8], now: Moment) -> Counted {
        let fingerprint = self.fingerprints.hash_one((user, credential));
        self.slots.change(user, |kept| {
            if self.repeats(user, fingerprint, now.mono) {
                return Counted::Already;
            }
            self.wrong.insert(user, (fingerprint, now.mono));
            let mut slot = Slot::from(*kept);
            let (lockout, failure) = slot.count_of(guess).fail(rules, now.wall);
            *slot.count_of(guess) = lockout;
            let mark = slot.mark(user);
            *kept = slot.into();
            Counted::Now(mark, failure)
        })
    }

    /// Whether the same wrong credential was counted within the last minute.
    pub fn is_repeated(&self, user: EntryId, credential: &[u8], now: Moment) -> bool {
        let fingerprint = self.fingerprints.hash_one((user, credential));
        self.repeats(user, fingerprint, now.mono)
    }

    /// Remembers a wrong credential that was counted elsewhere, so that it counts once.
    pub fn note_wrong(&self, user: EntryId, credential: &[u8], now: Moment) {
        let fingerprint = self.fingerprints.hash_one((user, credential));
        self.wrong.insert(user, (fingerprint, now.mono));
    }

    /// Forgets wrong credentials that are as good as new ones by now; called about once a second.
    pub fn sweep(&self, now: Mono) {
        self.wrong.retain(|_, (_, at)| now.since(*at) < REPEAT_COUNTS_ONCE);
    }

    fn repeats(&self, user: EntryId, fingerprint: u64, now: Mono) -> bool {
        let same = |(before, at): (u64, Mono)| before == fingerprint && now.since(at) < REPEAT_COUNTS_ONCE;
        self.wrong.get(&user).is_some_and(|wrong| same(*wrong))
    }

    /// Everything that is held against a user, as it is now.
    pub fn as_it_is(&self, user: EntryId) -> UserMark {
        self.slots.get(user).map(Slot::from).unwrap_or_default().as_mark(user)
    }

    /// A success: a proven code clears both counts, a proven password only its own. `None` if nothing was counted.
    pub fn succeed(&self, user: EntryId, proven: Guess) -> Option<UserMark> {
        match proven {
            Guess::Code => self.release(user),
            Guess::Password => self.change(user, |slot| slot.passwords = Lockout::cleared()),
        }
    }

    /// Changes a slot that is there; `None` if it is the same afterwards.
    fn change(&self, user: EntryId, change: impl FnOnce(&mut Slot)) -> Option<UserMark> {
        let change = |kept: &mut Kept| {
            let mut slot = Slot::from(*kept);
            let before = (slot.codes, slot.passwords);
            change(&mut slot);
            if before == (slot.codes, slot.passwords) {
                return None;
            }
            let mark = slot.mark(user);
            *kept = slot.into();
            Some(mark)
        };
        self.slots.change_held(user, change).flatten()
    }

    /// A release: nothing is held against the user any more. `None` if nothing was.
    pub fn release(&self, user: EntryId) -> Option<UserMark> {
        self.wrong.remove(&user);
        self.change(user, |slot| (slot.codes, slot.passwords) = (Lockout::cleared(), Lockout::cleared()))
    }

    /// Takes over a mark from the journal, if it is newer than what is here.
    pub fn replay(&self, mark: &UserMark) {
        self.slots.change(mark.user, |kept| {
            if mark.version > kept.version {
                *kept = Slot::of(mark).into();
            }
        });
    }

    /// Hands every slot to `sink`, while requests go on.
    pub fn each_mark(&self, mut sink: impl FnMut(UserMark)) {
        self.slots.each(|user, kept| {
            if kept.version > 0 {
                sink(Slot::from(kept).as_mark(user));
            }
        });
    }

    /// The users who are locked at `now`.
    pub fn locked(&self, now: Wall) -> Vec<EntryId> {
        let mut locked = Vec::new();
        self.slots.each(|user, kept| {
            if Slot::from(kept).worse(now).is_locked(now) {
                locked.push(user);
            }
        });
        locked
    }

    /// How many users are remembered.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether no user is remembered.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

impl From<Slot> for Kept {
    fn from(slot: Slot) -> Kept {
        let Slot { version, codes, passwords } = slot;
        Kept { version, codes: codes.into(), passwords: passwords.into() }
    }
}

impl From<Kept> for Slot {
    fn from(kept: Kept) -> Slot {
        let Kept { version, codes, passwords } = kept;
        Slot { version, codes: codes.into(), passwords: passwords.into() }
    }
}

impl From<Lockout> for KeptLockout {
    fn from(lockout: Lockout) -> KeptLockout {
        let lock = match lockout.lock {
            Lock::Open => 0,
            // Longer than this is for ever; a lock that has ended with the epoch has still ended.
            Lock::Until(until) => until.seconds().clamp(1, UNTIL_RELEASED),
            Lock::UntilReleased => UNTIL_RELEASED,
        };
        let word = lock << 16 | u64::from(lockout.failures);
        KeptLockout([(word >> 32) as u32, word as u32])
    }
}

impl From<KeptLockout> for Lockout {
    fn from(kept: KeptLockout) -> Lockout {
        let [high, low] = kept.0.map(u64::from);
        let lock = match (high << 32 | low) >> 16 {
            0 => Lock::Open,
            UNTIL_RELEASED => Lock::UntilReleased,
            seconds => Lock::Until(Wall::from_seconds(seconds)),
        };
        Lockout { failures: (low & 0xffff) as u16, lock }
    }
}

impl Slot {
    fn of(mark: &UserMark) -> Slot {
        Slot { version: mark.version, codes: mark.codes, passwords: mark.passwords }
    }

    fn mark(&mut self, user: EntryId) -> UserMark {
        self.version = self.version.saturating_add(1);
        self.as_mark(user)
    }

    fn as_mark(&self, user: EntryId) -> UserMark {
        UserMark { user, version: self.version, codes: self.codes, passwords: self.passwords }
    }

    fn count_of(&mut self, guess: Guess) -> &mut Lockout {
        match guess {
            Guess::Code => &mut self.codes,
            Guess::Password => &mut self.passwords,
        }
    }

    fn worse(&self, now: Wall) -> Lockout {
        let rank = |lockout: &Lockout| (lockout.is_locked(now), lockout.failures);
        if rank(&self.passwords) > rank(&self.codes) { self.passwords } else { self.codes }
    }
}

/// The same changes on a mark instead of a slot: what would become of it, where others have to agree first.
impl UserMark {
    /// Whether nothing is accepted at `now`.
    pub fn is_locked(&self, now: Wall) -> bool {
        self.codes.is_locked(now) || self.passwords.is_locked(now)
    }

    /// One more failure, and what it did. A failure during a lock changes nothing.
    #[must_use]
    pub fn failed(&self, guess: Guess, rules: Rules, now: Wall) -> (UserMark, Failure) {
        let mut slot = Slot::of(self);
        let (lockout, failure) = slot.count_of(guess).fail(rules, now);
        if lockout == *slot.count_of(guess) {
            return (*self, failure);
        }
        *slot.count_of(guess) = lockout;
        (slot.mark(self.user), failure)
    }

    /// A success: a proven code clears both counts, a proven password only its own. `None` if nothing was counted.
    pub fn succeeded(&self, proven: Guess) -> Option<UserMark> {
        let mut slot = Slot::of(self);
        slot.passwords = Lockout::cleared();
        if proven == Guess::Code {
            slot.codes = Lockout::cleared();
        }
        ((slot.codes, slot.passwords) != (self.codes, self.passwords)).then(|| slot.mark(self.user))
    }

    /// What two nodes know of one user, put together: the newer. Where neither follows from the other (an engine
    /// forgot something in between), what is worse for the user, under a new version.
    #[must_use]
    pub fn merged(&self, other: &UserMark) -> UserMark {
        if other.version != self.version {
            return if other.version > self.version { *other } else { *self };
        }
        if self == other {
            return *self;
        }
        let (codes, passwords) = (self.codes.worse(other.codes), self.passwords.worse(other.passwords));
        UserMark { codes, passwords, version: self.version.saturating_add(1), ..*self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_kept_whole_in_twenty_octets() {
        assert_eq!(size_of::<(EntryId, Kept)>(), 36);
        let year_9999 = Wall::from_seconds(253_402_300_799);
        for lock in [Lock::Open, Lock::UntilReleased, Lock::Until(WALL), Lock::Until(year_9999)] {
            for failures in [0, 1, u16::MAX] {
                let lockout = Lockout { failures, lock };
                assert_eq!(Lockout::from(KeptLockout::from(lockout)), lockout);
            }
        }
        let for_ever = Lockout { failures: 5, lock: Lock::Until(Wall::from_seconds(u64::MAX)) };
        assert!(Lockout::from(KeptLockout::from(for_ever)).is_locked(Wall::from_seconds(u64::MAX)));
    }

    #[test]
    fn a_wrong_credential_is_forgotten_when_its_minute_is_over() {
        let users = Users::default();
        let _ = fail(&users, b"1", 0);
        users.sweep(Mono::default().plus(Duration::from_secs(59)));
        assert_eq!(users.wrong.len(), 1);
        users.sweep(Mono::default().plus(Duration::from_secs(60)));
        assert_eq!((users.wrong.len(), users.len()), (0, 1));
    }

    #[test]
    fn a_mark_changes_as_its_slot_does() {
        let users = Users::default();
        let now = Moment { wall: WALL, mono: Mono::default() };
        for credential in [b"1", b"2", b"3"] {
            let (would, failure) = users.as_it_is(USER).failed(Guess::Code, RULES, WALL);
            assert!(!users.is_repeated(USER, credential, now));
            assert_eq!(users.fail(USER, Guess::Code, RULES, credential, now), Counted::Now(would, failure));
            assert!(users.is_repeated(USER, credential, now));
        }
        let locked = users.as_it_is(USER);
        assert!(locked.is_locked(WALL));
        assert_eq!(locked.failed(Guess::Code, RULES, WALL).0, locked);
        assert_eq!(locked.succeeded(Guess::Password), None);
        assert_eq!(locked.succeeded(Guess::Code), users.succeed(USER, Guess::Code));
    }

    #[test]
    fn of_two_histories_the_worse_counts() {
        let one = UserMark {
            user: USER,
            version: 4,
            codes: Lockout { failures: 2, ..Lockout::default() },
            passwords: Lockout::default(),
        };
        let other = UserMark { codes: Lockout { failures: 1, ..Lockout::default() }, ..one };
        let merged = one.merged(&other);
        assert_eq!((merged.version, merged.codes.failures), (5, 2));
        assert_eq!(other.merged(&one), merged);
        let newer = UserMark { version: 6, ..other };
        assert_eq!((one.merged(&newer), newer.merged(&one)), (newer, newer));
    }

    const USER: EntryId = EntryId::new([3; 16]);
    const RULES: Rules = Rules { max_failures: 3, length: None };
    const WALL: Wall = Wall::from_seconds(1_700_000_000);

    fn fail(users: &Users, credential: &[u8], seconds: u64) -> Counted {
        let now = Moment { wall: WALL, mono: Mono::default().plus(Duration::from_secs(seconds)) };
        users.fail(USER, Guess::Code, RULES, credential, now)
    }

    #[test]
    fn a_right_password_does_not_clear_the_guesses_of_codes() {
        let users = Users::default();
        let _ = fail(&users, b"1", 0);
        assert_eq!(users.succeed(USER, Guess::Password), None);
        assert_eq!(users.lockout(USER, WALL).failures, 1);
        let now = Moment { wall: WALL, mono: Mono::default() };
        for credential in [b"2", b"3", b"4"] {
            let _ = users.fail(USER, Guess::Password, RULES, credential, now);
        }
        assert_eq!(users.locked(WALL), [USER]);
        assert!(users.succeed(USER, Guess::Password).is_some());
        assert_eq!(users.lockout(USER, WALL).failures, 1);
        assert!(users.succeed(USER, Guess::Code).is_some());
        assert_eq!(users.lockout(USER, WALL).failures, 0);
    }

    #[test]
    fn the_same_wrong_credential_within_a_minute_counts_once() {
        let users = Users::default();
        assert!(matches!(fail(&users, b"pw111111", 0), Counted::Now(_, Failure::Counted)));
        assert_eq!(fail(&users, b"pw111111", 59), Counted::Already);
        assert!(matches!(fail(&users, b"pw222222", 60), Counted::Now(..)));
        assert_eq!(users.lockout(USER, WALL).failures, 2);
        assert!(matches!(fail(&users, b"pw222222", 120), Counted::Now(_, Failure::Locks)));
        assert_eq!(users.locked(WALL), [USER]);
    }

    #[test]
    fn a_release_is_a_mark_of_its_own() {
        let users = Users::default();
        for credential in [b"1", b"2", b"3"] {
            let _ = fail(&users, credential, 0);
        }
        let mark = users.release(USER).unwrap();
        assert_eq!((mark.version, mark.codes), (4, Lockout::cleared()));
        assert_eq!(users.release(USER), None);
        assert!(users.locked(WALL).is_empty());
    }

    #[test]
    fn an_older_mark_does_not_bring_a_lock_back() {
        let users = Users::default();
        let Counted::Now(old, _) = fail(&users, b"1", 0) else { panic!("the first failure counts") };
        let new = users.release(USER).unwrap();
        let replayed = Users::default();
        replayed.replay(&new);
        replayed.replay(&old);
        assert_eq!(replayed.lockout(USER, WALL), Lockout::cleared());
    }
}
