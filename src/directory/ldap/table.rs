//! The directory's content in memory: rows as they came, who refers to whom, and the users made of them.
//!
//! Users are one content, everything they lead to (tokens, parameters, policies) is another: which entry is a user is
//! decided by the server's evaluation of the user filter and by nothing else.

use super::event::{Event, Events};
use super::index::Index;
use super::packed::Packed;
use super::reading::{Reading, tell_unusable};
use super::rows::{Number, Rows};
use super::settings::Settings;
use super::sync::Change;
use crate::clock::{Mono, now};
use crate::directory::entry::{Dn, Entry};
use crate::directory::layout::record::CONTRACT_CLASS;
use crate::directory::layout::{Assembled, Census, Layout, TokensAt};
use crate::identity::EntryId;
use crate::state::Bindings;
use ahash::RandomState;
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many users are made before others get a turn on the thread.
const BATCH: usize = 256;
/// How many parsed entries are kept at hand: parameters and policies, which many users share.
const AT_HAND: usize = 1024;
/// Fewer disappearances than this are never held back.
const SHRINK_FLOOR: usize = 10;

/// Which content a row belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Content {
    /// Who may log in.
    Users,
    /// What users lead to.
    Others,
}

/// A set of changes to one content, collected until it is whole.
#[derive(Default)]
pub struct Changes {
    /// Rows that are new or different.
    pub put: Rows,
    /// Rows that are gone.
    pub gone: HashSet<EntryId, RandomState>,
    /// Rows that are still there; only meaningful with [`Changes::settle`].
    pub present: HashSet<EntryId, RandomState>,
}

/// An entry of a row, with its DN in the form it is compared in where that is asked for.
struct Read {
    entry: Entry,
    dn: Option<Dn>,
}

/// So much would disappear at once that somebody has to look first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shrunk {
    /// Rows before.
    pub before: usize,
    /// Rows after.
    pub after: usize,
}

/// Everything that was read.
pub struct Table {
    settings: Arc<Settings>,
    reading: Arc<Reading>,
    bindings: Arc<Bindings>,
    events: Events,
    users: Rows,
    others: Rows,
    /// Rows whose users have another identity, because the layout names one.
    known_as: HashMap<EntryId, EntryId>,
    /// Where each DN is; users only where tokens name their owners.
    places: Index,
    /// Who refers to each DN.
    referrers: Index,
    census: Census,
    at_hand: Mutex<HashMap<EntryId, Arc<Entry>, RandomState>>,
    /// The keys that the users were made with.
    keys: u64,
}

impl Changes {
    /// Notes what was said of one entry; the last word counts.
    pub fn note(&mut self, id: EntryId, change: Change, row: Option<Packed>) {
        match (change, row) {
            (Change::Put, Some(row)) => {
                self.gone.remove(&id);
                self.put.put(id, row);
            }
            (Change::Deleted, _) => {
                self.put.remove(id);
                self.present.remove(&id);
                self.gone.insert(id);
            }
            (Change::Present | Change::Put, _) => {
                self.gone.remove(&id);
                self.present.insert(id);
            }
        }
    }

    /// Everything of `before` that was neither put nor present is gone: the end of a present phase, or of reading
    /// everything.
    pub fn settle(&mut self, before: impl Iterator<Item = EntryId>) {
        let absent = before.filter(|id| !self.put.has(*id) && !self.present.contains(id));
        self.gone.extend(absent);
    }
}

impl Table {
    /// An empty table that will fill `bindings`.
    pub fn new(
        settings: &Arc<Settings>,
        reading: &Arc<Reading>,
        bindings: &Arc<Bindings>,
        events: &Events,
    ) -> Table {
        Table {
            settings: Arc::clone(settings),
            reading: Arc::clone(reading),
            bindings: Arc::clone(bindings),
            events: Arc::clone(events),
            users: Rows::default(),
            others: Rows::default(),
            known_as: HashMap::new(),
            places: Index::default(),
            referrers: Index::default(),
            census: Census::default(),
            at_hand: Mutex::default(),
            keys: settings.keyring.generation(),
        }
    }

    /// The identities of a content's rows.
    pub fn ids(&self, content: Content) -> impl Iterator<Item = EntryId> {
        self.rows(content).ids()
    }

    /// Ends reading everything: whoever was in the bindings before and is not here any more goes, and the bindings
    /// are confirmed as of `begun`.
    pub fn loaded(&self, begun: Mono) {
        let renamed: HashSet<EntryId> = self.known_as.values().copied().collect();
        let plain = self.users.ids().filter(|id| !renamed.contains(id));
        self.bindings.keep_only(&plain.chain(self.known_as.keys().copied()).collect());
        self.bindings.confirm(begun);
        (self.events)(Event::Loaded { users: self.users.len() });
    }

    /// Whether these changes would make too much of a content disappear.
    pub fn check(&self, content: Content, changes: &Changes) -> Result<(), Shrunk> {
        let rows = self.rows(content);
        let gone = changes.gone.iter().filter(|id| rows.has(**id)).count();
        let new = changes.put.ids().filter(|id| !rows.has(*id)).count();
        let (before, after) = (rows.len(), rows.len() - gone + new);
        let allowed = before.saturating_mul(usize::from(self.settings.shrink_limit)) / 100;
        if gone >= SHRINK_FLOOR && gone > allowed { Err(Shrunk { before, after }) } else { Ok(()) }
    }

    /// Puts changes of both contents into effect.
    pub async fn apply(&mut self, changes: [(Content, Changes); 2]) {
        if self.users.is_empty() && self.others.is_empty() {
            return self.fill(changes).await;
        }
        let mut affected = HashSet::new();
        for (content, changes) in changes {
            for id in changes.gone.into_iter().filter(|id| !changes.put.has(*id)) {
                self.replace(content, id, None, &mut affected);
            }
            for (id, row) in changes.put.each() {
                self.replace(content, id, Some(row), &mut affected);
            }
        }
        self.refill(affected).await;
    }

    /// Fills an empty table: first what users lead to, so that each user need be read and made only once. The rows stay where they
    /// were gathered.
    async fn fill(&mut self, mut changes: [(Content, Changes); 2]) {
        changes.sort_by_key(|(content, _)| Reverse(*content));
        let mut colliding = HashSet::new();
        for (content, changes) in changes {
            *self.rows_mut(content) = changes.put;
            for (count, number) in self.rows(content).given().enumerate() {
                let Some((id, row)) = self.rows(content).at(number) else { continue };
                let read = self.read_for(content, id, &row);
                self.enter_row(content, id, number, &read);
                match content {
                    Content::Users => colliding.extend(self.enter_user(number, &read.entry)),
                    Content::Others => self.show_contract(id, None, Some(&read)),
                }
                if count % BATCH == BATCH - 1 {
                    self.give_way().await;
                }
            }
        }
        self.enter_again(colliding);
    }

    /// Puts one change into effect.
    pub async fn change(&mut self, content: Content, id: EntryId, row: Option<Packed>) {
        let mut affected = HashSet::new();
        self.replace(content, id, row, &mut affected);
        self.refill(affected).await;
    }

    /// Makes everybody anew if the keys have changed since: what did not open may open now.
    pub async fn look_at_keys(&mut self) {
        let keys = self.settings.keyring.generation();
        if keys != self.keys {
            self.keys = keys;
            self.refill(self.users.ids().collect()).await;
        }
    }

    fn rows(&self, content: Content) -> &Rows {
        match content {
            Content::Users => &self.users,
            Content::Others => &self.others,
        }
    }

    fn rows_mut(&mut self, content: Content) -> &mut Rows {
        match content {
            Content::Users => &mut self.users,
            Content::Others => &mut self.others,
        }
    }

    /// Replaces one row and collects the users who may be different for it.
    fn replace(
        &mut self,
        content: Content,
        id: EntryId,
        row: Option<Packed>,
        affected: &mut HashSet<EntryId>,
    ) {
        if let Some(row) = &row
            && self.rows(content).get(id).as_ref() == Some(row)
        {
            return self.changed_unseen(content, id, row);
        }
        let rows = self.rows_mut(content);
        let (number, old) = match row {
            Some(row) => rows.put(id, row).unzip(),
            None => rows.remove(id).map(|(number, row)| (number, Some(row))).unzip(),
        };
        let (Some(number), old) = (number, old.flatten()) else { return };
        self.at_hand().remove(&id);
        let old = old.map(|old| self.read_for(content, id, &old));
        let new = self.rows(content).get(id).map(|row| self.read_for(content, id, &row));
        for read in old.iter().chain(&new) {
            self.collect(content, id, read, affected);
        }
        if let Some(old) = &old {
            self.index(content, number, old, Index::forget);
            let known_as = old.entry.id;
            if content == Content::Users && new.as_ref().is_none_or(|new| new.entry.id != known_as) {
                self.bindings.remove(known_as);
                self.known_as.remove(&known_as);
                let freed = self.census.leave(number);
                affected.extend(self.ids_of(freed.into_iter(), Content::Users));
            }
        }
        if content == Content::Others {
            self.show_contract(id, old.as_ref(), new.as_ref());
        }
        if let Some(new) = &new {
            self.enter_row(content, id, number, new);
        }
    }

    /// Notes where a new row is, what it refers to, and the identity of its user.
    fn enter_row(&mut self, content: Content, id: EntryId, number: Number, read: &Read) {
        self.index(content, number, read, Index::note);
        if content == Content::Users && read.entry.id != id {
            self.known_as.insert(read.entry.id, id);
        }
    }

    /// Something has changed that we do not read: it may be the password.
    fn changed_unseen(&self, content: Content, id: EntryId, row: &Packed) {
        if content == Content::Users && self.bindings.proofs().are_wanted() {
            self.bindings.proofs().forget(self.read(id, row).id);
        }
    }

    /// Tells the bindings of contracts, and whether their container can be seen at all.
    fn show_contract(&self, id: EntryId, old: Option<&Read>, new: Option<&Read>) {
        let contracts = self.bindings.contracts();
        let is_container = |read: &Read| read.dn.as_ref().is_some_and(|dn| self.reading.is_contract_base(dn));
        if new.is_some_and(is_container) {
            contracts.set_known(true);
        } else if old.is_some_and(is_container) {
            contracts.set_known(false);
        }
        match new.and_then(|read| self.reading.contract(&read.entry)) {
            Some(contract) => contracts.put(id, &contract, now().mono),
            None if old.is_some_and(|read| read.entry.is_a(CONTRACT_CLASS)) => contracts.remove(id),
            None => {}
        }
    }

    /// Notes where an entry is and what it refers to, or forgets it.
    fn index(
        &mut self,
        content: Content,
        number: Number,
        Read { entry, dn }: &Read,
        act: fn(&mut Index, &Dn, Content, Number),
    ) {
        let layout = &self.settings.layout;
        if let Some(dn) = dn {
            act(&mut self.places, dn, content, number);
        }
        let references = match content {
            Content::Users => [layout.token_dns(entry), layout.policy_dns(entry)],
            Content::Others => [layout.parameter_dns(entry), layout.owner_dns(entry)],
        };
        for dn in references.iter().flatten() {
            act(&mut self.referrers, dn, content, number);
        }
    }

    /// The users who may be different when this entry appears, changes or goes.
    fn collect(&self, content: Content, id: EntryId, read: &Read, affected: &mut HashSet<EntryId>) {
        if content == Content::Users {
            affected.insert(id);
            return;
        }
        self.collect_owners(&read.entry, affected);
        let Some(dn) = &read.dn else { return };
        affected.extend(self.ids_of(self.referrers.find(dn, Content::Users), Content::Users));
        // Tokens that name these parameters: their users, too.
        for number in self.referrers.find(dn, Content::Others) {
            let Some(token) = self.others.at(number).map(|(id, row)| self.read(id, &row)) else {
                continue;
            };
            self.collect_owners(&token, affected);
            if let Some(dn) = Dn::parse(&token.dn) {
                affected.extend(self.ids_of(self.referrers.find(&dn, Content::Users), Content::Users));
            }
        }
    }

    fn collect_owners(&self, token: &Entry, affected: &mut HashSet<EntryId>) {
        for dn in self.settings.layout.owner_dns(token) {
            affected.extend(self.ids_of(self.places.find(&dn, Content::Users), Content::Users));
        }
    }

    fn ids_of(
        &self,
        numbers: impl Iterator<Item = Number>,
        content: Content,
    ) -> impl Iterator<Item = EntryId> {
        numbers.filter_map(move |number| self.rows(content).id_at(number))
    }

    /// Makes users anew and puts them into the bindings.
    async fn refill(&mut self, affected: HashSet<EntryId>) {
        let mut colliding = HashSet::new();
        for (count, id) in affected.into_iter().enumerate() {
            colliding.extend(self.users.number(id).map(|number| self.enter(number)).into_iter().flatten());
            if count % BATCH == BATCH - 1 {
                self.give_way().await;
            }
        }
        self.enter_again(colliding);
    }

    async fn give_way(&self) {
        self.bindings.entering();
        tokio::task::yield_now().await;
    }

    /// They were made before it was known that somebody else has the same token, or has no longer.
    fn enter_again(&mut self, colliding: HashSet<Number>) {
        for user in colliding {
            self.enter(user);
        }
    }

    /// Makes one user anew; gives the others whose tokens collide with theirs.
    fn enter(&mut self, number: Number) -> HashSet<Number> {
        match self.users.at(number).map(|(id, row)| self.read(id, &row)) {
            Some(entry) => self.enter_user(number, &entry),
            None => HashSet::new(),
        }
    }

    fn enter_user(&mut self, number: Number, entry: &Entry) -> HashSet<Number> {
        let Assembled { mut user, names, shared } = self.assemble(entry);
        let others = self.census.enter(number, &mut user, &shared);
        tell_unusable(&user, &self.events);
        self.bindings.put(&user, &names, now().mono);
        others
    }

    fn assemble(&self, entry: &Entry) -> Assembled {
        let mut owned = Vec::new();
        if is_owned(&self.settings.layout)
            && let Some(dn) = Dn::parse(&entry.dn)
        {
            let tokens = self.referrers.find(&dn, Content::Others).take(Layout::REFERENCES_MAX + 1);
            owned.extend(tokens.filter_map(|number| self.other(number)));
        }
        let find = |dn: &Dn| {
            let mut found = self.places.find(dn, Content::Others).filter_map(|number| self.other(number));
            found.find(|entry| Dn::parse(&entry.dn).as_ref() == Some(dn))
        };
        self.reading.user(&self.settings, entry, &owned, &find)
    }

    /// An entry that users lead to. Tokens are their users' own; everything else many share, and it is kept at hand.
    fn other(&self, number: Number) -> Option<Arc<Entry>> {
        let known = self.others.id_at(number)?;
        if let Some(entry) = self.at_hand().get(&known) {
            return Some(Arc::clone(entry));
        }
        let (id, row) = self.others.at(number)?;
        let entry = Arc::new(self.read(id, &row));
        if self.settings.layout.holds_key(&entry) {
            return Some(entry);
        }
        let mut at_hand = self.at_hand();
        if at_hand.len() >= AT_HAND {
            at_hand.clear();
        }
        at_hand.insert(id, Arc::clone(&entry));
        Some(entry)
    }

    fn at_hand(&self) -> MutexGuard<'_, HashMap<EntryId, Arc<Entry>, RandomState>> {
        self.at_hand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An entry with its DN where the content's DNs are led to.
    fn read_for(&self, content: Content, id: EntryId, row: &Packed) -> Read {
        let entry = self.read(id, row);
        let is_led_to = content == Content::Others || is_owned(&self.settings.layout);
        let dn = is_led_to.then(|| Dn::parse(&entry.dn)).flatten();
        Read { entry, dn }
    }

    fn read(&self, id: EntryId, row: &Packed) -> Entry {
        let entry = self.reading.phrases.unpack(row, id);
        match self.settings.layout.identity() {
            Some(identity) => entry.known_by(identity),
            None => entry,
        }
    }
}

fn is_owned(layout: &Layout) -> bool {
    matches!(layout.tokens_at(), TokensAt::Owned(_))
}
