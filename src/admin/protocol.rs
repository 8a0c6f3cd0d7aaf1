//! What the command line and the running daemon say to each other: one JSON object a line, each way.
//!
//! Both ends use these types, so they cannot disagree about a name.

use serde::{Deserialize, Serialize};

/// The longest question in octets; a longer one ends the connection.
pub const QUESTION_OCTETS_MAX: usize = 16 * 1024;

/// What an operator asks of the daemon.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Ask {
    /// How is the daemon?
    Status,
    /// What is known of a user?
    UserShow {
        /// The name as the user types it.
        user: String,
    },
    /// Lift a user's lock (S-18).
    UserRelease {
        /// The name as the user types it.
        user: String,
        /// `counter`, or the name of a master or admin user of the same contract.
        by: String,
        /// That user's confirmation password; not for the counter.
        password: Option<Password>,
    },
    /// What is known of a token?
    TokenShow {
        /// Its serial number.
        serial: String,
    },
}

/// A password on its way over the local socket: never printed, wiped by whoever takes it out.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
pub struct Password(pub String);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

/// What the daemon answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Told {
    /// To [`Ask::Status`].
    Status(Box<Status>),
    /// To [`Ask::UserShow`].
    User(Box<UserShown>),
    /// To [`Ask::TokenShow`].
    Token(Box<TokenShown>),
    /// Done.
    Done {
        /// In words, what was done.
        what: String,
    },
    /// Not done, and why.
    Refused {
        /// Why, and what would be right.
        why: String,
    },
    /// Not allowed for whoever asked.
    NotAllowed {
        /// Why, and who may.
        why: String,
    },
}

/// The daemon as operators see it.
#[derive(Debug, Serialize, Deserialize)]
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
    /// Whether the journal is being written; the trouble if not.
    pub journal: String,
}

/// One server of the directory.
#[derive(Debug, Serialize, Deserialize)]
pub struct ServerShown {
    /// Its URL.
    pub server: String,
    /// Whether it answers.
    pub up: bool,
    /// The last trouble, if it does not.
    pub trouble: Option<String>,
}

/// A user as operators see them.
#[derive(Debug, Serialize, Deserialize)]
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
    /// Why the directory itself refuses the account, if it does.
    pub account: Option<String>,
    /// The user's tokens.
    pub tokens: Vec<TokenShown>,
    /// How many tokens there are, if more than one request may try.
    pub tokens_too_many: Option<usize>,
}

/// A token as operators see it. There is no key in it.
#[derive(Debug, Serialize, Deserialize)]
pub struct TokenShown {
    /// The serial number.
    pub serial: String,
    /// The user it is bound to.
    pub user: String,
    /// The contract, if any.
    pub contract: Option<String>,
    /// `active`, `locked`, `suspended`, `expired`, …
    pub state: String,
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
