//! Reads a state directory: what is in it, what a crash tore off, and what is damaged.
//!
//! A hole in the last segment is the end of an interrupted write if nobody claims that it was ever on disk: each run
//! says up to which sequence the disk had everything when it was written. Any other hole is damage, unless the
//! snapshot has the marks behind it and the audit file the evidence.

use super::disk::{At as _, Disk, Operation, read_all};
use super::error::{Damage, DamageKind, Error};
use super::record::Run;
use super::segment::{self, Found};
use super::snapshot;
use crate::clock::Wall;
use crate::state::Mark;

/// One thing found in a state directory.
pub enum Item<'a> {
    /// A mark; the same slot may come again, in any order.
    Mark(Mark),
    /// Evidence with its sequence, in order.
    Evidence(u64, &'a [u8]),
}

/// The torn end of an interrupted write; nobody got an answer for it (`sync`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The segment.
    pub file: String,
    /// Where the last whole run ends.
    pub offset: u64,
    /// Octets behind it.
    pub octets: u64,
}

/// What a state directory holds.
#[derive(Debug, Default)]
pub struct Reading {
    /// The newest snapshot: name and header.
    pub snapshot: Option<(String, snapshot::Header)>,
    /// The segments in order.
    pub segments: Vec<Seen>,
    /// The sequence of the last entry that counts.
    pub last: u64,
    /// The latest time that any code was judged at.
    pub highest: Option<Wall>,
    /// How many marks were handed out.
    pub marks: u64,
    /// The torn end, if there is one.
    pub torn: Option<Torn>,
    /// Everything that cannot be read any more.
    pub damage: Vec<Damage>,
    /// Files that are needed for nothing any more.
    pub leftovers: Vec<String>,
}

/// A segment that is still needed.
#[derive(Debug)]
pub struct Seen {
    /// Its number.
    pub number: u64,
    /// The last sequence that counts before it.
    pub previous: u64,
    /// The sequence of its last entry that counts.
    pub last: u64,
    /// Where its last run that counts ends.
    pub end: u64,
    /// From here on nobody knows whether it is on disk or only on its way there.
    pub unproven: u64,
    /// Whether it has no run at all.
    pub is_empty: bool,
}

/// Reads everything that can be read, hands it to `sink`, and reports what cannot. Evidence up to `evidence_after` is
/// left out: the audit file has it.
///
/// # Errors
/// Only where nothing can be said: the disk, or another format version.
pub fn read(disk: &dyn Disk, evidence_after: u64, sink: &mut dyn FnMut(Item<'_>)) -> Result<Reading, Error> {
    let mut reading = Reading::default();
    let names = disk.names().at(Operation::List, "the state directory")?;
    let mut reader = Reader { disk, reading: &mut reading, after: evidence_after, sink };
    reader.snapshot(&names)?;
    reader.segments(&names)?;
    reading.leftovers.extend(names.into_iter().filter(|name| name.ends_with(".new")));
    Ok(reading)
}

struct Reader<'a, 'd> {
    disk: &'d dyn Disk,
    reading: &'a mut Reading,
    after: u64,
    sink: &'a mut dyn FnMut(Item<'_>),
}

impl Reader<'_, '_> {
    fn mark(&mut self, mark: Mark) {
        if let Mark::Clock(wall) = mark {
            self.reading.highest = self.reading.highest.max(Some(wall));
        }
        self.reading.marks = self.reading.marks.saturating_add(1);
        (self.sink)(Item::Mark(mark));
    }

    fn damaged(&mut self, file: &str, offset: u64, kind: DamageKind) {
        self.reading.damage.push(Damage { file: file.to_owned(), offset, kind });
    }

    fn snapshot(&mut self, names: &[String]) -> Result<(), Error> {
        let mut found: Vec<u64> = names.iter().filter_map(|name| snapshot::sequence(name)).collect();
        found.sort_unstable();
        let Some(newest) = found.pop() else { return Ok(()) };
        self.reading.leftovers.extend(found.into_iter().map(snapshot::name));
        let name = snapshot::name(newest);
        match snapshot::header(self.disk, &name)? {
            Ok(header) => {
                self.after = self.after.max(header.evidence);
                self.reading.snapshot = Some((name.clone(), header));
            }
            Err(kind) => self.damaged(&name, 0, kind),
        }
        let disk = self.disk;
        let (_, damage) = snapshot::read(disk, &name, &mut |mark| self.mark(mark))?;
        self.reading.damage.extend(damage.filter(|damage| damage.kind != DamageKind::Header));
        Ok(())
    }

    fn segments(&mut self, names: &[String]) -> Result<(), Error> {
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment::number(name)).collect();
        numbers.sort_unstable();
        let snapshot = self.reading.snapshot.as_ref().map(|(_, header)| *header).unwrap_or_default();
        if snapshot.segment > 0 && !numbers.contains(&snapshot.segment) {
            self.damaged(&segment::name(snapshot.segment), 0, DamageKind::NoSegment);
        }
        let mut headers = Vec::with_capacity(numbers.len());
        for &number in &numbers {
            headers.push(segment::header(self.disk, &segment::name(number))?.ok());
        }
        for (at, &number) in numbers.iter().enumerate() {
            // What a later segment does not count, nobody counts.
            let limit = match headers.get(at.saturating_add(1)) {
                Some(Some(next)) => Limit::Upto(next.previous),
                Some(None) => Limit::Unknown,
                None => Limit::End,
            };
            match limit {
                Limit::Upto(last) if last <= snapshot.covered() && number < snapshot.segment => {
                    self.reading.leftovers.push(segment::name(number));
                    self.reading.last = self.reading.last.max(last);
                }
                _ => self.segment(number, limit, snapshot.covered())?,
            }
        }
        Ok(())
    }

    fn segment(&mut self, number: u64, limit: Limit, covered: u64) -> Result<(), Error> {
        let name = segment::name(number);
        let bytes = read_all(self.disk, &name)?;
        let before = self.reading.last;
        let found = match Found::read(&name, &bytes)? {
            Ok(found) => found,
            Err(kind) => {
                self.damaged(&name, 0, kind);
                Found::read_headless(number, &bytes, before)
            }
        };
        if found.header.previous > before.max(covered) {
            let missing = DamageKind::Missing(before.max(covered).saturating_add(1), found.header.previous);
            match self.reading.segments.last().map(|seen| (segment::name(seen.number), seen.end)) {
                Some((file, end)) => self.damaged(&file, end, missing),
                None => self.damaged(&name, 0, missing),
            }
        }

        let claimed = found.runs.iter().map(|run| run.durable).max().unwrap_or(0).max(found.header.previous);
        let mut runs = found.runs.as_slice();
        let (mut last, mut end) = (found.last, found.end);
        for &(offset, expected) in &found.holes {
            let behind = runs.partition_point(|run| run.offset < offset);
            let missing = runs.get(behind).map_or(expected, |run| run.first.saturating_sub(1));
            let counts = match limit {
                Limit::Upto(limit) => expected <= limit,
                Limit::Unknown => true,
                Limit::End => expected <= claimed,
            };
            if counts && missing > covered {
                let kind = if missing >= expected {
                    DamageKind::Missing(expected, missing)
                } else {
                    DamageKind::Checksum
                };
                self.damaged(&name, offset as u64, kind);
            } else if !counts && matches!(limit, Limit::End) {
                // The end of an interrupted write: whatever made it to the disk behind it was not answered either.
                runs = runs.get(..behind).unwrap_or_default();
                end = offset;
                last = runs.iter().map(|run| run.last).fold(found.header.first.saturating_sub(1), u64::max);
                break;
            }
        }
        let octets = found.end.saturating_add(found.rest).saturating_sub(end);
        if matches!(limit, Limit::End) && octets > 0 {
            self.reading.torn = Some(Torn { file: name.clone(), offset: end as u64, octets: octets as u64 });
        }
        if let Limit::Upto(limit) = limit {
            last = last.min(limit);
        }
        for place in runs {
            let run = bytes.get(place.offset..).and_then(|bytes| Run::parse(bytes, number));
            for entry in run.iter().flat_map(Run::entries) {
                let Some((sequence, entry)) = entry else {
                    self.damaged(&name, place.offset as u64, DamageKind::Content);
                    break;
                };
                // The marks count even of what nobody answered for: a code that is used up once too often does no
                // harm, and with `relaxed` somebody may have got an answer before the disk failed.
                entry.marks().for_each(|mark| self.mark(mark));
                if !entry.evidence.is_empty() && sequence > self.after && sequence <= last {
                    (self.sink)(Item::Evidence(sequence, entry.evidence));
                }
            }
        }
        let unproven = runs.iter().find(|run| run.last > claimed).map_or(end, |run| run.offset);
        self.reading.last = self.reading.last.max(last);
        self.reading.segments.push(Seen {
            number,
            previous: found.header.previous,
            last,
            end: end as u64,
            unproven: unproven as u64,
            is_empty: runs.is_empty(),
        });
        Ok(())
    }
}

/// Up to which sequence a segment counts.
#[derive(Clone, Copy)]
enum Limit {
    /// The next segment says so.
    Upto(u64),
    /// The next segment cannot be read.
    Unknown,
    /// It is the last one.
    End,
}
