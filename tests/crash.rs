//! Killed at any moment, again and again, under load: no code passes twice, and no accept is without its evidence.
//!
//! ```text
//! SEKISHO_CRASHES=1000 cargo test --test stories crash -- --nocapture      so many kills, however long they take
//! SEKISHO_CRASH_SEED=42 …                                                  the same moments again
//! ```

mod fail_points;
pub mod history;
pub mod load;

use crate::harness::{Daemon, Dice, PASSWORD, World, WorldBuilder, daemon, dice, hotp, wait_for, world::hex};
use history::{History, Ticket};
use load::{Holder, Load};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Kills of the short form, and how long it may kill.
const SHORT: (u32, Duration) = (15, Duration::from_secs(15));
const USERS: usize = 300;

/// A bank that is killed.
struct Bank {
    world: World,
    holders: Vec<Holder>,
    history: Mutex<History>,
    refused: AtomicUsize,
    /// Accepted, and not offered again since the last kill.
    due: Vec<Ticket>,
    dice: Dice,
    tally: Tally,
}

#[derive(Default, Debug)]
struct Tally {
    kills: u32,
    /// Of them, before the daemon was ready; and while used codes were offered.
    starting: u32,
    offering: u32,
    /// Codes that got an accept, and how often such a code was offered again.
    accepted: usize,
    offered_again: usize,
    /// How often the end of the audit file was torn off, as a power cut does.
    torn: u32,
}

/// Passwords are the gateway's affair here, so that every login is a mark and nothing else.
fn builder(holders: &[Holder]) -> WorldBuilder {
    WorldBuilder {
        service: "[service.test]\ndigits = 8\nperiod = \"60s\"\nreject-delay = \"0s\"\npassword = \"none\"\n\
                  max-failures = 10\n"
            .into(),
        ..WorldBuilder::of(holders.iter().map(Holder::person).collect())
    }
}

impl Bank {
    fn open(users: usize, seed: u64) -> Bank {
        let holders: Vec<Holder> = (0..users).map(Holder::new).collect();
        let world = builder(&holders).prepare();
        let (history, dice, tally) = (Mutex::default(), Dice::new(seed), Tally::default());
        Bank { world, holders, history, refused: AtomicUsize::new(0), due: Vec::new(), dice, tally }
    }

    /// One start and one kill.
    fn live_and_die(&mut self) {
        self.tally.kills += 1;
        let config = self.world.config.clone();
        if self.dice.below(6) == 0 {
            let daemon = Daemon::launch(&config, &[]);
            std::thread::sleep(self.dice.micros(200_000));
            daemon.kill();
            self.tally.starting += 1;
            return;
        }
        self.world.daemon = Daemon::start(&config);
        let evidence = self.audit_octets();
        self.holders.iter_mut().for_each(Holder::restarted);
        let due = std::mem::take(&mut self.due);
        if self.dice.below(6) == 0 {
            let after = self.dice.micros(50_000);
            self.during(Some(after), |load, bank| load.again(&bank.holders, &due));
            self.due = due;
            self.tally.offering += 1;
        } else {
            self.offer_again(&due);
            let before = self.history().codes().into_iter().collect::<std::collections::BTreeSet<_>>();
            let mut holders = std::mem::take(&mut self.holders);
            let (after, odds) = (self.dice.micros(200_000), self.dice.below(1_000_000));
            let odds = usize::try_from(odds).unwrap();
            self.during(Some(after), |load, _| load.fresh(&mut holders, odds));
            self.holders = holders;
            let codes = self.history().codes();
            self.due = codes.into_iter().filter(|code| !before.contains(code)).collect();
        }
        if self.dice.below(3) == 0 {
            self.tear_evidence(evidence);
        }
    }

    /// Offers codes that got an accept; nobody may accept them.
    fn offer_again(&mut self, codes: &[Ticket]) {
        self.during(None, |load, bank| load.again(&bank.holders, codes));
        self.tally.offered_again += codes.len();
        let twice = self.history().twice();
        assert!(twice.is_empty(), "{twice:#?}");
    }

    /// Does this with the daemon that runs, and kills it after a while if asked to.
    fn during(&mut self, kill_after: Option<Duration>, work: impl FnOnce(&Load<'_>, &Bank) + Send) {
        let over = AtomicBool::new(false);
        let daemon = std::mem::replace(&mut self.world.daemon, Daemon::nothing());
        let bank = &*self;
        let load =
            Load { server: daemon.radius[0], history: &bank.history, over: &over, refused: &bank.refused };
        let alive = std::thread::scope(|scope| {
            let work = scope.spawn(|| work(&load, bank));
            let alive = match kill_after {
                None => Some(daemon),
                Some(after) => {
                    let (begun, mut daemon) = (Instant::now(), daemon);
                    // It may be killed by somebody else.
                    while begun.elapsed() < after && daemon.is_running() {
                        std::thread::sleep(Duration::from_micros(500));
                    }
                    daemon.kill();
                    over.store(true, Ordering::Release);
                    None
                }
            };
            work.join().unwrap();
            alive
        });
        self.world.daemon = alive.unwrap_or_else(Daemon::nothing);
    }

    fn history(&self) -> std::sync::MutexGuard<'_, History> {
        self.history.lock().unwrap()
    }

    fn audit_octets(&self) -> u64 {
        std::fs::metadata(self.world.directory.path().join("audit.jsonl")).map_or(0, |file| file.len())
    }

    /// Cuts off some of what this life has added to the audit file: only the journal holds it then.
    fn tear_evidence(&mut self, from: u64) {
        let end = self.audit_octets();
        if end > from {
            let file =
                std::fs::File::options().write(true).open(self.world.directory.path().join("audit.jsonl"));
            file.unwrap().set_len(from + self.dice.below(end - from)).unwrap();
            self.tally.torn += 1;
        }
    }

    /// The last start: everything is offered once more, and all that was written is looked at.
    fn examine(mut self) -> Tally {
        self.world.daemon = Daemon::start(&self.world.config);
        let codes = self.history().codes();
        self.offer_again(&codes);
        std::mem::replace(&mut self.world.daemon, Daemon::nothing()).stop();
        whole(&self.world);
        let faults = self.history().faults(&self.world.audit());
        assert!(faults.is_empty(), "{faults:#?}");
        // Or all that was refused as used may have been refused for something else.
        assert_eq!(self.refused.load(Ordering::Relaxed), 0, "new codes that were refused");
        assert!(!codes.is_empty(), "nobody was accepted");
        self.tally.accepted = codes.len();
        self.tally
    }
}

/// What the commands say to the state and to the evidence.
fn whole(world: &World) {
    world.done(&["state", "verify"], "");
    let file = world.directory.path().join("audit.jsonl");
    let output = daemon::run(&["audit", "verify", file.to_str().unwrap()], "");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
}

#[test]
fn otp_23_otp_25_killed_at_random_moments_under_load_no_code_passes_twice() {
    let seed = dice::seed("SEKISHO_CRASH_SEED");
    let wanted = dice::number("SEKISHO_CRASHES").map(|kills| u32::try_from(kills).unwrap());
    let mut bank = Bank::open(USERS, seed);
    for holder in bank.holders.iter().take(3) {
        assert_eq!(holder.code(77), hotp(&hex(&holder.key), 8, 77), "our codes are those of oathtool");
    }
    let (kills, until) = wanted.map_or((SHORT.0, Some(SHORT.1)), |kills| (kills, None));
    let begun = Instant::now();
    while bank.tally.kills < kills && until.is_none_or(|until| begun.elapsed() < until) {
        bank.live_and_die();
        if bank.tally.kills.is_multiple_of(100) {
            bank.world.done(&["state", "verify"], "");
            println!("{:?} after {:?}", bank.tally, begun.elapsed());
        }
    }
    let tally = bank.examine();
    println!("{tally:?} in {:?}", begun.elapsed());
}

#[test]
fn the_run_notices_a_journal_that_was_lost() {
    let mut bank = Bank::open(8, 1);
    bank.world.daemon = Daemon::start(&bank.world.config);
    let mut holders = std::mem::take(&mut bank.holders);
    bank.during(Some(Duration::from_secs(1)), |load, _| load.fresh(&mut holders, 0));
    bank.holders = holders;
    let codes = bank.history().codes();
    std::fs::remove_dir_all(bank.world.directory.path().join("state")).unwrap();
    bank.world.daemon = Daemon::start(&bank.world.config);
    bank.during(None, |load, bank| load.again(&bank.holders, &codes));
    let audit = bank.world.audit();
    let history = bank.history();
    assert!(!history.twice().is_empty(), "{codes:?} were all refused without a journal");
    assert!(history.faults(&audit).len() > history.twice().len(), "the evidence tells it too");
}

/// Lets the daemon's files grow no further than this many octets, or as they like.
fn limit_files(daemon: &Daemon, octets: Option<u64>) {
    let soft = octets.map_or("unlimited".to_owned(), |octets| octets.to_string());
    let arguments = [format!("--pid={}", daemon.pid()), format!("--fsize={soft}:")];
    assert!(Command::new("prlimit").args(arguments).status().unwrap().success());
}

#[test]
fn otp_25_a_file_system_that_takes_no_more_stops_accepts_until_it_does_and_forgets_nothing() {
    let holders: Vec<Holder> = (0..8).map(Holder::new).collect();
    let mut world = builder(&holders).prepare();
    // Without this the first write over the limit is the end of the process, and not an error.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\"", daemon::binary()]);
    world.daemon = Daemon::start_as(command, &world.config);
    world.gateway = world.second_gateway();
    // Counter tokens: no clock comes into it.
    let field = |holder: usize| format!("{PASSWORD}{}", holders[holder].code(0));
    let login = |world: &World, holder: usize| world.gateway.login(&format!("user{holder}"), &field(holder));
    let nobody_answers = |world: &World, holder: usize, times: f64| {
        let request = world.gateway.request(&format!("user{holder}"), field(holder).as_bytes());
        world.gateway.expect_silence(&request);
        world.daemon.wait_for_reason("disk-failed", times);
        wait_for("not ready", || (world.daemon.get("/readyz").0 == 503).then_some(()));
    };
    assert!(login(&world, 0).is_accept());
    limit_files(&world.daemon, Some(1));
    nobody_answers(&world, 2, 1.0);
    nobody_answers(&world, 4, 2.0);
    limit_files(&world.daemon, None);
    wait_for("ready without a restart", || (world.daemon.get("/readyz").0 == 200).then_some(()));
    assert!(login(&world, 0).is_reject(), "used before");
    // Nobody was answered, so one accept may still come: one.
    let accepted: Vec<bool> = [2, 2, 4, 4].map(|holder| login(&world, holder).is_accept()).to_vec();
    assert!(!accepted[1] && !accepted[3], "{accepted:?}");
    assert!(login(&world, 6).is_accept());

    limit_files(&world.daemon, Some(1));
    let next = |holder: usize| format!("{PASSWORD}{}", holders[holder].code(1));
    world.gateway.expect_silence(&world.gateway.request("user6", next(6).as_bytes()));
    world.daemon.wait_for_reason("disk-failed", 3.0);
    world.restart(Daemon::kill);
    for holder in [0, 2, 4, 6] {
        assert!(login(&world, holder).is_reject(), "user{holder}, after a kill on a disk that failed");
    }
    std::mem::replace(&mut world.daemon, Daemon::nothing()).stop();
    whole(&world);
}
