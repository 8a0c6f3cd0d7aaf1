//! The line of evidence that each decision and each act of an operator leaves in the audit log.

use super::Case;
use crate::audit::Line;
use crate::audit::facts::{Facts, Key};
use crate::clock::Wall;
use crate::outcome::Reason;
use crate::tokens::User;
use std::time::Duration;

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

/// Writes down a decision, but for the time it took. Never a password, a code or a key.
pub(super) fn write(out: &mut Vec<u8>, case: &Case, reason: Reason) {
    let profile = &case.client.profile;
    let mut facts = Facts::begin(out, case.at.wall, "authentication");
    facts
        .text(Key::Outcome, reason.verdict().text())
        .text(Key::Reason, reason.text())
        .request(Key::Request, case.id)
        .text(Key::Client, case.client.name.as_str())
        .address(Key::Source, case.peer())
        .text(Key::Service, profile.name.as_str());
    if let Some(operation) = &case.operation {
        facts.text(Key::Operation, operation.as_str());
    }
    if let Some(name) = &case.user_name {
        facts.octets(Key::User, name.octets());
    }
    if let Some(user) = &case.user {
        facts.entry(Key::Entry, user.id());
        if let Some(contract) = user.contract() {
            facts.text(Key::Contract, contract);
        }
    }
    if let Some(station) = &case.calling_station {
        facts.octets(Key::CallingStation, station.octets());
    }
    if let Some((token, matched)) = case.matched() {
        facts.text(Key::Token, token.serial).signed(Key::StepOffset, i64::from(matched.offset));
    }
    if case.confirmed {
        // The first correct code, and what became of it is in `outcome` (S-15).
        facts.text(Key::Confirms, "token");
    }
    if let Some(decoy) = case.decoy {
        facts.text(Key::WouldBe, decoy.text());
    }
    if let Some(seconds) = case.clock_off {
        facts.signed(Key::ClockOff, seconds);
    }
    if case.proven {
        facts.text(Key::Password, "proven-before");
    }
    if case.locks {
        facts.text(Key::Locks, "user");
    }
}

/// Adds how long the last decision took.
pub(super) fn complete(out: &mut Vec<u8>, took: Duration) {
    Facts::go_on(out).number(Key::Duration, u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
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
