//! A million users' marks: how long a start takes to read them, and what each of them takes in memory.
//!
//! `cargo bench --bench million`; `-- --users 100000` for another number. Each figure is of a new process.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "what goes wrong here has to stop the run, and it is about real time"
)]

use sekisho::clock::Wall;
use sekisho::identity::EntryId;
use sekisho::lockout::{Lock, Lockout};
use sekisho::otp::Step;
use sekisho::state::{Durable, Mark, TokenMark, UserMark};
use sekisho::store::{self, Batch, Settings, Store};
use std::io::BufRead as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

/// What is remembered of each user.
#[derive(Clone, Copy)]
enum Known {
    /// Who has only ever logged in: a used step.
    Token,
    /// Who has failed before: a used step, and failures.
    TokenAndUser,
}

impl Known {
    fn text(self) -> &'static str {
        match self {
            Known::Token => "a token's mark each",
            Known::TokenAndUser => "a token's and a user's mark each",
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let after = |name: &str| arguments.iter().skip_while(|argument| *argument != name).nth(1);
    if let Some(directory) = after("--open") {
        return open(Path::new(directory));
    }
    let users: u64 = after("--users").map_or(1_000_000, |users| users.parse().unwrap());
    println!(
        "| {users} users | snapshot MB | opened, read and in the tables ms | of them processor ms | octets a user in memory | daemon ready ms |"
    );
    println!("|---|---|---|---|---|---|");
    for known in [Known::Token, Known::TokenAndUser] {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        write(&state, users, known);
        let octets: u64 = std::fs::read_dir(&state)
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("snapshot"))
            .map(|entry| entry.metadata().unwrap().len())
            .sum();
        let mut opened: Vec<(u64, u64, u64)> = (0..3).map(|_| open_anew(&state)).collect();
        opened.sort_unstable();
        let mut ready: Vec<u128> = (0..3).map(|_| serve(folder.path())).collect();
        ready.sort_unstable();
        println!(
            "| {} | {:.1} | {} | {} | {} | {} |",
            known.text(),
            octets as f64 / 1e6,
            opened[1].0,
            opened[1].2,
            opened[1].1 / users,
            ready[1]
        );
    }
}

/// Writes the snapshot as a running daemon does.
fn write(state: &Path, users: u64, known: Known) {
    let durable = Arc::new(Durable::default());
    for number in 0..users {
        let imprint = u32::try_from(number % 1_000_003).unwrap();
        let token = TokenMark {
            token: entry(number, 1),
            version: 3,
            last: Some(Step(28_333_334 + number % 7)),
            drift: 1,
            failures: 0,
            imprint,
        };
        durable.replay(&Mark::Token(token));
        if let Known::TokenAndUser = known {
            let codes = Lockout { failures: 1, lock: Lock::Open };
            let passwords = Lockout::default();
            durable.replay(&Mark::User(UserMark { user: entry(number, 2), version: 1, codes, passwords }));
        }
    }
    let (opened, _) = store::open(Settings::new(state), 0, |_| {}).unwrap();
    let walked = Arc::clone(&durable);
    let walk = move |sink: &mut store::Sink<'_>| walked.each_mark(Wall::from_seconds(1_700_000_000), sink);
    let store = Store::start(opened, walk, |_: Batch<()>| {}).unwrap();
    store.snapshot().recv().unwrap().unwrap();
    store.close();
}

/// Like the entryUUID of a directory: no order in it.
fn entry(number: u64, kind: u64) -> EntryId {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ kind.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let mut octets = [0; 16];
    octets[..8].copy_from_slice(&mixed.to_be_bytes());
    octets[8..].copy_from_slice(&number.to_be_bytes());
    EntryId::new(octets)
}

/// In a process of its own: how long it takes to open the directory into the tables, and what they take.
fn open(state: &Path) {
    let before = resident();
    let begun = Instant::now();
    let durable = Durable::default();
    let (opened, recovered) = store::open(Settings::new(state), 0, |mark| durable.replay(&mark)).unwrap();
    let took = begun.elapsed().as_millis();
    let grown = resident().saturating_sub(before);
    assert!(recovered.torn.is_none() && !durable.tokens.is_empty());
    println!("{took} {grown} {}", processor());
    drop(opened);
}

fn open_anew(state: &Path) -> (u64, u64, u64) {
    let output = Command::new(std::env::current_exe().unwrap()).arg("--open").arg(state).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let numbers: Vec<u64> = text.split_whitespace().map(|number| number.parse().unwrap()).collect();
    (numbers[0], numbers[1], numbers[2])
}

/// Milliseconds of processor time of this process: other people's load does not count in it.
fn processor() -> u64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = text.rsplit_once(") ").unwrap().1.split(' ');
    // utime and stime, in hundredths of a second.
    fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap() * 10).sum()
}

/// Octets of this process that are in memory.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// The whole daemon with an empty embedded directory on this state: milliseconds until its ready line.
fn serve(folder: &Path) -> u128 {
    let config = r#"
[radius]
listen = ["127.0.0.1:0"]
[[radius.client]]
name = "gateway"
network = "127.0.0.0/8"
secret = "9fJ2-kQ7_vT4.xL8~bN1+wR6=yH3!pD5"
service = "test"
[directory]
kind = "embedded"
[directory.embedded]
folder = "directory"
[service.test]
digits = 6
[state]
directory = "state"
[http]
listen = "127.0.0.1:0"
[admin]
socket = "admin.sock"
[audit]
file = "audit.jsonl"
"#;
    let file = folder.join("sekisho.toml");
    std::fs::write(&file, config).unwrap();
    std::fs::create_dir_all(folder.join("directory")).unwrap();
    let begun = Instant::now();
    let mut daemon = Command::new(env!("CARGO_BIN_EXE_sekisho"))
        .args(["serve", "--log-format", "json", "--config"])
        .arg(&file)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = std::io::BufReader::new(daemon.stderr.take().unwrap()).lines();
    let ready = lines.map_while(Result::ok).any(|line| line.contains("\"event\":\"ready\""));
    let took = begun.elapsed().as_millis();
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    assert!(ready, "the daemon has ended");
    took
}
