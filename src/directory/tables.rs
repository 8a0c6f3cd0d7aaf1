//! Files of tables (redb): there whole, or not at all.

use redb::Database;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Why a file cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum NotOpened {
    /// It cannot be read, made or named.
    #[error(transparent)]
    File(#[from] io::Error),
    /// It is no file of tables, damaged, or open in another process.
    #[error(transparent)]
    Tables(#[from] redb::Error),
}

/// Opens a file, or makes an empty one that only its owner can read.
///
/// # Errors
/// See [`NotOpened`].
pub fn open(file: &Path) -> Result<Database, NotOpened> {
    match options().open(file) {
        Ok(opened) => in_file(opened),
        Err(error) if error.kind() == ErrorKind::NotFound => make(file),
        Err(error) => Err(error.into()),
    }
}

/// A file that is cut off while it is made would be none for ever: what says that it is one is written last. So it gets
/// its name when it is whole.
fn make(file: &Path) -> Result<Database, NotOpened> {
    let unfinished = file.with_extension("new");
    let new = options().create(true).open(&unfinished)?;
    // Whoever is making it at this moment goes on undisturbed; what nobody has locked was given up.
    new.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => io::Error::other("another process is making it; try again in a moment"),
        TryLockError::Error(error) => error,
    })?;
    new.set_len(0)?;
    let database = in_file(new)?;
    match renameat_with(CWD, &unfinished, CWD, file, RenameFlags::NOREPLACE) {
        // Not every file system can refuse to replace. There two makers that never met could both think that it is theirs.
        Err(Errno::INVAL) => std::fs::rename(&unfinished, file)?,
        named => named.map_err(io::Error::from)?,
    }
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        File::open(folder)?.sync_all()?;
    }
    Ok(database)
}

fn in_file(file: File) -> Result<Database, NotOpened> {
    Ok(Database::builder().create_file(file).map_err(redb::Error::from)?)
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

#[cfg(test)]
mod tests {
    use super::*;
    use redb::ReadableDatabase;

    #[test]
    fn a_file_that_was_not_finished_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (file, unfinished) = (folder.path().join("t.redb"), folder.path().join("t.new"));
        std::fs::write(&unfinished, [0; 10_000]).unwrap();
        drop(open(&file).unwrap());
        assert!(!unfinished.exists());
        assert!(open(&file).unwrap().begin_read().is_ok());
    }

    #[test]
    fn what_is_no_file_of_tables_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("t.redb");
        std::fs::write(&file, b"something else").unwrap();
        assert!(open(&file).is_err());
        assert_eq!(std::fs::read(&file).unwrap(), b"something else");
    }

    #[test]
    fn whoever_makes_it_is_not_disturbed() {
        let folder = tempfile::tempdir().unwrap();
        let (file, unfinished) = (folder.path().join("t.redb"), folder.path().join("t.new"));
        let making = options().create(true).open(&unfinished).unwrap();
        making.lock().unwrap();
        making.set_len(5).unwrap();
        assert!(open(&file).unwrap_err().to_string().contains("another process is making it"));
        assert_eq!(making.metadata().unwrap().len(), 5);
        assert!(!file.exists());
    }
}
