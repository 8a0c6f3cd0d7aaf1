//! Finds one user by name: the entry, what it leads to, and who else claims the same tokens.

use super::connection::{SearchEnd, Trouble};
use super::event::{Event, Operation};
use super::filter::Filter;
use super::link::{Kept, Link, NoAnswer, worth_asking};
use super::message::{self, NO_SUCH_OBJECT, SIZE_LIMIT_EXCEEDED, SUCCESS, Scope};
use super::settings::Mode;
use super::shared::Shared;
use crate::clock::{Mono, now};
use crate::directory::Unavailable;
use crate::directory::entry::{Dn, Entry};
use crate::directory::layout::{Assembled, Layout, TokensAt, record};
use crate::identity::{ContractId, EntryId};
use crate::tokens::{Defect, Standing, Token, Tokens, User};
use std::collections::HashMap;
use std::sync::Arc;

/// What a search came to, before anybody has put it into memory.
pub enum Answer {
    /// One user, with the names they are found by.
    One(User, Vec<String>),
    /// Nobody.
    Nobody,
    /// Several.
    Several,
}

/// Searches on the first server that can say.
pub async fn find(shared: &Shared, name: &str, deadline: Mono) -> Result<Answer, Unavailable> {
    let mut last = Unavailable::Unreachable;
    for link in worth_asking(&shared.links) {
        match (Finder { shared, link, deadline }).find(name).await {
            Ok(found) => return Ok(found),
            Err(why) => last = link.gave_up(Operation::Search, why, deadline),
        }
    }
    Err(last)
}

/// One server, for the time of one search.
pub(super) struct Finder<'a> {
    pub(super) shared: &'a Shared,
    pub(super) link: &'a Link,
    pub(super) deadline: Mono,
}

impl Finder<'_> {
    async fn find(&self, name: &str) -> Result<Answer, NoAnswer> {
        let filter = self.shared.settings.user_filter.for_name(name);
        let (mut found, end) = self.search(&self.shared.settings.base, Scope::Subtree, &filter, 2).await?;
        if end.references > 0 {
            (self.shared.events)(Event::ReferralIgnored { server: Arc::clone(&self.link.url) });
        }
        match (found.pop(), found.pop(), end.code) {
            (Some(_), Some(_), SUCCESS | SIZE_LIMIT_EXCEEDED) => Ok(Answer::Several),
            (Some(entry), None, SUCCESS) => {
                let (user, names) = self.user(&entry).await?;
                if let (Mode::Ask, Some(contract)) = (self.shared.settings.mode, &user.contract) {
                    self.contract(contract).await?;
                }
                Ok(Answer::One(user, names))
            }
            (None, _, SUCCESS) => Ok(Answer::Nobody),
            _ => Err(failed(end)),
        }
    }

    /// The user of an entry, with everything that it leads to.
    pub(super) async fn user(&self, entry: &Entry) -> Result<(User, Vec<String>), NoAnswer> {
        let (settings, reading) = (&self.shared.settings, &self.shared.reading);
        let layout = &settings.layout;
        let mut known: HashMap<Dn, Arc<Entry>> = HashMap::new();
        let mut owned = Vec::new();
        if let (TokensAt::Owned(owner), Some(tokens)) = (layout.tokens_at(), &reading.tokens) {
            let filter = Filter::all(&[tokens.clone(), Filter::equals(owner, entry.dn.as_bytes())]);
            let limit = Layout::REFERENCES_MAX + 1;
            let (found, end) = self.search(&settings.base, Scope::Subtree, &filter, limit).await?;
            if !matches!(
                (end.code, found.len()),
                (SUCCESS, _) | (SIZE_LIMIT_EXCEEDED, Layout::REFERENCES_MAX..)
            ) {
                return Err(failed(end));
            }
            owned.extend(found.into_iter().map(Arc::new));
        }
        if let Some(filter) = &reading.tokens {
            self.fetch(layout.token_dns(entry), filter, &mut known).await?;
        }
        if let Some(filter) = &reading.parameters {
            let tokens = known.values().chain(&owned);
            let dns: Vec<Dn> = tokens.flat_map(|token| layout.parameter_dns(token)).collect();
            self.fetch(dns, filter, &mut known).await?;
        }
        self.fetch(layout.policy_dns(entry), &reading.policies, &mut known).await?;
        let find = |dn: &Dn| known.get(dn).cloned();
        let Assembled { mut user, names, shared } = reading.user(settings, entry, &owned, &find);
        if let Tokens::These(tokens) = &mut user.tokens {
            for token in tokens {
                if let Some(defect) = self.conflict(user.id, token, &known, &shared).await? {
                    token.standing = Standing::Unusable(defect);
                }
            }
        }
        super::reading::tell_unusable(&user, &self.shared.events);
        Ok((user, names))
    }

    /// Has memory know whether a contract is enabled. Where the container is not seen, it goes on knowing nothing.
    async fn contract(&self, id: &ContractId) -> Result<(), NoAnswer> {
        let (settings, reading) = (&self.shared.settings, &self.shared.reading);
        let known = self.shared.bindings.contracts();
        let is_it = Filter::equals(record::CONTRACT, id.as_str().as_bytes());
        let filter = Filter::all(&[reading.contracts.clone(), is_it]);
        let (found, end) = self.search(&settings.contract_base, Scope::Subtree, &filter, 1).await?;
        match (found.first(), end.code) {
            (Some(entry), SUCCESS | SIZE_LIMIT_EXCEEDED) => match reading.contract(entry) {
                Some(contract) => known.put(entry.id, &contract, now().mono),
                None => known.absent(id, now().mono),
            },
            (None, SUCCESS) => known.absent(id, now().mono),
            (None, NO_SUCH_OBJECT) => {}
            _ => return Err(failed(end)),
        }
        Ok(())
    }

    /// Reads entries by DN; what does not exist, is no such entry, or lies outside the base, stays unknown.
    async fn fetch(
        &self,
        dns: Vec<Dn>,
        filter: &Filter,
        known: &mut HashMap<Dn, Arc<Entry>>,
    ) -> Result<(), NoAnswer> {
        let bases = &self.shared.reading.bases;
        for dn in dns.into_iter().take(Layout::REFERENCES_MAX) {
            if known.contains_key(&dn) || !bases.iter().any(|base| dn.is_within(base)) {
                continue;
            }
            let (mut found, end) = self.search(dn.as_str(), Scope::Base, filter, 1).await?;
            match (found.pop(), end.code) {
                (Some(entry), SUCCESS) => {
                    known.insert(dn, Arc::new(entry));
                }
                (None, SUCCESS | NO_SUCH_OBJECT) => {}
                _ => return Err(failed(end)),
            }
        }
        Ok(())
    }

    /// Whether somebody else refers to the token, or another token carries its serial number (LDAP-31).
    async fn conflict(
        &self,
        user: EntryId,
        token: &Token,
        known: &HashMap<Dn, Arc<Entry>>,
        shared: &[EntryId],
    ) -> Result<Option<Defect>, NoAnswer> {
        let layout = &self.shared.settings.layout;
        let mut filters = Vec::new();
        let place = known.iter().find(|(_, entry)| entry.id == token.id);
        // Of a token that lists its owners, others may be owners, too.
        let referring = place.filter(|_| !shared.contains(&token.id));
        if let (TokensAt::Referred(names), Some((_, entry))) = (layout.tokens_at(), referring) {
            filters.extend(names.iter().map(|(name, _)| Filter::equals(name, entry.dn.as_bytes())));
        }
        if let Some(serial) = layout.serial() {
            filters.push(Filter::equals(serial, token.serial.as_str().as_bytes()));
        }
        if filters.is_empty() {
            return Ok(None);
        }
        let filter = Filter::any(&filters);
        let (found, end) = self.search(&self.shared.settings.base, Scope::Subtree, &filter, 3).await?;
        if !matches!(end.code, SUCCESS | SIZE_LIMIT_EXCEEDED) {
            return Err(failed(end));
        }
        let mut others = found.iter().filter(|entry| entry.id != user && entry.id != token.id);
        Ok(others.next().map(|other| {
            let is_owner = place.is_some_and(|(dn, _)| layout.token_dns(other).contains(dn));
            if is_owner { Defect::SeveralOwners } else { Defect::SerialRepeated }
        }))
    }

    async fn search(
        &self,
        base: &str,
        scope: Scope,
        filter: &Filter,
        limit: usize,
    ) -> Result<(Vec<Entry>, SearchEnd), NoAnswer> {
        let shared = self.shared;
        let attributes = shared.reading.attribute_list();
        let search = message::Search {
            base,
            scope,
            filter: filter.octets(),
            attributes: &attributes,
            size_limit: u32::try_from(limit).unwrap_or(u32::MAX),
            time_limit: u32::try_from(shared.settings.timeout.as_secs()).unwrap_or(0).max(1),
            controls: &[],
        };
        let (found, end) = self.link.search(&search, limit, self.deadline).await?;
        let read = |kept: &Kept| shared.reading.entry(&shared.settings, kept.entry());
        let entries: Option<Vec<Entry>> = found.iter().map(read).collect();
        Ok((entries.ok_or(Trouble::from(super::ber::Malformed))?, end))
    }
}

fn failed(end: SearchEnd) -> NoAnswer {
    NoAnswer::Trouble(Trouble::Search(end.code, end.text))
}
