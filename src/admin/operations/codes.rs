//! Codes that prove something: looked for, claimed and used up like the code of a login, so that none counts twice.

use super::Operations;
use crate::admin::protocol::Password;
use crate::admin::refusal::Refuse;
use crate::clock::Moment;
use crate::identity::{RequestId, TokenSerial};
use crate::otp::{self, Code, Finding, Moving, Step};
use crate::outcome::Reason;
use crate::state::{self, Claimed, Mark, Marks, Use, renewal};
use crate::tokens::{Past, Record, Standing, Token, Tokens, User};

/// One code, and the tokens that it may be of.
pub(super) struct Tried<'a> {
    pub tokens: &'a [Token],
    pub code: &'a Password,
}

/// A code that counts for nothing, with what it was tried on.
pub(super) struct Wrong<'a> {
    pub why: Refuse,
    pub code: &'a Password,
    pub tokens: &'a [Token],
}

/// Codes that are this act's to use up; dropped without that, they are everybody's again.
pub(super) struct Claims<'a> {
    tokens: &'a state::Tokens,
    by: RequestId,
    uses: Vec<Use>,
}

impl Claims<'_> {
    /// Uses them up: they were right. What somebody else has used meanwhile stays theirs, and is used up all the same.
    pub(super) fn accept(mut self) -> Marks {
        let uses = std::mem::take(&mut self.uses);
        uses.iter().filter_map(|used| self.tokens.accept(used, self.by)).map(Mark::Token).take(4).collect()
    }

    /// Uses them up: they were right, and something else was wrong.
    pub(super) fn burn(mut self) -> Marks {
        let uses = std::mem::take(&mut self.uses);
        uses.iter().filter_map(|used| self.tokens.burn(used, self.by)).map(Mark::Token).take(4).collect()
    }
}

impl Drop for Claims<'_> {
    fn drop(&mut self) {
        for used in &self.uses {
            self.tokens.release(used.token, self.by);
        }
    }
}

impl Operations {
    /// Claims a code of each of the tried; all of them, or none.
    pub(super) fn claim<'t>(
        &self,
        tried: &'t [Tried<'t>],
        by: RequestId,
        now: Moment,
    ) -> Result<Claims<'_>, Wrong<'t>> {
        let durable = &self.drive.pipeline().tables().durable;
        let mut claims = Claims { tokens: &durable.tokens, by, uses: Vec::new() };
        for Tried { tokens, code } in tried {
            let wrong = |why| Wrong { why, code, tokens };
            let mut used = false;
            let mut right = None;
            for token in *tokens {
                match look(token, durable.past(token), code, now) {
                    Finding::Fresh { step, offset } => right = right.or(Some((token, step, offset))),
                    Finding::Used { .. } => used = true,
                    Finding::None => {}
                }
            }
            let Some((token, step, offset)) = right else {
                // A used code is no guess: whoever types it twice is told so, and nothing counts.
                return Err(if used {
                    Wrong { why: Refuse::CodeUsed, code, tokens: &[] }
                } else {
                    wrong(Refuse::CodeWrong)
                });
            };
            let past = durable.past(token);
            let drift = match token.parameters.moving {
                Moving::Time { .. } => past.drift.learned(offset),
                Moving::Counter { .. } => past.drift,
            };
            let wanted =
                Use { token: token.id, imprint: token.imprint, step, drift, renewal: renewal(token) };
            if durable.tokens.claim(&wanted, by) == Claimed::Taken {
                return Err(Wrong { why: Refuse::CodeUsed, code, tokens: &[] });
            }
            claims.uses.push(wanted);
        }
        Ok(claims)
    }

    /// The tokens of a user that may be used now.
    pub(super) fn tokens_in_service(&self, user: &User, now: Moment) -> Vec<Token> {
        self.tokens_where(user, |token| token.refusal(now.wall).is_none())
    }

    /// The tokens that prove a renewal: those in service, and of the expired ones the very token that is renewed, because
    /// its own code is what is left to a user after the end (S-24).
    pub(super) fn tokens_to_renew_with(&self, user: &User, renewed: &TokenSerial, now: Moment) -> Vec<Token> {
        self.tokens_where(user, |token| proves_renewal(token, renewed, now))
    }

    fn tokens_where(&self, user: &User, usable: impl Fn(&Token) -> bool) -> Vec<Token> {
        let durable = &self.drive.pipeline().tables().durable;
        let Tokens::These(tokens) = &user.tokens else { return Vec::new() };
        let usable = |token: &&Token| usable(token) && !durable.past(token).is_disabled();
        tokens.iter().filter(usable).map(copy).collect()
    }

    /// The step that a code of this token belongs to, if it is right now: for an exchange that can be undone.
    pub(super) fn step_of(&self, token: &Token, code: &Password, now: Moment) -> Option<Step> {
        let past = self.drive.pipeline().tables().durable.past(token);
        match look(token, past, code, now) {
            Finding::Fresh { step, .. } => Some(step),
            _ => None,
        }
    }
}

fn proves_renewal(token: &Token, renewed: &TokenSerial, now: Moment) -> bool {
    match token.refusal(now.wall) {
        None => true,
        Some(Reason::TokenExpired) => token.standing == Standing::Active && token.serial == *renewed,
        Some(_) => false,
    }
}

fn look(token: &Token, past: Past, code: &Password, now: Moment) -> Finding {
    let Some(code) = Code::parse(code.0.as_bytes(), token.parameters.digits) else { return Finding::None };
    let last = past.last.max(token.spent);
    otp::examine(token.secret.expose(), &token.parameters, &code, now.wall, last, past.drift)
}

fn copy(token: &Token) -> Token {
    Token { secret: token.secret.duplicate(), serial: token.serial.clone(), ..*token }
}

/// A token as its entry has it, in the form that codes are looked at; `None` before its key is there.
pub(super) fn token_of(record: &Record) -> Option<Token> {
    let secret = record.secret.as_ref()?.duplicate();
    Some(Token {
        id: record.id,
        serial: record.serial.clone(),
        parameters: record.parameters,
        imprint: Token::imprint_of(&secret),
        secret,
        spent: record.spent,
        begins: record.begins,
        ends: record.ends,
        standing: Standing::Active,
    })
}
