//! Users by their identity and by their names, by the million.
//!
//! ```text
//! a name ─ hash ─▶ numbers of users ──────┐
//!                                          ├─▶ user: compared with what was looked for
//! an identity ─ hash ─▶ numbers of users ──┘
//! ```
//!
//! Users stand one behind the other; hash tables, of which half is empty now and then, hold their numbers. Whoever needs a
//! part of both holds the one of the names first.

use super::PARTS;
use super::contracts::folded;
use super::parts::{Parts, part_of};
use super::pieces::Pieces;
use crate::identity::EntryId;
use crate::tokens::KeptUser;
use ahash::RandomState;
use arrayvec::ArrayVec;
use hashbrown::HashTable;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A name in the form it is compared in: hashed under two random keys, so that senders cannot choose collisions and a
/// name costs sixteen octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
struct NameKey([u32; 4]);

impl NameKey {
    /// Of two hashes of one name.
    #[expect(clippy::cast_possible_truncation, reason = "they are taken apart")]
    fn of(first: u64, second: u64) -> NameKey {
        NameKey([(first >> 32) as u32, first as u32, (second >> 32) as u32, second as u32])
    }

    fn hash(self) -> u64 {
        let [high, low, ..] = self.0.map(u64::from);
        high << 32 | low
    }

    /// What stands beside a user's number in the table of names.
    fn mark(self) -> u32 {
        self.0[3]
    }
}

/// How names are compared.
#[derive(Default)]
struct Spelling {
    hashers: [RandomState; 2],
}

/// Users, by identity and by name.
#[derive(Default)]
pub struct People {
    hasher: RandomState,
    spelling: Spelling,
    users: Parts<Part>,
    names: Parts<HashTable<Bearer>>,
    writing: Mutex<()>,
}

/// Whom a name may lead to, and a part of the name's hash.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Bearer {
    mark: u32,
    user: Number,
}

/// A user's number: the same as long as they are held.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Number(u32);

#[derive(Default)]
struct Part {
    places: HashTable<u32>,
    held: Pieces<Option<Arc<KeptUser>>>,
    free: Vec<u32>,
    /// The names of those who have others than the one that their entry carries.
    names: HashMap<u32, Box<[NameKey]>, RandomState>,
}

/// Who has a name.
pub enum Having {
    /// Nobody.
    Nobody,
    /// Exactly this user.
    One(Arc<KeptUser>),
    /// More than one.
    Several,
}

/// Bits of a number that say which part a user stands in; the others say where.
const PART_BITS: u32 = PARTS.ilog2();
const PLACE_BITS: u32 = u32::BITS - PART_BITS;

impl Number {
    /// Unambiguous up to eight million users in one part, which is four thousand million in all.
    fn of(part: usize, place: u32) -> Number {
        Number(u32::try_from(part).unwrap_or(0) << PLACE_BITS | place)
    }

    fn part(self) -> usize {
        usize::try_from(self.0 >> PLACE_BITS).unwrap_or(0)
    }

    fn place(self) -> u32 {
        self.0 << PART_BITS >> PART_BITS
    }
}

impl Spelling {
    /// Names are compared as the directory's caseIgnoreMatch does (RFC 4518): case and surplus blanks do not count.
    fn key(&self, name: &str) -> NameKey {
        let [first, second] = &self.hashers;
        let of = |folded: &[u8]| NameKey::of(first.hash_one(folded), second.hash_one(folded));
        match fold_plain(name) {
            Some(folded) => of(&folded),
            None => of(folded(name).as_bytes()),
        }
    }

    fn keys(&self, names: &[impl AsRef<str>]) -> Vec<NameKey> {
        let mut keys: Vec<NameKey> = names.iter().map(|name| self.key(name.as_ref())).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }
}

/// What nearly every name is: short, ASCII and without blanks. The same result as for any other name, without an
/// allocation.
fn fold_plain(name: &str) -> Option<ArrayVec<u8, 64>> {
    let mut folded = ArrayVec::new();
    for octet in name.bytes() {
        let plain = matches!(octet, b'!'..=b'~').then(|| octet.to_ascii_lowercase())?;
        folded.try_push(plain).ok()?;
    }
    Some(folded)
}

impl People {
    /// Who has this name.
    pub fn named(&self, name: &str) -> Having {
        let key = self.spelling.key(name);
        let names = self.names.read(part_of(key.hash()));
        let mut found = Having::Nobody;
        for bearer in names.iter_hash(spread(key.mark())).filter(|bearer| bearer.mark == key.mark()) {
            let users = self.users.read(bearer.user.part());
            let Some(user) = users.bearing(bearer.user.place(), name, key) else { continue };
            match found {
                Having::Nobody => found = Having::One(Arc::clone(user)),
                Having::One(_) | Having::Several => return Having::Several,
            }
        }
        found
    }

    /// The user of this identity.
    pub fn user(&self, id: EntryId) -> Option<Arc<KeptUser>> {
        let (hash, part) = self.whereabouts(id);
        let users = self.users.read(part);
        held(&users.held, users.place(hash, id)?).cloned()
    }

    /// The first thing that `wanted` finds among all of them.
    pub fn find<T>(&self, mut wanted: impl FnMut(&KeptUser) -> Option<T>) -> Option<T> {
        self.users.each().find_map(|users| users.held.iter().flatten().find_map(|user| wanted(user)))
    }

    /// Puts a user in, found by these names and no others; in place of whoever has the same identity.
    pub fn put(&self, user: &Arc<KeptUser>, names: &[impl AsRef<str>]) {
        let keys = self.spelling.keys(names);
        let _writing = self.writing();
        let (hash, part) = self.whereabouts(user.id());
        let mut users = self.users.write(part);
        let (place, before) = match users.place(hash, user.id()) {
            Some(place) => (place, users.replace(&self.spelling, place, Some(Arc::clone(user)))),
            None => (users.enter(&self.hasher, hash, user), Vec::new()),
        };
        if keys != [self.spelling.key(user.name())] {
            users.names.insert(place, keys.as_slice().into());
        }
        drop(users);
        let number = Number::of(part, place);
        for key in before.iter().filter(|key| !keys.contains(key)) {
            self.unname(*key, number);
        }
        for key in keys.iter().filter(|key| !before.contains(key)) {
            self.name(*key, number);
        }
    }

    /// Takes a user out.
    pub fn remove(&self, id: EntryId) {
        let _writing = self.writing();
        let (hash, part) = self.whereabouts(id);
        let Some((place, names)) = self.users.write(part).remove(&self.spelling, hash, id) else { return };
        let number = Number::of(part, place);
        for key in &names {
            self.unname(*key, number);
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.users.each().map(|users| users.places.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.users.each().all(|users| users.places.is_empty())
    }

    fn whereabouts(&self, id: EntryId) -> (u64, usize) {
        let hash = self.hasher.hash_one(id);
        (hash, part_of(hash))
    }

    /// Who changes anything does so alone: what is in one table shall not be overtaken by what is in the other.
    fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn name(&self, key: NameKey, user: Number) {
        let bearer = Bearer { mark: key.mark(), user };
        let mut names = self.names.write(part_of(key.hash()));
        names.insert_unique(spread(bearer.mark), bearer, |held| spread(held.mark));
    }

    fn unname(&self, key: NameKey, user: Number) {
        let bearer = Bearer { mark: key.mark(), user };
        let mut names = self.names.write(part_of(key.hash()));
        if let Ok(held) = names.find_entry(spread(bearer.mark), |held| *held == bearer) {
            held.remove();
        }
    }
}

impl Part {
    /// The user in this place, if this is one of their names.
    fn bearing(&self, place: u32, name: &str, key: NameKey) -> Option<&Arc<KeptUser>> {
        let user = held(&self.held, place)?;
        let is_theirs = match self.names.get(&place) {
            Some(names) => names.contains(&key),
            None => user.name().eq_ignore_ascii_case(name) || folded(user.name()) == folded(name),
        };
        is_theirs.then_some(user)
    }

    fn place(&self, hash: u64, id: EntryId) -> Option<u32> {
        let is_it = |place: &u32| held(&self.held, *place).is_some_and(|user| user.id() == id);
        self.places.find(hash, is_it).copied()
    }

    fn enter(&mut self, hasher: &RandomState, hash: u64, user: &Arc<KeptUser>) -> u32 {
        let new = Some(Arc::clone(user));
        let free = self.free.pop().and_then(|place| Some((place, self.held.value_mut(place)?)));
        let place = match free {
            Some((place, held)) => {
                *held = new;
                place
            }
            None => self.held.push(new),
        };
        let hash_of = |place: &u32| held(&self.held, *place).map_or(0, |user| hasher.hash_one(user.id()));
        self.places.insert_unique(hash, place, hash_of);
        place
    }

    /// Takes a user out; gives the place and the names.
    fn remove(&mut self, spelling: &Spelling, hash: u64, id: EntryId) -> Option<(u32, Vec<NameKey>)> {
        let is_it = |place: &u32| held(&self.held, *place).is_some_and(|user| user.id() == id);
        let (place, _) = self.places.find_entry(hash, is_it).ok()?.remove();
        self.free.push(place);
        Some((place, self.replace(spelling, place, None)))
    }

    /// Puts somebody else in a place, or nobody; gives the names of who was there.
    fn replace(&mut self, spelling: &Spelling, place: u32, new: Option<Arc<KeptUser>>) -> Vec<NameKey> {
        let held = self.held.value_mut(place);
        let before = held.and_then(|held| std::mem::replace(held, new));
        match (self.names.remove(&place), before) {
            (Some(names), _) => names.into_vec(),
            (None, Some(user)) => vec![spelling.key(user.name())],
            (None, None) => Vec::new(),
        }
    }
}

fn held(all: &Pieces<Option<Arc<KeptUser>>>, place: u32) -> Option<&Arc<KeptUser>> {
    all.get(place)?.as_ref()
}

/// A table takes its place from the lower bits and compares the seven highest.
fn spread(mark: u32) -> u64 {
    u64::from(mark).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::{Account, Role, Tokens, User};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn user(id: u8, name: &str) -> Arc<KeptUser> {
        let user = User {
            id: EntryId::new([id; 16]),
            name: name.into(),
            dn: format!("uid={name},dc=x").into(),
            contract: None,
            role: Role::General,
            login_code: None,
            account: Account::default(),
            tokens: Tokens::These(Vec::new()),
        };
        KeptUser::new(&user)
    }

    #[test]
    fn a_name_is_one_whether_it_is_folded_in_place_or_not() {
        let spelling = Spelling::default();
        for name in ["U001", "a.b@example.jp", &"n".repeat(64), &"n".repeat(65)] {
            assert_eq!(spelling.key(name), spelling.key(&format!(" {} ", name.to_lowercase())));
        }
    }

    proptest! {
        #[test]
        fn they_are_found_by_what_they_were_put_in_with_last(
            acts: Vec<(bool, u8, [bool; 3], u8)>,
        ) {
            const NAMES: [&str; 4] = ["a", "b", "C c", "d"];
            let (people, mut known) = (People::default(), HashMap::<u8, (String, BTreeSet<&str>)>::new());
            for (goes, id, has, own) in acts {
                let id = id % 6;
                if goes {
                    people.remove(EntryId::new([id; 16]));
                    known.remove(&id);
                    continue;
                }
                let own = NAMES[usize::from(own % 4)];
                let names: Vec<&str> = NAMES.into_iter().zip(has).filter_map(|(name, has)| has.then_some(name)).collect();
                people.put(&user(id, own), &names);
                known.insert(id, (own.to_owned(), names.into_iter().collect()));
            }
            prop_assert_eq!(people.len(), known.len());
            for id in 0..6 {
                let found = people.user(EntryId::new([id; 16])).map(|user| user.name().to_owned());
                prop_assert_eq!(found.as_ref(), known.get(&id).map(|(own, _)| own));
            }
            for name in NAMES {
                let bearers: Vec<u8> = known.iter().filter(|(_, (_, names))| names.contains(name)).map(|(id, _)| *id).collect();
                match (people.named(&name.to_uppercase()), bearers.as_slice()) {
                    (Having::Nobody, []) => {}
                    (Having::One(user), [id]) => prop_assert_eq!(user.id(), EntryId::new([*id; 16])),
                    (Having::Several, [_, _, ..]) => {}
                    _ => prop_assert!(false, "{name}: {bearers:?}"),
                }
            }
            let held: usize = people.names.each().map(|names| names.len()).sum();
            prop_assert_eq!(held, known.values().map(|(_, names)| names.len()).sum::<usize>(), "no name is left over");
        }
    }
}
