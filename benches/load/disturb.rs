//! What else goes on while a daemon answers: its metrics are read, its configuration is read again, its directory
//! changes, and its journal takes snapshots of itself.

use crate::daemon::Daemon;
use crate::slapd::{ADMIN_DN, ADMIN_PASSWORD, Slapd, write_names, write_user};
use rustix::process::{Pid, Signal, kill_process, nice};
use std::collections::BTreeSet;
use std::fmt;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often everything but the snapshots happens.
const EVERY: Duration = Duration::from_secs(1);
/// Users that come with their tokens, and go the next time: each makes two entries.
const NEWCOMERS: u32 = 50;

/// What happened.
#[derive(Default)]
pub struct Counts {
    scrapes: u32,
    reloads: u32,
    entries: u32,
    snapshots: BTreeSet<String>,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { scrapes, reloads, entries, snapshots } = self;
        write!(
            f,
            "meanwhile: {scrapes} times the metrics, {reloads} reloads, {entries} entries that came or went, {} snapshots",
            snapshots.len()
        )
    }
}

/// Disturbs a daemon until `over`. The generator comes first on the processor that both use.
pub fn disturb(daemon: &Daemon, slapd: &Slapd, over: &AtomicBool) -> Counts {
    nice(10).unwrap();
    let pid = Pid::from_raw(daemon.process.pid().try_into().unwrap()).unwrap();
    let before = daemon.snapshots();
    let mut counts = Counts::default();
    for turn in 0.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        assert!(daemon.get("/metrics").contains("sekisho_requests_total"));
        counts.scrapes += 1;
        kill_process(pid, Signal::HUP).unwrap();
        counts.reloads += 1;
        // Numbers that nobody who logs in has.
        let first = u32::MAX - NEWCOMERS * (1 + turn / 2);
        change(slapd, first..first + NEWCOMERS, turn % 2 == 0);
        counts.entries += 2 * NEWCOMERS;
        counts.snapshots.extend(daemon.snapshots().into_iter().filter(|name| !before.contains(name)));
        std::thread::sleep(EVERY);
    }
    counts
}

/// Adds these users to the directory, or removes them.
fn change(slapd: &Slapd, users: std::ops::Range<u32>, come: bool) {
    let mut ldif = Vec::new();
    for user in users {
        if come {
            write_user(&mut ldif, user).unwrap();
        } else {
            write_names(&mut ldif, user).unwrap();
        }
    }
    let program = if come { "ldapadd" } else { "ldapdelete" };
    let url = slapd.url();
    let mut child = Command::new(program)
        .args(["-x", "-H", &url, "-D", ADMIN_DN, "-w", ADMIN_PASSWORD])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect(program);
    child.stdin.take().unwrap().write_all(&ldif).unwrap();
    assert!(child.wait().unwrap().success(), "{program}");
}
