//! The binary form of marks and of the runs they are written in.
//!
//! A *run* is everything that one write carries: the entries of one batch, under one checksum, because a crash tears
//! the batch as a whole. All numbers are little-endian.
//!
//! ```text
//! run    checksum u32 · length of entries u32 · count u32 · sequence of the first entry u64 · durable u64 · entries
//! entry  number of marks u8 · length of evidence u32 · marks · evidence
//! ```
//!
//! The checksum is CRC-32C over the segment's number and everything behind the checksum. `durable` is the last
//! sequence that was known to be on disk when the run was written: a hole at or below it is damage, a hole above it is
//! the end of an interrupted write.

use crate::clock::Wall;
use crate::identity::EntryId;
use crate::lockout::{Lock, Lockout};
use crate::otp::Step;
use crate::state::{Mark, TokenMark, UserMark};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Octets of a run before its entries.
pub const RUN_HEADER: usize = 28;

const USER: u8 = 1;
const TOKEN: u8 = 2;
const PIN_V4: u8 = 3;
const PIN_V6: u8 = 4;
const CLOCK: u8 = 5;

/// Appends the fixed form of a mark.
pub fn put_mark(out: &mut Vec<u8>, mark: &Mark) {
    match mark {
        Mark::User(mark) => {
            out.push(USER);
            out.extend_from_slice(&mark.user.octets());
            out.extend_from_slice(&mark.version.to_le_bytes());
            put_lockout(out, &mark.codes);
            put_lockout(out, &mark.passwords);
        }
        Mark::Token(mark) => {
            out.push(TOKEN);
            out.extend_from_slice(&mark.token.octets());
            out.extend_from_slice(&mark.version.to_le_bytes());
            out.push(u8::from(mark.last.is_some()));
            out.extend_from_slice(&mark.last.unwrap_or_default().0.to_le_bytes());
            out.extend_from_slice(&mark.drift.to_le_bytes());
            out.extend_from_slice(&mark.failures.to_le_bytes());
            out.extend_from_slice(&mark.imprint.to_le_bytes());
        }
        Mark::Pin(IpAddr::V4(source)) => {
            out.push(PIN_V4);
            out.extend_from_slice(&source.octets());
        }
        Mark::Pin(IpAddr::V6(source)) => {
            out.push(PIN_V6);
            out.extend_from_slice(&source.octets());
        }
        Mark::Clock(wall) => {
            out.push(CLOCK);
            out.extend_from_slice(&wall.seconds().to_le_bytes());
            out.extend_from_slice(&wall.subsec_nanos().to_le_bytes());
        }
    }
}

fn put_lockout(out: &mut Vec<u8>, lockout: &Lockout) {
    out.extend_from_slice(&lockout.failures.to_le_bytes());
    let (kind, until) = match lockout.lock {
        Lock::Open => (0, 0),
        Lock::Until(until) => (1, until.seconds()),
        Lock::UntilReleased => (2, 0),
    };
    out.push(kind);
    out.extend_from_slice(&until.to_le_bytes());
}

/// Reads numbers and marks from the front of some octets; `None` where they end too early or make no sense.
#[derive(Clone, Copy)]
pub struct Cursor<'a>(pub &'a [u8]);

impl<'a> Cursor<'a> {
    /// The next `N` octets.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    /// The next `len` octets.
    pub fn octets(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    /// The next octet.
    pub fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(u8::from_le_bytes)
    }

    /// The next four octets as a number.
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// The next eight octets as a number.
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn id(&mut self) -> Option<EntryId> {
        self.array().map(EntryId::new)
    }

    fn lockout(&mut self) -> Option<Lockout> {
        let (failures, kind, until) = (self.u16()?, self.u8()?, self.u64()?);
        let lock = match kind {
            0 => Lock::Open,
            1 => Lock::Until(Wall::from_seconds(until)),
            2 => Lock::UntilReleased,
            _ => return None,
        };
        Some(Lockout { failures, lock })
    }

    /// The next mark.
    pub fn mark(&mut self) -> Option<Mark> {
        Some(match self.u8()? {
            USER => {
                let (user, version) = (self.id()?, self.u32()?);
                let (codes, passwords) = (self.lockout()?, self.lockout()?);
                Mark::User(UserMark { user, version, codes, passwords })
            }
            TOKEN => {
                let (token, version, has_last) = (self.id()?, self.u32()?, self.u8()?);
                let last = Step(self.u64()?);
                Mark::Token(TokenMark {
                    token,
                    version,
                    last: (has_last != 0).then_some(last),
                    drift: self.array().map(i16::from_le_bytes)?,
                    failures: self.u16()?,
                    imprint: self.u32()?,
                })
            }
            PIN_V4 => Mark::Pin(Ipv4Addr::from(self.array::<4>()?).into()),
            PIN_V6 => Mark::Pin(Ipv6Addr::from(self.array::<16>()?).into()),
            CLOCK => {
                let (seconds, nanos) = (self.u64()?, self.u32()?);
                let below_a_second = std::time::Duration::from_nanos(u64::from(nanos));
                Mark::Clock(Wall::from_seconds(seconds).plus(below_a_second))
            }
            _ => return None,
        })
    }
}

/// Decisions in the form they are written in, put together by whoever makes them; the committer only joins them.
#[derive(Debug, Default)]
pub struct Entries {
    bytes: Vec<u8>,
    count: u32,
    /// Where the last one begins.
    last: usize,
}

impl Entries {
    /// No entry, with room for so many octets of them.
    pub fn with_room(octets: usize) -> Entries {
        Entries { bytes: Vec::with_capacity(octets), count: 0, last: 0 }
    }

    /// Adds a decision: its marks, and its evidence as `write` appends it. One that has neither leaves no entry.
    pub fn push(&mut self, marks: &[Mark], write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        let marks = marks.get(..usize::from(u8::MAX)).unwrap_or(marks);
        self.bytes.push(u8::try_from(marks.len()).unwrap_or(u8::MAX));
        self.bytes.extend_from_slice(&[0; 4]);
        marks.iter().for_each(|mark| put_mark(&mut self.bytes, mark));
        let evidence = self.bytes.len();
        write(&mut self.bytes);
        let length = self.bytes.len().saturating_sub(evidence);
        if marks.is_empty() && length == 0 {
            return self.bytes.truncate(start);
        }
        self.last = start;
        self.count = self.count.saturating_add(1);
        self.note_length(length);
    }

    /// Adds to the evidence of the last decision.
    pub fn complete(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let before = self.bytes.len();
        let length = self.length_field().map_or(0, |field| u32::from_le_bytes(*field));
        write(&mut self.bytes);
        let added = self.bytes.len().saturating_sub(before);
        self.note_length(usize::try_from(length).unwrap_or(usize::MAX).saturating_add(added));
    }

    fn note_length(&mut self, length: usize) {
        if let Some(field) = self.length_field() {
            *field = u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
        }
    }

    /// Behind the number of marks of the last entry.
    fn length_field(&mut self) -> Option<&mut [u8; 4]> {
        self.bytes.get_mut(self.last.saturating_add(1)..)?.first_chunk_mut()
    }

    /// Adds what was decided after these.
    pub fn append(&mut self, later: Entries) {
        if self.bytes.is_empty() {
            *self = later;
            return;
        }
        self.last = self.bytes.len().saturating_add(later.last);
        self.bytes.extend_from_slice(&later.bytes);
        self.count = self.count.saturating_add(later.count);
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// How many octets they take.
    pub fn octets(&self) -> usize {
        self.bytes.len()
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        let mut cursor = Cursor(&self.bytes);
        (0..self.count).map_while(move |_| Entry::parse(&mut cursor))
    }

    /// Forgets them and keeps the room.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
        self.last = 0;
    }
}

/// Builds one run in a buffer that is used again.
#[derive(Default)]
pub struct RunBuilder {
    bytes: Vec<u8>,
    count: u32,
}

impl RunBuilder {
    /// Forgets the entries.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.resize(RUN_HEADER, 0);
        self.count = 0;
    }

    /// Adds entries.
    pub fn append(&mut self, entries: &Entries) {
        self.bytes.extend_from_slice(&entries.bytes);
        self.count = self.count.saturating_add(entries.count);
    }

    /// The evidence of its entries, when `first` is the sequence of the first.
    pub fn evidence(&self, first: u64) -> RunEvidence<'_> {
        let cursor = Cursor(self.bytes.get(RUN_HEADER..).unwrap_or_default());
        RunEvidence { cursor, next: first, left: self.count }
    }

    /// How many entries it has.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// How many octets it takes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The finished run, good in this segment only.
    pub fn finish(&mut self, segment: u64, first: u64, durable: u64) -> &[u8] {
        let length = u32::try_from(self.bytes.len().saturating_sub(RUN_HEADER)).unwrap_or(u32::MAX);
        self.patch(4, &length.to_le_bytes());
        self.patch(8, &self.count.to_le_bytes());
        self.patch(12, &first.to_le_bytes());
        self.patch(20, &durable.to_le_bytes());
        let checksum = checksum(segment, self.bytes.get(4..).unwrap_or_default());
        self.patch(0, &checksum.to_le_bytes());
        &self.bytes
    }

    fn patch(&mut self, at: usize, value: &[u8]) {
        if let Some(place) = self.bytes.get_mut(at..at + value.len()) {
            place.copy_from_slice(value);
        }
    }
}

/// The evidence of a run that is being written, each with its sequence.
#[derive(Clone)]
pub struct RunEvidence<'a> {
    cursor: Cursor<'a>,
    next: u64,
    left: u32,
}

impl<'a> Iterator for RunEvidence<'a> {
    type Item = (u64, &'a [u8]);

    fn next(&mut self) -> Option<(u64, &'a [u8])> {
        loop {
            self.left = self.left.checked_sub(1)?;
            let sequence = self.next;
            self.next = sequence.saturating_add(1);
            let evidence = Entry::parse(&mut self.cursor)?.evidence;
            if !evidence.is_empty() {
                return Some((sequence, evidence));
            }
        }
    }
}

/// A whole run as read.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// The sequence of its first entry.
    pub first: u64,
    /// How many entries; the sequence of the last is `first + count - 1`. A run without entries seals what is before.
    pub count: u32,
    /// The last sequence known to be on disk when this was written.
    pub durable: u64,
    /// Octets it takes in the segment.
    pub len: usize,
    entries: &'a [u8],
}

impl<'a> Run<'a> {
    /// The run at the start of `bytes`, if a whole one is there and its checksum is right.
    pub fn parse(bytes: &'a [u8], segment: u64) -> Option<Run<'a>> {
        let mut cursor = Cursor(bytes);
        let (expected, length, count) = (cursor.u32()?, cursor.u32()?, cursor.u32()?);
        let (first, durable) = (cursor.u64()?, cursor.u64()?);
        // Cheap checks first: a search for the next whole run tries every offset.
        if first == 0 || durable >= first || (count == 0) != (length == 0) {
            return None;
        }
        first.checked_add(u64::from(count))?;
        let entries = cursor.octets(usize::try_from(length).ok()?)?;
        let len = RUN_HEADER.checked_add(entries.len())?;
        let good = checksum(segment, bytes.get(4..len)?) == expected;
        good.then_some(Run { first, count, durable, len, entries })
    }

    /// The sequence of the last entry; for a run without entries the one before.
    pub fn last(&self) -> u64 {
        self.first.saturating_add(u64::from(self.count)).saturating_sub(1)
    }

    /// The entries with their sequences. `None` in place of an entry: the octets are whole but make no sense.
    pub fn entries(&self) -> impl Iterator<Item = Option<(u64, Entry<'a>)>> + use<'a> {
        let mut cursor = Cursor(self.entries);
        let sequences = self.first..self.first.saturating_add(u64::from(self.count));
        sequences.map(move |sequence| Some((sequence, Entry::parse(&mut cursor)?)))
    }
}

/// One staged entry as read.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    marks: Cursor<'a>,
    count: u8,
    /// The evidence; empty if there is none.
    pub evidence: &'a [u8],
}

impl<'a> Entry<'a> {
    fn parse(cursor: &mut Cursor<'a>) -> Option<Entry<'a>> {
        let (count, length) = (cursor.u8()?, cursor.u32()?);
        let marks = *cursor;
        for _ in 0..count {
            cursor.mark()?;
        }
        Some(Entry { marks, count, evidence: cursor.octets(usize::try_from(length).ok()?)? })
    }

    /// The marks.
    pub fn marks(&self) -> impl Iterator<Item = Mark> + use<'a> {
        let mut cursor = self.marks;
        (0..self.count).map_while(move |_| cursor.mark())
    }
}

fn checksum(segment: u64, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&segment.to_le_bytes()), bytes)
}

/// Any mark, for the tests of the store.
#[cfg(test)]
pub(super) mod arbitrary {
    use super::*;
    use proptest::prelude::*;

    pub(in crate::store) fn mark() -> impl Strategy<Value = Mark> {
        let id = any::<[u8; 16]>().prop_map(EntryId::new);
        let lock = prop_oneof![
            Just(Lock::Open),
            any::<u64>().prop_map(|until| Lock::Until(Wall::from_seconds(until))),
            Just(Lock::UntilReleased)
        ];
        let lockout = (any::<u16>(), lock).prop_map(|(failures, lock)| Lockout { failures, lock }).boxed();
        let user = (id.clone(), any::<u32>(), lockout.clone(), lockout).prop_map(
            |(user, version, codes, passwords)| Mark::User(UserMark { user, version, codes, passwords }),
        );
        let last = proptest::option::of(any::<u64>().prop_map(Step));
        let token = (id, any::<u32>(), last, any::<i16>(), any::<u16>(), any::<u32>()).prop_map(
            |(token, version, last, drift, failures, imprint)| {
                Mark::Token(TokenMark { token, version, last, drift, failures, imprint })
            },
        );
        let clock = (any::<u32>(), 0..1_000_000_000u64).prop_map(|(seconds, nanos)| {
            Mark::Clock(Wall::from_seconds(seconds.into()).plus(std::time::Duration::from_nanos(nanos)))
        });
        prop_oneof![4 => user, 4 => token, 1 => any::<IpAddr>().prop_map(Mark::Pin), 1 => clock]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn runs_read_as_they_were_written(
            entries in prop::collection::vec((prop::collection::vec(arbitrary::mark(), 0..6), any::<Vec<u8>>()), 1..8),
            segment in any::<u64>(),
            first in 1..u64::MAX / 2,
        ) {
            let mut builder = RunBuilder::default();
            builder.clear();
            let entries: Vec<_> = entries.into_iter().filter(|(marks, line)| !(marks.is_empty() && line.is_empty())).collect();
            prop_assume!(!entries.is_empty());
            let mut gathered = Entries::default();
            for (marks, evidence) in &entries {
                // As a worker does: the last of it is known a moment later.
                let (first, second) = evidence.split_at(evidence.len() / 2);
                let begun = |out: &mut Vec<u8>| out.extend_from_slice(if marks.is_empty() { evidence } else { first });
                // Some come by themselves and go on with the others.
                if evidence.len() % 2 == 0 {
                    gathered.push(marks, begun);
                } else {
                    let mut alone = Entries::default();
                    alone.push(marks, begun);
                    gathered.append(alone);
                }
                if !marks.is_empty() {
                    gathered.complete(|out| out.extend_from_slice(second));
                }
            }
            builder.append(&gathered);
            let told: Vec<_> = builder.evidence(first).map(|(at, evidence)| (at, evidence.to_vec())).collect();
            let with_evidence = (first..).zip(&entries).filter(|(_, (_, evidence))| !evidence.is_empty());
            prop_assert_eq!(told, with_evidence.map(|(at, (_, evidence))| (at, evidence.clone())).collect::<Vec<_>>());
            let bytes = builder.finish(segment, first, first - 1);
            let run = Run::parse(bytes, segment).unwrap();
            prop_assert_eq!((run.first, run.durable, run.len), (first, first - 1, bytes.len()));
            let read: Vec<_> = run.entries().map(|entry| {
                let (_, entry) = entry.unwrap();
                (entry.marks().collect::<Vec<_>>(), entry.evidence.to_vec())
            }).collect();
            prop_assert_eq!(read, entries);
            prop_assert!(Run::parse(bytes, segment.wrapping_add(1)).is_none());
        }

        #[test]
        fn no_octets_make_the_reader_panic(bytes in any::<Vec<u8>>()) {
            let mut cursor = Cursor(&bytes);
            while cursor.mark().is_some() {}
            let _ = Run::parse(&bytes, 1);
            let made_up = Run { first: 1, count: 9, durable: 0, len: 0, entries: &bytes };
            made_up.entries().flatten().for_each(|(_, entry)| entry.marks().for_each(drop));
        }
    }

    #[test]
    fn any_flipped_bit_of_a_run_is_noticed() {
        let mut builder = RunBuilder::default();
        builder.clear();
        let mut entries = Entries::default();
        entries.push(&[Mark::Clock(Wall::from_seconds(7))], |out| out.extend_from_slice(b"{\"event\":\"x\""));
        builder.append(&entries);
        let good = builder.finish(3, 10, 9).to_vec();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Run::parse(&bad, 3).is_none(), "bit {bit}");
        }
    }
}
