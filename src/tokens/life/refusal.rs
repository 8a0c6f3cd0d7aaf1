//! Why an event does not fit a token's stage, in words that say what would be right.

use super::{Event, Stage};
use std::fmt;

/// Declares the refusals, each with its word and its sentence.
macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $text:literal;)*) => {
        /// Why something may not happen to a token.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Refusal { $($(#[$doc])* $name,)* }

        impl Refusal {
            /// Every refusal.
            pub const ALL: &'static [Refusal] = &[$(Refusal::$name),*];

            /// The word in the audit log and in `docs/refusals.md`.
            pub const fn word(self) -> &'static str {
                match self { $(Refusal::$name => $word),* }
            }

            const fn sentence(self) -> &'static str {
                match self { $(Refusal::$name => $text),* }
            }
        }
    };
}

refusals! {
    /// The user has none.
    NoToken = "no-token", "the user has no token; issue or register one first";
    /// No token has this serial number.
    NoSuchToken = "token-unknown", "there is no token with this serial number";
    /// It is somebody's already.
    NotFree = "token-not-free", "this token is somebody's, or was; take one that is in the inventory";
    /// It belongs to nobody.
    NotBound = "token-not-bound", "this token is in the inventory and nobody's; register it for a user first";
    /// The user has one that works.
    TokenThere = "token-there", "the user has a token in service; exchange it, or revoke it and wait";
    /// The key has not been fetched.
    NotSetUp = "not-set-up", "the app has not been set up; service id, user id and start password come first";
    /// The first correct code is missing.
    NotConfirmed = "not-confirmed", "the token waits for its first correct code; confirm it, or revoke it";
    /// The key was handed out once.
    SetUpAlready = "set-up-already", "the key has been handed out, and is so only once; issue the token anew";
    /// There is nothing to set up.
    NoSetup = "no-setup", "no setup waits under these ids; they may be mistyped, used, or too old: issue the token anew";
    /// It was confirmed before.
    ActiveAlready = "active-already", "the token is in service already";
    /// The user is locked.
    Locked = "locked", "the user is locked after too many failures; release the user first";
    /// The user is not locked.
    NotLocked = "not-locked", "the user is not locked";
    /// The token is suspended.
    Suspended = "token-suspended", "the token is suspended; resume or revoke it";
    /// The token is not suspended.
    NotSuspended = "not-suspended", "the token is not suspended";
    /// Its time is over.
    Expired = "token-expired", "the token's time is over; renew or revoke it";
    /// It has ended.
    Revoked = "token-revoked", "the token is revoked and stays so; a new one may follow after the waiting time";
    /// The waiting time runs.
    Waiting = "waiting-time", "a token was revoked lately, and a new one may follow only after the waiting time";
    /// Another token took its place.
    Replaced = "token-replaced", "another token has taken this one's place; undo the exchange, or use the new one";
    /// It has no end.
    NoEnd = "no-end", "the token has no expiry date, so there is nothing to renew";
    /// It is too early.
    TooEarly = "renewal-too-early", "the token is not due yet";
    /// There was no exchange that could be undone.
    NothingToUndo = "nothing-to-undo", "there is no exchange that could be undone";
    /// The new token works already.
    NewTokenUsed = "new-token-used", "the new token has been used, so the exchange stands; exchange again if it must be";
    /// The waiting time does not run.
    NotWaiting = "not-waiting", "no waiting time runs";
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())
    }
}

impl std::error::Error for Refusal {}

/// The refusal of an event that does not fit the stage.
pub(super) fn refusal(stage: Stage, event: Event) -> Refusal {
    match (stage, event) {
        (Stage::Revoked, Event::Issue | Event::Adopt | Event::Register) => Refusal::Waiting,
        (_, Event::WaitOver) => Refusal::NotWaiting,
        (Stage::None, Event::SetUp) => Refusal::NoSetup,
        (Stage::Active | Stage::Locked | Stage::Expired | Stage::SetUp, Event::SetUp) => {
            Refusal::SetUpAlready
        }
        (Stage::Active, Event::Issue | Event::Adopt | Event::Register) => Refusal::TokenThere,
        (Stage::Active, Event::Confirm) => Refusal::ActiveAlready,
        (Stage::Active, Event::Resume) => Refusal::NotSuspended,
        (Stage::None | Stage::Issued | Stage::SetUp | Stage::Active, Event::Release) => Refusal::NotLocked,
        (stage, _) => not_active(stage),
    }
}

/// Why a token at this stage is not one that works.
pub(super) fn not_active(stage: Stage) -> Refusal {
    match stage {
        Stage::None => Refusal::NoToken,
        Stage::Inventory => Refusal::NotBound,
        Stage::Issued => Refusal::NotSetUp,
        Stage::SetUp => Refusal::NotConfirmed,
        Stage::Active => Refusal::ActiveAlready,
        Stage::Locked => Refusal::Locked,
        Stage::Suspended => Refusal::Suspended,
        Stage::Expired => Refusal::Expired,
        Stage::Revoked => Refusal::Revoked,
        Stage::Replaced => Refusal::Replaced,
    }
}
