//! What survives a crash: an append-only journal of marks and evidence, kept short by snapshots.
//!
//! ```text
//! workers ── stage ──▶ queue ──▶ committer: one run, one sync ──▶ behind: evidence to the audit file, replies leave
//!                                    │                   └─ failed ─▶ nothing of the run leaves; probe until proven good
//!                                    └─ enough written ─▶ snapshot thread: walks the tables, then old segments go
//! ```
//!
//! An entry counts when its run is on disk, and only then does its answer leave (`sync`). While the disk works, new
//! entries gather, so that batches grow under load and one sync carries them all. A write or sync that failed is
//! never repeated as if it had worked: the pages may be gone. The store begins a new segment and writes everything in
//! memory down anew instead.

mod committer;
pub mod disk;
mod error;
pub mod figures;
pub mod files;
pub mod offline;
mod opening;
mod record;
mod recovery;
mod segment;
#[cfg(any(test, feature = "fuzzing"))]
pub mod simulated;
mod snapshot;
mod spare;
#[cfg(test)]
mod tests;

pub use disk::{Disk, Operation, Trouble};
pub use error::{Damage, DamageKind, Error};
pub use figures::Figures;
pub use files::Files;
pub use opening::{Opened, Recovered, open, open_on};
pub use record::{Entries, Entry, RunEvidence};
pub use recovery::{Item, Torn};

use crate::state::Mark;
use committer::{Committer, Message};
use crossbeam_channel::{Receiver, Sender, TrySendError};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// The version of the files; another one is refused, never guessed.
pub const FORMAT: u32 = 1;

/// Entries that may wait for the committer: at 100,000 a second a disk may stall for 300 ms before anything is dropped
/// (the sync at the end of a segment of 16 MiB was seen to take 100 ms). A waiting entry takes some 700 octets.
pub const QUEUE: usize = 32_768;
/// Octets of a segment: reserved at once, so that a full disk shows early and a sync has no metadata to write.
pub const SEGMENT_OCTETS: u64 = 16 * 1024 * 1024;
/// Octets of journal after which a snapshot is taken: what a start has to read beside it.
pub const SNAPSHOT_EVERY: u64 = 64 * 1024 * 1024;
/// The promise of `relaxed`: on disk within this time.
pub const RELAXED_SYNC: Duration = Duration::from_secs(1);
/// How often a failed disk is tried, and how often an idle one is looked at.
pub const PROBE_EVERY: Duration = Duration::from_secs(1);

/// What the store needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The state directory; made if it does not exist.
    pub directory: PathBuf,
    /// When an answer may leave.
    pub durability: Durability,
    /// How many entries may wait; see [`QUEUE`].
    pub queue: usize,
    /// See [`SEGMENT_OCTETS`].
    pub segment_octets: u64,
    /// See [`SNAPSHOT_EVERY`].
    pub snapshot_every: u64,
    /// See [`PROBE_EVERY`].
    pub probe_every: Duration,
}

impl Settings {
    /// The defaults for a directory.
    pub fn new(directory: impl Into<PathBuf>) -> Settings {
        Settings {
            directory: directory.into(),
            durability: Durability::Sync,
            queue: QUEUE,
            segment_octets: SEGMENT_OCTETS,
            snapshot_every: SNAPSHOT_EVERY,
            probe_every: PROBE_EVERY,
        }
    }
}

/// When an answer may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Durability {
    /// When its mark is on disk.
    #[default]
    Sync,
    /// When its mark is written; on disk within [`RELAXED_SYNC`]. A crash of the process loses nothing, of the
    /// machine the last second.
    Relaxed,
    /// At once; written soon after and never synced. A crash loses what was not written.
    Memory,
}

/// Decisions that belong together: what must be on disk before any of `releases` may be let go.
#[derive(Debug)]
pub struct Staged<R> {
    /// What changed in the tables, which have it already, with the evidence (see [`crate::audit`]).
    pub entries: Entries,
    /// Whatever waits for this.
    pub releases: Vec<R>,
}

impl<R> Staged<R> {
    /// One decision, with its line of evidence; an empty one is none.
    pub fn one(marks: &[Mark], evidence: &[u8], release: R) -> Staged<R> {
        let mut entries = Entries::default();
        entries.push(marks, |out| out.extend_from_slice(evidence));
        Staged { entries, releases: vec![release] }
    }

    /// What counts against the bound of the queue.
    fn weight(&self) -> usize {
        let entries = usize::try_from(self.entries.count()).unwrap_or(usize::MAX);
        entries.max(self.releases.len()).max(1)
    }
}

/// What was decided together: handed on in the order it was staged.
pub struct Batch<'b, R> {
    /// Whether the marks are as durable as was asked for. If not, no answer leaves.
    pub outcome: Result<(), Trouble>,
    /// How long the last sync took, if there was one since the batch before.
    pub synced: Option<Duration>,
    /// The evidence with its sequence numbers; on a failure it must not reach the audit file.
    pub evidence: RunEvidence<'b>,
    /// What waited.
    pub releases: Vec<R>,
}

/// What lies behind the journal.
pub trait Behind<R> {
    /// A run is being written to disk (`sync` only): time to prepare for what follows, but nothing of it is certain yet.
    fn meanwhile(&mut self, _evidence: RunEvidence<'_>) {}

    /// A run is as durable as was asked for, or failed. Must not wait for the store.
    fn batch(&mut self, batch: Batch<'_, R>);
}

impl<R, F: FnMut(Batch<'_, R>)> Behind<R> for F {
    fn batch(&mut self, batch: Batch<'_, R>) {
        self(batch);
    }
}

/// Whether the disk works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// As far as is known.
    Writing,
    /// Nothing is accepted until it is proven good again.
    Failed {
        /// What failed.
        why: Trouble,
    },
}

/// Takes marks one by one.
pub type Sink<'s> = dyn FnMut(Mark) + 's;

/// Hands everything in the tables to its argument; called by the snapshot thread while requests go on.
pub type Walk = dyn Fn(&mut Sink<'_>) + Send + Sync;

/// A line of evidence with its sequence.
pub type Evidence = (u64, Box<[u8]>);

/// The running journal; shared by all workers.
pub struct Store<R> {
    queue: Sender<Message<R>>,
    /// How many entries may wait.
    room: usize,
    durability: Durability,
    shared: Arc<Shared>,
    disk: Arc<dyn Disk>,
    /// Taken by whoever closes.
    committer: Mutex<Option<JoinHandle<Health>>>,
}

/// What the committer and everybody else know together.
#[derive(Default)]
struct Shared {
    failed: AtomicBool,
    /// Entries that wait for the committer.
    waiting: AtomicUsize,
    why: Mutex<Option<Trouble>>,
    evidence: AtomicU64,
    figures: Figures,
}

impl Shared {
    fn fail(&self, why: Trouble) {
        *self.why.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
        self.failed.store(true, Ordering::Release);
    }

    fn heal(&self) {
        self.failed.store(false, Ordering::Release);
        *self.why.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn health(&self) -> Health {
        if !self.failed.load(Ordering::Acquire) {
            return Health::Writing;
        }
        let why = self.why.lock().unwrap_or_else(PoisonError::into_inner);
        why.clone().map_or(Health::Writing, |why| Health::Failed { why })
    }
}

impl<R: Send + 'static> Store<R> {
    /// Starts the committer on an opened journal. `walk` hands out everything in the tables whenever a snapshot is
    /// taken; `behind` is told of every batch by the committer.
    ///
    /// # Errors
    /// [`Error::Disk`] if the system gives no thread.
    pub fn start(
        opened: Opened,
        walk: impl Fn(&mut Sink<'_>) + Send + Sync + 'static,
        behind: impl Behind<R> + Send + 'static,
    ) -> Result<Store<R>, Error> {
        let (room, durability) = (opened.settings.queue, opened.settings.durability);
        let (queue, staged) = crossbeam_channel::bounded(room);
        let shared = Arc::new(Shared::default());
        shared.evidence.store(opened.evidence, Ordering::Relaxed);
        let disk = Arc::clone(&opened.disk);
        let committer = Committer::new(opened, Arc::clone(&shared), Arc::new(walk), Box::new(behind));
        let committer = spawn("journal", move || committer.serve(&staged))?;
        Ok(Store { queue, room, durability, shared, disk, committer: Mutex::new(Some(committer)) })
    }

    /// Hands over decisions, or gives them back when the queue is full or the disk has failed ([`Store::health`] tells
    /// which). Never waits.
    pub fn stage(&self, staged: Staged<R>) -> Result<(), Staged<R>> {
        if self.shared.failed.load(Ordering::Acquire) {
            return Err(staged);
        }
        let weight = staged.weight();
        if self.shared.waiting.fetch_add(weight, Ordering::Relaxed).saturating_add(weight) > self.room {
            self.shared.waiting.fetch_sub(weight, Ordering::Relaxed);
            return Err(staged);
        }
        match self.queue.try_send(Message::Staged(staged)) {
            Ok(()) => Ok(()),
            Err(
                TrySendError::Full(Message::Staged(staged))
                | TrySendError::Disconnected(Message::Staged(staged)),
            ) => {
                self.shared.waiting.fetch_sub(weight, Ordering::Relaxed);
                Err(staged)
            }
            // Only what was sent comes back.
            Err(_) => Ok(()),
        }
    }

    /// When an answer may leave.
    pub fn durability(&self) -> Durability {
        self.durability
    }

    /// Whether the disk works.
    pub fn health(&self) -> Health {
        self.shared.health()
    }

    /// The same without the reason: cheap enough for every request.
    pub fn is_writing(&self) -> bool {
        !self.shared.failed.load(Ordering::Acquire)
    }

    /// How many entries wait for the committer.
    pub fn waiting(&self) -> usize {
        self.shared.waiting.load(Ordering::Relaxed)
    }

    /// What has been counted since the start.
    pub fn figures(&self) -> &Figures {
        &self.shared.figures
    }

    /// The audit file is durable up to this sequence: segments that hold nothing newer may go with the next snapshot.
    pub fn evidence_durable(&self, sequence: u64) {
        self.shared.evidence.fetch_max(sequence, Ordering::AcqRel);
    }

    /// Reads evidence back from the journal: after the first sequence, up to and with the second, which must have come
    /// out of a batch. What is too much for one answer is left for the next. Reads files, so never called by a worker.
    ///
    /// # Errors
    /// The disk.
    pub fn evidence(&self, after: u64, upto: u64) -> Result<Vec<Evidence>, Error> {
        const ENOUGH: usize = 4 * 1024 * 1024;
        let (mut found, mut octets) = (Vec::new(), 0usize);
        recovery::read(&*self.disk, after, &mut |item| {
            if let recovery::Item::Evidence(sequence, evidence) = item
                && sequence <= upto
                && octets < ENOUGH
            {
                octets = octets.saturating_add(evidence.len());
                found.push((sequence, evidence.into()));
            }
        })?;
        Ok(found)
    }

    /// Takes a snapshot now; the answer comes when it is durable. While one is being taken, or the disk has failed,
    /// the channel closes without an answer. May wait for room in the queue, so never called by a worker.
    pub fn snapshot(&self) -> Receiver<Result<(), Trouble>> {
        let (done, answer) = crossbeam_channel::bounded(1);
        let _ = self.queue.send(Message::Snapshot(done));
        answer
    }

    /// Answers everything that was staged, makes it durable, and ends the committer; says whether the disk took all of
    /// it. What is staged afterwards comes back. Waits for the disk; a second call returns when the first is done.
    pub fn close(&self) -> Health {
        let mut committer = self.committer.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(thread) = committer.take() else { return self.health() };
        let _ = self.queue.send(Message::Close);
        thread.join().unwrap_or_else(|_| self.health())
    }
}

fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, Trouble> {
    use disk::At as _;
    std::thread::Builder::new().name(name.to_owned()).spawn(work).at(Operation::Create, "a thread")
}
