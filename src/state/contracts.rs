//! Which contracts one-time passwords are enabled for (S-11): written by the directory, read by the pipeline.
//!
//! What is not known is never "not enabled": a container that cannot be seen must not take the codes away from everybody.

use super::bindings::Scope;
use crate::clock::Mono;
use crate::identity::{ContractId, EntryId, ServiceName};
use crate::tokens::Contract;
use dashmap::DashMap;
use std::sync::atomic::{AtomicBool, Ordering};

/// Enabled contracts by id. As many as the directory holds, or as [`Scope::Cache`] allows.
pub struct Contracts {
    scope: Scope,
    held: DashMap<Box<str>, Held>,
    places: DashMap<EntryId, Box<str>>,
    known: AtomicBool,
}

/// What is known of one contract.
struct Held {
    /// The entry and the service; `None`: there is no entry.
    enabled: Option<(EntryId, ServiceName)>,
    expires: Mono,
}

/// What a user's contract says about codes under one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It is enabled.
    Enabled,
    /// It is not, or under another service, or the user has none.
    NotEnabled,
    /// Nobody can say.
    Unknown,
}

impl Contracts {
    /// An empty table; it knows nothing until [`Contracts::set_known`].
    pub fn new(scope: Scope) -> Contracts {
        Contracts { scope, held: DashMap::new(), places: DashMap::new(), known: AtomicBool::new(false) }
    }

    /// What is known of a user's contract under `service` at `now`.
    pub fn look_up(&self, id: Option<&str>, service: &ServiceName, now: Mono) -> Known {
        let complete = matches!(self.scope, Scope::Complete { .. });
        if complete && !self.known.load(Ordering::Acquire) {
            return Known::Unknown;
        }
        let Some(id) = id else { return Known::NotEnabled };
        match self.held.get(&*folded(id)).filter(|held| complete || now < held.expires).as_deref() {
            Some(Held { enabled: Some((_, under)), .. }) if under == service => Known::Enabled,
            Some(_) => Known::NotEnabled,
            None if complete => Known::NotEnabled,
            None => Known::Unknown,
        }
    }

    /// Puts an enabled contract in; replaces what was known of the entry.
    pub fn put(&self, entry: EntryId, contract: &Contract, now: Mono) {
        let id: Box<str> = folded(contract.id.as_str()).into();
        let before = self.places.insert(entry, id.clone());
        if let Some(before) = before.filter(|before| *before != id) {
            self.forget(entry, &before);
        }
        self.hold(id, Some((entry, contract.service.clone())), now);
    }

    /// Takes out the contract of an entry that is gone.
    pub fn remove(&self, entry: EntryId) {
        if let Some((_, id)) = self.places.remove(&entry) {
            self.forget(entry, &id);
        }
    }

    /// A search has found no entry for the contract.
    pub fn absent(&self, id: &ContractId, now: Mono) {
        self.hold(folded(id.as_str()).into(), None, now);
    }

    /// Whether the place where contracts are was seen: only then is a contract that is not here not enabled.
    pub fn set_known(&self, known: bool) {
        self.known.store(known, Ordering::Release);
    }

    /// How many contracts are enabled.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether none is enabled.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    fn hold(&self, id: Box<str>, enabled: Option<(EntryId, ServiceName)>, now: Mono) {
        let expires = match self.scope {
            Scope::Complete { .. } => Mono::from_nanos(u64::MAX),
            Scope::Cache { lifetime, capacity } => {
                self.make_room(capacity);
                // Longer than the user that it was read with, so that a user who is known has a contract that is.
                now.plus(lifetime.saturating_mul(2))
            }
        };
        self.held.insert(id, Held { enabled, expires });
    }

    fn forget(&self, entry: EntryId, id: &str) {
        let is_its = |held: &Held| held.enabled.as_ref().is_some_and(|(of, _)| *of == entry);
        self.held.remove_if(id, |_, held| is_its(held));
    }

    /// Anybody goes: they are only asked for again.
    fn make_room(&self, capacity: usize) {
        if self.held.len() < capacity {
            return;
        }
        let gone = self.held.iter().next().map(|held| held.key().clone());
        if let Some((_, held)) = gone.and_then(|id| self.held.remove(&id))
            && let Some((entry, _)) = held.enabled
        {
            self.places.remove(&entry);
        }
    }
}

/// A name as the directory's caseIgnoreMatch compares it (RFC 4518): case and surplus blanks do not count.
pub(super) fn folded(name: &str) -> String {
    let mut folded = String::with_capacity(name.len());
    for word in name.split_whitespace() {
        if !folded.is_empty() {
            folded.push(' ');
        }
        folded.extend(word.chars().flat_map(char::to_lowercase));
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Wall;
    use std::time::Duration;

    const NOW: Mono = Mono::from_nanos(1_000_000_000);
    const COMPLETE: Scope = Scope::Complete { max_stale: Duration::from_secs(300) };

    fn contract(id: &str, service: &str) -> Contract {
        Contract { id: ContractId::new(id), service: ServiceName::new(service), since: Wall::default() }
    }

    fn known(contracts: &Contracts, id: &str, now: Mono) -> Known {
        contracts.look_up(Some(id), &ServiceName::new("s"), now)
    }

    #[test]
    fn s_11_what_was_never_seen_is_not_taken_for_not_enabled() {
        let contracts = Contracts::new(COMPLETE);
        contracts.put(EntryId::new([1; 16]), &contract("C-1", "s"), NOW);
        assert_eq!(known(&contracts, "C-1", NOW), Known::Unknown);
        contracts.set_known(true);
        for (id, expected) in [("c-1", Known::Enabled), ("C-2", Known::NotEnabled)] {
            assert_eq!(known(&contracts, id, NOW), expected, "{id}");
        }
        assert_eq!(contracts.look_up(None, &ServiceName::new("s"), NOW), Known::NotEnabled);
        let other = ServiceName::new("other");
        assert_eq!(contracts.look_up(Some("C-1"), &other, NOW), Known::NotEnabled);
        contracts.set_known(false);
        assert_eq!(known(&contracts, "C-2", NOW), Known::Unknown);
    }

    #[test]
    fn s_11_entries_come_change_and_go() {
        let contracts = Contracts::new(COMPLETE);
        contracts.set_known(true);
        let (one, two) = (EntryId::new([1; 16]), EntryId::new([2; 16]));
        contracts.put(one, &contract("C-1", "s"), NOW);
        contracts.put(one, &contract("C-2", "s"), NOW);
        assert_eq!(
            [known(&contracts, "C-1", NOW), known(&contracts, "C-2", NOW)],
            [Known::NotEnabled, Known::Enabled]
        );
        // An entry that is gone takes nothing of another one away.
        contracts.put(two, &contract("C-2", "s"), NOW);
        contracts.remove(one);
        assert_eq!(known(&contracts, "C-2", NOW), Known::Enabled);
        contracts.remove(two);
        assert!(contracts.is_empty());
    }

    #[test]
    fn a_cache_asks_again_and_stays_within_its_bounds() {
        let contracts = Contracts::new(Scope::Cache { lifetime: Duration::from_secs(5), capacity: 3 });
        assert_eq!(known(&contracts, "C-1", NOW), Known::Unknown);
        contracts.absent(&ContractId::new("C-1"), NOW);
        assert_eq!(known(&contracts, "C-1", NOW), Known::NotEnabled);
        assert_eq!(known(&contracts, "C-1", NOW.plus(Duration::from_secs(10))), Known::Unknown);
        for number in 0..100u8 {
            contracts.put(EntryId::new([number; 16]), &contract(&format!("C-{number}"), "s"), NOW);
            assert!(contracts.len() <= 3);
        }
    }
}
