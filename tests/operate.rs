//! The daemon under its administrator's hands: starting, reloading, stopping, asking, and refusing what is wrong.

use crate::harness::gateway::Signed;
use crate::harness::{
    Clock, Daemon, Gateway, PASSWORD, Person, SECRET, World, WorldBuilder, code, daemon, person, unix_now,
    wait_for,
};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

fn text(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

/// Runs `serve` on a configuration that it must refuse, and gives its exit code and what it said.
fn refused(world: &World) -> (Option<i32>, String) {
    let mut daemon = Daemon::launch(&world.config, &[]);
    let status = daemon.ended();
    wait_for("its last words", || (!daemon.log().is_empty()).then_some(()));
    (status, daemon.log())
}

#[test]
fn sec_21_sigterm_finishes_what_is_being_judged_and_takes_nothing_new() {
    let mut world = WorldBuilder::default().at_minute_begin().open();
    world.slapd.freeze();
    let field = world.token("alice", 0).field(0);
    let request = world.gateway.request("alice", field.as_bytes());
    world.gateway.send(&request);
    wait_for("the request to be judged", || (world.daemon.metric("sekisho_in_flight") == 1.0).then_some(()));
    world.daemon.signal("TERM");
    wait_for("the drain to begin", || (!world.daemon.events("stopping").is_empty()).then_some(()));
    let late = world.second_gateway();
    let new = late.request("bob", world.token("bob", 0).field(0).as_bytes());
    late.send(&new);
    world.slapd.thaw();
    let reply = world.gateway.receive(&request).expect("what was being judged is answered");
    assert!(reply.is_accept());
    let mut stopped = std::mem::replace(&mut world.daemon, Daemon::nothing());
    assert_eq!(stopped.ended(), Some(0), "{}", stopped.log());
    assert_eq!(late.receive_within(&new, Duration::from_millis(50)), None, "nothing new was taken");
    drop(stopped);
    world.restart(drop);
    assert!(world.gateway.login("alice", &field).is_reject(), "and it stays used");
    assert!(
        world.gateway.login("bob", &world.token("bob", 0).field(0)).is_accept(),
        "what was not taken cost nothing"
    );
}

#[test]
fn sigterm_and_sigint_end_in_order_even_when_the_directory_hangs() {
    for signal in ["TERM", "INT"] {
        let mut world =
            WorldBuilder { ldap: "timeout = \"500ms\"\n".into(), ..WorldBuilder::default() }.open();
        world.slapd.freeze();
        for _ in 0..20 {
            world.gateway.send(&world.gateway.request("alice", world.token("alice", 0).field(0).as_bytes()));
        }
        world.daemon.signal(signal);
        assert_eq!(world.daemon.ended(), Some(0), "SIG{signal}: {}", world.daemon.log());
        assert!(!world.directory.path().join("admin.sock").exists(), "nothing is left behind");
    }
}

fn reload(world: &World, event: &str) {
    let before = world.daemon.events(event).len();
    world.daemon.signal("HUP");
    wait_for(event, || (world.daemon.events(event).len() > before).then_some(()));
}

#[test]
fn sec_10_a_reload_changes_the_rules_and_forgets_nothing() {
    let service = WorldBuilder::default().service + "second-step = \"when-missing\"\nmax-failures = 3\n";
    let world = WorldBuilder { service, ..WorldBuilder::default() }.at_minute_begin().open();
    let (alice, bob) = (world.token("alice", 0), world.token("bob", 0));
    // A used code, an answered request, an open dialogue, a lock.
    let request = world.gateway.request("alice", alice.field(0).as_bytes());
    let reply = world.gateway.ask(&request);
    assert!(reply.is_accept());
    let dialogue = world.gateway.login("alice", PASSWORD).state();
    for code in bob.wrong_codes(3) {
        let _ = world.gateway.login("bob", &format!("{PASSWORD}{code}"));
    }
    assert_eq!(world.daemon.metric("sekisho_users_locked"), 1.0);
    let stranger = world.gateway_at("127.0.0.9", SECRET);

    world.reconfigure(|text| {
        let more = "[[radius.client]]\nname = \"new\"\nnetwork = \"127.0.0.9\"\nsecret-file = \"gateway.secret\"\nservice = \"test\"\n\n[directory]";
        text.replace("[directory]", more).replace("reject-delay", "reject-text = \"Nein.\"\nreject-delay")
    });
    reload(&world, "reloaded");
    assert_eq!(world.daemon.metric("sekisho_config_reloads_total{result=\"succeeded\"}"), 1.0);

    let refusal = world.gateway.login("alice", &alice.field(0));
    assert!(!refusal.is_accept(), "a used code stays used");
    assert_eq!(world.gateway.ask(&request).octets, reply.octets, "an answered request gets its answer again");
    let attributes = [(1, b"alice".to_vec()), (24, dialogue)];
    let answer = world.gateway.build(
        code::ACCESS_REQUEST,
        &attributes,
        Some(alice.code(30).as_bytes()),
        Signed::First,
    );
    assert!(world.gateway.ask(&answer).is_accept(), "an open dialogue goes on");
    let _ = world.gateway.login("bob", &bob.field(0));
    assert_eq!(world.daemon.metric("sekisho_users_locked"), 1.0, "a lock holds");
    // The new client is served, and the new text is said.
    let said = stranger.login("nobody", "");
    let said = if said.is_challenge() {
        let attributes = [(1, b"nobody".to_vec()), (24, said.state())];
        stranger.ask(&stranger.build(code::ACCESS_REQUEST, &attributes, Some(b"123456"), Signed::First))
    } else {
        said
    };
    assert_eq!(said.values(18), [b"Nein.".to_vec()]);
}

#[test]
fn sec_09_a_reload_with_a_mistake_keeps_the_old_configuration_and_says_so() {
    let world = WorldBuilder::default().at_minute_begin().open();
    world.reconfigure(|text| {
        text.replace("[service.test]", "[service.test]\nmax-failuers = 5\nperiod = \"14s\"")
    });
    reload(&world, "reload-refused");
    assert_eq!(world.daemon.metric("sekisho_config_reloads_total{result=\"failed\"}"), 1.0);
    let told = world.daemon.log();
    assert!(told.contains("max-failuers") && told.contains("period"), "all problems are told: {told}");
    assert_eq!(world.daemon.get("/readyz").0, 200);
    assert!(world.gateway.login("alice", &world.token("alice", 0).field(0)).is_accept());
    // A secret that has become readable by others is a mistake too (SEC-08).
    world.reconfigure(|text| text.replace("max-failuers = 5\nperiod = \"14s\"", ""));
    let secret = world.directory.path().join("gateway.secret");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o644)).unwrap();
    reload(&world, "reload-refused");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    reload(&world, "reloaded");
    assert!(world.gateway.login("bob", &world.token("bob", 0).field(0)).is_accept());
}

#[test]
fn a_reload_may_rotate_a_secret_without_losing_a_request() {
    let next = "another-secret-of-32-octets-here";
    let world = WorldBuilder::default().at_minute_begin().open();
    daemon::write(world.directory.path(), "next.secret", next);
    world.reconfigure(|text| {
        text.replace(
            "secret-file = \"gateway.secret\"",
            "secret-file = \"gateway.secret\"\nnext-secret-file = \"next.secret\"",
        )
    });
    reload(&world, "reloaded");
    let ahead = Gateway::new(world.daemon.radius[0], next);
    assert!(world.gateway.login("alice", &world.token("alice", 0).field(0)).is_accept(), "the old secret");
    assert!(ahead.login("bob", &world.token("bob", 0).field(0)).is_accept(), "the new secret");
}

#[test]
fn readiness_and_health_are_two_things() {
    let mut world = WorldBuilder { ldap: "timeout = \"300ms\"\n".into(), ..WorldBuilder::default() }.open();
    assert_eq!(world.daemon.get("/readyz"), (200, "ready\n".into()));
    assert_eq!(world.daemon.get("/healthz"), (200, "healthy\n".into()));
    assert_eq!(world.daemon.get("/nothing").0, 404);
    world.slapd.stop();
    wait_for("not ready", || (world.daemon.get("/readyz").0 == 503).then_some(()));
    assert!(world.daemon.get("/readyz").1.contains("directory"));
    assert_eq!(world.daemon.get("/healthz").0, 200);
    world.slapd.run();
    wait_for("ready again", || (world.daemon.get("/readyz").0 == 200).then_some(()));
}

#[test]
fn sec_22_metrics_name_nobody() {
    let world = WorldBuilder::default().at_minute_begin().open();
    let reply = world.login_from("198.51.100.7", "alice", &world.token("alice", 0).field(0));
    assert!(reply.is_accept());
    let _ = world.login_from("198.51.100.7", "mallory", "x123456");
    let (_, metrics) = world.daemon.get("/metrics");
    for word in ["alice", "mallory", "198.51.100", "SN-"] {
        assert!(!metrics.contains(word), "{word} in the metrics");
    }
    for name in [
        "sekisho_requests_total{",
        "sekisho_request_duration_seconds",
        "sekisho_dropped_total{",
        "sekisho_duplicates_total",
        "sekisho_in_flight",
        "sekisho_users_locked",
        "sekisho_tokens{",
        "sekisho_token_clock_offset_seconds",
        "sekisho_directory_up{",
        "sekisho_directory_duration_seconds",
        "sekisho_directory_bindings",
        "sekisho_directory_sync_age_seconds",
        "sekisho_journal_sync_seconds",
        "sekisho_state_entries{",
        "sekisho_config_reloads_total{",
        "sekisho_build_info{",
        "process_",
    ] {
        assert!(metrics.lines().any(|line| line.starts_with(name)), "{name} is promised");
    }
    assert_eq!(world.daemon.metric("sekisho_tokens{state=\"active\"}"), 4.0);
    assert_eq!(world.daemon.metric("sekisho_directory_bindings"), 4.0);
}

#[test]
fn exit_64_for_what_nobody_can_mean() {
    for arguments in [
        &["sevre"][..],
        &["serve", "--confg", "x"],
        &["user", "release", "alice"],
        &["probe", "--server", "x"],
        &[],
    ] {
        let output = daemon::run(arguments, "");
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {}", text(&output));
    }
    for arguments in [
        &["--help"][..],
        &["--version"],
        &["serve", "--help"],
        &["user", "release", "--help"],
        &["completions", "bash"],
    ] {
        let output = daemon::run(arguments, "");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output));
        assert!(!output.stdout.is_empty());
    }
    let folder = tempfile::tempdir().unwrap();
    let output = daemon::run(&["man", folder.path().to_str().unwrap()], "");
    assert_eq!(output.status.code(), Some(0));
    assert!(folder.path().join("sekisho.1").exists() && folder.path().join("sekisho-serve.1").exists());
}

#[test]
fn exit_69_for_a_listener_that_is_taken() {
    let first = World::open();
    let taken = first.daemon.radius[0];
    let second = WorldBuilder { listen: format!("[\"{taken}\"]"), ..WorldBuilder::default() }.prepare();
    let (status, said) = refused(&second);
    assert_eq!(status, Some(69), "{said}");
    assert!(said.contains(&taken.to_string()), "it says which: {said}");
}

#[test]
fn exit_69_for_commands_without_a_daemon() {
    let world = WorldBuilder::default().prepare();
    for arguments in [
        &["status"][..],
        &["user", "show", "alice"],
        &["token", "show", "SN-alice-0"],
        &["user", "release", "alice", "--by", "counter"],
    ] {
        let output = world.command(arguments, "");
        assert_eq!(output.status.code(), Some(69), "{arguments:?}: {}", text(&output));
        assert!(text(&output).contains("admin.sock"), "{}", text(&output));
    }
}

#[test]
fn exit_74_for_a_state_directory_that_cannot_be_used() {
    let world = WorldBuilder::default().prepare();
    // A file where the folder should be.
    std::fs::write(world.directory.path().join("state"), "").unwrap();
    let (status, said) = refused(&world);
    assert_eq!(status, Some(74), "{said}");
    // An audit file that is none.
    let world = WorldBuilder::default().prepare();
    std::fs::write(world.directory.path().join("audit.jsonl"), "Dear diary\n").unwrap();
    let (status, said) = refused(&world);
    assert_eq!(status, Some(74), "{said}");
    assert!(said.contains("audit.jsonl"), "{said}");
}

#[test]
fn exit_74_for_a_second_daemon_on_one_state_directory() {
    let first = World::open();
    let second = WorldBuilder::default().prepare();
    second.reconfigure(|text| {
        text.replace(
            "directory = \"state\"",
            &format!("directory = {:?}", first.directory.path().join("state")),
        )
    });
    let (status, said) = refused(&second);
    assert_eq!(status, Some(74), "{said}");
    assert!(said.contains("in use"), "{said}");
    // The first one is not disturbed.
    assert_eq!(first.daemon.get("/readyz").0, 200);
    assert!(first.gateway.login("nobody", "x123456").is_reject());
    // Nor by one that wants its audit file or its admin socket.
    for (from, to) in [
        ("file = \"audit.jsonl\"", format!("file = {:?}", first.directory.path().join("audit.jsonl"))),
        ("socket = \"admin.sock\"", format!("socket = {:?}", first.directory.path().join("admin.sock"))),
    ] {
        let third = WorldBuilder::default().prepare();
        third.reconfigure(|text| text.replace(from, &to));
        let (status, said) = refused(&third);
        assert!(matches!(status, Some(69 | 74)), "{said}");
    }
    assert!(text(&first.command(&["status"], "")).contains("ready"));
}

#[test]
fn exit_74_for_a_journal_that_is_damaged_and_nothing_is_changed() {
    let mut world = WorldBuilder::default().at_minute_begin().open();
    for user in ["alice", "bob"] {
        assert!(world.gateway.login(user, &world.token(user, 0).field(0)).is_accept());
    }
    std::mem::replace(&mut world.daemon, Daemon::nothing()).kill();
    let state = world.directory.path().join("state");
    let newest = std::fs::read_dir(&state)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .max_by_key(|path| std::fs::metadata(path).unwrap().len())
        .unwrap();
    let whole = std::fs::read(&newest).unwrap();
    let mut damaged = whole.clone();
    // Into the middle of what was written: not the end of an interrupted write.
    let written = whole.iter().rposition(|&octet| octet != 0).unwrap();
    damaged[written / 3] ^= 0xff;
    std::fs::write(&newest, &damaged).unwrap();
    let (status, said) = refused(&world);
    assert_eq!(status, Some(74), "{said}");
    assert_eq!(std::fs::read(&newest).unwrap(), damaged, "nothing was changed");
    std::fs::write(&newest, &whole).unwrap();
    world.restart(drop);
    assert!(
        world.gateway.login("alice", &world.token("alice", 0).field(0)).is_reject(),
        "whole again, and the code used"
    );
}

#[test]
fn sec_09_exit_78_with_all_problems_at_once() {
    let world = WorldBuilder::default().prepare();
    world.reconfigure(|text| {
        text.replace("[service.test]", "[service.test]\nperiod = \"14s\"\ndigits = 5\nlokc = \"30m\"")
            .replace("service = \"test\"", "service = \"tset\"")
            .replace("layout = \"oath\"", "layout = \"oaht\"")
            .replace("[state]", "[state]\ndurability = \"maybe\"\n[sttae]")
            .replace("tls = \"none\"", "tls = \"nnoe\"")
    });
    let output = world.command(&["check"], "");
    assert_eq!(output.status.code(), Some(78));
    let said = text(&output);
    for word in ["lokc", "did you mean lock?", "oaht", "sttae", "nnoe", "maybe"] {
        assert!(said.contains(word), "{word} in:\n{said}");
    }
    let config = world.config.display().to_string();
    let places = said.lines().filter(|line| line.starts_with(&format!("{config}:"))).count();
    assert!(places >= 5, "each with file and line:\n{said}");
    let (status, told) = refused(&world);
    assert_eq!(status, Some(78));
    assert!(told.contains("lokc") && told.contains("oaht"), "{told}");
}

#[test]
fn exit_78_for_every_mistake_by_itself_and_serve_agrees_with_check() {
    let cases: [(&str, &str, &str); 14] = [
        ("service = \"test\"", "service = \"none\"", "service"),
        ("network = [\"127.0.0.0/8\", \"::1/128\"]", "network = \"127.0.0.1/8\"", "network"),
        ("network = [\"127.0.0.0/8\", \"::1/128\"]", "network = \"0.0.0.0/0\"", "any-network"),
        ("secret-file = \"gateway.secret\"", "secret-file = \"missing\"", "missing"),
        ("secret-file = \"gateway.secret\"", "secret = \"short\"", "secret"),
        ("secret-file = \"gateway.secret\"", "secret = \"testing123testing123\"", "example"),
        (
            "secret-file = \"gateway.secret\"",
            "secret-file = \"gateway.secret\"\nmessage-authenticator = \"optional\"\nlimit-proxy-state = false",
            "insecure",
        ),
        (
            "user-filter = \"(&(objectClass=inetOrgPerson)(uid={user}))\"",
            "user-filter = \"(uid=somebody)\"",
            "user-filter",
        ),
        (
            "user-filter = \"(&(objectClass=inetOrgPerson)(uid={user}))\"",
            "user-filter = \"(uid={user}\"",
            "user-filter",
        ),
        ("base = \"dc=example,dc=jp\"", "base = \"somewhere\"", "base"),
        ("tls = \"none\"", "tls = \"ldaps\"", "servers"),
        ("bindings = \"follow\"", "bindings = \"watch\"", "bindings"),
        ("[http]\nlisten = \"127.0.0.1:0\"", "[http]\nlisten = \"0.0.0.0:0\"", "http.listen"),
        ("reject-delay = \"0s\"", "reject-delay = \"11s\"", "reject-delay"),
    ];
    let world = WorldBuilder::default().prepare();
    let good = std::fs::read_to_string(&world.config).unwrap();
    assert_eq!(world.command(&["check"], "").status.code(), Some(0));
    for (from, to, word) in cases {
        assert!(good.contains(from), "{from}");
        std::fs::write(&world.config, good.replace(from, to)).unwrap();
        let output = world.command(&["check"], "");
        assert_eq!(output.status.code(), Some(78), "{to}: {}", text(&output));
        assert!(text(&output).contains(word), "{to}: {}", text(&output));
        assert_eq!(refused(&world).0, Some(78), "{to}");
    }
}

#[test]
fn sec_08_secrets_that_others_may_read_are_refused() {
    let world = WorldBuilder::default().prepare();
    for file in ["gateway.secret", "ldap.password"] {
        let path = world.directory.path().join(file);
        for mode in [0o640, 0o604, 0o660] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let output = world.command(&["check"], "");
            assert_eq!(output.status.code(), Some(78), "{file} {mode:o}");
            assert!(text(&output).contains("chmod 600"), "it says what would be right: {}", text(&output));
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    assert_eq!(world.command(&["check"], "").status.code(), Some(0));
}

#[test]
fn config_shows_everything_but_secrets_and_says_where_from() {
    let world = WorldBuilder::default().prepare();
    world.reconfigure(|text| {
        text.replace("secret-file = \"gateway.secret\"", &format!("secret = \"{SECRET}\""))
    });
    daemon::write(world.directory.path(), "conf.d/10-more.toml", "[service.test]\nmax-failures = 7\n");
    let config = world.config.to_str().unwrap();
    let output = std::process::Command::new(daemon::binary())
        .args(["config", "--config", config])
        .env("SEKISHO__RADIUS__ATTRIBUTES_MAX", "123")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let said = text(&output);
    assert!(!said.contains(SECRET), "{said}");
    let line = |start: &str| {
        said.lines()
            .find(|line| line.trim_start().starts_with(start))
            .unwrap_or_else(|| panic!("{start} in {said}"))
    };
    assert!(line("secret = ").contains("hidden"));
    assert!(line("max-failures = 7").contains("10-more.toml"));
    assert!(line("attributes-max = 123").contains("SEKISHO__RADIUS__ATTRIBUTES_MAX"));
    assert!(line("lock = ").contains("default"));
    assert!(line("reject-delay = ").contains("sekisho.toml"));
    // What was printed is a configuration again.
    let printed = daemon::write(
        world.directory.path(),
        "printed.toml",
        &said.replace("secret = \"[hidden]\"", &format!("secret = \"{SECRET}\"")),
    );
    std::fs::remove_dir_all(world.directory.path().join("conf.d")).unwrap();
    let output = daemon::run(&["check", "--config", printed.to_str().unwrap()], "");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
}

#[test]
fn status_shows_the_daemon() {
    let world = WorldBuilder::default().at_minute_begin().open();
    for code in world.token("alice", 0).wrong_codes(5) {
        let _ = world.gateway.login("alice", &format!("{PASSWORD}{code}"));
    }
    let shown: serde_json::Value = serde_json::from_str(&world.done(&["status", "--json"], "")).unwrap();
    assert_eq!(shown["pid"], world.daemon.pid());
    assert_eq!(shown["users"], 4);
    assert_eq!(shown["locked"], 1);
    assert_eq!(shown["not_ready"], serde_json::json!([]));
    assert_eq!(shown["servers"][0]["up"], true);
    assert_eq!(shown["journal"], "writing");
    let said = world.done(&["status"], "");
    assert!(said.contains("ready") && said.contains(&world.slapd.url()), "{said}");
    // Over the socket itself, without a configuration.
    let socket = world.directory.path().join("admin.sock");
    let output = daemon::run(&["status", "--socket", socket.to_str().unwrap()], "");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "nobody else may ask");
}

#[test]
fn user_show_and_token_show_tell_what_is_known_and_no_key() {
    let member = Person {
        entry: "objectClass: sekishoUser\nsekishoContract: C-7\nsekishoRole: master\n".into(),
        ..person("alice", &[(6, 30)])
    };
    let world = WorldBuilder::of(vec![member, person("bob", &[(8, 60)])]).at_minute_begin().open();
    let token = world.token("alice", 0);
    assert!(world.gateway.login("alice", &token.field(0)).is_accept());
    let _ = world.gateway.login("alice", &format!("{PASSWORD}{}", token.wrong_code()));
    let shown = world.done(&["user", "show", "alice", "--json"], "");
    assert!(!shown.contains(&token.secret_hex));
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    for (name, value) in [("user", "alice"), ("contract", "C-7"), ("role", "master"), ("lock", "open")] {
        assert_eq!(shown[name], value, "{name}");
    }
    assert_eq!(shown["failures"], 1);
    let shown: serde_json::Value =
        serde_json::from_str(&world.done(&["token", "show", "SN-alice-0", "--json"], "")).unwrap();
    for (name, value) in [
        ("serial", "SN-alice-0"),
        ("user", "alice"),
        ("contract", "C-7"),
        ("state", "active"),
        ("kind", "totp"),
        ("algorithm", "sha1"),
    ] {
        assert_eq!(shown[name], value, "{name}");
    }
    assert_eq!((shown["digits"].as_u64(), shown["period"].as_u64()), (Some(6), Some(30)));
    assert!(shown["last_step"].as_u64().is_some_and(|step| step > 50_000_000));
    for arguments in [&["user", "show", "mallory"][..], &["token", "show", "SN-none"], &["user", "show", ""]]
    {
        let output = world.command(arguments, "");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", text(&output));
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn s_18_locks_are_released_by_those_who_may() {
    let member = |name: &str, contract: &str, role: &str| Person {
        entry: format!("objectClass: sekishoUser\nsekishoContract: {contract}\nsekishoRole: {role}\n"),
        ..person(name, &[(6, 30)])
    };
    let world = WorldBuilder::of(vec![
        member("master", "C-1", "master"),
        member("admin", "C-1", "admin"),
        member("general", "C-1", "general"),
        member("locked", "C-1", "general"),
        member("other", "C-2", "admin"),
    ])
    .at_minute_begin()
    .open();
    let lock = |name: &str| {
        for code in world.token(name, 0).wrong_codes(5) {
            let _ = world.gateway.login(name, &format!("{PASSWORD}{code}"));
        }
        assert!(world.done(&["user", "show", name], "").contains("until-released"), "{name}");
    };
    let release = |name: &str, by: &str, password: &str| {
        world.command(&["user", "release", name, "--by", by], &format!("{password}\n")).status.code()
    };
    lock("locked");
    assert_eq!(release("locked", "general", PASSWORD), Some(77), "a general user may not");
    assert_eq!(release("locked", "other", PASSWORD), Some(77), "nor an admin of another contract");
    assert_eq!(release("locked", "locked", PASSWORD), Some(77), "nor the user");
    assert_eq!(
        release("locked", "master", "wrong"),
        Some(77),
        "nor a master with a wrong confirmation password"
    );
    assert_eq!(release("locked", "master", ""), Some(77), "nor without one");
    assert_eq!(release("locked", "mallory", PASSWORD), Some(77), "nor somebody nobody knows");
    assert_eq!(world.gateway.login("locked", &world.token("locked", 0).field(0)).code(), code::ACCESS_REJECT);
    assert_eq!(release("locked", "master", PASSWORD), Some(0));
    assert!(world.gateway.login("locked", &world.token("locked", 0).field(0)).is_accept());
    assert_eq!(release("locked", "master", PASSWORD), Some(1), "nothing to release");
    lock("master");
    assert_eq!(release("master", "admin", PASSWORD), Some(0), "a locked master is released by an admin");
    lock("admin");
    assert_eq!(release("admin", "counter", ""), Some(0), "and anybody by the counter");
    let done = |record: &serde_json::Value| record["event"] == "release" && record["outcome"] == "done";
    let records: Vec<_> = world.audit().into_iter().filter(done).collect();
    let actors: Vec<_> = records.iter().map(|record| record["actor"].as_str().unwrap().to_owned()).collect();
    assert_eq!(actors, ["master", "admin", "counter"], "every release is evidence");
}

#[test]
fn probe_is_a_gateway_in_one_command() {
    let service = WorldBuilder::default().service
        + "second-step = \"when-missing\"\n[[service.test.operation]]\nname = \"login\"\nmatch = { NAS-Port-Id = \"login\" }\ncode = \"never\"\n";
    let world = WorldBuilder { service, ..WorldBuilder::default() }.at_minute_begin().open();
    let secret = world.directory.path().join("gateway.secret");
    let server = world.daemon.radius[0].to_string();
    let probe = |more: &[&str], input: &str| {
        let base = [
            "probe",
            "--server",
            &server,
            "--secret-file",
            secret.to_str().unwrap(),
            "--timeout",
            "1s",
            "--retries",
            "0",
        ];
        daemon::run(&[&base, more].concat(), input)
    };
    let alice = world.token("alice", 0);
    let output = probe(&["--user", "alice"], &format!("{}\n", alice.field(0)));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).contains("Access-Accept"));
    let output = probe(&["--user", "alice", "--operation", "login", "--json"], &format!("{PASSWORD}\n"));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["reply"], "Access-Accept");
    assert!(answer["time_us"].as_u64().is_some());
    let output = probe(&["--user", "bob"], &format!("{PASSWORD}\n"));
    assert_eq!(output.status.code(), Some(2), "a challenge left open: {}", text(&output));
    let output = probe(&["--user", "bob"], &format!("{PASSWORD}\n{}\n", world.token("bob", 0).code(0)));
    assert_eq!(output.status.code(), Some(0), "followed: {}", text(&output));
    let output = probe(&["--user", "bob"], &format!("{PASSWORD}\n12345678\n"));
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let wrong = daemon::write(world.directory.path(), "wrong.secret", "another-secret-of-32-octets-here");
    let output = daemon::run(
        &[
            "probe",
            "--server",
            &server,
            "--secret-file",
            wrong.to_str().unwrap(),
            "--user",
            "bob",
            "--timeout",
            "300ms",
            "--retries",
            "0",
        ],
        "x123456\n",
    );
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    assert_eq!(probe(&["--user", "bob"], "").status.code(), Some(64), "no password at all");
}

/// What systemd would hear.
fn heard(systemd: &UnixDatagram) -> Vec<String> {
    let mut lines = Vec::new();
    let mut room = [0; 4096];
    while let Ok(length) = systemd.recv(&mut room) {
        lines.extend(String::from_utf8_lossy(&room[..length]).lines().map(str::to_owned));
    }
    lines
}

fn listen_as_systemd(path: &Path) -> UnixDatagram {
    let systemd = UnixDatagram::bind(path).unwrap();
    systemd.set_nonblocking(true).unwrap();
    systemd
}

#[test]
fn sec_20_systemd_hears_ready_only_when_it_is_and_then_the_watchdog() {
    let mut world =
        WorldBuilder { ldap: "timeout = \"300ms\"\n".into(), ..WorldBuilder::default() }.prepare();
    let path = world.directory.path().join("notify");
    let systemd = listen_as_systemd(&path);
    world.slapd.stop();
    let mut daemon = Daemon::launch(
        &world.config,
        &[("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "400000")],
    );
    wait_for("the directory to be missed", || (!daemon.events("directory-down").is_empty()).then_some(()));
    assert!(!heard(&systemd).contains(&"READY=1".to_owned()), "not before the first complete map");
    world.slapd.run();
    let mut waiting = std::collections::VecDeque::new();
    let mut until = |what: &str| {
        wait_for(what, || {
            waiting.extend(heard(&systemd));
            std::iter::from_fn(|| waiting.pop_front()).find(|line| line.starts_with(what))
        })
    };
    until("READY=1");
    until("WATCHDOG=1");
    until("WATCHDOG=1");
    daemon.signal("HUP");
    until("RELOADING=1");
    until("READY=1");
    daemon.signal("TERM");
    until("STOPPING=1");
    assert_eq!(daemon.ended(), Some(0));
}

#[test]
fn a_daemon_killed_while_it_writes_starts_again() {
    let mut world = WorldBuilder::default().at_minute_begin().open();
    for round in 0..5 {
        for n in 0..50 {
            world.gateway.send(&world.gateway.request(&format!("nobody{n}"), b"x123456"));
        }
        world.restart(Daemon::kill);
        assert!(world.gateway.login("nobody", "x123456").is_reject(), "round {round}");
    }
    let log = world.directory.path().join("audit.jsonl");
    let output = daemon::run(&["audit", "verify", log.to_str().unwrap()], "");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
}

#[test]
fn demo_shows_a_line_to_paste_that_is_accepted_once() {
    let ahead = 61 - unix_now() % 60;
    let mut demo = std::process::Command::new(daemon::binary())
        .arg("demo")
        .envs(Clock::constantly_ahead(ahead))
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines().map_while(Result::ok);
    let folder =
        lines.find_map(|line| line.strip_prefix("files in ")?.split(' ').next().map(str::to_owned)).unwrap();
    let pasted = lines.find(|line| line.trim_start().starts_with("echo 'User-Name")).unwrap();
    for reply in ["Received Access-Accept", "Received Access-Reject"] {
        let output = std::process::Command::new("sh").args(["-c", &pasted]).output().unwrap();
        assert!(text(&output).contains(reply), "{pasted}: {}", text(&output));
    }
    let interrupt = std::process::Command::new("kill").args(["-INT", &demo.id().to_string()]).status();
    assert!(interrupt.unwrap().success());
    assert_eq!(demo.wait().unwrap().code(), Some(0));
    assert!(!Path::new(&folder).exists(), "nothing is left behind");
}
