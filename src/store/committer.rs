//! The one thread that writes the journal.
//!
//! ```text
//!            write or sync failed, or the file is gone
//!  writing ─────────────────────────────────────────────▶ failed
//!     ▲                                                      │ every second
//!     └── new segment written, read back and durable, ◀──────┘
//!         and everything in memory in a new snapshot
//! ```

use super::disk::{Disk, Operation, Trouble};
use super::opening::Opened;
use super::record::RunBuilder;
use super::segment::{self, Header, Segment};
use super::{
    Batch, Behind, Durability, Figures, Health, RELAXED_SYNC, Settings, Shared, Staged, Walk, snapshot, spawn,
};
use crate::clock::{self, Mono};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

/// Entries in one run at most: what gathers during one sync at the highest rate, and a bound for how long the first
/// waits for the last.
const RUN_ENTRIES: usize = 4096;
/// Octets in one run at most, but for its last entry.
const RUN_OCTETS: usize = 1024 * 1024;
/// How long more is waited for when nobody waits for the journal (`memory`): to wake this thread up costs as much as
/// ten entries.
const GATHERING: Duration = Duration::from_millis(2);
/// Segments that may pile up (restarts leave short ones) before a snapshot is taken for them.
const SEGMENTS_MAX: usize = 64;

/// What comes through the queue.
pub(super) enum Message<R> {
    Staged(Staged<R>),
    Snapshot(Sender<Result<(), Trouble>>),
    Close,
}

pub(super) struct Committer<R> {
    disk: Arc<dyn Disk>,
    settings: Settings,
    shared: Arc<Shared>,
    walk: Arc<Walk>,
    behind: Box<dyn Behind<R> + Send>,

    /// Absent while the disk has failed.
    segment: Option<Segment>,
    /// The highest number given to a segment.
    number: u64,
    /// The sequence of the next entry.
    next: u64,
    /// The last sequence that was written.
    written: u64,
    /// The last sequence that is known to be on disk.
    durable: u64,
    /// Segments that are not written any more, each with its last sequence.
    closed: Vec<(u64, u64)>,
    /// How many of them the last snapshot had to keep, because the audit file was behind.
    kept: usize,
    /// Octets of journal since the last snapshot.
    grown: u64,
    refuse: u64,

    run: RunBuilder,
    releases: Vec<R>,
    /// What of the queue's bound is in the run.
    taken: usize,

    /// When the oldest write was made that is not synced yet (`relaxed`).
    unsynced: Option<Mono>,
    /// How long the last sync took, until the next batch tells it.
    synced: Option<Duration>,
    /// When a failed disk is tried next, or an idle one is looked at.
    look: Mono,
    /// No automatic snapshot before this time: the last one failed.
    not_before: Mono,
    /// The snapshot that is being taken; it gives the segments that it removed.
    snapshot: Option<JoinHandle<Result<Vec<u64>, Trouble>>>,
}

impl<R: Send + 'static> Committer<R> {
    pub(super) fn new(
        opened: Opened,
        shared: Arc<Shared>,
        walk: Arc<Walk>,
        behind: Box<dyn Behind<R> + Send>,
    ) -> Committer<R> {
        let written = opened.next.saturating_sub(1);
        let mut run = RunBuilder::default();
        run.clear();
        Committer {
            disk: opened.disk,
            settings: opened.settings,
            shared,
            walk,
            behind,
            number: opened.segment.number(),
            segment: Some(opened.segment),
            next: opened.next,
            written,
            durable: written,
            closed: opened.closed,
            kept: 0,
            grown: opened.grown,
            refuse: opened.refuse,
            run,
            releases: Vec::new(),
            taken: 0,
            unsynced: None,
            synced: None,
            look: Mono::default(),
            not_before: Mono::default(),
            snapshot: None,
        }
    }

    /// Works until it is told to close or nobody can stage any more; says whether the disk took everything.
    pub(super) fn serve(mut self, queue: &Receiver<Message<R>>) -> Health {
        // Whatever ends this thread, a panic of what lies behind included: nothing is accepted after it.
        let _end = Ended(Arc::clone(&self.shared));
        loop {
            match queue.recv_timeout(self.patience()) {
                Ok(Message::Staged(first)) => {
                    if self.settings.durability == Durability::Memory && first.releases.is_empty() {
                        std::thread::sleep(GATHERING);
                    }
                    self.take(first);
                    if let Some(other) = self.gather(queue)
                        && self.obey(other)
                    {
                        break;
                    }
                }
                Ok(other) => {
                    if self.obey(other) {
                        break;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.tick(clock::now().mono);
        }
        while let Ok(message) = queue.try_recv() {
            if let Message::Staged(staged) = message {
                self.take(staged);
                self.gather(queue);
            }
        }
        self.finish();
        self.shared.health()
    }

    /// Takes what waits, up to the size of a run, and commits it. Returns a message that was not an entry.
    fn gather(&mut self, queue: &Receiver<Message<R>>) -> Option<Message<R>> {
        let mut other = None;
        while self.taken < RUN_ENTRIES && self.run.len() < RUN_OCTETS {
            match queue.try_recv() {
                Ok(Message::Staged(staged)) => self.take(staged),
                Ok(message) => {
                    other = Some(message);
                    break;
                }
                Err(_) => break,
            }
        }
        self.commit();
        other
    }

    /// Does what was asked; whether that was to close.
    fn obey(&mut self, message: Message<R>) -> bool {
        match message {
            Message::Close => return true,
            Message::Snapshot(done) => self.begin_snapshot(Some(done)),
            Message::Staged(staged) => {
                self.take(staged);
                self.commit();
            }
        }
        false
    }

    /// Puts entries into the run.
    pub(super) fn take(&mut self, mut staged: Staged<R>) {
        self.taken = self.taken.saturating_add(staged.weight());
        if self.segment.is_some() {
            self.run.append(&staged.entries);
        }
        self.releases.append(&mut staged.releases);
    }

    /// Makes the run as durable as was asked for, and lets it go.
    pub(super) fn commit(&mut self) {
        let first = self.next;
        if self.settings.durability == Durability::Memory {
            self.let_go(first, self.outcome());
            if let Err(trouble) = self.write() {
                self.fail(trouble);
            }
        } else {
            let written = self.outcome().and_then(|()| self.write());
            if written.is_ok() && self.settings.durability == Durability::Sync {
                self.behind.meanwhile(self.run.evidence(first));
            }
            let outcome = written.and_then(|()| self.make_durable());
            if let (Err(trouble), true) = (&outcome, self.segment.is_some()) {
                self.fail(trouble.clone());
            }
            self.let_go(first, outcome);
        }
        self.run.clear();
        self.shared.waiting.fetch_sub(self.taken, Ordering::Relaxed);
        self.taken = 0;
    }

    fn outcome(&self) -> Result<(), Trouble> {
        match self.segment {
            Some(_) => Ok(()),
            None => Err(self.trouble()),
        }
    }

    fn trouble(&self) -> Trouble {
        let why = self.shared.why.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        why.clone().unwrap_or_else(ended)
    }

    fn let_go(&mut self, first: u64, outcome: Result<(), Trouble>) {
        let figures = &self.shared.figures;
        let count = self.taken as u64;
        match &outcome {
            Ok(()) => {
                Figures::add(&figures.batches, 1);
                Figures::add(&figures.entries, count);
            }
            Err(_) => Figures::add(&figures.unanswered, count),
        }
        let releases = std::mem::take(&mut self.releases);
        if count > 0 {
            let synced = self.synced.take();
            let evidence = self.run.evidence(first);
            self.behind.batch(Batch { outcome, synced, evidence, releases });
        }
    }

    /// Writes the run, in a new segment if this one is full.
    fn write(&mut self) -> Result<(), Trouble> {
        let count = u64::from(self.run.count());
        if count == 0 {
            return Ok(());
        }
        let first = self.next;
        // Taken even if the write fails: the octets may be on disk, so these numbers are never given out again.
        self.next = self.next.saturating_add(count);
        let length = self.run.len() as u64;
        let full = self.segment.as_ref().is_some_and(|segment| {
            segment.end() > segment::HEADER as u64
                && (segment.end().saturating_add(length) > self.settings.segment_octets
                    || segment.is_outdone())
        });
        if full {
            self.roll(first)?;
        }
        let durable = self.durable;
        let Some(segment) = &mut self.segment else { return Ok(()) };
        let begin = segment.end();
        segment.write(&mut self.run, first, durable)?;
        if self.settings.durability == Durability::Sync {
            segment.begin_sync(begin);
        }
        self.written = self.next.saturating_sub(1);
        self.grown = self.grown.saturating_add(length);
        Figures::add(&self.shared.figures.octets, length);
        Ok(())
    }

    /// Ends the segment and begins the next. All of a segment is on disk before there is another, so that only the
    /// last one can be torn.
    fn roll(&mut self, first: u64) -> Result<(), Trouble> {
        self.sync()?;
        let header = self.header(self.written, first);
        let new = Segment::create(&self.disk, header, self.settings.segment_octets)?;
        self.closed.push((self.segment.replace(new).map_or(0, |old| old.number()), self.written));
        Figures::add(&self.shared.figures.segments, 1);
        Ok(())
    }

    fn header(&mut self, previous: u64, first: u64) -> Header {
        self.number = self.number.saturating_add(1);
        Header { number: self.number, previous, first, created: clock::now().wall.seconds() }
    }

    fn make_durable(&mut self) -> Result<(), Trouble> {
        if self.written == self.durable {
            return Ok(());
        }
        if self.settings.durability == Durability::Sync {
            return self.sync();
        }
        self.unsynced.get_or_insert(clock::now().mono);
        self.segment.as_ref().map_or(Ok(()), Segment::check)
    }

    fn sync(&mut self) -> Result<(), Trouble> {
        let Some(segment) = &self.segment else { return Ok(()) };
        let before = clock::now().mono;
        segment.sync()?;
        self.synced = Some(clock::now().mono.since(before));
        Figures::add(&self.shared.figures.syncs, 1);
        self.durable = self.written;
        self.unsynced = None;
        Ok(())
    }

    /// The disk has failed: nothing more goes into this segment.
    fn fail(&mut self, trouble: Trouble) {
        if let Some(segment) = self.segment.take() {
            self.closed.push((segment.number(), self.durable));
        }
        self.unsynced = None;
        self.look = clock::now().mono.plus(self.settings.probe_every);
        self.shared.fail(trouble);
        Figures::add(&self.shared.figures.failures, 1);
    }

    /// How long to wait for an entry before there is something else to do.
    fn patience(&self) -> Duration {
        let now = clock::now().mono;
        let sync = self.unsynced.map(|since| since.plus(RELAXED_SYNC).since(now));
        self.look.since(now).min(sync.unwrap_or(self.settings.probe_every))
    }

    /// Whatever is due at `now`.
    pub(super) fn tick(&mut self, now: Mono) {
        if self.unsynced.is_some_and(|since| now.since(since) >= RELAXED_SYNC)
            && let Err(trouble) = self.sync()
        {
            self.fail(trouble);
        }
        if now >= self.look {
            self.look = now.plus(self.settings.probe_every);
            match self.segment.as_ref().map(Segment::check) {
                Some(Ok(())) => {}
                Some(Err(trouble)) => self.fail(trouble),
                None => self.probe(),
            }
        }
        self.reap(now);
        let due = self.grown >= self.settings.snapshot_every
            || self.closed.len() >= self.kept.saturating_add(SEGMENTS_MAX);
        if due && now >= self.not_before {
            self.begin_snapshot(None);
        }
    }

    /// Tries whether the disk is good again: a new segment that reads as it was written, and a snapshot of everything.
    pub(super) fn probe(&mut self) {
        // The snapshot thread has the name that a snapshot is built under.
        if self.snapshot.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return;
        }
        let header = self.header(self.durable, self.next);
        match self.prove(header) {
            Ok(segment) => {
                self.segment = Some(segment);
                self.written = self.next.saturating_sub(1);
                self.durable = self.written;
                self.grown = 0;
                self.shared.heal();
            }
            Err(trouble) => {
                // Best effort: on a full disk what was begun is in the way.
                let (segment, snapshot) =
                    (segment::name(header.number), snapshot::name(header.first.saturating_sub(1)));
                for name in [segment::unfinished(&segment), segment::unfinished(&snapshot), segment] {
                    let _ = self.disk.remove(&name);
                }
                self.shared.fail(trouble);
                Figures::add(&self.shared.figures.failed_probes, 1);
            }
        }
    }

    fn prove(&self, header: Header) -> Result<Segment, Trouble> {
        use super::disk::At as _;
        self.disk.lock().at(Operation::Lock, "the state directory")?;
        let segment = Segment::create(&self.disk, header, self.settings.segment_octets)?;
        segment.prove(header)?;
        let mut snapshot = self.snapshot_header(self.next.saturating_sub(1));
        let names = self.disk.names().at(Operation::List, "the state directory")?;
        let gone = |number| !names.contains(&segment::name(number));
        if self.closed.iter().any(|(number, last)| *last > snapshot.evidence && gone(*number)) {
            // The directory was emptied: nobody shall look for evidence in segments that are gone.
            snapshot.evidence = snapshot.sequence;
        }
        snapshot::write(&*self.disk, snapshot, &*self.walk)?;
        Ok(segment)
    }

    fn snapshot_header(&self, sequence: u64) -> snapshot::Header {
        snapshot::Header {
            sequence,
            evidence: self.shared.evidence.load(Ordering::Acquire),
            segment: self.number,
            created: clock::now().wall.seconds(),
            refuse: self.refuse,
        }
    }

    /// Takes a snapshot in a thread of its own, unless one is being taken.
    pub(super) fn begin_snapshot(&mut self, done: Option<Sender<Result<(), Trouble>>>) {
        if self.snapshot.is_some() || self.segment.is_none() {
            return;
        }
        // The tables have whatever was staged before they are walked.
        let header = self.snapshot_header(self.written);
        let (disk, walk, closed) = (Arc::clone(&self.disk), Arc::clone(&self.walk), self.closed.clone());
        let thread = spawn("snapshot", move || {
            let taken = take_snapshot(&*disk, header, &*walk, &closed);
            if let Some(done) = done {
                let _ = done.send(taken.as_ref().map(|_| ()).map_err(Clone::clone));
            }
            taken
        });
        self.grown = 0;
        match thread {
            Ok(thread) => self.snapshot = Some(thread),
            Err(_) => self.snapshot_failed(clock::now().mono),
        }
    }

    fn reap(&mut self, now: Mono) {
        if let Some(thread) = self.snapshot.take_if(|thread| thread.is_finished()) {
            self.snapshot_ended(thread.join(), now);
        }
    }

    fn snapshot_ended(&mut self, ended: std::thread::Result<Result<Vec<u64>, Trouble>>, now: Mono) {
        match ended {
            Ok(Ok(removed)) => {
                self.closed.retain(|(number, _)| !removed.contains(number));
                self.kept = self.closed.len();
                Figures::add(&self.shared.figures.snapshots, 1);
            }
            _ => self.snapshot_failed(now),
        }
    }

    fn snapshot_failed(&mut self, now: Mono) {
        Figures::add(&self.shared.figures.snapshot_failures, 1);
        self.grown = self.settings.snapshot_every;
        self.not_before = now.plus(self.settings.probe_every.saturating_mul(10));
    }

    /// The last words: everything on disk, and a seal behind it, so that nobody takes damage for a torn end.
    pub(super) fn finish(&mut self) {
        self.run.clear();
        if let Err(trouble) = self
            .sync()
            .and_then(|()| {
                let (next, durable) = (self.next, self.durable);
                match &mut self.segment {
                    Some(segment) if segment.end() > segment::HEADER as u64 => {
                        segment.write(&mut self.run, next, durable)
                    }
                    _ => Ok(()),
                }
            })
            .and_then(|()| self.sync())
        {
            self.fail(trouble);
        }
        self.await_snapshot();
    }

    pub(super) fn await_snapshot(&mut self) {
        if let Some(thread) = self.snapshot.take() {
            self.snapshot_ended(thread.join(), clock::now().mono);
        }
    }
}

/// Writes a snapshot, and removes what it makes superfluous: older snapshots, and the segments whose marks are in it
/// and whose evidence is in the audit file.
pub(super) fn take_snapshot(
    disk: &dyn Disk,
    header: snapshot::Header,
    walk: &Walk,
    closed: &[(u64, u64)],
) -> Result<Vec<u64>, Trouble> {
    use super::disk::At as _;
    snapshot::write(disk, header, walk)?;
    let names = disk.names().at(Operation::List, "the state directory")?;
    let older = |name: &&String| snapshot::sequence(name).is_some_and(|old| old < header.sequence);
    for name in names.iter().filter(older) {
        disk.remove(name).at(Operation::Remove, name)?;
    }
    let superfluous =
        closed.iter().filter(|(number, last)| *number < header.segment && *last <= header.covered());
    let superfluous: Vec<u64> = superfluous.map(|(number, _)| *number).collect();
    for name in superfluous.iter().map(|number| segment::name(*number)).filter(|name| names.contains(name)) {
        disk.remove(&name).at(Operation::Remove, &name)?;
    }
    Ok(superfluous)
}

/// Marks the store as failed when the committer ends.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.fail(ended());
    }
}

fn ended() -> Trouble {
    Trouble {
        operation: Operation::Write,
        file: "the journal".to_owned(),
        reason: "the journal was closed".to_owned(),
        kind: std::io::ErrorKind::NotConnected,
    }
}
