//! The judgement: facts in, decision out. Pure: whoever gives the same facts gets the same decision.
//!
//! ```text
//!  facts ──▶ decide ──┬─▶ Reject      the user is refused; a failure may count
//!                     ├─▶ Challenge   the first of two steps is over (or a decoy that leads nowhere)
//!                     ├─▶ Accept      nothing to claim and nobody to ask
//!                     ├─▶ PasswordInstead   no token yet: the field is the confirmation password
//!                     └─▶ Verify      these codes were right: claim them, then ask for the password, then settle
//! ```

mod decide;

pub use decide::{
    ClockHint, Contracted, Counts, Decision, Facts, Matched, Refusal, Stage, decide, refuse_stranger,
    would_challenge,
};

#[cfg(test)]
mod tests;
