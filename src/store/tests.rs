//! The store as a whole: crashes, faults and damage on a disk that breaks on demand, and the real thing on files.

use super::committer::Committer;
use super::simulated::{Fault, Simulated};
use super::*;
use crate::clock::{Mono, Wall};
use crate::identity::EntryId;
use crate::otp::Step;
use crate::state::TokenMark;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::mpsc;

/// What the daemon would remember, and what it promised.
#[derive(Default)]
struct World {
    /// The tables: the newest version of each token.
    tables: BTreeMap<EntryId, TokenMark>,
    /// Everything ever staged.
    staged: BTreeMap<u32, TokenMark>,
    /// What came back as durable.
    acknowledged: Vec<TokenMark>,
    evidence: Vec<Evidence>,
    /// What the audit file has.
    audited: u64,
    version: u32,
}

/// One life of a process on a simulated disk.
struct Life {
    world: Arc<Mutex<World>>,
    disk: Simulated,
    shared: Arc<Shared>,
    committer: Committer<TokenMark>,
}

fn settings(durability: Durability) -> Settings {
    // Small segments, so that many begin.
    Settings { durability, segment_octets: 1500, probe_every: Duration::ZERO, ..Settings::new("simulated") }
}

impl Life {
    fn begin(world: &Arc<Mutex<World>>, disk: Simulated, durability: Durability) -> Result<Life, Error> {
        let audited = world.lock().unwrap().audited;
        let mut tables: BTreeMap<EntryId, TokenMark> = BTreeMap::new();
        let on = Arc::new(disk.clone());
        let (opened, recovered) = open_on(on, settings(durability), audited, |mark| {
            let Mark::Token(mark) = mark else { panic!("{mark:?} was never staged") };
            let slot = tables.entry(mark.token).or_insert(mark);
            if slot.version < mark.version {
                *slot = mark;
            }
        })?;
        let mut state = world.lock().unwrap();
        for mark in tables.values() {
            assert_eq!(state.staged.get(&mark.version), Some(mark), "a mark was invented");
        }
        for (sequence, bytes) in &recovered.evidence {
            let text = std::str::from_utf8(bytes).unwrap();
            let version: u32 = text.rsplit(':').next().unwrap().parse().unwrap();
            assert!(state.staged.contains_key(&version) && *sequence > audited, "evidence was invented");
        }
        assert!(recovered.evidence.is_sorted_by_key(|(sequence, _)| *sequence));
        for acknowledged in state.evidence.iter().filter(|(sequence, _)| *sequence > audited) {
            assert!(
                durability != Durability::Sync || recovered.evidence.contains(acknowledged),
                "evidence was lost"
            );
        }
        state.tables = tables;
        drop(state);
        let shared = Arc::new(Shared::default());
        let (walked, told) = (Arc::clone(world), Arc::clone(world));
        let walk = move |sink: &mut Sink<'_>| {
            walked.lock().unwrap().tables.values().for_each(|mark| sink(Mark::Token(*mark)));
        };
        let on_batch = move |batch: Batch<'_, TokenMark>| {
            let mut world = told.lock().unwrap();
            if batch.outcome.is_ok() {
                world.acknowledged.extend(batch.releases);
                world.evidence.extend(batch.evidence.map(|(sequence, evidence)| (sequence, evidence.into())));
            }
        };
        shared.evidence.store(opened.evidence, Ordering::Relaxed);
        let committer = Committer::new(opened, Arc::clone(&shared), Arc::new(walk), Box::new(on_batch));
        Ok(Life { world: Arc::clone(world), disk, shared, committer })
    }

    /// Every promise that was made must be kept.
    fn check(&self) {
        let world = self.world.lock().unwrap();
        for mark in &world.acknowledged {
            let kept = world.tables.get(&mark.token).is_some_and(|kept| kept.version >= mark.version);
            assert!(kept, "an acknowledged mark was lost: {mark:?}");
        }
    }

    fn stage(&mut self, tokens: &[u8]) {
        for &token in tokens {
            let mut world = self.world.lock().unwrap();
            world.version += 1;
            let version = world.version;
            let token = EntryId::new([token % 5; 16]);
            let last = Some(Step(u64::from(version)));
            let mark = TokenMark { token, version, last, drift: -1, failures: 2, imprint: 3 };
            world.tables.insert(token, mark);
            world.staged.insert(version, mark);
            drop(world);
            let evidence = format!("{{\"event\":\"login\",\"n\":{version}");
            self.committer.take(Staged::one(&[Mark::Token(mark)], evidence.as_bytes(), mark));
        }
        self.committer.commit();
    }

    fn snapshot(&mut self) {
        self.committer.begin_snapshot(None);
        self.committer.await_snapshot();
    }

    /// The audit file has been synced.
    fn audit(&mut self) {
        let mut world = self.world.lock().unwrap();
        world.audited = world.evidence.last().map_or(world.audited, |(sequence, _)| *sequence);
        self.shared.evidence.fetch_max(world.audited, Ordering::AcqRel);
    }

    fn health(&self) -> bool {
        !self.shared.failed.load(Ordering::Acquire)
    }

    fn names(&self) -> Vec<String> {
        self.disk.names().unwrap()
    }
}

fn new_world() -> Arc<Mutex<World>> {
    Arc::default()
}

fn sync_life(world: &Arc<Mutex<World>>, disk: Simulated) -> Life {
    Life::begin(world, disk, Durability::Sync).unwrap()
}

/// Three runs in one segment, then a kill.
fn three_runs() -> (Arc<Mutex<World>>, Simulated, String, [usize; 4]) {
    let world = new_world();
    let mut life = sync_life(&world, Simulated::new());
    let name = segment::name(1);
    let mut ends = [segment::HEADER; 4];
    for end in &mut ends[1..] {
        life.stage(&[1, 2]);
        let bytes = disk::read_all(&life.disk, &name).unwrap();
        *end = bytes.iter().rposition(|&octet| octet != 0).unwrap() + 1;
    }
    (world, life.disk.killed(), name, ends)
}

#[derive(Clone, Debug)]
enum Happening {
    Stage(Vec<u8>),
    Snapshot,
    Audit,
    Fault(Operation, Fault),
    Repair,
    Tick,
    Close,
    Kill,
    PowerCut(u64),
    DieAfter(u64),
}

/// Against what acknowledged marks are safe; nothing is ever invented, and no crash passes for damage.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Promise {
    AgainstPowerCut,
    AgainstKill,
    None,
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let operation = prop::sample::select(vec![
        Operation::Create,
        Operation::Write,
        Operation::Sync,
        Operation::Rename,
        Operation::Remove,
        Operation::SyncDirectory,
        Operation::Read,
        Operation::Find,
    ]);
    let fault = prop::sample::select(vec![
        Fault::Error(ErrorKind::StorageFull),
        Fault::Half(ErrorKind::StorageFull),
        Fault::Error(ErrorKind::Other),
        Fault::Half(ErrorKind::Other),
    ]);
    let happening = prop_oneof![
        12 => prop::collection::vec(any::<u8>(), 1..6).prop_map(Happening::Stage),
        2 => Just(Happening::Snapshot),
        2 => Just(Happening::Audit),
        2 => (operation, fault).prop_map(|(operation, fault)| Happening::Fault(operation, fault)),
        2 => Just(Happening::Repair),
        2 => Just(Happening::Tick),
        1 => Just(Happening::Close),
        2 => Just(Happening::Kill),
        3 => any::<u64>().prop_map(Happening::PowerCut),
        2 => (0..25u64).prop_map(Happening::DieAfter),
    ];
    prop::collection::vec(happening, 1..60)
}

fn live_through(happenings: Vec<Happening>, durability: Durability, promise: Promise) {
    let world = new_world();
    let mut life = Life::begin(&world, Simulated::new(), durability).unwrap();
    for happening in happenings {
        let next = match happening {
            Happening::Stage(tokens) => {
                life.stage(&tokens);
                continue;
            }
            Happening::Snapshot => {
                life.snapshot();
                continue;
            }
            Happening::Audit => {
                life.audit();
                continue;
            }
            Happening::Fault(operation, fault) => {
                life.disk.break_down(operation, fault);
                continue;
            }
            Happening::Repair => {
                life.disk.repair();
                continue;
            }
            Happening::Tick => {
                life.committer.tick(Mono::from_nanos(u64::MAX));
                life.committer.await_snapshot();
                continue;
            }
            Happening::DieAfter(operations) => {
                life.disk.die_after(operations);
                continue;
            }
            Happening::Close => {
                life.committer.finish();
                life.disk.killed()
            }
            Happening::Kill => life.disk.killed(),
            Happening::PowerCut(_) if promise == Promise::AgainstKill => life.disk.killed(),
            Happening::PowerCut(seed) => life.disk.power_cut(seed),
        };
        life = Life::begin(&world, next, durability).unwrap();
        if promise != Promise::None {
            life.check();
        }
    }
    life = Life::begin(&world, life.disk.killed(), durability).unwrap();
    if promise != Promise::None {
        life.check();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn otp_25_no_crash_loses_an_acknowledged_mark_or_invents_one(happenings in happenings()) {
        live_through(happenings, Durability::Sync, Promise::AgainstPowerCut);
    }

    #[test]
    fn relaxed_loses_nothing_when_only_the_process_dies(happenings in happenings()) {
        live_through(happenings, Durability::Relaxed, Promise::AgainstKill);
    }

    #[test]
    fn no_power_cut_passes_for_damage(happenings in happenings(), memory: bool) {
        let durability = if memory { Durability::Memory } else { Durability::Relaxed };
        live_through(happenings, durability, Promise::None);
    }
}

#[test]
fn otp_25_a_crash_at_every_single_operation_keeps_every_promise() {
    let story = |life: &mut Life| {
        for round in 0..4u8 {
            life.stage(&[round, round + 1, round + 2]);
            life.stage(&[round]);
            life.audit();
            life.snapshot();
        }
        life.committer.finish();
    };
    let mut whole = sync_life(&new_world(), Simulated::new());
    story(&mut whole);
    let all = whole.disk.operations();
    assert!(all > 50);
    for operations in 0..all {
        for seed in 0..6 {
            let world = new_world();
            let Ok(mut life) = Life::begin(&world, Simulated::new(), Durability::Sync) else { continue };
            life.disk.die_after(operations);
            story(&mut life);
            let left = if seed == 0 { life.disk.killed() } else { life.disk.power_cut(seed) };
            sync_life(&world, left).check();
        }
    }
}

#[test]
fn a_torn_end_is_cut_wherever_it_tears() {
    let (world, disk, name, [.., second, third]) = three_runs();
    let last = world.lock().unwrap().acknowledged.len() - 2;
    for len in second..third {
        for zeros in [0, 400] {
            let torn = disk.killed();
            torn.tamper(&name, |bytes| {
                bytes.truncate(len);
                bytes.resize(len + zeros, 0);
            });
            let (opened, recovered) = open_on(Arc::new(torn), settings(Durability::Sync), 0, |_| {}).unwrap();
            assert_eq!(recovered.marks as usize, last, "{len}");
            assert_eq!(recovered.torn.is_some(), len > second, "{len}");
            assert_eq!(opened.next, 5);
        }
    }
}

#[test]
fn damage_in_the_middle_stops_the_start_and_recovery_names_what_it_gives_up() {
    let (world, disk, name, [_, first, second, _]) = three_runs();
    let staged = world.lock().unwrap().staged.len() as u64;
    for octet in first..second {
        let damaged = disk.killed();
        damaged.tamper(&name, |bytes| bytes[octet] ^= 0x10);
        let on: Arc<dyn Disk> = Arc::new(damaged.clone());
        let Err(Error::Damaged { first: damage, others: 0 }) =
            open_on(Arc::clone(&on), settings(Durability::Sync), 0, |_| {}).map(drop)
        else {
            panic!("octet {octet} was not noticed")
        };
        assert_eq!((damage.file.as_str(), damage.offset), (name.as_str(), first as u64));
        assert_eq!(damage.kind, DamageKind::Missing(3, 4));

        let now = Wall::from_seconds(1000);
        let given_up = offline::recover_on(&on, Path::new("x"), offline::Mode::DropDamaged, 0, now).unwrap();
        assert_eq!((given_up.damage, given_up.marks, given_up.refuse), (vec![damage], staged - 2, Some(now)));
        let (_, recovered) = open_on(on, settings(Durability::Sync), 0, |_| {}).unwrap();
        assert_eq!((recovered.marks, recovered.evidence.len()), (staged - 2, 4));
        assert_eq!(recovered.refuse, Some(Wall::from_seconds(1001)));
        assert!(damaged.names().unwrap().iter().any(|name| name.starts_with("damaged-1000-journal-")));
    }
}

#[test]
fn start_empty_gives_up_everything_even_what_it_cannot_read() {
    let (_, disk, name, _) = three_runs();
    disk.tamper(&name, |bytes| bytes[8..12].copy_from_slice(&7u32.to_le_bytes()));
    let on: Arc<dyn Disk> = Arc::new(disk.clone());
    let recover = |mode| offline::recover_on(&on, Path::new("x"), mode, 6, Wall::from_seconds(1000));
    assert!(matches!(recover(offline::Mode::DropDamaged), Err(Error::Version { .. })));
    recover(offline::Mode::StartEmpty).unwrap();
    assert_eq!(recover(offline::Mode::DropDamaged).unwrap().refuse, None, "whole: nothing to recover");
    let (opened, recovered) = open_on(on, settings(Durability::Sync), 6, |_| {}).unwrap();
    assert_eq!((recovered.marks, recovered.refuse), (0, Some(Wall::from_seconds(1001))));
    assert!(opened.next > 7 && disk.names().unwrap().contains(&format!("damaged-1000-{name}")));
}

#[test]
fn a_sealed_end_is_damage_and_not_torn() {
    let world = new_world();
    let mut life = sync_life(&world, Simulated::new());
    life.stage(&[1]);
    life.committer.finish();
    life.disk.tamper(&segment::name(1), |bytes| bytes[segment::HEADER + 9] ^= 1);
    assert!(matches!(Life::begin(&world, life.disk.killed(), Durability::Sync), Err(Error::Damaged { .. })));
}

#[test]
fn a_missing_or_headless_segment_or_snapshot_block_stops_the_start() {
    let world = new_world();
    let mut life = sync_life(&world, Simulated::new());
    for _ in 0..20 {
        life.stage(&[1, 2, 3]);
    }
    life.snapshot();
    life.stage(&[4]);
    let segments: Vec<String> =
        life.names().into_iter().filter(|name| segment::number(name).is_some()).collect();
    assert!(segments.len() > 3);
    let snapshot = life.names().into_iter().find(|name| snapshot::sequence(name).is_some()).unwrap();
    for name in &segments {
        let disk = life.disk.killed();
        disk.lose(name);
        assert!(matches!(Life::begin(&world, disk, Durability::Sync), Err(Error::Damaged { .. })), "{name}");
        let disk = life.disk.killed();
        disk.tamper(name, |bytes| bytes[20] ^= 1);
        assert!(matches!(Life::begin(&world, disk, Durability::Sync), Err(Error::Damaged { .. })), "{name}");
    }
    let len = disk::read_all(&life.disk, &snapshot).unwrap().len();
    for octet in (0..len).filter(|octet| !(8..12).contains(octet)) {
        let disk = life.disk.killed();
        disk.tamper(&snapshot, |bytes| bytes[octet] ^= 1);
        assert!(
            matches!(Life::begin(&world, disk, Durability::Sync), Err(Error::Damaged { .. })),
            "octet {octet}"
        );
    }
    for len in 0..len {
        let disk = life.disk.killed();
        disk.tamper(&snapshot, |bytes| bytes.truncate(len));
        assert!(
            matches!(Life::begin(&world, disk, Durability::Sync), Err(Error::Damaged { .. })),
            "cut at {len}"
        );
    }
}

#[test]
fn another_version_is_refused_and_never_guessed() {
    let world = new_world();
    let mut life = sync_life(&world, Simulated::new());
    life.stage(&[1]);
    life.snapshot();
    for name in life.names() {
        let disk = life.disk.killed();
        disk.tamper(&name, |bytes| bytes[8..12].copy_from_slice(&7u32.to_le_bytes()));
        let error = Life::begin(&world, disk, Durability::Sync).map(drop).unwrap_err();
        assert_eq!(error, Error::Version { file: name, found: 7, supported: FORMAT });
    }
}

#[test]
fn every_fault_stops_accepts_and_clears_without_a_restart() {
    for operation in [Operation::Write, Operation::Sync, Operation::Create, Operation::SyncDirectory] {
        for fault in [Fault::Error(ErrorKind::StorageFull), Fault::Half(ErrorKind::Other)] {
            let world = new_world();
            let mut life = sync_life(&world, Simulated::new());
            life.stage(&[1]);
            life.disk.break_down(operation, fault);
            for _ in 0..30 {
                life.stage(&[2, 3]);
            }
            assert!(!life.health(), "{operation} {fault:?}");
            let before = world.lock().unwrap().acknowledged.len();
            life.committer.probe();
            life.stage(&[4]);
            assert!(!life.health() && world.lock().unwrap().acknowledged.len() == before);
            life.disk.repair();
            life.committer.probe();
            assert!(life.health());
            life.stage(&[5]);
            assert_eq!(world.lock().unwrap().acknowledged.len(), before + 1);
            // What was never answered is in memory, so it is in the new snapshot.
            let kept = world.lock().unwrap().tables.clone();
            let life = sync_life(&world, life.disk.power_cut(1));
            life.check();
            assert_eq!(world.lock().unwrap().tables, kept, "{operation} {fault:?}");
        }
    }
}

#[test]
fn a_sync_that_failed_is_not_believed_after_a_kill() {
    let world = new_world();
    let mut life = sync_life(&world, Simulated::new());
    life.stage(&[1]);
    life.disk.break_down(Operation::Sync, Fault::Half(ErrorKind::Other));
    life.stage(&[2]);
    // The new process sees octets that never reached the disk; it writes them again before it builds on them.
    let mut life = sync_life(&world, life.disk.killed());
    life.stage(&[3]);
    sync_life(&world, life.disk.power_cut(7)).check();
}

#[test]
fn old_segments_go_when_snapshot_and_audit_file_have_what_they_hold() {
    let world = new_world();
    let mut life = sync_life(&world, Simulated::new());
    let segments = |life: &Life| life.names().iter().filter(|name| segment::number(name).is_some()).count();
    for _ in 0..20 {
        life.stage(&[1, 2, 3]);
    }
    let many = segments(&life);
    life.snapshot();
    assert_eq!(segments(&life), many, "the audit file has nothing yet");
    life.audit();
    life.snapshot();
    assert_eq!(segments(&life), 1);
    sync_life(&world, life.disk.power_cut(3)).check();
}

#[test]
fn many_restarts_leave_few_files() {
    let world = new_world();
    let mut life = sync_life(&world, Simulated::new());
    for _ in 0..50 {
        life = sync_life(&world, life.disk.killed());
    }
    assert_eq!(life.names().len(), 1);
}

fn staged(n: u64) -> Staged<u64> {
    let mark = Mark::Clock(Wall::from_seconds(n));
    Staged::one(&[mark], format!("{{\"n\":{n}").as_bytes(), n)
}

/// A store on real files; gives back what was released, with whether it was durable.
fn real(settings: Settings) -> (Store<u64>, Recovered, mpsc::Receiver<(u64, bool)>) {
    let (opened, recovered) = open(settings, 0, |_| {}).unwrap();
    let (out, released) = mpsc::channel();
    let on_batch = move |batch: Batch<'_, u64>| {
        batch.releases.iter().for_each(|n| out.send((*n, batch.outcome.is_ok())).unwrap_or_default());
    };
    (Store::start(opened, |_| {}, on_batch).unwrap(), recovered, released)
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = crate::clock::now().mono.plus(Duration::from_secs(20));
    while !condition() {
        assert!(crate::clock::now().mono < deadline, "waited in vain: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn everything_staged_by_many_threads_comes_out_once_and_is_found_again() {
    for durability in [Durability::Sync, Durability::Relaxed, Durability::Memory] {
        let directory = tempfile::tempdir().unwrap();
        let settings = Settings { durability, ..Settings::new(directory.path()) };
        let (store, _, released) = real(settings.clone());
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let store = &store;
                scope.spawn(move || {
                    for n in 0..500 {
                        store.stage(staged(thread * 1000 + n)).unwrap();
                    }
                });
            }
        });
        store.close();
        assert!(store.stage(staged(1)).is_err() && matches!(store.health(), Health::Failed { .. }));
        drop(store);
        let mut all: Vec<(u64, bool)> = released.iter().collect();
        assert!(all.iter().all(|(_, durable)| *durable));
        for thread in 0..4 {
            let of: Vec<u64> = all.iter().map(|(n, _)| *n).filter(|n| n / 1000 == thread).collect();
            assert!(of.is_sorted(), "in the order staged");
        }
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 2000);
        let (store, recovered, _released) = real(settings);
        assert_eq!((recovered.marks, recovered.evidence.len(), recovered.torn), (2000, 2000, None));
        assert_eq!(recovered.highest, Some(Wall::from_seconds(3499)));
        store.close();
    }
}

#[test]
fn two_daemons_cannot_use_one_directory() {
    let directory = tempfile::tempdir().unwrap();
    let (store, ..) = real(Settings::new(directory.path()));
    let error = open(Settings::new(directory.path()), 0, |_| {}).map(drop).unwrap_err();
    assert!(matches!(&error, Error::InUse(by) if by.contains(&std::process::id().to_string())), "{error}");
    store.close();
    drop(store);
    open(Settings::new(directory.path()), 0, |_| {}).map(drop).unwrap();
}

#[test]
fn a_directory_that_vanishes_stops_accepts_until_it_is_back() {
    let parent = tempfile::tempdir().unwrap();
    let (here, away) = (parent.path().join("state"), parent.path().join("away"));
    let settings = Settings { probe_every: Duration::from_millis(5), ..Settings::new(&here) };
    let (store, _, released) = real(settings);
    store.stage(staged(1)).unwrap();
    assert_eq!(released.recv().unwrap(), (1, true));
    std::fs::rename(&here, &away).unwrap();
    // A file in the way, or the directory would simply be made again.
    std::fs::write(&here, "").unwrap();
    if store.stage(staged(2)).is_ok() {
        assert_eq!(released.recv().unwrap(), (2, false));
    }
    wait_until("failed", || matches!(store.health(), Health::Failed { .. }));
    assert!(store.stage(staged(3)).is_err());
    std::fs::remove_file(&here).unwrap();
    std::fs::rename(&away, &here).unwrap();
    wait_until("writing", || store.health() == Health::Writing);
    store.stage(staged(4)).unwrap();
    assert_eq!(released.recv().unwrap(), (4, true));
    store.close();
    assert_eq!(offline::verify(&here).unwrap().damage, []);
}

#[test]
fn a_directory_that_was_removed_is_made_again_from_memory() {
    let parent = tempfile::tempdir().unwrap();
    let here = parent.path().join("state");
    let settings = Settings { probe_every: Duration::from_millis(5), ..Settings::new(&here) };
    let (store, _, released) = real(settings);
    store.stage(staged(1)).unwrap();
    assert_eq!(released.recv().unwrap(), (1, true));
    std::fs::remove_dir_all(&here).unwrap();
    wait_until("made again", || {
        store.figures().failures.load(Ordering::Relaxed) > 0 && store.health() == Health::Writing
    });
    store.stage(staged(2)).unwrap();
    assert_eq!(released.recv().unwrap(), (2, true));
    store.close();
    drop(store);
    let (_, recovered) = open(Settings::new(&here), 0, |_| {}).unwrap();
    assert_eq!(recovered.highest, Some(Wall::from_seconds(2)));
}

#[test]
fn the_first_segment_ends_as_soon_as_there_is_a_better_one_and_only_that_one() {
    let directory = tempfile::tempdir().unwrap();
    let settings = Settings { segment_octets: 1024 * 1024, ..Settings::new(directory.path()) };
    let (store, _, released) = real(settings.clone());
    let figures = store.figures();
    let mut n = 0;
    let mut one = || {
        n += 1;
        store.stage(staged(n)).unwrap();
        assert_eq!(released.recv().unwrap(), (n, true));
        (figures.segments.load(Ordering::Relaxed), figures.octets.load(Ordering::Relaxed))
    };
    let (before, _) = one();
    wait_until("the next segment", || one().0 > before);
    let (now, octets) = one();
    assert!((now, octets < settings.segment_octets / 2) == (before + 1, true), "{octets} octets");
    wait_until("another spare", || {
        one();
        directory.path().join("spare").exists()
    });
    assert_eq!((one(), one()).1.0, now);
    store.close();
    drop(store);
    let (_, recovered) = open(settings, 0, |_| {}).unwrap();
    assert_eq!(recovered.highest, Some(Wall::from_seconds(n)));
}

#[test]
fn backup_works_while_the_daemon_does_and_restore_refuses_what_it_cannot_know() {
    let parent = tempfile::tempdir().unwrap();
    let (here, copy, again) =
        (parent.path().join("state"), parent.path().join("copy"), parent.path().join("again"));
    let settings = Settings { segment_octets: 4096, ..Settings::new(&here) };
    let (store, _, released) = real(settings);
    for n in 1..=100 {
        store.stage(staged(n)).unwrap();
    }
    assert!(released.iter().take(100).all(|(_, durable)| durable));
    assert_eq!(offline::backup(&here, &copy).unwrap().last, 100);
    assert!(matches!(offline::backup(&here, &copy), Err(Error::NotEmpty(_))));
    let mut dumped = 0;
    offline::dump(&here, &mut |_| dumped += 1).unwrap();
    assert_eq!(dumped, 200);
    assert_eq!(store.evidence(90, 95).unwrap().len(), 5);
    store.close();
    let now = Wall::from_seconds(5000);
    let given_up = offline::restore(&copy, &again, 60, now).unwrap();
    assert_eq!((given_up.marks, given_up.evidence, given_up.refuse), (100, 40, Some(now)));
    let (opened, recovered) = open(Settings::new(&again), 60, |_| {}).unwrap();
    assert_eq!((recovered.marks, recovered.evidence.len()), (100, 40));
    assert!(recovered.refuse > Some(now) && opened.next > 100);
    assert!(matches!(offline::verify(parent.path()), Err(Error::Nothing(_))));
}

#[test]
fn a_full_queue_gives_back_and_a_snapshot_is_answered() {
    let directory = tempfile::tempdir().unwrap();
    let settings = Settings { queue: 4, ..Settings::new(directory.path()) };
    let (opened, _) = open(settings, 0, |_| {}).unwrap();
    let (go, stop) = mpsc::channel::<()>();
    let on_batch = move |_: Batch<'_, u64>| stop.recv().unwrap_or_default();
    let store = Store::start(opened, |sink| sink(Mark::Clock(Wall::from_seconds(9))), on_batch).unwrap();
    let mut refused = None;
    for n in 0..100 {
        refused = refused.or(store.stage(staged(n)).err().map(|staged| staged.releases));
    }
    assert!(refused.is_some() && store.health() == Health::Writing);
    drop(go);
    assert_eq!(store.snapshot().recv(), Ok(Ok(())));
    store.close();
    assert!(offline::verify(directory.path()).unwrap().snapshot.is_some());
}
