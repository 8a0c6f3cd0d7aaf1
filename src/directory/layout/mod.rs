//! Which attributes hold what: the schemas of OATH-LDAP (slapd), of FreeIPA and of a bank's own, as data.
//!
//! A layout says what to ask the directory for; an [`Assembly`] makes users out of what came back.

mod account;
mod assembly;
mod census;
pub mod record;
mod token;

pub use assembly::{Assembled, Assembly};
pub use census::Census;
pub use record::{ACT_ATTRIBUTES, contract};

use super::entry::{Dn, Entry};
use crate::otp::{Algorithm, Digits, Moving, Parameters, Period, Window};
use std::borrow::Cow;
use std::time::Duration;

/// The name of an attribute or an object class.
type Name = Cow<'static, str>;

/// One schema: where a user's tokens are, and what each of their attributes means.
#[derive(Clone, Debug)]
pub struct Layout {
    tokens: TokensAt,
    /// The token entries' object classes, and what kind of token each says.
    classes: Vec<(Name, Kind)>,
    /// The kind of a token that neither reference nor class tells.
    kind: Kind,
    /// The token's attributes that name its parameter entry; `None`: the parameters stand in the token.
    parameter_entries: Option<ByKind>,
    token: TokenNames,
    user: UserNames,
    absent: Absent,
    identity: Option<Name>,
    lock_lasts: Option<Duration>,
}

/// How a user's tokens are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokensAt {
    /// The user's own entry holds one token's secret and serial number.
    User,
    /// Attributes of the user's entry hold the DNs of the tokens.
    Referred(Vec<(Name, Kind)>),
    /// This attribute of a token's entry holds the DN of its user.
    Owned(Name),
}

/// What moves a token's code on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Kind {
    /// Time (TOTP).
    #[default]
    Time,
    /// A counter (HOTP).
    Counter,
}

/// Whether the directory's counters and steps are the last used or the next acceptable (LDAP-20).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Counts {
    /// The last one used: slapo-otp. Absent means none.
    #[default]
    LastUsed,
    /// The next one to be accepted: FreeIPA, RFC 4226.
    Next,
}

/// How a secret that is not sealed is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SecretForm {
    /// The octets themselves.
    #[default]
    Raw,
    /// RFC 4648 §6, in any case, with or without padding and blanks.
    Base32,
    /// RFC 4648 §4, with or without padding.
    Base64,
    /// Hexadecimal digits, in any case.
    Hex,
}

/// A bank's own schema: the names of its attributes. What has no name is not read, and the service's defaults hold.
#[derive(Clone, Debug)]
pub struct CustomAttributes {
    /// How a user's tokens are found.
    pub tokens: TokensAt,
    /// The object class of token entries; `None`: whatever has a secret.
    pub token_class: Option<String>,
    /// What kind of tokens they are.
    pub kind: Kind,
    /// The key.
    pub secret: String,
    /// How it is written.
    pub secret_form: SecretForm,
    /// The serial number; without it the entry's identity serves.
    pub serial: Option<String>,
    /// `sha1`, `sha256`, `sha512` or the OID of the HMAC.
    pub algorithm: Option<String>,
    /// The length of a code.
    pub digits: Option<String>,
    /// The period in seconds.
    pub period: Option<String>,
    /// Steps accepted either way.
    pub window: Option<String>,
    /// The counter (HOTP) or the step (TOTP) that is used up.
    pub spent: Option<String>,
    /// Whether that is the last used or the next one.
    pub counts: Counts,
    /// TRUE suspends the token.
    pub disabled: Option<String>,
    /// The token is not usable before this Generalized Time …
    pub not_before: Option<String>,
    /// … and not after this one.
    pub not_after: Option<String>,
    /// What identifies an entry over renames, if not entryUUID, nsUniqueId or objectGUID.
    pub identity: Option<String>,
    /// The user's contract.
    pub contract: Option<String>,
    /// The user's role: `master`, `admin` or `general`.
    pub role: Option<String>,
}

impl Layout {
    /// OATH-LDAP as slapd's `otp` module brings it, with our own classes beside (`conf/ldap/sekisho.schema`).
    pub fn oath() -> Layout {
        let both = |time, counter| ByKind { time: Cow::Borrowed(time), counter: Cow::Borrowed(counter) };
        let classes = vec![("oathTOTPToken".into(), Kind::Time), ("oathHOTPToken".into(), Kind::Counter)];
        Layout {
            tokens: TokensAt::Referred(classes.clone()),
            classes,
            kind: Kind::Time,
            parameter_entries: Some(both("oathTOTPParams", "oathHOTPParams")),
            token: TokenNames {
                secret: "oathSecret".into(),
                secret_form: SecretForm::Raw,
                serial: named("oathTokenSerialNumber"),
                algorithm: named("oathHMACAlgorithm"),
                digits: named("oathOTPLength"),
                period: named("oathTOTPTimeStepPeriod"),
                window: named("oathTOTPTimeStepWindow"),
                look_ahead: named("oathHOTPLookAhead"),
                spent: Some(both("oathTOTPLastTimeStep", "oathHOTPCounter")),
                counts: Counts::LastUsed,
                secret_time: named("oathSecretTime"),
                secret_max_age: named("oathSecretMaxAge"),
                max_uses: named("oathMaxUsageCount"),
                disabled: None,
                state: named("sekishoTokenState"),
                owner: named(record::OWNER),
                not_before: named("sekishoNotBefore"),
                not_after: named("sekishoNotAfter"),
                least_period: 0,
            },
            user: UserNames { pending: named(record::PENDING), ..UserNames::own() },
            absent: Absent::Defect,
            identity: None,
            lock_lasts: None,
        }
    }

    /// FreeIPA: tokens below `cn=otp` that name their owner. Windows are the service's, not FreeIPA's ±300 s.
    pub fn freeipa() -> Layout {
        Layout {
            tokens: TokensAt::Owned("ipatokenOwner".into()),
            classes: vec![("ipatokenTOTP".into(), Kind::Time), ("ipatokenHOTP".into(), Kind::Counter)],
            kind: Kind::Time,
            parameter_entries: None,
            token: TokenNames {
                secret: "ipatokenOTPkey".into(),
                secret_form: SecretForm::Raw,
                serial: named("ipatokenUniqueID"),
                algorithm: named("ipatokenOTPalgorithm"),
                digits: named("ipatokenOTPdigits"),
                period: named("ipatokenTOTPtimeStep"),
                window: None,
                look_ahead: None,
                spent: Some(ByKind {
                    time: "ipatokenTOTPwatermark".into(),
                    counter: "ipatokenHOTPcounter".into(),
                }),
                counts: Counts::Next,
                secret_time: None,
                secret_max_age: None,
                max_uses: None,
                disabled: named("ipatokenDisabled"),
                state: None,
                owner: None,
                not_before: named("ipatokenNotBefore"),
                not_after: named("ipatokenNotAfter"),
                least_period: 5,
            },
            user: UserNames::own(),
            absent: Absent::Is(Parameters {
                algorithm: Algorithm::Sha1,
                digits: Digits::SIX,
                moving: Moving::Time { period: Period::HALF_MINUTE },
                window: Window::ONE,
            }),
            identity: None,
            lock_lasts: None,
        }
    }

    /// A bank's own schema.
    pub fn custom(attributes: CustomAttributes) -> Layout {
        let CustomAttributes { kind, .. } = attributes;
        let name = |given: Option<String>| given.map(Name::from);
        let spent = name(attributes.spent).map(|name| ByKind { time: name.clone(), counter: name });
        Layout {
            tokens: attributes.tokens,
            classes: name(attributes.token_class).map(|class| (class, kind)).into_iter().collect(),
            kind,
            parameter_entries: None,
            token: TokenNames {
                secret: attributes.secret.into(),
                secret_form: attributes.secret_form,
                serial: name(attributes.serial),
                algorithm: name(attributes.algorithm),
                digits: name(attributes.digits),
                period: name(attributes.period),
                window: name(attributes.window),
                look_ahead: None,
                spent,
                counts: attributes.counts,
                secret_time: None,
                secret_max_age: None,
                max_uses: None,
                disabled: name(attributes.disabled),
                state: named("sekishoTokenState"),
                owner: None,
                not_before: name(attributes.not_before),
                not_after: name(attributes.not_after),
                least_period: 0,
            },
            user: UserNames {
                contract: name(attributes.contract).or_else(|| named("sekishoContract")),
                role: name(attributes.role).or_else(|| named("sekishoRole")),
                login_code: named("sekishoLoginCode"),
                pending: None,
            },
            absent: Absent::Service,
            identity: name(attributes.identity),
            lock_lasts: None,
        }
    }

    /// How long the directory's default password policy locks an account. Without it a timed lock of an account with no
    /// policy of its own is left to the directory's bind, because nobody else knows when it ends.
    #[must_use]
    pub fn with_lock_duration(self, lasts: Option<Duration>) -> Layout {
        Layout { lock_lasts: lasts, ..self }
    }

    /// The attribute that identifies entries, if the layout names one ([`Entry::new`]).
    pub fn identity(&self) -> Option<&str> {
        self.identity.as_deref()
    }

    /// The attribute that holds a token's serial number, if there is one.
    pub fn serial(&self) -> Option<&str> {
        self.token.serial.as_deref()
    }

    /// The user's attribute that names the contract, if there is one.
    pub fn contract(&self) -> Option<&str> {
        self.user.contract.as_deref()
    }

    /// Whether acts on tokens are written to a directory with this layout: only where our own classes belong.
    pub fn takes_changes(&self) -> bool {
        self.user.pending.is_some()
    }

    /// How a user's tokens are found.
    pub fn tokens_at(&self) -> &TokensAt {
        &self.tokens
    }

    /// Every attribute to request, of users, tokens, parameters and policies alike; those of users' names are not among
    /// them ([`Assembly::names`]).
    pub fn attributes(&self) -> Vec<&str> {
        unrepeated(Entry::IDENTITIES.into_iter().chain(self.content()))
    }

    /// The same where each entry's identity is told apart from it (RFC 4533 §2.2), which counts unless the layout names
    /// another.
    pub fn followed_attributes(&self) -> Vec<&str> {
        if self.identity.is_some() { self.attributes() } else { unrepeated(self.content()) }
    }

    fn content(&self) -> impl Iterator<Item = &str> {
        let tokens: Vec<&str> = match &self.tokens {
            TokensAt::User => Vec::new(),
            TokensAt::Referred(names) => names.iter().map(|(name, _)| &**name).collect(),
            TokensAt::Owned(owner) => vec![owner],
        };
        std::iter::once("objectClass")
            .chain(self.identity())
            .chain(tokens)
            .chain(self.parameter_entries.iter().flat_map(ByKind::names))
            .chain(self.token.names())
            .chain(self.user.names())
            .chain([record::SERVICE, record::CONTRACT, record::NOT_BEFORE])
            .chain(account::ATTRIBUTES.iter().copied())
    }

    /// Those of [`Layout::attributes`] that have other names in each directory: few servers know all of them.
    pub fn foreign_attributes(&self) -> Vec<&str> {
        let foreign = ["nsUniqueId", "objectGUID"].iter().chain(account::ATTRIBUTES).copied();
        let own = self.identity().into_iter().chain(self.token.names()).chain(self.user.names());
        let own: Vec<&str> = own.collect();
        foreign.filter(|name| !own.iter().any(|own| own.eq_ignore_ascii_case(name))).collect()
    }

    /// Finds every token entry; `None` when tokens stand in the users' entries.
    pub fn token_filter(&self) -> Option<String> {
        if self.tokens == TokensAt::User {
            return None;
        }
        Some(match self.classes.as_slice() {
            [] => format!("({}=*)", self.token.secret),
            classes => any_class(classes.iter().map(|(class, _)| &**class)),
        })
    }

    /// Finds every parameter entry; `None` when there are none.
    pub fn parameters_filter(&self) -> Option<String> {
        self.parameter_entries.as_ref().map(|entries| any_class(entries.names()))
    }

    /// Finds the password policies that users may name (`pwdPolicySubentry`).
    pub fn policies_filter(&self) -> &'static str {
        "(objectClass=pwdPolicy)"
    }

    /// The DNs of the tokens that a user's entry refers to, at most [`Layout::REFERENCES_MAX`] of them.
    pub fn token_dns(&self, user: &Entry) -> Vec<Dn> {
        let TokensAt::Referred(names) = &self.tokens else { return Vec::new() };
        let pending = self.user.pending.iter().flat_map(|name| user.all(name));
        let texts = names.iter().flat_map(|(name, _)| user.all(name)).chain(pending);
        dns(texts.take(Layout::REFERENCES_MAX))
    }

    /// Whether an entry holds a token's key.
    pub fn holds_key(&self, entry: &Entry) -> bool {
        entry.all(&self.token.secret).next().is_some()
    }

    /// The DNs of the users that a token's entry names as its owners.
    pub fn owner_dns(&self, token: &Entry) -> Vec<Dn> {
        let TokensAt::Owned(owner) = &self.tokens else { return Vec::new() };
        dns(token.all(owner).take(Layout::REFERENCES_MAX))
    }

    /// The DNs of the parameter entries that a token's entry names.
    pub fn parameter_dns(&self, token: &Entry) -> Vec<Dn> {
        let names = self.parameter_entries.iter().flat_map(ByKind::names);
        dns(names.flat_map(|name| token.all(name)).take(Layout::REFERENCES_MAX))
    }

    /// The DN of the password policy that a user's entry names.
    pub fn policy_dns(&self, user: &Entry) -> Vec<Dn> {
        dns(user.all(account::POLICY).take(1))
    }

    /// The most references of one entry that are followed: more than [`crate::tokens::TOKENS_MAX`], because revoked
    /// tokens may stay where they are.
    pub const REFERENCES_MAX: usize = 64;
}

/// The names of a token's attributes, in its own entry or in its parameter entry.
#[derive(Clone, Debug)]
struct TokenNames {
    secret: Name,
    secret_form: SecretForm,
    serial: Option<Name>,
    algorithm: Option<Name>,
    digits: Option<Name>,
    period: Option<Name>,
    window: Option<Name>,
    look_ahead: Option<Name>,
    spent: Option<ByKind>,
    counts: Counts,
    secret_time: Option<Name>,
    secret_max_age: Option<Name>,
    max_uses: Option<Name>,
    disabled: Option<Name>,
    state: Option<Name>,
    /// Who may be bound to it.
    owner: Option<Name>,
    not_before: Option<Name>,
    not_after: Option<Name>,
    /// Shorter periods mean 30 seconds (FreeIPA).
    least_period: u64,
}

impl TokenNames {
    fn names(&self) -> impl Iterator<Item = &str> {
        let single = [
            &self.serial,
            &self.algorithm,
            &self.digits,
            &self.period,
            &self.window,
            &self.look_ahead,
            &self.secret_time,
            &self.secret_max_age,
            &self.max_uses,
            &self.disabled,
            &self.state,
            &self.owner,
            &self.not_before,
            &self.not_after,
        ];
        std::iter::once(&*self.secret)
            .chain(single.into_iter().filter_map(|name| name.as_deref()))
            .chain(self.spent.iter().flat_map(ByKind::names))
    }
}

/// The names of a user's attributes, besides those of tokens and of the account.
#[derive(Clone, Debug)]
struct UserNames {
    contract: Option<Name>,
    role: Option<Name>,
    login_code: Option<Name>,
    /// The token of another contract that waits for a correct code (S-13).
    pending: Option<Name>,
}

impl UserNames {
    fn own() -> UserNames {
        UserNames {
            contract: named("sekishoContract"),
            role: named("sekishoRole"),
            login_code: named("sekishoLoginCode"),
            pending: None,
        }
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let all = [&self.contract, &self.role, &self.login_code, &self.pending];
        all.into_iter().filter_map(|name| name.as_deref())
    }
}

/// Two names, one for each kind of token.
#[derive(Clone, Debug)]
struct ByKind {
    time: Name,
    counter: Name,
}

impl ByKind {
    fn of(&self, kind: Kind) -> &str {
        match kind {
            Kind::Time => &self.time,
            Kind::Counter => &self.counter,
        }
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        [&*self.time, &*self.counter].into_iter()
    }
}

/// What holds when digits, algorithm or period are absent.
#[derive(Clone, Copy, Debug)]
enum Absent {
    /// The schema demands them, so the entry is broken or hidden from us.
    Defect,
    /// The schema's own defaults.
    Is(Parameters),
    /// The service's defaults.
    Service,
}

fn unrepeated<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = std::collections::HashSet::new();
    names.filter(|name| seen.insert(name.to_ascii_lowercase())).collect()
}

fn named(name: &'static str) -> Option<Name> {
    Some(Cow::Borrowed(name))
}

fn any_class<'a>(classes: impl Iterator<Item = &'a str>) -> String {
    let any: String = classes.map(|class| format!("(objectClass={class})")).collect();
    format!("(|{any})")
}

fn dns<'a>(texts: impl Iterator<Item = &'a [u8]>) -> Vec<Dn> {
    let mut dns: Vec<Dn> =
        texts.filter_map(|text| std::str::from_utf8(text).ok()).filter_map(Dn::parse).collect();
    dns.sort_unstable();
    dns.dedup();
    dns
}

#[cfg(test)]
mod schema;
#[cfg(test)]
mod tests;
