//! How contracts, users, tokens and requests look to whoever may see them. There is no key and no password in any of
//! them, but for the one that an app is given at its setup.

use super::Password;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The daemon as operators see it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The daemon's version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_seconds: u64,
    /// What keeps it from being ready; empty when it is.
    pub not_ready: Vec<String>,
    /// Requests being judged.
    pub in_flight: usize,
    /// Users known from the directory.
    pub users: usize,
    /// Seconds since the directory last confirmed them; none before the first time.
    pub directory_age_seconds: Option<f64>,
    /// The directory's servers.
    pub servers: Vec<ServerShown>,
    /// Users locked now.
    pub locked: usize,
    /// Tokens disabled by a hundred failures.
    pub tokens_disabled: usize,
    /// Sources pinned by `message-authenticator = "auto"`.
    pub pinned: usize,
    /// The engine that several nodes share, if there are several.
    pub cluster: Option<ClusterShown>,
    /// Whether the journal is being written; the trouble if not.
    pub journal: String,
}

/// The engine that several nodes share.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ClusterShown {
    /// `redis` or `postgres`.
    pub engine: String,
    /// This node's name.
    pub node: String,
    /// How this node and the engine stand: `together`, `alone`, `unreachable`, …
    pub standing: String,
    /// The last trouble, if the engine does not decide.
    pub trouble: Option<String>,
}

/// One server of the directory.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ServerShown {
    /// Its URL.
    pub server: String,
    /// Whether it answers.
    pub up: bool,
    /// The last trouble, if it does not.
    pub trouble: Option<String>,
}

/// A contract.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ContractShown {
    /// Its id.
    pub contract: String,
    /// The service profile.
    pub service: String,
    /// Since when one-time passwords are enabled.
    pub since: String,
}

/// A user.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct UserShown {
    /// The name in the directory.
    pub user: String,
    /// The entry's DN.
    pub dn: String,
    /// The entry's identity.
    pub entry: String,
    /// The contract, if any.
    pub contract: Option<String>,
    /// `master`, `admin` or `general`.
    pub role: String,
    /// `open`, `until-released`, or the time until which the user is locked.
    pub lock: String,
    /// Failures in a row.
    pub failures: u16,
    /// The user's choice for login: `required` or `not-required`; none if never chosen.
    #[serde(default)]
    pub login_code: Option<String>,
    /// Why the directory itself refuses the account, if it does.
    pub account: Option<String>,
    /// The user's tokens.
    pub tokens: Vec<TokenShown>,
    /// How many tokens there are, if more than one request may try.
    pub tokens_too_many: Option<usize>,
}

/// A token.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TokenShown {
    /// The serial number.
    pub serial: String,
    /// The user it is bound to; the first, if several contracts share it.
    pub user: Option<String>,
    /// The contract, if any.
    pub contract: Option<String>,
    /// `inventory`, `issued`, `set-up`, `active`, `locked`, `suspended`, `expired`, `revoked`, …
    pub state: String,
    /// Since when it is in the state that its entry says.
    #[serde(default)]
    pub since: Option<String>,
    /// Its expiry date.
    #[serde(default)]
    pub ends: Option<String>,
    /// After a revocation: when a new one may follow.
    #[serde(default)]
    pub opens: Option<String>,
    /// What is wrong with its entry, if something is.
    pub defect: Option<String>,
    /// `totp` or `hotp`.
    pub kind: String,
    /// `sha1`, `sha256` or `sha512`.
    pub algorithm: String,
    /// Digits of a code.
    pub digits: usize,
    /// Seconds of a step; none for a counter.
    pub period: Option<u64>,
    /// The last accepted step or counter.
    pub last_step: Option<u64>,
    /// By how many steps the token's clock is off, as far as it has been learned.
    pub drift_steps: i16,
    /// Failures in a row.
    pub failures: u16,
}

/// A request that waits, or waited, for a second person.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RequestShown {
    /// Its id.
    pub id: String,
    /// The act.
    pub act: String,
    /// What exactly would be done.
    pub what: String,
    /// A part of the SHA-256 of exactly that: what is approved is what was asked for.
    pub digest: String,
    /// Who asked.
    pub asked_by: String,
    /// When.
    pub asked: String,
    /// Until when it can be approved.
    pub until: String,
    /// `pending`, `approved`, `denied` or `expired`.
    pub state: String,
    /// Who decided.
    pub decided_by: Option<String>,
}

/// A token that was promised.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct IssuedShown {
    /// The user.
    pub user: String,
    /// The serial number.
    pub serial: String,
    /// The service id that the app asks for.
    pub service_id: String,
    /// The user id that the app asks for.
    pub user_id: String,
    /// Until when the app can be set up.
    pub until: String,
    /// What was mailed, or would have been.
    pub mail: MailShown,
}

/// What became of a mail.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", tag = "mail")]
pub enum MailShown {
    /// Nobody gave an address.
    NoAddress,
    /// It is on its way.
    Sent {
        /// To whom.
        to: String,
    },
    /// It could not be sent; the token is issued all the same.
    NotSent {
        /// To whom.
        to: String,
        /// Why.
        why: String,
    },
    /// There is no `[mail]`: this would have been sent.
    WouldHaveBeen {
        /// To whom.
        to: String,
        /// The subject.
        subject: String,
        /// The text.
        text: String,
    },
}

/// The key of a token, for the app that set itself up. It leaves once.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SetUpShown {
    /// The serial number.
    pub serial: String,
    /// The key as an `otpauth://` URI.
    pub otpauth: Password,
    /// `sha1`, `sha256` or `sha512`.
    pub algorithm: String,
    /// Digits of a code.
    pub digits: usize,
    /// Seconds of a step.
    pub period: u64,
    /// The key in base32.
    pub key: Password,
    /// The expiry date.
    pub ends: Option<String>,
}

/// One step of an explanation.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct StepShown {
    /// What is looked at.
    pub looks_at: String,
    /// What is found.
    pub finds: String,
    /// What follows from it.
    pub follows: String,
}

/// The keys that seal and open token secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct KeysShown {
    /// The ids of all keys; the first one seals.
    pub keys: Vec<String>,
    /// How far sealing anew is.
    pub rewrap: RewrapShown,
}

/// How far sealing anew is, or how the last run ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RewrapShown {
    /// Where it is.
    pub state: RewrapState,
    /// Tokens with a key that were looked at.
    pub looked_at: u64,
    /// Of these: sealed anew.
    pub resealed: u64,
    /// Of these: not sealed at all, and left so.
    pub plain: u64,
    /// Of these: could not be sealed anew.
    pub failed: u64,
    /// Why, for the first hundred.
    pub why: Vec<String>,
}

/// Where sealing anew is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RewrapState {
    /// Nothing was sealed anew since the start of the daemon.
    #[default]
    Idle,
    /// It goes on.
    Running,
    /// Every token that is sealed at all is sealed under the key that seals now.
    Done,
    /// Some are not.
    Failed,
}
