//! One request from bytes to reply; the only place that knows the order of steps.
//!
//! A request is a value that is moved forward without waiting for anything:
//!
//! ```text
//! begin(datagram)          ─┬─▶ Silent              nobody gets an answer; one counter says why
//! resume(case, the answer) ─┤
//!                           ├─▶ Resend              a retransmission: the same octets again
//!                           ├─▶ Done                an entry for the journal, then the reply
//!                           └─▶ Ask                 the directory or the nodes' engine is asked; then `resume`
//! ```
//!
//! What the daemon knows in memory is judged at once, on the worker that received it. Only a search, a bind, the
//! confirmation of a token or the engine that nodes share makes a request wait, and then it waits here as a [`Case`], not
//! as a thread. Dropping a case gives back everything it holds: its place, its claim on the code, its entry among the
//! duplicates. Nothing was used up, nobody was answered.
//!
//! [`drive`] is the other half: it carries out what a step says, with the journal, the sockets and the directory.

mod asking;
mod budget;
mod case;
mod conclusion;
pub mod drive;
pub mod evidence;
mod notices;
mod operators;
mod settings;
mod shared;

use budget::Hints;
pub use case::{Case, Outgoing};
use case::{Ending, Held, Say};
pub use settings::{CLIENTS_MAX, Served, Settings, SettingsError};

use crate::authenticate::{
    Contracted, Counts, Decision, Facts, Matched, Refusal, Stage, decide, refuse_stranger,
};
use crate::clock::Moment;
use crate::cluster::{self, Cluster, Lost, NoteKey, Settled, Term, Then};
use crate::directory::registry::{Confirmed, NotChanged};
use crate::directory::{Found, PasswordAnswer, Unavailable};
use crate::identity::{RequestId, TokenSerial, UserName};
use crate::listen::{Arrival, ReturnAddress};
use crate::lockout::{Failure, Rules};
use crate::metrics::{ClientMetrics, Metrics, SecretUsed};
use crate::otp::Moving;
use crate::outcome::{Reason, Verdict};
use crate::policy::{Client, ContractRule, PasswordCheck, Profile, WrongPassword};
use crate::radius::{
    Credential, Demand, Kind, Packet, PacketOctets, Pinned, ReplyContent, ReplyTo, Request, Signature,
    WhichSecret,
};
use crate::secret::{PasswordField, Secret};
use crate::state::challenges::StateValue;
use crate::state::contracts;
use crate::state::{
    Admission, Bindings, Challenge, Claimed, Counted, Durable, Guess, Known, Logins, Look, Mark, Passing,
    Seen, TimeGuard, Use, admission, duplicates, renewal,
};
use crate::store::Entries;
use crate::tokens::{KeptToken, KeptUser, Standing, TOKENS_MAX};
use arc_swap::ArcSwap;
use arrayvec::ArrayVec;
use conclusion::Conclusion;
use notices::Notices;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Everything a judgement needs, shared by all workers.
pub struct Pipeline {
    settings: ArcSwap<Settings>,
    tables: Arc<Tables>,
    metrics: Arc<Metrics>,
    /// The next request's number; its upper half tells one start of the daemon from the next.
    next: AtomicU64,
    names: ahash::RandomState,
    hints: Hints,
    notices: Notices,
    /// Accepted logins whose answer may be asked for again.
    logins: Logins,
    /// The engine that several nodes share, if there are several.
    cluster: Option<Arc<Cluster>>,
    /// Whether answers can leave (journal, audit, not stopping): as of the housekeeper's last look.
    ready: AtomicBool,
    /// Whether a server of the directory answers: as of the housekeeper's last look.
    directory_answers: AtomicBool,
}

/// Failures of one end-user address within a minute after which it is refused without counting against the users it
/// names: more than any one person mistypes.
pub const SOURCE_FAILURES_MAX: u32 = 20;

/// The memory that the pipeline works on.
pub struct Tables {
    /// What survives a restart.
    pub durable: Arc<Durable>,
    /// What ends with the process.
    pub passing: Arc<Passing>,
    /// What the directory says.
    pub bindings: Arc<Bindings>,
    /// Requests in flight.
    pub admission: Arc<Admission>,
    /// Whether the clock can be trusted.
    pub time_guard: Arc<TimeGuard>,
}

/// What to do next with a datagram or a case.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are replies, and a box would cost each an allocation"
)]
pub enum Step {
    /// Nothing leaves; it is counted already.
    Silent,
    /// A retransmission: these octets once more.
    Resend(ReturnAddress, PacketOctets),
    /// Judged: make the entry durable that was added, then let this go.
    Done(Outgoing),
    /// The directory, or the engine that nodes share, has to be asked first.
    Ask(Box<Case>, Question),
}

/// What the judgement has come to, for now.
enum Next {
    /// Answer it.
    Answer(Ending),
    /// Answer it with these octets, on which several nodes have agreed.
    Agreed(Reason, PacketOctets),
    /// We cannot judge it: nobody gets an answer, nothing is used up, and the evidence says why.
    GiveUp(Reason),
    /// Ask first.
    Ask(Question),
}

/// What the directory is asked, or the engine that nodes share.
pub enum Question {
    /// Who has this name?
    Find(Box<UserName>),
    /// Is this the user's password? Never empty.
    Password(Arc<KeptUser>, Secret),
    /// The shared engine: may this happen?
    Settle(Term, Box<cluster::Step>),
    /// The shared engine: what does this note say?
    Note(NoteKey, Then),
    /// Take the user's token, whose first correct code this was, into service (S-15).
    Confirm(Arc<KeptUser>, TokenSerial),
}

/// What they said.
pub enum Answer {
    /// To [`Question::Find`].
    Found(Result<Found, Unavailable>),
    /// To [`Question::Password`].
    Password(Result<PasswordAnswer, Unavailable>),
    /// To [`Question::Settle`].
    Settled(Result<Settled, Lost>),
    /// To [`Question::Note`].
    Note(Result<Option<Secret>, Lost>),
    /// To [`Question::Confirm`].
    Confirmed(Result<Confirmed, NotChanged>),
}

impl Pipeline {
    /// A pipeline over the given memory; `first_request` tells this start of the daemon from earlier ones.
    pub fn new(settings: Settings, tables: Tables, metrics: Arc<Metrics>, first_request: u64) -> Pipeline {
        Pipeline {
            settings: ArcSwap::from_pointee(settings),
            tables: Arc::new(tables),
            metrics,
            next: AtomicU64::new(first_request),
            names: ahash::RandomState::new(),
            hints: Hints::default(),
            notices: Notices::default(),
            logins: Logins::default(),
            cluster: None,
            ready: AtomicBool::new(true),
            directory_answers: AtomicBool::new(true),
        }
    }

    /// The same together with other nodes.
    #[must_use]
    pub fn with(self, cluster: Option<Arc<Cluster>>) -> Pipeline {
        Pipeline { cluster, ..self }
    }

    /// Replaces what configuration decides; requests in flight end under the settings they began with.
    pub fn reload(&self, settings: Settings) {
        self.settings.store(Arc::new(settings));
    }

    /// The settings in force.
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// The number of the next request or act: unique within a state directory.
    pub fn next_request(&self) -> RequestId {
        RequestId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Everything that is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The memory that the pipeline works on.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// A datagram has arrived. Cheap checks come first, and nothing is remembered of a packet that has not passed
    /// the signature check (standards.md 1.1). What the journal keeps of it is added to `entries`.
    pub fn begin(&self, arrival: &Arrival<'_>, entries: &mut Entries) -> Step {
        let settings = self.settings.load();
        let stranger = self.metrics.unknown_client();
        if let Err(reason) = Packet::peek(arrival.octets) {
            return self.dropped(stranger, reason, arrival.at);
        }
        let client = settings.clients.find(arrival.from.peer.ip());
        let Some((client, served)) =
            client.and_then(|client| Some((client, settings.served.get(usize::from(client.number))?)))
        else {
            return self.dropped(stranger, Reason::ClientUnknown, arrival.at);
        };
        self.receive(&settings, client, served, arrival, entries)
            .unwrap_or_else(|reason| self.dropped(&served.counters, reason, arrival.at))
    }

    /// Whoever was asked has answered, or could not.
    pub fn resume(&self, mut case: Box<Case>, answer: Answer, now: Moment, entries: &mut Entries) -> Step {
        let next = match answer {
            Answer::Found(Ok(found)) => {
                let known = match found {
                    Found::One(user) => Known::One(user),
                    Found::Nobody => Known::Nobody,
                    Found::Several => Known::Several,
                };
                self.judge(&mut case, known)
            }
            Answer::Password(Ok(answer)) => self.settle(&mut case, answer, now),
            Answer::Settled(answer) => self.agreed(&mut case, answer),
            Answer::Note(answer) => self.noted(&mut case, answer),
            Answer::Confirmed(Ok(Confirmed::Yes)) => self.conclude(&mut case, Conclusion::Right(now)),
            // It was ended or suspended in this moment: the code was right, and it is used up.
            Answer::Confirmed(Ok(Confirmed::NotAwaited)) => {
                self.conclude(&mut case, Conclusion::Burned(Refusal::free(Reason::NoToken)))
            }
            Answer::Confirmed(Err(NotChanged::Unavailable(Unavailable::TooLate))) => {
                Next::GiveUp(Reason::DirectoryTooLate)
            }
            Answer::Confirmed(Err(_)) => Next::GiveUp(Reason::NotConfirmed),
            Answer::Found(Err(unavailable)) | Answer::Password(Err(unavailable)) => {
                Next::GiveUp(match unavailable {
                    Unavailable::Unreachable => Reason::DirectoryUnreachable,
                    Unavailable::TooLate => Reason::DirectoryTooLate,
                })
            }
        };
        match self.go_on(&mut case, next, entries) {
            Ok(step) => step,
            Err(question) => Step::Ask(case, question),
        }
    }

    /// From a known client's datagram to a case: structure, signature, retransmission, credential, operation.
    fn receive(
        &self,
        settings: &Settings,
        client: &Arc<Client>,
        served: &Arc<Served>,
        arrival: &Arrival<'_>,
        entries: &mut Entries,
    ) -> Result<Step, Reason> {
        let source = arrival.from.peer.ip();
        let packet = Packet::parse_request(arrival.octets, settings.attributes_max)?;
        let pinnable = client.signature.require == Demand::Pinnable;
        let pinned = pinnable && self.tables.durable.pins.is_pinned(source);
        let pinned = if pinned { Pinned::Yes } else { Pinned::No };
        let request = Request::receive(packet, &client.secrets, &client.signature, pinned)?;
        if let Signature::Verified(which) = request.signature {
            served.counters.secret.at(secret_used(which)).inc();
        }
        let to = ReplyTo::new(&request)?;
        if request.kind == Kind::StatusServer {
            return self.answer_status_server(client, &served.counters, arrival, &to);
        }
        let most = usize::try_from(client.in_flight_max).unwrap_or(usize::MAX);
        let place = self.tables.admission.enter(served.slot, most).map_err(|refused| match refused {
            admission::Refused::Share => Reason::ClientShare,
            admission::Refused::Full => Reason::Overload,
        })?;

        let id = self.next_request();
        let key = duplicates::Key {
            peer: arrival.from.peer,
            socket: arrival.from.socket.0,
            identifier: to.identifier(),
            client: served.slot,
        };
        let duplicates = &self.tables.passing.duplicates;
        match duplicates.enter(key, to.authenticator(), request.packet.octets(), id, arrival.at.mono) {
            Seen::Never => {}
            Seen::Answered(reply) => {
                self.metrics.duplicate(&served.counters);
                return Ok(Step::Resend(arrival.from, reply));
            }
            Seen::InFlight => return Err(Reason::DuplicateInFlight),
            Seen::Differs => return Err(Reason::DuplicateDiffers),
            Seen::Full => return Err(Reason::TableFull),
        }
        let held = Held::new(id, key, place, &self.tables);
        let mut case = Case::new(held, client, served, to, arrival);
        self.join(&mut case)?;
        if let Signature::Verified(_) = request.signature {
            case.signed = true;
            if pinnable && self.tables.durable.pins.pin(source) {
                case.mark(Mark::Pin(source));
            }
        }
        let next = match request.credential(&client.secrets) {
            Ok(credential) => self.take_up(&mut case, &request, credential)?,
            Err(reason) if reason.verdict() == Verdict::Drop => return Err(reason),
            Err(reason) => {
                case.user_name = request.user_name();
                self.conclude(&mut case, Conclusion::Refused(Refusal::free(reason)))
            }
        };
        match self.go_on(&mut case, next, entries) {
            Ok(step) => Ok(step),
            Err(question) => Ok(Step::Ask(Box::new(case), question)),
        }
    }

    /// Everything that was sent is in order: what does it ask for, and may this source ask at all?
    fn take_up(
        &self,
        case: &mut Case,
        request: &Request<'_>,
        credential: Credential<'_>,
    ) -> Result<Next, Reason> {
        case.calling_station = credential.calling_station.and_then(UserName::new);
        let user_name = case.client.user_name.apply(credential.user_name);
        let user = self.names.hash_one(user_name.octets());
        let name = case.user_name.insert(user_name);
        case.field = Some(credential.password);
        let Some((operation, requirement)) = case.client.profile.operation(&request.packet) else {
            return Ok(self.refuse(case, Reason::OperationUnknown));
        };
        case.operation = Some(operation.clone());
        case.requirement = requirement;

        if !self.trusts_clock(case.at) {
            return Ok(Next::GiveUp(Reason::ClockGuarded));
        }
        let known = self.tables.bindings.look_up(name, case.at.mono);
        case.user_hash = user;
        if let Some(state) = credential.state {
            let taken = self.tables.passing.challenges.take(state, case.served.slot, user, case.at.mono);
            let Some((state, challenge)) = taken else {
                return Ok(self.opened_elsewhere(case, state));
            };
            case.first_step = Some((state, challenge.password));
        }
        Ok(self.admit(case, known))
    }

    /// May this source ask at all?
    fn admit(&self, case: &mut Case, known: Known) -> Next {
        if self.is_throttled(case) {
            return self.refuse(case, Reason::Throttled);
        }
        self.judge(case, known)
    }

    /// Refuses the user for what costs nothing.
    fn refuse(&self, case: &mut Case, reason: Reason) -> Next {
        self.conclude(case, Conclusion::Refused(Refusal::free(reason)))
    }

    /// Who is meant is known: decide, and claim the codes that were right.
    fn judge(&self, case: &mut Case, known: Known) -> Next {
        let user = match known {
            Known::One(user) => case.user.insert(user),
            Known::Nobody => return self.refuse_stranger(case, Reason::UserUnknown),
            Known::Several => return self.refuse_stranger(case, Reason::UserAmbiguous),
            Known::Ask => {
                return match &case.user_name {
                    Some(name) => Next::Ask(Question::Find(Box::new(name.clone()))),
                    None => Next::GiveUp(Reason::UserNameMissing),
                };
            }
            Known::Stale => return Next::GiveUp(Reason::DirectoryStale),
        };
        let user = Arc::clone(user);
        if !case.signed && self.is_throttled(case) {
            return self.refuse(case, Reason::Throttled);
        }
        // The answer to a challenge is a guess of a code, whatever it looks like (CHL-08).
        case.guessed_code = case.first_step.is_some();
        let Some(field) = &case.field else {
            return Next::GiveUp(Reason::CredentialMissingUnsigned);
        };
        let Some(contract) = self.contracted(&user, &case.client.profile, case.at) else {
            return Next::GiveUp(Reason::ContractsUnknown);
        };
        let tokens = user.tokens();
        let pasts: ArrayVec<_, TOKENS_MAX> =
            tokens.all().iter().map(|token| self.tables.durable.past(token)).collect();
        let facts = Facts {
            profile: &case.client.profile,
            requirement: case.requirement,
            account: user.account(),
            login_code: user.login_code(),
            tokens: &tokens,
            contract,
            lockout: self.tables.durable.users.lockout(user.id(), case.at.wall),
            pasts: &pasts,
            field: field.expose(),
            stage: stage(case.first_step.as_ref()),
            now: case.at.wall,
            clock_hint: self.hints.clock_hint(case.at),
        };
        match decide(&facts) {
            Decision::Accept(reason) => self.conclude(case, Conclusion::Accepted(reason)),
            Decision::Reject(refusal) => self.conclude(case, Conclusion::Refused(refusal)),
            Decision::Challenge(refusal) => self.conclude(case, Conclusion::Challenged(refusal)),
            Decision::PasswordInstead(octets) => {
                let password = match case.client.encoding.read(octets) {
                    Ok(password) => password,
                    Err(unreadable) => return self.refuse(case, unreadable.into()),
                };
                case.instead = true;
                Next::Ask(Question::Password(Arc::clone(&user), password))
            }
            Decision::Verify { codes, password } => {
                let password = match password.map(|octets| case.client.encoding.read(octets)) {
                    None => None,
                    Some(Ok(password)) => Some(password),
                    Some(Err(unreadable)) => return self.refuse(case, unreadable.into()),
                };
                if case.is_in_doubt(tokens.all(), &codes) {
                    return Next::GiveUp(Reason::ClusterCatchingUp);
                }
                if !self.claim(case, tokens.all(), &codes) {
                    return self.refuse(case, Reason::CodeUsed);
                }
                match password {
                    None => self.proven(case, case.at),
                    Some(password) => self.ask_password(case, &user, password),
                }
            }
        }
    }

    /// Whether it is the user's password is for the directory to say, unless it has just said so.
    fn ask_password(&self, case: &mut Case, user: &Arc<KeptUser>, password: Secret) -> Next {
        let bindings = &self.tables.bindings;
        case.proof = bindings.prove(user.id(), password.expose(), case.at.mono);
        case.proven = case.proof.as_ref().is_some_and(|proof| bindings.proofs().holds(proof, case.at.mono));
        match case.proven {
            true => self.proven(case, case.at),
            false => Next::Ask(Question::Password(Arc::clone(user), password)),
        }
    }

    /// The directory has said what it thinks of the password: the claim becomes a mark.
    fn settle(&self, case: &mut Case, answer: PasswordAnswer, now: Moment) -> Next {
        let reason = match answer {
            PasswordAnswer::Right => {
                if let Some(proof) = case.proof.take() {
                    self.tables.bindings.proofs().keep(&proof, now.mono);
                }
                return self.proven(case, now);
            }
            PasswordAnswer::Wrong => Reason::PasswordWrong,
            PasswordAnswer::Disabled => Reason::AccountDisabled,
            PasswordAnswer::Expired => Reason::AccountExpired,
            PasswordAnswer::Locked => Reason::AccountLocked,
            PasswordAnswer::PasswordExpired => Reason::PasswordExpired,
            PasswordAnswer::MustChange => Reason::PasswordMustChange,
        };
        let counts = match (reason, case.client.profile.wrong_password) {
            (Reason::PasswordWrong, WrongPassword::CountsAndBurns) => Counts::Failure,
            _ => Counts::Nothing,
        };
        case.guessed_code = !case.claims.is_empty();
        self.conclude(case, Conclusion::Burned(Refusal { counts, ..Refusal::free(reason) }))
    }

    /// Everything that was asked for is right. The first code of a token is written to the directory before anything
    /// leaves; whoever is locked meanwhile confirms nothing.
    fn proven(&self, case: &mut Case, now: Moment) -> Next {
        let locked =
            |user: &KeptUser| self.tables.durable.users.lockout(user.id(), now.wall).is_locked(now.wall);
        match case.user.clone().map(|user| (first_code_of(&user, &case.claims), user)) {
            Some((Some(serial), user)) if !locked(&user) => {
                case.confirmed = true;
                Next::Ask(Question::Confirm(user, serial))
            }
            _ => self.conclude(case, Conclusion::Right(now)),
        }
    }

    /// Whether the user's contract is asked for codes under this service; `None` if nobody can say.
    fn contracted(&self, user: &KeptUser, profile: &Profile, now: Moment) -> Option<Contracted> {
        if profile.contracts == ContractRule::Ignore {
            return Some(Contracted::Asked);
        }
        let contracts = self.tables.bindings.contracts();
        match contracts.look_up(user.contract(), &profile.name, now.mono) {
            contracts::Known::Enabled => Some(Contracted::Asked),
            contracts::Known::NotEnabled => Some(Contracted::NotAsked),
            contracts::Known::Unknown => None,
        }
    }

    /// Claims every code that matched; `false` if another request was faster with one of them.
    fn claim(&self, case: &mut Case, tokens: &[KeptToken<'_>], codes: &[Matched]) -> bool {
        for matched in codes {
            let Some(token) = tokens.get(matched.token) else { return false };
            let wanted = Use {
                token: token.id,
                imprint: token.imprint,
                step: matched.step,
                drift: matched.drift,
                renewal: renewal(token),
            };
            if self.tables.durable.tokens.claim(&wanted, case.id) == Claimed::Taken {
                return false;
            }
            case.claims.push(wanted);
            case.matched = case.matched.or(Some(*matched));
        }
        true
    }

    fn accept(&self, case: &mut Case, reason: Reason) -> Next {
        let proven = if reason == Reason::CodeAccepted { Guess::Code } else { Guess::Password };
        let users = &self.tables.durable.users;
        if let Some(mark) = case.user.as_ref().and_then(|user| users.succeed(user.id(), proven)) {
            case.mark(Mark::User(mark));
        }
        case.mark(Mark::Clock(case.at.wall));
        self.keep_login(case, reason);
        self.observe_code(case);
        Next::Answer(Ending { reason, say: Say::Accept })
    }

    /// In which step an accepted code was found, and what that says of the token's clock.
    fn observe_code(&self, case: &Case) {
        if let Some((token, matched)) = case.matched() {
            self.metrics.code_step_offset.observe(f64::from(matched.offset));
            if let Moving::Time { period } = token.parameters.moving {
                let seconds = i64::from(matched.offset) * i64::try_from(period.seconds()).unwrap_or(0);
                self.metrics.token_clock_offset.observe(seconds as f64);
            }
        }
    }

    /// Refuses the user: what counts is counted, and the reply waits for its time like every other reject.
    fn reject(&self, case: &mut Case, refusal: &Refusal) -> Next {
        if refusal.reason == Reason::CodeUsed && self.take_login(case) {
            return Next::Answer(Ending { reason: Reason::AnswerRepeated, say: Say::Accept });
        }
        self.hold_against(case, refusal);
        Next::Answer(Ending { reason: refusal.reason, say: Say::Reject })
    }

    /// Asks for the second step. A decoy looks and costs the same; where it leads shows after the second step.
    fn challenge(&self, case: &mut Case, refusal: Option<Refusal>) -> Next {
        if let Some(refusal) = &refusal {
            self.hold_against(case, refusal);
            case.decoy = Some(refusal.reason);
        }
        let Some(password) = case.field.take() else {
            return Next::GiveUp(Reason::CredentialMissingUnsigned);
        };
        let lifetime = case.client.profile.challenge_lifetime.duration();
        let opened = self.tables.passing.challenges.open(Challenge {
            client: case.served.slot,
            user: case.user_hash,
            password,
            expires: case.at.mono.plus(lifetime),
        });
        match opened {
            Some(state) => Next::Answer(Ending { reason: Reason::ChallengeSent, say: Say::Challenge(state) }),
            None => Next::GiveUp(Reason::TableFull),
        }
    }

    fn refuse_stranger(&self, case: &mut Case, reason: Reason) -> Next {
        let decision =
            refuse_stranger(&case.client.profile, case.requirement, stage(case.first_step.as_ref()), reason);
        match decision {
            Decision::Challenge(refusal) => self.conclude(case, Conclusion::Challenged(refusal)),
            _ => {
                let refusal = Refusal { counts: Counts::Failure, ..Refusal::free(reason) };
                self.conclude(case, Conclusion::Refused(refusal))
            }
        }
    }

    /// Counts a failure: for the source, and, where the request was signed, for the user and the tokens tried.
    fn hold_against(&self, case: &mut Case, refusal: &Refusal) {
        case.clock_off = refusal.clock_off;
        case.guessed_code |= !refusal.tried.is_empty();
        if refusal.counts == Counts::Nothing {
            return;
        }
        if let Some(source) = case.source() {
            self.tables.passing.sources.fail(source, case.at.mono);
        }
        let Some(user) = case.user.clone() else { return };
        // Nobody can be locked out by packets that anybody could have sent (SEC-17).
        if !case.signed {
            return self.tables.passing.sources.fail((case.served.slot, user.id()), case.at.mono);
        }
        let rules = Rules {
            max_failures: case.client.profile.max_failures.count(),
            length: case.client.profile.lock.duration(),
        };
        let credential = case.credential_for_fingerprint();
        let guess = if case.guessed_code { Guess::Code } else { Guess::Password };
        let counted = self.tables.durable.users.fail(user.id(), guess, rules, credential, case.at);
        let Counted::Now(mark, failure) = counted else { return };
        case.mark(Mark::User(mark));
        case.locks = failure == Failure::Locks;
        let tokens = user.tokens();
        for token in refusal.tried.iter().filter_map(|&at| tokens.all().get(at)) {
            case.mark(Mark::Token(self.tables.durable.tokens.fail(token.id, token.imprint, renewal(token))));
        }
    }

    /// Failures of one end-user address, and of one user where nothing is signed.
    fn is_throttled(&self, case: &Case) -> bool {
        let sources = &self.tables.passing.sources;
        let user = case.user.as_ref().filter(|_| !case.signed);
        case.source().is_some_and(|source| sources.is_throttled(source, SOURCE_FAILURES_MAX, case.at.mono))
            || user.is_some_and(|user| {
                let limit = u32::from(case.client.profile.max_failures.count());
                sources.is_throttled((case.served.slot, user.id()), limit, case.at.mono)
            })
    }

    /// Looks at the clock, and says in the log what became of it. Called for each request, and by the housekeeper, so
    /// that a daemon whom nobody asks recovers too.
    pub fn trusts_clock(&self, now: Moment) -> bool {
        match self.tables.time_guard.look(now) {
            Look::Trusted => true,
            Look::Guarded => false,
            Look::Jumped(milliseconds) => {
                self.metrics.clock_jumps.inc();
                tracing::error!(
                    event = "clock-jumped",
                    milliseconds,
                    "the wall clock jumped; no code is judged until it is back or the new time has held for a while"
                );
                false
            }
            Look::Recovered => {
                tracing::warn!(event = "clock-trusted", "the wall clock is trusted again");
                true
            }
        }
    }

    /// The housekeeper has looked: can answers leave, and does any server of the directory answer?
    pub fn set_ready(&self, answers_leave: bool, directory_answers: bool) {
        self.ready.store(answers_leave, Ordering::Relaxed);
        self.directory_answers.store(directory_answers, Ordering::Relaxed);
    }

    /// The one way out for everything that is judged: its entry, with marks and evidence, and its reply. The question, if
    /// there is one left.
    fn go_on(&self, case: &mut Case, next: Next, entries: &mut Entries) -> Result<Step, Question> {
        let ended = match next {
            Next::Answer(ending) => case.answer(ending, entries),
            Next::Agreed(reason, octets) => case.end(reason, Some(octets), entries),
            Next::GiveUp(reason) => case.give_up(reason, entries),
            Next::Ask(question) => return Err(question),
        };
        Ok(match ended {
            Ok(outgoing) => Step::Done(outgoing),
            Err(reason) => self.dropped(&case.served.counters, reason, case.at),
        })
    }

    fn answer_status_server(
        &self,
        client: &Arc<Client>,
        counters: &ClientMetrics,
        arrival: &Arrival<'_>,
        to: &ReplyTo,
    ) -> Result<Step, Reason> {
        // A gateway that hears nothing asks its next server, and that is right while we could not judge anybody.
        // A directory that does not answer matters only where it is asked for the password.
        let directory = self.directory_answers.load(Ordering::Relaxed)
            || client.profile.password == PasswordCheck::GatewayChecked;
        let ready = self.ready.load(Ordering::Relaxed)
            && directory
            && self.tables.bindings.is_fresh(arrival.at.mono)
            && !self.tables.time_guard.is_guarded();
        if !ready || !self.hints.answers_status(arrival.at) {
            return Err(Reason::StatusServerSilent);
        }
        counters.status_server.inc();
        let secret = client.secrets.secret(to.which_secret()).ok_or(Reason::MessageAuthenticatorBad)?;
        let octets = crate::radius::encode(to, secret, &ReplyContent::ACCEPT)?;
        Ok(Step::Resend(arrival.from, octets))
    }

    /// Counts a datagram that gets no answer, and says so in the log now and then.
    pub fn dropped(&self, counters: &ClientMetrics, reason: Reason, now: Moment) -> Step {
        self.notices.dropped(counters.name(), reason, now.mono);
        self.metrics.record(counters, reason, std::time::Duration::ZERO);
        Step::Silent
    }
}

fn stage(first_step: Option<&(StateValue, PasswordField)>) -> Stage<'_> {
    match first_step {
        None => Stage::First,
        Some((_, password)) => Stage::Second { password: password.expose() },
    }
}

/// The token that goes into service with these codes: the first one, if none of them is of a token that is.
fn first_code_of(user: &KeptUser, claims: &[Use]) -> Option<TokenSerial> {
    if !user.awaits_confirmation() {
        return None;
    }
    let tokens = user.tokens();
    let claimed = |token: &&KeptToken<'_>| claims.iter().any(|used| used.token == token.id);
    let mut claimed = tokens.all().iter().filter(claimed);
    let first = claimed.next().filter(|token| token.standing == Standing::AwaitsConfirmation)?;
    let all_wait = claimed.all(|token| token.standing == Standing::AwaitsConfirmation);
    all_wait.then(|| TokenSerial::new(first.serial))
}

fn secret_used(which: WhichSecret) -> SecretUsed {
    match which {
        WhichSecret::Current => SecretUsed::Current,
        WhichSecret::Next => SecretUsed::Next,
    }
}
