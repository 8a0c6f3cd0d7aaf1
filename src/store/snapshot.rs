//! Snapshots: everything in memory written down once, so that the journal before it can go.
//!
//! ```text
//! header  magic 8 · version u32 · sequence u64 · evidence u64 · segment u64 · created u64 · refuse u64 · checksum u32
//! blocks  checksum u32 · length u32 · kind u8 · marks                 the last block is an end: the number of marks
//! ```
//!
//! A snapshot holds at least what all entries up to `sequence` said; marks are absolute, so it does not matter that
//! the tables go on changing while it is taken.

use super::disk::{At as _, Disk, File, Operation, Trouble};
use super::error::{Damage, DamageKind, Error};
use super::record::{Cursor, put_mark};
use super::segment::unfinished;
use super::{FORMAT, Sink};
use crate::state::Mark;
use std::io::Read;

const MAGIC: &[u8; 8] = b"SEKI-SNP";
const HEADER: usize = 56;
const BLOCK_HEADER: usize = 9;
/// Octets of marks in one block: large enough for few writes, small enough to read one at a time.
const BLOCK: usize = 256 * 1024;
const MARKS: u8 = 1;
const END: u8 = 2;

/// What the header of a snapshot says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Header {
    /// Everything up to here is in it.
    pub sequence: u64,
    /// Evidence up to here was durable in the audit file when it was taken.
    pub evidence: u64,
    /// The segment that was being written when it was taken; it and all later ones must exist.
    pub segment: u64,
    /// When it was taken, in seconds since the epoch.
    pub created: u64,
    /// Marks up to this time, in seconds since the epoch, may have been lost (recovery, restore); 0 if none.
    pub refuse: u64,
}

impl Header {
    /// Entries up to here are needed for nothing any more.
    pub fn covered(&self) -> u64 {
        self.sequence.min(self.evidence)
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        for number in [self.sequence, self.evidence, self.segment, self.created, self.refuse] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    fn parse(bytes: &[u8]) -> Result<Header, Option<u32>> {
        let mut cursor = Cursor(bytes);
        let read = |cursor: &mut Cursor<'_>| {
            let (magic, version) = (cursor.array::<8>()?, cursor.u32()?);
            let header = Header {
                sequence: cursor.u64()?,
                evidence: cursor.u64()?,
                segment: cursor.u64()?,
                created: cursor.u64()?,
                refuse: cursor.u64()?,
            };
            (&magic == MAGIC).then_some((version, header))
        };
        let (version, header) = read(&mut cursor).ok_or(None)?;
        let covered = bytes.get(..HEADER - 4).unwrap_or_default();
        match (version == FORMAT, cursor.u32() == Some(crc32c::crc32c(covered))) {
            (true, true) => Ok(header),
            (false, _) => Err(Some(version)),
            _ => Err(None),
        }
    }
}

/// The file name of a snapshot.
pub fn name(sequence: u64) -> String {
    format!("snapshot-{sequence:020}")
}

/// The sequence in a snapshot's file name.
pub fn sequence(name: &str) -> Option<u64> {
    name.strip_prefix("snapshot-").filter(|digits| digits.len() == 20)?.parse().ok()
}

/// Writes a snapshot of what `walk` hands out; when this returns, it is durable under its name.
pub fn write(disk: &dyn Disk, header: Header, walk: &dyn Fn(&mut Sink<'_>)) -> Result<u64, Trouble> {
    let name = name(header.sequence);
    let file = disk.create(&unfinished(&name), 0).at(Operation::Create, &name)?;
    let mut writer = Writer { file: &*file, name: &name, end: 0, block: Vec::new(), marks: 0, failed: None };
    writer.put(&header.encode())?;
    walk(&mut |mark| writer.mark(&mark));
    writer.finish()?;
    file.sync().at(Operation::Sync, &name)?;
    disk.rename(&unfinished(&name), &name).at(Operation::Rename, &name)?;
    disk.sync_directory().at(Operation::SyncDirectory, &name)?;
    Ok(writer.marks)
}

struct Writer<'a> {
    file: &'a dyn File,
    name: &'a str,
    end: u64,
    block: Vec<u8>,
    marks: u64,
    /// The walk cannot be stopped half-way, so the first failure waits for its end.
    failed: Option<Trouble>,
}

impl Writer<'_> {
    fn mark(&mut self, mark: &Mark) {
        if self.failed.is_some() {
            return;
        }
        put_mark(&mut self.block, mark);
        self.marks = self.marks.saturating_add(1);
        if self.block.len() >= BLOCK {
            let block = std::mem::take(&mut self.block);
            self.failed = self.put_block(MARKS, &block).err();
            self.block = block;
            self.block.clear();
        }
    }

    fn finish(&mut self) -> Result<(), Trouble> {
        if let Some(trouble) = self.failed.take() {
            return Err(trouble);
        }
        let block = std::mem::take(&mut self.block);
        if !block.is_empty() {
            self.put_block(MARKS, &block)?;
        }
        self.put_block(END, &self.marks.to_le_bytes())
    }

    fn put_block(&mut self, kind: u8, block: &[u8]) -> Result<(), Trouble> {
        let mut bytes = Vec::with_capacity(BLOCK_HEADER.saturating_add(block.len()));
        let length = u32::try_from(block.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&checksum(self.end, kind, block).to_le_bytes());
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.push(kind);
        bytes.extend_from_slice(block);
        self.put(&bytes)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        self.file.write_at(self.end, bytes).at(Operation::Write, self.name)?;
        self.end = self.end.saturating_add(bytes.len() as u64);
        Ok(())
    }
}

/// Reads a snapshot's header alone. `Ok(Err(_))`: it is damaged.
pub fn header(disk: &dyn Disk, name: &str) -> Result<Result<Header, DamageKind>, Error> {
    let mut bytes = Vec::with_capacity(HEADER);
    disk.read(name)
        .and_then(|file| file.take(HEADER as u64).read_to_end(&mut bytes))
        .at(Operation::Read, name)?;
    match Header::parse(&bytes) {
        Ok(header) if sequence(name) == Some(header.sequence) => Ok(Ok(header)),
        Err(Some(found)) => Err(Error::Version { file: name.to_owned(), found, supported: FORMAT }),
        _ => Ok(Err(DamageKind::Header)),
    }
}

/// Hands out the marks of a snapshot; returns how many, and the first damage. Blocks behind a damaged one are still
/// handed out where they can be found.
pub fn read(disk: &dyn Disk, name: &str, sink: &mut Sink<'_>) -> Result<(u64, Option<Damage>), Error> {
    let mut file = std::io::BufReader::with_capacity(BLOCK, disk.read(name).at(Operation::Read, name)?);
    let mut header = [0u8; HEADER];
    let mut damage: Option<Damage> = None;
    let mut note = |offset: u64, kind| {
        damage.get_or_insert(Damage { file: name.to_owned(), offset, kind });
    };
    let (mut offset, mut marks) = (HEADER as u64, 0u64);
    let mut ended = false;
    if file.read_exact(&mut header).is_err() {
        note(0, DamageKind::Header);
        return Ok((0, damage));
    }
    let mut block = Vec::new();
    while !ended {
        let mut head = [0u8; BLOCK_HEADER];
        if file.read_exact(&mut head).is_err() {
            note(offset, DamageKind::CutOff);
            break;
        }
        let mut cursor = Cursor(&head);
        let (expected, length, kind) = (cursor.u32(), cursor.u32().unwrap_or(0), cursor.u8().unwrap_or(0));
        block.clear();
        let taken = (&mut file).take(u64::from(length)).read_to_end(&mut block).at(Operation::Read, name)?;
        if taken as u64 != u64::from(length) {
            note(offset, DamageKind::CutOff);
            break;
        }
        if expected != Some(checksum(offset, kind, &block)) {
            note(offset, DamageKind::Checksum);
        } else if kind == END {
            ended = true;
            if Cursor(&block).u64() != Some(marks) {
                note(offset, DamageKind::Count);
            }
        } else {
            let mut cursor = Cursor(&block);
            while let Some(mark) = cursor.mark() {
                marks = marks.saturating_add(1);
                sink(mark);
            }
            if !cursor.0.is_empty() {
                note(offset, DamageKind::Content);
            }
        }
        offset = offset.saturating_add(BLOCK_HEADER as u64).saturating_add(u64::from(length));
    }
    Ok((marks, damage))
}

/// Covers the place as well, so that blocks cannot change places.
fn checksum(offset: u64, kind: u8, block: &[u8]) -> u32 {
    let place = crc32c::crc32c_append(crc32c::crc32c(&offset.to_le_bytes()), &[kind]);
    let length = crc32c::crc32c_append(place, &(block.len() as u64).to_le_bytes());
    crc32c::crc32c_append(length, block)
}
