//! The line of evidence that each decision and each act of an operator leaves in the audit log.

use super::Case;
use crate::audit::Line;
use crate::clock::Wall;
use crate::identity::{OperationName, UserName};
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
    let mut line = Line::new();
    line.text("time", &time(case.at.wall))
        .text("event", "authentication")
        .text("outcome", reason.verdict().text())
        .text("reason", reason.text())
        .text("request", &case.id.to_string())
        .text("client", case.client.name.as_str())
        .text("source", &case.peer().to_string())
        .text("service", case.client.profile.name.as_str());
    if let Some(operation) = case.operation.as_ref().map(OperationName::as_str) {
        line.text("operation", operation);
    }
    if let Some(name) = &case.user_name {
        line.octets("user", name.octets());
    }
    if let Some(user) = &case.user {
        line.text("entry", &user.id.to_string());
        if let Some(contract) = &user.contract {
            line.text("contract", contract.as_str());
        }
    }
    if let Some(station) = case.calling_station.as_ref().map(UserName::octets) {
        line.octets("calling_station", station);
    }
    if let Some((serial, matched)) = &case.matched {
        line.text("token", serial.as_str()).number("step_offset", i64::from(matched.offset));
    }
    if let Some(decoy) = case.decoy {
        line.text("would_be", decoy.text());
    }
    if let Some(seconds) = case.clock_off {
        line.number("clock_off_seconds", seconds);
    }
    if case.locks {
        line.text("locks", "user");
    }
    line
}

/// The line of what an operator did.
pub fn act(act: &Act<'_>) -> Box<[u8]> {
    let mut line = Line::new();
    line.text("time", &time(act.now))
        .text("event", act.event)
        .text("outcome", "done")
        .octets("user", act.user.name.as_bytes())
        .text("entry", &act.user.id.to_string());
    if let Some(contract) = &act.user.contract {
        line.text("contract", contract.as_str());
    }
    line.octets("actor", act.actor.as_bytes()).text("by", act.peer);
    line.finish()
}

/// RFC 3339, in UTC, to the microsecond.
fn time(wall: Wall) -> String {
    let seconds = i64::try_from(wall.seconds()).unwrap_or(i64::MAX);
    let nanos = i32::try_from(wall.subsec_nanos() / 1000 * 1000).unwrap_or(0);
    jiff::Timestamp::new(seconds, nanos).map_or_else(|_| seconds.to_string(), |time| format!("{time:.6}"))
}
