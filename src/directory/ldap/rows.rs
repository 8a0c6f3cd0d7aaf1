//! The rows of one content: found by their identity, and by a number that takes a quarter of its room.
//!
//! Eight rows share one piece of octets, which wipes itself: a row of 50 octets with an allocation of its own took twice as many.
//! Neighbours say nearly the same, and so each is written by what differs from the one before it.
//!
//! ```text
//! shelf   eight places
//! place   0, or 1 · identity · the row's difference from the one before (`differing`), as a run (`compact`)
//! ```

use super::differing;
use super::packed::Packed;
use crate::compact::{Reader, put_run, run_size};
use crate::identity::EntryId;
use crate::secret::Secret;
use ahash::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use zeroize::{Zeroize as _, Zeroizing};

/// A row's number, the same as long as the row is there; then another may get it. Below [`NUMBERS`].
pub type Number = u32;

/// How many numbers there are: the highest bit is left to whoever keeps them.
pub const NUMBERS: Number = 1 << 31;

/// Places of one shelf.
const PLACES: Number = 8;

/// Octets of an identity.
const ID: usize = 16;

/// A row with its identity, or an empty place.
type Place = Option<(EntryId, Packed)>;

/// Rows by identity and by number.
#[derive(Default)]
pub struct Rows {
    hasher: RandomState,
    shelves: Shelves,
    free: Vec<Number>,
    numbers: HashTable<Number>,
}

#[derive(Default)]
struct Shelves {
    full: Vec<Secret>,
    /// The rows with the highest numbers, until there are enough for a shelf.
    last: Vec<Place>,
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
        self.given().filter_map(|number| self.id_at(number))
    }

    /// All rows, in the order of their numbers.
    pub fn each(&self) -> impl Iterator<Item = (EntryId, Packed)> {
        let full = self.shelves.full.iter().flat_map(places_of);
        full.chain(self.shelves.last.iter().map(again)).flatten()
    }

    /// The numbers that have been given; of some of them there may be no row any more.
    pub fn given(&self) -> std::ops::Range<Number> {
        0..self.shelves.given().unwrap_or(NUMBERS)
    }

    /// Whether there is a row of this identity.
    pub fn has(&self, id: EntryId) -> bool {
        self.number(id).is_some()
    }

    /// The row of this identity.
    pub fn get(&self, id: EntryId) -> Option<Packed> {
        self.at(self.number(id)?).map(|(_, row)| row)
    }

    /// The row of this number, with its identity.
    pub fn at(&self, number: Number) -> Option<(EntryId, Packed)> {
        self.shelves.at(number)
    }

    /// The identity of the row of this number.
    pub fn id_at(&self, number: Number) -> Option<EntryId> {
        self.shelves.id_at(number)
    }

    /// Puts a row in; gives its number, and the row that was there before. `None`: there are as many as numbers.
    pub fn put(&mut self, id: EntryId, row: Packed) -> Option<(Number, Option<Packed>)> {
        let Rows { hasher, shelves, free, numbers } = self;
        let is_it = |number: &Number| shelves.id_at(*number) == Some(id);
        let hash_of = |number: &Number| shelves.id_at(*number).map_or(0, |held| hasher.hash_one(held));
        let number = match numbers.entry(hasher.hash_one(id), is_it, hash_of) {
            Entry::Occupied(held) => *held.get(),
            Entry::Vacant(vacant) => {
                let number = free.pop().or_else(|| shelves.next())?;
                vacant.insert(number);
                number
            }
        };
        Some((number, shelves.replace(number, Some((id, row)))))
    }

    /// Takes a row out; its number may be another's from the next [`Rows::put`] on.
    pub fn remove(&mut self, id: EntryId) -> Option<(Number, Packed)> {
        let Rows { hasher, shelves, free, numbers } = self;
        let is_it = |number: &Number| shelves.id_at(*number) == Some(id);
        let (number, _) = numbers.find_entry(hasher.hash_one(id), is_it).ok()?.remove();
        let row = shelves.replace(number, None)?;
        free.push(number);
        Some((number, row))
    }

    /// The number of the row of this identity.
    pub fn number(&self, id: EntryId) -> Option<Number> {
        let is_it = |number: &Number| self.shelves.id_at(*number) == Some(id);
        self.numbers.find(self.hasher.hash_one(id), is_it).copied()
    }
}

impl Shelves {
    fn at(&self, number: Number) -> Place {
        let (shelf, place) = whereabouts(number)?;
        match self.full.get(shelf) {
            Some(shelf) => places_of(shelf).nth(place)?,
            None => again(self.last.get(place)?),
        }
    }

    fn id_at(&self, number: Number) -> Option<EntryId> {
        let (shelf, place) = whereabouts(number)?;
        match self.full.get(shelf) {
            Some(shelf) => Differences::of(shelf).nth(place)?.map(|(id, _)| id),
            None => self.last.get(place)?.as_ref().map(|(id, _)| *id),
        }
    }

    /// A number that nobody had yet; its place is empty.
    fn next(&mut self) -> Option<Number> {
        let next = self.given().filter(|next| *next < NUMBERS)?;
        self.last.push(None);
        Some(next)
    }

    fn given(&self) -> Option<Number> {
        let full = Number::try_from(self.full.len()).ok()?.checked_mul(PLACES)?;
        full.checked_add(Number::try_from(self.last.len()).ok()?)
    }

    /// Puts something else in one place; gives what was there.
    fn replace(&mut self, number: Number, new: Place) -> Option<Packed> {
        let (shelf, place) = whereabouts(number)?;
        let before = match self.full.get_mut(shelf) {
            Some(shelf) => {
                let mut places: Vec<Place> = places_of(shelf).collect();
                let before = std::mem::replace(places.get_mut(place)?, new);
                *shelf = shelf_of(&places);
                before
            }
            None => {
                let before = std::mem::replace(self.last.get_mut(place)?, new);
                if self.last.len() == usize::try_from(PLACES).unwrap_or(usize::MAX) {
                    self.full.push(shelf_of(&self.last));
                    self.last.clear();
                }
                before
            }
        };
        before.map(|(_, row)| row)
    }
}

fn whereabouts(number: Number) -> Option<(usize, usize)> {
    Some((usize::try_from(number / PLACES).ok()?, usize::try_from(number % PLACES).ok()?))
}

fn again(place: &Place) -> Place {
    place.as_ref().map(|(id, row)| (*id, row.duplicate()))
}

fn shelf_of(places: &[Place]) -> Secret {
    // All the room at once: a buffer that moves leaves keys behind.
    let room = places.iter().flatten().map(|(_, row)| ID + run_size(differing::room(row.octets().len())));
    let mut octets = Zeroizing::new(Vec::with_capacity(places.len() + room.sum::<usize>()));
    let mut difference = Zeroizing::new(Vec::new());
    let mut before: &[u8] = &[];
    for place in places {
        let Some((id, row)) = place else {
            octets.push(0);
            continue;
        };
        octets.push(1);
        octets.extend_from_slice(&id.octets());
        difference.zeroize();
        difference.reserve_exact(differing::room(row.octets().len()));
        differing::put(&mut difference, before, row.octets());
        put_run(&mut octets, &difference);
        before = row.octets();
    }
    Secret::new(octets.as_slice())
}

/// The places of a shelf, one after the other.
fn places_of(shelf: &Secret) -> impl Iterator<Item = Place> {
    let mut before = Zeroizing::new(Vec::new());
    Differences::of(shelf).map(move |place| {
        let (id, difference) = place?;
        let mut row = Zeroizing::new(Vec::with_capacity(differing::length(difference)));
        differing::read(difference, &before, &mut row);
        before = row;
        Some((id, Packed::new(&before)))
    })
}

/// The places of a shelf as they are written.
struct Differences<'a>(Reader<'a>);

impl<'a> Differences<'a> {
    fn of(shelf: &'a Secret) -> Differences<'a> {
        Differences(Reader::new(shelf.expose()))
    }
}

impl<'a> Iterator for Differences<'a> {
    type Item = Option<(EntryId, &'a [u8])>;

    fn next(&mut self) -> Option<Option<(EntryId, &'a [u8])>> {
        if self.0.is_done() {
            return None;
        }
        Some(match self.0.octet() {
            0 => None,
            _ => Some((EntryId::new(self.0.array()?), self.0.run())),
        })
    }
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
        assert!(rows.get(id(1)) == Some(row("c")) && rows.at(1).is_some_and(|(held, _)| held == id(2)));
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
        assert!(ids().skip(1).step_by(2).all(|id| rows.get(id) == Some(row("a"))));
        for (at, id) in ids().enumerate() {
            assert_eq!(rows.has(id), at % 2 == 1, "{at}");
        }
        assert_eq!(rows.ids().count(), 2_500);
    }
}
