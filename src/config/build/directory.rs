//! Where users and tokens live.

use super::Report;
use crate::config::file;

/// One of the two directories.
pub enum Directory {
    Later,
}

pub fn directory(_written: &file::Directory, _report: &mut Report<'_>) -> Option<Directory> {
    Some(Directory::Later)
}
