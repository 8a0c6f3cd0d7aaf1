//! Why the journal cannot be opened: taken, damaged, of another version, or the disk does not work.

use super::disk::Trouble;
use std::fmt;

/// Why the state directory cannot be used. Nothing was changed in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Another daemon has the directory.
    #[error("the state directory is in use: {0}; stop that daemon, or give each its own [state] directory")]
    InUse(String),
    /// The disk.
    #[error(transparent)]
    Disk(#[from] Trouble),
    /// Written by another version of sekisho.
    #[error(
        "{file} has format version {found}, and this sekisho reads version {supported}: \
         use the sekisho that wrote it, or restore a backup of version {supported}"
    )]
    Version {
        /// The file.
        file: String,
        /// The version in it.
        found: u32,
        /// The version we read.
        supported: u32,
    },
    /// Something that was on disk once is not readable any more.
    #[error(
        "{first}{}; this is not the end of an interrupted write, and nothing was changed. \
         `sekisho state recover --mode drop-damaged` keeps all that can be read and refuses every code up to the time \
         of recovery plus its window; or restore a backup",
        more(*.others)
    )]
    Damaged {
        /// The first damage.
        first: Damage,
        /// How many more there are.
        others: usize,
    },
    /// A directory that should be empty is not.
    #[error("{0} is not empty; give a directory that holds no state")]
    NotEmpty(String),
    /// A directory that should hold state holds none.
    #[error("{0} holds no journal and no snapshot; give the directory that [state] names, or a backup of it")]
    Nothing(String),
}

fn more(others: usize) -> String {
    if others == 0 { String::new() } else { format!(" (and {others} more)") }
}

/// A place that cannot be read any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: String,
    /// Where in it.
    pub offset: u64,
    /// What is wrong there.
    pub kind: DamageKind,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DamageKind {
    /// The file does not begin as it should.
    Header,
    /// The checksum does not fit the octets.
    Checksum,
    /// The octets are as written but make no sense.
    Content,
    /// The file ends too early.
    CutOff,
    /// Another number of marks than written.
    Count,
    /// Entries that were on disk are not there: from and to, both included.
    Missing(u64, u64),
    /// A whole segment is not there.
    NoSegment,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is damaged at offset {}: ", self.file, self.offset)?;
        match self.kind {
            DamageKind::Header => f.write_str("not a readable header"),
            DamageKind::Checksum => f.write_str("the checksum is wrong"),
            DamageKind::Content => f.write_str("the content makes no sense"),
            DamageKind::CutOff => f.write_str("the file ends too early"),
            DamageKind::Count => f.write_str("marks are missing"),
            DamageKind::Missing(from, to) => write!(f, "entries {from} to {to} are missing"),
            DamageKind::NoSegment => f.write_str("the file is missing"),
        }
    }
}
