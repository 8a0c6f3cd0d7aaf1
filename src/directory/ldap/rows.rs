//! The rows of one content: found by their identity, and by a number that takes a quarter of its room.

use super::packed::Packed;
use crate::identity::EntryId;
use ahash::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// A row's number, the same as long as the row is there; then another may get it. Below [`NUMBERS`].
pub type Number = u32;

/// How many numbers there are: the highest bit is left to whoever keeps them.
pub const NUMBERS: Number = 1 << 31;

/// Rows by identity and by number.
#[derive(Default)]
pub struct Rows {
    hasher: RandomState,
    rows: Vec<Option<(EntryId, Packed)>>,
    free: Vec<Number>,
    numbers: HashTable<Number>,
}

impl Rows {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// The identities of all rows.
    pub fn ids(&self) -> impl Iterator<Item = EntryId> {
        self.rows.iter().flatten().map(|(id, _)| *id)
    }

    /// Whether there is a row of this identity.
    pub fn has(&self, id: EntryId) -> bool {
        self.number(id).is_some()
    }

    /// The row of this identity.
    pub fn get(&self, id: EntryId) -> Option<&Packed> {
        self.at(self.number(id)?).map(|(_, row)| row)
    }

    /// The row of this number, with its identity.
    pub fn at(&self, number: Number) -> Option<(EntryId, &Packed)> {
        at(&self.rows, number).map(|(id, row)| (*id, row))
    }

    /// Puts a row in; gives its number, and the row that was there before. `None`: there are as many as numbers.
    pub fn put(&mut self, id: EntryId, row: Packed) -> Option<(Number, Option<Packed>)> {
        let Rows { hasher, rows, free, numbers } = self;
        let is_it = |number: &Number| at(rows, *number).is_some_and(|(held, _)| *held == id);
        let hash_of = |number: &Number| at(rows, *number).map_or(0, |(held, _)| hasher.hash_one(held));
        match numbers.entry(hasher.hash_one(id), is_it, hash_of) {
            Entry::Occupied(held) => {
                let number = *held.get();
                let before = place(rows, number)?.replace((id, row));
                Some((number, before.map(|(_, row)| row)))
            }
            Entry::Vacant(vacant) => {
                let number = free
                    .pop()
                    .or_else(|| Number::try_from(rows.len()).ok().filter(|next| *next < NUMBERS))?;
                vacant.insert(number);
                match place(rows, number) {
                    Some(place) => *place = Some((id, row)),
                    None => rows.push(Some((id, row))),
                }
                Some((number, None))
            }
        }
    }

    /// Takes a row out; its number may be another's from the next [`Rows::put`] on.
    pub fn remove(&mut self, id: EntryId) -> Option<(Number, Packed)> {
        let Rows { hasher, rows, free, numbers } = self;
        let is_it = |number: &Number| at(rows, *number).is_some_and(|(held, _)| *held == id);
        let (number, _) = numbers.find_entry(hasher.hash_one(id), is_it).ok()?.remove();
        let (_, row) = place(rows, number)?.take()?;
        free.push(number);
        Some((number, row))
    }

    /// The number of the row of this identity.
    pub fn number(&self, id: EntryId) -> Option<Number> {
        let is_it = |number: &Number| at(&self.rows, *number).is_some_and(|(held, _)| *held == id);
        self.numbers.find(self.hasher.hash_one(id), is_it).copied()
    }
}

fn at(rows: &[Option<(EntryId, Packed)>], number: Number) -> Option<&(EntryId, Packed)> {
    rows.get(usize::try_from(number).ok()?)?.as_ref()
}

fn place(rows: &mut [Option<(EntryId, Packed)>], number: Number) -> Option<&mut Option<(EntryId, Packed)>> {
    rows.get_mut(usize::try_from(number).ok()?)
}

#[cfg(test)]
mod tests {
    use super::super::message::RawEntry;
    use super::super::packed::Phrases;
    use super::*;

    fn id(number: u8) -> EntryId {
        EntryId::new([number; 16])
    }

    fn row(dn: &str) -> Packed {
        Phrases::new("dc=x", &[]).pack(RawEntry::again(dn, &[])).unwrap()
    }

    #[test]
    fn a_row_keeps_its_number_and_a_free_one_is_taken_again() {
        let mut rows = Rows::default();
        assert!(rows.put(id(1), row("a")).is_some_and(|put| put == (0, None)));
        assert!(rows.put(id(2), row("b")).is_some_and(|put| put == (1, None)));
        assert!(rows.put(id(1), row("c")).is_some_and(|put| put == (0, Some(row("a")))));
        assert!(rows.get(id(1)) == Some(&row("c")) && rows.at(1).is_some_and(|(held, _)| held == id(2)));
        assert!(rows.remove(id(1)) == Some((0, row("c"))) && rows.remove(id(1)).is_none());
        assert!(!rows.has(id(1)) && rows.at(0).is_none() && rows.len() == 1);
        assert!(rows.put(id(3), row("d")).is_some_and(|put| put == (0, None)));
        assert_eq!(rows.ids().collect::<Vec<_>>(), [id(3), id(2)]);
    }

    #[test]
    fn many_rows_are_all_found() {
        let mut rows = Rows::default();
        let ids = || (0..5_000_u128).map(|number| EntryId::new((number << 32).to_be_bytes()));
        for id in ids() {
            rows.put(id, row("a")).unwrap();
        }
        for id in ids().step_by(2) {
            rows.remove(id).unwrap();
        }
        for (at, id) in ids().enumerate() {
            assert_eq!(rows.has(id), at % 2 == 1, "{at}");
        }
        assert_eq!(rows.ids().count(), 2_500);
    }
}
