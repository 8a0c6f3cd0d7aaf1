//! From facts to a decision: which token was meant, what is left for the password, what is held against the user.

use crate::clock::Wall;
use crate::lockout::Lockout;
use crate::otp::{self, Drift, Finding, Layout, Moving, Step};
use crate::outcome::Reason;
use crate::policy::{PasswordCheck, Profile, Requirement, SecondStep, Undecided, WithoutToken};
use crate::tokens::{Account, KeptToken, KeptTokens, LoginCode, Past, Standing, TOKENS_MAX, Tokens};
use arrayvec::ArrayVec;

/// Everything that a judgement depends on.
pub struct Facts<'a> {
    /// The service profile of the client that asks.
    pub profile: &'a Profile,
    /// Whether the operation asks for a code.
    pub requirement: Requirement,
    /// What the directory says about the account.
    pub account: Account,
    /// The user's own choice for login.
    pub login_code: Option<LoginCode>,
    /// The user's tokens.
    pub tokens: &'a KeptTokens<'a>,
    /// Whether the user's contract is asked for codes at all.
    pub contract: Contracted,
    /// What is held against the user.
    pub lockout: Lockout,
    /// What is remembered of each token, in the order of [`Facts::tokens`].
    pub pasts: &'a [Past],
    /// What the user typed, as it was sent.
    pub field: &'a [u8],
    /// Which of the two steps this is.
    pub stage: Stage<'a>,
    /// The time that codes are judged at.
    pub now: Wall,
    /// Whether a wrong code is looked for at other times of the day: costs some thousand HMACs.
    pub clock_hint: ClockHint,
}

/// Whether a user's contract is asked for codes (S-11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contracted {
    /// It is.
    Asked,
    /// One-time passwords are not enabled for it.
    NotAsked,
}

/// Which step of a login this is.
#[derive(Clone, Copy)]
pub enum Stage<'a> {
    /// The only step, or the first of two.
    First,
    /// The second, after a challenge; the password was typed at the first.
    Second {
        /// What was typed at the first step.
        password: &'a [u8],
    },
}

/// Whether to look for a wrong code at other times of the day (S-05).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockHint {
    /// Look.
    Look,
    /// Too many of these lately.
    Skip,
}

/// What to do with a request.
#[derive(Debug)]
#[must_use]
pub enum Decision<'a> {
    /// Accept; there is nothing to claim and nobody to ask.
    Accept(Reason),
    /// Refuse the user.
    Reject(Refusal),
    /// Ask for the second step. The reason tells what a decoy would have been refused for.
    Challenge(Option<Refusal>),
    /// The user has no token yet, and the whole field is the password that the directory shall check. Never empty.
    PasswordInstead(&'a [u8]),
    /// Claim the codes; then, if there is a password, ask the directory for it; then settle.
    Verify {
        /// The codes that matched; empty where no code was asked for. The first one is named in the evidence.
        codes: ArrayVec<Matched, TOKENS_MAX>,
        /// The password as it was sent, never empty; `None` where the gateway has checked it.
        password: Option<&'a [u8]>,
    },
}

/// One code of one token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matched {
    /// The position in [`Facts::tokens`].
    pub token: usize,
    /// The step or counter it belongs to.
    pub step: Step,
    /// Steps from now; for a counter, codes that were skipped.
    pub offset: i16,
    /// The drift to remember if it is accepted.
    pub drift: Drift,
}

/// Why the user is refused, and what that costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason, for the operator; the user is told the same thing for all of them.
    pub reason: Reason,
    /// Whether it counts towards the lock.
    pub counts: Counts,
    /// The tokens that the failure counts against: positions in [`Facts::tokens`].
    pub tried: ArrayVec<usize, TOKENS_MAX>,
    /// For a code of another time: how many seconds the token's clock is ahead.
    pub clock_off: Option<i64>,
}

/// Whether a refusal counts towards the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counts {
    /// No: nothing was guessed, or it is locked anyway.
    Nothing,
    /// Yes: somebody tried a code or a password and it was wrong.
    Failure,
}

/// Judges a request of a known user.
pub fn decide<'a>(facts: &Facts<'a>) -> Decision<'a> {
    if facts.lockout.is_locked(facts.now) {
        return refuse(facts, Refusal::free(Reason::Locked));
    }
    if let Some(reason) = facts.account.refusal(facts.now) {
        return refuse(facts, Refusal::free(reason));
    }
    match effective(facts.requirement, facts.login_code, facts.profile) {
        Requirement::Never => password_only(facts),
        Requirement::Optional if facts.contract == Contracted::NotAsked => password_only(facts),
        Requirement::Required | Requirement::UserChoice if facts.contract == Contracted::NotAsked => {
            match facts.profile.without_token {
                WithoutToken::Refuse => password_only(facts),
                WithoutToken::Password => password_instead(facts),
            }
        }
        Requirement::Optional => optional(facts),
        Requirement::Required | Requirement::UserChoice => required(facts),
    }
}

/// The decision about a name that nobody or more than one user has: the same as for a user whose code is wrong.
pub fn refuse_stranger(
    profile: &Profile,
    requirement: Requirement,
    stage: Stage<'_>,
    reason: Reason,
) -> Decision<'static> {
    let refusal = Refusal::free(reason);
    if would_challenge(profile, effective(requirement, None, profile), stage) {
        Decision::Challenge(Some(refusal))
    } else {
        Decision::Reject(refusal)
    }
}

/// Whether whoever does not pass this step is challenged, whatever the cause, so that the step is no oracle.
pub fn would_challenge(profile: &Profile, requirement: Requirement, stage: Stage<'_>) -> bool {
    matches!(stage, Stage::First)
        && profile.second_step != SecondStep::Never
        && matches!(requirement, Requirement::Required)
}

/// `UserChoice` becomes what the user, or else the profile, has chosen (S-08).
fn effective(requirement: Requirement, chosen: Option<LoginCode>, profile: &Profile) -> Requirement {
    if requirement != Requirement::UserChoice {
        return requirement;
    }
    match (chosen, profile.life.undecided) {
        (Some(LoginCode::Required), _) | (None, Undecided::Required) => Requirement::Required,
        (Some(LoginCode::NotRequired), _) | (None, Undecided::NotRequired) => Requirement::Never,
    }
}

/// Refuses, or challenges where a refusal at this step would tell something.
fn refuse<'a>(facts: &Facts<'a>, refusal: Refusal) -> Decision<'a> {
    let requirement = match facts.contract {
        Contracted::Asked => effective(facts.requirement, facts.login_code, facts.profile),
        Contracted::NotAsked => Requirement::Never,
    };
    if would_challenge(facts.profile, requirement, facts.stage) {
        Decision::Challenge(Some(refusal))
    } else {
        Decision::Reject(refusal)
    }
}

fn password_only<'a>(facts: &Facts<'a>) -> Decision<'a> {
    match facts.profile.password {
        PasswordCheck::GatewayChecked => Decision::Accept(Reason::CodeNotAsked),
        PasswordCheck::Directory => verify(facts, ArrayVec::new(), facts.field),
    }
}

fn required<'a>(facts: &Facts<'a>) -> Decision<'a> {
    if facts.profile.second_step == SecondStep::Always && matches!(facts.stage, Stage::First) {
        return match usable(facts) {
            Ok(_) => Decision::Challenge(None),
            Err(refusal) => Decision::Challenge(Some(refusal)),
        };
    }
    let instead = facts.profile.without_token == WithoutToken::Password && !has_token(facts.tokens);
    let live = match usable(facts) {
        Ok(live) => live,
        Err(_) if instead => return password_instead(facts),
        Err(refusal) => return refuse(facts, refusal),
    };
    let tried = try_codes(facts, &live);
    match tried.result {
        Tried::Right { codes, password } => verify(facts, codes, password),
        Tried::Used => refuse(facts, Refusal::free(Reason::CodeUsed)),
        // The token waits for its first code and may wait longer: this is the password.
        Tried::Wrong | Tried::NoCode if instead => password_instead(facts),
        Tried::Wrong => refuse(facts, wrong_code(facts, tried.cut)),
        Tried::NoCode => match (facts.stage, facts.profile.second_step) {
            (Stage::First, SecondStep::WhenMissing) => Decision::Challenge(None),
            (Stage::First, _) => refuse(facts, Refusal::free(Reason::CodeMissing)),
            // The answer to a challenge is a guess whatever it looks like (CHL-08).
            (Stage::Second { .. }, _) => refuse(facts, wrong_code(facts, tried.cut)),
        },
    }
}

fn optional<'a>(facts: &Facts<'a>) -> Decision<'a> {
    let live = usable(facts).unwrap_or_default();
    let tried = try_codes(facts, &live);
    match (tried.result, facts.profile.password) {
        (Tried::Right { codes, password }, _) => verify(facts, codes, password),
        (Tried::Used, _) => refuse(facts, Refusal::free(Reason::CodeUsed)),
        // What looks like a code may be the end of the password: the directory knows.
        (_, PasswordCheck::Directory) => verify(facts, ArrayVec::new(), facts.field),
        (Tried::Wrong, PasswordCheck::GatewayChecked) => refuse(facts, wrong_code(facts, tried.cut)),
        (Tried::NoCode, PasswordCheck::GatewayChecked) => Decision::Accept(Reason::CodeNotAsked),
    }
}

/// Whether the user has a token, usable or not. A suspended or expired one counts: whoever can stop a token must not win
/// the way without one. One that was never confirmed, or that was ended, does not.
fn has_token(tokens: &KeptTokens<'_>) -> bool {
    let ended =
        |token: &KeptToken<'_>| matches!(token.standing, Standing::AwaitsConfirmation | Standing::Revoked);
    match tokens {
        Tokens::These(tokens) => !tokens.iter().all(ended),
        Tokens::TooMany(_) => true,
    }
}

/// Without a token the whole field is the confirmation password.
fn password_instead<'a>(facts: &Facts<'a>) -> Decision<'a> {
    match facts.field {
        [] => refuse(facts, Refusal::free(Reason::PasswordEmpty)),
        field => Decision::PasswordInstead(field),
    }
}

/// The codes are right: what is left is the password.
fn verify<'a>(facts: &Facts<'a>, codes: ArrayVec<Matched, TOKENS_MAX>, password: &'a [u8]) -> Decision<'a> {
    match facts.profile.password {
        PasswordCheck::GatewayChecked => Decision::Verify { codes, password: None },
        // Never an empty password to a directory: some answer success (RFC 4513 §5.1.2). Nothing was guessed, and
        // nothing is used up.
        PasswordCheck::Directory if password.is_empty() => {
            refuse(facts, Refusal::free(Reason::PasswordEmpty))
        }
        PasswordCheck::Directory => Decision::Verify { codes, password: Some(password) },
    }
}

/// The positions of the tokens that may be used now, or why there is none.
fn usable(facts: &Facts<'_>) -> Result<ArrayVec<usize, TOKENS_MAX>, Refusal> {
    let tokens = match facts.tokens {
        Tokens::These(tokens) => tokens,
        Tokens::TooMany(_) => return Err(Refusal::free(Reason::TokensTooMany)),
    };
    let mut live = ArrayVec::new();
    let mut first_refusal = None;
    for (at, token) in tokens.iter().enumerate() {
        let disabled = facts.pasts.get(at).is_some_and(Past::is_disabled).then_some(Reason::TokenDisabled);
        match token.refusal(facts.now).or(disabled) {
            None => live.push(at),
            Some(reason) => first_refusal = first_refusal.or(Some(reason)),
        }
    }
    if live.is_empty() { Err(Refusal::free(first_refusal.unwrap_or(Reason::NoToken))) } else { Ok(live) }
}

/// What came of cutting each token's digits from the field.
struct Attempt<'a> {
    result: Tried<'a>,
    /// The tokens whose digits could be cut, so that a wrong code counts against them.
    cut: ArrayVec<usize, TOKENS_MAX>,
}

#[expect(clippy::large_enum_variant, reason = "lives on the stack for one call")]
enum Tried<'a> {
    /// These codes are right, and this is left.
    Right { codes: ArrayVec<Matched, TOKENS_MAX>, password: &'a [u8] },
    /// Right once.
    Used,
    /// There was a code, and it is wrong.
    Wrong,
    /// There was none.
    NoCode,
}

/// The token decides the split: for each live token its digits are cut and the code is verified. All tokens are
/// tried, whatever the first ones say; if several match, the longest code decides what the password is, and all of
/// them are used up.
fn try_codes<'a>(facts: &Facts<'a>, live: &[usize]) -> Attempt<'a> {
    let layout = match facts.stage {
        Stage::First => &facts.profile.layout,
        Stage::Second { .. } => &Layout::Code,
    };
    let mut cut_at = ArrayVec::new();
    let mut right = ArrayVec::<_, TOKENS_MAX>::new();
    let mut longest: Option<(usize, &'a [u8])> = None;
    let mut used = false;
    for (at, token) in live.iter().filter_map(|&at| Some((at, facts.tokens.all().get(at)?))) {
        let digits = token.parameters.digits;
        let Some(cut) = otp::cut(layout, facts.field, digits) else { continue };
        cut_at.push(at);
        let past = facts.pasts.get(at).copied().unwrap_or_default();
        let last = past.last.max(token.spent);
        match otp::examine(token.secret.expose(), &token.parameters, &cut.code, facts.now, last, past.drift) {
            Finding::Fresh { step, offset } => {
                let drift = match token.parameters.moving {
                    Moving::Time { .. } => past.drift.learned(offset),
                    Moving::Counter { .. } => past.drift,
                };
                let matched = Matched { token: at, step, offset, drift };
                if longest.is_none_or(|(count, _)| digits.count() > count) {
                    longest = Some((digits.count(), cut.password));
                    right.insert(0, matched);
                } else {
                    right.push(matched);
                }
            }
            Finding::Used { .. } => used = true,
            Finding::None => {}
        }
    }
    let password = |rest: &'a [u8]| match facts.stage {
        Stage::First => rest,
        Stage::Second { password } => password,
    };
    let result = match longest {
        Some((_, rest)) => Tried::Right { codes: right, password: password(rest) },
        None if used => Tried::Used,
        None if cut_at.is_empty() && !otp::has_code_shape(layout, facts.field) => Tried::NoCode,
        None => Tried::Wrong,
    };
    Attempt { result, cut: cut_at }
}

/// A wrong code: a failure for the user and for every token that it could have been.
fn wrong_code(facts: &Facts<'_>, tried: ArrayVec<usize, TOKENS_MAX>) -> Refusal {
    let clock_off = match facts.clock_hint {
        ClockHint::Skip => None,
        ClockHint::Look => tried.iter().find_map(|&at| off_by(facts, at)),
    };
    let reason = if clock_off.is_some() { Reason::CodeOtherTime } else { Reason::CodeWrong };
    Refusal { reason, counts: Counts::Failure, tried, clock_off }
}

fn off_by(facts: &Facts<'_>, at: usize) -> Option<i64> {
    let token = facts.tokens.all().get(at)?;
    let layout = match facts.stage {
        Stage::First => &facts.profile.layout,
        Stage::Second { .. } => &Layout::Code,
    };
    let cut = otp::cut(layout, facts.field, token.parameters.digits)?;
    otp::other_time(token.secret.expose(), &token.parameters, &cut.code, facts.now)
}

impl Refusal {
    /// A refusal that counts for nothing: nobody guessed.
    pub fn free(reason: Reason) -> Refusal {
        Refusal { reason, counts: Counts::Nothing, tried: ArrayVec::new(), clock_off: None }
    }
}
