//! Carries out what a step says: the directory is asked, marks become durable, replies leave.
//!
//! ```text
//!  worker ── begin ──┬─ Resend ─────────────────────────────────────────────────▶ socket
//!                    ├─ Done ──▶ journal (one fsync for many) ──▶ audit ──┬─────▶ socket
//!                    └─ Ask ───▶ directory ── resume ──▶ as above         └ hold ▶ socket   (rejects wait)
//! ```
//!
//! What a worker decides until no more datagrams wait goes to the journal in one piece, and to the engine that nodes share
//! what it asks there. With `durability = "memory"` nobody waits for the journal: whoever decided sends the replies, as
//! soon as the journal has taken the entries.

mod gather;

use self::gather::{Asked, Gathering};
use super::{Answer, Case, Outgoing, Pipeline, Question, Step, asking, evidence};
use crate::audit::Audit;
use crate::clock::{self, Moment, Mono};
use crate::cluster::{self, Lost, Term};
use crate::directory::Directory;
use crate::directory::registry::{self, NotChanged, Registry};
use crate::listen::{Arrival, Departures, Hold, Outbound, Refused, ReturnAddress};
use crate::metrics::{ClientMetrics, Loss, Metrics};
use crate::outcome::Reason;
use crate::state::Marks;
use crate::store::{Batch, Behind, Durability, Entries, RunEvidence, Staged, Store};
use crate::tokens::User;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// The edges around a pipeline. One for the whole daemon, shared by its workers.
pub struct Drive {
    pipeline: Arc<Pipeline>,
    directory: Arc<dyn Directory>,
    registry: Arc<dyn Registry>,
    store: Store<Leaving>,
    audit: Arc<Audit>,
    exit: Exit,
    runtime: Handle,
    draining: AtomicBool,
    gathering: Gathering,
}

/// What waits for entries to be durable.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are replies, and a box would cost each an allocation"
)]
pub enum Leaving {
    /// A reply.
    Reply(Outgoing),
    /// An operator.
    Told(oneshot::Sender<()>),
}

/// What was asked is not done for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotDurable {
    /// The journal cannot be written.
    #[error(
        "the journal cannot be written, so this may not last; see the journal's state in `sekisho status`"
    )]
    Journal,
    /// The engine that nodes share does not have it.
    #[error("{0}, so the other nodes do not know of this; try again when it can")]
    Cluster(#[from] Lost),
    /// Another node has changed the same at this moment.
    #[error("another node changed the same at this moment; look, and try again")]
    Changed,
}

/// Datagrams after which what was decided goes to the journal even though more of them wait: nobody who floods us keeps
/// the others' replies back.
const GROUP: u32 = 64;

/// What one worker has decided and not handed over yet.
pub struct Desk {
    drive: Arc<Drive>,
    decided: Decided,
    /// Datagrams since the last time.
    arrived: u32,
}

/// Decisions on their way to the journal.
#[derive(Default)]
struct Decided {
    entries: Entries,
    leaving: Vec<Leaving>,
    departures: Departures,
    settling: Settling,
}

/// Requests that the shared engine is asked about in one piece, all of one term.
#[derive(Default)]
struct Settling {
    term: Option<Term>,
    asked: Vec<(Box<Case>, Box<cluster::Step>)>,
}

/// What happens to judged requests once their entries are durable. Runs on the committer's thread.
pub struct Release {
    audit: Arc<Audit>,
    exit: Exit,
    departures: Departures,
}

/// The one exit for replies.
#[derive(Clone)]
pub struct Exit {
    /// Where rejects wait.
    pub hold: Arc<Hold<Outgoing>>,
    /// The sockets.
    pub outbound: Outbound,
    /// Where it is counted what became of a request.
    pub metrics: Arc<Metrics>,
}

impl Desk {
    /// A datagram has arrived; called by the worker that received it, which goes on at once.
    pub fn arrive(&mut self, arrival: &Arrival<'_>) {
        self.judge(arrival);
        self.arrived += 1;
        if self.arrived >= GROUP {
            self.hand_over();
        }
    }

    fn judge(&mut self, arrival: &Arrival<'_>) {
        let Desk { drive, decided, .. } = self;
        if drive.draining.load(Ordering::Relaxed) {
            return drive.dropped(drive.pipeline.metrics().unknown_client(), Reason::Draining);
        }
        // Judged now, a code would be used up in memory although nobody can be answered.
        if !drive.store.is_writing() || (drive.answers_at_once() && drive.audit.stops_answers()) {
            return drive.dropped(drive.pipeline.metrics().unknown_client(), Reason::DiskFailed);
        }
        let step = drive.pipeline.begin(arrival, &mut decided.entries);
        drive.carry_out(step, decided);
    }

    /// What was decided goes to the journal, and so do the replies that wait for it.
    pub fn hand_over(&mut self) {
        self.arrived = 0;
        self.drive.hand_over(&mut self.decided);
    }
}

impl Drive {
    /// Joins a pipeline with the edges it needs.
    pub fn new(
        pipeline: Arc<Pipeline>,
        (directory, registry): (Arc<dyn Directory>, Arc<dyn Registry>),
        store: Store<Leaving>,
        audit: Arc<Audit>,
        exit: Exit,
        runtime: Handle,
    ) -> Arc<Drive> {
        let draining = AtomicBool::new(false);
        let gathering = Gathering::default();
        Arc::new(Drive { pipeline, directory, registry, store, audit, exit, runtime, draining, gathering })
    }

    /// A place for one worker.
    pub fn desk(self: &Arc<Drive>) -> Desk {
        Desk { drive: Arc::clone(self), decided: Decided::default(), arrived: 0 }
    }

    /// Nothing new is taken from here on; what is being judged goes on.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether nothing new is taken.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Removes what has run out; called about once a second.
    pub fn keep_house(&self, now: Moment) {
        self.pipeline.trusts_clock(now);
        self.pipeline.tables().passing.sweep(now);
        self.pipeline.tables().durable.users.sweep(now.mono);
        self.pipeline.sweep_logins(now.mono);
        self.pipeline.tables().bindings.proofs().sweep(now.mono);
    }

    /// Makes the evidence durable where it belongs; called about once a second, and sooner while much is written.
    pub fn keep_evidence(&self) {
        // What did not fit into memory while the audit file could not be written is still in the journal.
        if let Some((after, upto)) = self.audit.left()
            && let Ok(evidence) = self.store.evidence(after, upto)
        {
            // If it fails again, the next turn tries again; the trouble is in the file's own health.
            let evidence = evidence.iter().map(|(sequence, evidence)| (*sequence, &**evidence));
            let _ = self.audit.catch_up(evidence);
        }
        // Evidence that the audit file holds for good need not be kept in the journal. Trouble is in its own health.
        if let Ok(sequence) = self.audit.sync() {
            self.store.evidence_durable(sequence);
        }
    }

    /// The pipeline, for reload and for what operators ask.
    pub fn pipeline(&self) -> &Arc<Pipeline> {
        &self.pipeline
    }

    /// The journal, for its health and for what operators change.
    pub fn store(&self) -> &Store<Leaving> {
        &self.store
    }

    /// The directory, for what operators ask.
    pub fn directory(&self) -> &Arc<dyn Directory> {
        &self.directory
    }

    /// The life of tokens in the directory, for what operators do.
    pub fn registry(&self) -> &Arc<dyn Registry> {
        &self.registry
    }

    fn carry_out(self: &Arc<Drive>, step: Step, decided: &mut Decided) {
        match step {
            Step::Silent => {}
            Step::Resend(to, octets) => self.exit.outbound.send(&to, &octets),
            Step::Done(outgoing) => {
                let took = clock::now().mono.since(outgoing.at.mono);
                decided.entries.complete(|out| evidence::complete(out, took));
                decided.leaving.push(Leaving::Reply(outgoing));
            }
            Step::Ask(case, Question::Settle(term, step)) => {
                if decided.settling.term.is_some_and(|other| other != term) {
                    self.ask_together(&mut decided.settling);
                }
                decided.settling.term = Some(term);
                decided.settling.asked.push((case, step));
            }
            Step::Ask(case, question) => {
                // In number they are bounded by the admission that the case holds a place of. One that panics drops its
                // case, which gives everything back. The question leaves from here.
                let drive = Arc::clone(self);
                let asked = Asked::count(self);
                asking::begin(&self.runtime, async move { drive.ask(case, question, asked).await });
            }
        }
    }

    async fn ask(self: Arc<Drive>, case: Box<Case>, question: Question, asked: Asked) {
        if case.is_superseded() {
            return self.dropped(&case.served.counters, Reason::Superseded);
        }
        let deadline = case.deadline();
        let answer = match question {
            Question::Find(name) => Answer::Found(self.directory.find(&name, deadline).await),
            Question::Password(user, password) => {
                Answer::Password(self.directory.check_password(&user, password, deadline).await)
            }
            Question::Settle(term, step) => {
                return self.settle(Settling { term: Some(term), asked: vec![(case, step)] }).await;
            }
            Question::Note(key, then) => Answer::Note(match self.pipeline.cluster() {
                Some(cluster) => cluster.note(key, then, deadline).await,
                None => Err(Lost::Unreachable),
            }),
            Question::Confirm(user, serial) => {
                let now = clock::now().wall;
                let confirmed =
                    registry::confirm(&*self.registry, &user.whole(), &serial, now, deadline).await;
                if let Err(why @ (NotChanged::Refused(_) | NotChanged::NoSealKey)) = &confirmed {
                    // One line for each first code: nobody but the owner of a new token gets here.
                    tracing::error!(event = "confirmation-failed", token = %serial, %why);
                }
                Answer::Confirmed(confirmed)
            }
        };
        let mut decided = Decided::default();
        let step = self.pipeline.resume(case, answer, clock::now(), &mut decided.entries);
        self.carry_out(step, &mut decided);
        drop(asked);
        self.gather(decided);
    }

    /// The shared engine is asked about what was gathered: one question for all of it. It leaves from here.
    fn ask_together(self: &Arc<Drive>, settling: &mut Settling) {
        let next = Settling { term: None, asked: Vec::with_capacity(settling.asked.len()) };
        let (drive, settling) = (Arc::clone(self), std::mem::replace(settling, next));
        // A panic at one drops them all, which gives everything back: nobody is answered.
        asking::begin(&self.runtime, async move { drive.settle(settling).await });
    }

    async fn settle(self: Arc<Drive>, settling: Settling) {
        let Settling { term, asked } = settling;
        let (asked, superseded): (Vec<_>, Vec<_>) =
            asked.into_iter().partition(|(case, _)| !case.is_superseded());
        for (case, _) in superseded {
            self.dropped(&case.served.counters, Reason::Superseded);
        }
        let (cases, steps): (Vec<_>, Vec<_>) = asked.into_iter().map(|(case, step)| (case, *step)).unzip();
        let deadline = cases.iter().map(|case| case.deadline()).min();
        let (Some(term), Some(deadline)) = (term, deadline) else { return };
        let answer = match self.pipeline.cluster() {
            Some(cluster) => cluster.settle(term, steps, deadline).await,
            None => Err(Lost::Unreachable),
        };
        let mut settled = answer.map(Vec::into_iter);
        let mut decided = Decided::default();
        for case in cases {
            let answer = match &mut settled {
                Ok(settled) => settled.next().ok_or(Lost::Unreachable),
                Err(lost) => Err(*lost),
            };
            let answer = Answer::Settled(answer);
            let step = self.pipeline.resume(case, answer, clock::now(), &mut decided.entries);
            self.carry_out(step, &mut decided);
        }
        self.hand_over(&mut decided);
    }

    /// Whether replies do not wait for the journal.
    fn answers_at_once(&self) -> bool {
        self.store.durability() == Durability::Memory
    }

    /// Gives what was decided to the journal, and what waits for it with it. Without its entry nothing leaves: the
    /// gateway asks its next server.
    fn hand_over(self: &Arc<Drive>, decided: &mut Decided) {
        if !decided.settling.asked.is_empty() {
            self.ask_together(&mut decided.settling);
        }
        if decided.leaving.is_empty() {
            return;
        }
        let next = Entries::with_room(decided.entries.octets());
        let entries = std::mem::replace(&mut decided.entries, next);
        if self.answers_at_once() {
            match self.store.stage(Staged { entries, releases: Vec::new() }) {
                Ok(()) => {
                    // Not left in its place while they leave: after a panic none would leave again.
                    let mut leaving = std::mem::take(&mut decided.leaving);
                    self.exit.let_go(&mut leaving, &mut decided.departures);
                    decided.leaving = leaving;
                }
                Err(_) => self.refused(decided.leaving.drain(..)),
            }
        } else {
            let next = Vec::with_capacity(decided.leaving.len());
            let releases = std::mem::replace(&mut decided.leaving, next);
            if let Err(refused) = self.store.stage(Staged { entries, releases }) {
                self.refused(refused.releases);
            }
        }
    }

    fn refused(&self, leaving: impl IntoIterator<Item = Leaving>) {
        let reason = if self.store.is_writing() { Reason::Overload } else { Reason::DiskFailed };
        for leaving in leaving {
            if let Leaving::Reply(mut outgoing) = leaving {
                outgoing.take_back();
                self.dropped(&outgoing.served.counters, reason);
            }
        }
    }

    /// Makes what an operator did durable and known to all nodes, with its evidence. What it is about has to be
    /// [refreshed](Drive::refresh) before it is changed.
    ///
    /// # Errors
    /// If the journal cannot be written, or the engine that nodes share does not have it.
    pub async fn record(&self, marks: Marks, evidence: Box<[u8]>) -> Result<(), NotDurable> {
        self.pipeline.share(&marks).await?;
        let (told, done) = oneshot::channel();
        self.store
            .stage(Staged::one(&marks, &evidence, Leaving::Told(told)))
            .map_err(|_| NotDurable::Journal)?;
        done.await.map_err(|_| NotDurable::Journal)
    }

    /// Learns what other nodes know of a user and the user's tokens: before an operator looks, or changes something.
    ///
    /// # Errors
    /// If nobody can say, and so nothing should be changed.
    pub async fn refresh(&self, user: &User) -> Result<(), Lost> {
        self.pipeline.refresh(user).await
    }

    fn dropped(&self, counters: &ClientMetrics, reason: Reason) {
        self.pipeline.dropped(counters, reason, clock::now());
    }
}

impl Release {
    /// The way out behind the journal.
    pub fn new(audit: Arc<Audit>, exit: Exit) -> Release {
        Release { audit, exit, departures: Departures::default() }
    }
}

impl Behind<Leaving> for Release {
    fn meanwhile(&mut self, evidence: RunEvidence<'_>) {
        self.audit.prepare(evidence);
    }

    /// One run of the journal is durable, or failed: writes its evidence, then lets go what waited for it.
    fn batch(&mut self, batch: Batch<'_, Leaving>) {
        let Batch { outcome, synced, evidence, mut releases } = batch;
        if let Some(took) = synced {
            self.exit.metrics.journal_sync.observe(took.as_secs_f64());
        }
        let written = outcome.is_ok() && (self.audit.append(evidence).is_ok() || !self.audit.stops_service());
        if written {
            self.exit.let_go(&mut releases, &mut self.departures);
            // What nobody waits for comes last.
            return self.audit.begin_writing();
        }
        for leaving in releases {
            match leaving {
                Leaving::Reply(mut outgoing) => {
                    outgoing.take_back();
                    self.exit.record(&outgoing, Reason::DiskFailed);
                }
                // Dropping the sender tells the operator that it failed.
                Leaving::Told(_) => {}
            }
        }
    }
}

impl Exit {
    /// What waited may leave now. Replies leave from where they lie: moving each would cost more than sending it.
    fn let_go(&self, leaving: &mut Vec<Leaving>, departures: &mut Departures) {
        let now = clock::now().mono;
        let is_no_reply_of_now = |leaving: &mut Leaving| match leaving {
            Leaving::Reply(outgoing) => {
                outgoing.elapsed = now.since(outgoing.at.mono);
                outgoing.not_before.is_some_and(|due| due > now)
            }
            Leaving::Told(_) => true,
        };
        for other in leaving.extract_if(.., is_no_reply_of_now) {
            match other {
                Leaving::Reply(outgoing) => self.keep(outgoing),
                // Whoever asked may be gone.
                Leaving::Told(told) => drop(told.send(())),
            }
        }
        // One alone has nobody to wait for: an answer of the directory comes without a batch.
        let alone = leaving.len() == 1;
        for leaving in leaving.iter_mut() {
            if let Leaving::Reply(outgoing) = leaving {
                send(&self.metrics, outgoing, now, |to, octets| match alone {
                    true => self.outbound.send(to, octets),
                    false => self.outbound.add(departures, to, octets),
                });
            }
        }
        self.outbound.send_off(departures);
        leaving.clear();
    }

    fn keep(&self, mut outgoing: Outgoing) {
        outgoing.free_place();
        let due = outgoing.not_before.unwrap_or_default();
        if let Err(refused) = self.hold.keep(due, outgoing) {
            let (Refused::Full(outgoing) | Refused::Stopped(outgoing)) = refused;
            self.metrics.lose(Loss::HoldFull);
            self.record(&outgoing, Reason::TableFull);
        }
    }

    fn record(&self, outgoing: &Outgoing, reason: Reason) {
        record(&self.metrics, outgoing, reason);
    }
}

/// Keeps rejects until their time, at most `capacity` of them, and then lets them leave.
///
/// # Errors
/// If the system gives no thread.
pub fn hold(outbound: Outbound, metrics: Arc<Metrics>, capacity: usize) -> std::io::Result<Hold<Outgoing>> {
    Hold::start(capacity, move |mut outgoing| {
        send(&metrics, &mut outgoing, clock::now().mono, |to, octets| outbound.send(to, octets));
    })
}

/// What is counted here is what happens. It is counted first, so that who has the reply finds it counted.
fn send(metrics: &Metrics, outgoing: &mut Outgoing, now: Mono, out: impl FnOnce(&ReturnAddress, &[u8])) {
    let leaves = outgoing.leave(now).is_some();
    let silent = outgoing.reply.is_none();
    record(metrics, outgoing, if leaves || silent { outgoing.reason } else { Reason::Superseded });
    if let Some((to, octets)) = outgoing.reply.as_ref().filter(|_| leaves) {
        out(to, octets);
    }
}

fn record(metrics: &Metrics, outgoing: &Outgoing, reason: Reason) {
    metrics.record(&outgoing.served.counters, reason, outgoing.elapsed);
    if outgoing.locks {
        metrics.lockouts.inc();
    }
}
