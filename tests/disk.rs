//! A disk that is full: nothing is answered that is not on it, and service goes on by itself when there is room again.

use crate::harness::{PASSWORD, World, WorldBuilder, wait_for};
use std::time::Duration;

/// Asks, and gives whether a reply came soon.
fn answered(world: &World, user: &str, field: &str) -> bool {
    let gateway = world.second_gateway();
    let request = gateway.request(user, field.as_bytes());
    gateway.send(&request);
    gateway.receive_within(&request, Duration::from_millis(300)).is_some()
}

#[test]
fn a_full_disk_is_silence_and_not_the_end() {
    let mut world = WorldBuilder::default().at_minute_begin().open();
    assert!(world.gateway.login("bob", &world.token("bob", 0).field(0)).is_accept());
    let field = world.token("alice", 0).field(0);

    world.daemon.limit_files("100");
    assert!(!answered(&world, "alice", &field), "what is not on disk is not answered");
    world.daemon.wait_for_reason("disk-failed", 1.0);
    assert!(!answered(&world, "nobody", &format!("{PASSWORD}123456")), "nor a reject without its evidence");
    let (ready, why) = world.daemon.get("/readyz");
    assert_eq!(ready, 503);
    assert!(why.contains("journal"), "{why}");
    assert_eq!(world.daemon.get("/healthz").0, 200);
    assert!(!world.command(&["status"], "").stdout.is_empty());

    world.daemon.limit_files("unlimited");
    wait_for("the disk to be believed again", || (world.daemon.get("/readyz").0 == 200).then_some(()));
    assert!(world.gateway.login("alice", &field).is_accept(), "nobody was answered, so the code is good");
    assert!(world.gateway.login("alice", &field).is_reject());
    // And everything that was answered is there after a crash.
    world.restart(crate::harness::Daemon::kill);
    for user in ["alice", "bob"] {
        assert!(world.gateway.login(user, &world.token(user, 0).field(0)).is_reject(), "{user}");
        assert_eq!(world.last_reason(user), "code-used");
    }
}

#[test]
fn sec_13_an_audit_log_without_room_stops_service_or_raises_the_alarm() {
    for (on_failure, goes_on) in [("stop", false), ("alarm", true)] {
        let audit = format!("file = \"audit.jsonl\"\non-failure = \"{on_failure}\"\n");
        let world = WorldBuilder { audit, ..WorldBuilder::default() }.at_minute_begin().open();
        for _ in 0..200 {
            assert!(world.gateway.login("nobody", &format!("{PASSWORD}123456")).is_reject());
        }
        let log = world.directory.path().join("audit.jsonl");
        let size = std::fs::metadata(&log).unwrap().len();
        // The journal holds the same evidence and fewer octets.
        world.daemon.limit_files(&size.to_string());
        assert_eq!(answered(&world, "alice", &world.token("alice", 0).field(0)), goes_on, "{on_failure}");
        let (ready, why) = world.daemon.get("/readyz");
        assert_eq!(ready, 503, "{on_failure}");
        assert!(why.contains("audit"), "{on_failure}: {why}");
        world.daemon.limit_files("unlimited");
        wait_for("service", || answered(&world, "bob", &world.token("bob", 0).field(0)).then_some(()));
        wait_for("readiness", || (world.daemon.get("/readyz").0 == 200).then_some(()));
        let records = world.audit();
        assert!(records.iter().any(|record| record["user"] == "alice"), "{on_failure}: no evidence is lost");
        let output = crate::harness::daemon::run(&["audit", "verify", log.to_str().unwrap()], "");
        assert_eq!(output.status.code(), Some(0), "{on_failure}: {output:?}");
    }
}
