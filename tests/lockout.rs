//! Wrong codes in a row: what counts, what locks, what a lock means, and who cannot lock anybody.

use crate::harness::{Clock, Daemon, PASSWORD, SECRET, World, WorldBuilder, at_step_begin, person, wait_for};

fn field(code: &str) -> String {
    format!("{PASSWORD}{code}")
}

/// Fails so many times in a row, each time with another code.
fn fail(world: &World, user: &str, times: usize) {
    for code in world.token(user, 0).wrong_codes(times) {
        assert!(world.gateway.login(user, &field(&code)).is_reject());
    }
}

#[test]
fn s_17_the_fifth_wrong_code_locks_and_a_right_one_is_refused_until_the_release() {
    let world = World::open();
    fail(&world, "alice", 4);
    assert_eq!(world.daemon.metric("sekisho_users_locked"), 0.0);
    let fifth = world.token("alice", 0).wrong_codes(5).pop().unwrap();
    assert!(world.gateway.login("alice", &field(&fifth)).is_reject());
    assert_eq!(world.audit().last().unwrap()["locks"], "user");
    assert_eq!(world.daemon.metric("sekisho_users_locked"), 1.0);
    world.daemon.wait_for_metric("sekisho_lockouts_total", 1.0);

    at_step_begin(30, 8);
    let right = world.token("alice", 0).field(0);
    assert!(world.gateway.login("alice", &right).is_reject());
    assert_eq!(world.last_reason("alice"), "locked");
    assert_eq!(world.binds("alice"), 0, "nobody is asked for a locked user's password");
    assert!(
        world.gateway.login("bob", &world.token("bob", 0).field(0)).is_accept(),
        "others are not concerned"
    );

    world.done(&["user", "release", "alice", "--by", "counter"], "");
    assert!(world.gateway.login("alice", &right).is_accept(), "the lock has not used up the code");
    assert_eq!(world.daemon.metric("sekisho_users_locked"), 0.0);
    let release = world
        .audit()
        .into_iter()
        .find(|record| record["actor"] == "counter")
        .expect("the release is recorded");
    assert_eq!(release["user"], "alice");
}

#[test]
fn otp_18_a_timed_lock_holds_for_its_time_and_no_longer() {
    let service = WorldBuilder::default().service + "lock = \"30m\"\nmax-failures = 3\n";
    let clock = Clock::right();
    let mut world =
        WorldBuilder { service, environment: clock.environment(), ..WorldBuilder::default() }.open();
    fail(&world, "alice", 3);
    let ahead = |world: &mut World, seconds: i64| {
        clock.ahead(seconds);
        world.restart(Daemon::kill);
        at_step_begin(30, 5);
        world.gateway.login("alice", &world.token("alice", 0).field(seconds))
    };
    assert!(ahead(&mut world, 0).is_reject());
    assert!(ahead(&mut world, 29 * 60).is_reject(), "29 minutes later");
    assert_eq!(world.last_reason("alice"), "locked");
    assert!(ahead(&mut world, 31 * 60).is_accept(), "31 minutes later");
}

#[test]
fn otp_18_limits_out_of_bounds_are_refused() {
    for bad in ["max-failures = 11", "max-failures = 0", "lock = \"29m\""] {
        let service = format!("{}{bad}\n", WorldBuilder::default().service);
        let (status, problems) = WorldBuilder { service, ..WorldBuilder::default() }.check();
        assert_eq!(status, Some(78), "{bad}");
        assert!(problems.contains(bad.split(' ').next().unwrap()), "{problems}");
    }
}

#[test]
fn otp_19_a_hundred_failures_disable_the_token_until_it_is_bound_anew() {
    let service = WorldBuilder::default().service + "max-failures = 10\n";
    let world = WorldBuilder { service, ..WorldBuilder::default() }.open();
    let codes = world.token("alice", 0).wrong_codes(100);
    for ten in codes.chunks(10) {
        for code in ten {
            assert!(world.gateway.login("alice", &field(code)).is_reject());
        }
        world.done(&["user", "release", "alice", "--by", "counter"], "");
    }
    assert!(world.gateway.login("alice", &world.token("alice", 0).field(0)).is_reject());
    assert_eq!(world.last_reason("alice"), "token-disabled", "no release clears this count");
    assert!(world.gateway.login("bob", &world.token("bob", 0).field(0)).is_accept());

    // A new key is a new token.
    let mut bound = world.token("alice", 0).clone();
    bound.secret_hex = "00112233445566778899aabbccddeeff00112233".into();
    world.slapd.change(&format!(
        "dn: {}\nchangetype: modify\nreplace: oathSecret\noathSecret:: ABEiM0RVZneImaq7zN3u/wARIjM=\n",
        bound.dn()
    ));
    wait_for("the new key", || world.gateway.login("alice", &bound.field(0)).is_accept().then_some(()));
}

#[test]
fn otp_20_success_clears_what_was_counted() {
    let clock = Clock::right();
    let world = WorldBuilder { environment: clock.environment(), ..WorldBuilder::default() }.open();
    at_step_begin(30, 10);
    for step in [-30, 0, 30] {
        fail(&world, "alice", 4);
        assert!(world.gateway.login("alice", &world.token("alice", 0).field(step)).is_accept());
    }
    assert_eq!(world.daemon.metric("sekisho_users_locked"), 0.0);
}

#[test]
fn otp_21_failures_add_up_over_clients_and_spellings() {
    let world = WorldBuilder {
        clients: "[[radius.client]]\nname = \"other\"\nnetwork = \"127.0.0.2\"\nsecret-file = \"gateway.secret\"\nservice = \"test\"\n".into(),
        ..WorldBuilder::default()
    }
    .open();
    let codes = world.token("alice", 0).wrong_codes(5);
    let other = world.gateway_at("127.0.0.2", SECRET);
    for (at, spelling) in ["alice", "ALICE", "Alice", "aLiCe", "alicE"].into_iter().enumerate() {
        let gateway = if at % 2 == 0 { &world.gateway } else { &other };
        assert!(gateway.login(spelling, &field(&codes[at])).is_reject());
    }
    at_step_begin(30, 5);
    for gateway in [&world.gateway, &other] {
        assert!(gateway.login("alice", &world.token("alice", 0).field(0)).is_reject());
        assert_eq!(world.last_reason("alice"), "locked");
    }
}

#[test]
fn the_same_wrong_credential_within_a_minute_counts_once() {
    let world = World::open();
    let wrong = field(&world.token("alice", 0).wrong_code());
    for _ in 0..12 {
        assert!(world.gateway.login("alice", &wrong).is_reject());
    }
    at_step_begin(30, 5);
    assert!(world.gateway.login("alice", &world.token("alice", 0).field(0)).is_accept());
}

#[test]
fn a_right_code_with_a_wrong_password_counts_unless_the_directory_counts() {
    for (rule, locked) in [("counts", true), ("burns", false)] {
        let service =
            format!("{}max-failures = 2\nwrong-password = \"{rule}\"\n", WorldBuilder::default().service);
        let world = WorldBuilder { service, ..WorldBuilder::default() }.open();
        at_step_begin(30, 10);
        let token = world.token("alice", 0);
        for step in [-30, 0] {
            assert!(world.gateway.login("alice", &format!("wrong{}", token.code(step))).is_reject());
            assert_eq!(world.last_reason("alice"), "password-wrong");
        }
        assert_eq!(world.gateway.login("alice", &token.field(30)).is_reject(), locked, "{rule}");
    }
}

#[test]
fn ldap_26_our_lock_comes_before_the_directorys() {
    use crate::harness::slapd;
    let options = slapd::Options { password_policy: true, ..WorldBuilder::default().slapd };
    let service = WorldBuilder::default().service + "max-failures = 2\n";
    let world = WorldBuilder { service, slapd: options, ..WorldBuilder::default() }.open();
    at_step_begin(30, 12);
    let token = world.token("alice", 0);
    // Somebody with names, without codes: the directory hears nothing of it.
    fail(&world, "bob", 10);
    assert_eq!(world.binds("bob"), 0);
    // Somebody with a code: two wrong passwords lock here, one below the directory's three.
    for step in [-30, 0, 30] {
        assert!(world.gateway.login("alice", &format!("wrong{}", token.code(step))).is_reject());
    }
    assert_eq!(world.last_reason("alice"), "locked");
    assert_eq!(world.binds("alice"), 2);
    world.done(&["user", "release", "alice", "--by", "counter"], "");
    assert!(world.gateway.login("alice", &token.field(30)).is_accept(), "the directory has locked nobody");
}

#[test]
fn sec_16_one_address_that_sprays_is_throttled_before_it_locks_anybody() {
    let names: Vec<String> = (0..30).map(|n| format!("user{n}")).collect();
    let people = names.iter().map(|name| person(name, &[(6, 30)])).collect();
    let world = WorldBuilder::of(people).open();
    // One guess over many users, from one address.
    for name in &names {
        assert!(world.login_from("198.51.100.7", name, &field("000017")).is_reject());
    }
    world.daemon.wait_for_reason("throttled", 10.0);
    // It goes on with one of them, who is not locked by it.
    for code in world.token("user29", 0).wrong_codes(10) {
        assert!(world.login_from("198.51.100.7", "user29", &field(&code)).is_reject());
    }
    assert_eq!(world.daemon.metric("sekisho_users_locked"), 0.0);
    // A right code from there is refused as well, and not used up; from elsewhere it is good.
    at_step_begin(30, 5);
    let right = world.token("user29", 0).field(0);
    assert!(world.login_from("198.51.100.7", "user29", &right).is_reject());
    assert_eq!(world.last_reason("user29"), "throttled");
    assert!(world.login_from("198.51.100.8", "user29", &right).is_accept());
}

#[test]
fn a_lock_survives_every_kind_of_restart() {
    let mut world = World::open();
    fail(&world, "alice", 5);
    for end in [Daemon::kill as fn(Daemon), Daemon::stop] {
        world.restart(end);
        at_step_begin(30, 5);
        assert!(world.gateway.login("alice", &world.token("alice", 0).field(0)).is_reject());
        assert_eq!(world.last_reason("alice"), "locked");
        assert_eq!(world.daemon.metric("sekisho_users_locked"), 1.0);
    }
    // So does a release.
    world.done(&["user", "release", "alice", "--by", "counter"], "");
    world.restart(Daemon::kill);
    at_step_begin(30, 5);
    assert!(world.gateway.login("alice", &world.token("alice", 0).field(0)).is_accept());
}

#[test]
fn failures_below_the_limit_survive_a_crash() {
    let mut world = World::open();
    fail(&world, "alice", 3);
    world.restart(Daemon::kill);
    let codes = world.token("alice", 0).wrong_codes(5);
    for code in &codes[3..] {
        assert!(world.gateway.login("alice", &field(code)).is_reject());
    }
    at_step_begin(30, 5);
    assert!(world.gateway.login("alice", &world.token("alice", 0).field(0)).is_reject());
    assert_eq!(world.last_reason("alice"), "locked");
}
