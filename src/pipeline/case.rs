//! One request on its way: what is known of it so far, and what it holds until it ends.

use super::{Served, Tables, evidence};
use crate::audit::Line;
use crate::authenticate::Matched;
use crate::clock::{Moment, Mono};
use crate::identity::{OperationName, RequestId, TokenSerial, UserName};
use crate::listen::{Arrival, ReturnAddress};
use crate::outcome::{Reason, Verdict};
use crate::policy::{Client, Requirement};
use crate::radius::{self, ReplyContent, ReplyTo};
use crate::secret::PasswordField;
use crate::state::challenges::StateValue;
use crate::state::{Challenge, Mark, Marks, Place, TokenMark, Use, duplicates};
use crate::tokens::{TOKENS_MAX, User};
use arrayvec::ArrayVec;
use std::sync::Arc;
use std::time::Duration;

/// A request that has passed the signature check and is being judged.
///
/// Dropping it gives back its place, its claims and its entry among the duplicates: nobody was answered, nothing was
/// used up, and a retransmission is judged anew.
pub struct Case {
    /// Names the request in logs and evidence.
    pub id: RequestId,
    /// Who asks.
    pub client: Arc<Client>,
    pub(super) served: Arc<Served>,
    /// When the datagram arrived: the moment that codes are judged at.
    pub at: Moment,
    /// The name as sent, in the form the client declares.
    pub user_name: Option<UserName>,
    /// The user, once found.
    pub user: Option<Arc<User>>,
    /// What is being approved.
    pub operation: Option<OperationName>,
    pub(super) requirement: Requirement,
    pub(super) from: ReturnAddress,
    pub(super) calling_station: Option<UserName>,
    pub(super) signed: bool,
    pub(super) user_hash: u64,
    pub(super) field: Option<PasswordField>,
    /// What the first step brought, and the State it was found by: given back if we cannot judge.
    pub(super) first_step: Option<(StateValue, PasswordField)>,
    pub(super) claims: ArrayVec<Use, TOKENS_MAX>,
    pub(super) matched: Option<(TokenSerial, Matched)>,
    /// The token that this request's code puts into service, once everything else is right.
    pub(super) confirms: Option<TokenSerial>,
    /// Whether the directory was asked to put it into service.
    pub(super) confirmed: bool,
    /// Whether the password stands in the place of a code.
    pub(super) instead: bool,
    pub(super) clock_off: Option<i64>,
    pub(super) decoy: Option<Reason>,
    pub(super) locks: bool,
    pub(super) guessed_code: bool,
    to: ReplyTo,
    key: duplicates::Key,
    tables: Tables,
    /// What a token was before its code was settled, and the version since: for taking it back.
    pub(super) settled: Option<(TokenMark, u32)>,
    marks: Marks,
    place: Option<Place>,
    ended: bool,
}

/// A judged request: what the journal keeps of it, and what then leaves.
pub struct Finished {
    /// What must be durable before the reply leaves.
    pub marks: Marks,
    /// The line for the audit log, to which only the time it took is missing.
    pub evidence: Line,
    /// What leaves, and what is counted when it does.
    pub outgoing: Outgoing,
}

/// A reply on its way out, or the silence that stands for it.
pub struct Outgoing {
    /// The octets and where they go; `None` when nobody gets an answer.
    pub reply: Option<(ReturnAddress, Vec<u8>)>,
    /// A reject does not leave before this time, whatever its cause.
    pub not_before: Option<Mono>,
    /// Why.
    pub reason: Reason,
    /// Whose counters it goes to.
    pub served: Arc<Served>,
    /// When the request arrived.
    pub at: Moment,
    /// From the arrival until the mark was durable; the delay of rejects is not in it.
    pub elapsed: Duration,
    /// Whether this failure locked the user.
    pub locks: bool,
    /// Which request this answers.
    pub id: RequestId,
    key: duplicates::Key,
    tables: Tables,
    settled: Option<(TokenMark, u32)>,
    sent: bool,
    // Held until the reply is ready to leave.
    place: Option<Place>,
}

/// What a request holds from the moment it is known to be no retransmission.
pub(super) struct Entered {
    /// Its name.
    pub id: RequestId,
    /// Its entry among the duplicates.
    pub key: duplicates::Key,
    /// Its place among the requests in flight.
    pub place: Place,
}

impl Case {
    pub(super) fn new(
        entered: Entered,
        client: &Arc<Client>,
        served: &Arc<Served>,
        to: ReplyTo,
        arrival: &Arrival<'_>,
        tables: Tables,
    ) -> Box<Case> {
        let Entered { id, key, place } = entered;
        Box::new(Case {
            id,
            client: Arc::clone(client),
            served: Arc::clone(served),
            at: arrival.at,
            user_name: None,
            user: None,
            operation: None,
            requirement: Requirement::Required,
            from: arrival.from,
            calling_station: None,
            signed: false,
            user_hash: 0,
            field: None,
            first_step: None,
            claims: ArrayVec::new(),
            matched: None,
            confirms: None,
            confirmed: false,
            instead: false,
            clock_off: None,
            decoy: None,
            locks: false,
            guessed_code: false,
            to,
            key,
            tables,
            settled: None,
            marks: Marks::new(),
            place: Some(place),
            ended: false,
        })
    }

    /// When the client stops waiting: nothing is begun whose answer would come later.
    pub fn deadline(&self) -> Mono {
        self.client.patience.deadline(self.at.mono)
    }

    /// Whether a newer request has taken this one's identifier: its answer would not be sent (RFC 5080 §2.2.2).
    pub fn is_superseded(&self) -> bool {
        !self.tables.passing.duplicates.is_current(self.key, self.id)
    }

    pub(super) fn mark(&mut self, mark: Mark) {
        // There is room for every mark that one request can make; see `Marks`.
        let _ = self.marks.try_push(mark);
    }

    /// The end user's address as the gateway gives it: whose failures are throttled.
    pub(super) fn source(&self) -> Option<(u16, &[u8])> {
        self.calling_station.as_ref().map(|station| (self.served.slot, station.octets()))
    }

    /// What was typed, for telling one wrong credential from the next.
    pub(super) fn credential_for_fingerprint(&self) -> &[u8] {
        self.field.as_ref().map(PasswordField::expose).unwrap_or_default()
    }

    pub(super) fn peer(&self) -> std::net::SocketAddr {
        self.from.peer
    }

    /// Ends the case with an answer.
    pub(super) fn finish(
        mut self: Box<Case>,
        reason: Reason,
        content: &ReplyContent<'_>,
    ) -> Result<Finished, (Arc<Served>, Reason)> {
        let secret = self.client.secrets.secret(self.to.which_secret());
        let encoded = secret
            .ok_or(Reason::MessageAuthenticatorBad)
            .and_then(|secret| radius::encode(&self.to, secret, content));
        match encoded {
            Ok(octets) => Ok(self.end(reason, Some(octets))),
            // Dropping the case gives everything back.
            Err(reason) => Err((Arc::clone(&self.served), reason)),
        }
    }

    /// Ends the case without an answer: nothing is used up.
    pub(super) fn give_up(&mut self, reason: Reason) -> Finished {
        self.release();
        self.end(reason, None)
    }

    fn end(&mut self, reason: Reason, octets: Option<Vec<u8>>) -> Finished {
        let evidence = evidence::line(self, reason);
        let answered = octets.is_some();
        let finished = Finished {
            marks: std::mem::take(&mut self.marks),
            evidence,
            outgoing: Outgoing {
                not_before: (reason.verdict() == Verdict::Reject).then(|| self.reject_time()),
                reply: octets.map(|octets| (self.from, octets)),
                reason,
                served: Arc::clone(&self.served),
                at: self.at,
                elapsed: Duration::ZERO,
                locks: self.locks,
                id: self.id,
                key: self.key,
                tables: self.tables.clone(),
                settled: self.settled.take(),
                sent: false,
                place: self.place.take(),
            },
        };
        // From here on the outgoing reply answers for the duplicates' entry.
        self.ended = answered;
        finished
    }

    /// The floor under every reject, with up to an eighth more that nobody can predict.
    fn reject_time(&self) -> Mono {
        let delay = self.client.profile.reject_delay.duration();
        let jitter = jitter(self.to.authenticator()).mul_f64(delay.as_secs_f64() / 8.0);
        self.at.mono.plus(delay).plus(jitter)
    }

    /// Gives back what a later attempt needs: the code, and the State of the first step.
    fn release(&mut self) {
        if let Some((state, password)) = self.first_step.take().filter(|_| !self.ended) {
            let expires = self.at.mono.plus(self.client.profile.challenge_lifetime.duration());
            let challenge = Challenge { client: self.served.slot, user: self.user_hash, password, expires };
            self.tables.passing.challenges.reopen(state, challenge);
        }
        for used in std::mem::take(&mut self.claims) {
            self.tables.durable.tokens.release(used.token, self.id);
        }
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        self.release();
        if !self.ended {
            for mark in &self.marks {
                if let Mark::Pin(source) = mark {
                    self.tables.durable.pins.unpin(*source);
                }
            }
            self.tables.passing.duplicates.forget(self.key, self.id);
        }
    }
}

impl Outgoing {
    /// It could not be made durable and will not leave: the code is not used up.
    pub fn take_back(&mut self) {
        if let Some((before, version)) = self.settled.take() {
            self.tables.durable.tokens.take_back(&before, version);
        }
    }

    /// Judged, and only waiting for its time: it takes nobody's place any more. How many may wait is bounded where they
    /// wait, so that a storm of wrong codes does not keep the right ones of the same gateway out.
    pub fn free_place(&mut self) {
        self.place = None;
    }

    /// The last look before the octets leave: keeps them for retransmissions. `None` if a newer request has taken the
    /// identifier, or if there is nothing to send.
    pub fn leave(&mut self, now: Mono) -> Option<(ReturnAddress, &[u8])> {
        let (to, octets) = self.reply.as_ref()?;
        if self.tables.passing.duplicates.answer(self.key, self.id, octets, now) {
            self.sent = true;
            Some((*to, octets))
        } else {
            None
        }
    }
}

impl Drop for Outgoing {
    /// A reply that never left is forgotten, so that the retransmission is not taken for one in flight.
    fn drop(&mut self) {
        if !self.sent {
            self.tables.passing.duplicates.forget(self.key, self.id);
        }
    }
}

/// A fraction of a second that depends on the request's own random octets: nobody can tell it beforehand without
/// having sent them, and it says nothing about the cause.
fn jitter(authenticator: &[u8; 16]) -> Duration {
    let folded =
        authenticator.iter().fold(0_u64, |sum, &octet| sum.wrapping_mul(31).wrapping_add(octet.into()));
    Duration::from_nanos(folded % 1_000_000_000)
}
