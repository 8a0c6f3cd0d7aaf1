//! Whether this node may answer, and by whose word: what every request looks at when it begins.
//!
//! ```text
//!              hello, everything written back                the engine is lost
//!   silent ───────────────────────────────────▶ together ──────────────────────▶ silent
//!     │  ▲                                          │  the named node is not connected: silent (fenced)
//!     │  └── the engine is back ── alone            ▼
//!     └── lost for twice the lease, and this is the node that may ──▶ alone
//! ```

use super::Lost;
use super::engine::{Stand, Term};
use crate::clock::Wall;
use std::time::Duration;

/// Clocks of nodes may differ by this much more than they said last.
pub const MARGIN: Duration = Duration::from_secs(5);

/// No window of any token reaches over so much time.
const LONG_OVER: Duration = Duration::from_secs(3600);

/// How things stand, as one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Who decides.
    pub way: Way,
    /// What may have been used without our knowing.
    pub doubt: Option<Doubt>,
}

/// Codes that may have been used without our knowing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// Codes of steps up to this time.
    pub until: Wall,
    /// Whether any code of a counter.
    pub counters: bool,
}

/// Who decides whether a code is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The engine, in this term.
    Together(Term),
    /// This node by itself, because the engine is lost and it is the one that may.
    Alone,
    /// Nobody: no answer.
    Silent(Silence),
}

/// Why nobody is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// The engine cannot be reached.
    Unreachable,
    /// This node is writing back what it knows.
    CatchingUp,
    /// The node that may go on alone is not connected: it may be answering.
    Fenced,
}

impl Standing {
    /// Nobody is answered.
    pub fn silent(silence: Silence) -> Standing {
        Standing { way: Way::Silent(silence), doubt: None }
    }

    /// What follows from how the engine sees it. `None` if this node has to write back first.
    pub(super) fn of(stand: &Stand) -> Option<Standing> {
        if !stand.written {
            return None;
        }
        if !stand.lease {
            return Some(Standing::silent(Silence::Fenced));
        }
        let from = if stand.complete { stand.unsure } else { stand.since.max(stand.unsure) };
        let until = from.plus(stand.ahead).plus(MARGIN);
        let over = stand.complete && until.plus(LONG_OVER) < stand.clock;
        let doubt = (!over).then_some(Doubt { until, counters: !stand.complete });
        Some(Standing { way: Way::Together(stand.term), doubt })
    }

    /// This node goes on alone at `now`; others were ahead of the engine by `ahead` at most.
    pub(super) fn alone(now: Wall, ahead: Duration) -> Standing {
        Standing {
            way: Way::Alone,
            doubt: Some(Doubt { until: now.plus(ahead).plus(MARGIN), counters: true }),
        }
    }

    /// The word for operators and metrics.
    pub fn text(&self) -> &'static str {
        match (&self.way, self.doubt) {
            (Way::Together(_), None) => "together",
            (Way::Together(_), Some(_)) => "together-in-doubt",
            (Way::Alone, _) => "alone",
            (Way::Silent(Silence::Unreachable), _) => "unreachable",
            (Way::Silent(Silence::CatchingUp), _) => "catching-up",
            (Way::Silent(Silence::Fenced), _) => "fenced",
        }
    }
}

impl From<Silence> for Lost {
    fn from(silence: Silence) -> Lost {
        match silence {
            Silence::Unreachable => Lost::Unreachable,
            Silence::CatchingUp => Lost::CatchingUp,
            Silence::Fenced => Lost::Fenced,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAND: Stand = Stand {
        term: Term(7),
        written: true,
        complete: true,
        lease: true,
        since: Wall::from_seconds(9000),
        ahead: Duration::from_secs(2),
        clock: Wall::from_seconds(9001),
        pins: 0,
        unsure: Wall::from_seconds(0),
        nodes: Vec::new(),
    };

    #[test]
    fn what_the_engine_says_decides_who_answers() {
        let together = |doubt| Some(Standing { way: Way::Together(Term(7)), doubt });
        assert_eq!(Standing::of(&STAND), together(None));
        let doubt = |until, counters| Some(Doubt { until: Wall::from_seconds(until), counters });
        assert_eq!(Standing::of(&Stand { complete: false, ..STAND }), together(doubt(9007, true)));
        let unsure = Stand { unsure: Wall::from_seconds(8990), ..STAND };
        assert_eq!(Standing::of(&unsure), together(doubt(8997, false)));
        assert_eq!(Standing::of(&Stand { written: false, ..STAND }), None);
        let fenced = Some(Standing::silent(Silence::Fenced));
        assert_eq!(Standing::of(&Stand { lease: false, ..STAND }), fenced);
    }
}
