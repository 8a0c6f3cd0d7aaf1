//! What the daemon answers: what was asked for, what was done, or why not.

use super::{
    ContractShown, IssuedShown, KeysShown, RequestShown, SetUpShown, Status, StepShown, TokenShown, UserShown,
};
use serde::{Deserialize, Serialize};

/// The daemon's answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Told {
    /// How the daemon is.
    Status(Box<Status>),
    /// One user.
    User(Box<UserShown>),
    /// Users by name, and whether there are more.
    Users {
        /// The users.
        users: Vec<UserShown>,
        /// The name to ask on with, if there are more.
        next: Option<String>,
    },
    /// One token.
    Token(Box<TokenShown>),
    /// Tokens by serial number, and whether there are more.
    Tokens {
        /// The tokens.
        tokens: Vec<TokenShown>,
        /// The serial number to ask on with, if there are more.
        next: Option<String>,
    },
    /// Packages of a PSKC container, and whether there are more.
    Exported {
        /// One for each token that has a key, and a counter that is known.
        packages: Vec<String>,
        /// The serial numbers of the others: marks were lost, and nobody knows which of their codes are used up.
        uncounted: Vec<String>,
        /// The serial number to ask on with, if there are more.
        next: Option<String>,
    },
    /// One contract.
    Contract(Box<ContractShown>),
    /// The enabled contracts.
    Contracts(Vec<ContractShown>),
    /// Requests for a second person.
    Requests(Vec<RequestShown>),
    /// A token was promised.
    Issued(Box<IssuedShown>),
    /// The app's key, once.
    SetUp(Box<SetUpShown>),
    /// The act waits for a second person.
    Pending(Box<RequestShown>),
    /// The keys that seal and open token secrets, and how far sealing anew is.
    Keys(Box<KeysShown>),
    /// What would be asked, step by step.
    Explained(Vec<StepShown>),
    /// The lines of the audit log about a request, oldest first.
    Why(Vec<serde_json::Value>),
    /// Done.
    Done {
        /// In words, what was done.
        what: String,
        /// The token it was done to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        serial: Option<String>,
    },
    /// What would be done.
    WouldDo {
        /// In words.
        what: String,
    },
    /// Not done, and why.
    Refused(Refused),
    /// Not allowed for whoever asked.
    NotAllowed(Refused),
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// One word, always the same for the same cause.
    pub reason: String,
    /// Why, and what would be right.
    pub why: String,
    /// What kind of refusal it is.
    pub kind: Kind,
}

/// What kind of refusal it is: whose turn it is to do something about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The question itself cannot be meant: a value of impossible form.
    Invalid,
    /// There is no such user, token, contract or request.
    Unknown,
    /// It does not fit the state in which things are.
    State,
    /// What the actor should prove is missing or wrong.
    Proof,
    /// The actor may not do it.
    NotAllowed,
    /// Somebody else was faster.
    Conflict,
    /// We, or the directory, cannot do it now.
    Unavailable,
}

impl Told {
    /// Done, in words.
    pub fn done(what: impl Into<String>) -> Told {
        Told::Done { what: what.into(), serial: None }
    }
}
