//! What a directory client has to tell: for logs, metrics and alarms, which are not its business.

use super::connection::Trouble;
use crate::identity::{EntryId, TokenSerial};
use crate::tokens::Defect;
use std::sync::Arc;
use std::time::Duration;

/// Takes events; called from the client's tasks, so it must not wait.
pub type Events = Arc<dyn Fn(Event) + Send + Sync>;

/// Something happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A server answers, for the first time or again.
    ServerUp {
        /// Its URL.
        server: Arc<str>,
    },
    /// A server does not answer any more.
    ServerDown {
        /// Its URL.
        server: Arc<str>,
        /// Why.
        trouble: Trouble,
    },
    /// An operation has ended.
    Operation {
        /// The server's URL.
        server: Arc<str>,
        /// Which.
        operation: Operation,
        /// How long it took.
        took: Duration,
        /// How it ended.
        ended: Ended,
    },
    /// A server could not answer a request; the next one is asked.
    Failed {
        /// The server's URL.
        server: Arc<str>,
        /// What it was asked.
        operation: Operation,
        /// Why.
        trouble: Trouble,
    },
    /// A user search got an answer that says "look elsewhere": what lies there is not seen.
    ReferralIgnored {
        /// The server's URL.
        server: Arc<str>,
    },
    /// The whole table was read and is in use.
    Loaded {
        /// How many users it holds.
        users: usize,
    },
    /// Reading or following the directory broke off; the table in memory stays as it was.
    SyncBroken {
        /// The server's URL.
        server: Arc<str>,
        /// Why.
        trouble: Trouble,
    },
    /// The server cannot continue from where we were (RFC 4533 §2.6); everything is read anew.
    SyncRestarted {
        /// The server's URL.
        server: Arc<str>,
    },
    /// So many users disappeared at once that the table was left as it was: an operator has to say that it is right.
    HeldBack {
        /// Users before.
        before: usize,
        /// Users that would be left.
        after: usize,
    },
    /// A token cannot be used; told whenever its user is read.
    Unusable {
        /// The user's entry.
        user: EntryId,
        /// The token's serial number.
        serial: TokenSerial,
        /// Why.
        defect: Defect,
    },
    /// An entry could not be read and is not in the table.
    Unreadable {
        /// Its DN.
        dn: Box<str>,
    },
    /// A task of the client failed by a fault of ours and was started again.
    Restarted,
}

/// The kinds of operations that are timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// A user's bind.
    Bind,
    /// A search for one user or what belongs to one.
    Search,
    /// A change of an entry.
    Write,
    /// A look whether the server is there.
    Probe,
    /// Reading everything.
    Load,
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ended {
    /// With an answer.
    Answered,
    /// Without one.
    Failed,
    /// Without one in time.
    TimedOut,
}

impl Ended {
    /// How this ended.
    pub fn of<T>(result: &Result<T, Trouble>) -> Ended {
        match result {
            Ok(_) => Ended::Answered,
            Err(Trouble::TimedOut(_)) => Ended::TimedOut,
            Err(_) => Ended::Failed,
        }
    }
}
