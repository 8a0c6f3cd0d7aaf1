//! One request on its way: what is known of it so far, and what it holds until it ends.

use super::shared::Joint;
use super::{Served, Tables, evidence};
use crate::authenticate::Matched;
use crate::clock::{Moment, Mono};
use crate::identity::{OperationName, RequestId, UserName};
use crate::listen::{Arrival, ReturnAddress};
use crate::outcome::{Reason, Verdict};
use crate::policy::{Client, ReplyText, Requirement};
use crate::radius::{self, PacketOctets, ReplyContent, ReplyTo};
use crate::secret::PasswordField;
use crate::state::challenges::StateValue;
use crate::state::{Challenge, Mark, Marks, Place, Proof, TokenMark, Use, duplicates};
use crate::store::Entries;
use crate::tokens::{KeptToken, KeptUser, TOKENS_MAX};
use arrayvec::ArrayVec;
use std::sync::Arc;
use std::time::Duration;

/// A request that has passed the signature check and is being judged.
///
/// Dropping it gives back everything it holds: nobody was answered, nothing was used up, and a retransmission is judged
/// anew. It stays in one place while it is judged; only one that has to wait for the directory is put into a box.
pub struct Case {
    /// Names the request in logs and evidence.
    pub id: RequestId,
    /// Who asks.
    pub client: Arc<Client>,
    /// When the datagram arrived: the moment that codes are judged at.
    pub at: Moment,
    /// The name as sent, in the form the client declares.
    pub user_name: Option<UserName>,
    /// The user, once found.
    pub user: Option<Arc<KeptUser>>,
    /// What is being approved.
    pub operation: Option<OperationName>,
    pub(super) served: Arc<Served>,
    pub(super) requirement: Requirement,
    pub(super) calling_station: Option<UserName>,
    pub(super) signed: bool,
    pub(super) user_hash: u64,
    pub(super) field: Option<PasswordField>,
    /// What the first step brought, and the State it was found by: given back if we cannot judge.
    pub(super) first_step: Option<(StateValue, PasswordField)>,
    pub(super) claims: ArrayVec<Use, TOKENS_MAX>,
    pub(super) matched: Option<Matched>,
    /// What is kept when the directory calls the password right.
    pub(super) proof: Option<Proof>,
    /// Whether it need not be asked.
    pub(super) proven: bool,
    /// Whether the directory was asked to take the token into service, because this is its first correct code.
    pub(super) confirmed: bool,
    /// Whether the password stands in the place of a code.
    pub(super) instead: bool,
    pub(super) clock_off: Option<i64>,
    pub(super) decoy: Option<Reason>,
    pub(super) locks: bool,
    pub(super) guessed_code: bool,
    /// What a token was before its code was settled, and the version since: for taking it back.
    pub(super) settled: Option<(TokenMark, u32)>,
    /// What goes on with other nodes about it; absent where there are none.
    pub(super) joint: Option<Box<Joint>>,
    from: ReturnAddress,
    pub(super) to: ReplyTo,
    marks: Marks,
    /// Until the request ends, and its reply takes this over.
    held: Option<Held>,
}

/// What leaves when the entry of a judged request is durable: a reply, or the silence that stands for it.
pub struct Outgoing {
    /// The octets and where they go; `None` when nobody gets an answer.
    pub reply: Option<(ReturnAddress, PacketOctets)>,
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
    settled: Option<(TokenMark, u32)>,
    held: Held,
}

/// What a request holds from the moment it is known to be no retransmission: its place among the requests in flight, and
/// its entry among the duplicates, which is forgotten if no reply ever leaves.
pub(super) struct Held {
    /// The request's name.
    pub id: RequestId,
    /// Its entry among the duplicates.
    pub key: duplicates::Key,
    /// Its place among the requests in flight; given back when the reply is ready to leave.
    pub place: Option<Place>,
    /// Where both are.
    pub tables: Arc<Tables>,
    /// Whether a reply has left.
    answered: bool,
}

impl Held {
    /// Of a request that has just been entered.
    pub fn new(id: RequestId, key: duplicates::Key, place: Place, tables: &Arc<Tables>) -> Held {
        Held { id, key, place: Some(place), tables: Arc::clone(tables), answered: false }
    }
}

impl Case {
    pub(super) fn new(
        held: Held,
        client: &Arc<Client>,
        served: &Arc<Served>,
        to: ReplyTo,
        arrival: &Arrival<'_>,
    ) -> Case {
        Case {
            id: held.id,
            client: Arc::clone(client),
            at: arrival.at,
            user_name: None,
            user: None,
            operation: None,
            served: Arc::clone(served),
            requirement: Requirement::Required,
            calling_station: None,
            signed: false,
            user_hash: 0,
            field: None,
            first_step: None,
            claims: ArrayVec::new(),
            matched: None,
            proof: None,
            proven: false,
            confirmed: false,
            instead: false,
            clock_off: None,
            decoy: None,
            locks: false,
            guessed_code: false,
            settled: None,
            joint: None,
            from: arrival.from,
            to,
            marks: Marks::new(),
            held: Some(held),
        }
    }

    /// When the client stops waiting: nothing is begun whose answer would come later.
    pub fn deadline(&self) -> Mono {
        self.client.patience.deadline(self.at.mono)
    }

    /// Whether a newer request has taken this one's identifier: its answer would not be sent (RFC 5080 §2.2.2).
    pub fn is_superseded(&self) -> bool {
        self.held.as_ref().is_none_or(|held| !held.tables.passing.duplicates.is_current(held.key, held.id))
    }

    pub(super) fn mark(&mut self, mark: Mark) {
        // There is room for every mark that one request can make; see `Marks`.
        let _ = self.marks.try_push(mark);
    }

    /// The source that this request has pinned, if it was the first signed one.
    pub(super) fn pinned(&self) -> Option<std::net::IpAddr> {
        self.marks.iter().find_map(|mark| if let Mark::Pin(source) = mark { Some(*source) } else { None })
    }

    /// The same for a slot that may have a mark already, which it replaces.
    pub(super) fn mark_anew(&mut self, mark: Mark) {
        let same = |held: &Mark| match (held, &mark) {
            (Mark::User(held), Mark::User(mark)) => held.user == mark.user,
            (Mark::Token(held), Mark::Token(mark)) => held.token == mark.token,
            _ => false,
        };
        self.marks.retain(|held| !same(held));
        self.mark(mark);
    }

    /// The end user's address as the gateway gives it: whose failures are throttled.
    pub(super) fn source(&self) -> Option<(u16, &[u8])> {
        self.calling_station.as_ref().map(|station| (self.served.slot, station.octets()))
    }

    /// What was typed, for telling one wrong credential from the next.
    pub(super) fn credential_for_fingerprint(&self) -> &[u8] {
        self.field.as_ref().map(PasswordField::expose).unwrap_or_default()
    }

    /// The token whose code was right, and which of its codes it was.
    pub(super) fn matched(&self) -> Option<(KeptToken<'_>, Matched)> {
        let matched = self.matched?;
        Some((self.user.as_ref()?.token(matched.token)?, matched))
    }

    pub(super) fn peer(&self) -> std::net::SocketAddr {
        self.from.peer
    }

    /// Ends the case with an answer, and writes its entry for the journal.
    ///
    /// # Errors
    /// The answer cannot be written. Dropping the case then gives everything back.
    pub(super) fn answer(&mut self, ending: Ending, entries: &mut Entries) -> Result<Outgoing, Reason> {
        let octets = self.encode(&ending.say)?;
        self.end(ending.reason, Some(octets), entries)
    }

    /// The octets of an answer.
    pub(super) fn encode(&self, say: &Say) -> Result<PacketOctets, Reason> {
        let secret = self.client.secrets.secret(self.to.which_secret());
        let secret = secret.ok_or(Reason::MessageAuthenticatorBad)?;
        let texts = &self.client.profile.texts;
        let content = match say {
            Say::Accept => ReplyContent::ACCEPT,
            Say::Reject => ReplyContent::Reject { message: texts.reject.as_ref().map(ReplyText::as_str) },
            Say::Challenge(state) => ReplyContent::Challenge {
                message: texts.challenge.as_ref().map(ReplyText::as_str),
                state,
                session_timeout: Some(self.client.profile.challenge_lifetime.duration()),
            },
        };
        radius::encode(&self.to, secret, &content)
    }

    /// Ends the case without an answer: nothing is used up, and the evidence says why.
    pub(super) fn give_up(&mut self, reason: Reason, entries: &mut Entries) -> Result<Outgoing, Reason> {
        self.reopen();
        self.end(reason, None, entries)
    }

    /// Ends the case with these octets, or without an answer.
    pub(super) fn end(
        &mut self,
        reason: Reason,
        octets: Option<PacketOctets>,
        entries: &mut Entries,
    ) -> Result<Outgoing, Reason> {
        entries.push(&self.marks, |out| evidence::write(out, self, reason));
        self.release_claims();
        // From here on the reply answers for what was held.
        let held = self.held.take().ok_or(reason)?;
        Ok(Outgoing {
            reply: octets.map(|octets| (self.from, octets)),
            not_before: (reason.verdict() == Verdict::Reject).then(|| self.reject_time()),
            reason,
            served: Arc::clone(&self.served),
            at: self.at,
            elapsed: Duration::ZERO,
            locks: self.locks,
            settled: self.settled.take(),
            held,
        })
    }

    /// The floor under every reject, with up to an eighth more that nobody can predict.
    fn reject_time(&self) -> Mono {
        let delay = self.client.profile.reject_delay.duration();
        let jitter = jitter(self.to.authenticator()).mul_f64(delay.as_secs_f64() / 8.0);
        self.at.mono.plus(delay).plus(jitter)
    }

    /// Gives back the State of the first step: a later attempt needs it.
    fn reopen(&mut self) {
        let Some(held) = &self.held else { return };
        if let Some((state, password)) = self.first_step.take() {
            let expires = self.at.mono.plus(self.client.profile.challenge_lifetime.duration());
            let challenge = Challenge { client: self.served.slot, user: self.user_hash, password, expires };
            held.tables.passing.challenges.reopen(state, challenge);
        }
    }

    /// Gives back codes that were claimed and not settled.
    fn release_claims(&mut self) {
        let Some(held) = &self.held else { return };
        for used in self.claims.drain(..) {
            held.tables.durable.tokens.release(used.token, self.id);
        }
    }
}

impl Drop for Case {
    /// If it has not ended: nobody was answered.
    fn drop(&mut self) {
        self.reopen();
        self.release_claims();
        let Some(held) = &self.held else { return };
        for mark in &self.marks {
            if let Mark::Pin(source) = mark {
                held.tables.durable.pins.unpin(*source);
            }
        }
    }
}

/// How a judged request is answered.
#[derive(Clone, Copy)]
pub(super) struct Ending {
    /// Why.
    pub reason: Reason,
    /// What the gateway is told.
    pub say: Say,
}

/// What a gateway is told; texts and times are the profile's.
#[derive(Clone, Copy)]
pub(super) enum Say {
    /// The user may.
    Accept,
    /// The user may not.
    Reject,
    /// The second step is asked for, under this State.
    Challenge(StateValue),
}

impl Outgoing {
    /// Which request this answers.
    pub fn id(&self) -> RequestId {
        self.held.id
    }

    /// It could not be made durable and will not leave: the code is not used up.
    pub fn take_back(&mut self) {
        if let Some((before, version)) = self.settled.take() {
            self.held.tables.durable.tokens.take_back(&before, version);
        }
    }

    /// Judged, and only waiting for its time: it takes nobody's place any more. How many may wait is bounded where they
    /// wait, so that a storm of wrong codes does not keep the right ones of the same gateway out.
    pub fn free_place(&mut self) {
        self.held.place = None;
    }

    /// The last look before the octets leave: keeps them for retransmissions. `None` if a newer request has taken the
    /// identifier, or if there is nothing to send.
    pub fn leave(&mut self, now: Mono) -> Option<(ReturnAddress, &[u8])> {
        let (to, octets) = self.reply.as_ref()?;
        let Held { id, key, tables, answered, .. } = &mut self.held;
        *answered = tables.passing.duplicates.answer(*key, *id, octets, now);
        answered.then_some((*to, octets))
    }
}

impl Drop for Held {
    /// A request that was never answered is forgotten, so that its retransmission is judged anew.
    fn drop(&mut self) {
        if !self.answered {
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
