//! One line per decision, for people and for evidence: a file of JSON lines, each of which carries the hash of the one
//! before.
//!
//! The evidence comes from the journal, where it became durable together with the marks; this file is written behind
//! it. After a crash a torn end is cut here and written again from the journal, to the very same octets. While this
//! file cannot be written, lines wait in memory, and when there are too many, the journal keeps them until it can.
//!
//! What the chain shows: a line that was changed, removed, inserted or moved, and a file that lost its end while a
//! later file goes on. What it cannot show by itself: lines missing at the end of the newest file, or a chain that
//! was written anew as a whole; for that, keep the last hash somewhere else from time to time ([`Whole::hash`]).

mod chain;
pub mod facts;
mod line;
#[cfg(test)]
mod tests;
mod verify;

pub use line::Line;
pub use verify::{Broken, Start, Whole, Why, verify};

use crate::clock;
use chain::{Place, Tail};
use rustix::fs::{Advice, AtFlags, StatxFlags, fadvise, statx};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::num::NonZeroU64;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Octets kept until they are known to be on disk; beyond this whoever appends waits for a sync, and if that fails the
/// rest is left to the journal.
pub const PENDING_MAX: usize = 16 * 1024 * 1024;
/// How much is written before the disk is told to begin with it. A sync of a megabyte that begins all at once keeps the
/// journal's own sync waiting for two milliseconds.
const PIECE: usize = 128 * 1024;
/// How much of the end of a file is searched for what a power cut left: more than is ever written between two syncs.
const END: u64 = 4 * PENDING_MAX as u64;

/// Where the evidence goes, and what happens when it cannot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The file; made if it does not exist, in a directory that does.
    pub file: PathBuf,
    /// What happens when it cannot be written.
    pub on_failure: OnFailure,
}

/// What happens when the evidence cannot be written (SEC-13).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// Nobody is answered.
    #[default]
    Stop,
    /// Service goes on and the alarm is raised; the lines come when the file can be written again.
    Alarm,
}

/// Why the audit file cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The disk.
    #[error(transparent)]
    Trouble(#[from] Trouble),
    /// Another daemon has it.
    #[error("{0} is in use by another daemon: give each its own [audit] file")]
    InUse(PathBuf),
    /// The file holds something else.
    #[error("{0} does not end with a line of an audit log; move it away, or name another [audit] file")]
    NotAudit(PathBuf),
}

/// The audit file cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot {doing} {}: {reason}", file.display())]
pub struct Trouble {
    /// What was being done.
    pub doing: &'static str,
    /// To which file.
    pub file: PathBuf,
    /// What the system said.
    pub reason: String,
    /// The same, as a kind.
    pub kind: io::ErrorKind,
}

/// Counters since the start.
#[derive(Debug, Default)]
pub struct Figures {
    /// Lines written.
    pub lines: AtomicU64,
    /// Writes and syncs that failed.
    pub failures: AtomicU64,
    /// Lines that did not fit into memory and were left to the journal.
    pub left: AtomicU64,
}

/// The audit file; shared by the committer, which appends, and whoever syncs and reopens it.
pub struct Audit {
    figures: Figures,
    on_failure: OnFailure,
    /// Whether the last use of the file failed, for those who cannot wait for the lock.
    failing: AtomicBool,
    /// Held during a sync, so that there is one at a time: of two, only one would be told of a fault.
    syncing: Mutex<()>,
    /// Guards file and chain. Held during writes, never while a sync of many waits for the disk; taken after `syncing`.
    writer: Mutex<Writer>,
}

struct Writer {
    path: PathBuf,
    file: Arc<File>,
    /// The end of the chain, pending lines included.
    tail: Tail,
    /// What a sync is about that has not ended.
    syncing: Vec<u8>,
    /// Everything else that is not known to be on disk.
    pending: Vec<u8>,
    /// How much of it has been written.
    written: usize,
    /// How much of that the disk has been told to begin with.
    begun: usize,
    /// The sequence up to which the file is known to be on disk.
    durable: u64,
    /// The written part may be gone after a failed sync: it must be cut off before it is written again.
    rewind: bool,
    /// Lines for evidence that is not certain yet.
    prepared: Prepared,
    /// The last sequence that was left to the journal: nothing newer is taken before everything up to it has come.
    left: Option<u64>,
    trouble: Option<Trouble>,
}

/// Lines that [`Audit::append`] takes when they still fit.
#[derive(Default)]
struct Prepared {
    lines: Vec<u8>,
    /// How many, and the sequence of the first.
    count: u64,
    first: u64,
    /// The end of the chain before them, and with them.
    before: Tail,
    after: Tail,
}

impl Audit {
    /// Opens or makes the file, cuts a torn end, and returns it with the sequence of its last line (0 if none): the
    /// journal has everything newer.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn open(settings: &Settings) -> Result<(Audit, u64), Error> {
        let path = settings.file.clone();
        let mut file = open_file(&path).map_err(|error| trouble("open", &path, &error))?;
        if !lock(&file).map_err(|error| trouble("lock", &path, &error))? {
            return Err(Error::InUse(path));
        }
        let tail = match settle(&mut file) {
            Ok(Some(tail)) => tail,
            Ok(None) => return Err(Error::NotAudit(path)),
            Err(error) => return Err(trouble("read", &path, &error).into()),
        };
        let last = tail.sequence;
        let writer = Writer {
            path,
            file: Arc::new(file),
            tail,
            syncing: Vec::new(),
            pending: Vec::new(),
            written: 0,
            begun: 0,
            durable: last,
            rewind: false,
            prepared: Prepared::default(),
            left: None,
            trouble: None,
        };
        let audit = Audit {
            figures: Figures::default(),
            on_failure: settings.on_failure,
            failing: AtomicBool::new(false),
            syncing: Mutex::new(()),
            writer: Mutex::new(writer),
        };
        Ok((audit, last))
    }

    /// Makes the lines of evidence that is not certain yet, so that the [`Audit::append`] that follows finds them made:
    /// their hashes are most of its work.
    pub fn prepare<'e>(&self, evidence: impl IntoIterator<Item = (u64, &'e [u8])>) {
        let mut writer = self.writer();
        let tail = writer.tail;
        writer.prepared.make(tail, evidence);
    }

    /// Appends evidence with its sequences: [`facts`], or a JSON object without its closing brace, as [`Line`] builds it. A
    /// sequence that the file has already is left out. On an error the lines wait in memory and are written with the
    /// next ones.
    ///
    /// # Errors
    /// The file cannot be written now, or too much waits already.
    pub fn append<'e>(&self, evidence: impl IntoIterator<Item = (u64, &'e [u8])>) -> Result<(), Trouble> {
        let mut writer = self.writer_with_room();
        if writer.left.is_some() || writer.is_full() {
            for (sequence, _) in evidence {
                writer.left = writer.left.max(Some(sequence));
                Figures::add(&self.figures.left, 1);
            }
            return self.result(&writer);
        }
        writer.put(evidence, &self.figures);
        self.result(&writer)
    }

    /// Has the disk begin with what was appended, once it is enough: its sync then finds little to do.
    pub fn begin_writing(&self) {
        self.writer().begin_writing();
    }

    /// What was left to the journal while the file could not be written: everything after the first sequence, up to
    /// and with the second. Whoever sees this reads it there ([`Store::evidence`](crate::store::Store::evidence)) and
    /// hands it to [`Audit::catch_up`]; until then nothing newer is written.
    pub fn left(&self) -> Option<(u64, u64)> {
        let writer = self.writer();
        writer.left.map(|upto| (writer.tail.sequence, upto))
    }

    /// Takes what was left, in order; it may come in pieces, and should be followed by [`Audit::sync`]. Nothing at all
    /// means that the journal has no more.
    ///
    /// # Errors
    /// As [`Audit::append`].
    pub fn catch_up<'e>(&self, evidence: impl IntoIterator<Item = (u64, &'e [u8])>) -> Result<(), Trouble> {
        let mut writer = self.writer_with_room();
        if writer.is_full() {
            return self.result(&writer);
        }
        let count = writer.put(evidence, &self.figures);
        writer.left = writer.left.filter(|upto| *upto > writer.tail.sequence && count > 0);
        self.result(&writer)
    }

    /// How many octets wait for a sync.
    pub fn unsynced(&self) -> usize {
        self.writer().unsynced()
    }

    /// Makes the file durable; returns the sequence up to which it is, for
    /// [`Store::evidence_durable`](crate::store::Store::evidence_durable). Called about once a second. Lines are
    /// appended meanwhile.
    ///
    /// # Errors
    /// What is not known to be on disk is written again at the next call.
    pub fn sync(&self) -> Result<u64, Trouble> {
        let _one = self.one_sync();
        let begun = self.writer().begin_sync();
        if let Some((file, upto)) = begun {
            let result = fdatasync(&file);
            self.writer().end_sync(&file, upto, result);
        }
        let writer = self.writer();
        self.result(&writer).map(|()| writer.durable)
    }

    /// Goes on in a new file of the same name, after the old one was moved away (SIGHUP from logrotate). The chain
    /// goes on: the first line of the new file carries the hash of the last one of the old. Does nothing if the file
    /// is still the same.
    ///
    /// # Errors
    /// The old file stays in use.
    pub fn reopen(&self) -> Result<(), Trouble> {
        let _one = self.one_sync();
        let mut writer = self.writer();
        let reopened = writer.reopen();
        self.failing.store(writer.trouble().is_some(), Ordering::Relaxed);
        reopened
    }

    /// Why the file cannot be written now.
    pub fn trouble(&self) -> Option<Trouble> {
        self.writer().trouble()
    }

    /// Whether nobody is to be answered while [`Audit::append`] fails.
    pub fn stops_service(&self) -> bool {
        self.on_failure == OnFailure::Stop
    }

    /// Whether nobody is to be answered, because the last use of the file failed. Never waits.
    pub fn stops_answers(&self) -> bool {
        self.stops_service() && self.failing.load(Ordering::Relaxed)
    }

    /// What has been counted since the start.
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The writer, after a sync if it is full.
    fn writer_with_room(&self) -> MutexGuard<'_, Writer> {
        let writer = self.writer();
        if !writer.is_full() {
            return writer;
        }
        drop(writer);
        // Whether it helped shows in the writer.
        let _ = self.sync();
        self.writer()
    }

    fn one_sync(&self) -> MutexGuard<'_, ()> {
        self.syncing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn result(&self, writer: &Writer) -> Result<(), Trouble> {
        let trouble = writer.trouble();
        self.failing.store(trouble.is_some(), Ordering::Relaxed);
        match trouble {
            None => Ok(()),
            Some(trouble) => {
                Figures::add(&self.figures.failures, 1);
                Err(trouble)
            }
        }
    }
}

impl Figures {
    fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }
}

impl Prepared {
    fn make<'e>(&mut self, tail: Tail, evidence: impl IntoIterator<Item = (u64, &'e [u8])>) {
        self.lines.clear();
        (self.count, self.before, self.after) = (0, tail, tail);
        for (sequence, evidence) in evidence.into_iter().filter(|(sequence, _)| *sequence > tail.sequence) {
            if self.count == 0 {
                self.first = sequence;
            }
            self.after = self.after.append(&mut self.lines, sequence, evidence);
            self.count = self.count.saturating_add(1);
        }
    }

    /// Whether these are the lines of what begins with this sequence, at this end of the chain. No sequence is given
    /// to two entries, not even when the first could not be made durable.
    fn fits(&self, tail: Tail, first: u64) -> bool {
        !self.lines.is_empty() && self.first == first && self.before == tail
    }
}

impl Writer {
    fn trouble(&self) -> Option<Trouble> {
        let left =
            || io::Error::other("too much waited for the disk; the journal has it until it is written here");
        self.trouble.clone().or_else(|| self.left.map(|_| trouble("go on with", &self.path, &left())))
    }

    /// Takes what is new, and says how much there was in all.
    fn put<'e>(&mut self, evidence: impl IntoIterator<Item = (u64, &'e [u8])>, figures: &Figures) -> usize {
        let (mut count, mut new) = (0, 0);
        let mut evidence = evidence.into_iter().peekable();
        if let Some((first, _)) = evidence.peek()
            && self.prepared.fits(self.tail, *first)
        {
            self.pending.append(&mut self.prepared.lines);
            self.tail = self.prepared.after;
            new = self.prepared.count;
        }
        for (sequence, evidence) in evidence {
            if sequence > self.tail.sequence {
                self.push(sequence, evidence);
                new += 1;
            }
            count += 1;
        }
        Figures::add(&figures.lines, new);
        let _ = self.flush();
        count
    }

    fn unsynced(&self) -> usize {
        self.syncing.len().saturating_add(self.pending.len())
    }

    fn is_full(&self) -> bool {
        self.unsynced() >= PENDING_MAX
    }

    fn push(&mut self, sequence: u64, evidence: &[u8]) {
        self.tail = self.tail.append(&mut self.pending, sequence, evidence);
    }

    /// Writes what has not been written.
    fn flush(&mut self) -> Result<(), ()> {
        let result = self.write_rest();
        self.note("write", result)
    }

    fn note(&mut self, doing: &'static str, result: io::Result<()>) -> Result<(), ()> {
        self.trouble = result.as_ref().err().map(|error| trouble(doing, &self.path, error));
        result.map_err(|_| ())
    }

    fn write_rest(&mut self) -> io::Result<()> {
        if self.rewind {
            self.cut_unsynced()?;
        }
        // Who asks for the times as well makes the next write change them.
        if statx(&self.file, "", AtFlags::EMPTY_PATH, StatxFlags::NLINK)?.stx_nlink == 0 {
            // Removed under our hands: nothing written there is ever read. The gap in the chain will show it.
            self.go_on_in_new_file()?;
        }
        while let Some(rest) = self.pending.get(self.written..).filter(|rest| !rest.is_empty()) {
            match (&*self.file).write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.written = self.written.saturating_add(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Linux begins to write what it is told will not be needed. Only a hint: the sync waits for all of it, and is told of
    /// every fault.
    fn begin_writing(&mut self) {
        let piece = self.written.saturating_sub(self.begun) as u64;
        if piece >= PIECE as u64
            && let Ok(end) = (&*self.file).stream_position()
        {
            let _ = fadvise(&self.file, end.saturating_sub(piece), NonZeroU64::new(piece), Advice::DontNeed);
            self.begun = self.written;
        }
    }

    /// Writes everything; gives the file to be synced, and up to which sequence it then is durable.
    fn begin_sync(&mut self) -> Option<(Arc<File>, u64)> {
        if self.flush().is_err() || self.pending.is_empty() {
            return None;
        }
        std::mem::swap(&mut self.syncing, &mut self.pending);
        (self.written, self.begun) = (0, 0);
        Some((Arc::clone(&self.file), self.tail.sequence))
    }

    fn end_sync(&mut self, file: &Arc<File>, upto: u64, result: io::Result<()>) {
        if !Arc::ptr_eq(file, &self.file) {
            // Removed under our hands meanwhile: its lines are in the new one.
            return;
        }
        match result {
            Ok(()) => {
                self.syncing.clear();
                self.durable = upto;
            }
            // After a failed sync the system forgets what it could not write, so it is cut off and written again.
            Err(_) => {
                self.take_back();
                self.rewind = true;
                let _ = self.note("sync", result);
            }
        }
    }

    /// What was to be synced waits again, before everything else.
    fn take_back(&mut self) {
        self.written = self.written.saturating_add(self.syncing.len());
        self.syncing.append(&mut self.pending);
        std::mem::swap(&mut self.syncing, &mut self.pending);
    }

    /// Syncs with the lock held: where the file is about to change.
    fn sync(&mut self) {
        if let Some((file, upto)) = self.begin_sync() {
            let result = fdatasync(&file);
            self.end_sync(&file, upto, result);
        }
    }

    /// Cuts off what has been written since the last sync.
    fn cut_unsynced(&mut self) -> io::Result<()> {
        let len = self.file.metadata()?.len();
        self.file.set_len(len.saturating_sub(self.written as u64))?;
        (self.written, self.begun) = (0, 0);
        self.rewind = false;
        Ok(())
    }

    fn reopen(&mut self) -> Result<(), Trouble> {
        let ours = self.file.metadata().map(|ours| (ours.dev(), ours.ino()));
        let there = std::fs::metadata(&self.path).map(|there| (there.dev(), there.ino()));
        if matches!((ours, there), (Ok(ours), Ok(there)) if ours == there) {
            return Ok(());
        }
        self.sync();
        if !self.pending.is_empty() {
            // What cannot be finished in the old file comes into the new one.
            self.cut_unsynced().map_err(|error| trouble("cut", &self.path, &error))?;
        }
        let result = self.go_on_in_new_file();
        let _ = self.note("open", result);
        self.sync();
        self.trouble().map_or(Ok(()), Err)
    }

    /// Opens a new file and goes on with the chain there. A line of our own comes first, so that the chain is not lost
    /// by a restart before anything happens.
    fn go_on_in_new_file(&mut self) -> io::Result<()> {
        let file = open_file(&self.path)?;
        if file.metadata()?.len() > 0 {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "the new file is not empty; move it away",
            ));
        }
        if !lock(&file)? {
            return Err(io::Error::new(io::ErrorKind::WouldBlock, "another daemon has it"));
        }
        self.file = Arc::new(file);
        self.take_back();
        (self.written, self.begun) = (0, 0);
        self.rewind = false;
        let sequence = self.tail.sequence;
        if self.pending.is_empty() {
            self.push(sequence, &Line::new(clock::now().wall, "audit-continued").finish());
        }
        Ok(())
    }
}

fn fdatasync(file: &File) -> io::Result<()> {
    Ok(rustix::fs::fdatasync(file)?)
}

fn open_file(path: &Path) -> io::Result<File> {
    // Append, so that a tool that copies and truncates does not leave us writing behind a hole.
    OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)
}

/// How often a lock is asked for, 10 ms apart: a predecessor that is just ending still holds it, and so does a child
/// process between its birth and its `exec`.
const LOCK_TRIES: u32 = 30;

fn lock(file: &File) -> io::Result<bool> {
    for _ in 0..LOCK_TRIES {
        match rustix::fs::flock(file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(std::time::Duration::from_millis(10)),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

fn trouble(doing: &'static str, file: &Path, error: &io::Error) -> Trouble {
    Trouble { doing, file: file.to_owned(), reason: error.to_string(), kind: error.kind() }
}

/// Cuts a torn end and finds the end of the chain; `None` if this is not an audit file.
fn settle(file: &mut File) -> io::Result<Option<Tail>> {
    let len = file.metadata()?.len();
    if len == 0 {
        return Ok(Some(Tail::default()));
    }
    let start = len.saturating_sub(END);
    let mut end = Vec::new();
    file.seek(SeekFrom::Start(start))?;
    file.take(END).read_to_end(&mut end)?;
    // A line holds no zeros; a power cut leaves them where written octets did not reach the disk.
    let whole = end.split(|&octet| octet == 0).next().unwrap_or_default();
    let kept = whole.iter().rposition(|&octet| octet == b'\n').map_or(0, |at| at.saturating_add(1));
    let lines = whole.get(..kept).unwrap_or_default();
    let tail = match lines.strip_suffix(b"\n").and_then(|lines| lines.rsplit(|&octet| octet == b'\n').next())
    {
        Some(last) => match Place::of(last) {
            Some(place) => Tail::of(last, place.sequence),
            None => return Ok(None),
        },
        // Not one whole line: the first write was torn, unless this never was an audit file.
        None if start == 0 && matches!(end.first(), Some(b'{' | 0)) => Tail::default(),
        None => return Ok(None),
    };
    if kept < end.len() {
        file.set_len(start.saturating_add(kept as u64))?;
    }
    // What is read may be in memory only.
    fdatasync(file)?;
    Ok(Some(tail))
}
