//! Killed at each operation on the disk, one after the other: the real process, stopped by the system as it asks.
//!
//! `strace` kills the daemon when it enters its n-th write, sync, rename, …; for what only a failed disk brings about
//! (a new segment and a snapshot of everything while requests go on), an earlier operation fails first. The binary is
//! the one that is shipped: there is nothing in it for this.

use super::{Bank, USERS, dice, whole};
use crate::harness::daemon::{Daemon, binary};
use crate::harness::process::{kill_all, members, wait_until_gone};
use crate::harness::{World, WorldBuilder, wait_for};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long the short form goes on to another point.
const SHORT: Duration = Duration::from_secs(10);
/// How long a life with a point in it may last: a failed disk is tried again after a second.
const LIFE: Duration = Duration::from_secs(4);

/// Where a life ends.
#[derive(Clone, Copy, Debug)]
struct Point {
    /// Whose operations are counted.
    thread: Thread,
    call: &'static str,
    nth: u32,
    /// What fails before.
    first: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Thread {
    /// Each thread's by themselves, from the birth of the process.
    Any,
    /// The journal's, while requests are answered.
    Journal,
}

/// The third sync of a life fails, and what it should have saved is in doubt.
const SYNC_FAILS: Option<&str> = Some("inject=fdatasync:error=EIO:when=3");
/// The third write of a life finds no room.
const WRITE_FAILS: Option<&str> = Some("inject=pwrite64:error=ENOSPC:when=3");

/// Every operation of a start, of a run of the journal, and of the mending of a failed disk with its snapshot.
fn points() -> Vec<Point> {
    let of = |thread, call, first, nths: std::ops::RangeInclusive<u32>| {
        nths.map(move |nth| Point { thread, call, nth, first })
    };
    let (any, journal) = (Thread::Any, Thread::Journal);
    of(any, "pwrite64", None, 1..=2)
        .chain(of(any, "fdatasync", None, 1..=2))
        .chain(of(any, "fsync", None, 1..=2))
        .chain(of(any, "ftruncate", None, 1..=2))
        .chain(of(any, "fallocate", None, 1..=1))
        .chain(of(any, "rename", None, 1..=1))
        .chain(of(journal, "pwrite64", None, 1..=5))
        .chain(of(journal, "fdatasync", None, 1..=5))
        // Segment, then snapshot: room, header, sync, name, sync of names.
        .chain(of(journal, "fallocate", SYNC_FAILS, 1..=1))
        .chain(of(journal, "pwrite64", SYNC_FAILS, 4..=8))
        .chain(of(journal, "fdatasync", WRITE_FAILS, 3..=5))
        .chain(of(journal, "rename", SYNC_FAILS, 1..=2))
        .chain(of(journal, "fsync", SYNC_FAILS, 1..=2))
        .collect()
}

impl Point {
    fn arguments(self) -> Vec<String> {
        let kill = format!("inject={}:signal=KILL:when={}", self.call, self.nth);
        let traced = format!("trace={},pwrite64,fdatasync", self.call);
        let injections = self.first.map(str::to_owned).into_iter().chain([kill]);
        let mut arguments: Vec<String> = ["-qq", "-o", "/dev/null", "-e"].map(str::to_owned).to_vec();
        arguments.push(traced);
        injections.for_each(|injection| arguments.extend(["-e".to_owned(), injection]));
        arguments
    }
}

impl Bank {
    /// One life that ends at this point; whether it was reached.
    fn die_at(&mut self, point: Point) -> bool {
        self.tally.kills += 1;
        let config = self.world.config.clone();
        if point.thread == Thread::Any {
            let reached = dies_in_a_start(point, &config);
            self.tally.starting += u32::from(reached);
            return reached;
        }
        self.world.daemon = Daemon::start(&config);
        self.holders.iter_mut().for_each(super::Holder::restarted);
        let due = std::mem::take(&mut self.due);
        self.offer_again(&due);
        let before = self.history().codes().into_iter().collect::<std::collections::BTreeSet<_>>();
        let mut tracer = attach(point, self.world.daemon.pid());
        let mut holders = std::mem::take(&mut self.holders);
        let odds = self.dice.index(1_000_000);
        let begun = Instant::now();
        self.during(Some(LIFE), |load, _| load.fresh(&mut holders, odds));
        let reached = begun.elapsed() < LIFE;
        self.holders = holders;
        let codes = self.history().codes();
        self.due = codes.into_iter().filter(|code| !before.contains(code)).collect();
        let _ = tracer.kill();
        tracer.wait().unwrap();
        reached
    }
}

/// A start that ends at this point; whether it was reached.
fn dies_in_a_start(point: Point, config: &Path) -> bool {
    let mut command = Command::new("strace");
    command.arg("-f").args(point.arguments()).arg(binary());
    let mut daemon = Daemon::spawn(command, config);
    let reached = !daemon.becomes_ready();
    let both = members(daemon.pid());
    daemon.kill();
    // What strace has started goes on without it.
    kill_all(&both[1..]);
    wait_until_gone(&both);
    reached
}

/// From now on the journal's thread is watched.
fn attach(point: Point, pid: u32) -> Child {
    let is_journal = |task: &std::path::PathBuf| {
        std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == "journal")
    };
    let mut tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|task| task.unwrap().path());
    let journal = tasks.find(is_journal).expect("a thread of this name");
    let mut command = Command::new("strace");
    command.args(point.arguments()).arg("-p").arg(journal.file_name().unwrap());
    let tracer = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn();
    let tracer = tracer.expect("strace is needed: apt-get install strace");
    wait_for("strace to watch the journal", || {
        let status = std::fs::read_to_string(journal.join("status")).ok()?;
        (!status.contains("TracerPid:\t0\n")).then_some(())
    });
    tracer
}

#[test]
fn otp_25_killed_at_every_operation_on_the_disk_no_code_passes_twice() {
    let seed = dice::seed("SEKISHO_CRASH_SEED");
    let all = std::env::var_os("SEKISHO_FAIL_POINTS").is_some();
    let mut bank = Bank::open(USERS, seed);
    let (mut left, mut missed, mut tried) = (points(), Vec::new(), 0);
    let begun = Instant::now();
    while !left.is_empty() && (all || begun.elapsed() < SHORT) {
        let point = left.swap_remove(bank.dice.index(left.len()));
        let reached = bank.die_at(point);
        tried += 1;
        if all {
            println!("{point:?}: {}", if reached { "reached" } else { "not reached" });
        }
        if !reached {
            missed.push(point);
        }
    }
    // A start has no more operations than it needs.
    missed.retain(|point| point.thread == Thread::Journal);
    assert!(missed.is_empty(), "never reached: {missed:#?}");
    whole(&bank.world);
    let tally = bank.examine();
    println!("{tried} points, {tally:?} in {:?}", begun.elapsed());
}

#[test]
fn a_file_system_that_cannot_refuse_to_replace_will_do() {
    let world = WorldBuilder::default().prepare();
    forget_everything(&world);
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=renameat2", "-e"]);
    command.arg("inject=renameat2:error=EINVAL").arg(binary());
    let mut daemon = Daemon::spawn(command, &world.config);
    assert!(daemon.becomes_ready());
    let both = members(daemon.pid());
    daemon.kill();
    kill_all(&both[1..]);
    wait_until_gone(&both);
}

/// The next start is the first.
fn forget_everything(world: &World) {
    for made in ["state", "audit.jsonl"] {
        let made = world.directory.path().join(made);
        let gone = if made.is_dir() { std::fs::remove_dir_all(&made) } else { std::fs::remove_file(&made) };
        assert!(gone.is_ok() || !made.exists(), "{gone:?}");
    }
}

/// Everything that a start makes is made in the first one.
#[test]
fn otp_25_killed_at_every_operation_of_its_first_start_it_starts_again() {
    let world = WorldBuilder::default().prepare();
    for call in ["pwrite64", "fdatasync", "fsync", "ftruncate", "rename", "renameat2"] {
        let mut nth = 1;
        loop {
            forget_everything(&world);
            let reached =
                dies_in_a_start(Point { thread: Thread::Any, call, nth, first: None }, &world.config);
            if !reached {
                break;
            }
            Daemon::start(&world.config).kill();
            nth += 1;
        }
        println!("{call}: {}", nth - 1);
        assert!(nth > 1, "a first start has no {call}");
    }
}
