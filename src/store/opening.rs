//! Opening a state directory: take it, read it, cut a torn end, begin a new segment.

use super::disk::{At as _, Disk, Operation, read_all};
use super::error::Error;
use super::recovery::{self, Item, Reading, Torn};
use super::segment::{self, Header, Segment};
use super::{Evidence, Files, Settings};
use crate::clock::{self, Wall};
use crate::state::Mark;
use std::io;
use std::sync::Arc;

/// What was found.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Evidence that the audit file may not have, with its sequence, in order: write it before anything new.
    pub evidence: Vec<Evidence>,
    /// The latest time that any code was judged at.
    pub highest: Option<Wall>,
    /// Marks up to this time may have been lost (a recovery or a restored backup): refuse every code of a step that
    /// begins before this time plus its (moved) window, and every counter code until its token is synchronised anew.
    pub refuse: Option<Wall>,
    /// The torn end of an interrupted write; it has been cut.
    pub torn: Option<Torn>,
    /// How many marks were replayed.
    pub marks: u64,
    /// How many segments were read.
    pub segments: usize,
    /// The sequence of the last entry.
    pub last: u64,
}

/// A journal that is ready to be written; [`Store::start`](super::Store::start) takes it.
pub struct Opened {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) settings: Settings,
    pub(super) segment: Segment,
    /// The sequence of the next entry.
    pub(super) next: u64,
    /// Older segments with the sequence of their last entry.
    pub(super) closed: Vec<(u64, u64)>,
    /// Octets of journal that are not in a snapshot.
    pub(super) grown: u64,
    /// The audit file is durable up to here.
    pub(super) evidence: u64,
    pub(super) refuse: u64,
}

/// Opens or creates the directory of the settings, replays snapshot and journal through `replay`, and cuts a torn end.
/// `evidence_after` is the last sequence that the audit file has; 0 if none.
///
/// # Errors
/// See [`Error`]; nothing was changed except that a torn end may have been cut.
pub fn open(
    settings: Settings,
    evidence_after: u64,
    replay: impl FnMut(Mark),
) -> Result<(Opened, Recovered), Error> {
    let disk: Arc<dyn Disk> = Arc::new(Files::new(&settings.directory));
    open_on(disk, settings, evidence_after, replay)
}

/// The same on a disk of any kind.
///
/// # Errors
/// As [`open`].
pub fn open_on(
    disk: Arc<dyn Disk>,
    settings: Settings,
    evidence_after: u64,
    mut replay: impl FnMut(Mark),
) -> Result<(Opened, Recovered), Error> {
    take(&*disk, &settings.directory.display().to_string())?;
    let mut evidence = Vec::new();
    let reading = recovery::read(&*disk, evidence_after, &mut |item| match item {
        Item::Mark(mark) => replay(mark),
        Item::Evidence(sequence, bytes) => evidence.push((sequence, bytes.into())),
    })?;
    if let Some((first, others)) = reading.damage.split_first() {
        return Err(Error::Damaged { first: first.clone(), others: others.len() });
    }
    mend(&*disk, &reading)?;

    let snapshot = reading.snapshot.as_ref().map(|(_, header)| *header).unwrap_or_default();
    let mut closed: Vec<(u64, u64)> = reading.segments.iter().map(|seen| (seen.number, seen.last)).collect();
    // An empty last segment is begun again under its own number, or every restart would leave one behind.
    let empty = reading.segments.last().filter(|seen| seen.is_empty);
    if empty.is_some() {
        closed.pop();
    }
    let newest = reading.segments.last().map_or(snapshot.segment, |seen| seen.number);
    let next = reading.last.max(snapshot.sequence).max(evidence_after).saturating_add(1);
    let header = Header {
        number: if empty.is_some() { newest } else { newest.saturating_add(1) },
        previous: empty.map_or(reading.last, |seen| seen.previous),
        first: next,
        created: clock::now().wall.seconds(),
    };
    let segment = Segment::create(&disk, header, settings.segment_octets)?;
    let recovered = Recovered {
        evidence,
        highest: reading.highest,
        refuse: (snapshot.refuse > 0).then(|| Wall::from_seconds(snapshot.refuse)),
        torn: reading.torn,
        marks: reading.marks,
        segments: reading.segments.len(),
        last: reading.last,
    };
    let grown = reading.segments.iter().map(|seen| seen.end).sum();
    let evidence = evidence_after.max(snapshot.evidence);
    let refuse = snapshot.refuse;
    Ok((Opened { disk, settings, segment, next, closed, grown, evidence, refuse }, recovered))
}

/// Takes a directory for this process.
pub(super) fn take(disk: &dyn Disk, path: &str) -> Result<(), Error> {
    disk.lock().map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => Error::InUse(format!("{error} ({path})")),
        _ => match Err::<(), _>(error).at(Operation::Lock, path) {
            Err(trouble) => Error::Disk(trouble),
            Ok(()) => Error::Nothing(path.to_owned()),
        },
    })
}

/// Cuts the torn end, makes sure that what was read is on disk, and removes what is needed for nothing.
fn mend(disk: &dyn Disk, reading: &Reading) -> Result<(), Error> {
    if let Some(last) = reading.segments.last() {
        let name = segment::name(last.number);
        let bytes = read_all(disk, &name)?;
        let file = disk.modify(&name).at(Operation::Write, &name)?;
        file.set_len(last.end).at(Operation::Write, &name)?;
        // What was read may be in memory only, and after a sync that failed the system takes it for written. Writing
        // it again is the only way to be sure.
        let from = usize::try_from(last.unproven).unwrap_or(usize::MAX);
        let to = usize::try_from(last.end).unwrap_or(usize::MAX);
        if let Some(unproven) = bytes.get(from..to).filter(|bytes| !bytes.is_empty()) {
            file.write_at(last.unproven, unproven).at(Operation::Write, &name)?;
        }
        file.sync().at(Operation::Sync, &name)?;
    }
    disk.sync_directory().at(Operation::SyncDirectory, "the state directory")?;
    for name in &reading.leftovers {
        disk.remove(name).at(Operation::Remove, name)?;
    }
    Ok(())
}
