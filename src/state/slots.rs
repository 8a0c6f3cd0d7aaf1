//! What is remembered of entries by the million: found by their identity, and almost without room that nobody uses.
//!
//! A hash table that has just doubled is more than half empty. So values stand one behind the other, and the hash table holds only
//! their numbers, of four octets.

use super::parts::{Parts, part_of};
use super::pieces::Pieces;
use crate::identity::EntryId;
use ahash::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// A slot for each entry that anything is remembered of. It stays as long as the process.
pub struct Slots<V> {
    hasher: RandomState,
    parts: Parts<Part<V>>,
}

struct Part<V> {
    numbers: HashTable<u32>,
    slots: Pieces<(EntryId, V)>,
}

impl<V> Default for Slots<V> {
    fn default() -> Slots<V> {
        Slots { hasher: RandomState::new(), parts: Parts::default() }
    }
}

impl<V> Default for Part<V> {
    fn default() -> Part<V> {
        Part { numbers: HashTable::new(), slots: Pieces::default() }
    }
}

impl<V: Copy + Default> Slots<V> {
    /// What is remembered of an entry.
    pub fn get(&self, id: EntryId) -> Option<V> {
        let hash = self.hasher.hash_one(id);
        let part = self.parts.read(part_of(hash));
        let number = part.number(hash, id)?;
        part.slots.get(number).map(|(_, value)| *value)
    }

    /// Changes what is remembered of an entry; nobody else sees or changes it meanwhile.
    pub fn change<T>(&self, id: EntryId, change: impl FnOnce(&mut V) -> T) -> T {
        let hash = self.hasher.hash_one(id);
        let mut part = self.parts.write(part_of(hash));
        let Part { numbers, slots } = &mut *part;
        let is_it = |number: &u32| slots.get(*number).is_some_and(|(held, _)| *held == id);
        let hash_of = |number: &u32| slots.get(*number).map_or(0, |(held, _)| self.hasher.hash_one(held));
        let number = match numbers.entry(hash, is_it, hash_of) {
            Entry::Occupied(held) => *held.get(),
            Entry::Vacant(vacant) => *vacant.insert(slots.push((id, V::default()))).get(),
        };
        match slots.value_mut(number) {
            Some((_, value)) => change(value),
            // Never: the number was found or given just now.
            None => change(&mut V::default()),
        }
    }

    /// The same where something is remembered already.
    pub fn change_held<T>(&self, id: EntryId, change: impl FnOnce(&mut V) -> T) -> Option<T> {
        let hash = self.hasher.hash_one(id);
        let mut part = self.parts.write(part_of(hash));
        let number = part.number(hash, id)?;
        part.slots.value_mut(number).map(|(_, value)| change(value))
    }

    /// Tells of all, part by part, while requests go on.
    pub fn each(&self, mut tell: impl FnMut(EntryId, V)) {
        for part in self.parts.each() {
            part.slots.iter().for_each(|(id, value)| tell(*id, *value));
        }
    }

    /// Of how many entries something is remembered.
    pub fn len(&self) -> usize {
        self.parts.each().map(|part| part.slots.len()).sum()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.parts.each().all(|part| part.slots.is_empty())
    }
}

impl<V> Part<V> {
    fn number(&self, hash: u64, id: EntryId) -> Option<u32> {
        let is_it = |number: &u32| self.slots.get(*number).is_some_and(|(held, _)| *held == id);
        self.numbers.find(hash, is_it).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn id(number: u8) -> EntryId {
        EntryId::new([number; 16])
    }

    #[test]
    fn a_slot_takes_hardly_more_than_its_octets() {
        let slots = Slots::<[u32; 5]>::default();
        for number in 0..200_000_u128 {
            slots.change(EntryId::new(number.to_be_bytes()), |value| value[0] = 1);
        }
        let room: usize =
            slots.parts.each().map(|part| part.slots.room() * size_of::<(EntryId, [u32; 5])>()).sum();
        assert!(room < 200_000 * 43, "{}", room / 200_000);
        assert_eq!(slots.len(), 200_000);
        assert!(
            (0..200_000_u128)
                .all(|number| slots.get(EntryId::new(number.to_be_bytes())) == Some([1, 0, 0, 0, 0]))
        );
    }

    proptest! {
        #[test]
        fn it_holds_what_a_map_holds(acts: Vec<(bool, u8, u32)>) {
            let (slots, mut map) = (Slots::<u32>::default(), HashMap::new());
            for (only_held, number, by) in acts {
                let number = number % 32;
                if only_held {
                    let held = map.get_mut(&number).map(|value: &mut u32| { *value ^= by; *value });
                    prop_assert_eq!(slots.change_held(id(number), |value| { *value ^= by; *value }), held);
                } else {
                    *map.entry(number).or_default() ^= by;
                    slots.change(id(number), |value| *value ^= by);
                }
            }
            prop_assert_eq!(slots.is_empty(), map.is_empty());
            let mut all = HashMap::new();
            slots.each(|id, value| { all.insert(id.octets()[0], value); });
            prop_assert_eq!(&all, &map);
            prop_assert!((0..32).all(|number| slots.get(id(number)).as_ref() == map.get(&number)));
        }
    }
}
