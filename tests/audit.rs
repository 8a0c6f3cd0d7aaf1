//! The audit log: one record for every decision, chained, one event a line; and secrets that appear nowhere.

use crate::harness::gateway::Signed;
use crate::harness::{
    Daemon, PASSWORD, Person, SECRET, Seed, World, WorldBuilder, code, daemon, holder, person, slapd,
    wait_for,
};
use std::path::{Path, PathBuf};

fn log_file(world: &World) -> PathBuf {
    world.directory.path().join("audit.jsonl")
}

fn verify(file: &Path) -> (Option<i32>, String) {
    let output = daemon::run(&["audit", "verify", file.to_str().unwrap()], "");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn sec_12_every_decision_leaves_one_record() {
    let with_contract = Person {
        entry: "objectClass: sekishoUser\nsekishoContract: C-100\n".into(),
        ..person("alice", &[(6, 30)])
    };
    let world = WorldBuilder::of(vec![with_contract, person("dave", &[])]).at_minute_begin().open();
    let alice = world.token("alice", 0);
    let wrong = alice.wrong_code();
    let story = [
        ("alice", format!("{PASSWORD}{wrong}"), "reject", "code-wrong"),
        ("alice", alice.field(0), "accept", "code-accepted"),
        ("alice", alice.field(0), "reject", "code-used"),
        ("alice", format!("wrong{}", alice.code(30)), "reject", "password-wrong"),
        ("dave", format!("{PASSWORD}123456"), "reject", "no-token"),
        ("nobody", format!("{PASSWORD}123456"), "reject", "user-unknown"),
    ];
    for (n, (user, field, outcome, reason)) in story.iter().enumerate() {
        let reply = world.login_from("198.51.100.7", user, field);
        assert_eq!(reply.is_accept(), *outcome == "accept");
        let records = world.audit();
        assert_eq!(records.len(), n + 1, "one record, written before the answer left");
        let record = records.last().unwrap();
        for (name, value) in [
            ("event", "authentication"),
            ("outcome", outcome),
            ("reason", reason),
            ("user", user),
            ("client", "gateway"),
            ("service", "test"),
            ("operation", "other"),
            ("calling_station", "198.51.100.7"),
        ] {
            assert_eq!(record[name], *value, "{name} in {record}");
        }
        let time = record["time"].as_str().unwrap();
        assert!(time.ends_with('Z') && time.len() >= 20, "UTC: {time}");
        assert!(record["source"].as_str().unwrap().starts_with("127.0.0.1"), "{record}");
        assert!(record["duration_us"].as_u64().is_some(), "{record}");
        assert_eq!(record["prev"].as_str().map(str::len), Some(64), "{record}");
        if *user == "alice" {
            assert_eq!(record["contract"], "C-100");
            assert_eq!(record["entry"].as_str().map(str::len), Some(36), "the entry's identity");
        }
    }
    let records = world.audit();
    assert_eq!(records[1]["token"], "SN-alice-0");
    assert_eq!(records[1]["step_offset"], 0);
    assert_eq!(records[3]["token"], "SN-alice-0");
    assert_eq!(records[3]["step_offset"], 1);
}

#[test]
fn sec_02_hostile_names_stay_on_their_line() {
    let world = World::open();
    let hostile: [&[u8]; 8] = [
        b"a\r\n{\"event\":\"forged\"}",
        b"line\nfeed",
        b"\x1b[2J\x1b[31mred",
        b"nul\0inside",
        b"\xff\xfe\x80",
        "right\u{202e}to\u{2066}left\u{200f}".as_bytes(),
        b"quote\",\"outcome\":\"accept",
        b"back\\slash",
    ];
    for name in hostile {
        let attributes = [(1, name.to_vec()), (31, name.to_vec()), (32, name.to_vec())];
        let request = world.gateway.build(code::ACCESS_REQUEST, &attributes, Some(b"x123456"), Signed::First);
        assert!(world.gateway.ask(&request).is_reject());
    }
    let text = std::fs::read_to_string(log_file(&world)).unwrap();
    assert_eq!(text.lines().count(), hostile.len(), "one event, one line");
    for (line, name) in text.lines().zip(hostile) {
        assert!(line.bytes().all(|octet| octet >= 0x20), "{line}");
        assert!(!line.contains('\u{202e}') && !line.contains('\u{200f}'), "{line}");
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(
            (record["event"].as_str(), record["outcome"].as_str()),
            (Some("authentication"), Some("reject")),
            "{name:?}"
        );
    }
    for line in world.daemon.log().lines() {
        assert!(line.bytes().all(|octet| octet >= 0x20), "{line:?}");
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
    }
    assert_eq!(verify(&log_file(&world)).0, Some(0));
}

#[test]
fn the_chain_holds_over_restarts_and_crashes() {
    let mut world = World::open();
    for end in [Daemon::kill as fn(Daemon), Daemon::stop, Daemon::kill] {
        for _ in 0..5 {
            let _ = world.gateway.login("nobody", "x123456");
        }
        world.restart(end);
    }
    let _ = world.gateway.login("nobody", "x123456");
    let (status, text) = verify(&log_file(&world));
    assert_eq!(status, Some(0), "{text}");
    assert_eq!(world.audit().iter().filter(|record| record["event"] == "authentication").count(), 16);
}

#[test]
fn evidence_that_a_crash_has_torn_off_is_written_again_from_the_journal() {
    let mut world = World::open();
    for _ in 0..5 {
        let _ = world.gateway.login("nobody", "x123456");
    }
    // The machine went down before the audit file was on disk: its last lines are gone, one is torn.
    let whole = std::fs::read(log_file(&world)).unwrap();
    let file = log_file(&world);
    world.restart(|daemon| {
        daemon.kill();
        std::fs::write(&file, &whole[..whole.len() - 700]).unwrap();
    });
    let now = std::fs::read(log_file(&world)).unwrap();
    assert!(now.starts_with(&whole), "the same evidence is there again");
    assert_eq!(verify(&log_file(&world)).0, Some(0));
}

#[test]
fn tampering_is_found_and_its_place_named() {
    let world = World::open();
    for n in 0..6 {
        let _ = world.gateway.login(&format!("nobody{n}"), "x123456");
    }
    let whole = std::fs::read_to_string(log_file(&world)).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let join = |lines: &[&str]| lines.join("\n") + "\n";
    let folder = tempfile::tempdir().unwrap();
    let verdict = |text: &str| {
        let file = folder.path().join("audit.jsonl");
        std::fs::write(&file, text).unwrap();
        verify(&file)
    };
    assert_eq!(verdict(&whole).0, Some(0));
    let altered = lines[2].replace("nobody2", "nobody9");
    let accepted = lines[2].replace("\"reject\"", "\"accept\"");
    for (what, text, place) in [
        ("a changed user", join(&[lines[0], lines[1], &altered, lines[3], lines[4]]), "4"),
        ("a changed outcome", join(&[lines[0], lines[1], &accepted, lines[3], lines[4]]), "4"),
        ("a removed line", join(&[lines[0], lines[1], lines[3], lines[4]]), "3"),
        ("swapped lines", join(&[lines[0], lines[2], lines[1], lines[3]]), "2"),
        ("a repeated line", join(&[lines[0], lines[1], lines[1], lines[2]]), "3"),
        ("an inserted line", join(&[lines[0], lines[1], "{\"event\":\"x\"}", lines[2]]), "3"),
        ("half a line", join(&[lines[0], &lines[1][..40], lines[2]]), "2"),
    ] {
        let (status, said) = verdict(&text);
        assert_eq!(status, Some(1), "{what}: {said}");
        assert!(said.contains(place), "{what}: it says where: {said}");
    }
}

/// Marks that occur nowhere else: passwords, keys, shared secrets.
const MARKED_PASSWORD: &str = "Canary-Passw0rd-7f3a";
const MARKED_SERVICE: &str = "Canary-Service-9c1e";
const MARKED_SECRET: &str = "Canary-Shared-Secret-5b8d-0123456789";
const MARKED_KEY: &[u8] = b"CanaryTokenKey-4e2f!";

/// Every form in which a marked value could be written.
fn forms(value: &[u8]) -> Vec<Vec<u8>> {
    let hex: String = value.iter().map(|octet| format!("{octet:02x}")).collect();
    let decimal =
        |separator: &str| value.iter().map(u8::to_string).collect::<Vec<_>>().join(separator).into_bytes();
    let base64 = slapd::base64(value);
    vec![
        value.to_vec(),
        hex.to_uppercase().into_bytes(),
        hex.into_bytes(),
        base64.trim_end_matches('=').as_bytes()[..base64.len() / 4 * 4 - 4].to_vec(),
        decimal(","),
        decimal(", "),
    ]
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|window| window == wanted)
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map_while(Result::ok) {
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => found.extend(files(&entry.path())),
            kind if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found
}

#[test]
fn sec_01_sec_07_marked_secrets_appear_nowhere() {
    let hex: String = MARKED_KEY.iter().map(|octet| format!("{octet:02x}")).collect();
    let marked = Person {
        password: MARKED_PASSWORD.into(),
        ..holder("canary", vec![Seed::new("SN-canary", &hex, 6, 30)])
    };
    let builder = WorldBuilder {
        service: WorldBuilder::default().service + "second-step = \"when-missing\"\n",
        more: "[log]\nlevel = \"trace\"\n".into(),
        ..WorldBuilder::of(vec![marked, person("bob", &[(8, 60)])])
    }
    .at_minute_begin();
    let mut world = builder.prepare();
    world.slapd.change(&format!(
        "dn: {}\nchangetype: modify\nreplace: userPassword\nuserPassword: {MARKED_SERVICE}\n",
        slapd::SERVICE_DN
    ));
    daemon::write(world.directory.path(), "ldap.password", MARKED_SERVICE);
    daemon::write(world.directory.path(), "gateway.secret", MARKED_SECRET);
    world.restart(drop);
    let gateway = crate::harness::Gateway::new(world.daemon.radius[0], MARKED_SECRET);
    let token = world.token("canary", 0).clone();
    let (code, next, wrong) = (token.code(0), token.code(30), token.wrong_code());

    // Every kind of ending: right, replayed, wrong password, wrong code, dialogue, wrong secret, wrong method, garbage.
    assert!(gateway.login("canary", &format!("{MARKED_PASSWORD}{code}")).is_accept());
    for field in [
        format!("{MARKED_PASSWORD}{code}"),
        format!("{MARKED_PASSWORD}x{next}"),
        format!("{MARKED_PASSWORD}{wrong}"),
        MARKED_PASSWORD.to_owned(),
        code.clone(),
    ] {
        let reply = gateway.login("canary", &field);
        if reply.is_challenge() {
            let attributes = [(1, b"canary".to_vec()), (24, reply.state())];
            for answer in [&wrong, &next] {
                gateway.ask(&gateway.build(
                    code::ACCESS_REQUEST,
                    &attributes,
                    Some(answer.as_bytes()),
                    Signed::First,
                ));
            }
        }
    }
    let stranger = crate::harness::Gateway::new(world.daemon.radius[0], SECRET);
    stranger.expect_silence(&stranger.request("canary", format!("{MARKED_PASSWORD}{code}").as_bytes()));
    let chap = [(1, b"canary".to_vec()), (3, vec![7; 17])];
    gateway.ask(&gateway.build(code::ACCESS_REQUEST, &chap, None, Signed::First));
    gateway.expect_silence_to(MARKED_PASSWORD.as_bytes());
    // The directory breaks in the middle, and an operator looks at everything.
    world.slapd.stop();
    gateway.send(
        &gateway.request("bob", format!("{MARKED_PASSWORD}{}", world.token("bob", 0).code(0)).as_bytes()),
    );
    world.slapd.run();
    world.daemon.signal("HUP");
    wait_for("the reload", || (!world.daemon.events("reloaded").is_empty()).then_some(()));
    let mut shown = String::new();
    for arguments in [
        &["status"][..],
        &["user", "show", "canary"],
        &["token", "show", "SN-canary"],
        &["config"],
        &["check"],
        &["status", "--json"],
    ] {
        let output = world.command(arguments, "");
        shown += &String::from_utf8_lossy(&[output.stdout, output.stderr].concat());
    }

    // Somebody who hangs up in the middle of a question is told of at the level `debug`.
    drop(std::os::unix::net::UnixStream::connect(world.directory.path().join("admin.sock")).unwrap());
    wait_for("the most talkative log", || {
        (!world.daemon.events("admin-connection").is_empty()).then_some(())
    });

    let mut places: Vec<(String, Vec<u8>)> = vec![
        ("the log".into(), world.daemon.log().into_bytes()),
        ("the metrics".into(), world.daemon.get("/metrics").1.into_bytes()),
        ("the commands".into(), shown.into_bytes()),
    ];
    for file in ["cmdline", "environ"] {
        let path = format!("/proc/{}/{file}", world.daemon.pid());
        places.push((path.clone(), std::fs::read(&path).unwrap_or_default()));
    }
    let own = ["gateway.secret", "ldap.password"];
    for file in files(world.directory.path()) {
        if !own.contains(&file.file_name().unwrap().to_str().unwrap()) {
            places.push((file.display().to_string(), std::fs::read(&file).unwrap()));
        }
    }
    assert!(places.iter().any(|(name, text)| name.ends_with("audit.jsonl") && !text.is_empty()));
    assert!(places.iter().any(|(name, text)| name.contains("/state/") && !text.is_empty()));
    for secret in
        [MARKED_PASSWORD.as_bytes(), MARKED_SERVICE.as_bytes(), MARKED_SECRET.as_bytes(), MARKED_KEY]
    {
        for form in forms(secret) {
            for (place, text) in &places {
                assert!(!contains(text, &form), "{} stands in {place}", String::from_utf8_lossy(&form));
            }
        }
    }
    // Codes are short: looked for as text only, where numbers of six digits do not stand by themselves.
    for code in [&code, &next, &wrong] {
        for (place, text) in &places {
            let text = String::from_utf8_lossy(text);
            let alone = text.match_indices(code.as_str()).any(|(at, _)| {
                let digit = |octet: Option<&u8>| octet.is_some_and(u8::is_ascii_hexdigit);
                let bytes = text.as_bytes();
                !digit(at.checked_sub(1).and_then(|before| bytes.get(before)))
                    && !digit(bytes.get(at + code.len()))
            });
            assert!(
                !alone || place.contains("/state/") || place.contains("metrics"),
                "a code stands in {place}"
            );
        }
    }
}

#[test]
fn sec_07_no_core_dump_and_no_look_into_the_process() {
    let world = World::open();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", world.daemon.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"]);
    // A process that may not be dumped belongs to root in /proc, whoever runs it.
    let status = std::fs::read_to_string(format!("/proc/{}/status", world.daemon.pid())).unwrap();
    assert!(status.contains("CoreDumping:\t0"), "{status}");
}
