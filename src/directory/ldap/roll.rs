//! Lists by name whose pages are turned: a server has no place to go on from in the order of names, so the list of one
//! walk is kept for as long as somebody turns pages.

use super::connection::Trouble;
use super::filter::Filter;
use super::link::NoAnswer;
use super::message::{self, NO_SUCH_OBJECT, PAGED_RESULTS, SUCCESS, Scope};
use super::registry::{Desk, failed};
use crate::clock::{Mono, now};
use crate::directory::entry::Entry;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The most names of a list that is kept: some ten megabytes. Of a longer one each page is a walk.
const NAMES_MAX: usize = 100_000;

/// Entries of one page when everything is walked through: what Active Directory gives at most.
const PAGE: u32 = 1000;

/// The most lists.
const ROLLS_MAX: usize = 2;

/// How long one is kept. What is new in the directory is in the list that is begun next.
const KEPT: Duration = Duration::from_secs(60);

/// Names, each with the DN of its entry.
pub type Names = BTreeMap<String, String>;

/// What is listed: below where, what fits, by which attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kind {
    base: Box<str>,
    filter: Box<[u8]>,
    attribute: Box<str>,
}

/// The lists that are kept.
#[derive(Default)]
pub struct Rolls(Mutex<Vec<Roll>>);

struct Roll {
    kind: Kind,
    made: Mono,
    names: Arc<Names>,
}

impl Rolls {
    /// The names that follow, if a list of them is kept.
    fn turn(&self, kind: &Kind, after: &str, limit: usize, now: Mono) -> Option<Names> {
        let names = {
            let mut rolls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            rolls.retain(|roll| now.since(roll.made) < KEPT);
            rolls.iter().find(|roll| roll.kind == *kind).map(|roll| Arc::clone(&roll.names))?
        };
        Some(following(&names, Some(after), limit))
    }

    /// Keeps a list that was just made, in the place of an older one.
    fn keep(&self, kind: Kind, names: Names, now: Mono) {
        let mut rolls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rolls.retain(|roll| roll.kind != kind && now.since(roll.made) < KEPT);
        if rolls.len() >= ROLLS_MAX {
            rolls.remove(0);
        }
        rolls.push(Roll { kind, made: now, names: Arc::new(names) });
    }
}

impl Desk<'_> {
    /// The first `limit` values of `attribute` after `after` among everything below `base` that fits, each with the DN of its
    /// entry. A list that is begun walks through all of it, on a connection of its own; whoever goes on turns the pages of
    /// that walk. Of a very long list only the page is in memory, and each page is a walk.
    pub(super) async fn first_after(
        &self,
        base: &str,
        filter: &Filter,
        attribute: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Names, NoAnswer> {
        let filter_octets = filter.octets().into();
        let kind = Kind { base: base.into(), filter: filter_octets, attribute: attribute.into() };
        let turned = after.and_then(|after| self.shared.rolls.turn(&kind, after, limit, now().mono));
        if let Some(page) = turned {
            return Ok(page);
        }
        let (mut first, mut whole) = (Names::new(), true);
        let mut connection = self.link.connect().await?;
        let mut cookie = Vec::new();
        loop {
            let left = self.deadline.since(now().mono);
            if left.is_zero() {
                return Err(NoAnswer::TooLate);
            }
            let paged = message::Control {
                oid: PAGED_RESULTS,
                criticality: message::Criticality::Critical,
                value: Some(message::page(PAGE, &cookie)),
            };
            let search = message::Search {
                base,
                scope: Scope::Subtree,
                filter: filter.octets(),
                attributes: &[attribute],
                size_limit: 0,
                time_limit: 0,
                controls: &[paged],
            };
            let asking = connection.search(&search, |raw| {
                let entry = Entry::new(raw.dn, None, raw.attributes()?);
                let Some(Ok(value)) = entry.all(attribute).next().map(std::str::from_utf8) else {
                    return Ok(());
                };
                if whole || after.is_none_or(|after| value > after) {
                    first.insert(value.to_owned(), entry.dn);
                }
                if whole && first.len() > NAMES_MAX {
                    (first, whole) = (following(&first, after, limit), false);
                }
                if !whole && first.len() > limit {
                    first.pop_last();
                }
                Ok(())
            });
            let end = super::connection::within(left.min(self.shared.settings.timeout), asking).await?;
            match end.code {
                SUCCESS => {}
                NO_SUCH_OBJECT => return Ok(Names::new()),
                _ => return Err(failed(end)),
            }
            let page = end.page.ok_or(Trouble::from(super::ber::Malformed))?;
            cookie = message::page_cookie(&page).map_err(Trouble::from)?.to_vec();
            if cookie.is_empty() {
                connection.close().await;
                let page = following(&first, after, limit);
                if whole && first.len() > limit {
                    self.shared.rolls.keep(kind, first, now().mono);
                }
                return Ok(page);
            }
        }
    }
}

/// Where a page goes on. Names whose entries are gone by now leave room for those that follow: a page that is not full is
/// the last.
pub struct Place {
    after: Option<String>,
    ended: bool,
}

impl Place {
    /// After this name.
    pub fn after(name: Option<&str>) -> Place {
        Place { after: name.map(str::to_owned), ended: false }
    }

    /// How many are still wanted; `None` at the end, of the page or of all.
    pub fn left(&self, found: usize, limit: usize) -> Option<usize> {
        limit.checked_sub(found).filter(|left| *left > 0 && !self.ended)
    }

    /// The name that the next ones follow.
    pub fn name(&self) -> Option<&str> {
        self.after.as_deref()
    }

    /// These have been looked at, of so many that were asked for.
    pub fn go_on(&mut self, names: Names, asked: usize) {
        self.ended = names.len() < asked;
        self.after = names.into_keys().next_back().or(self.after.take());
    }
}

/// The first names after one.
fn following(names: &Names, after: Option<&str>, limit: usize) -> Names {
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    let page = names.range::<str, _>((from, Bound::Unbounded)).take(limit);
    page.map(|(name, dn)| (name.clone(), dn.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(base: &str) -> Kind {
        Kind { base: base.into(), filter: (*b"f").into(), attribute: "uid".into() }
    }

    #[test]
    fn pages_are_turned_for_a_minute_and_few_lists_are_kept() {
        let names: Names = ["a", "b", "c", "d"].map(|name| (name.to_owned(), format!("uid={name}"))).into();
        let at = |seconds| Mono::default().plus(Duration::from_secs(seconds));
        let rolls = Rolls::default();
        let turned = |base: &str, after: &str, seconds| {
            let page = rolls.turn(&kind(base), after, 2, at(seconds))?;
            Some(page.into_keys().collect::<Vec<_>>().concat())
        };
        assert_eq!(turned("x", "a", 0), None);
        rolls.keep(kind("x"), names.clone(), at(0));
        for (after, page) in [("", "ab"), ("a", "bc"), ("aa", "bc"), ("c", "d"), ("d", "")] {
            assert_eq!(turned("x", after, 59).as_deref(), Some(page), "{after}");
        }
        assert_eq!(turned("y", "a", 0), None);
        assert_eq!(turned("x", "a", 60), None, "too old");
        for base in ["x", "y", "z"] {
            rolls.keep(kind(base), names.clone(), at(70));
        }
        assert_eq!((turned("x", "a", 70), turned("z", "c", 70).as_deref()), (None, Some("d")));
    }
}
