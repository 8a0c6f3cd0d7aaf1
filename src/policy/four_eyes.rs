//! Four eyes: one person asks for an act, another one lets it happen, and never the same.
//!
//! ```text
//!  asked ─┬─ approved by another person, in time ──▶ approved: the act happens, once
//!         ├─ denied by another person, or withdrawn by the first ──▶ denied
//!         └─ time passes ──▶ expired
//! ```

use crate::clock::Wall;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It waits for a second person.
    Asked,
    /// A second person let it happen.
    Approved,
    /// It does not happen.
    Denied,
}

impl Fate {
    /// The word.
    pub const fn text(self) -> &'static str {
        match self {
            Fate::Asked => "pending",
            Fate::Approved => "approved",
            Fate::Denied => "denied",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Fate> {
        [Fate::Asked, Fate::Approved, Fate::Denied].into_iter().find(|fate| fate.text() == text)
    }
}

/// What the second person says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Let it happen.
    Approve,
    /// Do not.
    Deny,
}

/// Why a second person's answer does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoDecision {
    /// It is the first person.
    #[error("whoever asked cannot approve it too; a second person must")]
    SamePerson,
    /// It was decided before.
    #[error("this request is decided already")]
    Decided,
    /// It is too old.
    #[error("this request has expired; ask again")]
    Expired,
}

impl NoDecision {
    /// The word in the audit log and in `docs/refusals.md`.
    pub const fn word(self) -> &'static str {
        match self {
            NoDecision::SamePerson => "same-person",
            NoDecision::Decided => "decided-already",
            NoDecision::Expired => "request-expired",
        }
    }
}

/// What a request becomes by an answer of `person`; `asked_by` and `person` name persons, not roles.
///
/// # Errors
/// See [`NoDecision`]. Whoever asked may deny: that takes the request back.
pub fn decide(
    fate: Fate,
    asked_by: &str,
    until: Wall,
    person: &str,
    answer: Answer,
    now: Wall,
) -> Result<Fate, NoDecision> {
    match (fate, answer) {
        (Fate::Approved | Fate::Denied, _) => Err(NoDecision::Decided),
        (Fate::Asked, _) if until <= now => Err(NoDecision::Expired),
        (Fate::Asked, Answer::Approve) if asked_by == person => Err(NoDecision::SamePerson),
        (Fate::Asked, Answer::Approve) => Ok(Fate::Approved),
        (Fate::Asked, Answer::Deny) => Ok(Fate::Denied),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_person_decides_in_time_and_once() {
        let at = Wall::from_seconds;
        for (fate, person, answer, now, expected) in [
            (Fate::Asked, "sato", Answer::Approve, 99, Ok(Fate::Approved)),
            (Fate::Asked, "sato", Answer::Deny, 99, Ok(Fate::Denied)),
            (Fate::Asked, "tanaka", Answer::Approve, 99, Err(NoDecision::SamePerson)),
            (Fate::Asked, "tanaka", Answer::Deny, 99, Ok(Fate::Denied)),
            (Fate::Asked, "sato", Answer::Approve, 100, Err(NoDecision::Expired)),
            (Fate::Asked, "tanaka", Answer::Approve, 100, Err(NoDecision::Expired)),
            (Fate::Approved, "sato", Answer::Approve, 0, Err(NoDecision::Decided)),
            (Fate::Denied, "sato", Answer::Approve, 0, Err(NoDecision::Decided)),
            (Fate::Approved, "sato", Answer::Deny, 0, Err(NoDecision::Decided)),
            (Fate::Denied, "sato", Answer::Deny, 0, Err(NoDecision::Decided)),
        ] {
            assert_eq!(
                decide(fate, "tanaka", at(100), person, answer, at(now)),
                expected,
                "{fate:?} {person} {now}"
            );
        }
        for fate in [Fate::Asked, Fate::Approved, Fate::Denied] {
            assert_eq!(Fate::parse(fate.text()), Some(fate));
        }
    }
}
