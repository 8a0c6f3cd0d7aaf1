//! Carries out what a step says: the directory is asked, marks become durable, replies leave.
//!
//! ```text
//!  worker ── begin ──┬─ Resend ─────────────────────────────────────────────────▶ socket
//!                    ├─ Done ──▶ journal (one fsync for many) ──▶ audit ──┬─────▶ socket
//!                    └─ Ask ───▶ directory ── resume ──▶ as above         └ hold ▶ socket   (rejects wait)
//! ```

use super::{Answer, Case, Finished, Outgoing, Pipeline, Question, Step};
use crate::audit::Audit;
use crate::clock::{self, Moment};
use crate::directory::Directory;
use crate::directory::registry::{self, NotChanged, Registry};
use crate::listen::{Arrival, Hold, Outbound, Refused};
use crate::metrics::{ClientMetrics, Loss, Metrics};
use crate::outcome::Reason;
use crate::state::Marks;
use crate::store::{Batch, Health, Staged, Store};
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
    outbound: Outbound,
    runtime: Handle,
    draining: AtomicBool,
}

/// What waits for a record to be durable.
pub enum Leaving {
    /// A reply.
    Reply(Box<Outgoing>),
    /// An operator.
    Told(oneshot::Sender<()>),
}

/// The journal cannot be written: what was asked is not done for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal cannot be written, so this may not last; see the journal's state in `sekisho status`")]
pub struct NotDurable;

/// What happens to a judged request once its mark is durable. Runs on the committer's thread.
pub struct Release {
    audit: Arc<Audit>,
    hold: Arc<Hold<Outgoing>>,
    outbound: Outbound,
    metrics: Arc<Metrics>,
}

impl Drive {
    /// Joins a pipeline with the edges it needs.
    pub fn new(
        pipeline: Arc<Pipeline>,
        (directory, registry): (Arc<dyn Directory>, Arc<dyn Registry>),
        store: Store<Leaving>,
        audit: Arc<Audit>,
        outbound: Outbound,
        runtime: Handle,
    ) -> Arc<Drive> {
        let draining = AtomicBool::new(false);
        Arc::new(Drive { pipeline, directory, registry, store, audit, outbound, runtime, draining })
    }

    /// A datagram has arrived; called by the worker that received it, which goes on at once.
    pub fn arrive(self: &Arc<Drive>, arrival: &Arrival<'_>) {
        if self.draining.load(Ordering::Relaxed) {
            return self.dropped(self.pipeline.metrics().unknown_client(), Reason::Draining);
        }
        // Judged now, a code would be used up in memory although nobody can be answered.
        if self.store.health() != Health::Writing {
            return self.dropped(self.pipeline.metrics().unknown_client(), Reason::DiskFailed);
        }
        let step = self.pipeline.begin(arrival);
        self.carry_out(step);
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
        // What did not fit into memory while the audit file could not be written is still in the journal.
        if let Some((after, upto)) = self.audit.left()
            && let Ok(evidence) = self.store.evidence(after, upto)
        {
            // If it fails again, the next turn tries again; the trouble is in the file's own health.
            let _ = self.audit.catch_up(&evidence);
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

    fn carry_out(self: &Arc<Drive>, step: Step) {
        match step {
            Step::Silent => {}
            Step::Resend(to, octets) => self.outbound.send(&to, &octets),
            Step::Done(finished) => self.stage(*finished),
            Step::Ask(case, question) => {
                // In number these tasks are bounded by the admission that the case holds a place of. A task that
                // panics drops its case, which gives everything back.
                let drive = Arc::clone(self);
                self.runtime.spawn(async move { drive.ask(case, question).await });
            }
        }
    }

    async fn ask(self: Arc<Drive>, case: Box<Case>, question: Question) {
        if case.is_superseded() {
            return self.dropped(&case.served.counters, Reason::Superseded);
        }
        let deadline = case.deadline();
        let answer = match question {
            Question::Find(name) => Answer::Found(self.directory.find(&name, deadline).await),
            Question::Password(user, password) => {
                Answer::Password(self.directory.check_password(&user, password, deadline).await)
            }
            Question::Confirm(user, serial) => {
                let now = clock::now().wall;
                let confirmed = registry::confirm(&*self.registry, &user, &serial, now, deadline).await;
                if let Err(why @ (NotChanged::Refused(_) | NotChanged::NoSealKey)) = &confirmed {
                    // One line for each first code: nobody but the owner of a new token gets here.
                    tracing::error!(event = "confirmation-failed", token = %serial, %why);
                }
                Answer::Confirmed(confirmed)
            }
        };
        let step = self.pipeline.resume(case, answer, clock::now());
        self.carry_out(step);
    }

    fn stage(&self, finished: Finished) {
        let Finished { marks, evidence, outgoing } = finished;
        let took = clock::now().mono.since(outgoing.at.mono);
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let evidence = evidence.number("duration_us", took).finish();
        let release = Leaving::Reply(Box::new(outgoing));
        if let Err(refused) = self.store.stage(Staged { marks, evidence: Some(evidence), release })
            && let Leaving::Reply(mut outgoing) = refused.release
        {
            outgoing.take_back();
            // Without its mark nothing leaves: the gateway asks its next server.
            let full = self.store.health() == Health::Writing;
            let reason = if full { Reason::Overload } else { Reason::DiskFailed };
            self.dropped(&outgoing.served.counters, reason);
        }
    }

    /// Makes what an operator did durable, with its evidence.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub async fn record(&self, marks: Marks, evidence: Box<[u8]>) -> Result<(), NotDurable> {
        let (told, done) = oneshot::channel();
        let staged = Staged { marks, evidence: Some(evidence), release: Leaving::Told(told) };
        self.store.stage(staged).map_err(|_| NotDurable)?;
        done.await.map_err(|_| NotDurable)
    }

    fn dropped(&self, counters: &ClientMetrics, reason: Reason) {
        self.pipeline.dropped(counters, reason, clock::now());
    }
}

impl Release {
    /// The way out: rejects wait in `hold`, which [`hold`] has made.
    pub fn new(
        audit: Arc<Audit>,
        hold: Arc<Hold<Outgoing>>,
        outbound: Outbound,
        metrics: Arc<Metrics>,
    ) -> Release {
        Release { audit, hold, outbound, metrics }
    }

    /// One run of the journal is durable, or failed: writes its evidence, then lets its replies go.
    pub fn batch(&mut self, batch: Batch<Leaving>) {
        let Batch { outcome, synced, evidence, releases } = batch;
        if let Some(took) = synced {
            self.metrics.journal_sync.observe(took.as_secs_f64());
        }
        let written =
            outcome.is_ok() && (self.audit.append(&evidence).is_ok() || !self.audit.stops_service());
        for leaving in releases {
            match leaving {
                Leaving::Reply(outgoing) if written => self.let_go(*outgoing),
                Leaving::Reply(mut outgoing) => {
                    outgoing.take_back();
                    record(&self.metrics, &outgoing, Reason::DiskFailed);
                }
                // Whoever asked may be gone; dropping the sender tells the others that it failed.
                Leaving::Told(told) if written => drop(told.send(())),
                Leaving::Told(_) => {}
            }
        }
    }

    fn let_go(&mut self, mut outgoing: Outgoing) {
        let now = clock::now().mono;
        outgoing.elapsed = now.since(outgoing.at.mono);
        let due = outgoing.not_before.filter(|&due| due > now);
        match due {
            None => send(&self.outbound, &self.metrics, outgoing),
            Some(due) => {
                outgoing.free_place();
                if let Err(refused) = self.hold.keep(due, outgoing) {
                    let (Refused::Full(outgoing) | Refused::Stopped(outgoing)) = refused;
                    self.metrics.lose(Loss::HoldFull);
                    record(&self.metrics, &outgoing, Reason::TableFull);
                }
            }
        }
    }
}

/// Keeps rejects until their time, at most `capacity` of them, and then lets them leave.
///
/// # Errors
/// If the system gives no thread.
pub fn hold(outbound: Outbound, metrics: Arc<Metrics>, capacity: usize) -> std::io::Result<Hold<Outgoing>> {
    Hold::start(capacity, move |outgoing| send(&outbound, &metrics, outgoing))
}

/// The one exit: what is counted here is what happens. It is counted first, so that who has the reply finds it counted.
fn send(outbound: &Outbound, metrics: &Metrics, mut outgoing: Outgoing) {
    let leaves = outgoing.leave(clock::now().mono).is_some();
    let silent = outgoing.reply.is_none();
    record(metrics, &outgoing, if leaves || silent { outgoing.reason } else { Reason::Superseded });
    if let Some((to, octets)) = outgoing.reply.as_ref().filter(|_| leaves) {
        outbound.send(to, octets);
    }
}

fn record(metrics: &Metrics, outgoing: &Outgoing, reason: Reason) {
    metrics.record(&outgoing.served.counters, reason, outgoing.elapsed);
    if outgoing.locks {
        metrics.lockouts.inc();
    }
}
