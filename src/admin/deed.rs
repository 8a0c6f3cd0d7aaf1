//! A deed: an act with everything that it needs and nothing that is secret, so that it can wait for a second person.
//!
//! Codes and passwords are proven before a deed is made; of a start password only the hash is in it.

use super::protocol::LoginChoice;
use crate::policy::Act;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;

/// What is done, exactly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "deed", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Deed {
    /// One-time passwords begin for a contract.
    EnableContract {
        /// The contract.
        contract: String,
        /// The service profile.
        service: String,
    },
    /// One-time passwords end for a contract.
    DisableContract {
        /// The contract.
        contract: String,
    },
    /// A new token is promised to a user.
    Issue {
        /// The user.
        user: String,
        /// Where the link is mailed to.
        mail: Option<String>,
        /// The start password as a PHC string of argon2id.
        start_password: String,
    },
    /// The token of another contract serves here too after a correct code.
    Adopt {
        /// The user.
        user: String,
        /// The token.
        serial: String,
    },
    /// The first correct code has been shown.
    Confirm {
        /// The user.
        user: String,
        /// The token.
        serial: String,
    },
    /// A user takes a token of the inventory.
    Register {
        /// The user.
        user: String,
        /// The token.
        serial: String,
        /// The choice for login.
        login_code: Option<LoginChoice>,
    },
    /// A user moves to another token.
    Exchange {
        /// The user.
        user: String,
        /// The token before.
        from: String,
        /// The token after.
        to: String,
        /// The step of the new token's code: what comes after it is the first use.
        step: u64,
    },
    /// The last exchange is undone.
    UndoExchange {
        /// The user.
        user: String,
    },
    /// A token ends.
    Revoke {
        /// The token.
        serial: String,
    },
    /// A token is stopped for a time.
    Suspend {
        /// The token.
        serial: String,
    },
    /// A suspended token goes on.
    Resume {
        /// The token.
        serial: String,
    },
    /// A token gets a new end.
    Renew {
        /// The token.
        serial: String,
    },
    /// A user gives the second factor up.
    Stop {
        /// The user.
        user: String,
    },
    /// A token's clock is learned anew.
    Resync {
        /// The token.
        serial: String,
        /// The step of the second code.
        step: u64,
        /// The drift in quarters of a step.
        drift: i16,
    },
    /// A lock is lifted.
    Release {
        /// The user.
        user: String,
    },
    /// A user of the embedded directory is removed.
    RemoveUser {
        /// The user.
        user: String,
    },
    /// A user's choice for login.
    ChooseLogin {
        /// The user.
        user: String,
        /// The choice.
        choice: LoginChoice,
    },
}

impl Deed {
    /// Which act it is.
    pub const fn act(&self) -> Act {
        match self {
            Deed::EnableContract { .. } => Act::ContractEnable,
            Deed::DisableContract { .. } => Act::ContractDisable,
            Deed::Issue { .. } | Deed::Adopt { .. } => Act::Issue,
            Deed::Confirm { .. } => Act::Confirm,
            Deed::Register { .. } => Act::Register,
            Deed::Exchange { .. } => Act::Exchange,
            Deed::UndoExchange { .. } => Act::UndoExchange,
            Deed::Revoke { .. } => Act::Revoke,
            Deed::Suspend { .. } => Act::Suspend,
            Deed::Resume { .. } => Act::Resume,
            Deed::Renew { .. } => Act::Renew,
            Deed::Stop { .. } => Act::Stop,
            Deed::Resync { .. } => Act::Resync,
            Deed::Release { .. } => Act::Release,
            Deed::RemoveUser { .. } => Act::UserRemove,
            Deed::ChooseLogin { .. } => Act::LoginCode,
        }
    }

    /// A part of the SHA-256 of everything that is in it.
    pub fn digest(&self) -> String {
        let text = serde_json::to_vec(self).unwrap_or_default();
        data_encoding::HEXLOWER.encode(Sha256::digest(&text).get(..8).unwrap_or_default())
    }

    /// The user it is done to, if it names one.
    pub fn user(&self) -> Option<&str> {
        match self {
            Deed::Issue { user, .. }
            | Deed::Adopt { user, .. }
            | Deed::Confirm { user, .. }
            | Deed::Register { user, .. }
            | Deed::Exchange { user, .. }
            | Deed::UndoExchange { user }
            | Deed::Stop { user }
            | Deed::Release { user }
            | Deed::RemoveUser { user }
            | Deed::ChooseLogin { user, .. } => Some(user),
            _ => None,
        }
    }

    /// The contract it is done to, if it names one.
    pub fn contract(&self) -> Option<&str> {
        match self {
            Deed::EnableContract { contract, .. } | Deed::DisableContract { contract } => Some(contract),
            _ => None,
        }
    }

    /// The token it is done to, if it names one.
    pub fn serial(&self) -> Option<&str> {
        match self {
            Deed::Adopt { serial, .. }
            | Deed::Confirm { serial, .. }
            | Deed::Register { serial, .. }
            | Deed::Exchange { to: serial, .. }
            | Deed::Revoke { serial }
            | Deed::Suspend { serial }
            | Deed::Resume { serial }
            | Deed::Renew { serial }
            | Deed::Resync { serial, .. } => Some(serial),
            _ => None,
        }
    }
}

/// What would be done, for the second person.
impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Deed::EnableContract { contract, service } => {
                write!(f, "enable contract {contract} for service {service}")
            }
            Deed::DisableContract { contract } => write!(f, "disable contract {contract}"),
            Deed::Issue { user, mail: Some(mail), .. } => {
                write!(f, "issue a token to {user}, with a mail to {mail}")
            }
            Deed::Issue { user, mail: None, .. } => write!(f, "issue a token to {user}, without a mail"),
            Deed::Adopt { user, serial } => write!(f, "let token {serial} serve {user} too"),
            Deed::Confirm { user, serial } => write!(f, "put token {serial} of {user} into service"),
            Deed::Register { user, serial, login_code: None } => {
                write!(f, "register token {serial} for {user}")
            }
            Deed::Register { user, serial, login_code: Some(choice) } => {
                write!(f, "register token {serial} for {user}, code at login {}", choice.text())
            }
            Deed::Exchange { user, from, to, .. } => {
                write!(f, "exchange token {from} of {user} for token {to}")
            }
            Deed::UndoExchange { user } => write!(f, "undo the last exchange of {user}"),
            Deed::Revoke { serial } => write!(f, "revoke token {serial}"),
            Deed::Suspend { serial } => write!(f, "suspend token {serial}"),
            Deed::Resume { serial } => write!(f, "resume token {serial}"),
            Deed::Renew { serial } => write!(f, "renew token {serial}"),
            Deed::Stop { user } => write!(f, "end the use of one-time passwords by {user}"),
            Deed::Resync { serial, .. } => write!(f, "learn the clock of token {serial} anew"),
            Deed::Release { user } => write!(f, "release {user}"),
            Deed::RemoveUser { user } => {
                write!(f, "remove {user} with the tokens that are nobody else's")
            }
            Deed::ChooseLogin { user, choice } => write!(f, "code at login of {user}: {}", choice.text()),
        }
    }
}

impl LoginChoice {
    /// The word.
    pub const fn text(self) -> &'static str {
        match self {
            LoginChoice::Required => "required",
            LoginChoice::NotRequired => "not-required",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deed_is_read_as_it_was_written_and_its_digest_tells_every_other_one_from_it() {
        let deed = Deed::Exchange { user: "u1".into(), from: "A".into(), to: "B".into(), step: 7 };
        let text = serde_json::to_string(&deed).unwrap();
        assert_eq!(serde_json::from_str::<Deed>(&text).unwrap(), deed);
        let other = Deed::Exchange { user: "u1".into(), from: "A".into(), to: "C".into(), step: 7 };
        assert_ne!(deed.digest(), other.digest());
        assert_eq!(deed.digest().len(), 16);
        assert_eq!(deed.to_string(), "exchange token A of u1 for token B");
    }
}
