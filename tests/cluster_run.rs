//! Several nodes on one real engine, while networks, engines and nodes break: no code passes twice.
//!
//! ```text
//! SEKISHO_CLUSTER_FAULTS=200 cargo test --test stories cluster_run -- --nocapture     so many faults in each run
//! SEKISHO_CLUSTER_SEED=42 …                                                           the same decisions again
//! ```
//!
//! Each run keeps gateways busy, breaks one thing after the other, mends it, lets fair weather be for a while, and at
//! the end offers every spent code once more to every node. [`history`] has the rules.

mod bank;
mod history;
mod load;

use crate::harness::{Dice, Manners, Postgres, Proxy, Redis, dice, wait_for, wait_for_long};
use bank::{Bank, Kind, MAX_FAILURES, Plan, Standby};
use history::{Line, Promise, Scope};
use load::{Account, Client, LostAnswers, Run};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Faults of the short form.
const SHORT: u64 = 5;
/// Gateways that log users in, besides one that guesses.
const CLIENTS: usize = 6;
const HOLDERS: usize = 240;
/// Of them, those whose codes are only guessed.
const GUESSED: usize = 12;
/// How long something is broken at least, and up to how much longer.
const BROKEN: (Duration, u64) = (Duration::from_millis(400), 700_000);
/// How long nothing is broken.
const FAIR: Duration = Duration::from_millis(400);

/// What breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// A node and the engine hear nothing of each other; what was under way arrives when it is over.
    PartNode,
    /// The engine does what a node asks, and its answers are lost.
    MuteEngine,
    /// All connections of a node to the engine break, and new ones too.
    CutNode,
    /// The engine stands still, and goes on.
    FreezeEngine,
    /// The engine is killed and started on its data.
    RestartEngine,
    /// A node stands still in the middle of whatever it does, and goes on.
    FreezeNode,
    /// A node is killed and started.
    RestartNode,
    /// The engine is gone for good; the one that stood by takes its place.
    FailOver,
    /// The engine has forgotten everything, from one moment to the next.
    WipeEngine,
    /// The engine is gone for so long that the node that may go on alone does; then it is started on its data.
    LoseEngine,
    /// The same, as only that node sees it: the others must not answer.
    PartAlone,
    /// The node that goes on alone stands still while the engine comes back.
    FreezeAlone,
}

const FAULTS: [Fault; 7] = [
    Fault::PartNode,
    Fault::MuteEngine,
    Fault::CutNode,
    Fault::FreezeEngine,
    Fault::RestartEngine,
    Fault::FreezeNode,
    Fault::RestartNode,
];

/// One run.
struct Trial {
    plan: Plan,
    promise: Promise,
    lost_answers: LostAnswers,
    faults: Vec<Fault>,
    seed: u64,
}

impl Trial {
    fn new(kind: Kind, nodes: usize) -> Trial {
        let seed = dice::seed("SEKISHO_CLUSTER_SEED");
        let mut dice = Dice::new(seed);
        let count = dice::number("SEKISHO_CLUSTER_FAULTS").unwrap_or(SHORT);
        // Each kind once before any comes again, in an order of its own each time.
        let mut faults = Vec::new();
        while (faults.len() as u64) < count {
            let mut round = FAULTS.to_vec();
            while !round.is_empty() {
                faults.push(round.swap_remove(dice.index(round.len())));
            }
        }
        faults.truncate(usize::try_from(count).unwrap());
        let plan = Plan {
            kind,
            standby: Standby::No,
            nodes,
            holders: HOLDERS,
            client: String::new(),
            state: "cluster-timeout = \"500ms\"\n".into(),
            ahead: Vec::new(),
        };
        let promise = Promise { scope: Scope::Cluster, grace: None, max_failures: Some(MAX_FAILURES) };
        Trial { plan, promise, lost_answers: LostAnswers::StayLost, faults, seed }
    }

    /// Lives through it and demands that the promise was kept.
    fn hold(self) {
        let mut bank = Bank::open(&self.plan);
        let begun = Instant::now();
        let (run, lines, faults) = self.live(&mut bank);
        let history = run.history();
        println!(
            "{} packets, {} codes accepted, {} users locked, {} faults in {:?}",
            history.offers.len(),
            history.accepted(),
            history.locks(self.promise, &lines).len(),
            self.faults.len(),
            begun.elapsed()
        );
        assert!(faults.is_empty(), "{} of {:?}: {faults:#?}", faults.len(), self.faults);
        assert!(history.accepted() > 5, "hardly anybody was accepted");
        drop(history);
        for node in &mut bank.nodes {
            let daemon = std::mem::replace(&mut node.daemon, crate::harness::Daemon::nothing());
            daemon.stop();
            node.is_whole();
        }
    }

    /// The load, the faults, and everything spent offered again: what is wrong with it.
    fn live(&self, bank: &mut Bank) -> (Run, Vec<Line>, Vec<String>) {
        let run = Run::new(bank.nodes.iter().map(|node| node.address).collect(), self.lost_answers);
        let holders = std::mem::take(&mut bank.holders);
        let mut dice = Dice::new(self.seed ^ 0x5eed);
        std::thread::scope(|scope| {
            let (guessed, known) = holders.split_at(GUESSED);
            for (at, share) in known.chunks(known.len().div_ceil(CLIENTS)).enumerate() {
                let (run, seed) = (&run, self.seed.wrapping_add(at as u64));
                scope.spawn(move || {
                    let mut accounts: Vec<Account<'_>> = share.iter().map(Account::new).collect();
                    Client::new(run, seed).log_in(&mut accounts);
                });
            }
            let (guesser, seed) = (&run, self.seed.wrapping_mul(31));
            scope.spawn(move || {
                let accounts: Vec<Account<'_>> = guessed.iter().map(Account::new).collect();
                Client::new(guesser, seed).guess(&accounts);
            });
            // Or a story that fails here would wait for gateways that never end.
            let _end = End(&run);
            std::thread::sleep(FAIR);
            for fault in &self.faults {
                println!("{fault:?}");
                run.turn_weather();
                suffer(*fault, bank, &mut dice);
                bank.wait_until_ready(&format!("after {fault:?}"));
                run.turn_weather();
                std::thread::sleep(FAIR);
            }
        });
        let spent = run.history().spent();
        Client::new(&run, 0).again(&holders, &spent);
        let lines: Vec<Line> = bank
            .nodes
            .iter()
            .enumerate()
            .flat_map(|(number, node)| Line::of(number, &node.audit()))
            .collect();
        let faults = run.history().faults(self.promise, &lines);
        bank.holders = holders;
        (run, lines, faults)
    }
}

struct End<'r>(&'r Run);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Release);
    }
}

/// Breaks something and mends it.
fn suffer(fault: Fault, bank: &mut Bank, dice: &mut Dice) {
    let number = dice.index(bank.nodes.len());
    let length = BROKEN.0 + dice.micros(BROKEN.1);
    let network = |manners| bank.nodes[number].network.behave(manners);
    match fault {
        Fault::PartNode | Fault::MuteEngine | Fault::CutNode => {
            network(match fault {
                Fault::PartNode => Manners::Parted,
                Fault::MuteEngine => Manners::Silent,
                _ => Manners::Closed,
            });
            std::thread::sleep(length);
            network(Manners::Good);
        }
        Fault::FreezeEngine => {
            bank.engine.freeze();
            std::thread::sleep(length);
            bank.engine.thaw();
        }
        Fault::RestartEngine => {
            bank.engine.kill();
            std::thread::sleep(length / 2);
            bank.engine.run();
        }
        Fault::FreezeNode => {
            bank.nodes[number].daemon.signal("STOP");
            std::thread::sleep(length);
            bank.nodes[number].daemon.signal("CONT");
        }
        Fault::RestartNode => {
            bank.nodes[number].kill();
            std::thread::sleep(length / 2);
            bank.nodes[number].launch();
        }
        Fault::WipeEngine => bank.engine.forget(),
        Fault::LoseEngine => {
            bank.engine.kill();
            goes_on_alone(bank);
            std::thread::sleep(length);
            bank.engine.run();
        }
        Fault::PartAlone => {
            bank.nodes[0].network.behave(Manners::Parted);
            goes_on_alone(bank);
            std::thread::sleep(length);
            bank.nodes[0].network.behave(Manners::Good);
        }
        Fault::FreezeAlone => {
            bank.engine.kill();
            goes_on_alone(bank);
            bank.nodes[0].daemon.signal("STOP");
            bank.engine.run();
            std::thread::sleep(length + length);
            bank.nodes[0].daemon.signal("CONT");
        }
        Fault::FailOver => {
            bank.engine.fall_behind();
            std::thread::sleep(length);
            bank.engine.fail_over();
            bank.redirect();
        }
    }
}

/// The first node answers by itself, and nobody else does.
fn goes_on_alone(bank: &Bank) {
    let ready = |node: &bank::Node| node.daemon.get("/readyz").0 == 200;
    wait_for("the node to notice", || (!ready(&bank.nodes[0])).then_some(()));
    // Not before its lease must have run out, by anybody's clock.
    wait_for_long("one node to go on alone", || ready(&bank.nodes[0]).then_some(()));
    for node in &bank.nodes[1..] {
        assert_ne!(node.daemon.get("/readyz").0, 200, "{} answers as well", node.address);
    }
}

#[test]
fn otp_26_two_nodes_on_redis_accept_a_code_once_whatever_breaks() {
    let mut trial = Trial::new(Kind::Redis, 2);
    // Clocks of nodes are never quite the same.
    trial.plan.ahead = vec![-9, 9];
    trial.hold();
}

#[test]
fn otp_26_three_nodes_on_postgres_accept_a_code_once_whatever_breaks_even_in_a_fail_over() {
    let mut trial = Trial::new(Kind::Postgres, 3);
    trial.plan.standby = Standby::Yes;
    // Two disks have to be waited for.
    trial.plan.state = "cluster-timeout = \"3s\"\n".into();
    trial.faults.push(Fault::FailOver);
    trial.plan.ahead = vec![-9, 0, 9];
    trial.hold();
}

/// What Redis answers before its replica has it is lost with it: the nodes write it back before they judge such codes.
#[test]
fn otp_26_two_nodes_accept_a_code_once_over_a_fail_over_of_redis_that_forgets() {
    let mut trial = Trial::new(Kind::Redis, 2);
    trial.plan.standby = Standby::Yes;
    trial.faults = vec![Fault::FailOver];
    trial.hold();
}

/// The nodes tell it what they know. Until each has, nobody judges a code that one of them may have accepted.
#[test]
fn otp_26_two_nodes_accept_a_code_once_though_redis_forgets_everything() {
    let mut trial = Trial::new(Kind::Redis, 2);
    let count = dice::number("SEKISHO_CLUSTER_FAULTS").unwrap_or(2);
    trial.faults = (0..count).map(|_| Fault::WipeEngine).collect();
    trial.hold();
}

#[test]
fn a_lost_answer_is_given_once_more_and_a_replay_is_refused_on_three_nodes() {
    let mut trial = Trial::new(Kind::Redis, 3);
    trial.plan.client = "lost-answer-grace = \"5s\"\n".into();
    trial.promise.grace = Some(Duration::from_secs(5));
    trial.lost_answers = LostAnswers::AreAskedForAgain;
    if dice::number("SEKISHO_CLUSTER_FAULTS").is_none() {
        trial.faults.truncate(3);
    }
    trial.hold();
}

#[test]
fn otp_26_one_named_node_goes_on_alone_and_is_fenced_when_the_engine_returns() {
    let mut trial = Trial::new(Kind::Redis, 2);
    trial.plan.state.push_str("cluster-lost = \"alone\"\ncluster-alone = \"a\"\n");
    let mut dice = Dice::new(trial.seed);
    // What one counts alone and what the others counted before is not added up afterwards.
    trial.promise.max_failures = None;
    let kinds = [Fault::LoseEngine, Fault::PartAlone, Fault::FreezeAlone];
    // Each takes longer than a lease and its margin: the short form has one of them.
    let count = dice::number("SEKISHO_CLUSTER_FAULTS").unwrap_or(1);
    trial.faults = (0..count).map(|_| kinds[dice.index(kinds.len())]).collect();
    trial.hold();
}

#[test]
fn the_run_notices_nodes_that_share_nothing() {
    let mut trial = Trial::new(Kind::Nothing, 2);
    trial.faults.clear();
    let mut bank = Bank::open(&trial.plan);
    let (run, _, faults) = trial.live(&mut bank);
    let twice = run.history().twice(trial.promise).len();
    assert!(twice > 0 && faults.len() > twice, "gateways and logs tell: {twice} of {}", faults.len());
    let alone = Promise { scope: Scope::Node, ..trial.promise };
    assert!(run.history().twice(alone).is_empty(), "each node by itself has kept its promise");
}

#[test]
fn the_run_notices_an_engine_that_forgot_and_nodes_that_lost_their_journals() {
    let mut trial = Trial::new(Kind::Redis, 2);
    trial.faults.clear();
    let mut bank = Bank::open(&trial.plan);
    let (run, _, faults) = trial.live(&mut bank);
    assert!(faults.is_empty(), "nothing is wrong yet: {faults:#?}");
    let spent = run.history().spent();
    bank.nodes.iter_mut().for_each(bank::Node::kill);
    bank.engine.lose_data();
    for node in &mut bank.nodes {
        node.lose_journal();
        node.start();
    }
    Client::new(&run, 1).again(&bank.holders, &spent);
    assert!(!run.history().twice(trial.promise).is_empty(), "{spent:?} were all refused");
}

/// Or a run with fail-overs would show nothing.
#[test]
fn a_fail_over_loses_what_redis_had_not_passed_on_and_nothing_of_a_synchronous_postgres() {
    let (mut first, link) = (Redis::start(), Proxy::listen());
    link.toward(first.port());
    let replica = Redis::follow(link.port());
    first.command(&["SET", "early", "1"]);
    wait_for("the replica to have it", || (replica.command(&["GET", "early"]).trim() == "1").then_some(()));
    link.behave(Manners::Closed);
    std::thread::sleep(Duration::from_millis(50));
    first.command(&["SET", "late", "1"]);
    first.kill();
    first.run();
    assert_eq!(first.command(&["GET", "late"]).trim(), "1", "a restart loses nothing");
    first.kill();
    replica.promote();
    assert_eq!(replica.command(&["GET", "early"]).trim(), "1");
    assert_eq!(replica.command(&["GET", "late"]).trim(), "", "answered, and lost");

    let mut first = Postgres::start();
    let standby = first.standby();
    first.query("CREATE TABLE marks (step int)");
    first.query("INSERT INTO marks VALUES (7)");
    first.kill();
    first.run();
    assert_eq!(first.query("SELECT step FROM marks").trim(), "7", "a restart loses nothing");
    first.kill();
    standby.promote();
    assert_eq!(standby.query("SELECT step FROM marks").trim(), "7");
    standby.query("INSERT INTO marks VALUES (8)");
}
