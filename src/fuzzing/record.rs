//! A journal that somebody damaged: it is refused or read, and what is read was once written.

use super::Input;
use crate::clock::Wall;
use crate::identity::EntryId;
use crate::otp::Step;
use crate::state::{Mark, TokenMark};
use crate::store::simulated::Simulated;
use crate::store::{self, Batch, Settings, Staged, Store};
use std::sync::{Arc, OnceLock};

/// Small, so that there are several to damage.
const SEGMENT_OCTETS: u64 = 2048;
const ENTRIES: u32 = 60;

/// Damages the files of a journal as the octets say, and opens it.
pub fn record(octets: &[u8]) {
    static WRITTEN: OnceLock<Option<Simulated>> = OnceLock::new();
    let Some(written) = WRITTEN.get_or_init(write) else { unreachable!("the journal is written") };
    let disk = written.killed();
    let mut input = Input(octets);
    while !input.0.is_empty() {
        let name = match input.octet() % 8 {
            0 => "snapshot-0000000000000001".to_owned(),
            number => format!("journal-{number:016}"),
        };
        let (kind, at, value) =
            (input.octet(), usize::from(u16::from_be_bytes(input.array())), input.octet());
        match kind % 6 {
            0 => disk.tamper(&name, |file| file.truncate(at)),
            1 => disk.tamper(&name, |file| file.resize(file.len().max(at), value)),
            2 => disk.lose(&name),
            3 => {
                let patch = input.take(usize::from(value));
                disk.tamper(&name, |file| {
                    for (place, octet) in file.iter_mut().skip(at).zip(patch) {
                        *place = *octet;
                    }
                });
            }
            _ => disk.tamper(&name, |file| {
                if let Some(octet) = file.get_mut(at) {
                    *octet ^= value;
                }
            }),
        }
    }
    let mut marks = Vec::new();
    let opened = store::open_on(Arc::new(disk.clone()), settings(), 0, |mark| marks.push(mark));
    for mark in &marks {
        assert!((0..ENTRIES).any(|number| *mark == made(number)), "a mark that nobody wrote: {mark:?}");
    }
    let Ok((opened, recovered)) = opened else { return };
    for (sequence, evidence) in &recovered.evidence {
        let wrote = (0..ENTRIES).any(|number| **evidence == *line(number).as_bytes());
        assert!(wrote, "evidence that nobody wrote: {sequence}");
    }
    // What was mended is whole: the next start finds the same and nothing torn.
    drop(opened);
    let mut again = Vec::new();
    let reopened = store::open_on(Arc::new(disk.killed()), settings(), 0, |mark| again.push(mark));
    match reopened {
        Ok((_, recovered)) => {
            assert!(recovered.torn.is_none(), "mended, and torn again");
            assert_eq!(marks, again, "mended, and different");
        }
        Err(error) => unreachable!("opened once, and not again: {error}"),
    }
}

/// A journal of several segments, as the store itself writes it.
fn write() -> Option<Simulated> {
    let disk = Simulated::new();
    let (opened, _) = store::open_on(Arc::new(disk.clone()), settings(), 0, |_| {}).ok()?;
    let (left, leaving) = crossbeam_channel::unbounded();
    let store: Store<u32> = Store::start(
        opened,
        |_| {},
        move |batch: Batch<'_, u32>| {
            for number in batch.releases {
                let _ = left.send(number);
            }
        },
    )
    .ok()?;
    for number in 0..ENTRIES {
        store.stage(Staged::one(&[made(number)], line(number).as_bytes(), number)).ok()?;
        // One run for each, so that there are many places to damage.
        leaving.recv().ok()?;
    }
    store.close();
    Some(disk.killed())
}

fn settings() -> Settings {
    Settings { segment_octets: SEGMENT_OCTETS, snapshot_every: u64::MAX, ..Settings::new("/simulated") }
}

fn made(number: u32) -> Mark {
    if number.is_multiple_of(7) {
        return Mark::Clock(Wall::from_seconds(u64::from(number)));
    }
    Mark::Token(TokenMark {
        token: EntryId::new([number as u8; 16]),
        version: number,
        last: Some(Step(u64::from(number))),
        drift: 0,
        failures: 0,
        imprint: number,
    })
}

fn line(number: u32) -> String {
    format!("{{\"number\":{number}}}")
}
