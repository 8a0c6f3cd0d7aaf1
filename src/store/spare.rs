//! A file of zeros, made ready before it is asked for, that becomes the next segment.
//!
//! Room that is merely reserved costs the file system a change of its own bookkeeping at the first write to each block,
//! and `fdatasync` waits for it. Where zeros have been written before, only the data has to reach the disk: half the
//! time and half the processor for each sync (measured in `docs/performance.md`). So the first such file ends a segment
//! that was made without one: the first after a start.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// The file that is ready. Under this name it is whole: it gets it after its content is durable.
pub(super) const READY: &str = "spare";

/// The file that is being filled.
pub(super) const FILLING: &str = "spare.new";

/// How often a segment is synced before its successor is worth preparing: a command that writes a few records needs
/// none, and where nobody waits for syncs there is nothing to gain.
const WORTH_IT: u32 = 64;

/// How much is filled at once, and the rest after it: the journal syncs on the same disk.
const PIECE: usize = 1024 * 1024;
const REST: Duration = Duration::from_millis(10);

/// A spare file takes no more than this part of the free room: the journal itself needs the rest.
const PART_OF_FREE: u64 = 8;

/// Prepares one file at a time, in a thread of its own. What fails here costs nobody anything but speed: the next
/// segment is then made as if there were no spare.
pub(super) struct Spare {
    directory: PathBuf,
    /// The size of the segments that are made, and how often one was synced since the last one was.
    size: AtomicU64,
    syncs: AtomicU32,
    /// Whether the newest segment was such a file, and whether the next one is there.
    made_of_zeros: AtomicBool,
    is_ready: AtomicBool,
    /// The thread that fills.
    filling: Mutex<Option<JoinHandle<()>>>,
    /// Raised when the directory is given up: then nobody may fill a file that another process takes over.
    ended: AtomicBool,
}

impl Spare {
    pub(super) fn of(directory: &Path) -> Arc<Spare> {
        Arc::new(Spare {
            directory: directory.to_owned(),
            size: AtomicU64::new(0),
            syncs: AtomicU32::new(0),
            made_of_zeros: AtomicBool::new(false),
            is_ready: AtomicBool::new(false),
            filling: Mutex::new(None),
            ended: AtomicBool::new(false),
        })
    }

    /// Gives the file that is ready the name `path`, if there is one of `size` octets.
    pub(super) fn take(&self, path: &Path, size: u64) -> Option<File> {
        self.size.store(size, Ordering::Relaxed);
        self.syncs.store(0, Ordering::Relaxed);
        let taken = self.take_ready(path, size);
        self.made_of_zeros.store(taken.is_some(), Ordering::Relaxed);
        self.is_ready.store(false, Ordering::Relaxed);
        taken
    }

    fn take_ready(&self, path: &Path, size: u64) -> Option<File> {
        let ready = self.directory.join(READY);
        let file = OpenOptions::new().read(true).write(true).open(&ready).ok()?;
        if file.metadata().ok()?.len() != size {
            let _ = std::fs::remove_file(&ready);
            return None;
        }
        std::fs::rename(&ready, path).ok()?;
        Some(file)
    }

    /// A segment was synced: from some number on its successor is prepared.
    pub(super) fn synced(self: &Arc<Spare>) {
        if self.syncs.fetch_add(1, Ordering::Relaxed) == WORTH_IT {
            self.prepare();
        }
    }

    /// Whether the newest segment had better be followed by the file that is ready now.
    pub(super) fn outdoes(&self) -> bool {
        !self.made_of_zeros.load(Ordering::Relaxed) && self.is_ready.load(Ordering::Acquire)
    }

    /// Waits for the thread: from here on nothing is filled.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
        let thread = self.filling.lock().unwrap_or_else(PoisonError::into_inner).take();
        // It has nothing to say, not even of a panic.
        let _ = thread.map(JoinHandle::join);
    }

    fn prepare(self: &Arc<Spare>) {
        let mut filling = self.filling.lock().unwrap_or_else(PoisonError::into_inner);
        if filling.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return;
        }
        let spare = Arc::clone(self);
        // It ends by itself, after a second or so; without a thread there is no spare, and without room neither.
        let thread = std::thread::Builder::new().name("spare".into());
        *filling = thread.spawn(move || spare.fill().unwrap_or_default()).ok();
    }

    fn fill(&self) -> io::Result<()> {
        let (ready, path) = (self.directory.join(READY), self.directory.join(FILLING));
        let size = self.size.load(Ordering::Relaxed);
        let free = rustix::fs::statvfs(&self.directory)?;
        if ready.exists() || free.f_bavail.saturating_mul(free.f_frsize) / PART_OF_FREE < size {
            return Ok(());
        }
        // Left by a process that was killed: nobody else fills while this one has the directory.
        let _ = std::fs::remove_file(&path);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let filled = self.zeros(&file, size).and_then(|()| std::fs::rename(&path, &ready));
        match filled {
            Ok(()) => self.is_ready.store(true, Ordering::Release),
            Err(_) => drop(std::fs::remove_file(&path)),
        }
        filled
    }

    fn zeros(&self, file: &File, size: u64) -> io::Result<()> {
        let zeros = vec![0; PIECE];
        let mut at = 0;
        while at < size {
            if self.ended.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let left = usize::try_from(size.saturating_sub(at)).unwrap_or(PIECE);
            let piece = zeros.get(..left).unwrap_or(&zeros);
            file.write_all_at(piece, at)?;
            rustix::fs::fdatasync(file)?;
            at = at.saturating_add(piece.len() as u64);
            std::thread::sleep(REST);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::disk::Disk as _;
    use super::super::files::Files;
    use super::*;

    const SIZE: u64 = PIECE as u64 + 1;

    #[test]
    fn a_segment_that_is_synced_often_gets_a_successor_of_zeros() {
        let directory = tempfile::tempdir().unwrap();
        let ready = directory.path().join(READY);
        let files = Files::new(directory.path());
        drop(files.create("first.new", SIZE).unwrap());
        files.rename("first.new", "first").unwrap();
        let first = files.modify("first").unwrap();
        for _ in 0..WORTH_IT {
            first.sync().unwrap();
        }
        assert!(!ready.exists(), "nothing is prepared for a segment that is hardly used");
        first.sync().unwrap();
        while !ready.exists() {
            std::thread::yield_now();
        }
        assert_eq!(files.names().unwrap(), ["first"], "what is ready is nobody's file yet");
        while !first.is_outdone() {
            std::thread::yield_now();
        }
        drop(files.create("second", SIZE).unwrap());
        assert!(!ready.exists(), "it has become the second");
        assert!(!first.is_outdone());
        assert_eq!(std::fs::read(directory.path().join("second")).unwrap(), vec![0; SIZE as usize]);

        // Of another size, or none: made as ever.
        std::fs::write(&ready, b"x").unwrap();
        drop(files.create("third", SIZE).unwrap());
        assert_eq!(std::fs::read(directory.path().join("third")).unwrap(), vec![0; SIZE as usize]);
        assert!(!ready.exists());
    }

    #[test]
    fn whoever_gives_the_directory_up_fills_nothing_any_more() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::new(directory.path());
        let huge = 1 << 30;
        drop(files.create("first", huge).unwrap());
        let first = files.modify("first").unwrap();
        (0..=WORTH_IT).for_each(|_| first.sync().unwrap());
        let filling = directory.path().join(FILLING);
        while !filling.exists() {
            std::thread::yield_now();
        }
        drop(files);
        assert!(!filling.exists());
        assert!(!directory.path().join(READY).exists());
    }
}
