//! A directory that is gone, frozen, half there or talks nonsense: no answer, no code used up, and back by itself.

use crate::harness::gateway::Signed;
use crate::harness::{
    Daemon, Gateway, Manners, PASSWORD, Proxy, Reply, Request, SECRET, World, WorldBuilder, code, person,
    slapd, wait_for,
};
use std::time::{Duration, Instant};

/// A gateway that waits a second, and a directory that has half of one.
fn impatient() -> WorldBuilder {
    WorldBuilder {
        client: "timeout = \"1s\"\nretries = 0\n".into(),
        ldap: "timeout = \"400ms\"\n".into(),
        ..WorldBuilder::default()
    }
    .at_minute_begin()
}

/// Asks and expects nothing, until the daemon has counted that it could not judge.
fn unanswered(world: &World, user: &str, field: &str) -> Request {
    let before = unjudged(world);
    let request = world.gateway.request(user, field.as_bytes());
    world.gateway.send(&request);
    wait_for("the drop to be counted", || (unjudged(world) > before).then_some(()));
    assert_eq!(world.gateway.receive_within(&request, Duration::from_millis(50)), None, "nobody is answered");
    request
}

/// Requests that ended because the directory could not say.
fn unjudged(world: &World) -> f64 {
    ["directory-unreachable", "directory-too-late", "directory-stale"]
        .iter()
        .map(|reason| world.daemon.reason(reason))
        .sum()
}

/// Asks again and again with the same field, as a user who has the code still on the screen does.
fn accepted_at_last(world: &World, user: &str, field: &str) {
    let mut asked: Vec<(Gateway, Request)> = Vec::new();
    wait_for(&format!("{user} to be accepted again"), || {
        let gateway = world.second_gateway();
        let request = gateway.request(user, field.as_bytes());
        gateway.send(&request);
        let reply = gateway.receive_within(&request, Duration::from_secs(1));
        asked.push((gateway, request));
        // An accept that came late is one all the same.
        let late = || {
            asked.iter().any(|(gateway, request)| {
                gateway
                    .receive_within(request, Duration::from_millis(1))
                    .is_some_and(|reply| reply.is_accept())
            })
        };
        assert!(
            reply?.is_accept() || late(),
            "the code was used up although nobody was answered: {}",
            world.last_reason(user)
        );
        Some(())
    });
}

/// What has to hold while the directory cannot be asked, and afterwards.
fn story(world: &mut World, down: impl FnOnce(&mut World), up: impl FnOnce(&mut World)) {
    // One login before, so that there are connections which then break.
    assert!(world.gateway.login("bob", &world.token("bob", 0).field(0)).is_accept());
    let field = world.token("alice", 0).field(0);
    down(world);
    unanswered(world, "alice", &field);
    unanswered(world, "alice", &field);
    // Whoever needs no directory is not kept waiting.
    assert!(world.gateway.login("alice", &format!("{PASSWORD}000017")).is_reject());
    assert!(world.gateway.login("nobody", &field).is_reject());
    assert!(world.gateway.login("dave", &format!("{PASSWORD}123456")).is_reject());
    assert_eq!(world.last_reason("dave"), "no-token");
    up(world);
    accepted_at_last(world, "alice", &field);
    assert!(world.gateway.login("alice", &field).is_reject(), "and then it is used");
}

#[test]
fn a_stopped_directory() {
    let mut world = impatient().open();
    story(&mut world, |world| world.slapd.stop(), |world| world.slapd.run());
    assert!(!world.daemon.events("directory-down").is_empty());
    assert!(world.daemon.events("directory-up").len() >= 2);
}

#[test]
fn a_killed_directory() {
    let mut world = impatient().open();
    story(&mut world, |world| world.slapd.kill(), |world| world.slapd.run());
}

#[test]
fn a_frozen_directory() {
    let mut world = impatient().open();
    story(&mut world, |world| world.slapd.freeze(), |world| world.slapd.thaw());
}

fn behind_proxy() -> World {
    WorldBuilder { proxy: Some(Proxy::listen()), ..impatient() }.open()
}

fn misbehaving(manners: Manners) {
    let mut world = behind_proxy();
    let behave = |manners| move |world: &mut World| world.proxy.as_ref().unwrap().behave(manners);
    story(&mut world, behave(manners), behave(Manners::Good));
}

#[test]
fn a_directory_behind_a_network_that_swallows_everything() {
    misbehaving(Manners::Silent);
}

#[test]
fn a_directory_that_has_closed_its_half() {
    misbehaving(Manners::HalfClosed);
}

#[test]
fn a_directory_that_talks_nonsense() {
    misbehaving(Manners::Garbage);
}

#[test]
fn a_directory_that_answers_too_slowly() {
    misbehaving(Manners::Slow);
}

#[test]
fn a_directory_that_hangs_up_on_everybody() {
    misbehaving(Manners::Closed);
}

#[test]
fn ldap_08_results_that_are_no_success_never_let_anybody_in() {
    // slapd answers binds below a referral with 10, of entries without a password with 49 or 48.
    let ldif = slapd::user_ldif(slapd::User { uid: "empty", password: PASSWORD.as_bytes(), tokens: &[] });
    let without: String = ldif
        .lines()
        .filter(|line| !line.starts_with("userPassword"))
        .fold(String::new(), |all, line| all + line + "\n");
    let service = WorldBuilder::default().service
        + "[[service.test.operation]]\nname = \"login\"\nmatch = { NAS-Port-Id = \"login\" }\ncode = \"never\"\n";
    let options = slapd::Options { ldif: without + "\n", ..WorldBuilder::default().slapd };
    let mut world = WorldBuilder { service, slapd: options, ..impatient() }.open();
    assert!(world.gateway.operation("empty", PASSWORD, "login").is_reject());
    assert_eq!(world.last_reason("empty"), "password-wrong");
    // Not willing: nobody can say, so nobody is answered.
    world
        .slapd
        .change("dn: cn=config\nchangetype: modify\nreplace: olcDisallows\nolcDisallows: bind_simple\n");
    let field = world.token("alice", 0).field(0);
    unanswered(&world, "alice", &field);
    // What was changed while it ran is forgotten when it starts again.
    world.slapd.stop();
    world.slapd.run();
    accepted_at_last(&world, "alice", &field);
}

#[test]
fn a_second_server_takes_over_and_both_are_watched() {
    let builder = impatient();
    let options = builder.directory_options();
    let first = slapd::Slapd::start(&options);
    let replica = first.replica(&options);
    let mut world = WorldBuilder { servers: vec![replica.url()], ..builder }.prepare_before(first);
    world.restart(drop);
    let up =
        |world: &World, url: &str| world.daemon.metric(&format!("sekisho_directory_up{{server=\"{url}\"}}"));
    let (one, two) = (world.slapd.url(), replica.url());
    wait_for("both to be up", || (up(&world, &one) == 1.0 && up(&world, &two) == 1.0).then_some(()));

    world.slapd.kill();
    let field = world.token("alice", 0).field(0);
    accepted_at_last(&world, "alice", &field);
    wait_for("the metric", || (up(&world, &one) == 0.0).then_some(()));
    assert_eq!(world.daemon.get("/readyz").0, 200, "one server is enough");
    // Memory follows the second one now (LDAP-14).
    replica.delete(&world.token("carol", 1).dn());
    wait_for("the change on the second", || {
        let reply = world.gateway.login("carol", &world.token("carol", 1).field(0));
        reply.is_reject().then_some(())
    });
    world.slapd.run();
    wait_for("the first to be seen again", || (up(&world, &one) == 1.0).then_some(()));
    drop(replica);
    accepted_at_last(&world, "bob", &world.token("bob", 0).field(0));
}

#[test]
fn ldap_15_a_table_that_nobody_confirms_answers_nobody() {
    let builder = impatient();
    let mut world = WorldBuilder { ldap: builder.ldap.clone() + "max-stale = \"10s\"\n", ..builder }.open();
    let status = |world: &World| {
        let request = world.gateway.build(code::STATUS_SERVER, &[], None, Signed::First);
        world.gateway.send(&request);
        world.gateway.receive_within(&request, Duration::from_millis(300))
    };
    assert!(status(&world).is_some_and(|reply| reply.is_accept()));
    world.slapd.stop();
    let asker = world.second_gateway();
    crate::harness::wait_for_long("the table to be stale", || {
        asker.send(&asker.request("alice", format!("{PASSWORD}000017").as_bytes()));
        (world.daemon.reason("directory-stale") >= 1.0).then_some(())
    });
    assert_eq!(status(&world), None, "gateways shall ask another node");
    let (ready, why) = world.daemon.get("/readyz");
    assert_eq!(ready, 503);
    assert!(why.contains("directory"), "{why}");
    assert_eq!(world.daemon.get("/healthz").0, 200, "restarting would not help");
    world.slapd.run();
    let field = world.token("alice", 0).field(0);
    accepted_at_last(&world, "alice", &field);
    wait_for("readiness", || (world.daemon.get("/readyz").0 == 200).then_some(()));
    wait_for("a probe to be answered again", || status(&world));
}

#[test]
fn with_ask_nobody_can_be_looked_up_and_nobody_is_answered() {
    let builder = impatient();
    let mut world =
        WorldBuilder { bindings: "ask", ldap: builder.ldap.clone() + "cache-lifetime = \"0s\"\n", ..builder }
            .open();
    let field = world.token("alice", 0).field(0);
    world.slapd.stop();
    unanswered(&world, "alice", &field);
    unanswered(&world, "nobody", &field);
    world.slapd.run();
    accepted_at_last(&world, "alice", &field);
}

#[test]
fn operations_without_password_and_code_need_no_directory() {
    let service = "[service.test]\nreject-delay = \"0s\"\npassword = \"none\"\nlayout = \"code\"\n\
                   [[service.test.operation]]\nname = \"login\"\nmatch = { NAS-Port-Id = \"login\" }\ncode = \"never\"\n";
    let mut world = WorldBuilder { service: service.into(), ..impatient() }.open();
    world.slapd.stop();
    assert!(world.gateway.operation("alice", "", "login").is_accept());
    // Codes are judged from memory, too: only passwords need somebody to ask.
    let code = world.token("alice", 0).code(0);
    assert!(world.gateway.operation("alice", &code, "transfer").is_accept());
    assert!(world.gateway.operation("alice", &code, "transfer").is_reject());
}

#[test]
fn operations_with_a_password_alone_are_not_guessed() {
    let service = WorldBuilder::default().service
        + "[[service.test.operation]]\nname = \"login\"\nmatch = { NAS-Port-Id = \"login\" }\ncode = \"never\"\n";
    let mut world = WorldBuilder { service, ..impatient() }.open();
    assert!(world.gateway.operation("alice", PASSWORD, "login").is_accept());
    world.slapd.stop();
    let before = unjudged(&world);
    let attributes = [(1, b"alice".to_vec()), (87, b"login".to_vec())];
    let request =
        world.gateway.build(code::ACCESS_REQUEST, &attributes, Some(PASSWORD.as_bytes()), Signed::First);
    world.gateway.send(&request);
    wait_for("the drop", || (unjudged(&world) > before).then_some(()));
    assert_eq!(world.gateway.receive_within(&request, Duration::from_millis(50)), None);
}

#[test]
fn a_dialogue_survives_a_short_absence_of_the_directory() {
    let service = WorldBuilder::default().service + "second-step = \"when-missing\"\n";
    let mut world = WorldBuilder { service, ..impatient() }.open();
    let state = world.gateway.login("alice", PASSWORD).state();
    let code = world.token("alice", 0).code(0);
    let answer = |world: &World| -> Option<Reply> {
        let attributes = [(1, b"alice".to_vec()), (24, state.clone())];
        let request =
            world.gateway.build(code::ACCESS_REQUEST, &attributes, Some(code.as_bytes()), Signed::First);
        world.gateway.send(&request);
        world.gateway.receive_within(&request, Duration::from_secs(1))
    };
    world.slapd.stop();
    assert_eq!(answer(&world), None, "nobody can say whether the password was right");
    world.slapd.run();
    wait_for("the answer", || {
        answer(&world).map(|reply| assert!(reply.is_accept(), "{}", world.last_reason("alice")))
    });
}

#[test]
fn a_storm_on_a_dead_directory_does_not_keep_others_waiting() {
    let other = "[[radius.client]]\nname = \"other\"\nnetwork = \"127.0.0.2\"\nsecret-file = \"gateway.secret\"\nservice = \"test\"\n";
    let world = WorldBuilder { clients: other.into(), ..impatient() }.open();
    world.slapd.freeze();
    // Everything that can wait for the directory waits; each with its own identifier and port.
    let storm: Vec<Gateway> = (0..8).map(|_| world.second_gateway()).collect();
    for gateway in &storm {
        for _ in 0..100 {
            gateway.send(&gateway.request("bob", world.token("bob", 0).field(0).as_bytes()));
        }
    }
    let quiet = world.gateway_at("127.0.0.2", SECRET);
    for code in world.token("alice", 0).wrong_codes(3) {
        let request = quiet.request("alice", format!("{PASSWORD}{code}").as_bytes());
        quiet.send(&request);
        assert!(
            quiet.receive_within(&request, Duration::from_secs(1)).is_some_and(|reply| reply.is_reject())
        );
    }
    world.slapd.thaw();
    let field = world.token("alice", 0).field(0);
    accepted_at_last(&world, "alice", &field);
}

#[test]
fn a_daemon_that_starts_before_its_directory_waits_for_it() {
    let mut world = impatient().prepare();
    world.slapd.stop();
    let daemon = Daemon::launch(&world.config, &[]);
    wait_for("the trouble to be told", || (!daemon.events("directory-down").is_empty()).then_some(()));
    assert!(daemon.events("ready").is_empty(), "not ready without its users");
    world.slapd.run();
    wait_for("readiness", || (!daemon.events("ready").is_empty()).then_some(()));
}

#[test]
fn a_directory_that_takes_more_than_a_minute_to_read_is_waited_for() {
    let people = (0..52).map(|at| person(&format!("user-{at:02}"), &[(6, 30)])).collect();
    let world = WorldBuilder { proxy: Some(Proxy::listen()), ..WorldBuilder::of(people) }.prepare();
    world.proxy.as_ref().unwrap().behave(Manners::Narrow);
    let begun = Instant::now();
    let mut daemon = Daemon::launch(&world.config, &[]);
    while daemon.events("ready").is_empty() {
        assert!(daemon.is_running(), "given up after {} s: {}", begun.elapsed().as_secs(), daemon.log());
        assert!(begun.elapsed() < Duration::from_secs(140), "{}", daemon.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(begun.elapsed() > Duration::from_secs(60), "not slow enough to show anything");
}
