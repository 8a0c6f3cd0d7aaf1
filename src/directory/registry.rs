//! The life of tokens in the directory: read from it at the moment of an act, not from memory, and changed one entry at
//! a time.
//!
//! Each [`Change`] is one atomic operation on one entry, with an assertion on what was read: whoever was slower gets
//! [`NotChanged::Conflict`] and nothing has happened. An act that needs several changes orders them so that the user has
//! neither two usable tokens nor, without wanting it, none, wherever it is cut off: the one change that counts is the
//! user's reference to the token, or the token's state.

use super::Unavailable;
use crate::clock::{Mono, Wall};
use crate::identity::{ContractId, EntryId, ServiceName, TokenSerial, UserName};
use crate::otp::{Parameters, Step};
use crate::secret::Secret;
use crate::tokens::{Contract, LoginCode, Record, Role, Setup, State, User};
use futures_util::future::BoxFuture;
use std::sync::Arc;

/// What acts on tokens, users and contracts ask of any directory. Answers come before `deadline` or not at all.
pub trait Registry: Send + Sync + 'static {
    /// Whether users are added and removed by us, and not by the directory's own tools.
    fn has_own_users(&self) -> bool;

    /// The contract with this id, if it is enabled.
    fn contract<'a>(&'a self, id: &'a ContractId, deadline: Mono) -> Read<'a, Option<Seen<Contract>>>;

    /// All enabled contracts, by id.
    fn contracts(&self, deadline: Mono) -> Read<'_, Vec<Contract>>;

    /// The user with this name; `None` for nobody.
    fn user<'a>(&'a self, name: &'a UserName, deadline: Mono) -> Read<'a, Option<Seen<Registered>>>;

    /// A user who was read before, as they are now; `None` if they are gone.
    fn reread<'a>(&'a self, user: &'a User, deadline: Mono) -> Read<'a, Option<Seen<Registered>>>;

    /// All users of a contract, or all, by name; at most `limit` after the name `after`.
    fn users<'a>(
        &'a self,
        contract: Option<&'a ContractId>,
        after: Option<&'a str>,
        limit: usize,
        deadline: Mono,
    ) -> Read<'a, Vec<Registered>>;

    /// The token with this serial number.
    fn token<'a>(&'a self, serial: &'a TokenSerial, deadline: Mono) -> Read<'a, Option<Seen<Record>>>;

    /// The token that waits for a setup with these ids.
    fn token_for_setup<'a>(
        &'a self,
        service_id: &'a str,
        user_id: &'a str,
        deadline: Mono,
    ) -> Read<'a, Option<Seen<Record>>>;

    /// Tokens, by serial number; at most `limit` after the serial number `after`.
    fn tokens<'a>(
        &'a self,
        state: Option<State>,
        after: Option<&'a str>,
        limit: usize,
        deadline: Mono,
    ) -> Read<'a, Vec<Record>>;

    /// The ids of the keys that seal and open token secrets, the sealing one first.
    fn keys(&self) -> Vec<Box<str>>;

    /// Seals every token's key anew that is not sealed by the key that seals now, while everything else goes on. `tell` hears
    /// how far it is, now and then. What is done is done: begun again, it passes over that.
    fn rewrap<'a>(&'a self, tell: &'a Tell<'a>) -> BoxFuture<'a, Result<Rewrapped, NotChanged>>;

    /// Makes one change: whole or not at all.
    fn change(&self, change: Change, deadline: Mono) -> BoxFuture<'_, Result<(), NotChanged>>;
}

/// Hears how far sealing anew is.
pub type Tell<'a> = dyn Fn(&Rewrapped) + Send + Sync + 'a;

/// How far sealing anew is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewrapped {
    /// Tokens with a key that were looked at.
    pub looked_at: u64,
    /// Of these: sealed anew.
    pub resealed: u64,
    /// Of these: not sealed at all, and left so.
    pub plain: u64,
    /// Of these: could not be sealed anew.
    pub failed: u64,
    /// The first of those, at most [`Rewrapped::NAMED`], and why.
    pub why: Vec<(TokenSerial, Box<str>)>,
}

impl Rewrapped {
    /// So many failures are named.
    pub const NAMED: usize = 100;

    /// Notes a token that could not be sealed anew.
    pub fn fail(&mut self, serial: TokenSerial, why: impl Into<Box<str>>) {
        self.failed += 1;
        if self.why.len() < Rewrapped::NAMED {
            self.why.push((serial, why.into()));
        }
    }
}

/// What a reading comes to.
pub type Read<'a, T> = BoxFuture<'a, Result<T, Unavailable>>;

/// Something as it was read, and the mark by which a later change is told that it still is so.
#[derive(Debug)]
pub struct Seen<T> {
    /// What was read.
    pub value: T,
    /// Of which version.
    pub version: Version,
}

/// Tells one reading of an entry from the next (LDAP: entryCSN, or an equal mark of the server).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version(pub Box<str>);

/// A user with what only acts need to know.
#[derive(Debug)]
pub struct Registered {
    /// What the judgement knows too. Tokens of every state that the user refers to are in [`Registered::token`].
    pub user: Arc<User>,
    /// The serial number of the token that the user's entry refers to.
    pub token: Option<TokenSerial>,
    /// A token of another contract that this user, too, will have after a correct code (S-13).
    pub pending: Option<TokenSerial>,
    /// The token before the last exchange, while that can be undone (S-21).
    pub former: Option<TokenSerial>,
    /// After a revocation: a new token may be issued from this time on (S-19).
    pub reissue_from: Option<Wall>,
    /// Where mail goes.
    pub mail: Option<Box<str>>,
}

/// One atomic change of one entry.
#[derive(Debug)]
pub enum Change {
    /// Enables a contract that is not.
    AddContract(Contract),
    /// Ends a contract's use of one-time passwords.
    RemoveContract {
        /// Which.
        id: ContractId,
        /// As it was read.
        version: Version,
    },
    /// A new token that nobody refers to yet.
    AddToken(Box<NewToken>),
    /// Changes a token's entry; what is `None` stays.
    Token {
        /// Which.
        id: EntryId,
        /// Its serial number, which its key is sealed for.
        serial: TokenSerial,
        /// As it was read.
        version: Version,
        /// What changes.
        set: Box<TokenSet>,
    },
    /// Removes a token that nobody refers to.
    RemoveToken {
        /// Which.
        id: EntryId,
        /// As it was read.
        version: Version,
    },
    /// A new user.
    AddUser(Box<NewUser>),
    /// Removes a user, with the tokens that are nobody else's.
    RemoveUser {
        /// Who.
        id: EntryId,
        /// As they were read.
        version: Version,
    },
    /// Changes a user's entry; what is `None` stays.
    User {
        /// Which.
        id: EntryId,
        /// As it was read.
        version: Version,
        /// What changes.
        set: UserSet,
    },
}

/// A user to be added; an LDAP directory has its own tools for that.
#[derive(Debug)]
pub struct NewUser {
    /// The name.
    pub name: String,
    /// The contract.
    pub contract: Option<ContractId>,
    /// The role within it.
    pub role: Role,
    /// Where mail goes.
    pub mail: Option<String>,
    /// The password.
    pub password: Secret,
}

/// A token to be added.
#[derive(Debug)]
pub struct NewToken {
    /// Its serial number, unlike any other.
    pub serial: TokenSerial,
    /// The state that its life begins in.
    pub state: State,
    /// Since when.
    pub since: Wall,
    /// The contract it is for; none for the inventory.
    pub contract: Option<ContractId>,
    /// The service profile it is for.
    pub service: Option<ServiceName>,
    /// How it makes its codes.
    pub parameters: Parameters,
    /// Its key, to be sealed; none before the setup.
    pub secret: Option<Secret>,
    /// The last counter that was used up elsewhere.
    pub spent: Option<Step>,
    /// Not usable before this time.
    pub begins: Option<Wall>,
    /// Not usable from this time on.
    pub ends: Option<Wall>,
    /// What the app has to give at setup.
    pub setup: Option<Setup>,
}

/// What changes in a token's entry.
#[derive(Debug, Default)]
pub struct TokenSet {
    /// The state, and since when.
    pub state: Option<(State, Wall)>,
    /// The contract and the service profile.
    pub contract: Option<(ContractId, ServiceName)>,
    /// The key, to be sealed.
    pub secret: Option<Secret>,
    /// Not usable from this time on.
    pub ends: Option<Wall>,
    /// What the app has to give at setup; `Some(None)` removes it.
    pub setup: Option<Option<Setup>>,
    /// Who may be bound to it, where several contracts share it (S-13): all of them, the first owner too. Once there is
    /// such a list, it works for nobody else; without one it works for the one user who refers to it. Written before a
    /// second user's entry refers to the token.
    pub owners: Option<Vec<EntryId>>,
}

/// What changes in a user's entry; `Some(None)` removes.
#[derive(Debug, Default)]
pub struct UserSet {
    /// The reference to the token. A user who refers to several tokens is refused: acts know one.
    pub token: Option<Option<TokenSerial>>,
    /// The token of another contract that waits for a correct code.
    pub pending: Option<Option<TokenSerial>>,
    /// The token before the last exchange.
    pub former: Option<Option<TokenSerial>>,
    /// The choice for login (S-08).
    pub login_code: Option<LoginCode>,
    /// After a revocation: a new token may be issued from this time on (S-19).
    pub reissue_from: Option<Option<Wall>>,
}

/// Why nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotChanged {
    /// Somebody else has changed the entry since it was read.
    #[error("somebody else has just changed this; look at it again, then repeat the command")]
    Conflict,
    /// What should be added exists already.
    #[error("it exists already")]
    Exists,
    /// The directory does not let us write: the words are the server's.
    #[error("the directory refuses the change: {0}")]
    Refused(Box<str>),
    /// There is no key to seal the token's key with.
    #[error("there is no key to seal token keys with; set seal-key-file")]
    NoSealKey,
    /// Nobody can say whether the change was made: the connection ended in between. Read again before anything else.
    #[error("the directory did not answer; the change may have been made: look before you repeat it")]
    Unknown,
    /// The directory cannot be asked.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// What came of confirming a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmed {
    /// It is the user's token in service now, or was already.
    Yes,
    /// The directory does not say any more that it waits for its first code: it was revoked, suspended or given up.
    NotAwaited,
}

/// The first correct code of a token completes its activation (S-15): the state becomes *active*, or the token of
/// another contract (S-13) becomes the user's own. The caller has checked the code. Repeating it changes nothing.
///
/// # Errors
/// [`NotChanged::Unknown`] may mean that it was done: then the next code finds the token in service.
pub async fn confirm(
    registry: &dyn Registry,
    user: &User,
    serial: &TokenSerial,
    now: Wall,
    deadline: Mono,
) -> Result<Confirmed, NotChanged> {
    let mut repeated = false;
    loop {
        let Some(user) = registry.reread(user, deadline).await? else { return Ok(Confirmed::NotAwaited) };
        let Some(token) = registry.token(serial, deadline).await? else { return Ok(Confirmed::NotAwaited) };
        let change = match token.value.state {
            State::SetUp if user.value.token.as_ref() == Some(serial) => Change::Token {
                id: token.value.id,
                serial: serial.clone(),
                version: token.version,
                set: Box::new(TokenSet { state: Some((State::Active, now)), ..TokenSet::default() }),
            },
            State::Active if user.value.token.as_ref() == Some(serial) => return Ok(Confirmed::Yes),
            State::Active if user.value.pending.as_ref() == Some(serial) => Change::User {
                id: user.value.user.id,
                version: user.version,
                set: UserSet { token: Some(Some(serial.clone())), pending: Some(None), ..UserSet::default() },
            },
            _ => return Ok(Confirmed::NotAwaited),
        };
        match registry.change(change, deadline).await {
            Ok(()) => return Ok(Confirmed::Yes),
            // Another node may have confirmed it in this moment: look once more.
            Err(NotChanged::Conflict) if !repeated => repeated = true,
            Err(other) => return Err(other),
        }
    }
}
