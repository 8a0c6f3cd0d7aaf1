//! Carries out what a step says: the directory is asked, marks become durable, replies leave.
//!
//! ```text
//!  worker ── begin ──┬─ Resend ─────────────────────────────────────────────────▶ socket
//!                    ├─ Done ──▶ journal (one fsync for many) ──▶ audit ──┬─────▶ socket
//!                    └─ Ask ───▶ directory ── resume ──▶ as above         └ hold ▶ socket   (rejects wait)
//! ```

use super::{Answer, Case, Finished, Outgoing, Pipeline, Question, Step};
use crate::audit::Audit;
use crate::clock;
use crate::directory::Directory;
use crate::listen::{Arrival, Hold, Outbound, Refused};
use crate::metrics::{ClientMetrics, Metrics};
use crate::outcome::Reason;
use crate::store::{Batch, Staged, Store};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;

/// The edges around a pipeline. One for the whole daemon, shared by its workers.
pub struct Drive {
    pipeline: Arc<Pipeline>,
    directory: Arc<dyn Directory>,
    store: Store<Outgoing>,
    outbound: Outbound,
    metrics: Arc<Metrics>,
    runtime: Handle,
    draining: AtomicBool,
}

/// What happens to a judged request once its mark is durable. Runs on the committer's thread.
pub struct Release {
    audit: Arc<Audit>,
    hold: Hold<Outgoing>,
    outbound: Outbound,
    metrics: Arc<Metrics>,
}

impl Drive {
    /// Joins a pipeline with the edges it needs.
    pub fn new(
        pipeline: Arc<Pipeline>,
        directory: Arc<dyn Directory>,
        store: Store<Outgoing>,
        outbound: Outbound,
        metrics: Arc<Metrics>,
        runtime: Handle,
    ) -> Arc<Drive> {
        let draining = AtomicBool::new(false);
        Arc::new(Drive { pipeline, directory, store, outbound, metrics, runtime, draining })
    }

    /// A datagram has arrived; called by the worker that received it, which goes on at once.
    pub fn arrive(self: &Arc<Drive>, arrival: &Arrival<'_>) {
        if self.draining.load(Ordering::Relaxed) {
            return self.dropped(self.metrics.unknown_client(), Reason::Draining);
        }
        let step = self.pipeline.begin(arrival);
        self.carry_out(step);
    }

    /// Nothing new is taken from here on; what is being judged goes on.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// The pipeline, for reload and for what operators ask.
    pub fn pipeline(&self) -> &Arc<Pipeline> {
        &self.pipeline
    }

    /// The journal, for its health and for what operators change.
    pub fn store(&self) -> &Store<Outgoing> {
        &self.store
    }

    /// The directory, for what operators ask.
    pub fn directory(&self) -> &Arc<dyn Directory> {
        &self.directory
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
            return self.dropped(&case.counters, Reason::Superseded);
        }
        let deadline = case.deadline();
        let answer = match question {
            Question::Find(name) => Answer::Found(self.directory.find(&name, deadline).await),
            Question::Password(user, password) => {
                Answer::Password(self.directory.check_password(&user, password, deadline).await)
            }
        };
        let step = self.pipeline.resume(case, answer, clock::now());
        self.carry_out(step);
    }

    fn stage(&self, finished: Finished) {
        let Finished { marks, evidence, outgoing } = finished;
        if let Err(refused) = self.store.stage(Staged { marks, evidence: Some(evidence), release: outgoing }) {
            // Without its mark nothing leaves: the gateway asks its next server.
            self.dropped(&refused.release.counters, Reason::DiskFailed);
        }
    }

    fn dropped(&self, counters: &ClientMetrics, reason: Reason) {
        self.metrics.record(counters, reason, Duration::ZERO);
    }
}

impl Release {
    /// The way out: `hold_capacity` rejects may wait at once.
    ///
    /// # Errors
    /// If the thread that holds delayed rejects cannot be started.
    pub fn new(
        audit: Arc<Audit>,
        outbound: Outbound,
        metrics: Arc<Metrics>,
        hold_capacity: usize,
    ) -> std::io::Result<Release> {
        let (sender, counts) = (outbound.clone(), Arc::clone(&metrics));
        let hold = Hold::start(hold_capacity, move |outgoing| send(&sender, &counts, outgoing))?;
        Ok(Release { audit, hold, outbound, metrics })
    }

    /// One run of the journal is durable, or failed: writes its evidence, then lets its replies go.
    pub fn batch(&mut self, batch: Batch<'_, Outgoing>) {
        let Batch { evidence, releases, result } = batch;
        if result.is_err() {
            for outgoing in releases {
                record(&self.metrics, &outgoing, Reason::DiskFailed);
            }
            return;
        }
        let written = self.audit.append(evidence);
        for outgoing in releases {
            if written.is_err() && self.audit.stops_service() {
                record(&self.metrics, &outgoing, Reason::DiskFailed);
                continue;
            }
            self.let_go(outgoing);
        }
    }

    /// Waits until every held reject has left, at most `grace`.
    pub fn finish(self, grace: Duration) {
        self.hold.finish(grace);
    }

    fn let_go(&mut self, mut outgoing: Outgoing) {
        let now = clock::now().mono;
        outgoing.elapsed = now.since(outgoing.at.mono);
        let due = outgoing.not_before.filter(|&due| due > now);
        match due {
            None => send(&self.outbound, &self.metrics, outgoing),
            Some(due) => {
                if let Err(refused) = self.hold.keep(due, outgoing) {
                    let (Refused::Full(outgoing) | Refused::Stopped(outgoing)) = refused;
                    record(&self.metrics, &outgoing, Reason::TableFull);
                }
            }
        }
    }
}

/// The one exit: what is counted here is what happened.
fn send(outbound: &Outbound, metrics: &Metrics, mut outgoing: Outgoing) {
    let reason = if outgoing.reply.is_none() {
        outgoing.reason
    } else if let Some((to, octets)) = outgoing.leave(clock::now().mono) {
        outbound.send(&to, octets);
        outgoing.reason
    } else {
        Reason::Superseded
    };
    record(metrics, &outgoing, reason);
}

fn record(metrics: &Metrics, outgoing: &Outgoing, reason: Reason) {
    metrics.record(&outgoing.counters, reason, outgoing.elapsed);
    if outgoing.locks {
        metrics.lockouts.inc();
    }
}
