//! A token's entry as acts see it: every state, and whatever is wrong with it.

use super::assembly::{Assembly, Find};
use crate::directory::entry::Entry;
use crate::identity::{ContractId, EntryId, ServiceName, TokenSerial};
use crate::tokens::{Contract, Record, Setup, State};
use std::time::Duration;

/// The class of a contract's entry (`conf/ldap/sekisho.schema`).
pub const CONTRACT_CLASS: &str = "sekishoContractEntry";
/// The contract of a user, a token or a contract's own entry.
pub const CONTRACT: &str = "sekishoContract";
/// The service profile of a token or a contract.
pub const SERVICE: &str = "sekishoService";
/// The state of a token …
pub const STATE: &str = "sekishoTokenState";
/// … since when.
pub const STATE_TIME: &str = "sekishoTokenStateTime";
/// A token is not usable before; a contract has been enabled since.
pub const NOT_BEFORE: &str = "sekishoNotBefore";
/// A token is not usable after.
pub const NOT_AFTER: &str = "sekishoNotAfter";
/// The identities of the entries of those who may be bound to a token.
pub const OWNER: &str = "sekishoOwner";
/// The DN of a token of another contract that waits for a correct code.
pub const PENDING: &str = "sekishoPendingToken";
/// The DN of the token before the last exchange.
pub const FORMER: &str = "sekishoFormerToken";
/// A new token may be issued from this time on.
pub const REISSUE_FROM: &str = "sekishoReissueFrom";
/// A user's choice for login.
pub const LOGIN_CODE: &str = "sekishoLoginCode";
/// The service id of a setup …
pub const SETUP_SERVICE: &str = "sekishoSetupService";
/// … its user id …
pub const SETUP_USER: &str = "sekishoSetupUser";
/// … the hash of its start password …
pub const SETUP_PASSWORD: &str = "sekishoSetupPassword";
/// … wrong start passwords so far …
pub const SETUP_FAILURES: &str = "sekishoSetupFailures";
/// … and when it ends unused.
pub const SETUP_UNTIL: &str = "sekishoSetupUntil";

/// What acts read of an entry beside what the judgement reads.
pub const ACT_ATTRIBUTES: &[&str] = &[
    "entryCSN",
    "mail",
    CONTRACT,
    SERVICE,
    STATE,
    STATE_TIME,
    NOT_BEFORE,
    NOT_AFTER,
    OWNER,
    PENDING,
    FORMER,
    REISSUE_FROM,
    LOGIN_CODE,
    SETUP_SERVICE,
    SETUP_USER,
    SETUP_PASSWORD,
    SETUP_FAILURES,
    SETUP_UNTIL,
];

impl Assembly<'_> {
    /// The token of an entry, whatever its state. What cannot be read is as if it were not there, so that a broken token
    /// can still be ended. `referrers` are the users whose entries refer to it.
    pub fn record(&self, entry: &Entry, referrers: &[EntryId], find: &Find<'_>) -> Record {
        let serial = self.serial(entry).ok().flatten().map(str::to_owned);
        let serial = serial.unwrap_or_else(|| entry.id.to_string());
        let kind = self.kind_of(entry);
        let parameters = self.parameters(entry, kind, find);
        let mut owners = owners(entry);
        owners.extend(
            referrers.iter().filter(|referrer| !owners.contains(referrer)).copied().collect::<Vec<_>>(),
        );
        let names = &self.layout.token;
        let time =
            |name: &Option<super::Name>| name.as_ref().and_then(|name| entry.time(name).ok().flatten());
        let disabled = names.disabled.as_ref().is_some_and(|name| entry.boolean(name) == Ok(Some(true)));
        let state = match names.state.as_ref().map_or(Ok(None), |name| entry.text(name)) {
            Ok(None) if disabled => State::Suspended,
            Ok(None) => State::Active,
            // A word that nobody knows stops the token; so does this.
            Ok(Some(word)) => State::parse(word.trim()).unwrap_or(State::Suspended),
            Err(_) => State::Suspended,
        };
        Record {
            id: entry.id,
            state,
            since: entry.time(STATE_TIME).ok().flatten().unwrap_or_default(),
            owners,
            contract: text(entry, CONTRACT).map(ContractId::new),
            service: text(entry, SERVICE).map(ServiceName::new),
            parameters: parameters.map_or(*self.defaults, |(parameters, _)| parameters),
            secret: self.secret(entry, &serial).ok(),
            spent: self.spent(entry, kind).ok().flatten(),
            begins: time(&names.not_before),
            ends: time(&names.not_after).map(|last| last.plus(Duration::from_secs(1))),
            setup: setup(entry),
            serial: TokenSerial::new(&serial),
        }
    }
}

/// The contract of a contract's entry.
pub fn contract(entry: &Entry) -> Option<Contract> {
    entry.is_a(CONTRACT_CLASS).then_some(())?;
    Some(Contract {
        id: ContractId::new(text(entry, CONTRACT)?),
        service: ServiceName::new(text(entry, SERVICE)?),
        since: entry.time(NOT_BEFORE).ok().flatten().unwrap_or_default(),
    })
}

/// Who may be bound to a token; what is no identity is nobody.
pub(super) fn owners(entry: &Entry) -> Vec<EntryId> {
    let texts = entry.all(OWNER).filter_map(|value| std::str::from_utf8(value).ok());
    texts.filter_map(|text| EntryId::parse(text.trim())).collect()
}

fn setup(entry: &Entry) -> Option<Setup> {
    let failures = entry.integer(SETUP_FAILURES).ok().flatten().unwrap_or(0);
    Some(Setup {
        service_id: text(entry, SETUP_SERVICE)?.into(),
        user_id: text(entry, SETUP_USER)?.into(),
        start_password: text(entry, SETUP_PASSWORD)?.into(),
        failures: u16::try_from(failures).unwrap_or(u16::MAX),
        // A setup whose end cannot be read has ended.
        until: entry.time(SETUP_UNTIL).ok().flatten().unwrap_or_default(),
    })
}

fn text<'e>(entry: &'e Entry, name: &str) -> Option<&'e str> {
    entry.text(name).ok().flatten().map(str::trim).filter(|text| !text.is_empty())
}
