//! How many instructions one answer takes, journal and audit behind it included: what CI holds the fast path to.
//!
//! `cargo bench --bench instructions`; needs valgrind. The program runs itself twice under callgrind, with few answers
//! and with many, and divides the difference: everything but the answers is the same. Only what runs in user space is
//! counted, and valgrind's processor has no SHA extensions, so this is no measure of time: it is one that
//! other people's load does not touch, and a bound on it shows when somebody makes the fast path longer.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "what goes wrong here has to stop the run"
)]

#[path = "../tests/core/bank.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod bank;

use bank::{Bank, Knows, Sent};
use sekisho::audit::{self, Audit, OnFailure};
use sekisho::directory::embedded::{self, Embedded};
use sekisho::listen::{Arrival, ReturnAddress, Sockets};
use sekisho::metrics::Metrics;
use sekisho::pipeline::drive::{self, Drive, Exit, Release};
use sekisho::policy::PasswordCheck;
use sekisho::state::{Bindings, Scope};
use sekisho::store::{self, Durability, Store};
use std::num::NonZeroU16;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;

/// What one answer may take. Measured, and a twentieth more: whoever lowers the figure lowers the bound.
const BOUND: u64 = 61_000;

/// Answers of the two runs.
const FEW: usize = 1_000;
const MANY: usize = 5_000;

/// Datagrams that come together.
const BATCH: usize = 16;

/// Makes the program answer so many requests and end.
const ANSWERS: &str = "--answers";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip_while(|argument| argument != ANSWERS);
    if let Some(count) = arguments.nth(1) {
        answer(count.parse().expect("a number of answers"));
        return ExitCode::SUCCESS;
    }
    let installed = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status();
    if installed.is_err() {
        eprintln!(
            "ABSENT: valgrind. The instructions of an answer were NOT counted; apt-get install valgrind"
        );
        return ExitCode::SUCCESS;
    }
    let each = (instructions(MANY) - instructions(FEW)) / (MANY - FEW) as u64;
    println!(
        "{each} instructions for one answer in user space, journal and audit included; at most {BOUND} are allowed"
    );
    if each > BOUND {
        eprintln!("the fast path has become longer: see docs/performance.md for how to find where");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// All instructions of a run with so many answers.
fn instructions(count: usize) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("callgrind.out");
    let program = std::env::current_exe().unwrap();
    let ran = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(program)
        .args([ANSWERS, &count.to_string()])
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let profile = std::fs::read_to_string(out).unwrap();
    let totals =
        profile.lines().find_map(|line| line.strip_prefix("totals: ").or(line.strip_prefix("summary: ")));
    totals.expect("callgrind's totals").trim().parse().unwrap()
}

/// A worker's part and the journal's, with files, without datagrams in: `count` logins out of those prepared.
fn answer(count: usize) {
    let users = u32::try_from(MANY).unwrap();
    let mut profile = bank::profile();
    profile.password = PasswordCheck::GatewayChecked;
    let bank = Bank::open(users, Knows::Everybody, profile);
    // All are prepared in every run, so that only the answers make a difference.
    let sent: Vec<Sent> = (0..users).map(|user| bank.login(u64::from(user), user, 0)).collect();
    let now = bank.now;

    let folder = tempfile::tempdir().unwrap();
    let metrics = Arc::new(Metrics::new().unwrap());
    let mut sockets = Sockets::new();
    sockets.bind(([127, 0, 0, 1], 0).into(), NonZeroU16::MIN).unwrap();
    let (outbound, socket) = (sockets.outbound(), sockets.all()[0].number());
    let hold = Arc::new(drive::hold(outbound.clone(), Arc::clone(&metrics), 1024).unwrap());
    let settings = audit::Settings { file: folder.path().join("audit.jsonl"), on_failure: OnFailure::Stop };
    let audit = Arc::new(Audit::open(&settings).unwrap().0);
    let exit = Exit { hold, outbound, metrics };
    let release = Release::new(Arc::clone(&audit), exit.clone());
    let settings = store::Settings {
        durability: Durability::Memory,
        ..store::Settings::new(folder.path().join("state"))
    };
    let (opened, _) = store::open(settings, 0, |_| {}).unwrap();
    let store = Store::start(opened, |_| {}, release).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let handle = runtime.handle().clone();
    // No request here asks it anything.
    let own = Arc::new(Bindings::new(Scope::Complete { max_stale: embedded::MAX_STALE }));
    let directory = folder.path().join("directory");
    std::fs::create_dir(&directory).unwrap();
    let embedded = Arc::new(Embedded::open(&directory, own, 1).unwrap());
    let registry = embedded.registry();
    let edges = (embedded as _, registry);
    let drive = Drive::new(Arc::new(bank.pipeline), edges, store, audit, exit, handle);
    let mut desk = drive.desk();
    for batch in sent[..count].chunks(BATCH) {
        for Sent { octets, peer, .. } in batch {
            let from = ReturnAddress { peer: *peer, socket, local: None };
            desk.arrive(&Arrival { octets, from, at: now });
        }
        desk.hand_over();
    }
    drive.store().close();
    let answered = sockets.all()[0].traffic().sent();
    assert_eq!(answered, count as u64, "every login is accepted and answered");
}
