//! What whoever acts and the running daemon say to each other: one JSON object a line, each way, over the local socket;
//! the same types behind the HTTP routes.
//!
//! Both ends use these types, so they cannot disagree about a name.

mod shown;
mod told;

pub use shown::{
    ClusterShown, ContractShown, IssuedShown, KeysShown, MailShown, RequestShown, RewrapShown, RewrapState,
    ServerShown, SetUpShown, Status, StepShown, TokenShown, UserShown,
};
pub use told::{Kind, Refused, Told};

use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::ToSchema;
use zeroize::Zeroize;

/// The longest question in octets; a longer one ends the connection.
pub const QUESTION_OCTETS_MAX: usize = 16 * 1024;

/// The most users or tokens in one answer; the rest is asked for with `after`.
pub const PAGE_MAX: usize = 500;

/// A question with the one who asks it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Question {
    /// What is asked.
    pub ask: Ask,
    /// In whose name: `ROLE:NAME`, or `ROLE` alone; the caller's own first role, if not given.
    #[serde(default, rename = "as")]
    pub actor: Option<String>,
    /// Whether it is done, or only said what would be done.
    #[serde(default)]
    pub mode: Mode,
}

impl From<Ask> for Question {
    fn from(ask: Ask) -> Question {
        Question { ask, actor: None, mode: Mode::Do }
    }
}

/// Whether an act is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// It is.
    #[default]
    Do,
    /// Everything is looked at that can be without using anything up, and nothing changes.
    DryRun,
}

/// What is asked of the daemon.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Ask {
    /// How is the daemon?
    Status,

    /// One-time passwords begin for a contract (S-11).
    ContractEnable {
        /// The contract's id.
        contract: String,
        /// The service profile.
        service: String,
    },
    /// One-time passwords end for a contract.
    ContractDisable {
        /// The contract's id.
        contract: String,
    },
    /// Which contracts are enabled?
    ContractList,
    /// What is known of a contract?
    ContractShow {
        /// The contract's id.
        contract: String,
    },

    /// Which users are there?
    UserList {
        /// Only those of this contract.
        contract: Option<String>,
        /// Only those who are locked (S-18).
        #[serde(default)]
        locked: bool,
        /// Only those whose name comes after this one.
        after: Option<String>,
        /// At most so many, up to [`PAGE_MAX`].
        limit: Option<usize>,
    },
    /// What is known of a user?
    UserShow {
        /// The name as the user types it.
        user: String,
    },
    /// Lift a user's lock (S-18).
    UserRelease {
        /// The name as the user types it.
        user: String,
        /// `counter`, or the name of a master or admin user of the same contract; as the question says, if not given.
        by: Option<String>,
        /// That user's confirmation password; not for the counter.
        password: Option<Password>,
    },
    /// A user's own choice for login (S-08).
    UserLoginCode {
        /// The name.
        user: String,
        /// The choice.
        choice: LoginChoice,
        /// What the actor proves.
        #[serde(default)]
        proof: Proof,
    },

    /// Which tokens are there?
    TokenList {
        /// Only this user's.
        user: Option<String>,
        /// Only those in this state.
        state: Option<String>,
        /// Only those whose serial number comes after this one.
        after: Option<String>,
        /// At most so many, up to [`PAGE_MAX`].
        limit: Option<usize>,
    },
    /// What is known of a token?
    TokenShow {
        /// Its serial number.
        serial: String,
    },
    /// Promise a user a token (S-12), or let the token of another contract serve here too (S-13).
    TokenIssue {
        /// The user.
        user: String,
        /// Where the link is mailed to.
        mail: Option<String>,
        /// The start password that the user has chosen; none with `existing`.
        start_password: Option<Password>,
        /// The serial number of the token that the user has for another contract.
        existing: Option<String>,
        /// What the actor proves.
        #[serde(default)]
        proof: Proof,
    },
    /// The app fetches its key (S-14). Nobody acts: the start password is the proof.
    TokenSetup {
        /// The service id.
        service_id: String,
        /// The user id.
        user_id: String,
        /// The start password.
        start_password: Password,
    },
    /// The first correct code (S-15).
    TokenConfirm {
        /// The user.
        user: String,
        /// The code.
        code: Password,
    },
    /// Give a user a token that was made before (S-16).
    TokenRegister {
        /// The user.
        user: String,
        /// The token's serial number.
        serial: String,
        /// A code of that token.
        code: Password,
        /// The user's confirmation password.
        password: Password,
        /// The choice for login.
        login_code: Option<LoginChoice>,
    },
    /// Move a user to another token (S-21).
    TokenExchange {
        /// The user.
        user: String,
        /// The new token's serial number.
        serial: String,
        /// A code of the old token.
        old_code: Password,
        /// A code of the new one.
        new_code: Password,
    },
    /// Undo the last exchange, as long as the new token has not been used.
    TokenExchangeUndo {
        /// The user.
        user: String,
        /// What the actor proves.
        #[serde(default)]
        proof: Proof,
    },
    /// End a token (S-19, S-20).
    TokenRevoke {
        /// Its serial number.
        serial: String,
        /// What the actor proves.
        #[serde(default)]
        proof: Proof,
    },
    /// Stop a token for a time (S-23).
    TokenSuspend {
        /// Its serial number.
        serial: String,
        /// What the actor proves.
        #[serde(default)]
        proof: Proof,
    },
    /// Let a suspended token go on (S-23).
    TokenResume {
        /// Its serial number.
        serial: String,
        /// What the actor proves.
        #[serde(default)]
        proof: Proof,
    },
    /// Give a token a new end (S-24).
    TokenRenew {
        /// Its serial number.
        serial: String,
        /// What the actor proves.
        #[serde(default)]
        proof: Proof,
    },
    /// A user gives the second factor up (S-22).
    TokenStop {
        /// The user.
        user: String,
        /// What the actor proves.
        #[serde(default)]
        proof: Proof,
    },
    /// Learn a token's clock anew (S-05).
    TokenResync {
        /// Its serial number.
        serial: String,
        /// A code.
        first: Password,
        /// The code after it.
        second: Password,
    },
    /// Add a user to the embedded directory.
    UserAdd(Added),
    /// Remove one, with the tokens that are nobody else's.
    UserRemove {
        /// The user.
        user: String,
    },
    /// Put one token into the inventory.
    TokenImport(Imported),
    /// Write tokens with their keys, encrypted.
    TokenExport(Exported),

    /// Which keys seal and open token secrets, and how far is sealing anew?
    KeysList,
    /// Seal every token's key under the key that seals now, unless that goes on already.
    KeysRewrap,

    /// Which requests wait for a second person?
    RequestList {
        /// Also those that are decided or expired.
        #[serde(default)]
        all: bool,
    },
    /// Let what somebody else asked for happen.
    RequestApprove {
        /// The request.
        id: String,
    },
    /// Do not let it happen.
    RequestDeny {
        /// The request.
        id: String,
    },

    /// What would a user be asked, and why?
    Explain {
        /// The user.
        user: String,
        /// The RADIUS client that would ask.
        client: String,
        /// The operation; what applies otherwise, if not given.
        operation: Option<String>,
    },
    /// What became of a request, and why?
    Why {
        /// The request's id, as in the audit log.
        request: String,
    },
}

/// What the one who acts proves.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Proof {
    /// A code of the actor's own token.
    #[serde(default)]
    pub code: Option<Password>,
    /// The actor's confirmation password.
    #[serde(default)]
    pub password: Option<Password>,
}

/// A token of a file, on its way into the inventory.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Imported {
    /// Its serial number.
    pub serial: String,
    /// Its key, in base32.
    pub key: Password,
    /// `sha1`, `sha256` or `sha512`.
    pub algorithm: String,
    /// Digits of a code.
    pub digits: u64,
    /// Seconds of a step; a counter token, if not given.
    pub period: Option<u64>,
    /// The next counter of a counter token: what is below it was used up elsewhere.
    pub counter: Option<u64>,
    /// The service profile it is meant for.
    pub service: Option<String>,
    /// Whose it is: in service for this user at once. In the inventory, if not given.
    #[serde(default)]
    pub user: Option<String>,
    /// Not usable before this time.
    #[serde(default)]
    pub begins: Option<String>,
    /// Not usable from this time on.
    #[serde(default)]
    pub ends: Option<String>,
}

/// A user to be added to the embedded directory.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Added {
    /// The name.
    pub user: String,
    /// The password, which is the confirmation password too.
    #[schema(value_type = String, format = Password)]
    pub password: Password,
    /// The contract.
    #[serde(default)]
    pub contract: Option<String>,
    /// `master`, `admin` or `general`, which it is if not given.
    #[serde(default)]
    pub role: Option<String>,
    /// Where mail goes.
    #[serde(default)]
    pub mail: Option<String>,
}

/// Which tokens go out, and under which keys of a PSKC container: they are drawn where the container is written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Exported {
    /// The key that encrypts, 16, 24 or 32 octets in base64.
    pub key: Password,
    /// The key of the MACs, in base64.
    pub mac_key: Password,
    /// Only those in this state.
    pub state: Option<String>,
    /// Only those whose serial number comes after this one.
    pub after: Option<String>,
}

/// A user's choice for login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LoginChoice {
    /// Login asks for a code.
    Required,
    /// Login asks for none.
    NotRequired,
}

/// A password, a code or a key on its way: never printed, wiped when dropped.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[schema(value_type = String, format = Password)]
#[serde(transparent)]
pub struct Password(pub String);

impl Drop for Password {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}
