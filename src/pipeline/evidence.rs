//! The line of evidence that each decision and each act of an operator leaves in the audit log.

use super::Case;
use crate::audit::Line;
use crate::clock::Wall;
use crate::outcome::Reason;
use crate::tokens::User;

/// What an operator did for a user.
pub struct Act<'a> {
    /// `release`, …
    pub event: &'static str,
    /// To whom.
    pub user: &'a User,
    /// Who answers for it: `counter`, or the user who proved themselves.
    pub actor: &'a str,
    /// The operating-system user at the other end of the socket.
    pub peer: &'a str,
    /// When.
    pub now: Wall,
}

/// The line of a decision. Never a password, a code or a key.
pub(super) fn line(case: &Case, reason: Reason) -> Line {
    let profile = &case.client.profile;
    let mut line = Line::new(case.at.wall, "authentication")
        .text("outcome", reason.verdict().text())
        .text("reason", reason.text())
        .shown("request", case.id)
        .text("client", case.client.name.as_str())
        .shown("source", case.peer())
        .text("service", profile.name.as_str());
    if let Some(operation) = &case.operation {
        line = line.text("operation", operation.as_str());
    }
    if let Some(name) = &case.user_name {
        line = line.octets("user", name.octets());
    }
    if let Some(user) = &case.user {
        line = line.entry("entry", user.id);
        if let Some(contract) = &user.contract {
            line = line.text("contract", contract.as_str());
        }
    }
    if let Some(station) = &case.calling_station {
        line = line.octets("calling_station", station.octets());
    }
    if let Some((serial, matched)) = &case.matched {
        line = line.text("token", serial.as_str()).signed("step_offset", i64::from(matched.offset));
    }
    if case.confirmed {
        // The first correct code, and what became of it is in `outcome` (S-15).
        line = line.text("confirms", "token");
    }
    if let Some(decoy) = case.decoy {
        line = line.text("would_be", decoy.text());
    }
    if let Some(seconds) = case.clock_off {
        line = line.signed("clock_off_seconds", seconds);
    }
    if case.locks {
        line = line.text("locks", "user");
    }
    line
}

/// The line of what an operator did.
pub fn act(act: &Act<'_>) -> Box<[u8]> {
    let mut line = Line::new(act.now, act.event)
        .text("outcome", "done")
        .text("user", &act.user.name)
        .entry("entry", act.user.id);
    if let Some(contract) = &act.user.contract {
        line = line.text("contract", contract.as_str());
    }
    line.text("actor", act.actor).text("by", act.peer).finish()
}
