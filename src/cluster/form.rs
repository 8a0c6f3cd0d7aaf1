//! The form in which marks stand in the engine: keys and values of fixed layout, the same for every engine.
//!
//! ```text
//! token  't' · 16 octets of its entry   1 · version u32 · 1 if used · last step u64 · drift i16 · failures u16 · imprint u32
//! user   'u' · 16 octets of its entry   1 · version u32 · codes · passwords,  each failures u16 · kind u8 · until u64
//! ```
//!
//! All numbers are little-endian; the first octet of a value is the version of its form.

use crate::clock::Wall;
use crate::identity::EntryId;
use crate::lockout::{Lock, Lockout};
use crate::otp;
use crate::state::{Mark, TokenMark, UserMark};
use arrayvec::ArrayVec;

/// The version of the form of values.
const FORM: u8 = 1;

/// The key of a slot: `t` or `u`, and the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlotKey(pub [u8; 17]);

/// What a slot holds.
pub type SlotValue = ArrayVec<u8, 32>;

/// The key of a note: what it is, and a keyed hash of what it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NoteKey(pub [u8; 17]);

impl SlotKey {
    /// A token's slot.
    pub fn token(token: EntryId) -> SlotKey {
        SlotKey::of(b't', token)
    }

    /// A user's slot.
    pub fn user(user: EntryId) -> SlotKey {
        SlotKey::of(b'u', user)
    }

    fn of(kind: u8, entry: EntryId) -> SlotKey {
        let mut key = [kind; 17];
        if let Some(rest) = key.last_chunk_mut::<16>() {
            *rest = entry.octets();
        }
        SlotKey(key)
    }

    fn entry(&self) -> (u8, EntryId) {
        let [kind, rest @ ..] = self.0;
        (kind, EntryId::new(rest))
    }

    /// Reads what stands under this key; `None` for a form that we do not know.
    pub fn read(&self, value: &[u8]) -> Option<Mark> {
        let mut left = Left(value);
        if left.array::<1>()? != [FORM] {
            return None;
        }
        let (kind, entry) = self.entry();
        let mark = match kind {
            b't' => Mark::Token(TokenMark {
                token: entry,
                version: u32::from_le_bytes(left.array()?),
                last: {
                    let used = left.array::<1>()? == [1];
                    let step = otp::Step(u64::from_le_bytes(left.array()?));
                    used.then_some(step)
                },
                drift: i16::from_le_bytes(left.array()?),
                failures: u16::from_le_bytes(left.array()?),
                imprint: u32::from_le_bytes(left.array()?),
            }),
            b'u' => Mark::User(UserMark {
                user: entry,
                version: u32::from_le_bytes(left.array()?),
                codes: left.lockout()?,
                passwords: left.lockout()?,
            }),
            _ => return None,
        };
        left.0.is_empty().then_some(mark)
    }
}

/// A mark as a slot's key and value; `None` for a slot that was never written, and for marks that have no slot.
pub fn slot(mark: &Mark) -> Option<(SlotKey, Option<SlotValue>)> {
    let mut value = SlotValue::new();
    let put = |value: &mut SlotValue, octets: &[u8]| {
        // There is room: a user's value is the longest, with 27 octets.
        let _ = value.try_extend_from_slice(octets);
    };
    put(&mut value, &[FORM]);
    let (key, version) = match mark {
        Mark::Token(mark) => {
            put(&mut value, &mark.version.to_le_bytes());
            put(&mut value, &[u8::from(mark.last.is_some())]);
            put(&mut value, &mark.last.unwrap_or_default().0.to_le_bytes());
            put(&mut value, &mark.drift.to_le_bytes());
            put(&mut value, &mark.failures.to_le_bytes());
            put(&mut value, &mark.imprint.to_le_bytes());
            (SlotKey::token(mark.token), mark.version)
        }
        Mark::User(mark) => {
            put(&mut value, &mark.version.to_le_bytes());
            for lockout in [&mark.codes, &mark.passwords] {
                let (kind, until) = match lockout.lock {
                    Lock::Open => (0, 0),
                    Lock::Until(until) => (1, until.seconds()),
                    Lock::UntilReleased => (2, 0),
                };
                put(&mut value, &lockout.failures.to_le_bytes());
                put(&mut value, &[kind]);
                put(&mut value, &u64::to_le_bytes(until));
            }
            (SlotKey::user(mark.user), mark.version)
        }
        Mark::Pin(_) | Mark::Clock(_) => return None,
    };
    Some((key, (version > 0).then_some(value)))
}

/// Octets that are not read yet.
struct Left<'a>(&'a [u8]);

impl Left<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn lockout(&mut self) -> Option<Lockout> {
        let failures = u16::from_le_bytes(self.array()?);
        let [kind] = self.array()?;
        let until = u64::from_le_bytes(self.array()?);
        let lock = match kind {
            0 => Lock::Open,
            1 => Lock::Until(Wall::from_seconds(until)),
            2 => Lock::UntilReleased,
            _ => return None,
        };
        Some(Lockout { failures, lock })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: EntryId = EntryId::new([9; 16]);

    #[test]
    fn a_mark_reads_as_it_was_written() {
        let lockout = |failures, lock| Lockout { failures, lock };
        let marks = [
            Mark::Token(TokenMark {
                token: ENTRY,
                version: 7,
                last: Some(otp::Step(56_666_666)),
                drift: -3,
                failures: 4,
                imprint: 0xdead_beef,
            }),
            Mark::Token(TokenMark {
                token: ENTRY,
                version: 1,
                last: None,
                drift: 0,
                failures: 1,
                imprint: 1,
            }),
            Mark::User(UserMark {
                user: ENTRY,
                version: 3,
                codes: lockout(5, Lock::UntilReleased),
                passwords: lockout(2, Lock::Until(Wall::from_seconds(1_700_000_000))),
            }),
        ];
        for mark in marks {
            let (key, value) = slot(&mark).unwrap();
            let value = value.unwrap();
            assert_eq!(key.read(&value), Some(mark));
            for cut in 0..value.len() {
                assert_eq!(key.read(&value[..cut]), None, "{cut}");
            }
            let longer: Vec<u8> = value.iter().copied().chain([0]).collect();
            assert_eq!(key.read(&longer), None);
        }
    }

    #[test]
    fn what_was_never_written_has_no_value() {
        let user =
            UserMark { user: ENTRY, version: 0, codes: Lockout::default(), passwords: Lockout::default() };
        assert_eq!(slot(&Mark::User(user)), Some((SlotKey::user(ENTRY), None)));
        assert_eq!(slot(&Mark::Clock(Wall::from_seconds(1))), None);
    }
}
