//! One user as the directory knows them: identity, contract, role, account and tokens.

use super::{Account, Token};
use crate::identity::{ContractId, EntryId};

/// A user with everything a judgement needs to know about them, as the directory makes them and operators look at them.
/// What waits in memory for a request is a [`crate::tokens::KeptUser`].
#[derive(Debug, PartialEq)]
pub struct User {
    /// The identity of the entry: the key of everything remembered about the user.
    pub id: EntryId,
    /// The name that the entry itself carries, for people.
    pub name: Box<str>,
    /// The DN to bind as (for the embedded directory: the name).
    pub dn: Box<str>,
    /// The contract the user belongs to, if the directory says so.
    pub contract: Option<ContractId>,
    /// What the user may do for others of the same contract.
    pub role: Role,
    /// The user's own choice whether login asks for a code (S-08); `None` if never chosen.
    pub login_code: Option<LoginCode>,
    /// What the directory says about the account.
    pub account: Account,
    /// The user's tokens, usable or not.
    pub tokens: Tokens,
}

/// The most tokens that one request may try: each costs a few HMACs, and 63B counts each as a chance to guess.
pub const TOKENS_MAX: usize = 8;

/// The tokens of one user.
#[derive(Debug, PartialEq)]
pub enum Tokens<These = Vec<Token>> {
    /// All of them, at most [`TOKENS_MAX`].
    These(These),
    /// More than one request may try; the user is refused and the operator told how many there are.
    TooMany(usize),
}

impl<These> Tokens<These> {
    /// The tokens; none where there are too many.
    pub fn all<Each>(&self) -> &[Each]
    where
        These: AsRef<[Each]>,
    {
        match self {
            Tokens::These(tokens) => tokens.as_ref(),
            Tokens::TooMany(_) => &[],
        }
    }
}

/// A user's role within the contract (services.md: マスターユーザ, 管理者ユーザ).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Role {
    /// The contract's master user.
    Master,
    /// An admin user.
    Admin,
    /// Everybody else.
    #[default]
    General,
}

/// A user's own choice for login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LoginCode {
    /// Login asks for a code.
    Required,
    /// Login asks for none.
    NotRequired,
}

impl LoginCode {
    /// The word in the directory.
    pub const fn text(self) -> &'static str {
        match self {
            LoginCode::Required => "required",
            LoginCode::NotRequired => "not-required",
        }
    }
}
