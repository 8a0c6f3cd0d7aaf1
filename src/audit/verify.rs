//! Checks the chain of one or more audit files, and says where it breaks.

use super::chain::{Place, Tail};
use data_encoding::HEXLOWER;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

/// The longest line that is looked at; ours are far shorter.
const LINE_MAX: u64 = 1024 * 1024;

/// A chain without a break.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whole {
    /// How many lines.
    pub lines: u64,
    /// The sequence of the first line; 0 if there is none.
    pub first: u64,
    /// The sequence of the last line; 0 if there is none.
    pub last: u64,
    /// Whether the chain begins here.
    pub start: Start,
    /// The hash of the last line, in hex: kept elsewhere, it shows later whether the end was cut.
    pub hash: String,
}

/// Where the first file begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the beginning of the chain.
    Beginning,
    /// Behind an earlier file that was not given.
    Middle,
}

/// Where the chain breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}, line {line}: {why}", file.display())]
pub struct Broken {
    /// The file.
    pub file: PathBuf,
    /// The line in it, from 1; 0 if the file cannot be read.
    pub line: u64,
    /// Why.
    pub why: Why,
}

/// Why a chain breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// The file cannot be read.
    Unreadable(String),
    /// The line is not one of an audit file, or not whole.
    NotALine,
    /// The line before was changed.
    Changed,
    /// Lines are missing before this one, or the line before was changed.
    ChangedOrRemoved,
    /// The line before does not belong there.
    Inserted,
    /// This line stands behind a later one.
    Moved,
    /// The file before lost its end, or a file is missing between the two.
    EndCut,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Unreadable(reason) => write!(f, "cannot be read: {reason}"),
            Why::NotALine => f.write_str("not a whole line of an audit file"),
            Why::Changed => f.write_str("the line before was changed"),
            Why::ChangedOrRemoved => {
                f.write_str("lines before it were removed, or the line before was changed")
            }
            Why::Inserted => f.write_str("the line before was inserted or repeated"),
            Why::Moved => f.write_str("the line was moved here or repeated: its sequence is too low"),
            Why::EndCut => f.write_str("the file before lost its end, or a file between is missing"),
        }
    }
}

/// Checks files in the order in which they were written.
///
/// # Errors
/// The first break.
pub fn verify(files: &[impl AsRef<Path>]) -> Result<Whole, Broken> {
    let mut chain = Chain::default();
    for file in files {
        let path = file.as_ref();
        let unreadable = |line, error: io::Error| Broken {
            file: path.to_owned(),
            line,
            why: Why::Unreadable(error.to_string()),
        };
        let mut reader = BufReader::new(File::open(path).map_err(|error| unreadable(0, error))?);
        let (mut line, mut number) = (Vec::new(), 0u64);
        loop {
            line.clear();
            number = number.saturating_add(1);
            let read = reader.by_ref().take(LINE_MAX).read_until(b'\n', &mut line);
            if read.map_err(|error| unreadable(number, error))? == 0 {
                break;
            }
            let seam = if number == 1 { Seam::NewFile } else { Seam::Within };
            let checked = match line.strip_suffix(b"\n") {
                Some(line) => chain.follow(line, seam),
                None => Err(Why::NotALine),
            };
            checked.map_err(|why| Broken { file: path.to_owned(), line: number, why })?;
        }
    }
    Ok(Whole {
        lines: chain.lines,
        first: chain.first,
        last: chain.tail.sequence,
        start: if chain.is_middle { Start::Middle } else { Start::Beginning },
        hash: HEXLOWER.encode(&chain.tail.hash),
    })
}

#[derive(Default)]
struct Chain {
    lines: u64,
    first: u64,
    is_middle: bool,
    tail: Tail,
    /// The end before the last line.
    before: Tail,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Seam {
    Within,
    NewFile,
}

impl Chain {
    fn follow(&mut self, line: &[u8], seam: Seam) -> Result<(), Why> {
        let place = Place::of(line).ok_or(Why::NotALine)?;
        if self.lines == 0 {
            self.first = place.sequence;
            self.is_middle = place.before != Tail::default().hash;
        } else if place.before != self.tail.hash {
            return Err(self.suspect(line, &place, seam));
        } else if place.sequence < self.tail.sequence
            || (place.sequence == self.tail.sequence && !place.is_our_own())
        {
            return Err(Why::Moved);
        }
        self.lines = self.lines.saturating_add(1);
        self.before = self.tail;
        self.tail = Tail::of(line, place.sequence);
        Ok(())
    }

    /// What most likely happened where the hash does not fit.
    fn suspect(&self, line: &[u8], place: &Place<'_>, seam: Seam) -> Why {
        if Tail::of(line, place.sequence) == self.tail {
            Why::Moved
        } else if self.lines > 1 && place.before == self.before.hash {
            Why::Inserted
        } else if place.sequence <= self.tail.sequence && !place.is_our_own() {
            Why::Moved
        } else if seam == Seam::NewFile {
            Why::EndCut
        } else if place.sequence == self.tail.sequence.saturating_add(1) {
            Why::Changed
        } else {
            Why::ChangedOrRemoved
        }
    }
}
