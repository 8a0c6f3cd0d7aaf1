//! Acts on the embedded directory: each is one transaction of the file, on a thread that may wait for the disk.

use super::records::{ContractRecord, Record as _, SetupRecord, TokenRecord, UserRecord, version};
use super::store::{self, CONTRACTS, Changing, NAMES, SERIALS, TOKENS};
use super::{Embedded, EmbeddedProblem, folded, new_id, random};
use crate::clock::{Mono, Wall, now};
use crate::directory::Unavailable;
use crate::directory::registry::{
    Change, NewToken, NotChanged, Read, Registered, Registry, Rewrapped, Seen, Tell, TokenSet, UserSet,
    Version,
};
use crate::directory::seal::{NONCE, Refused};
use crate::identity::{ContractId, EntryId, TokenSerial, UserName};
use crate::otp::check_secret;
use crate::secret::Secret;
use crate::tokens::{Contract, Record, State, User};
use futures_util::future::BoxFuture;
use redb::{ReadTransaction, ReadableTable};
use std::ops::Bound;
use std::sync::Arc;

/// Tokens that one transaction seals anew: others wait for it.
const REWRAP_BATCH: usize = 100;

/// The embedded directory as acts see it.
struct Acts(Arc<Embedded>);

impl Embedded {
    /// The directory as acts see it: reading and changing wait for the disk on threads of their own.
    pub fn registry(self: &Arc<Embedded>) -> Arc<dyn Registry> {
        Arc::new(Acts(Arc::clone(self)))
    }

    fn seen_contract(&self, id: &ContractId) -> Result<Option<Seen<Contract>>, EmbeddedProblem> {
        let Ok(key) = folded(id.as_str()) else { return Ok(None) };
        self.store.read(|store| {
            let Some(stored) = store.open_table(CONTRACTS)?.get(key.as_str())? else { return Ok(None) };
            let record = ContractRecord::parse(stored.value())?;
            Ok(Some(Seen { value: record.contract(), version: version(&record)? }))
        })
    }

    /// Has memory know all enabled contracts.
    pub(super) fn show_contracts(&self) -> Result<(), EmbeddedProblem> {
        let contracts = self.bindings.contracts();
        for contract in self.all_contracts()? {
            contracts.put(contract_entry(&folded(contract.id.as_str())?), &contract, now().mono);
        }
        contracts.set_known(true);
        Ok(())
    }

    /// All enabled contracts, by id.
    fn all_contracts(&self) -> Result<Vec<Contract>, EmbeddedProblem> {
        self.store.read(|store| {
            let mut contracts = Vec::new();
            for stored in store.open_table(CONTRACTS)?.iter()? {
                contracts.push(ContractRecord::parse(stored?.1.value())?.contract());
            }
            Ok(contracts)
        })
    }

    fn registered(&self, record: &UserRecord) -> Result<Registered, EmbeddedProblem> {
        let serial = |id: Option<EntryId>| -> Result<Option<TokenSerial>, EmbeddedProblem> {
            let Some(id) = id else { return Ok(None) };
            self.store.read(|store| {
                let stored = store.open_table(TOKENS)?.get(id.octets())?;
                let token = stored.map(|stored| TokenRecord::parse(stored.value())).transpose()?;
                Ok(token.map(|token| TokenSerial::new(&token.serial)))
            })
        };
        Ok(Registered {
            user: Arc::new(self.assemble(record)?),
            token: serial(record.tokens.first().copied())?,
            pending: serial(record.pending)?,
            former: serial(record.former)?,
            reissue_from: record.reissue_from.map(Wall::from_seconds),
            mail: record.mail.as_deref().map(Into::into),
        })
    }

    fn seen_user(&self, record: Option<UserRecord>) -> Result<Option<Seen<Registered>>, EmbeddedProblem> {
        let Some(record) = record else { return Ok(None) };
        let version = self.store.read(|_| version(&record))?;
        Ok(Some(Seen { value: self.registered(&record)?, version }))
    }

    fn user_named(&self, name: &UserName) -> Result<Option<Seen<Registered>>, EmbeddedProblem> {
        let Some(key) = name.text().and_then(|name| folded(name).ok()) else { return Ok(None) };
        let id =
            self.store.read(|store| Ok(store.open_table(NAMES)?.get(key.as_str())?.map(|id| id.value())))?;
        let record = id.map(|id| self.user_by_id(EntryId::new(id))).transpose()?.flatten();
        self.seen_user(record)
    }

    fn users_after(
        &self,
        contract: Option<&ContractId>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Registered>, EmbeddedProblem> {
        // A name that no user can have comes before all of them.
        let after = after.map(|after| folded(after).unwrap_or_default());
        let from = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let records = self.store.read(|store| {
            let (names, users) = (store.open_table(NAMES)?, store.open_table(super::USERS)?);
            let mut found = Vec::new();
            for named in names.range::<&str>((from, Bound::Unbounded))? {
                if found.len() >= limit {
                    break;
                }
                let (name, id) = named?;
                let Some(stored) = users.get(id.value())? else { continue };
                let record = UserRecord::parse(stored.value())?;
                let is_first_name = folded(&record.name).is_ok_and(|first| first == name.value());
                let is_wanted = contract.is_none_or(|wanted| is_of(&record, wanted));
                if is_first_name && is_wanted {
                    found.push(record);
                }
            }
            Ok(found)
        })?;
        records.iter().map(|record| self.registered(record)).collect()
    }

    fn seen_token(&self, serial: &TokenSerial) -> Result<Option<Seen<Record>>, EmbeddedProblem> {
        self.store.read(|store| {
            let Some(id) = store.open_table(SERIALS)?.get(serial.as_str())? else { return Ok(None) };
            let id = EntryId::new(id.value());
            let Some(stored) = store.open_table(TOKENS)?.get(id.octets())? else { return Ok(None) };
            let token = TokenRecord::parse(stored.value())?;
            Ok(Some(Seen { value: token.record(id, &self.keyring)?, version: token.version()? }))
        })
    }

    fn token_waiting(
        &self,
        service_id: &str,
        user_id: &str,
    ) -> Result<Option<Seen<Record>>, EmbeddedProblem> {
        self.store.read(|store| {
            for stored in store.open_table(TOKENS)?.iter()? {
                let (id, stored) = stored?;
                let token = TokenRecord::parse(stored.value())?;
                let waits = |setup: &SetupRecord| setup.service_id == service_id && setup.user_id == user_id;
                if token.setup.as_ref().is_some_and(waits) {
                    let value = token.record(EntryId::new(id.value()), &self.keyring)?;
                    return Ok(Some(Seen { value, version: token.version()? }));
                }
            }
            Ok(None)
        })
    }

    fn tokens_after(
        &self,
        state: Option<State>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Record>, EmbeddedProblem> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.store.read(|store: &ReadTransaction| {
            let (serials, tokens) = (store.open_table(SERIALS)?, store.open_table(TOKENS)?);
            let mut found = Vec::new();
            for named in serials.range::<&str>((from, Bound::Unbounded))? {
                if found.len() >= limit {
                    break;
                }
                let id = EntryId::new(named?.1.value());
                let Some(stored) = tokens.get(id.octets())? else { continue };
                let token = TokenRecord::parse(stored.value())?;
                if state.is_none_or(|state| token.state().is_ok_and(|is| is == state)) {
                    found.push(token.record(id, &self.keyring)?);
                }
            }
            Ok(found)
        })
    }

    /// Seals the next tokens anew; gives the last one looked at, unless it was the last of all.
    fn rewrap_after(
        &self,
        after: Option<EntryId>,
        mut done: Rewrapped,
    ) -> Result<(Option<EntryId>, Rewrapped), EmbeddedProblem> {
        let from = after.map_or(Bound::Unbounded, |id| Bound::Excluded(id.octets()));
        let ids: Vec<EntryId> = self.store.read(|store| {
            let tokens = store.open_table(TOKENS)?;
            let next = tokens.range::<[u8; 16]>((from, Bound::Unbounded))?.take(REWRAP_BATCH);
            next.map(|stored| Ok(EntryId::new(stored?.0.value()))).collect()
        })?;
        let last = ids.last().copied().filter(|_| ids.len() == REWRAP_BATCH);
        self.change(|tables| {
            for id in ids {
                let mut token = tables.token_by_id(id)?;
                let Some(sealed) = &token.secret else { continue };
                done.looked_at += 1;
                if self.keyring.is_current(sealed.as_bytes()) {
                    continue;
                }
                let serial = TokenSerial::new(&token.serial);
                match self.reseal(&serial, sealed) {
                    Ok(again) => {
                        token.secret = Some(again);
                        tables.put_token(id, &token)?;
                        done.resealed += 1;
                    }
                    Err(problem) => done.fail(serial, problem.to_string()),
                }
            }
            Ok(())
        })?;
        Ok((last, done))
    }

    fn reseal(&self, serial: &TokenSerial, sealed: &str) -> Result<String, EmbeddedProblem> {
        let secret = self.keyring.open(serial.as_str(), sealed.as_bytes())?;
        Ok(self.keyring.seal(serial.as_str(), &secret, random::<NONCE>()?)?)
    }

    fn seal(&self, serial: &TokenSerial, secret: Option<&Secret>) -> Result<Option<String>, EmbeddedProblem> {
        let Some(secret) = secret else { return Ok(None) };
        check_secret(secret.expose())?;
        Ok(Some(self.keyring.seal(serial.as_str(), secret, random::<NONCE>()?)?))
    }

    fn act(&self, change: Change) -> Result<(), EmbeddedProblem> {
        match change {
            Change::AddContract(contract) => {
                let key = folded(contract.id.as_str())?;
                self.change(|tables| {
                    let record = ContractRecord::new(&contract).text()?;
                    match tables.contracts.insert(key.as_str(), record.as_slice())? {
                        None => Ok(()),
                        Some(_) => Err(refused(NotChanged::Exists)),
                    }
                })?;
                self.bindings.contracts().put(contract_entry(&key), &contract, now().mono);
                Ok(())
            }
            Change::RemoveContract { id, version: seen } => {
                let key = folded(id.as_str())?;
                self.change(|tables| match tables.contracts.remove(key.as_str())? {
                    Some(stored) => is_still(&version(&ContractRecord::parse(stored.value())?)?, &seen),
                    None => Err(refused(NotChanged::Conflict)),
                })
            }
            Change::AddToken(token) => self.add(&token),
            Change::Token { id, serial, version, set } => self.set_token(id, &serial, &version, &set),
            Change::RemoveToken { id, version } => self.change(|tables| {
                let token = tables.token_by_id(id)?;
                is_still(&token.version()?, &version)?;
                for owner in &token.owners {
                    if tables.user_by_id(*owner).is_ok_and(|user| user.references().any(|other| other == id))
                    {
                        return Err(refused(NotChanged::Refused("a user refers to the token".into())));
                    }
                }
                tables.tokens.remove(id.octets())?;
                tables.serials.remove(token.serial.as_str())?;
                Ok(())
            }),
            Change::AddUser(user) => {
                let crate::directory::registry::NewUser { name, contract, role, mail, password } = *user;
                let user =
                    super::NewUser { name, other_names: Vec::new(), contract, role, login_code: None, mail };
                self.add_user(user, &password).map(|_| ())
            }
            Change::RemoveUser { id, version: seen } => self.change(|tables| {
                let user = tables.user_by_id(id)?;
                is_still(&version(&user)?, &seen)?;
                tables.remove_user(&user)
            }),
            Change::User { id, version, set } => self.change(|tables| set_user(tables, id, &version, &set)),
        }
    }

    fn add(&self, token: &NewToken) -> Result<(), EmbeddedProblem> {
        folded(token.serial.as_str())?;
        let id = new_id()?;
        let sealed = self.seal(&token.serial, token.secret.as_ref())?;
        self.change(|tables| {
            if tables.serials.insert(token.serial.as_str(), id.octets())?.is_some() {
                return Err(refused(NotChanged::Exists));
            }
            tables.put_token(id, &TokenRecord::registered(token, sealed.clone()))
        })
    }

    fn set_token(
        &self,
        id: EntryId,
        serial: &TokenSerial,
        seen: &Version,
        set: &TokenSet,
    ) -> Result<(), EmbeddedProblem> {
        let sealed = self.seal(serial, set.secret.as_ref())?;
        self.change(|tables| {
            let mut token = tables.token_by_id(id)?;
            is_still(&token.version()?, seen)?;
            if token.serial != serial.as_str() {
                return Err(refused(NotChanged::Conflict));
            }
            if let Some((state, since)) = set.state {
                token.set_state(state);
                token.since = since.seconds();
            }
            if let Some((contract, service)) = &set.contract {
                token.contract = Some(contract.to_string());
                token.service = Some(service.to_string());
            }
            if sealed.is_some() {
                token.secret.clone_from(&sealed);
            }
            if let Some(ends) = set.ends {
                token.ends = Some(ends.seconds());
            }
            if let Some(setup) = &set.setup {
                token.setup = setup.as_ref().map(SetupRecord::new);
            }
            if let Some(owners) = &set.owners {
                // Whoever refers to it stays known, so that their references are found when it goes.
                let mut all = owners.clone();
                for other in token.owners.iter().filter(|other| !owners.contains(other)) {
                    if tables.user_by_id(*other).is_ok_and(|user| user.references().any(|held| held == id)) {
                        all.push(*other);
                    }
                }
                token.owners = all;
            }
            tables.put_token(id, &token)?;
            tables.touch(&token)
        })
    }
}

/// Changes a user, and in the same transaction who the tokens know as their owners.
fn set_user(
    tables: &mut Changing<'_>,
    id: EntryId,
    seen: &Version,
    set: &UserSet,
) -> Result<(), store::Change> {
    let mut user = tables.user_by_id(id)?;
    is_still(&version(&user)?, seen)?;
    let before: Vec<EntryId> = user.references().collect();
    let find = |tables: &Changing<'_>, serial: &Option<TokenSerial>| match serial {
        None => Ok(None),
        Some(serial) => match tables.token(serial.as_str()) {
            Ok((id, _)) => Ok(Some(id)),
            Err(store::Change::Refused(EmbeddedProblem::TokenUnknown)) => {
                let why = format!("there is no token with the serial number {serial}");
                Err(refused(NotChanged::Refused(why.into())))
            }
            Err(other) => Err(other),
        },
    };
    if let Some(token) = &set.token {
        if user.tokens.len() > 1 {
            let why = format!("the user has {} tokens; remove all but one", user.tokens.len());
            return Err(refused(NotChanged::Refused(why.into())));
        }
        user.tokens = find(tables, token)?.into_iter().collect();
    }
    if let Some(pending) = &set.pending {
        user.pending = find(tables, pending)?;
    }
    if let Some(former) = &set.former {
        user.former = find(tables, former)?;
    }
    if let Some(choice) = set.login_code {
        user.choose(choice);
    }
    if let Some(from) = set.reissue_from {
        user.reissue_from = from.map(Wall::seconds);
    }
    let after: Vec<EntryId> = user.references().collect();
    for gone in before.iter().filter(|token| !after.contains(token)) {
        if let Ok(mut token) = tables.token_by_id(*gone) {
            token.owners.retain(|owner| *owner != id);
            tables.put_token(*gone, &token)?;
        }
    }
    for new in after.iter().filter(|token| !before.contains(token)) {
        let mut token = tables.token_by_id(*new)?;
        if !token.owners.contains(&id) {
            token.owners.push(id);
            tables.put_token(*new, &token)?;
        }
    }
    tables.put_user(&user)
}

/// The identity of a contract, which has no entry of its own here.
fn contract_entry(key: &str) -> EntryId {
    EntryId::of_dn(&format!("contract {key}"))
}

fn is_of(user: &UserRecord, contract: &ContractId) -> bool {
    let of = user.contract.as_deref().and_then(|of| folded(of).ok());
    of.is_some() && of == folded(contract.as_str()).ok()
}

fn is_still(now: &Version, seen: &Version) -> Result<(), store::Change> {
    if now == seen { Ok(()) } else { Err(refused(NotChanged::Conflict)) }
}

fn refused(why: NotChanged) -> store::Change {
    store::Change::Refused(EmbeddedProblem::Act(why))
}

impl From<EmbeddedProblem> for NotChanged {
    fn from(problem: EmbeddedProblem) -> NotChanged {
        match problem {
            EmbeddedProblem::Act(why) => why,
            EmbeddedProblem::Seal(Refused::NoKey) => NotChanged::NoSealKey,
            // It was there when it was read.
            EmbeddedProblem::UserUnknown | EmbeddedProblem::TokenUnknown => NotChanged::Conflict,
            EmbeddedProblem::NameTaken | EmbeddedProblem::SerialTaken => NotChanged::Exists,
            // A write that failed may have reached the disk.
            EmbeddedProblem::Store { .. } => NotChanged::Unknown,
            other => NotChanged::Refused(other.to_string().into()),
        }
    }
}

impl Acts {
    /// Reads on a thread that may wait for the disk.
    fn read<T: Send + 'static>(
        &self,
        deadline: Mono,
        work: impl FnOnce(&Embedded) -> Result<T, EmbeddedProblem> + Send + 'static,
    ) -> Read<'static, T> {
        let embedded = Arc::clone(&self.0);
        Box::pin(async move {
            let left = deadline.since(now().mono);
            let reading = tokio::task::spawn_blocking(move || work(&embedded));
            match tokio::time::timeout(left, reading).await {
                Ok(Ok(Ok(read))) => Ok(read),
                Ok(Ok(Err(_)) | Err(_)) => Err(Unavailable::Unreachable),
                Err(_) => Err(Unavailable::TooLate),
            }
        })
    }
}

impl Registry for Acts {
    fn has_own_users(&self) -> bool {
        true
    }

    fn contract<'a>(&'a self, id: &'a ContractId, deadline: Mono) -> Read<'a, Option<Seen<Contract>>> {
        let id = id.clone();
        self.read(deadline, move |embedded| embedded.seen_contract(&id))
    }

    fn contracts(&self, deadline: Mono) -> Read<'_, Vec<Contract>> {
        self.read(deadline, Embedded::all_contracts)
    }

    fn user<'a>(&'a self, name: &'a UserName, deadline: Mono) -> Read<'a, Option<Seen<Registered>>> {
        let name = name.clone();
        self.read(deadline, move |embedded| embedded.user_named(&name))
    }

    fn reread<'a>(&'a self, user: &'a User, deadline: Mono) -> Read<'a, Option<Seen<Registered>>> {
        let id = user.id;
        self.read(deadline, move |embedded| embedded.seen_user(embedded.user_by_id(id)?))
    }

    fn users<'a>(
        &'a self,
        contract: Option<&'a ContractId>,
        after: Option<&'a str>,
        limit: usize,
        deadline: Mono,
    ) -> Read<'a, Vec<Registered>> {
        let (contract, after) = (contract.cloned(), after.map(str::to_owned));
        self.read(deadline, move |embedded| embedded.users_after(contract.as_ref(), after.as_deref(), limit))
    }

    fn token<'a>(&'a self, serial: &'a TokenSerial, deadline: Mono) -> Read<'a, Option<Seen<Record>>> {
        let serial = serial.clone();
        self.read(deadline, move |embedded| embedded.seen_token(&serial))
    }

    fn token_for_setup<'a>(
        &'a self,
        service_id: &'a str,
        user_id: &'a str,
        deadline: Mono,
    ) -> Read<'a, Option<Seen<Record>>> {
        let (service_id, user_id) = (service_id.to_owned(), user_id.to_owned());
        self.read(deadline, move |embedded| embedded.token_waiting(&service_id, &user_id))
    }

    fn tokens<'a>(
        &'a self,
        state: Option<State>,
        after: Option<&'a str>,
        limit: usize,
        deadline: Mono,
    ) -> Read<'a, Vec<Record>> {
        let after = after.map(str::to_owned);
        self.read(deadline, move |embedded| embedded.tokens_after(state, after.as_deref(), limit))
    }

    fn keys(&self) -> Vec<Box<str>> {
        self.0.keyring.ids()
    }

    fn rewrap<'a>(&'a self, tell: &'a Tell<'a>) -> BoxFuture<'a, Result<Rewrapped, NotChanged>> {
        Box::pin(async move {
            let mut done = Rewrapped::default();
            let mut after = None;
            loop {
                let embedded = Arc::clone(&self.0);
                let batch = tokio::task::spawn_blocking(move || embedded.rewrap_after(after, done));
                (after, done) = batch.await.map_err(|_| NotChanged::Unknown)??;
                tell(&done);
                if after.is_none() {
                    return Ok(done);
                }
            }
        })
    }

    fn change(&self, change: Change, deadline: Mono) -> BoxFuture<'_, Result<(), NotChanged>> {
        let embedded = Arc::clone(&self.0);
        Box::pin(async move {
            let left = deadline.since(now().mono);
            if left.is_zero() {
                return Err(Unavailable::TooLate.into());
            }
            let acting = tokio::task::spawn_blocking(move || embedded.act(change));
            match tokio::time::timeout(left, acting).await {
                Ok(Ok(done)) => done.map_err(NotChanged::from),
                Ok(Err(_)) | Err(_) => Err(NotChanged::Unknown),
            }
        })
    }
}

#[cfg(test)]
mod tests;
