//! Seals every token's key anew, page by page, while everything else goes on.
//!
//! What is done is seen by the key id in the sealed value, so that a broken or repeated run goes on where it was without
//! a note of its own.

use super::act::Edit;
use super::connection::within;
use super::event::Operation;
use super::link::NoAnswer;
use super::message::{
    self, Control, Criticality, NO_SUCH_OBJECT, PAGED_RESULTS, SUCCESS, Scope, page, page_cookie,
};
use super::registry::{Desk, failed};
use super::shared::Shared;
use super::write::{NotMade, Said};
use crate::clock::{Mono, now};
use crate::directory::Unavailable;
use crate::directory::entry::Entry;
use crate::directory::registry::{NotChanged, Rewrapped, Tell};
use crate::directory::seal::{self, NONCE, Refused};
use crate::identity::{EntryId, TokenSerial};

/// Entries of one page: few, because each waits for its own change before the next page is read.
const PAGE: u32 = 200;
/// How often one token is looked at again when somebody changes it in the same moment.
const TRIES: usize = 3;

/// Seals everything anew that is not sealed by the key that seals now.
pub(super) async fn rewrap(shared: &Shared, tell: &Tell<'_>) -> Result<Rewrapped, NotChanged> {
    if !shared.settings.layout.takes_changes() {
        return Err(NotChanged::Refused("only the layout \"oath\" is written to".into()));
    }
    if shared.settings.keyring.ids().is_empty() {
        return Err(NotChanged::NoSealKey);
    }
    let mut last = Unavailable::Unreachable;
    for link in shared.for_acts() {
        // Each operation has a deadline of its own; the whole takes as long as it takes.
        let desk = Desk { shared, link, deadline: soon(shared) };
        let mut done = Rewrapped::default();
        match desk.walk(tell, &mut done).await {
            Ok(()) => return Ok(done),
            Err(NotMade::No(why)) => return Err(why),
            Err(NotMade::NotAsked(why)) => last = link.gave_up(Operation::Write, why, soon(shared)),
        }
    }
    Err(last.into())
}

fn soon(shared: &Shared) -> Mono {
    now().mono.plus(shared.settings.timeout.saturating_mul(5))
}

/// A token whose key may have to be sealed anew.
struct Found {
    dn: String,
    id: EntryId,
}

impl Desk<'_> {
    async fn walk(&self, tell: &Tell<'_>, done: &mut Rewrapped) -> Result<(), NotMade> {
        let shared = self.shared;
        let Some(tokens) = &shared.reading.tokens else { return Ok(()) };
        let opened = self.link.connect().await.map_err(NoAnswer::Trouble)?;
        let mut connection = opened;
        let mut cookie = Vec::new();
        loop {
            let paged = Control {
                oid: PAGED_RESULTS,
                criticality: Criticality::Critical,
                value: Some(page(PAGE, &cookie)),
            };
            let attributes = shared.reading.act_attributes();
            let search = message::Search {
                base: &shared.settings.base,
                scope: Scope::Subtree,
                filter: tokens.octets(),
                attributes: &attributes,
                size_limit: 0,
                time_limit: 0,
                controls: &[paged],
            };
            let mut found = Vec::new();
            let keyring = &shared.settings.keyring;
            let reading = connection.search(&search, |raw| {
                let Some(entry) = shared.reading.entry(&shared.settings, raw) else { return Ok(()) };
                let Ok(Some(secret)) = entry.one("oathSecret") else { return Ok(()) };
                done.looked_at += 1;
                if !seal::is_sealed(secret) {
                    done.plain += 1;
                } else if !keyring.is_current(secret) {
                    found.push(Found { dn: entry.dn.clone(), id: entry.id });
                }
                Ok(())
            });
            let end = within(shared.settings.timeout.saturating_mul(5), reading).await;
            let end = end.map_err(NoAnswer::Trouble)?;
            if !matches!(end.code, SUCCESS | NO_SUCH_OBJECT) {
                return Err(failed(end).into());
            }
            for token in found {
                self.reseal(&token, done).await?;
            }
            tell(done);
            let page = end.page.unwrap_or_default();
            cookie = match page.as_slice() {
                [] => Vec::new(),
                page => page_cookie(page).map_err(|error| NoAnswer::Trouble(error.into()))?.to_vec(),
            };
            if cookie.is_empty() {
                connection.close().await;
                return Ok(());
            }
        }
    }

    /// One token: read, opened, sealed anew, and written if nobody has changed it meanwhile.
    async fn reseal(&self, token: &Found, done: &mut Rewrapped) -> Result<(), NotMade> {
        let shared = self.shared;
        let Some(tokens) = &shared.reading.tokens else { return Ok(()) };
        for _ in 0..TRIES {
            let desk = Desk { shared, link: self.link, deadline: soon(shared) };
            let Some(entry) = desk.entry(&token.dn, tokens).await?.filter(|entry| entry.id == token.id)
            else {
                return Ok(());
            };
            let serial = serial(&entry, shared);
            let sealed = match again(shared, &serial, &entry) {
                Ok(Some(sealed)) => sealed,
                Ok(None) => return Ok(()),
                Err(why) => {
                    done.fail(serial, why.to_string());
                    return Ok(());
                }
            };
            match desk.modify(&entry, &[Edit::set("oathSecret", sealed)]).await {
                Ok(Said::Done) => {
                    done.resealed += 1;
                    return Ok(());
                }
                Ok(Said::Elsewhere(why)) => return Err(NotMade::No(why)),
                Err(NotMade::No(NotChanged::Conflict)) => {}
                // It may have been made; either form opens, and the next run sees which it is.
                Err(NotMade::No(NotChanged::Unknown)) => {
                    done.fail(serial, NotChanged::Unknown.to_string());
                    return Ok(());
                }
                Err(other) => return Err(other),
            }
        }
        done.fail(serial_of(token), "it is changed again and again");
        Ok(())
    }
}

/// The key sealed anew; `None` if somebody has done it meanwhile.
fn again(shared: &Shared, serial: &TokenSerial, entry: &Entry) -> Result<Option<String>, Refused> {
    let keyring = &shared.settings.keyring;
    let Ok(Some(sealed)) = entry.one("oathSecret") else { return Ok(None) };
    if !seal::is_sealed(sealed) || keyring.is_current(sealed) {
        return Ok(None);
    }
    let secret = keyring.open(serial.as_str(), sealed)?;
    let mut nonce = [0; NONCE];
    getrandom::fill(&mut nonce).map_err(|_| Refused::NoKey)?;
    keyring.seal(serial.as_str(), &secret, nonce).map(Some)
}

/// The serial number that the key is sealed for: as the judgement reads it.
fn serial(entry: &Entry, shared: &Shared) -> TokenSerial {
    let written = shared.settings.layout.serial().and_then(|name| entry.text(name).ok().flatten());
    match written.map(str::trim).filter(|serial| !serial.is_empty()) {
        Some(serial) => TokenSerial::new(serial),
        None => TokenSerial::new(&entry.id.to_string()),
    }
}

fn serial_of(token: &Found) -> TokenSerial {
    TokenSerial::new(&token.dn)
}
