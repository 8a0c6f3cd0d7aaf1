//! Which rows belong to a DN: where it is, or who refers to it.

use super::rows::{NUMBERS, Number};
use super::table::Content;
use crate::directory::entry::Dn;
use ahash::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use std::collections::BTreeSet;

/// Rows by DN. Of a DN only 32 bits of a hash under a random key are kept, so that most cost eight octets; whoever needs to
/// be sure looks at the row that was found.
#[derive(Default)]
pub struct Index {
    hasher: RandomState,
    places: HashTable<(Key, Place)>,
    /// The rows of DNs that have several: parameters and policies, which many refer to.
    several: Vec<BTreeSet<Number>>,
    /// Places in `several` that nobody has.
    free: Vec<u32>,
}

type Key = u32;

/// The rows of one key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rows {
    One(Number),
    /// The place in `several`.
    Several(u32),
}

/// [`Rows`] in four octets: the highest bit tells which.
#[derive(Clone, Copy)]
struct Place(u32);

const SEVERAL: u32 = NUMBERS;

impl Place {
    const fn rows(self) -> Rows {
        if self.0 & SEVERAL == 0 { Rows::One(self.0) } else { Rows::Several(self.0 & !SEVERAL) }
    }
}

impl Index {
    /// Notes that a row belongs to a DN.
    pub fn note(&mut self, dn: &Dn, content: Content, row: Number) {
        let key = self.key(dn, content);
        match self.places.entry(spread(key), |(held, _)| *held == key, |(held, _)| spread(*held)) {
            Entry::Vacant(vacant) => {
                vacant.insert((key, Place(row)));
            }
            Entry::Occupied(mut held) => match held.get().1.rows() {
                Rows::One(one) if one == row => {}
                Rows::One(one) => {
                    let rows = BTreeSet::from([one, row]);
                    let place = match self.free.pop() {
                        Some(place) => place,
                        None => {
                            self.several.push(BTreeSet::new());
                            u32::try_from(self.several.len()).unwrap_or(SEVERAL).saturating_sub(1)
                        }
                    };
                    if let Some(free) = at(&mut self.several, place) {
                        *free = rows;
                        held.get_mut().1 = Place(place | SEVERAL);
                    }
                }
                Rows::Several(place) => {
                    if let Some(rows) = at(&mut self.several, place) {
                        rows.insert(row);
                    }
                }
            },
        }
    }

    /// Notes that it does no longer.
    pub fn forget(&mut self, dn: &Dn, content: Content, row: Number) {
        let key = self.key(dn, content);
        let Ok(mut held) = self.places.find_entry(spread(key), |(held, _)| *held == key) else { return };
        match held.get().1.rows() {
            Rows::One(one) if one != row => {}
            Rows::One(_) => {
                held.remove();
            }
            Rows::Several(place) => {
                let Some(rows) = at(&mut self.several, place) else { return };
                rows.remove(&row);
                if let (1, Some(&one)) = (rows.len(), rows.first()) {
                    rows.clear();
                    self.free.push(place);
                    held.get_mut().1 = Place(one);
                }
            }
        }
    }

    /// The rows of a DN, lowest number first, and now and then those of another one with the same key.
    pub fn find(&self, dn: &Dn, content: Content) -> impl Iterator<Item = Number> + use<'_> {
        let key = self.key(dn, content);
        let found = self.places.find(spread(key), |(held, _)| *held == key).map(|(_, place)| place.rows());
        let (one, several) = match found {
            None => (None, None),
            Some(Rows::One(row)) => (Some(row), None),
            Some(Rows::Several(place)) => {
                (None, usize::try_from(place).ok().and_then(|at| self.several.get(at)))
            }
        };
        one.into_iter().chain(several.into_iter().flatten().copied())
    }

    #[expect(clippy::cast_possible_truncation, reason = "it is a part of a hash")]
    fn key(&self, dn: &Dn, content: Content) -> Key {
        self.hasher.hash_one((dn.as_str(), content)) as Key
    }
}

/// The table takes its place from the lower bits and compares the upper seven.
fn spread(key: Key) -> u64 {
    u64::from(key).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn at(several: &mut [BTreeSet<Number>], place: u32) -> Option<&mut BTreeSet<Number>> {
    several.get_mut(usize::try_from(place).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn many_dns_are_all_found_and_few_others_with_them() {
        let mut index = Index::default();
        let dn = |number: u32| Dn::parse(&format!("cn={number},dc=x")).unwrap();
        for number in 0..20_000 {
            index.note(&dn(number), Content::Others, number);
        }
        let found: Vec<usize> = (0..20_000).map(|at| index.find(&dn(at), Content::Others).count()).collect();
        assert!((0..20_000).all(|at| index.find(&dn(at), Content::Others).any(|row| row == at)));
        assert!(found.iter().sum::<usize>() < 20_100, "{}", found.iter().sum::<usize>());
    }

    proptest! {
        #[test]
        fn it_holds_what_a_set_of_pairs_holds(acts: Vec<(bool, u8, bool, u8)>) {
            let (mut index, mut pairs) = (Index::default(), BTreeSet::new());
            let dn = |number: u8| Dn::parse(&format!("cn={},dc=x", number % 4)).unwrap();
            for (notes, name, is_user, row) in acts {
                let (name, row) = (name % 4, Number::from(row % 5));
                let content = if is_user { Content::Users } else { Content::Others };
                if notes {
                    index.note(&dn(name), content, row);
                    pairs.insert((name, content, row));
                } else {
                    index.forget(&dn(name), content, row);
                    pairs.remove(&(name, content, row));
                }
            }
            for (name, content) in (0..4).flat_map(|name| [(name, Content::Users), (name, Content::Others)]) {
                let held: Vec<Number> =
                    pairs.iter().filter(|pair| (pair.0, pair.1) == (name, content)).map(|pair| pair.2).collect();
                prop_assert_eq!(index.find(&dn(name), content).collect::<Vec<_>>(), held);
            }
        }
    }
}
