//! The file operations that the journal needs, and what goes wrong with them: the seam where tests break a disk.

use std::fmt;
use std::io::{self, Read};

/// One directory on a disk. The real one is [`Files`](super::files::Files); tests use one that loses and reorders.
///
/// What is written is durable only after [`File::sync`], and a name only after [`Disk::sync_directory`].
pub trait Disk: Send + Sync + 'static {
    /// Takes the directory for this process alone, creating it if need be; also makes sure that the directory now
    /// found under the path is the one that was taken.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when another process has it.
    fn lock(&self) -> io::Result<()>;
    /// The names of all files.
    fn names(&self) -> io::Result<Vec<String>>;
    /// Reads a file from its start.
    fn read(&self, name: &str) -> io::Result<Box<dyn Read + Send>>;
    /// Makes a new file, or empties the one of this name, with room for `size` octets that read as zeros.
    fn create(&self, name: &str, size: u64) -> io::Result<Box<dyn File>>;
    /// Opens a file to change it.
    fn modify(&self, name: &str) -> io::Result<Box<dyn File>>;
    /// Gives a file another name, in one step; a file that had that name is gone.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes creations, renames and removals durable.
    fn sync_directory(&self) -> io::Result<()>;
}

/// One open file.
pub trait File: Send {
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Asks for the writing of `len` octets at `offset` to begin, without waiting: what goes wrong shows at the sync.
    fn begin_sync(&self, _offset: u64, _len: u64) {}
    /// Makes everything written so far durable (fdatasync).
    fn sync(&self) -> io::Result<()>;
    /// Cuts the file, or extends it with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Whether a new file would take less to sync than this one does.
    fn is_outdone(&self) -> bool {
        false
    }
    /// Whether the file is still found under the name it was opened by: writes to a removed file succeed and are lost.
    fn is_present(&self) -> io::Result<bool>;
}

/// What was being done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Taking the directory.
    Lock,
    /// Listing the directory.
    List,
    /// Reading.
    Read,
    /// Making a file.
    Create,
    /// Writing, cutting or extending.
    Write,
    /// Making content durable.
    Sync,
    /// Renaming.
    Rename,
    /// Removing.
    Remove,
    /// Making names durable.
    SyncDirectory,
    /// Finding the open file under its name.
    Find,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Operation::Lock => "take",
            Operation::List => "list",
            Operation::Read => "read",
            Operation::Create => "create",
            Operation::Write => "write",
            Operation::Sync => "sync",
            Operation::Rename => "rename",
            Operation::Remove => "remove",
            Operation::SyncDirectory => "sync the directory of",
            Operation::Find => "find",
        })
    }
}

/// A file operation that failed: the disk's doing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot {operation} {file}: {reason}")]
pub struct Trouble {
    /// What was being done.
    pub operation: Operation,
    /// To which file of the state directory.
    pub file: String,
    /// What the system said.
    pub reason: String,
    /// The same, as a kind: `StorageFull`, `ReadOnlyFilesystem`, `NotFound`, …
    pub kind: io::ErrorKind,
}

/// Turns what the system said into a [`Trouble`].
pub(super) trait At<T> {
    fn at(self, operation: Operation, file: &str) -> Result<T, Trouble>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, operation: Operation, file: &str) -> Result<T, Trouble> {
        self.map_err(|error| Trouble {
            operation,
            file: file.to_owned(),
            reason: error.to_string(),
            kind: error.kind(),
        })
    }
}

/// Reads a whole file.
pub(super) fn read_all(disk: &dyn Disk, name: &str) -> Result<Vec<u8>, Trouble> {
    let mut bytes = Vec::new();
    let mut file = disk.read(name).at(Operation::Read, name)?;
    file.read_to_end(&mut bytes).at(Operation::Read, name)?;
    Ok(bytes)
}

/// Makes sure that `file` still has its name.
pub(super) fn check_present(file: &dyn File, name: &str) -> Result<(), Trouble> {
    let gone =
        || io::Error::new(io::ErrorKind::NotFound, "the file or its directory was removed or replaced");
    file.is_present().and_then(|present| if present { Ok(()) } else { Err(gone()) }).at(Operation::Find, name)
}
