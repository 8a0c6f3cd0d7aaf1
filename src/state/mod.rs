//! What the daemon remembers, shared between threads: each table is its own type with its own locks.

// What must survive a crash.
pub mod marks;
pub mod pins;
pub mod tokens;
pub mod users;

// What the directory says.
pub mod bindings;

// What ends with the process.
pub mod admission;
pub mod challenges;
pub mod duplicates;
pub mod sources;
pub mod time_guard;

pub use admission::{Admission, Place};
pub use bindings::{Bindings, Known, Scope};
pub use challenges::{Challenge, Challenges};
pub use duplicates::{Duplicates, Seen};
pub use marks::{Mark, Marks, TokenMark, UserMark};
pub use pins::Pins;
pub use sources::Sources;
pub use time_guard::{Look, TimeGuard};
pub use tokens::{Claimed, Renewal, Tokens, Use};
pub use users::{Counted, Users};

use crate::clock::{Moment, Wall};

/// The tables that survive a restart: what the journal is replayed into and snapshots are taken of.
#[derive(Default)]
pub struct Durable {
    /// Failures and locks.
    pub users: Users,
    /// Used-up steps, drift, failures, claims.
    pub tokens: Tokens,
    /// Sources that must sign.
    pub pins: Pins,
}

impl Durable {
    /// Takes over one mark from the journal; marks may come in any order and number.
    pub fn replay(&self, mark: &Mark) {
        match mark {
            Mark::User(mark) => self.users.replay(mark),
            Mark::Token(mark) => self.tokens.replay(mark),
            Mark::Pin(source) => {
                self.pins.pin(*source);
            }
            // The store reports the highest time of all records itself.
            Mark::Clock(_) => {}
        }
    }

    /// Hands everything worth keeping to `sink`, shard by shard, while requests go on.
    pub fn each_mark(&self, highest: Wall, sink: &mut dyn FnMut(Mark)) {
        sink(Mark::Clock(highest));
        self.pins.each(|source| sink(Mark::Pin(source)));
        self.users.each_mark(|mark| sink(Mark::User(mark)));
        self.tokens.each_mark(|mark| sink(Mark::Token(mark)));
    }
}

/// The tables that end with the process.
pub struct Passing {
    /// Retransmissions and their replies.
    pub duplicates: Duplicates,
    /// Open two-step logins.
    pub challenges: Challenges,
    /// Failures per source.
    pub sources: Sources,
}

impl Passing {
    /// Removes what has run out in every table; called about once a second.
    pub fn sweep(&self, now: Moment) {
        self.duplicates.sweep(now.mono);
        self.challenges.sweep(now.mono);
        self.sources.sweep(now.mono);
    }
}
