//! `sekisho state verify|dump|backup|restore|recover`: what can be done to a state directory from outside.
//!
//! Verify, dump and backup only read, also while the daemon works. Restore and recover take the directory.

use super::disk::{At as _, Disk, Operation, Trouble, read_all};
use super::error::{Damage, Error};
use super::files::Files;
use super::opening::take;
use super::record::{Entries, RunBuilder};
pub use super::recovery::Item;
use super::recovery::{self, Reading, Torn};
use super::segment::{self, Header, Segment};
use super::snapshot;
use crate::clock::Wall;
use crate::state::Mark;
use std::path::Path;
use std::sync::Arc;

/// How often a reading is begun again that the working daemon may have disturbed by taking a snapshot.
const ATTEMPTS: usize = 5;
/// Octets of one run of kept evidence.
const RUN_OCTETS: usize = 1024 * 1024;

/// What a state directory holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Up to which entry the snapshot goes; `None` if there is none.
    pub snapshot: Option<u64>,
    /// Segments that are needed.
    pub segments: usize,
    /// The sequence of the last entry.
    pub last: u64,
    /// How many marks there are, those of the same slot counted each.
    pub marks: u64,
    /// The latest time that any code was judged at.
    pub highest: Option<Wall>,
    /// A torn end: normal after a crash, and while the daemon is writing.
    pub torn: Option<Torn>,
    /// Everything that cannot be read. Empty: the directory is whole.
    pub damage: Vec<Damage>,
}

/// How to recover a directory that cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `drop-damaged`: keep all that can be read.
    DropDamaged,
    /// `start-empty`: give up everything.
    StartEmpty,
}

impl Mode {
    /// The word on the command line.
    pub const fn text(self) -> &'static str {
        match self {
            Mode::DropDamaged => "drop-damaged",
            Mode::StartEmpty => "start-empty",
        }
    }
}

/// What a recovery gave up. Nothing is deleted: the old files stay under `damaged-…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenUp {
    /// The places that cannot be read; empty if nothing was damaged, and then nothing was changed.
    pub damage: Vec<Damage>,
    /// Marks that were kept.
    pub marks: u64,
    /// Lines of evidence that were kept for the audit file.
    pub evidence: usize,
    /// Failures, locks and used codes up to this time may have been forgotten: every code of a step that begins
    /// before it plus the window is refused, for everybody, wherever a clock may have moved the window.
    /// [`Recovered::refuse`](super::Recovered::refuse) says so at each start.
    pub refuse: Option<Wall>,
}

/// Checks everything.
///
/// # Errors
/// Only if nothing can be said; damage is in the report.
pub fn verify(directory: &Path) -> Result<Report, Error> {
    let reading = read(&Files::new(directory), directory, &mut |_| {})?;
    Ok(Report {
        snapshot: reading.snapshot.map(|(_, header)| header.sequence),
        segments: reading.segments.len(),
        last: reading.last,
        marks: reading.marks,
        highest: reading.highest,
        torn: reading.torn,
        damage: reading.damage,
    })
}

/// Hands out everything that can be read, and then reports as [`verify`] does. When the daemon takes a snapshot in
/// between, marks come twice.
///
/// # Errors
/// As [`verify`].
pub fn dump(directory: &Path, sink: &mut dyn FnMut(Item<'_>)) -> Result<Vec<Damage>, Error> {
    Ok(read(&Files::new(directory), directory, sink)?.damage)
}

fn read(disk: &dyn Disk, directory: &Path, sink: &mut dyn FnMut(Item<'_>)) -> Result<Reading, Error> {
    let mut last = recovery::read(disk, 0, sink);
    for _ in 1..ATTEMPTS {
        match &last {
            Ok(reading) if reading.damage.is_empty() => break,
            Err(Error::Version { .. }) => break,
            _ => last = recovery::read(disk, 0, sink),
        }
    }
    let reading = last?;
    if reading.snapshot.is_none() && reading.segments.is_empty() && reading.damage.is_empty() {
        return Err(Error::Nothing(directory.display().to_string()));
    }
    Ok(reading)
}

/// Copies a state directory, also while the daemon works; `to` must not exist or be empty. What is copied is checked.
///
/// # Errors
/// [`Error::Damaged`] if the directory is not whole, [`Error::NotEmpty`], or the disk.
pub fn backup(directory: &Path, to: &Path) -> Result<Report, Error> {
    let (from, target) = (Files::new(directory), Files::new(to));
    take(&target, &to.display().to_string())?;
    must_be_empty(&target, to)?;
    let mut attempt = 1;
    loop {
        let copied = copy(&from, &target, directory).and_then(|()| whole(verify(to)?));
        if copied.is_ok() || attempt >= ATTEMPTS {
            return copied;
        }
        // A snapshot has come between, and the segments went: what was copied is of no use.
        attempt += 1;
        for name in target.names().at(Operation::List, "the copy")? {
            target.remove(&name).at(Operation::Remove, &name)?;
        }
    }
}

fn whole(report: Report) -> Result<Report, Error> {
    match report.damage.split_first() {
        None => Ok(report),
        Some((first, others)) => Err(Error::Damaged { first: first.clone(), others: others.len() }),
    }
}

fn copy(from: &dyn Disk, to: &dyn Disk, directory: &Path) -> Result<(), Error> {
    let reading = read(from, directory, &mut |_| {})?;
    if let Some((first, others)) = reading.damage.split_first() {
        return Err(Error::Damaged { first: first.clone(), others: others.len() });
    }
    let segments = reading.segments.iter().map(|seen| (segment::name(seen.number), Some(seen.end)));
    let snapshot = reading.snapshot.iter().map(|(name, _)| (name.clone(), None));
    for (name, end) in snapshot.chain(segments) {
        let bytes = read_all(from, &name)?;
        let end = end.and_then(|end| usize::try_from(end).ok()).unwrap_or(bytes.len());
        let file = to.create(&name, 0).at(Operation::Create, &name)?;
        file.write_at(0, bytes.get(..end).unwrap_or(&bytes)).at(Operation::Write, &name)?;
        file.sync().at(Operation::Sync, &name)?;
    }
    Ok(to.sync_directory().at(Operation::SyncDirectory, "the copy")?)
}

fn must_be_empty(disk: &dyn Disk, path: &Path) -> Result<(), Error> {
    let names = disk.names().at(Operation::List, &path.display().to_string())?;
    if names.is_empty() { Ok(()) } else { Err(Error::NotEmpty(path.display().to_string())) }
}

/// Makes a state directory from a backup. What happened after the backup was taken is not in it, so every code up to
/// `now` plus its window will be refused, wherever a clock may have moved it. `evidence_after` is the last sequence that
/// the audit file has; 0 if none.
///
/// # Errors
/// [`Error::NotEmpty`] if `to` holds anything, [`Error::Damaged`] if the backup is not whole, or the disk.
pub fn restore(backup: &Path, to: &Path, evidence_after: u64, now: Wall) -> Result<GivenUp, Error> {
    let target: Arc<dyn Disk> = Arc::new(Files::new(to));
    take(&*target, &to.display().to_string())?;
    must_be_empty(&*target, to)?;
    let mut kept = Kept::default();
    let reading = read(&Files::new(backup), backup, &mut |item| kept.keep(item, evidence_after))?;
    if let Some((first, others)) = reading.damage.split_first() {
        return Err(Error::Damaged { first: first.clone(), others: others.len() });
    }
    let last = reading.last.max(kept.snapshot_of(&reading)).max(evidence_after);
    begin_anew(&target, &kept, last, 1, now)?;
    Ok(kept.given_up(Vec::new(), now))
}

/// Makes a damaged directory usable. `evidence_after` is the last sequence that the audit file has; 0 if none.
///
/// # Errors
/// [`Error::InUse`], [`Error::Version`], or the disk.
pub fn recover(directory: &Path, mode: Mode, evidence_after: u64, now: Wall) -> Result<GivenUp, Error> {
    recover_on(&(Arc::new(Files::new(directory)) as Arc<dyn Disk>), directory, mode, evidence_after, now)
}

pub(super) fn recover_on(
    disk: &Arc<dyn Disk>,
    directory: &Path,
    mode: Mode,
    evidence_after: u64,
    now: Wall,
) -> Result<GivenUp, Error> {
    take(&**disk, &directory.display().to_string())?;
    let names = disk.names().at(Operation::List, "the state directory")?;
    let mut kept = Kept::default();
    let reading = recovery::read(&**disk, evidence_after, &mut |item| kept.keep(item, evidence_after));
    let (damage, last) = match (mode, reading) {
        (Mode::DropDamaged, reading) => {
            let reading = reading?;
            if reading.damage.is_empty() {
                return Ok(GivenUp { damage: Vec::new(), marks: reading.marks, evidence: 0, refuse: None });
            }
            let last = reading.last.max(kept.snapshot_of(&reading));
            (reading.damage, last)
        }
        (Mode::StartEmpty, reading) => {
            let (damage, last) = reading.map_or((Vec::new(), 0), |reading| (reading.damage, reading.last));
            kept = Kept::default();
            (damage, last)
        }
    };
    // Sequences that were given out must not be given out again, and not all of them could be read.
    let named = names.iter().filter_map(|name| snapshot::sequence(name)).max().unwrap_or(0);
    let last = last.max(named).max(evidence_after).saturating_add(1 << 32);
    let number = names.iter().filter_map(|name| segment::number(name)).max().unwrap_or(0).saturating_add(1);
    begin_anew(disk, &kept, last, number, now)?;
    for name in names.iter().filter(|name| segment::number(name).or(snapshot::sequence(name)).is_some()) {
        disk.rename(name, &format!("damaged-{}-{name}", now.seconds())).at(Operation::Rename, name)?;
    }
    disk.sync_directory().at(Operation::SyncDirectory, "the state directory")?;
    Ok(kept.given_up(damage, now))
}

/// What could be read.
#[derive(Default)]
struct Kept {
    marks: Vec<Mark>,
    evidence: Vec<Box<[u8]>>,
}

impl Kept {
    fn keep(&mut self, item: Item<'_>, evidence_after: u64) {
        match item {
            Item::Mark(Mark::Token(mark)) => self.marks.push(Mark::Token(mark.doubted())),
            Item::Mark(mark) => self.marks.push(mark),
            Item::Evidence(sequence, bytes) if sequence > evidence_after => self.evidence.push(bytes.into()),
            Item::Evidence(..) => {}
        }
    }

    fn snapshot_of(&self, reading: &Reading) -> u64 {
        reading.snapshot.as_ref().map_or(0, |(_, header)| header.sequence)
    }

    fn given_up(&self, damage: Vec<Damage>, now: Wall) -> GivenUp {
        GivenUp { damage, marks: self.marks.len() as u64, evidence: self.evidence.len(), refuse: Some(now) }
    }
}

/// Writes a journal that begins behind `last`: the marks as a snapshot, the evidence as its first segment.
fn begin_anew(disk: &Arc<dyn Disk>, kept: &Kept, last: u64, number: u64, now: Wall) -> Result<(), Trouble> {
    let created = now.seconds();
    let header = Header { number, previous: last, first: last.saturating_add(1), created };
    let mut segment = Segment::create(disk, header, 0)?;
    let (mut run, mut first) = (RunBuilder::default(), header.first);
    run.clear();
    for evidence in &kept.evidence {
        let mut entry = Entries::with_room(evidence.len());
        entry.push(&[], |out| out.extend_from_slice(evidence));
        run.append(&entry);
        if run.len() >= RUN_OCTETS {
            segment.write(&mut run, first, first.saturating_sub(1))?;
            first = first.saturating_add(u64::from(run.count()));
            run.clear();
        }
    }
    if run.count() > 0 {
        segment.write(&mut run, first, first.saturating_sub(1))?;
    }
    segment.sync()?;
    // A second is added because the time of the last judgement may be in the middle of this one.
    let refuse = created.saturating_add(1);
    let snapshot = snapshot::Header { sequence: last, evidence: last, segment: number, created, refuse };
    snapshot::write(&**disk, snapshot, &|sink| kept.marks.iter().for_each(|mark| sink(*mark)))?;
    Ok(())
}
