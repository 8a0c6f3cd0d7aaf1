//! Changes of the life of tokens in an LDAP directory: each is one atomic operation on one entry of one server, with an
//! assertion on what was read.
//!
//! ```text
//! read the entry ── other version? ──▶ Conflict
//!       │ as it was seen
//! one operation, critical assertion (entryCSN=…) ──┬─ success ───▶ memory reads the users anew ──▶ done
//!                                                  ├─ 122, 16, 20, 32 ─▶ Conflict: somebody was faster
//!                                                  ├─ 10, 53 ──▶ the next server: this one is a replica
//!                                                  ├─ other ───▶ Refused, in the server's words and ours
//!                                                  └─ no answer after sending ─▶ Unknown, never repeated
//! ```

use super::act::{self, Act, Edit, How};
use super::connection::ActAnswer;
use super::event::Operation;
use super::filter::Filter;
use super::link::{Link, NoAnswer, NotActed};
use super::message::{NO_SUCH_OBJECT, SUCCESS, UNWILLING_TO_PERFORM};
use super::registry::{Desk, failed, version};
use super::shared::Shared;
use crate::clock::{Mono, Wall, now};
use crate::directory::Unavailable;
use crate::directory::entry::{Entry, escaped, generalized};
use crate::directory::layout::{ACT_ATTRIBUTES, TokensAt, record as names};
use crate::directory::registry::{Change, NewToken, NotChanged, TokenSet, UserSet, Version};
use crate::directory::seal::{NONCE, Refused};
use crate::identity::{EntryId, Escaped, TokenSerial};
use crate::otp::{Algorithm, Moving, Parameters, check_secret};
use crate::secret::Secret;
use crate::tokens::Setup;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What one server has to say to a change.
pub(super) enum Said {
    /// It is done.
    Done,
    /// Another server has to be asked, and why.
    Elsewhere(NotChanged),
}

/// Makes one change on the first server that takes changes.
pub(super) async fn change(shared: &Shared, change: Change, deadline: Mono) -> Result<(), NotChanged> {
    if !shared.settings.layout.takes_changes() {
        return Err(NotChanged::Refused(
            "only the layout \"oath\" is written to; with this layout tokens are managed in the directory itself"
                .into(),
        ));
    }
    let mut last = NotChanged::Unavailable(Unavailable::Unreachable);
    for link in shared.for_acts() {
        let desk = Desk { shared, link, deadline };
        match desk.change(&change).await {
            Ok(Said::Done) => {
                if let Some(at) = shared.links.iter().position(|other| Arc::ptr_eq(other, link)) {
                    shared.writable.store(at, Ordering::Relaxed);
                }
                return Ok(());
            }
            Ok(Said::Elsewhere(why)) => last = why,
            Err(NotMade::No(why)) => return Err(why),
            // Nothing was sent to this server that could have changed anything.
            Err(NotMade::NotAsked(why)) => {
                last = link.gave_up(Operation::Write, why, deadline).into();
            }
        }
    }
    Err(last)
}

/// Why a change was not made here.
pub(super) enum NotMade {
    /// It is decided: no other server is asked.
    No(NotChanged),
    /// The server could not be asked.
    NotAsked(NoAnswer),
}

impl From<NoAnswer> for NotMade {
    fn from(why: NoAnswer) -> NotMade {
        NotMade::NotAsked(why)
    }
}

impl From<NotChanged> for NotMade {
    fn from(why: NotChanged) -> NotMade {
        NotMade::No(why)
    }
}

impl Desk<'_> {
    async fn change(&self, change: &Change) -> Result<Said, NotMade> {
        match change {
            Change::AddUser(_) | Change::RemoveUser { .. } => {
                let why = "its users are added and removed by its own tools";
                Err(NotChanged::Refused(why.into()).into())
            }
            Change::AddContract(contract) => {
                if self.contract_entry(&contract.id).await?.is_some() {
                    return Err(NotChanged::Exists.into());
                }
                let base = &self.shared.settings.contract_base;
                let id = contract.id.as_str();
                let attributes = [
                    ("objectClass", values(["sekishoContractEntry"])),
                    (names::CONTRACT, values([id])),
                    (names::SERVICE, values([contract.service.as_str()])),
                    (names::NOT_BEFORE, values([generalized(contract.since).as_str()])),
                ];
                let dn = format!("{}={},{base}", names::CONTRACT, escaped(id));
                let said = self.act(&Act::Add { dn: &dn, attributes: &attributes }, base).await?;
                // Memory knows at once; if this fails, it will hear of it from the directory.
                if let Ok(Some(entry)) = self.contract_entry(&contract.id).await {
                    self.shared.bindings.contracts().put(entry.id, contract, now().mono);
                }
                Ok(said)
            }
            Change::RemoveContract { id, version } => {
                let entry = still_there(self.contract_entry(id).await?, version)?;
                let said =
                    self.act(&Act::Delete { dn: &entry.dn, still: &assertion(&entry) }, &entry.dn).await?;
                if matches!(said, Said::Done) {
                    self.shared.bindings.contracts().remove(entry.id);
                }
                Ok(said)
            }
            Change::AddToken(token) => self.add_token(token).await,
            Change::Token { id, serial, version, set } => {
                let entry = self.token_entry(serial).await?.filter(|entry| entry.id == *id);
                let entry = still_there(entry, version)?;
                let edits = self.token_edits(&entry, serial, set).await?;
                if let Said::Elsewhere(why) = self.modify(&entry, &edits).await? {
                    return Ok(Said::Elsewhere(why));
                }
                self.show_owners(&entry.dn).await;
                Ok(Said::Done)
            }
            Change::RemoveToken { id, version } => {
                let entry = still_there(self.by_id(*id).await?, version)?;
                if !self.referrers(&entry.dn).await?.is_empty() {
                    return Err(NotChanged::Refused("a user refers to the token".into()).into());
                }
                self.act(&Act::Delete { dn: &entry.dn, still: &assertion(&entry) }, &entry.dn).await
            }
            Change::User { id, version, set } => {
                let entry = still_there(self.by_id(*id).await?, version)?;
                let edits = self.user_edits(&entry, set).await?;
                if let Said::Elsewhere(why) = self.modify(&entry, &edits).await? {
                    return Ok(Said::Elsewhere(why));
                }
                // The change is made, whatever becomes of this: memory will hear of it from the directory.
                let _ = self.show(&[(entry.dn.clone(), entry.id)]).await;
                Ok(Said::Done)
            }
        }
    }

    /// An entry by its identity.
    async fn by_id(&self, id: EntryId) -> Result<Option<Entry>, NoAnswer> {
        let settings = &self.shared.settings;
        let known = self.shared.bindings.user(id);
        if let Some(user) = known
            && let Some(entry) = self.user_entry(&user.dn(), id).await?
        {
            return Ok(Some(entry));
        }
        let filter = Filter::equals("entryUUID", id.to_string().as_bytes());
        let (mut found, end) =
            self.search(&settings.base, super::message::Scope::Subtree, &filter, 2).await?;
        match end.code {
            SUCCESS => Ok(found.pop().filter(|entry| entry.id == id && found.is_empty())),
            _ => Err(failed(end)),
        }
    }

    /// Has everybody who refers to a token shown anew. The change is made, whatever becomes of this.
    async fn show_owners(&self, token: &str) {
        if let Ok(referrers) = self.referrers(token).await {
            let users: Vec<_> = referrers.into_iter().map(|entry| (entry.dn, entry.id)).collect();
            let _ = self.show(&users).await;
        }
    }

    async fn add_token(&self, token: &NewToken) -> Result<Said, NotMade> {
        let settings = &self.shared.settings;
        if self.token_entry(&token.serial).await?.is_some() {
            return Err(NotChanged::Exists.into());
        }
        let parameters = match self.parameter_entry(&token.parameters).await? {
            Ok(dn) => dn,
            Err(why) => return Ok(Said::Elsewhere(why)),
        };
        let serial = token.serial.as_str();
        let (class, refer) = match token.parameters.moving {
            Moving::Time { .. } => ("oathTOTPToken", "oathTOTPParams"),
            Moving::Counter { .. } => ("oathHOTPToken", "oathHOTPParams"),
        };
        let mut attributes = vec![
            ("objectClass", values(["device", class, "sekishoToken"])),
            ("cn", values([serial])),
            ("oathTokenSerialNumber", values([serial])),
            (refer, values([parameters.as_str()])),
            (names::STATE, values([token.state.text()])),
            (names::STATE_TIME, values([generalized(token.since).as_str()])),
        ];
        let mut put = |name, value: Option<String>| {
            attributes.extend(value.map(|value| (name, values([value.as_str()]))));
        };
        put(names::CONTRACT, token.contract.as_ref().map(ToString::to_string));
        put(names::SERVICE, token.service.as_ref().map(ToString::to_string));
        put(names::NOT_BEFORE, token.begins.map(generalized));
        put(names::NOT_AFTER, token.ends.map(last_second));
        put("oathSecret", self.seal(&token.serial, token.secret.as_ref())?);
        if matches!(token.parameters.moving, Moving::Counter { .. }) {
            put("oathHOTPCounter", token.spent.map(|step| step.0.to_string()));
        }
        if let Some(setup) = &token.setup {
            for (name, value) in written(setup) {
                put(name, Some(value));
            }
        }
        let dn = format!("cn={},{}", escaped(serial), settings.token_base);
        self.act(&Act::Add { dn: &dn, attributes: &attributes }, &settings.token_base).await
    }

    /// The DN of an entry with these parameters: found, or made below token-base.
    async fn parameter_entry(&self, wanted: &Parameters) -> Result<Result<String, NotChanged>, NotMade> {
        let settings = &self.shared.settings;
        let (class, step, count) = match wanted.moving {
            Moving::Time { period } => ("oathTOTPParams", "oathTOTPTimeStepPeriod", period.seconds()),
            Moving::Counter { look_ahead } => ("oathHOTPParams", "oathHOTPLookAhead", look_ahead.codes()),
        };
        let digits = wanted.digits.count().to_string();
        let count = count.to_string();
        let algorithm = oid(wanted.algorithm);
        // OATH knows one window for both sides; another one is left to the service.
        let window = wanted.window;
        let window = (window.back() == window.forward() && matches!(wanted.moving, Moving::Time { .. }))
            .then(|| window.back().to_string());
        let mut filters = vec![
            Filter::equals("objectClass", class.as_bytes()),
            Filter::equals("oathOTPLength", digits.as_bytes()),
            Filter::equals("oathHMACAlgorithm", algorithm.as_bytes()),
            Filter::equals(step, count.as_bytes()),
        ];
        let absent = |name| Filter::not(&Filter::present(name));
        match (&window, wanted.moving) {
            (Some(window), _) => filters.push(Filter::equals("oathTOTPTimeStepWindow", window.as_bytes())),
            (None, Moving::Time { .. }) => filters.push(absent("oathTOTPTimeStepWindow")),
            (None, Moving::Counter { .. }) => {}
        }
        // Parameters that end a key's life are somebody else's wish.
        filters.extend(["oathSecretMaxAge", "oathMaxUsageCount"].map(absent));
        let filter = Filter::all(&filters);
        let (found, end) = self.search(&settings.base, super::message::Scope::Subtree, &filter, 16).await?;
        let found = found.into_iter().map(|entry| entry.dn).min();
        if let Some(dn) = found {
            return Ok(Ok(dn));
        }
        if !matches!(end.code, SUCCESS) {
            return Err(failed(end).into());
        }
        let kind = if class == "oathTOTPParams" { "totp" } else { "hotp" };
        let hash = wanted.algorithm.text();
        let window_name = window.as_deref().unwrap_or("service");
        let cn = format!("sekisho-{kind}-{digits}-{count}-{hash}-{window_name}");
        let mut attributes = vec![
            ("objectClass", values(["device", class])),
            ("cn", values([cn.as_str()])),
            ("oathOTPLength", values([digits.as_str()])),
            ("oathHMACAlgorithm", values([algorithm])),
            (step, values([count.as_str()])),
        ];
        if let Some(window) = &window {
            attributes.push(("oathTOTPTimeStepWindow", values([window.as_str()])));
        }
        let dn = format!("cn={cn},{}", settings.token_base);
        match self.act(&Act::Add { dn: &dn, attributes: &attributes }, &settings.token_base).await {
            // Somebody else has just made it.
            Ok(Said::Done) | Err(NotMade::No(NotChanged::Exists)) => Ok(Ok(dn)),
            Ok(Said::Elsewhere(why)) => Ok(Err(why)),
            Err(why) => Err(why),
        }
    }

    async fn token_edits(
        &self,
        entry: &Entry,
        serial: &TokenSerial,
        set: &TokenSet,
    ) -> Result<Vec<Edit>, NotMade> {
        let mut edits = Vec::new();
        if !entry.is_a("sekishoToken") {
            edits.push(Edit::add("objectClass", "sekishoToken"));
        }
        if let Some((state, since)) = set.state {
            edits.push(Edit::set(names::STATE, state.text()));
            edits.push(Edit::set(names::STATE_TIME, generalized(since)));
        }
        if let Some((contract, service)) = &set.contract {
            edits.push(Edit::set(names::CONTRACT, contract.as_str()));
            edits.push(Edit::set(names::SERVICE, service.as_str()));
        }
        if let Some(sealed) = self.seal(serial, set.secret.as_ref())? {
            edits.push(Edit::set("oathSecret", sealed));
        }
        if let Some(ends) = set.ends {
            edits.push(Edit::set(names::NOT_AFTER, last_second(ends)));
        }
        match &set.setup {
            None => {}
            Some(Some(setup)) => {
                edits.extend(written(setup).into_iter().map(|(name, value)| Edit::set(name, value)));
            }
            Some(None) => {
                let all = [
                    names::SETUP_SERVICE,
                    names::SETUP_USER,
                    names::SETUP_PASSWORD,
                    names::SETUP_FAILURES,
                    names::SETUP_UNTIL,
                ];
                edits.extend(all.map(|name| Edit::put(name, None::<Vec<u8>>)));
            }
        }
        if let Some(owners) = &set.owners {
            let values = owners.iter().map(|owner| Secret::new(owner.to_string().into_bytes())).collect();
            edits.push(Edit { how: How::Replace, attribute: names::OWNER, values });
        }
        Ok(edits)
    }

    async fn user_edits(&self, entry: &Entry, set: &UserSet) -> Result<Vec<Edit>, NotMade> {
        let mut edits = Vec::new();
        let ours = set.pending.is_some()
            || set.former.is_some()
            || set.login_code.is_some()
            || set.reissue_from.is_some();
        if ours && !entry.is_a("sekishoUser") {
            edits.push(Edit::add("objectClass", "sekishoUser"));
        }
        if let Some(token) = &set.token {
            let token = match token {
                None => None,
                Some(serial) => Some(self.known_token(serial).await?),
            };
            edits.extend(self.reference(entry, token.as_ref())?);
        }
        for (name, reference) in [(names::PENDING, &set.pending), (names::FORMER, &set.former)] {
            let dn = match reference {
                None => continue,
                Some(None) => None,
                Some(Some(serial)) => Some(self.known_token(serial).await?.dn),
            };
            edits.push(Edit::put(name, dn));
        }
        if let Some(choice) = set.login_code {
            edits.push(Edit::set(names::LOGIN_CODE, choice.text()));
        }
        if let Some(from) = set.reissue_from {
            edits.push(Edit::put(names::REISSUE_FROM, from.map(generalized)));
        }
        Ok(edits)
    }

    async fn known_token(&self, serial: &TokenSerial) -> Result<Entry, NotMade> {
        let unknown = || format!("there is no single token with the serial number {serial} below the base");
        Ok(self.token_entry(serial).await?.ok_or_else(|| NotChanged::Refused(unknown().into()))?)
    }

    /// The one edit that counts: which token is the user's. The schema of slapd's module wants the class with the
    /// attribute and not without it, so both change together.
    fn reference(&self, entry: &Entry, token: Option<&Entry>) -> Result<Vec<Edit>, NotChanged> {
        let TokensAt::Referred(attributes) = self.shared.settings.layout.tokens_at() else {
            return Err(NotChanged::Refused("this layout keeps no reference in the user's entry".into()));
        };
        let count: usize = attributes.iter().map(|(name, _)| entry.all(name).count()).sum();
        if count > 1 {
            let why = format!("the user's entry refers to {count} tokens; leave one");
            return Err(NotChanged::Refused(why.into()));
        }
        let mut edits = Vec::new();
        for (attribute, class, token_class) in [
            ("oathTOTPToken", "oathTOTPUser", "oathTOTPToken"),
            ("oathHOTPToken", "oathHOTPUser", "oathHOTPToken"),
        ] {
            let wanted = token.filter(|token| token.is_a(token_class));
            match (wanted, entry.is_a(class)) {
                (Some(token), is_a) => {
                    if !is_a {
                        edits.push(Edit::add("objectClass", class));
                    }
                    edits.push(Edit::set(attribute, token.dn.as_str()));
                }
                (None, true) => {
                    edits.push(Edit::put(attribute, None::<Vec<u8>>));
                    edits.push(Edit::delete("objectClass", class));
                }
                (None, false) => {}
            }
        }
        Ok(edits)
    }

    fn seal(&self, serial: &TokenSerial, secret: Option<&Secret>) -> Result<Option<String>, NotChanged> {
        let Some(secret) = secret else { return Ok(None) };
        check_secret(secret.expose()).map_err(|problem| NotChanged::Refused(problem.to_string().into()))?;
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce)
            .map_err(|_| NotChanged::Refused("the system gives no random octets".into()))?;
        let sealed = self.shared.settings.keyring.seal(serial.as_str(), secret, nonce);
        sealed.map(Some).map_err(|refused| match refused {
            Refused::NoKey => NotChanged::NoSealKey,
            other => NotChanged::Refused(other.to_string().into()),
        })
    }

    pub(super) async fn modify(&self, entry: &Entry, edits: &[Edit]) -> Result<Said, NotMade> {
        let still = assertion(entry);
        self.act(&Act::Modify { dn: &entry.dn, edits, still: &still }, &entry.dn).await
    }

    /// One operation, and what the server's answer means. `parent` is what has to exist.
    async fn act(&self, act: &Act<'_>, parent: &str) -> Result<Said, NotMade> {
        let answer = match self.link.act(act, self.deadline).await {
            Ok(answer) => answer,
            Err(NotActed::Before(why)) => return Err(NotMade::NotAsked(why)),
            Err(NotActed::Unknown(trouble)) => {
                let _ = self.link.gave_up(Operation::Write, NoAnswer::Trouble(trouble), self.deadline);
                return Err(NotChanged::Unknown.into());
            }
        };
        let adds = matches!(act, Act::Add { .. });
        match answer.code {
            SUCCESS => Ok(Said::Done),
            act::ENTRY_ALREADY_EXISTS => Err(NotChanged::Exists.into()),
            NO_SUCH_OBJECT if adds => {
                let why = format!("{parent} does not exist; add it, or correct token-base and contract-base");
                Err(NotChanged::Refused(why.into()).into())
            }
            act::ASSERTION_FAILED
            | act::NO_SUCH_ATTRIBUTE
            | act::ATTRIBUTE_OR_VALUE_EXISTS
            | NO_SUCH_OBJECT => Err(NotChanged::Conflict.into()),
            act::BUSY | act::UNAVAILABLE => {
                Ok(Said::Elsewhere(NotChanged::Unavailable(Unavailable::Unreachable)))
            }
            act::OTHER => Err(NotChanged::Unknown.into()),
            act::REFERRAL | UNWILLING_TO_PERFORM => Ok(Said::Elsewhere(refused(&answer, self.link))),
            _ => Err(refused(&answer, self.link).into()),
        }
    }
}

const LACKS_CLASSES: &str = "the schema lacks sekisho's or OATH's classes; load conf/ldap/sekisho.ldif";

/// What the server said, and what would be right.
fn refused(answer: &ActAnswer, link: &Link) -> NotChanged {
    let lacks_classes = answer.text.starts_with("objectClass");
    let right = match answer.code {
        act::REFERRAL => {
            "this server is a replica and refers to another one, which is not followed; name that one in servers"
        }
        UNWILLING_TO_PERFORM => "this server takes no changes; name one that does in servers",
        act::UNAVAILABLE_CRITICAL_EXTENSION => {
            "this server does not offer the assertion control (RFC 4528), without which nothing is changed"
        }
        act::INSUFFICIENT_ACCESS_RIGHTS => {
            "bind-dn may not write here; see the access rules in docs/operations.md"
        }
        act::UNDEFINED_ATTRIBUTE_TYPE | act::OBJECT_CLASS_VIOLATION => LACKS_CLASSES,
        act::INVALID_ATTRIBUTE_SYNTAX if lacks_classes => LACKS_CLASSES,
        act::INVALID_ATTRIBUTE_SYNTAX => {
            "a value cannot be written; serial numbers have letters, digits and '()+,-./:?"
        }
        _ => "see the server's log",
    };
    let said = if answer.text.is_empty() {
        String::new()
    } else {
        format!(" ({})", Escaped(answer.text.as_bytes()))
    };
    let referral = answer.referral.as_ref().map(|url| format!(" [{}]", Escaped(url.as_bytes())));
    let referral = referral.unwrap_or_default();
    NotChanged::Refused(format!("{}: result {}{said}{referral}: {right}", link.url, answer.code).into())
}

fn still_there(entry: Option<Entry>, seen: &Version) -> Result<Entry, NotChanged> {
    entry.filter(|entry| version(entry) == *seen).ok_or(NotChanged::Conflict)
}

/// What must still be true of an entry: its entryCSN, or without one every attribute that acts read.
fn assertion(entry: &Entry) -> Filter {
    if let Ok(Some(csn)) = entry.one("entryCSN") {
        return Filter::equals("entryCSN", csn);
    }
    let mut all = Vec::new();
    for name in ACT_ATTRIBUTES.iter().chain(&["oathTOTPToken", "oathHOTPToken"]) {
        let mut values = entry.all(name).peekable();
        if values.peek().is_none() {
            all.push(Filter::not(&Filter::present(name)));
        }
        all.extend(values.map(|value| Filter::equals(name, value)));
    }
    Filter::all(&all)
}

fn values<const N: usize>(texts: [&str; N]) -> Vec<Secret> {
    texts.into_iter().map(|text| Secret::new(text.as_bytes())).collect()
}

/// A setup in the attributes it stands in.
fn written(setup: &Setup) -> [(&'static str, String); 5] {
    [
        (names::SETUP_SERVICE, setup.service_id.to_string()),
        (names::SETUP_USER, setup.user_id.to_string()),
        (names::SETUP_PASSWORD, setup.start_password.to_string()),
        (names::SETUP_FAILURES, setup.failures.to_string()),
        (names::SETUP_UNTIL, generalized(setup.until)),
    ]
}

/// sekishoNotAfter is the last second in which a token works, [`crate::tokens::Token::ends`] the first in which it
/// does not.
fn last_second(ends: Wall) -> String {
    generalized(Wall::from_seconds(ends.seconds().saturating_sub(1)))
}

fn oid(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Sha1 => "1.2.840.113549.2.7",
        Algorithm::Sha256 => "1.2.840.113549.2.9",
        Algorithm::Sha512 => "1.2.840.113549.2.11",
    }
}
