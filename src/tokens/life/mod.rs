//! The life of a user's token: where it stands, what may happen next, and why something may not.
//!
//! ```text
//!            issue            set up            confirm
//!   none ───────────▶ issued ────────▶ set-up ──────────▶ active ──┬─ failures ──▶ locked ──── release ──▶ active
//!    ▲ │                  │ issue again   │                 │ ▲    ├─ suspend ───▶ suspended ─ resume ───▶ active
//!    │ └─ token that was made before ─────┼─ register ──────┘ │    ├─ time ──────▶ expired ─── renew ────▶ active
//!    │                                    │                   │    ├─ stop of use ─▶ none
//!    │                                    ▼                   │    └─ exchange ───▶ (replaced, active) ─ undo ─▶ back
//!    └──── waiting time is over ────── revoked ◀──────── revoke: from every state
//! ```
//!
//! *Locked* is held against the user and *expired* is a date; neither stands in the token's entry. Time is an argument
//! everywhere.

mod refusal;
mod renewal;
mod setup;

#[cfg(test)]
mod tests;

pub use refusal::Refusal;
pub use renewal::renewed_end;
pub use setup::{Tried, try_setup};

use super::State;
use crate::clock::Wall;

/// Where a user's token is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// There is none, and nothing is waited for.
    None,
    /// Made beforehand; nobody's yet.
    Inventory,
    /// Promised; the app has not fetched its key.
    Issued,
    /// The app has its key; the first correct code is missing.
    SetUp,
    /// In service.
    Active,
    /// In service, and its user has failed too often.
    Locked,
    /// Stopped by the bank.
    Suspended,
    /// Its time is over.
    Expired,
    /// It has ended, and the waiting time runs.
    Revoked,
    /// Another token has taken its place, which can still be undone.
    Replaced,
}

impl Stage {
    /// Every stage.
    pub const ALL: [Stage; 10] = [
        Stage::None,
        Stage::Inventory,
        Stage::Issued,
        Stage::SetUp,
        Stage::Active,
        Stage::Locked,
        Stage::Suspended,
        Stage::Expired,
        Stage::Revoked,
        Stage::Replaced,
    ];

    /// The word in `token list`, in the audit log and in messages.
    pub const fn text(self) -> &'static str {
        match self {
            Stage::None => "none",
            Stage::Inventory => "inventory",
            Stage::Issued => "issued",
            Stage::SetUp => "set-up",
            Stage::Active => "active",
            Stage::Locked => "locked",
            Stage::Suspended => "suspended",
            Stage::Expired => "expired",
            Stage::Revoked => "revoked",
            Stage::Replaced => "replaced",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Stage> {
        Stage::ALL.into_iter().find(|stage| stage.text() == text)
    }
}

/// What a stage is told from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Position {
    /// The state that the entry says; `None` where there is no token.
    pub state: Option<State>,
    /// Not usable from this time on.
    pub ends: Option<Wall>,
    /// Whether failures are held against its user, so that nothing is accepted.
    pub lock: Lock,
    /// When a new token may follow, if it is revoked.
    pub opens: Option<Wall>,
    /// Whether the user's entry still means it.
    pub place: Place,
}

/// Whether the user is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Lock {
    /// No.
    #[default]
    Open,
    /// Yes.
    Locked,
}

/// What the user's entry says of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Place {
    /// It is the user's token, or nobody's.
    #[default]
    Current,
    /// It was the user's before the last exchange.
    Former,
}

impl Position {
    /// The stage at `now`. What is over comes before what is held against somebody.
    pub fn stage(&self, now: Wall) -> Stage {
        let Some(state) = self.state else { return Stage::None };
        match state {
            State::Revoked if self.opens.is_none_or(|opens| opens <= now) => Stage::None,
            State::Revoked => Stage::Revoked,
            _ if self.place == Place::Former => Stage::Replaced,
            State::Inventory => Stage::Inventory,
            State::Issued => Stage::Issued,
            State::SetUp => Stage::SetUp,
            State::Suspended => Stage::Suspended,
            State::Active if self.ends.is_some_and(|ends| ends <= now) => Stage::Expired,
            State::Active if self.lock == Lock::Locked => Stage::Locked,
            State::Active => Stage::Active,
        }
    }
}

/// What happens to a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A token is promised to the user (S-12).
    Issue,
    /// The user's token of another contract shall serve here too (S-13).
    Adopt,
    /// The app fetches its key (S-14).
    SetUp,
    /// The first correct code (S-15).
    Confirm,
    /// The user takes a token that was made before (S-16).
    Register,
    /// Too many failures (S-17).
    Lock,
    /// A release, or the end of a timed lock (S-18).
    Release,
    /// It ends (S-19, S-20).
    Revoke,
    /// The waiting time is over (S-19).
    WaitOver,
    /// The user gives the second factor up (S-22).
    Stop,
    /// The phone is lost (S-23).
    Suspend,
    /// The phone is found (S-23).
    Resume,
    /// Its time is over (S-24).
    Expire,
    /// It gets a new end (S-24).
    Renew,
    /// Its clock is learned anew (S-05).
    Resync,
}

impl Event {
    /// Every event.
    pub const ALL: [Event; 15] = [
        Event::Issue,
        Event::Adopt,
        Event::SetUp,
        Event::Confirm,
        Event::Register,
        Event::Lock,
        Event::Release,
        Event::Revoke,
        Event::WaitOver,
        Event::Stop,
        Event::Suspend,
        Event::Resume,
        Event::Expire,
        Event::Renew,
        Event::Resync,
    ];
}

/// Where the token stands after the event, or why it may not happen.
///
/// # Errors
/// The event does not fit the stage; see [`Refusal`].
pub fn after(stage: Stage, event: Event) -> Result<Stage, Refusal> {
    use Event as E;
    use Stage as S;
    Ok(match (stage, event) {
        (S::None | S::Issued | S::SetUp, E::Issue) => S::Issued,
        (S::None | S::Issued | S::SetUp, E::Adopt) => S::SetUp,
        (S::None | S::Inventory | S::Issued | S::SetUp, E::Register) => S::Active,
        (S::Issued, E::SetUp) => S::SetUp,
        (S::SetUp, E::Confirm) => S::Active,
        (S::Active, E::Lock | E::Suspend | E::Expire | E::Stop | E::Renew | E::Resync) => match event {
            E::Lock => S::Locked,
            E::Suspend => S::Suspended,
            E::Expire => S::Expired,
            E::Stop => S::None,
            _ => S::Active,
        },
        (S::Locked, E::Release) => S::Active,
        // Wrong codes of a wrong clock have locked many a user: learning the clock lifts no lock.
        (S::Locked, E::Lock | E::Resync) => S::Locked,
        (S::Locked | S::Expired, E::Suspend) => S::Suspended,
        (S::Locked, E::Expire) => S::Expired,
        (S::Suspended, E::Resume) => S::Active,
        (S::Expired, E::Renew) => S::Active,
        (S::Expired, E::Expire) => S::Expired,
        (
            S::Inventory
            | S::Issued
            | S::SetUp
            | S::Active
            | S::Locked
            | S::Suspended
            | S::Expired
            | S::Replaced,
            E::Revoke,
        ) => S::Revoked,
        (S::Revoked, E::WaitOver) => S::None,
        (stage, event) => return Err(refusal::refusal(stage, event)),
    })
}

/// An exchange: the stages of the old and the new token after it (S-21). Both change in one step, so that the old one
/// works until the new one is registered and never after.
///
/// # Errors
/// The old token does not work, or the new one is not free.
pub fn exchange(old: Stage, new: Stage) -> Result<(Stage, Stage), Refusal> {
    match (old, new) {
        (Stage::Active, Stage::Inventory) => Ok((Stage::Replaced, Stage::Active)),
        (Stage::Active, Stage::None) => Err(Refusal::NoSuchToken),
        (Stage::Active, _) => Err(Refusal::NotFree),
        (old, _) => Err(refusal::not_active(old)),
    }
}

/// Whether the new token of an exchange has been used since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Used {
    /// Not yet.
    NotYet,
    /// A code of it was accepted after the exchange.
    Since,
}

/// An exchange is undone: the stages of the old and the new token after it.
///
/// # Errors
/// There is nothing to undo, or the new token has been used.
pub fn undo_exchange(old: Stage, new: Stage, used: Used) -> Result<(Stage, Stage), Refusal> {
    match (old, new, used) {
        (Stage::Replaced, Stage::Active | Stage::Locked, Used::NotYet) => {
            Ok((Stage::Active, Stage::Inventory))
        }
        (Stage::Replaced, _, Used::Since) => Err(Refusal::NewTokenUsed),
        (Stage::Replaced, new, Used::NotYet) => Err(refusal::not_active(new)),
        _ => Err(Refusal::NothingToUndo),
    }
}
