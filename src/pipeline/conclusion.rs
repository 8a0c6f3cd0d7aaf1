//! How a request ends: by this node's own tables, or by the word of the engine that several nodes share.

use super::case::{Ending, Say};
use super::{Case, Next, Pipeline};
use crate::authenticate::Refusal;
use crate::clock::{Moment, Mono};
use crate::cluster::Way;
use crate::outcome::Reason;
use crate::state::{Mark, TokenMark, Use, renewal};
use crate::tokens::KeptUser;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;

/// What a request has come to, before its marks are made.
#[derive(Clone, Debug)]
pub(super) enum Conclusion {
    /// Everything was right: the steps are taken for good, unless somebody was faster.
    Right(Moment),
    /// Accepted without a code.
    Accepted(Reason),
    /// The codes were right and are used up, but the user is refused.
    Burned(Refusal),
    /// The user is refused.
    Refused(Refusal),
    /// The second step is asked for; the refusal tells what a decoy would have been refused for.
    Challenged(Option<Refusal>),
    /// The same login was accepted a moment ago.
    Repeated,
}

impl Pipeline {
    /// Ends a request. Where there are other nodes, the engine has the word; a node that is alone must still be alone
    /// while it makes its marks.
    pub(super) fn conclude(&self, case: &mut Case, conclusion: Conclusion) -> Next {
        let Some(standing) = case.joint.as_ref().map(|joint| Arc::clone(&joint.standing)) else {
            return self.conclude_here(case, conclusion);
        };
        match (standing.way, &self.cluster) {
            (Way::Together(term), Some(cluster)) => self.propose(case, conclusion, term, cluster),
            (Way::Alone, Some(cluster)) => match cluster.alone(&standing) {
                Some(_inside) => self.conclude_here(case, conclusion),
                None => Next::GiveUp(Reason::ClusterUnreachable),
            },
            _ => Next::GiveUp(Reason::ClusterUnreachable),
        }
    }

    fn conclude_here(&self, case: &mut Case, conclusion: Conclusion) -> Next {
        match conclusion {
            Conclusion::Right(now) => self.settle_right(case, now),
            Conclusion::Accepted(reason) => self.accept(case, reason),
            Conclusion::Burned(refusal) => self.refuse_claimed(case, &refusal),
            Conclusion::Refused(refusal) => self.reject(case, &refusal),
            Conclusion::Challenged(refusal) => self.challenge(case, refusal),
            Conclusion::Repeated => Next::Answer(Ending { reason: Reason::AnswerRepeated, say: Say::Accept }),
        }
    }

    /// A right code that led to a refusal is used up all the same: nobody gets a second guess with it.
    fn refuse_claimed(&self, case: &mut Case, refusal: &Refusal) -> Next {
        let claims = std::mem::take(&mut case.claims);
        let (tokens, id) = (&self.tables.durable.tokens, case.id);
        self.settle_claims(case, &claims, |used| tokens.burn(used, id));
        self.reject(case, refusal)
    }

    /// Settles each claim one way; how many were still to be had.
    fn settle_claims(
        &self,
        case: &mut Case,
        claims: &[Use],
        settle: impl Fn(&Use) -> Option<TokenMark>,
    ) -> usize {
        let before = match claims {
            [only] => Some(self.tables.durable.tokens.as_it_is(only.token)),
            _ => None,
        };
        let mut taken = 0_usize;
        for mark in claims.iter().filter_map(settle) {
            case.settled = before.map(|before| (before, mark.version));
            case.mark(Mark::Token(mark));
            taken += 1;
        }
        taken
    }

    /// Nothing is left to ask: take the steps for good, or find that somebody was faster. A user who was locked while
    /// the directory was asked is locked for this request too, and the code is used up.
    fn settle_right(&self, case: &mut Case, now: Moment) -> Next {
        let users = &self.tables.durable.users;
        let locked = |user: &Arc<KeptUser>| users.lockout(user.id(), now.wall).is_locked(now.wall);
        if case.user.as_ref().is_some_and(locked) {
            return self.refuse_claimed(case, &Refusal::free(Reason::Locked));
        }
        let claims = std::mem::take(&mut case.claims);
        let asked_for_code = !claims.is_empty();
        let (tokens, id) = (&self.tables.durable.tokens, case.id);
        let taken = self.settle_claims(case, &claims, |used| tokens.accept(used, id));
        if taken > 0 {
            self.forgive_others(case, &claims);
        }
        if asked_for_code && taken == 0 {
            return self.reject(case, &Refusal::free(Reason::CodeUsed));
        }
        let reason = match (asked_for_code, case.instead) {
            (true, _) => Reason::CodeAccepted,
            (false, true) => Reason::PasswordInstead,
            (false, false) => Reason::CodeNotAsked,
        };
        self.accept(case, reason)
    }

    /// A wrong code counts against every token it could have been; a right one clears what that has left on the others.
    fn forgive_others(&self, case: &mut Case, claims: &[Use]) {
        let Some(user) = case.user.clone().filter(|user| user.token_count() > claims.len()) else { return };
        let tokens = user.tokens();
        let others = tokens.all().iter().filter(|token| claims.iter().all(|used| used.token != token.id));
        for token in others {
            if let Some(mark) = self.tables.durable.tokens.forgive(token.id, token.imprint, renewal(token)) {
                case.mark(Mark::Token(mark));
            }
        }
    }

    /// Remembers an accept by code, where the client may ask for it again.
    pub(super) fn keep_login(&self, case: &Case, reason: Reason) {
        let grace = case.client.lost_answer_grace;
        if reason == Reason::CodeAccepted
            && !grace.is_zero()
            && let Some(login) = Login::of(case)
        {
            self.logins.keep(&login, case.at.mono, grace);
        }
    }

    /// Whether the same login was accepted a moment ago and this is the gateway that may not have heard of it.
    pub(super) fn take_login(&self, case: &Case) -> bool {
        !case.client.lost_answer_grace.is_zero()
            && Login::of(case).is_some_and(|login| self.logins.take(&login, case.at.mono))
    }

    /// Removes logins that nobody may ask for any more.
    pub(super) fn sweep_logins(&self, now: Mono) {
        if !self.logins.is_empty() {
            self.logins.sweep(now);
        }
    }
}

/// Everything that makes it the same login.
#[derive(Hash)]
pub(super) struct Login<'c> {
    /// The client's name.
    pub client: &'c str,
    /// The address it asks from.
    pub gateway: IpAddr,
    /// The user's entry.
    pub user: [u8; 16],
    /// What is being approved.
    pub operation: &'c str,
    /// The end user's address, as the gateway gives it.
    pub station: Option<&'c [u8]>,
    /// What was typed.
    pub field: &'c [u8],
}

impl<'c> Login<'c> {
    /// The login of a request whose user and field are known. The second step of two has none: its State works once.
    pub(super) fn of(case: &'c Case) -> Option<Login<'c>> {
        if case.first_step.is_some() {
            return None;
        }
        Some(Login {
            client: case.client.name.as_str(),
            gateway: case.peer().ip(),
            user: case.user.as_ref()?.id().octets(),
            operation: case.operation.as_ref()?.as_str(),
            station: case.calling_station.as_ref().map(|station| station.octets()),
            field: case.field.as_ref()?.expose(),
        })
    }
}
