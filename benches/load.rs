//! The whole daemon under load over loopback, beside the floor and, where it is installed, FreeRADIUS.
//!
//! ```text
//! cargo bench --bench load                      the floor and the daemon, 64 in flight
//! cargo bench --bench load -- --compare         everything that docs/performance.md promises, in one table
//! cargo bench --bench load -- --rate 15000      so many a second, whatever comes back
//! ```
//!
//! The figure to compare is processor time per answer: it survives other people's load. Every reply is checked. Runs of
//! one group are taken in alternated order and the median is printed; a difference below 15 % is none.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::type_complexity,
    reason = "what goes wrong here has to stop the run, and it is about real time"
)]

#[path = "load/bind.rs"]
mod bind;
#[path = "load/daemon.rs"]
mod daemon;
#[path = "load/disturb.rs"]
mod disturb;
#[path = "load/engine.rs"]
mod engine;
#[path = "load/floor.rs"]
mod floor;
#[path = "load/freeradius.rs"]
mod freeradius;
#[path = "load/generator.rs"]
mod generator;
#[path = "load/histogram.rs"]
mod histogram;
#[path = "load/options.rs"]
mod options;
#[allow(dead_code, reason = "the stories use the rest")]
#[path = "../tests/harness/postgres.rs"]
mod postgres;
#[allow(dead_code, reason = "the stories use the rest")]
#[path = "../tests/harness/process.rs"]
mod process;
#[path = "load/processes.rs"]
mod processes;
#[allow(dead_code, reason = "the stories use the rest")]
#[path = "../tests/harness/redis.rs"]
mod redis;
#[path = "load/report.rs"]
mod report;
#[path = "load/requests.rs"]
mod requests;
#[path = "load/slapd.rs"]
mod slapd;

use daemon::{Daemon, Setting};
use freeradius::FreeRadius;
use generator::{Generator, Pace, Run};
use options::{Options, Wanted};
use processes::{Process, Processors, cpu_by_thread, cpu_time, machine_time, resident};
use report::{Figures, Row};
use requests::{Codes, PERIOD};
use slapd::Slapd;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    Floor,
    Daemon {
        durability: &'static str,
        password: &'static str,
    },
    /// Threads; 0 is its single-threaded mode. Users in a file or in the directory.
    FreeRadius {
        threads: u32,
        users: Users,
    },
    /// Nobody but slapd.
    BareBind,
}

/// Where FreeRADIUS has its users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Users {
    File,
    Directory,
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
struct Case {
    group: &'static str,
    subject: Subject,
    pace: Pace,
    on: Processors,
}

fn main() {
    if std::env::args().any(|argument| argument == floor::ARGUMENT) {
        floor::serve();
    }
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("{problem}\n{}", options::USAGE);
            std::process::exit(64);
        }
    };
    let cases = cases(&options);
    let slapd = cases
        .iter()
        .any(|case| !matches!(case.subject, Subject::Floor | Subject::FreeRadius { users: Users::File, .. }))
        .then(|| Slapd::start(options.users, options.on));
    let printed = slapd.as_ref().map(|slapd| slapd.print_everything(options.on));
    if options.on == Processors::First {
        processes::stay_on_second();
    }
    let mut rows: Vec<Row> = cases.iter().map(|case| Row::new(case.group, label(case))).collect();
    let mut groups: Vec<&str> = cases.iter().map(|case| case.group).collect();
    groups.dedup();
    for group in groups {
        let members: Vec<usize> = (0..cases.len()).filter(|&at| cases[at].group == group).collect();
        let mut peak = 0.0_f64;
        for round in 0..options.rounds {
            // There and back again, so that nobody is always first.
            let order: Vec<usize> =
                if round % 2 == 0 { members.clone() } else { members.iter().rev().copied().collect() };
            for at in order {
                let mut case = cases[at];
                if let (Pace::Open { rate }, true) = (&mut case.pace, group == OVERLOAD) {
                    *rate = if peak > 0.0 { (5.0 * peak).min(options.rate_max) } else { *rate };
                }
                let figures = run(&case, slapd.as_ref(), &options);
                if matches!(case.pace, Pace::Closed { .. }) && matches!(case.subject, Subject::Daemon { .. })
                {
                    peak = peak.max(figures.rate);
                }
                eprintln!("{}", rows[at].one(&figures));
                rows[at].add(figures);
            }
        }
    }
    println!("{}", report::table(&rows, &options));
    if let Some(printed) = printed {
        println!(
            "ldapsearch prints the directory that the daemon follows in {:.1} s.",
            printed.as_secs_f64()
        );
    }
}

const OVERLOAD: &str = "overload";

/// What is run, in the order of the table.
fn cases(options: &Options) -> Vec<Case> {
    let on = options.on;
    let daemon = |durability| Subject::Daemon { durability, password: options.password };
    let case = |group, subject, pace| Case { group, subject, pace, on };
    let peers = freeradius::is_installed();
    let pace = match options.rate {
        Some(rate) => Pace::Open { rate },
        None => Pace::Closed { in_flight: options.in_flight },
    };
    if options.wanted == Wanted::One {
        let durabilities = options.durability.map_or(vec!["memory", "sync"], |one| vec![one]);
        let mut all = vec![case("one", Subject::Floor, pace)];
        all.extend(durabilities.into_iter().map(|durability| case("one", daemon(durability), pace)));
        if options.peers && peers {
            let users = if options.password == "none" { Users::File } else { Users::Directory };
            all.push(case("one", Subject::FreeRadius { threads: 0, users }, pace));
            all.push(case("one", Subject::FreeRadius { threads: 4, users }, pace));
        }
        return all;
    }
    let fast = |durability| Subject::Daemon { durability, password: "none" };
    let bind = |durability| Subject::Daemon { durability, password: "directory" };
    let closed = |in_flight| Pace::Closed { in_flight };
    let half = Pace::Open { rate: 15_000.0 };
    let mut all = vec![
        case("64 in flight", Subject::Floor, closed(64)),
        case("64 in flight", fast("memory"), closed(64)),
        case("64 in flight", fast("relaxed"), closed(64)),
        case("64 in flight", fast("sync"), closed(64)),
        case("1 in flight", Subject::Floor, closed(1)),
        case("1 in flight", fast("memory"), closed(1)),
        case("15,000/s", Subject::Floor, half),
        case("15,000/s", fast("memory"), half),
        case("15,000/s", fast("sync"), half),
        case("one bind each, 64 in flight", Subject::BareBind, closed(16)),
        case("one bind each, 64 in flight", bind("memory"), closed(64)),
        case("one bind each, 1 in flight", Subject::BareBind, closed(1)),
        case("one bind each, 1 in flight", bind("memory"), closed(1)),
        case(OVERLOAD, fast("memory"), closed(64)),
        case(OVERLOAD, fast("memory"), Pace::Open { rate: options.rate_max }),
    ];
    if peers {
        let file = |threads| Subject::FreeRadius { threads, users: Users::File };
        let directory = Subject::FreeRadius { threads: 4, users: Users::Directory };
        all.push(case("64 in flight", file(0), closed(64)));
        all.push(case("64 in flight", file(2), closed(64)));
        all.push(case("1 in flight", file(0), closed(1)));
        all.push(case("15,000/s", file(0), half));
        all.push(case("one bind each, 64 in flight", directory, closed(64)));
        all.push(case("one bind each, 1 in flight", directory, closed(1)));
        // Beside each other whom they are compared with, and else in the order in which they were written.
        let first = |group: &str| all.iter().position(|case| case.group == group);
        let places: Vec<Option<usize>> = all.iter().map(|case| first(case.group)).collect();
        let mut placed: Vec<(Option<usize>, Case)> = places.into_iter().zip(all).collect();
        placed.sort_by_key(|(place, _)| *place);
        all = placed.into_iter().map(|(_, case)| case).collect();
    }
    all
}

fn label(case: &Case) -> String {
    let subject = match case.subject {
        Subject::Floor => "floor".to_owned(),
        Subject::Daemon { durability, password: "none" } => format!("sekisho, {durability}"),
        Subject::Daemon { durability, .. } => format!("sekisho, {durability}, bind"),
        Subject::FreeRadius { threads, users } => {
            let ldap = if users == Users::Directory { " + rlm_ldap" } else { "" };
            let threads = if threads == 0 { "-s".to_owned() } else { format!("{threads} threads") };
            format!("FreeRADIUS + rlm_totp{ldap}, {threads}")
        }
        Subject::BareBind => "bare binds, slapd alone".to_owned(),
    };
    match (case.group, case.pace) {
        (OVERLOAD, Pace::Open { .. }) => format!("{subject}, 5 × its peak"),
        (OVERLOAD, Pace::Closed { .. }) => format!("{subject}, its peak"),
        _ => subject,
    }
}

/// Processor time at one moment.
struct Used {
    threads: BTreeMap<String, Duration>,
    beside: Duration,
    machine: Duration,
}

/// A server while it runs.
enum Server {
    Floor(Process, SocketAddr),
    Daemon(Daemon),
    FreeRadius(FreeRadius),
    Slapd(u16),
}

/// One run of one subject, from its start to its end.
fn run(case: &Case, slapd: Option<&Slapd>, options: &Options) -> Figures {
    let (server, beside) = start(case, slapd, options);
    let (pid, start) = match &server {
        Server::Floor(process, _) => (process.pid(), Duration::ZERO),
        Server::Daemon(daemon) => (daemon.process.pid(), daemon.start),
        Server::FreeRadius(radius) => (radius.process.pid(), Duration::ZERO),
        Server::Slapd(_) => (0, Duration::ZERO),
    };
    let mut edges = Vec::new();
    let over = AtomicBool::new(false);
    let done = std::thread::scope(|scope| {
        if let (Server::Daemon(daemon), Some(slapd), true) = (&server, slapd, options.disturbed) {
            let over = &over;
            scope.spawn(move || eprintln!("{}", disturb::disturb(daemon, slapd, over)));
        }
        let done = drive(&server, case, options, || {
            edges.push(Used {
                threads: cpu_by_thread(pid),
                beside: beside.map_or(Duration::ZERO, cpu_time),
                machine: machine_time().saturating_sub(cpu_time(std::process::id())),
            });
        });
        over.store(true, Ordering::Relaxed);
        done
    });
    let [begin, end] = edges.as_slice() else { panic!("two ends of a run") };
    if let Server::Daemon(daemon) = &server
        && done.refused + done.forged + done.lost > 0
    {
        eprintln!("{}", daemon.complaints());
    }
    let per_answer = |from: Duration, to: Duration| {
        to.saturating_sub(from).as_secs_f64() * 1e6 / done.answered.max(1) as f64
    };
    let threads = end.threads.iter().map(|(name, time)| {
        (name.clone(), per_answer(begin.threads.get(name).copied().unwrap_or_default(), *time))
    });
    let threads: Vec<(String, f64)> = threads.collect();
    let cpu = threads.iter().fold(0.0, |sum, (_, micros)| sum + micros);
    let (beside, machine) = (per_answer(begin.beside, end.beside), per_answer(begin.machine, end.machine));
    let lasted = done.lasted.as_secs_f64().max(1e-9);
    Figures {
        rate: done.answered as f64 / lasted,
        offered: done.sent as f64 / lasted,
        p50: done.latency.quantile(0.5),
        p99: done.latency.quantile(0.99),
        p999: done.latency.quantile(0.999),
        cpu,
        threads,
        beside,
        resident: resident(pid),
        start,
        foreign: (machine - cpu - beside) * 1e-6 * done.answered as f64 / lasted,
        accepted: done.accepted,
        refused: done.refused,
        forged: done.forged,
        lost: done.lost,
    }
}

/// Starts whom a case asks, and names the slapd whose time is counted beside.
fn start(case: &Case, slapd: Option<&Slapd>, options: &Options) -> (Server, Option<u32>) {
    let slapd = || slapd.expect("slapd runs");
    match case.subject {
        Subject::Floor => {
            let (process, radius) = floor::start(case.on);
            (Server::Floor(process, radius), None)
        }
        Subject::Daemon { durability, password } => {
            let cluster = options.cluster;
            let daemon = Daemon::start(slapd(), Setting { durability, password, on: case.on, cluster });
            (Server::Daemon(daemon), (password != "none").then(|| slapd().process.pid()))
        }
        Subject::FreeRadius { threads, users } => {
            let directory = (users == Users::Directory).then(slapd);
            let radius = FreeRadius::start(users_of(case, options), threads, directory, case.on);
            (Server::FreeRadius(radius), directory.map(|slapd| slapd.process.pid()))
        }
        Subject::BareBind => (Server::Slapd(slapd().port), Some(slapd().process.pid())),
    }
}

/// FreeRADIUS reads its users file into memory, and its codes may be used again: fewer users do.
fn users_of(case: &Case, options: &Options) -> u32 {
    match case.subject {
        Subject::FreeRadius { .. } => options.users.min(100_000),
        _ => options.users,
    }
}

/// Waits until `condition` gives a value, as the stories do.
fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let begun = std::time::Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "waited 30 s for: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Prepares requests for the coming step, waits for it, and sends them.
fn drive(server: &Server, case: &Case, options: &Options, measured: impl FnMut()) -> Run {
    let users = users_of(case, options);
    let (address, codes) = match server {
        Server::Floor(_, radius) => (*radius, Codes::Window),
        Server::Daemon(daemon) => (daemon.radius, Codes::Window),
        Server::FreeRadius(radius) => (radius.radius, Codes::Current),
        Server::Slapd(port) => {
            let connections = match case.pace {
                Pace::Closed { in_flight } => in_flight,
                Pace::Open { .. } => 16,
            };
            return bind::run(*port, users, connections, options.seconds, measured);
        }
    };
    // Every request needs an identifier of its own until it is answered or lost.
    let ports = match case.pace {
        Pace::Open { rate } if rate > 50_000.0 => 256,
        Pace::Open { .. } => 64,
        Pace::Closed { in_flight } => in_flight.div_ceil(requests::RUN).max(1),
    };
    let wanted = match case.pace {
        Pace::Open { rate } => (rate * options.seconds).ceil() as usize,
        Pace::Closed { in_flight: 1 } => (50_000.0 * options.seconds) as usize,
        Pace::Closed { .. } => (options.rate_max * options.seconds) as usize,
    };
    let count = wanted.min(requests::most(users, codes)).min(options.requests_max);
    let step = step_with_room(options.seconds + count as f64 * 6e-6 + 1.0);
    let requests = requests::make(count, users, ports, step, codes);
    wait_for_step(step);
    Generator::new(address, ports).run(&requests, case.pace, options.seconds, measured)
}

/// A step in which there is room for a run of so many seconds after it was prepared.
fn step_with_room(seconds: f64) -> u64 {
    let now = now();
    let left = PERIOD as f64 - now % PERIOD as f64;
    let step = (now / PERIOD as f64) as u64;
    if left > seconds { step } else { step + 1 }
}

fn wait_for_step(step: u64) {
    let begin = (step * PERIOD) as f64 + 0.05;
    if begin > now() {
        std::thread::sleep(Duration::from_secs_f64(begin - now()));
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}
