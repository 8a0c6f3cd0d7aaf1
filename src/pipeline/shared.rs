//! The end of a request where several nodes share an engine: what shall be is proposed, and made so when it agrees.
//!
//! ```text
//! conclude ─▶ propose: marks as they would be, from what is known here ─▶ engine ─┬─ done ──────▶ tables, journal, reply
//!               ▲                                                                ├─ changed ───▶ learn, judge or propose anew
//!               └────────────────────────────────────────────────────────────────┘
//!                                                                 answered before ▶ the same answer again
//!                                                                 nobody can say ─▶ silence; nothing changed here
//! ```
//!
//! Nothing changes in the tables of this node before the engine has agreed, so that silence costs no code here. If the
//! engine took it and its word was lost, the next request with that code hears so.

use super::case::Say;
use super::conclusion::{Conclusion, Login};
use super::{Case, Next, Pipeline, Question, Tables};
use crate::authenticate::{Counts, Matched, Refusal};
use crate::clock::Wall;
use crate::cluster::{
    self, About, Change, Cluster, Lost, Note, NoteKey, Settled, SlotKey, SlotValue, Standing, Term, Then,
    Way, slot,
};
use crate::lockout::{Failure, Rules};
use crate::otp::{self, Moving};
use crate::outcome::{Reason, Verdict};
use crate::radius::PacketOctets;
use crate::secret::{PasswordField, Secret};
use crate::state::challenges::StateValue;
use crate::state::{Challenge, Guess, Known, Mark, TokenMark, UserMark, reached, renewal};
use crate::tokens::{KeptToken, KeptUser, TOKENS_MAX};
use arrayvec::ArrayVec;
use std::sync::Arc;

/// How often a request is proposed anew because others changed the same slots: two or three is usual under attack.
const TRIES: u8 = 8;

/// What goes on with other nodes about a request.
pub(super) struct Joint {
    /// How things stood when the request began.
    pub standing: Arc<Standing>,
    /// What the engine holds, where it is not what we thought.
    found: ArrayVec<(SlotKey, Option<SlotValue>), { cluster::SLOTS_MAX }>,
    tries: u8,
    /// The State of the second step: it is taken in the engine too.
    takes: Option<StateValue>,
    /// The challenge that this request opens, once it has a State.
    opens: Option<StateValue>,
    /// What a note was asked for.
    asked: Option<Asked>,
    /// Whether the login was looked for already.
    login_looked_for: bool,
    proposal: Option<(Conclusion, Proposal)>,
}

/// What a note was asked for.
enum Asked {
    /// The first step, which another node may have answered.
    FirstStep(StateValue),
    /// Whether the same login was accepted a moment ago; else it is refused so.
    Login(Refusal),
}

/// What would become of the tables, and what would leave.
struct Proposal {
    reason: Reason,
    user: Option<(UserMark, UserMark)>,
    tokens: ArrayVec<(TokenMark, TokenMark), TOKENS_MAX>,
    /// A failure that is held against the source, and against the user if it is counted.
    failure: Option<Counted>,
    octets: PacketOctets,
}

/// How a failure counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counted {
    /// Against the source only: nobody signed, the user is unknown, or the same was counted a moment ago.
    Source,
    /// Against the user.
    User(Failure),
}

impl Pipeline {
    /// Takes part with other nodes, if there are any and this one may answer now.
    pub(super) fn join(&self, case: &mut Case) -> Result<(), Reason> {
        let Some(cluster) = &self.cluster else { return Ok(()) };
        let standing = cluster.standing();
        if let Way::Silent(silence) = standing.way {
            return Err(Lost::from(silence).reason());
        }
        case.joint = Some(Box::new(Joint {
            standing,
            found: ArrayVec::new(),
            tries: 0,
            takes: None,
            opens: None,
            asked: None,
            login_looked_for: false,
            proposal: None,
        }));
        Ok(())
    }

    /// The engine that nodes share, if there is one.
    pub fn cluster(&self) -> Option<&Arc<Cluster>> {
        self.cluster.as_ref()
    }

    /// The State was not opened here: another node may have.
    pub(super) fn opened_elsewhere(&self, case: &mut Case, state: &[u8]) -> Next {
        let known = <StateValue>::try_from(state).ok();
        if let (Some(state), Some(cluster), Some(joint)) = (known, &self.cluster, &mut case.joint)
            && matches!(joint.standing.way, Way::Together(_))
        {
            joint.asked = Some(Asked::FirstStep(state));
            return Next::Ask(Question::Note(cluster.name(About::Challenge, &[&state]), Then::Keep));
        }
        // Alone, nobody can say whether another node opened it.
        if case.joint.is_some() {
            return Next::GiveUp(Reason::ClusterUnreachable);
        }
        self.refuse(case, Reason::ChallengeUnknown)
    }

    /// The engine has said what a note says.
    pub(super) fn noted(&self, case: &mut Case, answer: Result<Option<Secret>, Lost>) -> Next {
        let note = match answer {
            Ok(note) => note,
            Err(lost) => return Next::GiveUp(lost.reason()),
        };
        match case.joint.as_mut().and_then(|joint| joint.asked.take()) {
            Some(Asked::FirstStep(state)) => {
                let password = note.and_then(|note| first_step_of(case, note.expose()));
                let Some(password) = password else {
                    return self.refuse(case, Reason::ChallengeUnknown);
                };
                case.first_step = Some((state, password));
                let Some(name) = &case.user_name else { return Next::GiveUp(Reason::UserNameMissing) };
                let known = self.tables.bindings.look_up(name, case.at.mono);
                self.admit(case, known)
            }
            Some(Asked::Login(refusal)) => match note {
                Some(_) => self.conclude(case, Conclusion::Repeated),
                None => self.conclude(case, Conclusion::Refused(refusal)),
            },
            None => Next::GiveUp(Reason::ClusterUnreachable),
        }
    }

    /// Asks the engine whether it may end like this.
    pub(super) fn propose(
        &self,
        case: &mut Case,
        conclusion: Conclusion,
        term: Term,
        cluster: &Cluster,
    ) -> Next {
        if let Some((state, _)) = &case.first_step
            && let Some(joint) = &mut case.joint
        {
            joint.takes = Some(*state);
        }
        let mut draft = Draft::of(case, self);
        let reason = draft.end(case, &conclusion);
        if reason == Reason::CodeUsed
            && let Some(question) = self.ask_for_login(case, cluster, &conclusion)
        {
            return Next::Ask(question);
        }
        let Draft { user, tokens, failure, .. } = draft;
        let octets = match self.encoded(case, reason) {
            Ok(octets) => octets,
            Err(reason) => return Next::GiveUp(reason),
        };
        let proposal = Proposal { reason, user, tokens, failure, octets };
        let Some(step) = self.step_for(case, cluster, &proposal) else {
            return Next::GiveUp(Reason::TableFull);
        };
        if let Some(joint) = &mut case.joint {
            joint.proposal = Some((conclusion, proposal));
        }
        Next::Ask(Question::Settle(term, Box::new(step)))
    }

    /// The engine has agreed, or said otherwise.
    pub(super) fn agreed(&self, case: &mut Case, answer: Result<Settled, Lost>) -> Next {
        let Some((conclusion, proposal)) = case.joint.as_mut().and_then(|joint| joint.proposal.take()) else {
            return Next::GiveUp(Reason::ClusterUnreachable);
        };
        match answer {
            Ok(Settled::Done) => self.make_so(case, proposal),
            Ok(Settled::Changed(found)) => {
                self.learn(case, &proposal, &found);
                let tries = case.joint.as_mut().map_or(TRIES, |joint| {
                    joint.tries = joint.tries.saturating_add(1);
                    joint.tries
                });
                if tries >= TRIES {
                    return Next::GiveUp(Reason::ClusterTooLate);
                }
                // Another node may have lifted the lock, or have moved the counter on that the code belongs to.
                let by_what_was_known = matches!(&conclusion, Conclusion::Refused(refusal)
                    if refusal.reason == Reason::Locked || !refusal.tried.is_empty());
                match case.user.clone().filter(|_| by_what_was_known) {
                    Some(user) => self.judge(case, Known::One(user)),
                    None => self.conclude(case, conclusion),
                }
            }
            Ok(Settled::Answered(sealed, found)) => {
                self.learn(case, &proposal, &found);
                self.answer_again(case, sealed)
            }
            Ok(Settled::Gone) => {
                // Another request has answered this challenge: what this one typed was not judged.
                if let Some(joint) = &mut case.joint {
                    joint.takes = None;
                }
                case.first_step = None;
                case.locks = false;
                self.refuse(case, Reason::ChallengeUnknown)
            }
            Err(Lost::CatchingUp) => self.conclude_anew(case, conclusion),
            Err(lost) => Next::GiveUp(lost.reason()),
        }
    }

    /// The term has changed under the request: it ends in the new one, if its codes are not in doubt there.
    fn conclude_anew(&self, case: &mut Case, conclusion: Conclusion) -> Next {
        let standing = self.cluster.as_ref().map(|cluster| cluster.standing());
        let Some(standing) = standing.filter(|standing| matches!(standing.way, Way::Together(_))) else {
            return Next::GiveUp(Reason::ClusterCatchingUp);
        };
        let tried = match &mut case.joint {
            Some(joint) if *joint.standing != *standing && joint.tries < TRIES => {
                joint.standing = standing;
                joint.tries = joint.tries.saturating_add(1);
                false
            }
            _ => true,
        };
        if tried || case.claims_are_in_doubt() {
            return Next::GiveUp(Reason::ClusterCatchingUp);
        }
        self.conclude(case, conclusion)
    }

    /// The engine has agreed: tables, journal, reply.
    fn make_so(&self, case: &mut Case, proposal: Proposal) -> Next {
        let user = proposal.user.filter(|(before, after)| before != after);
        let tokens = proposal.tokens.iter().filter(|(before, after)| before != after);
        let marks = user.map(|(_, after)| Mark::User(after)).into_iter();
        for mark in marks.chain(tokens.map(|(_, after)| Mark::Token(*after))) {
            self.tables.durable.replay(&mark);
            case.mark_anew(mark);
        }
        if let Some(counted) = proposal.failure {
            self.note_failure(case, counted);
        }
        if proposal.reason.verdict() == Verdict::Accept {
            case.mark(Mark::Clock(case.at.wall));
            self.observe_code(case);
        }
        Next::Agreed(proposal.reason, proposal.octets)
    }

    /// A failure is held against whoever made it, in what ends with the process.
    fn note_failure(&self, case: &Case, counted: Counted) {
        let sources = &self.tables.passing.sources;
        if let Some(source) = case.source() {
            sources.fail(source, case.at.mono);
        }
        let Some(user) = &case.user else { return };
        if !case.signed {
            return sources.fail((case.served.slot, user.id()), case.at.mono);
        }
        if let Counted::User(_) = counted {
            self.tables.durable.users.note_wrong(user.id(), case.credential_for_fingerprint(), case.at);
        }
    }

    /// Another node has answered this very request: its answer leaves again.
    fn answer_again(&self, case: &mut Case, sealed: Vec<u8>) -> Next {
        let opened =
            self.cluster.as_ref().and_then(|cluster| cluster.open(&answer_key(cluster, case), sealed));
        let answered = opened.as_ref().and_then(|clear| {
            let (length, rest) = clear.expose().split_first()?;
            let (text, octets) = rest.split_at_checked(usize::from(*length))?;
            let reason = Reason::ALL.iter().find(|reason| reason.text().as_bytes() == text)?;
            Some((*reason, PacketOctets::from(octets)))
        });
        let Some((reason, octets)) = answered else {
            return Next::GiveUp(Reason::ClusterUnreachable);
        };
        // What is counted as an accept was counted by who answered first.
        let reason = if reason.verdict() == Verdict::Accept { Reason::AnswerRepeated } else { reason };
        case.locks = false;
        Next::Agreed(reason, octets)
    }

    /// What the engine holds is taken over, and goes into the journal with whatever becomes of the request.
    fn learn(&self, case: &mut Case, proposal: &Proposal, found: &[Option<SlotValue>]) {
        for (key, value) in proposal.slots().zip(found) {
            let mark = value.as_ref().and_then(|value| key.read(value));
            if let Some(learned) = mark.and_then(|mark| self.tables.durable.learn(&mark)) {
                case.mark_anew(learned);
            }
            if let Some(joint) = &mut case.joint {
                joint.found.retain(|(held, _)| *held != key);
                // There is room for as many slots as one step has; another token than before is looked for anew.
                let _ = joint.found.try_push((key, value.clone()));
            }
        }
    }

    /// Whether the same login was accepted a moment ago is asked once, where the client may ask for it.
    fn ask_for_login(&self, case: &mut Case, cluster: &Cluster, conclusion: &Conclusion) -> Option<Question> {
        if case.client.lost_answer_grace.is_zero() {
            return None;
        }
        let key = login_key(cluster, case)?;
        let joint = case.joint.as_mut()?;
        if std::mem::replace(&mut joint.login_looked_for, true) {
            return None;
        }
        let refusal = match conclusion {
            Conclusion::Refused(refusal) => refusal.clone(),
            _ => Refusal::free(Reason::CodeUsed),
        };
        joint.asked = Some(Asked::Login(refusal));
        Some(Question::Note(key, Then::Take))
    }

    /// The octets that would leave; a challenge gets its State here, once.
    fn encoded(&self, case: &mut Case, reason: Reason) -> Result<PacketOctets, Reason> {
        let say = match reason.verdict() {
            Verdict::Accept => Say::Accept,
            Verdict::Challenge => Say::Challenge(self.opened_state(case).ok_or(Reason::TableFull)?),
            Verdict::Reject | Verdict::Drop => Say::Reject,
        };
        case.encode(&say)
    }

    fn opened_state(&self, case: &mut Case) -> Option<StateValue> {
        if let Some(opened) = case.joint.as_ref()?.opens {
            return Some(opened);
        }
        let state = self.tables.passing.challenges.open(Challenge {
            client: case.served.slot,
            user: case.user_hash,
            password: case.field.as_ref()?.duplicate(),
            expires: case.at.mono.plus(case.client.profile.challenge_lifetime.duration()),
        })?;
        case.joint.as_mut()?.opens = Some(state);
        Some(state)
    }

    /// The step that the engine is asked for.
    fn step_for(&self, case: &Case, cluster: &Cluster, proposal: &Proposal) -> Option<cluster::Step> {
        let joint = case.joint.as_ref()?;
        let mut step = cluster::Step::default();
        for (before, after) in proposal.changes().filter(|change| proposal.asks_for(change)) {
            let (key, known) = slot(&before)?;
            let found = joint.found.iter().find(|(held, _)| *held == key);
            let from = found.map_or(known, |(_, found)| found.clone());
            let to = if before == after { None } else { slot(&after)?.1 };
            step.slots.try_push(Change { slot: key, from, to }).ok()?;
        }
        let answer = [&[u8::try_from(proposal.reason.text().len()).ok()?], proposal.reason.text().as_bytes()];
        let answer = [&answer.concat()[..], &proposal.octets].concat();
        let kept = self.tables.passing.duplicates.lifetime();
        step.answer = Some(cluster.seal(answer_key(cluster, case), &answer, kept)?);
        step.takes = joint.takes.map(|state| cluster.name(About::Challenge, &[&state]));
        if let Some(state) = joint.opens.filter(|_| proposal.reason == Reason::ChallengeSent) {
            step.notes.try_push(challenge_note(case, cluster, &state)?).ok()?;
        }
        let grace = case.client.lost_answer_grace;
        if proposal.reason == Reason::CodeAccepted
            && !grace.is_zero()
            && let Some(key) = login_key(cluster, case)
        {
            step.notes.try_push(cluster.seal(key, b"accepted", grace)?).ok()?;
        }
        step.pin = case.pinned();
        Some(step)
    }
}

impl Proposal {
    /// The slots in the order of [`Proposal::changes`] that the step asks for.
    fn slots(&self) -> impl Iterator<Item = SlotKey> + '_ {
        self.changes().filter(|change| self.asks_for(change)).filter_map(|(before, _)| Some(slot(&before)?.0))
    }

    /// What does not change has to be as expected only where that decides: nobody is accepted who is locked, and
    /// nobody refused for a lock that was lifted or a counter that has moved on.
    fn asks_for(&self, (before, after): &(Mark, Mark)) -> bool {
        let decides = matches!(self.reason, Reason::Locked | Reason::CodeWrong | Reason::CodeOtherTime);
        before != after || decides || self.reason.verdict() == Verdict::Accept
    }

    fn changes(&self) -> impl Iterator<Item = (Mark, Mark)> + '_ {
        let user = self.user.map(|(before, after)| (Mark::User(before), Mark::User(after)));
        let tokens = self.tokens.iter().map(|(before, after)| (Mark::Token(*before), Mark::Token(*after)));
        user.into_iter().chain(tokens)
    }
}

/// Marks as they would be.
struct Draft<'p> {
    pipeline: &'p Pipeline,
    known: Option<Arc<KeptUser>>,
    user: Option<(UserMark, UserMark)>,
    tokens: ArrayVec<(TokenMark, TokenMark), TOKENS_MAX>,
    failure: Option<Counted>,
}

impl<'p> Draft<'p> {
    fn of(case: &Case, pipeline: &'p Pipeline) -> Draft<'p> {
        let user = case.user.as_ref().map(|user| pipeline.tables.durable.users.as_it_is(user.id()));
        Draft {
            pipeline,
            known: case.user.clone(),
            user: user.map(|mark| (mark, mark)),
            tokens: ArrayVec::new(),
            failure: None,
        }
    }

    /// Makes the marks of a conclusion, and says what it comes to.
    fn end(&mut self, case: &mut Case, conclusion: &Conclusion) -> Reason {
        case.locks = false;
        let locked = |at: Wall| self.user.is_some_and(|(_, mark)| mark.is_locked(at));
        match conclusion {
            Conclusion::Right(now) if locked(now.wall) => self.burn(case, &Refusal::free(Reason::Locked)),
            Conclusion::Right(_) => self.take_steps(case),
            Conclusion::Accepted(_) | Conclusion::Repeated if locked(case.at.wall) => Reason::Locked,
            Conclusion::Accepted(reason) => {
                self.succeed(Guess::Password);
                *reason
            }
            Conclusion::Repeated => Reason::AnswerRepeated,
            Conclusion::Burned(refusal) => self.burn(case, refusal),
            Conclusion::Refused(refusal) => {
                self.hold_against(case, refusal);
                refusal.reason
            }
            Conclusion::Challenged(refusal) => {
                if let Some(refusal) = refusal {
                    self.hold_against(case, refusal);
                    case.decoy = Some(refusal.reason);
                }
                Reason::ChallengeSent
            }
        }
    }

    fn take_steps(&mut self, case: &Case) -> Reason {
        if case.claims.is_empty() {
            self.succeed(Guess::Password);
            return if case.instead { Reason::PasswordInstead } else { Reason::CodeNotAsked };
        }
        let mut taken = 0_usize;
        for used in &case.claims {
            taken += usize::from(self.change(used.token, |mark| mark.accepted(used)));
        }
        if taken == 0 {
            return Reason::CodeUsed;
        }
        let user = self.known.clone();
        let tokens = user.as_ref().map(|user| user.tokens());
        let others = tokens.iter().flat_map(|tokens| tokens.all());
        for token in others.filter(|token| case.claims.iter().all(|used| used.token != token.id)) {
            self.change(token.id, |mark| mark.forgiven(token.imprint, renewal(token)));
        }
        self.succeed(Guess::Code);
        Reason::CodeAccepted
    }

    fn burn(&mut self, case: &mut Case, refusal: &Refusal) -> Reason {
        for used in &case.claims {
            self.change(used.token, |mark| mark.burned(used));
        }
        self.hold_against(case, refusal);
        refusal.reason
    }

    fn succeed(&mut self, proven: Guess) {
        if let Some((_, after)) = &mut self.user {
            *after = after.succeeded(proven).unwrap_or(*after);
        }
    }

    /// Counts a failure as the tables of one node would.
    fn hold_against(&mut self, case: &mut Case, refusal: &Refusal) {
        case.clock_off = refusal.clock_off;
        case.guessed_code |= !refusal.tried.is_empty();
        if refusal.counts == Counts::Nothing {
            return;
        }
        self.failure = Some(Counted::Source);
        let (Some(user), Some((_, after))) = (self.known.clone(), &mut self.user) else { return };
        let Tables { durable, .. } = &*self.pipeline.tables;
        let tokens = user.tokens();
        let tried = refusal.tried.iter().filter_map(|&at| tokens.all().get(at));
        // Nobody can be locked out by packets that anybody could have sent (SEC-17).
        if !case.signed || durable.users.is_repeated(user.id(), case.credential_for_fingerprint(), case.at) {
            for mark in tried.map(|token| durable.tokens.as_it_is(token.id)) {
                // There is room for as many as are tried.
                let _ = self.tokens.try_push((mark, mark));
            }
            return;
        }
        let profile = &case.client.profile;
        let rules = Rules { max_failures: profile.max_failures.count(), length: profile.lock.duration() };
        let guess = if case.guessed_code { Guess::Code } else { Guess::Password };
        let (mark, failure) = after.failed(guess, rules, case.at.wall);
        *after = mark;
        case.locks = failure == Failure::Locks;
        self.failure = Some(Counted::User(failure));
        for token in tried {
            self.change(token.id, |mark| mark.failed(token.imprint, renewal(token)));
        }
    }

    /// Changes a token's mark; whether there was anything to change.
    fn change(
        &mut self,
        token: crate::identity::EntryId,
        how: impl FnOnce(&TokenMark) -> Option<TokenMark>,
    ) -> bool {
        if let Some((_, after)) = self.tokens.iter_mut().find(|(before, _)| before.token == token) {
            let changed = how(after);
            *after = changed.unwrap_or(*after);
            return changed.is_some();
        }
        let before = self.pipeline.tables.durable.tokens.as_it_is(token);
        let Some(after) = how(&before) else { return false };
        self.tokens.try_push((before, after)).is_ok()
    }
}

impl Case {
    /// Whether any of these codes may have been used without this node knowing.
    pub(super) fn is_in_doubt(&self, tokens: &[KeptToken<'_>], codes: &[Matched]) -> bool {
        let codes = codes
            .iter()
            .filter_map(|matched| Some((tokens.get(matched.token)?, matched.step, matched.drift)));
        self.any_in_doubt(codes)
    }

    /// The same for the codes that are claimed.
    fn claims_are_in_doubt(&self) -> bool {
        let Some(user) = &self.user else { return false };
        let tokens = user.tokens();
        let codes = self.claims.iter().filter_map(|used| {
            Some((tokens.all().iter().find(|token| token.id == used.token)?, used.step, used.drift))
        });
        self.any_in_doubt(codes)
    }

    fn any_in_doubt<'t, 'u: 't>(
        &self,
        mut codes: impl Iterator<Item = (&'t KeptToken<'u>, otp::Step, otp::Drift)>,
    ) -> bool {
        let Some(doubt) = self.joint.as_ref().and_then(|joint| joint.standing.doubt) else { return false };
        codes.any(|(token, step, drift)| match token.parameters.moving {
            // The code has just moved the drift, by less than a step.
            Moving::Time { period } => {
                let ahead = drift.steps().saturating_add(i16::from(drift.quarters() > 0));
                step <= reached(token, period, ahead, doubt.until)
            }
            Moving::Counter { .. } => doubt.counters,
        })
    }
}

/// The note that another node finds the answer to a retransmission by.
fn answer_key(cluster: &Cluster, case: &Case) -> NoteKey {
    let peer = case.peer().to_string();
    let parts: [&[u8]; 4] = [
        case.client.name.as_str().as_bytes(),
        peer.as_bytes(),
        &[case.to.identifier()],
        case.to.authenticator(),
    ];
    cluster.name(About::Answer, &parts)
}

/// The note that says that a login was accepted.
fn login_key(cluster: &Cluster, case: &Case) -> Option<NoteKey> {
    let login = Login::of(case)?;
    let gateway = login.gateway.to_string();
    let station = login.station.map(|station| [b"=", station].concat()).unwrap_or_default();
    let parts: [&[u8]; 6] = [
        login.client.as_bytes(),
        gateway.as_bytes(),
        &login.user,
        login.operation.as_bytes(),
        &station,
        login.field,
    ];
    Some(cluster.name(About::Login, &parts))
}

/// What the first step leaves to whichever node gets the second: whose it is, and what was typed.
fn challenge_note(case: &Case, cluster: &Cluster, state: &StateValue) -> Option<Note> {
    let mut clear = Vec::new();
    for part in [case.client.name.as_str().as_bytes(), case.user_name.as_ref()?.octets()] {
        clear.push(u8::try_from(part.len()).ok()?);
        clear.extend_from_slice(part);
    }
    clear.extend_from_slice(case.field.as_ref()?.expose());
    let clear = Secret::new(clear);
    let key = cluster.name(About::Challenge, &[state]);
    cluster.seal(key, clear.expose(), case.client.profile.challenge_lifetime.duration())
}

/// What was typed at the first step, if it was this client's and this user's.
fn first_step_of(case: &Case, note: &[u8]) -> Option<PasswordField> {
    let (length, rest) = note.split_first()?;
    let (client, rest) = rest.split_at_checked(usize::from(*length))?;
    let (length, rest) = rest.split_first()?;
    let (user, password) = rest.split_at_checked(usize::from(*length))?;
    let same = client == case.client.name.as_str().as_bytes() && user == case.user_name.as_ref()?.octets();
    same.then(|| PasswordField::new(password)).flatten()
}
