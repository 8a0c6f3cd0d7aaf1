//! What the directory keeps of a token's life, beside what a judgement needs: its state, whose it is, its setup.

use crate::clock::Wall;
use crate::identity::{ContractId, EntryId, ServiceName, TokenSerial};
use crate::otp::{Parameters, Step};
use crate::secret::Secret;

/// Where a token is in its life. *Locked* and *expired* are no states of an entry: the one is held against the user, the
/// other is a date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Made beforehand and known by its serial number; nobody's yet (S-16).
    Inventory,
    /// Promised to a user: it waits for the setup that makes its key (S-12).
    Issued,
    /// It has its key and waits for the first correct code (S-15).
    SetUp,
    /// In service (サービス利用中).
    Active,
    /// Stopped by the bank, for example because the phone is lost (S-23).
    Suspended,
    /// Ended; a new one may follow after the waiting time (S-19).
    Revoked,
}

impl State {
    /// Every state, in the order of a life.
    pub const ALL: [State; 6] =
        [State::Inventory, State::Issued, State::SetUp, State::Active, State::Suspended, State::Revoked];

    /// The word in the directory, in `token list` and in the audit log.
    pub const fn text(self) -> &'static str {
        match self {
            State::Inventory => "inventory",
            State::Issued => "issued",
            State::SetUp => "set-up",
            State::Active => "active",
            State::Suspended => "suspended",
            State::Revoked => "revoked",
        }
    }

    /// Reads the word, in any case.
    pub fn parse(text: &str) -> Option<State> {
        State::ALL.into_iter().find(|state| state.text().eq_ignore_ascii_case(text))
    }
}

/// A token as its entry has it, whatever its state.
#[derive(Debug)]
pub struct Record {
    /// The identity of its entry.
    pub id: EntryId,
    /// Its serial number.
    pub serial: TokenSerial,
    /// Where it is in its life.
    pub state: State,
    /// Since when.
    pub since: Wall,
    /// The users it is bound to, by their entries; more than one where several contracts share it (S-13).
    pub owners: Vec<EntryId>,
    /// The contract it was issued for.
    pub contract: Option<ContractId>,
    /// The service profile it was issued under.
    pub service: Option<ServiceName>,
    /// How it makes its codes.
    pub parameters: Parameters,
    /// Its key, opened; none before the setup.
    pub secret: Option<Secret>,
    /// The last step or counter that the directory itself says is used up.
    pub spent: Option<Step>,
    /// Not usable before this time.
    pub begins: Option<Wall>,
    /// Not usable from this time on.
    pub ends: Option<Wall>,
    /// What the app has to give at setup; none where there is nothing to set up, or not any more.
    pub setup: Option<Setup>,
}

/// What the app gives at setup, and what has been tried (S-14).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// The service id (サービスID).
    pub service_id: Box<str>,
    /// The user id (ユーザID).
    pub user_id: Box<str>,
    /// The start password (利用開始パスワード) as a PHC string of argon2id.
    pub start_password: Box<str>,
    /// Wrong start passwords so far.
    pub failures: u16,
    /// The setup ends unused at this time.
    pub until: Wall,
}

/// A contract that one-time passwords are enabled for (S-11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contract {
    /// Its id.
    pub id: ContractId,
    /// Under which service profile.
    pub service: ServiceName,
    /// Since when.
    pub since: Wall,
}
