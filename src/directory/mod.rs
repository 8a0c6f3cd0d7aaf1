//! Where users, passwords and tokens live: an LDAP directory or the embedded one, behind one trait.
//!
//! A directory does three things: it keeps [`crate::state::Bindings`] filled with what it knows (all of it, or what
//! was asked for lately), it finds one user when memory does not know the name, and it checks a password by a bind.

pub mod embedded;
pub mod entry;
pub mod layout;
pub mod ldap;
pub mod registry;
pub mod seal;
pub mod tables;

use crate::clock::Mono;
use crate::identity::UserName;
use crate::secret::Secret;
use crate::tokens::KeptUser;
use futures_util::future::BoxFuture;
use std::sync::Arc;

/// What the pipeline asks of any directory. Answers come before `deadline` or not at all.
pub trait Directory: Send + Sync + 'static {
    /// Finds the user with this name.
    fn find<'a>(&'a self, name: &'a UserName, deadline: Mono) -> BoxFuture<'a, Result<Found, Unavailable>>;

    /// Checks `password` (never empty) for `user`, by one bind.
    fn check_password<'a>(
        &'a self,
        user: &'a KeptUser,
        password: Secret,
        deadline: Mono,
    ) -> BoxFuture<'a, Result<PasswordAnswer, Unavailable>>;

    /// What operators see of its servers.
    fn servers(&self) -> Vec<ServerStatus>;
}

/// What a search for one name came to.
#[derive(Debug)]
pub enum Found {
    /// Exactly one entry.
    One(Arc<KeptUser>),
    /// None.
    Nobody,
    /// More than one: nobody can say who is meant.
    Several,
}

/// What the directory says to a password. Only [`PasswordAnswer::Right`] lets anybody in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordAnswer {
    /// It is the user's password.
    Right,
    /// It is not.
    Wrong,
    /// The account is switched off.
    Disabled,
    /// The account's time is over or has not begun.
    Expired,
    /// The directory's policy has locked the account.
    Locked,
    /// The password is right and too old.
    PasswordExpired,
    /// The password is right and must be changed first.
    MustChange,
}

/// Nobody could say: never a reason to refuse the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// No server answered.
    #[error("no directory server answers")]
    Unreachable,
    /// The answer would come, or came, after the deadline.
    #[error("the directory's answer would come too late for the client")]
    TooLate,
}

/// One server as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerStatus {
    /// Its URL as configured.
    pub server: String,
    /// Whether it answers.
    pub up: bool,
    /// The last error in words, if it does not.
    pub trouble: Option<String>,
}
