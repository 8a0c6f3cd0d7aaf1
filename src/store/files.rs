//! The real disk: one directory, with a lock file that keeps a second daemon out.

use super::disk::{Disk, File};
use super::spare::{self, Spare};
use rustix::fs::{Advice, AtFlags, CWD, FallocateFlags, FlockOperation, Statx, StatxFlags, statx};
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Read, Write as _};
use std::num::NonZeroU64;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// The file that is locked; it holds the number of the process that has it.
pub const LOCK_FILE: &str = "lock";

/// A directory of the file system, mode 0700, its files 0600: marks tell who logs in when.
pub struct Files {
    directory: PathBuf,
    /// The lock of this process; nothing waits while it is held.
    lock: Mutex<Option<std::fs::File>>,
    spare: Arc<Spare>,
}

struct Open {
    file: std::fs::File,
    path: PathBuf,
    identity: Identity,
    /// Who wants to know of syncs: of a file that may be a segment.
    spare: Option<Arc<Spare>>,
}

impl Files {
    /// The directory at `path`, which need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Files {
        let directory = path.into();
        let spare = Spare::of(&directory);
        Files { directory, lock: Mutex::new(None), spare }
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

/// How often a lock is asked for, 10 ms apart: a predecessor that is just ending still holds it, and so does a child
/// process between its birth and its `exec`.
const LOCK_TRIES: u32 = 30;

/// Takes the lock of an open file, if whoever has it lets go at once.
fn take(file: &std::fs::File) -> Result<(), rustix::io::Errno> {
    for _ in 1..LOCK_TRIES {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(std::time::Duration::from_millis(10)),
            other => return other,
        }
    }
    rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive)
}

impl Disk for Files {
    fn lock(&self) -> io::Result<()> {
        let path = self.path(LOCK_FILE);
        let mut held = self.lock.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(file) = held.as_ref()
            && Identity::of(file)?.is_at(&path)?
        {
            return Ok(());
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        let mut file = options().truncate(false).open(&path)?;
        match take(&file) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut owner = String::new();
                let known = file.read_to_string(&mut owner).is_ok() && !owner.trim().is_empty();
                let by =
                    if known { format!("process {}", owner.trim()) } else { "another process".to_owned() };
                return Err(io::Error::new(io::ErrorKind::WouldBlock, format!("{by} is using it")));
            }
            Err(error) => return Err(error.into()),
        }
        file.set_len(0)?;
        writeln!(file, "{}", std::process::id())?;
        *held = Some(file);
        Ok(())
    }

    fn names(&self) -> io::Result<Vec<String>> {
        std::fs::read_dir(&self.directory)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .filter(|name| !matches!(name.as_deref(), Ok(LOCK_FILE | spare::READY | spare::FILLING)))
            .collect()
    }

    fn read(&self, name: &str) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(std::fs::File::open(self.path(name))?))
    }

    fn create(&self, name: &str, size: u64) -> io::Result<Box<dyn File>> {
        let path = self.path(name);
        if size > 0
            && let Some(file) = self.spare.take(&path, size)
        {
            return Open::boxed(file, path, None);
        }
        let file = options().truncate(true).open(&path)?;
        if size > 0 {
            // Not every file system can reserve room; there a full disk shows at a write instead of here.
            match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, size) {
                Ok(()) => {}
                Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => file.set_len(size)?,
                Err(error) => return Err(error.into()),
            }
        }
        Open::boxed(file, path, None)
    }

    fn modify(&self, name: &str) -> io::Result<Box<dyn File>> {
        let path = self.path(name);
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        Open::boxed(file, path, Some(Arc::clone(&self.spare)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path(name))
    }

    fn sync_directory(&self) -> io::Result<()> {
        std::fs::File::open(&self.directory)?.sync_all()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        self.spare.end();
    }
}

impl Open {
    fn boxed(file: std::fs::File, path: PathBuf, spare: Option<Arc<Spare>>) -> io::Result<Box<dyn File>> {
        let identity = Identity::of(&file)?;
        Ok(Box::new(Open { file, path, identity, spare }))
    }
}

impl File for Open {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn begin_sync(&self, offset: u64, len: u64) {
        // Linux begins to write what it is told will not be needed. Only a hint: the sync waits for all of it.
        let len = NonZeroU64::new(len);
        let _ = rustix::fs::fadvise(&self.file, offset, len, Advice::DontNeed);
    }

    fn sync(&self) -> io::Result<()> {
        rustix::fs::fdatasync(&self.file)?;
        if let Some(spare) = &self.spare {
            spare.synced();
        }
        Ok(())
    }

    fn is_outdone(&self) -> bool {
        self.spare.as_ref().is_some_and(|spare| spare.outdoes())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn is_present(&self) -> io::Result<bool> {
        self.identity.is_at(&self.path)
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).mode(0o600);
    options
}

/// Device and inode, and no times: who looks at those makes the next write change them, and each sync then writes the
/// inode too (70 of 220 µs on ext4 without a journal, Linux 6.18).
#[derive(Clone, Copy, PartialEq, Eq)]
struct Identity(u32, u32, u64);

impl Identity {
    fn of(file: &std::fs::File) -> io::Result<Identity> {
        Ok(Identity::found(statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::INO)?))
    }

    fn found(found: Statx) -> Identity {
        Identity(found.stx_dev_major, found.stx_dev_minor, found.stx_ino)
    }

    fn is_at(self, path: &Path) -> io::Result<bool> {
        match statx(CWD, path, AtFlags::empty(), StatxFlags::INO) {
            Ok(found) => Ok(self == Identity::found(found)),
            Err(rustix::io::Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
