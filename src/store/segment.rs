//! Segments of the journal: files of runs, written at the end only, made durable as a whole before the next one begins.
//!
//! ```text
//! header  magic 8 · version u32 · number u64 · previous u64 · first u64 · created u64 · checksum u32
//! then    runs, then zeros
//! ```
//!
//! `previous` is the last sequence that is certain in the segments before: what they hold beyond it was written to a
//! disk that then failed, and may be there or not. Usually `first` is the next one.

use super::FORMAT;
use super::disk::{At as _, Disk, File, Operation, Trouble, check_present, read_all};
use super::error::{DamageKind, Error};
use super::record::{Cursor, Run, RunBuilder};
use std::io::Read as _;
use std::sync::Arc;

/// Octets of a segment before its first run.
pub const HEADER: usize = 48;
const MAGIC: &[u8; 8] = b"SEKI-JNL";

/// What the header of a segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its place among the segments.
    pub number: u64,
    /// The last sequence that counts before it.
    pub previous: u64,
    /// The sequence of its first entry.
    pub first: u64,
    /// When it was begun, in seconds since the epoch.
    pub created: u64,
}

impl Header {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        for number in [self.number, self.previous, self.first, self.created] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    /// Reads a header; `Err(Some(version))` if it is whole but of another version.
    fn parse(bytes: &[u8]) -> Result<Header, Option<u32>> {
        let mut cursor = Cursor(bytes);
        let read = |cursor: &mut Cursor<'_>| {
            let (magic, version) = (cursor.array::<8>()?, cursor.u32()?);
            let (number, previous, first, created) =
                (cursor.u64()?, cursor.u64()?, cursor.u64()?, cursor.u64()?);
            (&magic == MAGIC).then_some((version, Header { number, previous, first, created }))
        };
        let (version, header) = read(&mut cursor).ok_or(None)?;
        let covered = bytes.get(..HEADER - 4).unwrap_or_default();
        let whole = cursor.u32() == Some(crc32c::crc32c(covered));
        match (version == FORMAT, whole) {
            (true, true) if header.first > header.previous => Ok(header),
            // A later version may have another checksum, so its header is believed as it stands.
            (false, _) => Err(Some(version)),
            _ => Err(None),
        }
    }
}

/// The file name of a segment.
pub fn name(number: u64) -> String {
    format!("journal-{number:016}")
}

/// The name of a file while it is being written. One for each, so that a power cut cannot mix up two of them.
pub fn unfinished(name: &str) -> String {
    format!("{name}.new")
}

/// The number in a segment's file name.
pub fn number(name: &str) -> Option<u64> {
    name.strip_prefix("journal-").filter(|digits| digits.len() == 16)?.parse().ok()
}

/// The segment that is being written.
pub struct Segment {
    disk: Arc<dyn Disk>,
    file: Box<dyn File>,
    name: String,
    number: u64,
    /// Where the next run goes.
    end: u64,
}

impl Segment {
    /// Makes a new segment of at least `size` octets: whole and durable before it gets its name, so that a name
    /// always stands for a whole header.
    pub fn create(disk: &Arc<dyn Disk>, header: Header, size: u64) -> Result<Segment, Trouble> {
        let name = name(header.number);
        let file = disk.create(&unfinished(&name), size).at(Operation::Create, &name)?;
        file.write_at(0, &header.encode()).at(Operation::Write, &name)?;
        file.sync().at(Operation::Sync, &name)?;
        disk.rename(&unfinished(&name), &name).at(Operation::Rename, &name)?;
        disk.sync_directory().at(Operation::SyncDirectory, &name)?;
        let file = disk.modify(&name).at(Operation::Create, &name)?;
        Ok(Segment { disk: Arc::clone(disk), file, name, number: header.number, end: HEADER as u64 })
    }

    /// Its place among the segments.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Octets written.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Writes a run behind the last one.
    pub fn write(&mut self, run: &mut RunBuilder, first: u64, durable: u64) -> Result<(), Trouble> {
        let bytes = run.finish(self.number, first, durable);
        self.file.write_at(self.end, bytes).at(Operation::Write, &self.name)?;
        self.end = self.end.saturating_add(bytes.len() as u64);
        Ok(())
    }

    /// Has the writing of what lies from `offset` on begin.
    pub fn begin_sync(&self, offset: u64) {
        self.file.begin_sync(offset, self.end.saturating_sub(offset));
    }

    /// Whether a new segment would take less to sync.
    pub fn is_outdone(&self) -> bool {
        self.file.is_outdone()
    }

    /// Makes everything written durable, and makes sure that it was written where the next start looks for it.
    pub fn sync(&self) -> Result<(), Trouble> {
        self.file.sync().at(Operation::Sync, &self.name)?;
        self.check()
    }

    /// Makes sure that the segment still has its name.
    pub fn check(&self) -> Result<(), Trouble> {
        check_present(&*self.file, &self.name)
    }

    /// Reads the segment back: whether the disk gives what was written. Only for a segment without runs.
    pub fn prove(&self, header: Header) -> Result<(), Trouble> {
        let bytes = read_all(&*self.disk, &self.name)?;
        let same = Header::parse(&bytes) == Ok(header);
        let other = || std::io::Error::new(std::io::ErrorKind::InvalidData, "other content than was written");
        if same { Ok(()) } else { Err(other()).at(Operation::Read, &self.name) }
    }
}

/// A segment as found: where its runs are and where they are not.
#[derive(Debug)]
pub struct Found {
    /// Its header.
    pub header: Header,
    /// Whole runs in order: offset, and the run's first, last and durable sequence.
    pub runs: Vec<Place>,
    /// Holes before a whole run: offset and the sequence that was expected there.
    pub holes: Vec<(usize, u64)>,
    /// Where the last whole run ends.
    pub end: usize,
    /// Octets behind the last whole run that are not zero: the torn rest of a write, or damage.
    pub rest: usize,
    /// The last sequence; the one before the first if there is no entry.
    pub last: u64,
}

/// One whole run in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where it begins.
    pub offset: usize,
    /// The sequence of its first entry.
    pub first: u64,
    /// The sequence of its last entry.
    pub last: u64,
    /// What was known to be on disk when it was written.
    pub durable: u64,
}

impl Found {
    /// Finds the runs in a segment's octets. `Ok(Err(_))`: the header is damaged.
    ///
    /// # Errors
    /// [`Error::Version`].
    pub fn read(name: &str, bytes: &[u8]) -> Result<Result<Found, DamageKind>, Error> {
        Ok(parse_header(name, bytes)?.map(|header| Found::search(header, bytes)))
    }

    /// Finds the runs in a segment whose header is damaged.
    pub fn read_headless(number: u64, bytes: &[u8], previous: u64) -> Found {
        let first = previous.saturating_add(1);
        Found::search(Header { number, previous, first, created: 0 }, bytes)
    }

    fn search(header: Header, bytes: &[u8]) -> Found {
        let (mut runs, mut holes) = (Vec::new(), Vec::new());
        let (mut offset, mut expected) = (HEADER, header.first);
        let mut last = header.first.saturating_sub(1);
        loop {
            let here = bytes.get(offset..).unwrap_or_default();
            if let Some(run) = Run::parse(here, header.number).filter(|run| run.first == expected) {
                runs.push(Place { offset, first: run.first, last: run.last(), durable: run.durable });
                if run.count > 0 {
                    last = run.last();
                }
                expected = run.last().saturating_add(1);
                offset = offset.saturating_add(run.len);
            } else if let Some((skipped, first)) = find_run(here, header.number, expected) {
                holes.push((offset, expected));
                offset = offset.saturating_add(skipped);
                expected = first;
            } else {
                break;
            }
        }
        let rest = bytes.get(offset..).unwrap_or_default();
        let rest = rest.len().saturating_sub(zeros_at_end(rest));
        Found { header, runs, holes, end: offset, rest, last }
    }
}

/// Reads a segment's header alone. `Ok(Err(_))`: it is damaged.
pub fn header(disk: &dyn Disk, name: &str) -> Result<Result<Header, DamageKind>, Error> {
    let mut bytes = Vec::with_capacity(HEADER);
    disk.read(name)
        .and_then(|file| file.take(HEADER as u64).read_to_end(&mut bytes))
        .at(Operation::Read, name)?;
    parse_header(name, &bytes)
}

fn parse_header(name: &str, bytes: &[u8]) -> Result<Result<Header, DamageKind>, Error> {
    match Header::parse(bytes) {
        Ok(header) if number(name) == Some(header.number) => Ok(Ok(header)),
        Err(Some(found)) => Err(Error::Version { file: name.to_owned(), found, supported: FORMAT }),
        _ => Ok(Err(DamageKind::Header)),
    }
}

/// Compared as a whole, because most of a segment is the preallocated rest.
static ZEROS: [u8; 4096] = [0; 4096];

fn zeros_at_end(bytes: &[u8]) -> usize {
    let mut blocks = bytes.rchunks(ZEROS.len());
    let whole = blocks.by_ref().take_while(|block| ZEROS.starts_with(block)).map(<[u8]>::len).sum::<usize>();
    let rest = bytes.get(..bytes.len().saturating_sub(whole)).unwrap_or_default();
    whole.saturating_add(rest.iter().rev().take_while(|&&octet| octet == 0).count())
}

/// The next whole run with a sequence of at least `expected`: how far on, and its first sequence.
fn find_run(bytes: &[u8], segment: u64, expected: u64) -> Option<(usize, u64)> {
    // A run has octets that are not zero, so nothing begins in the zeros at the end.
    let searched = bytes.len().saturating_sub(zeros_at_end(bytes));
    (0..searched).find_map(|at| {
        let run = Run::parse(bytes.get(at..)?, segment)?;
        (run.first >= expected).then_some((at, run.first))
    })
}
