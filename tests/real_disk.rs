//! A file system that is full, or has stopped taking writes: a real one, in a mount namespace of its own.

use crate::harness::{Daemon, PASSWORD, Volume, World, WorldBuilder, holder, hotp, wait_for};
use crate::harness::{Gateway, SECRET, Seed};
use std::time::Duration;

/// Counter tokens: no clock comes into it.
fn bank() -> World {
    let people = (0..8).map(|n| {
        let key = format!("{:02x}", 0x40 + n).repeat(20);
        holder(&format!("user{n}"), vec![Seed::new(&format!("SN-{n}"), &key, 8, 0)])
    });
    let service =
        "[service.test]\ndigits = 8\nreject-delay = \"0s\"\npassword = \"none\"\nmax-failures = 10\n".into();
    WorldBuilder { service, ..WorldBuilder::of(people.collect()) }.prepare()
}

/// Starts the daemon where it sees the volume; everything else that it writes is elsewhere.
fn start(world: &mut World, volume: &Volume) {
    world.daemon = Daemon::start_as(volume.daemon(), &world.config);
    world.gateway = Gateway::new(world.daemon.radius[0], SECRET);
}

fn field(world: &World, user: usize, counter: u64) -> String {
    let secret = &world.token(&format!("user{user}"), 0).secret_hex;
    format!("{PASSWORD}{}", hotp(secret, 8, counter))
}

fn accepts(world: &World, user: usize, counter: u64) -> bool {
    world.gateway.login(&format!("user{user}"), &field(world, user, counter)).is_accept()
}

/// Nobody is answered, the reason is counted, and the node says that it is not ready.
fn is_silent(world: &World, user: usize, counter: u64) {
    let before = world.daemon.reason("disk-failed");
    let request = world.gateway.request(&format!("user{user}"), field(world, user, counter).as_bytes());
    world.gateway.expect_silence(&request);
    world.daemon.wait_for_reason("disk-failed", before + 1.0);
    wait_for("not ready", || (world.daemon.get("/readyz").0 == 503).then_some(()));
    assert!(world.daemon.get("/readyz").1.contains("journal"));
}

fn is_ready_again(world: &World) {
    wait_for("ready without a restart", || (world.daemon.get("/readyz").0 == 200).then_some(()));
}

fn kill(world: &mut World) {
    std::mem::replace(&mut world.daemon, Daemon::nothing()).kill();
}

#[test]
fn otp_25_a_full_file_system_is_silence_until_there_is_room() {
    let mut world = bank();
    let Some(volume) = Volume::mount(&world.directory.path().join("state"), 48) else { return };
    start(&mut world, &volume);
    assert!(accepts(&world, 0, 0));
    volume.fill();
    // Until what the file system had given to the file is used up.
    let mut counters = 1..;
    let full = std::iter::from_fn(|| counters.next()).take(2000).any(|counter| {
        let request = world.gateway.request("user1", field(&world, 1, counter).as_bytes());
        world.gateway.send(&request);
        world.gateway.receive_within(&request, Duration::from_millis(500)).is_none()
    });
    assert!(full, "ENOSPC has come");
    is_silent(&world, 2, 0);
    let why = world.daemon.get("/readyz").1;
    assert!(why.contains("No space left on device"), "{why}");
    volume.make_room();
    is_ready_again(&world);
    assert!(!accepts(&world, 0, 0), "used before");
    assert!(accepts(&world, 2, 0), "nobody was answered, so the code is good");
    kill(&mut world);
    start(&mut world, &volume);
    assert!(!accepts(&world, 0, 0) && !accepts(&world, 2, 0), "after a kill");
    assert!(accepts(&world, 0, 1));
    std::mem::replace(&mut world.daemon, Daemon::nothing()).stop();
}

#[test]
fn otp_25_a_file_system_that_has_become_read_only_is_silence_until_another_takes_its_place() {
    let mut world = bank();
    let Some(volume) = Volume::mount(&world.directory.path().join("state"), 48) else { return };
    start(&mut world, &volume);
    assert!(accepts(&world, 0, 0));
    volume.find_error();
    is_silent(&world, 2, 0);
    is_silent(&world, 2, 0);

    // Repaired with the daemon down: what was answered is there.
    kill(&mut world);
    let mut daemon = Daemon::spawn(volume.daemon(), &world.config);
    assert!(!daemon.becomes_ready(), "a start needs to write");
    assert_eq!(daemon.ended(), Some(74), "{}", daemon.log());
    assert!(daemon.log().contains("Read-only file system") || daemon.log().contains("Input/output error"));
    volume.repair();
    start(&mut world, &volume);
    assert!(!accepts(&world, 0, 0), "used before");
    assert!(accepts(&world, 2, 0), "nobody was answered, so the code is good");

    // Replaced while the daemon runs: it writes down anew what it knows.
    volume.find_error();
    is_silent(&world, 4, 0);
    volume.replace();
    is_ready_again(&world);
    assert!(!accepts(&world, 0, 0) && !accepts(&world, 2, 0), "used before");
    assert!(accepts(&world, 4, 0));
    kill(&mut world);
    start(&mut world, &volume);
    for user in [0, 2, 4] {
        assert!(!accepts(&world, user, 0), "user{user}, from the new file system");
    }
    assert!(accepts(&world, 4, 1));
    std::mem::replace(&mut world.daemon, Daemon::nothing()).stop();
}
