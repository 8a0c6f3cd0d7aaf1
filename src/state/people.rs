//! Users by their identity and by their names, by the million.
//!
//! ```text
//! a name ─ hash ─▶ names: numbers of users ─┐
//!                                            ├─▶ user, and the keys of their names: two with one name are seen to be two
//! an identity ─ hash ─▶ numbers of users ────┘
//! ```
//!
//! Users stand one behind the other, in room that grows by an eighth; hash tables, of which half is empty now and then, hold
//! numbers. Whoever needs a part of both holds the one of the names first.

use super::PARTS;
use super::parts::{Parts, part_of};
use super::slots;
use crate::identity::EntryId;
use crate::tokens::KeptUser;
use ahash::RandomState;
use hashbrown::HashTable;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A name in the form it is compared in: hashed under two random keys, so that senders cannot choose collisions and a
/// name costs sixteen octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct NameKey([u32; 4]);

impl NameKey {
    /// Of two hashes of one name.
    #[expect(clippy::cast_possible_truncation, reason = "they are taken apart")]
    pub fn of(first: u64, second: u64) -> NameKey {
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

/// Users, by identity and by name.
#[derive(Default)]
pub struct People {
    hasher: RandomState,
    users: Parts<Users>,
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
struct Users {
    places: HashTable<u32>,
    held: Vec<Option<Held>>,
    free: Vec<u32>,
    /// The names of those who have several, or none.
    names: HashMap<u32, Box<[NameKey]>, RandomState>,
}

struct Held {
    user: Arc<KeptUser>,
    /// The only name.
    name: NameKey,
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

impl People {
    /// Who has this name.
    pub fn named(&self, key: NameKey) -> Having {
        let names = self.names.read(part_of(key.hash()));
        let mut found = Having::Nobody;
        for bearer in names.iter_hash(spread(key.mark())).filter(|bearer| bearer.mark == key.mark()) {
            let users = self.users.read(bearer.user.part());
            let Some(user) = users.bearing(bearer.user.place(), key) else { continue };
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
        held(&users.held, users.place(hash, id)?).map(|held| Arc::clone(&held.user))
    }

    /// The first thing that `wanted` finds among all of them.
    pub fn find<T>(&self, mut wanted: impl FnMut(&KeptUser) -> Option<T>) -> Option<T> {
        self.users.each().find_map(|users| users.held.iter().flatten().find_map(|held| wanted(&held.user)))
    }

    /// Puts a user in, found by these names and no others; in place of whoever has the same identity.
    pub fn put(&self, user: &Arc<KeptUser>, keys: &[NameKey]) {
        let _writing = self.writing();
        let (hash, part) = self.whereabouts(user.id());
        let (place, before) = self.users.write(part).put(&self.hasher, hash, user, keys);
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
        let Some((place, names)) = self.users.write(part).remove(hash, id) else { return };
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

impl Users {
    /// The user in this place, if this is one of their names.
    fn bearing(&self, place: u32, key: NameKey) -> Option<&Arc<KeptUser>> {
        let held = held(&self.held, place)?;
        (held.name == key || self.names.get(&place).is_some_and(|names| names.contains(&key)))
            .then_some(&held.user)
    }

    fn place(&self, hash: u64, id: EntryId) -> Option<u32> {
        let is_it = |place: &u32| held(&self.held, *place).is_some_and(|held| held.user.id() == id);
        self.places.find(hash, is_it).copied()
    }

    /// Gives the user's place, and the names that they had before.
    fn put(
        &mut self,
        hasher: &RandomState,
        hash: u64,
        user: &Arc<KeptUser>,
        keys: &[NameKey],
    ) -> (u32, Vec<NameKey>) {
        let (name, several) = match keys {
            [name] => (*name, None),
            names => (NameKey::default(), Some(names)),
        };
        let new = Some(Held { user: Arc::clone(user), name });
        let (place, before) = match self.place(hash, user.id()) {
            Some(place) => (place, self.forget(place, new)),
            None => (self.enter(hasher, hash, new), Vec::new()),
        };
        if let Some(names) = several {
            self.names.insert(place, names.into());
        }
        (place, before)
    }

    /// Takes a user out; gives the place and the names.
    fn remove(&mut self, hash: u64, id: EntryId) -> Option<(u32, Vec<NameKey>)> {
        let is_it = |place: &u32| held(&self.held, *place).is_some_and(|held| held.user.id() == id);
        let (place, _) = self.places.find_entry(hash, is_it).ok()?.remove();
        self.free.push(place);
        Some((place, self.forget(place, None)))
    }

    fn enter(&mut self, hasher: &RandomState, hash: u64, new: Option<Held>) -> u32 {
        let place = match self.free.pop() {
            Some(place) => {
                if let Some(held) = usize::try_from(place).ok().and_then(|at| self.held.get_mut(at)) {
                    *held = new;
                }
                place
            }
            None => slots::put(&mut self.held, new),
        };
        let hash_of =
            |place: &u32| held(&self.held, *place).map_or(0, |held| hasher.hash_one(held.user.id()));
        self.places.insert_unique(hash, place, hash_of);
        place
    }

    /// Puts something else in a place; gives the names of who was there.
    fn forget(&mut self, place: u32, new: Option<Held>) -> Vec<NameKey> {
        let Some(held) = usize::try_from(place).ok().and_then(|at| self.held.get_mut(at)) else {
            return Vec::new();
        };
        let Some(before) = std::mem::replace(held, new) else { return Vec::new() };
        match self.names.remove(&place) {
            Some(names) => names.into_vec(),
            None => vec![before.name],
        }
    }
}

fn held(all: &[Option<Held>], place: u32) -> Option<&Held> {
    all.get(usize::try_from(place).ok()?)?.as_ref()
}

/// A table takes its place from the lower bits and compares the seven highest.
fn spread(mark: u32) -> u64 {
    u64::from(mark).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
