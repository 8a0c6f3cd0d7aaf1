//! The life of tokens in an LDAP directory: read from one server at the moment of an act, and written to the same one.

use super::Ldap;
use super::connection::{SearchEnd, Trouble};
use super::event::Operation;
use super::filter::Filter;
use super::find::Finder;
use super::link::{Kept, Link, NoAnswer, worth_asking};
use super::message::{self, NO_SUCH_OBJECT, SIZE_LIMIT_EXCEEDED, SUCCESS, Scope};
use super::roll::Place;
use super::shared::Shared;
use crate::clock::{Mono, now};
use crate::directory::Unavailable;
use crate::directory::entry::{Dn, Entry};
use crate::directory::layout::{ACT_ATTRIBUTES, Layout, TokensAt, record as names};
use crate::directory::registry::{
    Change, NotChanged, Read, Registered, Registry, Rewrapped, Seen, Tell, Version,
};
use crate::identity::{ContractId, EntryId, TokenSerial, UserName};
use crate::tokens::{Contract, Record, State, Tokens, User};
use futures_util::future::{self, BoxFuture};
use futures_util::{FutureExt as _, StreamExt as _, TryFutureExt as _, TryStreamExt as _, stream};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// One server, for the time of one act.
pub(super) struct Desk<'a> {
    pub(super) shared: &'a Shared,
    pub(super) link: &'a Link,
    pub(super) deadline: Mono,
}

/// What the first server that can say makes of `$work`.
macro_rules! on_first {
    ($shared:expr, $deadline:expr, |$desk:ident| $work:expr) => {{
        let shared: &Shared = $shared;
        let mut answer = Err(Unavailable::Unreachable);
        for link in shared.for_acts() {
            let $desk = Desk { shared, link, deadline: $deadline };
            match $work.await {
                Ok(done) => {
                    answer = Ok(done);
                    break;
                }
                Err(why) => answer = Err(link.gave_up(Operation::Search, why, $deadline)),
            }
        }
        answer
    }};
}

impl Shared {
    /// The servers to ask for acts, best first: the one that has taken a change before goes before all others, because a
    /// replica may not have heard of it yet.
    pub(super) fn for_acts(&self) -> Vec<&Arc<Link>> {
        let mut links = worth_asking(&self.links);
        let writable = self.writable.load(Ordering::Relaxed);
        if let Some(preferred) = self.links.get(writable)
            && let Some(at) = links.iter().position(|link| Arc::ptr_eq(link, preferred))
        {
            let first = links.remove(at);
            links.insert(0, first);
        }
        links
    }
}

impl Desk<'_> {
    /// An entry by its DN with everything that acts read; `None` if there is none, or it is none of these.
    pub(super) async fn entry(&self, dn: &str, filter: &Filter) -> Result<Option<Entry>, NoAnswer> {
        let (mut found, end) = self.search(dn, Scope::Base, filter, 1).await?;
        match (found.pop(), end.code) {
            (Some(entry), SUCCESS) => Ok(Some(entry)),
            (None, SUCCESS | NO_SUCH_OBJECT) => Ok(None),
            _ => Err(failed(end)),
        }
    }

    /// The only entry below `base` that fits; `None` for none and for several.
    async fn only(&self, base: &str, filter: &Filter) -> Result<Option<Entry>, NoAnswer> {
        let (mut found, end) = self.search(base, Scope::Subtree, filter, 2).await?;
        match (found.pop(), found.pop(), end.code) {
            (Some(entry), None, SUCCESS) => Ok(Some(entry)),
            (_, Some(_), SUCCESS | SIZE_LIMIT_EXCEEDED) | (None, _, SUCCESS | NO_SUCH_OBJECT) => Ok(None),
            _ => Err(failed(end)),
        }
    }

    pub(super) async fn search(
        &self,
        base: &str,
        scope: Scope,
        filter: &Filter,
        limit: usize,
    ) -> Result<(Vec<Entry>, SearchEnd), NoAnswer> {
        let shared = self.shared;
        let attributes = shared.reading.act_attributes();
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

    pub(super) async fn contract_entry(&self, id: &ContractId) -> Result<Option<Entry>, NoAnswer> {
        let reading = &self.shared.reading;
        let filter = Filter::all(&[
            reading.contracts.clone(),
            Filter::equals(names::CONTRACT, id.as_str().as_bytes()),
        ]);
        self.only(&self.shared.settings.contract_base, &filter).await
    }

    /// The entry of the token with this serial number; two with one are unusable, and no act touches them.
    pub(super) async fn token_entry(&self, serial: &TokenSerial) -> Result<Option<Entry>, NoAnswer> {
        let settings = &self.shared.settings;
        let (Some(attribute), Some(tokens)) = (settings.layout.serial(), &self.shared.reading.tokens) else {
            return Ok(None);
        };
        let filter = Filter::all(&[tokens.clone(), Filter::equals(attribute, serial.as_str().as_bytes())]);
        self.only(&settings.base, &filter).await
    }

    async fn registered(&self, entry: &Entry) -> Result<Registered, NoAnswer> {
        let (settings, reading) = (&self.shared.settings, &self.shared.reading);
        let finder = Finder { shared: self.shared, link: self.link, deadline: self.deadline };
        let (user, _) = finder.user(entry).await?;
        let mut serials = Vec::new();
        let own = match settings.layout.tokens_at() {
            TokensAt::Referred(names) => names.iter().find_map(|(name, _)| entry.all(name).next()),
            _ => None,
        };
        let single = |name: &str| entry.one(name).ok().flatten();
        for reference in [own, single(names::PENDING), single(names::FORMER)] {
            let dn = reference.and_then(|dn| std::str::from_utf8(dn).ok());
            let token = match (dn, &reading.tokens) {
                (Some(dn), Some(filter)) => self.entry(dn, filter).await?,
                _ => None,
            };
            let serial = token.and_then(|token| {
                let serial = token.text(settings.layout.serial()?).ok()??.trim();
                Some(TokenSerial::new(serial))
            });
            serials.push(serial);
        }
        let (former, pending) = (serials.pop().flatten(), serials.pop().flatten());
        let mut token = serials.pop().flatten();
        if let (None, Tokens::These(tokens)) = (&token, &user.tokens)
            && !matches!(settings.layout.tokens_at(), TokensAt::Referred(_))
        {
            token = tokens.first().map(|token| token.serial.clone());
        }
        Ok(Registered {
            user: Arc::new(user),
            token,
            pending,
            former,
            reissue_from: entry.time(names::REISSUE_FROM).ok().flatten(),
            mail: entry.all("mail").next().and_then(|mail| std::str::from_utf8(mail).ok()).map(Into::into),
        })
    }

    async fn registered_at(&self, dn: &str) -> Result<Option<Registered>, NoAnswer> {
        match self.entry(dn, &self.shared.reading.users).await? {
            Some(entry) => Ok(Some(self.registered(&entry).await?)),
            None => Ok(None),
        }
    }

    /// Reads what there is, in this order: several at once, which leaves half of the connections to requests.
    async fn all<R>(
        &self,
        reads: Vec<BoxFuture<'_, Result<Option<R>, NoAnswer>>>,
    ) -> Result<Vec<R>, NoAnswer> {
        let at_once = (self.shared.settings.searches / 2).max(1);
        stream::iter(reads).buffered(at_once).try_filter_map(future::ok).try_collect().await
    }

    async fn seen_user(&self, entry: Option<Entry>) -> Result<Option<Seen<Registered>>, NoAnswer> {
        let Some(entry) = entry else { return Ok(None) };
        Ok(Some(Seen { value: self.registered(&entry).await?, version: version(&entry) }))
    }

    async fn user(&self, name: &str) -> Result<Option<Seen<Registered>>, NoAnswer> {
        let filter = self.shared.settings.user_filter.for_name(name);
        self.seen_user(self.only(&self.shared.settings.base, &filter).await?).await
    }

    pub(super) async fn user_entry(&self, dn: &str, id: EntryId) -> Result<Option<Entry>, NoAnswer> {
        let entry = self.entry(dn, &self.shared.reading.users).await?;
        Ok(entry.filter(|entry| entry.id == id))
    }

    async fn record(&self, entry: &Entry) -> Result<Record, NoAnswer> {
        let (settings, reading) = (&self.shared.settings, &self.shared.reading);
        let mut known: HashMap<Dn, Arc<Entry>> = HashMap::new();
        if let Some(filter) = &reading.parameters {
            for dn in settings.layout.parameter_dns(entry) {
                if let Some(parameters) = self.entry(dn.as_str(), filter).await? {
                    known.insert(dn, Arc::new(parameters));
                }
            }
        }
        let referrers: Vec<EntryId> =
            self.referrers(&entry.dn).await?.iter().map(|referrer| referrer.id).collect();
        let find = |dn: &Dn| known.get(dn).cloned();
        Ok(reading.assembly(settings).record(entry, &referrers, &find))
    }

    /// The users whose entries refer to a token, as theirs or as the one that waits for a code.
    pub(super) async fn referrers(&self, token: &str) -> Result<Vec<Entry>, NoAnswer> {
        let settings = &self.shared.settings;
        let TokensAt::Referred(names) = settings.layout.tokens_at() else { return Ok(Vec::new()) };
        let mut refer: Vec<Filter> =
            names.iter().map(|(name, _)| Filter::equals(name, token.as_bytes())).collect();
        refer.push(Filter::equals(names::PENDING, token.as_bytes()));
        let filter = Filter::any(&refer);
        let (found, end) =
            self.search(&settings.base, Scope::Subtree, &filter, Layout::REFERENCES_MAX).await?;
        match end.code {
            SUCCESS | SIZE_LIMIT_EXCEEDED => Ok(found),
            _ => Err(failed(end)),
        }
    }

    async fn seen_token(&self, entry: Option<Entry>) -> Result<Option<Seen<Record>>, NoAnswer> {
        let Some(entry) = entry else { return Ok(None) };
        Ok(Some(Seen { value: self.record(&entry).await?, version: version(&entry) }))
    }

    async fn token(&self, serial: &TokenSerial) -> Result<Option<Seen<Record>>, NoAnswer> {
        self.seen_token(self.token_entry(serial).await?).await
    }

    async fn again(&self, user: &User) -> Result<Option<Seen<Registered>>, NoAnswer> {
        self.seen_user(self.user_entry(&user.dn, user.id).await?).await
    }

    async fn token_for_setup(
        &self,
        service_id: &str,
        user_id: &str,
    ) -> Result<Option<Seen<Record>>, NoAnswer> {
        let Some(tokens) = &self.shared.reading.tokens else { return Ok(None) };
        let filter = Filter::all(&[
            tokens.clone(),
            Filter::equals(names::SETUP_SERVICE, service_id.as_bytes()),
            Filter::equals(names::SETUP_USER, user_id.as_bytes()),
        ]);
        self.seen_token(self.only(&self.shared.settings.base, &filter).await?).await
    }

    async fn users(
        &self,
        contract: Option<&ContractId>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Registered>, NoAnswer> {
        let (settings, reading) = (&self.shared.settings, &self.shared.reading);
        let Some(attribute) = reading.names.first() else { return Ok(Vec::new()) };
        let mut filters = vec![reading.users.clone()];
        if let (Some(contract), Some(name)) = (contract, settings.layout.contract()) {
            filters.push(Filter::equals(name, contract.as_str().as_bytes()));
        }
        let filter = Filter::all(&filters);
        let mut place = Place::after(after);
        let mut users = Vec::new();
        while let Some(left) = place.left(users.len(), limit) {
            let names = self.first_after(&settings.base, &filter, attribute, place.name(), left).await?;
            users.extend(self.all(names.values().map(|dn| self.registered_at(dn).boxed()).collect()).await?);
            place.go_on(names, left);
        }
        Ok(users)
    }

    pub(super) async fn tokens(
        &self,
        state: Option<State>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Entry>, NoAnswer> {
        let (settings, reading) = (&self.shared.settings, &self.shared.reading);
        let (Some(attribute), Some(tokens)) = (settings.layout.serial(), &reading.tokens) else {
            return Ok(Vec::new());
        };
        let is = |state: State| Filter::equals(names::STATE, state.text().as_bytes());
        let filter = match state {
            None => tokens.clone(),
            // A token without a state is in service.
            Some(State::Active) => {
                let none = Filter::not(&Filter::present(names::STATE));
                Filter::all(&[tokens.clone(), Filter::any(&[is(State::Active), none])])
            }
            Some(state) => Filter::all(&[tokens.clone(), is(state)]),
        };
        let mut place = Place::after(after);
        let mut entries = Vec::new();
        while let Some(left) = place.left(entries.len(), limit) {
            let names = self.first_after(&settings.base, &filter, attribute, place.name(), left).await?;
            entries
                .extend(self.all(names.values().map(|dn| self.entry(dn, tokens).boxed()).collect()).await?);
            place.go_on(names, left);
        }
        Ok(entries)
    }

    async fn records(
        &self,
        state: Option<State>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Record>, NoAnswer> {
        let tokens = self.tokens(state, after, limit).await?;
        self.all(tokens.iter().map(|token| self.record(token).map_ok(Some).boxed()).collect()).await
    }

    async fn contracts(&self) -> Result<Vec<Contract>, NoAnswer> {
        let (base, filter) = (&self.shared.settings.contract_base, &self.shared.reading.contracts);
        let first = self.first_after(base, filter, names::CONTRACT, None, CONTRACTS_MAX).await?;
        let mut contracts = Vec::with_capacity(first.len());
        for dn in first.values() {
            contracts
                .extend(self.entry(dn, filter).await?.as_ref().and_then(crate::directory::layout::contract));
        }
        Ok(contracts)
    }

    /// Shows memory what became of users at once, instead of when the directory gets round to telling.
    pub(super) async fn show(&self, entries: &[(String, EntryId)]) -> Result<(), NoAnswer> {
        for (dn, id) in entries {
            match self.user_entry(dn, *id).await? {
                Some(entry) => {
                    let finder = Finder { shared: self.shared, link: self.link, deadline: self.deadline };
                    let (user, names) = finder.user(&entry).await?;
                    self.shared.bindings.put(&user, &names, now().mono);
                }
                None => self.shared.bindings.remove(*id),
            }
        }
        Ok(())
    }
}

/// More contracts than this are listed in no one answer.
const CONTRACTS_MAX: usize = 100_000;

/// Tells one reading of an entry from the next: entryCSN, which every change moves on; without it, everything that was
/// read.
pub(super) fn version(entry: &Entry) -> Version {
    if let Ok(Some(csn)) = entry.text("entryCSN") {
        return Version(csn.into());
    }
    let mut digest = Sha256::new();
    for name in ACT_ATTRIBUTES {
        digest.update(name.as_bytes());
        for value in entry.all(name) {
            digest.update((value.len() as u64).to_be_bytes());
            digest.update(value);
        }
    }
    let octets = digest.finalize();
    Version(format!("read:{}", data_encoding::HEXLOWER.encode(octets.get(..16).unwrap_or_default())).into())
}

pub(super) fn failed(end: SearchEnd) -> NoAnswer {
    NoAnswer::Trouble(Trouble::Search(end.code, end.text))
}

impl Registry for Ldap {
    fn has_own_users(&self) -> bool {
        false
    }

    fn contract<'a>(&'a self, id: &'a ContractId, deadline: Mono) -> Read<'a, Option<Seen<Contract>>> {
        Box::pin(async move {
            let entry = on_first!(&self.shared, deadline, |desk| desk.contract_entry(id));
            Ok(entry?.and_then(|entry| {
                let value = crate::directory::layout::contract(&entry)?;
                Some(Seen { value, version: version(&entry) })
            }))
        })
    }

    fn contracts(&self, deadline: Mono) -> Read<'_, Vec<Contract>> {
        Box::pin(async move { on_first!(&self.shared, deadline, |desk| desk.contracts()) })
    }

    fn user<'a>(&'a self, name: &'a UserName, deadline: Mono) -> Read<'a, Option<Seen<Registered>>> {
        Box::pin(async move {
            // What is not UTF-8 is nobody's name (RFC 4511 §4.1.2), and NUL ends names in some servers.
            let Some(name) = name.text().filter(|name| !name.contains('\0')) else { return Ok(None) };
            on_first!(&self.shared, deadline, |desk| desk.user(name))
        })
    }

    fn reread<'a>(&'a self, user: &'a User, deadline: Mono) -> Read<'a, Option<Seen<Registered>>> {
        Box::pin(async move { on_first!(&self.shared, deadline, |desk| desk.again(user)) })
    }

    fn users<'a>(
        &'a self,
        contract: Option<&'a ContractId>,
        after: Option<&'a str>,
        limit: usize,
        deadline: Mono,
    ) -> Read<'a, Vec<Registered>> {
        Box::pin(async move { on_first!(&self.shared, deadline, |desk| desk.users(contract, after, limit)) })
    }

    fn token<'a>(&'a self, serial: &'a TokenSerial, deadline: Mono) -> Read<'a, Option<Seen<Record>>> {
        Box::pin(async move { on_first!(&self.shared, deadline, |desk| desk.token(serial)) })
    }

    fn token_for_setup<'a>(
        &'a self,
        service_id: &'a str,
        user_id: &'a str,
        deadline: Mono,
    ) -> Read<'a, Option<Seen<Record>>> {
        Box::pin(async move {
            on_first!(&self.shared, deadline, |desk| desk.token_for_setup(service_id, user_id))
        })
    }

    fn tokens<'a>(
        &'a self,
        state: Option<State>,
        after: Option<&'a str>,
        limit: usize,
        deadline: Mono,
    ) -> Read<'a, Vec<Record>> {
        Box::pin(async move { on_first!(&self.shared, deadline, |desk| desk.records(state, after, limit)) })
    }

    fn keys(&self) -> Vec<Box<str>> {
        self.shared.settings.keyring.ids()
    }

    fn rewrap<'a>(&'a self, tell: &'a Tell<'a>) -> BoxFuture<'a, Result<Rewrapped, NotChanged>> {
        Box::pin(super::rewrap::rewrap(&self.shared, tell))
    }

    fn change(&self, change: Change, deadline: Mono) -> BoxFuture<'_, Result<(), NotChanged>> {
        Box::pin(async move { super::write::change(&self.shared, change, deadline).await })
    }
}
