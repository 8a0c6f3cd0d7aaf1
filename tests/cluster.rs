//! Several nodes that share an engine: a code, a lock, a challenge and an answer count for all of them.

use crate::harness::daemon::{run, write};
use crate::harness::gateway::{Signed, code, kind};
use crate::harness::postgres::{self, Postgres};
use crate::harness::redis::{Redis, Sentinel};
use crate::harness::slapd::{self, Certificates, Slapd, Validity};
use crate::harness::{
    Daemon, Gateway, PASSWORD, SECRET, Seed, WorldBuilder, at_step_begin, holder, wait_for, wait_for_long,
    wait_or,
};
use std::path::PathBuf;
use std::sync::{Arc, Barrier};
use tempfile::TempDir;

/// Two nodes before one directory and one engine.
struct Bank {
    // The daemons go before their files and the engine.
    a: Node,
    b: Node,
    engine: Engine,
    people: Vec<crate::harness::Person>,
    _slapd: Slapd,
}

struct Node {
    daemon: Daemon,
    gateway: Gateway,
    config: PathBuf,
    directory: TempDir,
}

enum Engine {
    Redis(Redis),
    Postgres(Postgres),
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Redis,
    Postgres,
}

const BOTH: [Kind; 2] = [Kind::Redis, Kind::Postgres];

impl Engine {
    fn start(kind: Kind) -> Engine {
        match kind {
            Kind::Redis => Engine::Redis(Redis::start()),
            Kind::Postgres => Engine::Postgres(Postgres::start()),
        }
    }

    fn url(&self) -> String {
        match self {
            Engine::Redis(redis) => format!("redis://127.0.0.1:{}", redis.port()),
            Engine::Postgres(postgres) => {
                format!("postgres://{}@127.0.0.1:{}/{}", postgres::USER, postgres.port(), postgres::DATABASE)
            }
        }
    }

    fn kill(&mut self) {
        match self {
            Engine::Redis(redis) => redis.kill(),
            Engine::Postgres(postgres) => postgres.kill(),
        }
    }

    fn run(&mut self) {
        match self {
            Engine::Redis(redis) => redis.run(),
            Engine::Postgres(postgres) => postgres.run(),
        }
    }

    /// It has forgotten everything.
    fn forget(&self) {
        match self {
            Engine::Redis(redis) => drop(redis.command(&["FLUSHALL"])),
            Engine::Postgres(postgres) => postgres.lose_data(),
        }
    }
}

impl Node {
    fn start(builder: &WorldBuilder, slapd: &Slapd, engine: &Engine, name: &str) -> Node {
        let node = Node::launch(builder, slapd, &engine.url(), name, &[]);
        node.wait_until_ready();
        node
    }

    /// Starts it with these files beside its configuration; whether it ever answers is open.
    fn launch(builder: &WorldBuilder, slapd: &Slapd, url: &str, name: &str, files: &[(&str, &str)]) -> Node {
        let directory = tempfile::tempdir().unwrap();
        let state = format!(
            "cluster = {url:?}\nnode = \"{name}\"\ncluster-key-file = \"cluster.key\"\ncluster-timeout = \"3s\"\n{}",
            builder.state
        );
        let own = WorldBuilder { state, ..copied(builder) };
        let config = write(directory.path(), "sekisho.toml", &own.config(slapd));
        write(directory.path(), "gateway.secret", SECRET);
        write(directory.path(), "ldap.password", slapd::SERVICE_PASSWORD);
        write(directory.path(), "cluster.key", &slapd::base64(&[7; 32]));
        for (file, text) in files {
            write(directory.path(), file, text);
        }
        let daemon = Daemon::start_with(&config, &[]);
        let gateway = Gateway::new(daemon.radius[0], SECRET);
        Node { daemon, gateway, config, directory }
    }

    fn wait_until_ready(&self) {
        wait_for("a node that is ready", || (self.daemon.get("/readyz").0 == 200).then_some(()));
    }

    fn wait_until_not_ready(&self) {
        wait_for("a node that is not ready", || (self.daemon.get("/readyz").0 == 503).then_some(()));
    }

    fn kill(&mut self) {
        std::mem::replace(&mut self.daemon, Daemon::nothing()).kill();
    }

    fn restart(&mut self) {
        self.kill();
        self.start_again();
    }

    fn start_again(&mut self) {
        self.daemon = Daemon::start_with(&self.config, &[]);
        self.gateway = Gateway::new(self.daemon.radius[0], SECRET);
        self.wait_until_ready();
    }

    fn command(&self, arguments: &[&str]) -> String {
        self.command_with(arguments, "")
    }

    fn command_with(&self, arguments: &[&str], input: &str) -> String {
        let config = self.config.to_str().unwrap();
        let output = run(&[arguments, &["--config", config]].concat(), input);
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    fn last_reason(&self) -> String {
        let text = std::fs::read_to_string(self.directory.path().join("audit.jsonl")).unwrap();
        let Some(line) = text.lines().last() else { return String::new() };
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["reason"].as_str().unwrap_or_default().to_owned()
    }
}

fn copied(builder: &WorldBuilder) -> WorldBuilder {
    WorldBuilder {
        people: builder.people.clone(),
        client: builder.client.clone(),
        clients: builder.clients.clone(),
        service: builder.service.clone(),
        ..WorldBuilder::default()
    }
}

impl Bank {
    fn open(kind: Kind, builder: &WorldBuilder) -> Bank {
        let engine = Engine::start(kind);
        let slapd = Slapd::start(&builder.directory_options());
        let a = Node::start(builder, &slapd, &engine, "a");
        let b = Node::start(builder, &slapd, &engine, "b");
        // The first node hears at its next beat that the second has nothing to tell.
        let together = "sekisho_cluster_standing{standing=\"together\"}";
        wait_for("both to be together", || (a.daemon.metric(together) == 1.0).then_some(()));
        Bank { a, b, engine, people: builder.people.clone(), _slapd: slapd }
    }

    fn token(&self, name: &str) -> &crate::harness::Seed {
        &self.people.iter().find(|person| person.name == name).unwrap().tokens[0]
    }
}

fn usual() -> WorldBuilder {
    WorldBuilder::default()
}

#[test]
fn otp_26_one_code_offered_to_two_nodes_at_once_gets_one_accept() {
    for kind in BOTH {
        let bank = Bank::open(kind, &usual());
        at_step_begin(30, 15);
        let field = bank.token("alice").field(0);
        let start = Arc::new(Barrier::new(40));
        let askers: Vec<_> = (0..40)
            .map(|at| {
                let node = if at % 2 == 0 { &bank.a } else { &bank.b };
                let (server, start, field) = (node.daemon.radius[0], Arc::clone(&start), field.clone());
                std::thread::spawn(move || {
                    let gateway = Gateway::new(server, SECRET);
                    start.wait();
                    gateway.login("alice", &field).is_accept()
                })
            })
            .collect();
        let accepts = askers.into_iter().map(|asker| asker.join().unwrap()).filter(|&yes| yes).count();
        assert_eq!(accepts, 1, "{kind:?}");
        for node in [&bank.a, &bank.b] {
            assert!(node.gateway.login("alice", &field).is_reject(), "{kind:?}");
            assert_eq!(node.last_reason(), "code-used");
        }
    }
}

#[test]
fn a_counter_goes_on_where_the_other_node_left_it() {
    for kind in BOTH {
        let mut bank = Bank::open(kind, &usual());
        let token = bank.token("carol").clone();
        for (at, node) in [&bank.a, &bank.b, &bank.a].into_iter().enumerate() {
            let field = token.field(30 * i64::try_from(at).unwrap());
            assert!(node.gateway.login("carol", &field).is_accept(), "{kind:?} {at}");
        }
        bank.b.restart();
        for at in 0..3 {
            assert!(bank.b.gateway.login("carol", &token.field(30 * at)).is_reject(), "{kind:?} {at}");
        }
        assert!(bank.b.gateway.login("carol", &token.field(90)).is_accept());
        // Further than any window, and the other node has not heard of it.
        for at in 4..16 {
            assert!(bank.a.gateway.login("carol", &token.field(30 * at)).is_accept(), "{kind:?} {at}");
        }
        assert!(bank.b.gateway.login("carol", &token.field(30 * 16)).is_accept(), "{kind:?}");
        for at in 17..29 {
            assert!(bank.b.gateway.login("carol", &token.field(30 * at)).is_accept(), "{kind:?} {at}");
        }
        assert!(bank.a.gateway.login("carol", &token.wrong_codes(1)[0]).is_reject(), "{kind:?}");
        assert!(bank.a.gateway.login("carol", &token.field(30 * 29)).is_accept(), "{kind:?}");
        assert!(bank.a.gateway.login("carol", &token.field(30 * 16)).is_reject(), "{kind:?}");
    }
}

#[test]
fn a_counter_goes_on_for_a_gateway_that_does_not_sign() {
    for engine in BOTH {
        let client = "message-authenticator = \"optional\"".into();
        let bank = Bank::open(engine, &WorldBuilder { client, ..usual() });
        let token = bank.token("carol");
        let unsigned = |node: &Node, field: &str| {
            let user = [(kind::USER_NAME, b"carol".to_vec())];
            node.gateway.ask(&node.gateway.build(
                code::ACCESS_REQUEST,
                &user,
                Some(field.as_bytes()),
                Signed::No,
            ))
        };
        assert!(unsigned(&bank.b, &token.field(0)).is_accept(), "{engine:?}");
        // Further than any window, and the other node has not heard of it.
        for at in 1..14 {
            assert!(bank.a.gateway.login("carol", &token.field(30 * at)).is_accept(), "{engine:?} {at}");
        }
        assert!(unsigned(&bank.b, &token.wrong_codes(1)[0]).is_reject(), "{engine:?}");
        assert!(unsigned(&bank.b, &token.field(30 * 14)).is_accept(), "{engine:?}");
        assert!(unsigned(&bank.b, &token.field(30 * 13)).is_reject(), "{engine:?}");
    }
}

#[test]
fn a_code_refused_as_too_far_ahead_is_right_once_the_other_node_has_got_there() {
    for kind in BOTH {
        let bank = Bank::open(kind, &usual());
        let token = bank.token("carol");
        let far = token.field(30 * 14);
        for _ in 0..2 {
            assert!(bank.b.gateway.login("carol", &far).is_reject(), "{kind:?}");
            assert_eq!(bank.b.last_reason(), "code-wrong");
        }
        let shown = bank.b.command(&["user", "show", "carol", "--json"]);
        assert!(
            shown.contains("\"failures\": 1") || shown.contains("\"failures\":1"),
            "counted once: {shown}"
        );
        for at in 0..14 {
            assert!(bank.a.gateway.login("carol", &token.field(30 * at)).is_accept(), "{kind:?} {at}");
        }
        assert!(bank.b.gateway.login("carol", &far).is_accept(), "{kind:?} {}", bank.b.last_reason());
        assert!(bank.a.gateway.login("carol", &far).is_reject(), "{kind:?}");
    }
}

#[test]
fn a_lock_made_on_two_nodes_holds_on_both_until_it_is_lifted_on_one() {
    for kind in BOTH {
        let builder = usual();
        let bank = Bank::open(kind, &builder);
        let wrong = bank.token("alice").wrong_codes(5);
        for (at, wrong) in wrong.iter().enumerate() {
            let node = if at % 2 == 0 { &bank.a } else { &bank.b };
            assert!(node.gateway.login("alice", &format!("x{wrong}")).is_reject());
        }
        at_step_begin(30, 10);
        let field = bank.token("alice").field(0);
        for node in [&bank.a, &bank.b] {
            assert!(node.gateway.login("alice", &field).is_reject(), "{kind:?}");
            assert_eq!(node.last_reason(), "locked");
        }
        let said = bank.b.command(&["user", "release", "alice", "--by", "counter"]);
        assert!(said.contains("released"), "{said}");
        at_step_begin(30, 10);
        assert!(bank.a.gateway.login("alice", &bank.token("alice").field(30)).is_accept(), "{kind:?}");
    }
}

#[test]
fn a_challenge_of_one_node_is_answered_at_the_other_once() {
    for kind in BOTH {
        let base = usual();
        let service = base.service.clone() + "second-step = \"always\"\n";
        let bank = Bank::open(kind, &WorldBuilder { service, ..base });
        at_step_begin(30, 12);
        let first = bank.a.gateway.login("alice", crate::harness::PASSWORD);
        assert!(first.is_challenge(), "{kind:?}");
        let state = first.attributes().into_iter().find(|(kind, _)| *kind == 24).expect("a State").1;
        let code_now = bank.token("alice").code(0);
        let second = |gateway: &Gateway, code: &str| gateway.ask(&gateway.answer("alice", code, &state));
        assert!(second(&bank.b.gateway, &code_now).is_accept(), "{kind:?}");
        for node in [&bank.b, &bank.a] {
            assert!(second(&node.gateway, &bank.token("alice").code(30)).is_reject());
            assert_eq!(node.last_reason(), "challenge-unknown");
        }
    }
}

#[test]
fn a_retransmission_that_reaches_the_other_node_gets_the_same_answer_and_counts_once() {
    for kind in BOTH {
        let bank = Bank::open(kind, &usual());
        at_step_begin(30, 10);
        let gateway = &bank.a.gateway;
        let right = gateway.request("alice", bank.token("alice").field(0).as_bytes());
        let wrong = gateway.request("bob", format!("x{}", bank.token("bob").wrong_code()).as_bytes());
        for (request, reason) in [(right, "answer-repeated"), (wrong, "code-wrong")] {
            let first = gateway.ask(&request);
            gateway.socket.send_to(&request.octets, bank.b.daemon.radius[0]).unwrap();
            let again = gateway.receive(&request).expect("the other node's answer");
            assert_eq!(again.octets, first.octets, "{kind:?}");
            assert_eq!(bank.b.last_reason(), reason);
        }
        let shown = bank.b.command(&["user", "show", "bob", "--json"]);
        assert!(shown.contains("\"failures\": 1") || shown.contains("\"failures\":1"), "{shown}");
    }
}

#[test]
fn without_the_engine_nobody_is_answered_and_service_returns_with_it() {
    for kind in BOTH {
        let mut bank = Bank::open(kind, &usual());
        at_step_begin(30, 20);
        let used = bank.token("alice").field(0);
        assert!(bank.a.gateway.login("alice", &used).is_accept());
        bank.engine.kill();
        let fresh = bank.token("bob").field(0);
        for node in [&bank.a, &bank.b] {
            node.wait_until_not_ready();
            node.gateway.expect_silence(&node.gateway.request("bob", fresh.as_bytes()));
            let refused = node.command(&["user", "release", "alice", "--by", "counter", "--json"]);
            assert!(refused.contains(r#""reason":"cluster-unreachable""#), "{kind:?} {refused}");
        }
        bank.engine.run();
        for node in [&bank.a, &bank.b] {
            node.wait_until_ready();
        }
        // Both have said that nothing was used behind the engine's back: the code is judged, and still new.
        // The same packet again and again, as a gateway does it: an answer that was late is not a second use.
        let request = bank.b.gateway.request("bob", fresh.as_bytes());
        wait_for("both nodes to have written back", || {
            bank.b.gateway.send(&request);
            let reply = bank.b.gateway.receive_within(&request, std::time::Duration::from_millis(500))?;
            assert!(reply.is_accept(), "{kind:?} {}", bank.b.last_reason());
            Some(())
        });
        assert!(bank.b.gateway.login("alice", &used).is_reject(), "{kind:?}");
    }
}

/// Only the other node and the engine knew; the engine forgot, and the other node is gone.
#[test]
fn otp_26_a_code_is_not_judged_where_only_a_missing_node_knows_whether_it_was_used() {
    for kind in BOTH {
        let mut bank = Bank::open(kind, &usual());
        let (clock, counter) = (bank.token("alice").clone(), bank.token("carol").clone());
        at_step_begin(30, 20);
        // The clock runs six steps ahead, as this node has heard.
        let two = format!("{}\n{}\n", clock.code(5 * 30), clock.code(6 * 30));
        // A node has just joined, of which this one may not have heard: an act goes on in the new term.
        let said = bank.a.command_with(&["token", "resync", &clock.serial], &two);
        assert!(said.contains("is known: 6 steps"), "{kind:?}: {said}");
        let fast = clock.field(7 * 30);
        assert!(bank.b.gateway.login("alice", &fast).is_accept(), "{kind:?} {}", bank.b.last_reason());
        let counted = counter.field(0);
        assert!(bank.b.gateway.login("carol", &counted).is_accept(), "{kind:?}");
        bank.b.kill();
        bank.engine.forget();
        let in_doubt = "sekisho_cluster_standing{standing=\"together-in-doubt\"}";
        wait_for("a node that is in doubt", || (bank.a.daemon.metric(in_doubt) == 1.0).then_some(()));
        for (name, field) in [("alice", &fast), ("carol", &counted)] {
            bank.a.gateway.expect_silence(&bank.a.gateway.request(name, field.as_bytes()));
        }
        bank.b.start_again();
        let together = "sekisho_cluster_standing{standing=\"together\"}";
        wait_for("the other node to have told", || (bank.a.daemon.metric(together) == 1.0).then_some(()));
        for (name, field) in [("alice", &fast), ("carol", &counted)] {
            assert!(bank.a.gateway.login(name, field).is_reject(), "{kind:?} {name}");
            assert_eq!(bank.a.last_reason(), "code-used", "{kind:?} {name}");
        }
    }
}

/// A login that names the end user's address.
fn login_from(gateway: &Gateway, station: &str, field: &str) -> crate::harness::Reply {
    gateway.ask(&gateway.request_with("alice", field.as_bytes(), &[(31, station.as_bytes().to_vec())]))
}

#[test]
fn a_lost_answer_is_given_again_once_and_only_to_the_same_login() {
    let client = "lost-answer-grace = \"20s\"\n".to_owned();
    let world = WorldBuilder { client, ..usual() }.open();
    at_step_begin(30, 15);
    let field = world.token("alice", 0).field(0);
    assert!(login_from(&world.gateway, "10.0.0.1", &field).is_accept());
    let elsewhere = world.gateway_at("127.0.0.2", SECRET);
    assert!(login_from(&world.gateway, "10.0.0.2", &field).is_reject(), "from another station");
    assert!(world.gateway.login("alice", &field).is_reject(), "from no station");
    assert!(login_from(&elsewhere, "10.0.0.1", &field).is_reject(), "through another address of the gateway");
    assert!(
        login_from(&world.gateway, "10.0.0.1", &format!("x{field}")).is_reject(),
        "with another password"
    );
    assert_eq!(world.last_reason("alice"), "code-used");
    assert!(login_from(&world.gateway, "10.0.0.1", &field).is_accept());
    assert_eq!(world.last_reason("alice"), "answer-repeated");
    assert!(login_from(&world.gateway, "10.0.0.1", &field).is_reject(), "a third time");
    let accepts = world.reasons("alice").iter().filter(|reason| *reason == "code-accepted").count();
    assert_eq!((accepts, world.binds("alice")), (1, 1), "one accept, one bind for one login");
}

#[test]
fn without_a_grace_time_a_new_packet_is_refused() {
    let world = usual().open();
    at_step_begin(30, 5);
    let field = world.token("alice", 0).field(0);
    assert!(login_from(&world.gateway, "10.0.0.1", &field).is_accept());
    assert!(login_from(&world.gateway, "10.0.0.1", &field).is_reject());
    assert_eq!(world.last_reason("alice"), "code-used");
}

#[test]
fn an_answer_that_one_node_lost_is_given_by_the_other_once() {
    for kind in BOTH {
        let client = "lost-answer-grace = \"20s\"\n".to_owned();
        let bank = Bank::open(kind, &WorldBuilder { client, ..usual() });
        at_step_begin(30, 12);
        let field = bank.token("alice").field(0);
        assert!(login_from(&bank.a.gateway, "10.0.0.1", &field).is_accept(), "{kind:?}");
        assert!(login_from(&bank.b.gateway, "10.0.0.2", &field).is_reject(), "from another station");
        assert_eq!(bank.b.last_reason(), "code-used");
        assert!(login_from(&bank.b.gateway, "10.0.0.1", &field).is_accept(), "{kind:?}");
        assert_eq!(bank.b.last_reason(), "answer-repeated");
        for node in [&bank.a, &bank.b] {
            assert!(login_from(&node.gateway, "10.0.0.1", &field).is_reject(), "a third time");
        }
    }
}

#[test]
fn the_named_node_goes_on_alone_without_redis_and_the_others_hear_of_it_before_they_answer_again() {
    goes_on_alone(Kind::Redis);
}

#[test]
fn the_named_node_goes_on_alone_without_postgres_and_the_others_hear_of_it_before_they_answer_again() {
    goes_on_alone(Kind::Postgres);
}

fn goes_on_alone(kind: Kind) {
    // Without a window: what may have been used elsewhere is over soon.
    let token = Seed {
        window: Some(0),
        ..Seed::new("SN-alice-0", "3132333435363738393031323334353637383930", 6, 30)
    };
    let state = "cluster-lost = \"alone\"\ncluster-alone = \"a\"\n".to_owned();
    let builder = WorldBuilder { state, ..WorldBuilder::of(vec![holder("alice", vec![token.clone()])]) };
    let mut bank = Bank::open(kind, &builder);
    at_step_begin(30, 8);
    let before = token.field(0);
    assert!(bank.b.gateway.login("alice", &before).is_accept());
    bank.engine.kill();
    bank.a.wait_until_not_ready();
    bank.b.wait_until_not_ready();
    wait_for_long("the named node to go on alone", || (bank.a.daemon.get("/readyz").0 == 200).then_some(()));
    assert!(bank.a.command(&["status"]).contains("alone"));
    // What another node may have accepted is not judged; a code of a later step is.
    let mut alone = before.clone();
    let mut request = bank.a.gateway.request("alice", alone.as_bytes());
    wait_for_long("a code that nobody can have used", || {
        let now = token.field(0);
        if now != alone {
            request = bank.a.gateway.request("alice", now.as_bytes());
            alone = now;
        }
        // The same packet again, as a gateway does it: an answer that was late is not a second use.
        bank.a.gateway.send(&request);
        let reply = bank.a.gateway.receive_within(&request, std::time::Duration::from_millis(500))?;
        // A step may end on the way.
        let ended = token.field(0) != alone;
        assert!(reply.is_accept() || ended, "{}", bank.a.last_reason());
        reply.is_accept().then_some(())
    });
    assert_ne!(alone, before);
    assert_eq!(bank.b.daemon.get("/readyz").0, 503, "nobody else answers");
    bank.engine.run();
    wait_for_long("the other node to answer again", || (bank.b.daemon.get("/readyz").0 == 200).then_some(()));
    assert!(bank.b.gateway.login("alice", &alone).is_reject(), "used while the other node was alone");
    assert_eq!(bank.b.last_reason(), "code-used");
    assert!(!bank.b.gateway.login("alice", &format!("{PASSWORD}000000")).is_accept());
}

#[test]
fn the_nodes_follow_a_sentinel_to_the_new_master_and_what_was_used_stays_used() {
    let builder = usual();
    let mut master = Redis::start();
    let replica = Redis::follow(master.port());
    let sentinel = Sentinel::watch(&master);
    let slapd = Slapd::start(&builder.directory_options());
    let [a, b] = ["a", "b"].map(|name| Node::launch(&builder, &slapd, &sentinel.url(), name, &[]));
    [&a, &b].into_iter().for_each(Node::wait_until_ready);
    let token = &builder.people[0].tokens[0];
    let name = builder.people[0].name.as_str();

    at_step_begin(30, 10);
    let before = token.field(0);
    assert!(a.gateway.login(name, &before).is_accept());
    // What the replica has not been told is lost with the master, as the documentation says.
    assert_eq!(master.command(&["WAIT", "1", "5000"]).trim(), "1");
    master.kill();
    sentinel.wait_for_master(&replica);
    wait_for_long("the other node to judge with the new master", || {
        let request = b.gateway.request(name, before.as_bytes());
        b.gateway.send(&request);
        let reply = b.gateway.receive_within(&request, std::time::Duration::from_secs(2))?;
        assert!(reply.is_reject());
        Some(())
    });
    assert_eq!(b.last_reason(), "code-used");
    [&a, &b].into_iter().for_each(Node::wait_until_ready);
    let after = token.field(30);
    assert!(b.gateway.login(name, &after).is_accept(), "{}", b.last_reason());
    assert!(a.gateway.login(name, &after).is_reject());

    // The old one comes back as a replica: nobody asks it as if nothing had happened.
    master.run();
    wait_for_long("the old master to follow", || master.is_in_step().then_some(()));
    assert!(a.gateway.login(name, &after).is_reject());
    assert_eq!(a.last_reason(), "code-used");
}

/// A node that stays silent, and says a trouble with each of these words in it.
fn stays_out(node: &Node, field: &str, words: &[&str], case: &str) {
    let said = wait_or(
        &format!("{case}: a trouble with {words:?}"),
        || node.command(&["status"]),
        || Some(node.command(&["status"])).filter(|said| words.iter().all(|word| said.contains(word))),
    );
    assert!(said.contains("unreachable"), "{case}: {said}");
    assert_eq!(node.daemon.get("/readyz").0, 503, "{case}");
    node.gateway.expect_silence(&node.gateway.request("alice", field.as_bytes()));
    let checked = node.command(&["check", "--online"]);
    assert!(words.iter().all(|word| checked.contains(word)), "{case}: {checked}");
}

#[test]
fn an_engine_behind_tls_is_used_only_if_its_certificate_is_the_right_one() {
    let certificates = Certificates::new(&["localhost"], Validity::Current);
    let stranger = Certificates::new(&["localhost"], Validity::Current);
    let past = Certificates::new(&["localhost"], Validity::Past);
    let builder = WorldBuilder { state: "cluster-ca-file = \"ca.pem\"\n".to_owned(), ..usual() };
    for kind in BOTH {
        let slapd = Slapd::start(&builder.directory_options());
        let engine = Engine::start(kind);
        let field = builder.people[0].tokens[0].field(0);
        let url = |host: &str, port: u16| match kind {
            Kind::Redis => format!("rediss://{host}:{port}"),
            Kind::Postgres => {
                format!("postgres://{}@{host}:{port}/{}?sslmode=require", postgres::USER, postgres::DATABASE)
            }
        };
        let launch = |url: &str, ca: &str| Node::launch(&builder, &slapd, url, "a", &[("ca.pem", ca)]);
        let protect = |Certificates { ca, certificate, key, .. }: &Certificates| match &engine {
            Engine::Redis(redis) => redis.protect(ca, certificate, key),
            Engine::Postgres(postgres) => {
                postgres.protect(certificate, key);
                postgres.port()
            }
        };
        // A server without TLS is not spoken to in clear. Redis waits for more of what it takes for a command.
        let (clear, words) = match &engine {
            Engine::Redis(redis) => (redis.port(), "did not answer in time"),
            Engine::Postgres(postgres) => (postgres.port(), "server does not support TLS"),
        };
        stays_out(&launch(&url("localhost", clear), &certificates.ca), &field, &[words], "clear text");

        let port = protect(&certificates);
        let wrong = launch(&url("localhost", port), &stranger.ca);
        stays_out(&wrong, &field, &["invalid peer certificate"], "another authority");
        drop(wrong);
        let wrong = launch(&url("127.0.0.1", port), &certificates.ca);
        stays_out(&wrong, &field, &["not valid for name", "localhost"], "another name");
        drop(wrong);
        let right = launch(&url("localhost", port), &certificates.ca);
        right.wait_until_ready();
        at_step_begin(30, 10);
        let field = builder.people[0].tokens[0].field(0);
        assert!(right.gateway.login("alice", &field).is_accept(), "{kind:?}");
        assert!(right.gateway.login("alice", &field).is_reject(), "{kind:?}");
        if let Engine::Postgres(postgres) = &engine {
            let sql = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                WHERE application_name = 'sekisho'";
            assert_eq!(postgres.query(sql).trim(), "t");
        }
        drop(right);
        let port = protect(&past);
        let wrong = launch(&url("localhost", port), &past.ca);
        stays_out(&wrong, &field, &["expired"], "a certificate of the past");
    }
}

/// What `docs/operations.md` gives the engine's user.
const ACL: [&str; 7] = ["~sekisho:*", "+@read", "+@write", "+@scripting", "+@connection", "+info", "+time"];

#[test]
fn an_engine_that_wants_a_password_gets_the_one_of_the_file() {
    const RIGHT: &str = "bmlzaGktaGlnYXNoaQ";
    let builder = WorldBuilder { state: "cluster-password-file = \"password\"\n".to_owned(), ..usual() };
    let operations = include_str!("../docs/operations.md").replace('\n', " ");
    assert!(operations.contains(&ACL.join(" ")), "the documented line is the one that is tried");
    for (kind, user) in [(Kind::Redis, ""), (Kind::Redis, "sekisho@"), (Kind::Postgres, "")] {
        let slapd = Slapd::start(&builder.directory_options());
        let engine = Engine::start(kind);
        match &engine {
            Engine::Redis(redis) if user.is_empty() => redis.want_password(RIGHT),
            Engine::Redis(redis) => {
                let secret = format!(">{RIGHT}");
                let who = ["ACL", "SETUSER", "sekisho", "on", &secret];
                assert_eq!(redis.command(&[who.as_slice(), &ACL].concat()).trim(), "OK");
                redis.want_password("bm9ib2R5");
            }
            Engine::Postgres(postgres) => postgres.want_password(RIGHT),
        }
        let url = engine.url().replace("redis://", &format!("redis://{user}"));
        let launch = |password: &str| Node::launch(&builder, &slapd, &url, "a", &[("password", password)]);
        let case = format!("{kind:?} {user}");
        let words: &[&str] = match kind {
            Kind::Redis => &["refused", "assword"],
            Kind::Postgres => &["refused", "password authentication failed for user \"sekisho\""],
        };
        let field = builder.people[0].tokens[0].field(0);
        let wrong = launch("d3Jvbmctd3Jvbmc");
        stays_out(&wrong, &field, words, &case);
        assert!(!wrong.daemon.log().contains("d3Jvbmctd3Jvbmc"), "the password is never told");
        drop(wrong);
        let right = launch(&format!("{RIGHT}\n"));
        right.wait_until_ready();
        at_step_begin(30, 10);
        let field = builder.people[0].tokens[0].field(0);
        assert!(right.gateway.login("alice", &field).is_accept(), "{case}");
        assert!(right.gateway.login("alice", &field).is_reject(), "{case}");
        assert_eq!(right.last_reason(), "code-used");
    }
}
