//! What is known of users and their tokens: written by the directory, read by the pipeline, never waited for.
//!
//! There are two kinds. A *complete* table (`follow`, `poll`, embedded) holds everybody: a name that is not in it does
//! not exist, and a table that has not been confirmed for too long answers nobody, because a revoked token could still
//! be in it. A *cache* (`ask`) holds whom somebody asked for lately: a name that is not in it has to be searched for.

use super::contracts::Contracts;
use super::people::{Having, People};
use super::proofs::{Proof, Proofs};
use crate::clock::Mono;
use crate::identity::{EntryId, UserName};
use crate::tokens::{DnEnds, KeptUser, User};
use ahash::RandomState;
use dashmap::DashMap;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Users by name. Shared by the directory's tasks, which write, and the workers, which read.
pub struct Bindings {
    scope: Scope,
    contracts: Contracts,
    people: People,
    dn_ends: Mutex<DnEnds>,
    /// Until when those are believed who were asked for; nobody in a complete table.
    expiries: DashMap<EntryId, Mono, RandomState>,
    loaded: AtomicBool,
    confirmed: AtomicU64,
    progress: AtomicU64,
    proofs: Proofs,
}

/// A table that was confirmed no longer ago knows of every change (`follow` confirms twice a second).
const LIVE: Duration = Duration::from_secs(2);

/// Which users a table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everybody; stale when not confirmed for this long.
    Complete {
        /// How long an unconfirmed table may still be believed.
        max_stale: Duration,
    },
    /// Those who were asked for lately.
    Cache {
        /// How long one answer is believed.
        lifetime: Duration,
        /// How many users are held at most; one over the limit pushes out another.
        capacity: usize,
    },
}

/// What the table knows of one name.
#[derive(Clone, Debug)]
pub enum Known {
    /// Exactly this user.
    One(Arc<KeptUser>),
    /// Nobody has this name.
    Nobody,
    /// Several entries have this name, so nobody can say who is meant.
    Several,
    /// The table cannot know: search the directory.
    Ask,
    /// The table is too old to be believed, or was never filled.
    Stale,
}

impl Bindings {
    /// An empty table; a complete one answers [`Known::Stale`] until it is confirmed for the first time.
    pub fn new(scope: Scope) -> Bindings {
        Bindings {
            scope,
            contracts: Contracts::new(scope),
            people: People::default(),
            dn_ends: Mutex::default(),
            expiries: DashMap::default(),
            loaded: AtomicBool::new(false),
            confirmed: AtomicU64::new(0),
            progress: AtomicU64::new(0),
            proofs: Proofs::none(),
        }
    }

    /// The same, with proofs of passwords that live as long as their entries stay what they are.
    #[must_use]
    pub fn with_proofs(self, proofs: Proofs) -> Bindings {
        Bindings { proofs, ..self }
    }

    /// Proofs of passwords that the directory has called right.
    pub fn proofs(&self) -> &Proofs {
        &self.proofs
    }

    /// What is to be kept when the directory calls this password right, or has been kept already. `None` where nothing
    /// is kept, and while nobody can tell whether the entry has changed.
    pub fn prove(&self, user: EntryId, password: &[u8], now: Mono) -> Option<Proof> {
        self.age(now).filter(|age| *age <= LIVE)?;
        self.proofs.prove(user, password)
    }

    /// What is known of `name` at `now`.
    pub fn look_up(&self, name: &UserName, now: Mono) -> Known {
        if !self.is_fresh(now) {
            return Known::Stale;
        }
        let Some(text) = name.text() else { return Known::Nobody };
        match (self.people.named(text), self.scope) {
            (Having::Nobody, Scope::Complete { .. }) => Known::Nobody,
            (Having::Nobody, Scope::Cache { .. }) => Known::Ask,
            (Having::One(user), Scope::Cache { .. }) if !self.is_current(user.id(), now) => Known::Ask,
            (Having::One(user), _) => Known::One(user),
            (Having::Several, _) => Known::Several,
        }
    }

    /// Which contracts are enabled.
    pub fn contracts(&self) -> &Contracts {
        &self.contracts
    }

    /// The user of this entry, if held.
    pub fn user(&self, id: EntryId) -> Option<Arc<KeptUser>> {
        self.people.user(id)
    }

    /// The first thing that `wanted` finds among all users: for operators, not for requests.
    pub fn find<T>(&self, wanted: impl FnMut(&KeptUser) -> Option<T>) -> Option<T> {
        self.people.find(wanted)
    }

    /// Puts a user in, found by `names`; replaces what was known of the entry.
    pub fn put(&self, user: &User, names: &[impl AsRef<str>], now: Mono) -> Arc<KeptUser> {
        self.proofs.forget(user.id);
        let kept = KeptUser::among(user, &mut self.dn_ends.lock().unwrap_or_else(PoisonError::into_inner));
        if let Scope::Cache { lifetime, capacity } = self.scope {
            self.make_room(capacity, now);
            self.expiries.insert(user.id, now.plus(lifetime));
        }
        self.people.put(&kept, names);
        kept
    }

    /// Takes a user out: revoked means revoked.
    pub fn remove(&self, id: EntryId) {
        self.proofs.forget(id);
        self.expiries.remove(&id);
        self.people.remove(id);
    }

    /// Removes everybody who is not in `present`: the end of a full refresh.
    pub fn keep_only(&self, present: &HashSet<EntryId>) {
        let mut gone = Vec::new();
        let _: Option<()> = self.people.find(|user| {
            gone.extend(Some(user.id()).filter(|id| !present.contains(id)));
            None
        });
        for id in gone {
            self.remove(id);
        }
    }

    /// The directory says that all of this is true at `now`.
    pub fn confirm(&self, now: Mono) {
        self.confirmed.fetch_max(now.nanos(), Ordering::Release);
        self.loaded.store(true, Ordering::Release);
    }

    /// So many entries have been read for the table in one go. Fewer than before are no progress: who reads the same
    /// again and again gets nowhere.
    pub fn reading(&self, entries: u64) {
        self.progress.fetch_max(entries, Ordering::Relaxed);
    }

    /// More of what has been read was entered.
    pub fn entering(&self) {
        self.progress.fetch_add(1, Ordering::Relaxed);
    }

    /// Goes up while the table is being filled: whoever waits for it sees that it goes on.
    pub fn progress(&self) -> u64 {
        self.progress.load(Ordering::Relaxed)
    }

    /// How long ago the table was confirmed; `None` if never.
    pub fn age(&self, now: Mono) -> Option<Duration> {
        self.loaded
            .load(Ordering::Acquire)
            .then(|| now.since(Mono::from_nanos(self.confirmed.load(Ordering::Acquire))))
    }

    /// Whether look-ups are answered at `now`; a cache always answers.
    pub fn is_fresh(&self, now: Mono) -> bool {
        match self.scope {
            Scope::Complete { max_stale } => self.age(now).is_some_and(|age| age <= max_stale),
            Scope::Cache { .. } => true,
        }
    }

    /// How many users are held.
    pub fn len(&self) -> usize {
        self.people.len()
    }

    /// Whether nobody is held.
    pub fn is_empty(&self) -> bool {
        self.people.is_empty()
    }

    fn is_current(&self, id: EntryId, now: Mono) -> bool {
        self.expiries.get(&id).is_some_and(|expires| now < *expires)
    }

    /// Pushes somebody out of a full cache: first whoever has expired, else anybody; they are only asked for again.
    fn make_room(&self, capacity: usize, now: Mono) {
        if self.people.len() < capacity {
            return;
        }
        let gone = self.expiries.iter().find(|expires| **expires <= now).map(|held| *held.key());
        let gone = gone.or_else(|| self.people.find(|user| Some(user.id())));
        if let Some(id) = gone {
            self.remove(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::{Account, Role, Tokens};

    const COMPLETE: Scope = Scope::Complete { max_stale: Duration::from_secs(300) };
    const NOW: Mono = Mono::from_nanos(1_000_000_000);

    fn user(id: u8) -> User {
        User {
            id: EntryId::new([id; 16]),
            name: "u".into(),
            dn: format!("uid=u{id}").into(),
            contract: None,
            role: Role::General,
            login_code: None,
            account: Account::default(),
            tokens: Tokens::These(Vec::new()),
        }
    }

    fn look_up(bindings: &Bindings, name: &str, now: Mono) -> Known {
        bindings.look_up(&UserName::new(name.as_bytes()).unwrap(), now)
    }

    #[test]
    fn every_spelling_of_a_name_meets_in_one_user() {
        let bindings = Bindings::new(COMPLETE);
        bindings.put(&user(1), &["Alice Smith"], NOW);
        bindings.confirm(NOW);
        for name in ["alice smith", " ALICE  smith ", "Alice Smith"] {
            assert!(
                matches!(look_up(&bindings, name, NOW), Known::One(user) if user.id() == EntryId::new([1; 16])),
                "{name}"
            );
        }
        assert!(matches!(look_up(&bindings, "alicesmith", NOW), Known::Nobody));
        assert!(matches!(bindings.look_up(&UserName::new(b"\xff").unwrap(), NOW), Known::Nobody));
    }

    #[test]
    fn ldap_15_a_table_that_nobody_confirms_answers_nobody() {
        let bindings = Bindings::new(COMPLETE);
        bindings.put(&user(1), &["a"], NOW);
        assert!(matches!(look_up(&bindings, "a", NOW), Known::Stale));
        bindings.confirm(NOW);
        assert!(matches!(look_up(&bindings, "a", NOW.plus(Duration::from_secs(300))), Known::One(_)));
        assert!(matches!(look_up(&bindings, "a", NOW.plus(Duration::from_secs(301))), Known::Stale));
        bindings.confirm(NOW.plus(Duration::from_secs(302)));
        assert!(matches!(look_up(&bindings, "a", NOW.plus(Duration::from_secs(303))), Known::One(_)));
    }

    #[test]
    fn reading_the_same_again_is_no_progress() {
        let bindings = Bindings::new(COMPLETE);
        for (entries, progress) in [(1, 1), (5, 5), (1, 5), (5, 5), (6, 6)] {
            bindings.reading(entries);
            assert_eq!(bindings.progress(), progress);
        }
        bindings.entering();
        assert_eq!(bindings.progress(), 7);
    }

    #[test]
    fn ldap_31_a_name_of_two_entries_is_nobodys_until_one_goes() {
        let bindings = Bindings::new(COMPLETE);
        bindings.confirm(NOW);
        bindings.put(&user(1), &["a"], NOW);
        bindings.put(&user(2), &["A"], NOW);
        assert!(matches!(look_up(&bindings, "a", NOW), Known::Several));
        bindings.remove(EntryId::new([1; 16]));
        assert!(
            matches!(look_up(&bindings, "a", NOW), Known::One(user) if user.id() == EntryId::new([2; 16]))
        );
        bindings.remove(EntryId::new([2; 16]));
        assert!(matches!(look_up(&bindings, "a", NOW), Known::Nobody));
        assert!(bindings.is_empty());
    }

    #[test]
    fn ldap_12_a_rename_moves_the_name_and_keeps_the_identity() {
        let bindings = Bindings::new(COMPLETE);
        bindings.confirm(NOW);
        bindings.put(&user(1), &["old", "mail@example.jp"], NOW);
        bindings.put(&user(1), &["new", "mail@example.jp"], NOW);
        assert!(matches!(look_up(&bindings, "old", NOW), Known::Nobody));
        assert!(matches!(look_up(&bindings, "new", NOW), Known::One(_)));
        assert!(matches!(look_up(&bindings, "mail@example.jp", NOW), Known::One(_)));
        assert_eq!(bindings.len(), 1);
    }

    #[test]
    fn ldap_11_a_full_refresh_removes_whoever_was_not_in_it() {
        let bindings = Bindings::new(COMPLETE);
        bindings.confirm(NOW);
        bindings.put(&user(1), &["a"], NOW);
        bindings.put(&user(2), &["b"], NOW);
        bindings.keep_only(&HashSet::from([EntryId::new([2; 16])]));
        assert!(matches!(look_up(&bindings, "a", NOW), Known::Nobody));
        assert!(matches!(look_up(&bindings, "b", NOW), Known::One(_)));
    }

    #[test]
    fn a_cache_forgets_and_stays_within_its_bounds() {
        let lifetime = Duration::from_secs(5);
        let bindings = Bindings::new(Scope::Cache { lifetime, capacity: 2 });
        assert!(matches!(look_up(&bindings, "a", NOW), Known::Ask));
        bindings.put(&user(1), &["a"], NOW);
        assert!(matches!(look_up(&bindings, "a", NOW), Known::One(_)));
        assert!(matches!(look_up(&bindings, "a", NOW.plus(lifetime)), Known::Ask));
        for id in 2..100 {
            bindings.put(&user(id), &[format!("u{id}")], NOW);
            assert!(bindings.len() <= 2);
        }
    }
}
