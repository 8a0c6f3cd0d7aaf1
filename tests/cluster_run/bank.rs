//! A bank with several nodes before one directory and one shared engine, each node behind a network of its own.

use crate::crash::load::Holder;
use crate::harness::daemon::write;
use crate::harness::postgres::{DATABASE, USER};
use crate::harness::process::free_port;
use crate::harness::slapd::{self, Slapd};
use crate::harness::{Clock, Daemon, Manners, Postgres, Proxy, Redis, SECRET, WorldBuilder};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Failures in a row that lock.
pub const MAX_FAILURES: usize = 5;
/// How long a node that was broken may take until it answers again.
const RECOVERY: Duration = Duration::from_secs(30);

/// Which engine the nodes share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Redis,
    Postgres,
    /// None: every node for itself. For runs that must find something.
    Nothing,
}

/// The engine, and what stands by for it.
pub enum Engine {
    Redis { first: Redis, replica: Option<Redis>, link: Proxy },
    Postgres { first: Postgres, standby: Option<Postgres> },
    Nothing,
}

/// Whether there is a second engine to fall back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standby {
    Yes,
    No,
}

impl Engine {
    fn start(kind: Kind, standby: Standby) -> Engine {
        match kind {
            Kind::Nothing => Engine::Nothing,
            Kind::Redis => {
                let (first, link) = (Redis::start(), Proxy::listen());
                link.toward(first.port());
                let replica = (standby == Standby::Yes).then(|| Redis::follow(link.port()));
                Engine::Redis { first, replica, link }
            }
            Kind::Postgres => {
                let first = Postgres::start();
                let standby = (standby == Standby::Yes).then(|| first.standby());
                Engine::Postgres { first, standby }
            }
        }
    }

    fn port(&self) -> u16 {
        match self {
            Engine::Redis { first, .. } => first.port(),
            Engine::Postgres { first, .. } => first.port(),
            Engine::Nothing => 0,
        }
    }

    fn url(&self, port: u16) -> String {
        match self {
            Engine::Redis { .. } => format!("redis://127.0.0.1:{port}"),
            Engine::Postgres { .. } => format!("postgres://{USER}@127.0.0.1:{port}/{DATABASE}"),
            Engine::Nothing => String::new(),
        }
    }

    pub fn freeze(&self) {
        match self {
            Engine::Redis { first, .. } => first.freeze(),
            Engine::Postgres { first, .. } => first.freeze(),
            Engine::Nothing => {}
        }
    }

    pub fn thaw(&self) {
        match self {
            Engine::Redis { first, .. } => first.thaw(),
            Engine::Postgres { first, .. } => first.thaw(),
            Engine::Nothing => {}
        }
    }

    pub fn kill(&mut self) {
        match self {
            Engine::Redis { first, .. } => first.kill(),
            Engine::Postgres { first, .. } => first.kill(),
            Engine::Nothing => {}
        }
    }

    pub fn run(&mut self) {
        match self {
            Engine::Redis { first, .. } => first.run(),
            Engine::Postgres { first, .. } => first.run(),
            Engine::Nothing => {}
        }
    }

    /// Nothing reaches the replica any more, though the first one goes on: what it answers now is lost with it.
    /// PostgreSQL's standby is synchronous; there is no such time.
    pub fn fall_behind(&self) {
        if let Engine::Redis { link, .. } = self {
            link.behave(Manners::Closed);
        }
    }

    /// The first one is gone for good and the other takes its place.
    pub fn fail_over(&mut self) {
        self.kill();
        match self {
            Engine::Redis { first, replica, .. } => {
                let replica = replica.take().expect("a replica");
                replica.promote();
                *first = replica;
            }
            Engine::Postgres { first, standby } => {
                let standby = standby.take().expect("a standby");
                standby.promote();
                *first = standby;
            }
            Engine::Nothing => {}
        }
    }

    /// The engine has forgotten everything, and goes on.
    pub fn forget(&self) {
        match self {
            Engine::Redis { first, .. } => drop(first.command(&["FLUSHALL"])),
            Engine::Postgres { first, .. } => first.lose_data(),
            Engine::Nothing => {}
        }
    }

    /// The engine has forgotten everything while it was down.
    pub fn lose_data(&mut self) {
        match self {
            Engine::Redis { first, .. } => {
                first.kill();
                first.lose_data();
                first.run();
            }
            Engine::Postgres { first, .. } => first.lose_data(),
            Engine::Nothing => {}
        }
    }
}

/// One node: a daemon with its own files, clock and way to the engine.
pub struct Node {
    // The daemon goes before its files.
    pub daemon: Daemon,
    pub address: SocketAddr,
    /// Between this node and the engine.
    pub network: Proxy,
    pub clock: Option<Clock>,
    directory: TempDir,
    config: PathBuf,
}

impl Node {
    fn environment(&self) -> Vec<(String, String)> {
        self.clock.as_ref().map(Clock::environment).unwrap_or_default()
    }

    /// Starts it and waits until it is ready.
    pub fn start(&mut self) {
        self.launch();
        self.wait_until_ready("to be ready after a start");
    }

    /// Starts it and waits for its log line only: without its engine it may be far from ready.
    pub fn launch(&mut self) {
        let environment = self.environment();
        let pairs: Vec<(&str, &str)> =
            environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        self.daemon = Daemon::start_with(&self.config, &pairs);
    }

    /// Ends it without warning.
    pub fn kill(&mut self) {
        std::mem::replace(&mut self.daemon, Daemon::nothing()).kill();
    }

    /// It has lost what it has written about used codes. It must have been killed.
    pub fn lose_journal(&self) {
        std::fs::remove_dir_all(self.directory.path().join("state")).unwrap();
    }

    /// Waits until it says that it answers.
    pub fn wait_until_ready(&self, what: &str) {
        let begun = Instant::now();
        loop {
            let (status, body) = self.daemon.get("/readyz");
            if status == 200 {
                return;
            }
            assert!(
                begun.elapsed() < RECOVERY,
                "waited {RECOVERY:?} for {} {what}: {body}\n{}",
                self.address,
                self.daemon.log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Its audit log.
    pub fn audit(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.directory.path().join("audit.jsonl")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    /// A subcommand for this node.
    pub fn command(&self, arguments: &[&str]) -> std::process::Output {
        let config = self.config.to_str().unwrap();
        crate::harness::daemon::run(&[arguments, &["--config", config]].concat(), "")
    }

    /// `sekisho audit verify` and `sekisho state verify` find everything whole.
    pub fn is_whole(&self) {
        let file = self.directory.path().join("audit.jsonl");
        let audit = crate::harness::daemon::run(&["audit", "verify", file.to_str().unwrap()], "");
        let state = self.command(&["state", "verify"]);
        for output in [audit, state] {
            assert_eq!(output.status.code(), Some(0), "{output:?}");
        }
    }
}

/// How a bank is set up.
pub struct Plan {
    pub kind: Kind,
    pub standby: Standby,
    pub nodes: usize,
    pub holders: usize,
    /// Added to the gateway's `[[radius.client]]`.
    pub client: String,
    /// Added to `[state]` where there is an engine.
    pub state: String,
    /// Seconds by which each node's clock is ahead; nothing: nodes see the clock of the machine.
    pub ahead: Vec<i64>,
}

/// All of it.
pub struct Bank {
    pub nodes: Vec<Node>,
    pub engine: Engine,
    pub holders: Vec<Holder>,
    _slapd: Slapd,
}

impl Bank {
    /// Starts everything and waits until all nodes are ready.
    pub fn open(plan: &Plan) -> Bank {
        let holders: Vec<Holder> = (0..plan.holders).map(Holder::new).collect();
        let engine = Engine::start(plan.kind, plan.standby);
        let builder = builder(&holders, plan, String::new());
        let slapd = Slapd::start(&builder.directory_options());
        let mut key = [0; 32];
        getrandom::fill(&mut key).unwrap();
        let key = slapd::base64(&key);
        let nodes = (0..plan.nodes).map(|number| node(number, plan, &engine, &holders, &slapd, &key));
        let mut bank = Bank { nodes: nodes.collect(), engine, holders, _slapd: slapd };
        bank.nodes.iter_mut().for_each(Node::start);
        bank
    }

    /// Leads every node to the engine as it is now.
    pub fn redirect(&self) {
        for node in &self.nodes {
            node.network.behave(Manners::Closed);
            node.network.toward(self.engine.port());
            // Relays notice within their patience for a read.
            std::thread::sleep(Duration::from_millis(30));
            node.network.behave(Manners::Good);
        }
    }

    pub fn wait_until_ready(&self, what: &str) {
        self.nodes.iter().for_each(|node| node.wait_until_ready(what));
    }
}

/// Passwords are the gateway's affair here, so that every login is about its code and nothing else.
fn builder(holders: &[Holder], plan: &Plan, state: String) -> WorldBuilder {
    WorldBuilder {
        service: format!(
            "[service.test]\ndigits = 8\nperiod = \"60s\"\nreject-delay = \"0s\"\npassword = \"none\"\n\
             max-failures = {MAX_FAILURES}\n"
        ),
        client: plan.client.clone(),
        state,
        ..WorldBuilder::of(holders.iter().map(Holder::person).collect())
    }
}

fn node(number: usize, plan: &Plan, engine: &Engine, holders: &[Holder], slapd: &Slapd, key: &str) -> Node {
    let directory = tempfile::tempdir().unwrap();
    let network = Proxy::listen();
    network.toward(engine.port());
    let letter = char::from(b'a' + u8::try_from(number).unwrap());
    let mut state = String::new();
    if plan.kind != Kind::Nothing {
        state.push_str(&plan.state);
        let url = engine.url(network.port());
        state.push_str(&format!(
            "cluster = {url:?}\nnode = \"{letter}\"\ncluster-key-file = \"cluster.key\"\n"
        ));
    }
    let mut builder = builder(holders, plan, state);
    // The same address over every restart, so that gateways find it again.
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    builder.listen = format!("[\"{address}\"]");
    let config = write(directory.path(), "sekisho.toml", &builder.config(slapd));
    write(directory.path(), "gateway.secret", SECRET);
    write(directory.path(), "ldap.password", slapd::SERVICE_PASSWORD);
    write(directory.path(), "cluster.key", key);
    let clock = plan.ahead.get(number).map(|ahead| {
        let clock = Clock::right();
        clock.ahead(*ahead);
        clock
    });
    Node { daemon: Daemon::nothing(), address, network, clock, directory, config }
}
