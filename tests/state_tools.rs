//! `sekisho state …`: what an administrator can look at, copy, bring back and make usable again, and what that costs.

use crate::harness::{Clock, Daemon, World, WorldBuilder, at_step_begin};
use std::path::{Path, PathBuf};
use std::process::Output;

/// A code of a step that begins this many seconds from now is no code of a step before now plus its window, wherever a
/// clock that was learned to be ahead had moved it: ten steps of a minute, and three more.
const LATER: i64 = 780;

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned()
}

fn state(world: &World) -> PathBuf {
    world.directory.path().join("state")
}

/// What is in a folder, octet for octet.
fn content(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<_> = files
        .filter(|path| path.file_name().unwrap() != "lock")
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    all.sort();
    all
}

/// The file of the journal that holds the most.
fn journal(world: &World) -> PathBuf {
    let written = |path: &PathBuf| std::fs::read(path).unwrap().iter().filter(|octet| **octet != 0).count();
    let files = content(&state(world)).into_iter().map(|(path, _)| path);
    let journals = files.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("journal-"));
    journals.max_by_key(written).unwrap()
}

fn change(path: &Path, how: impl FnOnce(&mut Vec<u8>)) {
    let mut octets = std::fs::read(path).unwrap();
    how(&mut octets);
    std::fs::write(path, octets).unwrap();
}

/// In the middle of what was written: not the end of an interrupted write.
fn damage(world: &World) {
    change(&journal(world), |octets| {
        let written = octets.iter().rposition(|&octet| octet != 0).unwrap();
        octets[written / 3] ^= 0xff;
    });
}

/// A daemon that does not start: its exit code and everything it says.
fn refused(world: &World) -> (Option<i32>, String) {
    let mut daemon = Daemon::launch(&world.config, &[]);
    let status = daemon.ended();
    (status, daemon.log())
}

fn end(world: &mut World) {
    std::mem::replace(&mut world.daemon, Daemon::nothing()).kill();
}

#[test]
fn state_is_verified_shown_and_copied_while_the_daemon_answers() {
    let world = World::open();
    at_step_begin(30, 12);
    assert!(world.gateway.login("alice", &world.token("alice", 0).field(0)).is_accept());
    let copy = world.directory.path().join("copy");
    std::thread::scope(|scope| {
        let busy = scope.spawn(|| {
            for n in 0..200 {
                world.gateway.login("nobody", &format!("password{n:06}"));
            }
        });
        while !busy.is_finished() {
            assert!(world.done(&["state", "verify"], "").contains("marks"));
            assert!(world.done(&["state", "dump"], "").contains("token "));
            let _ = std::fs::remove_dir_all(&copy);
            world.done(&["state", "backup", "--to", copy.to_str().unwrap()], "");
        }
    });
    let verified =
        crate::harness::daemon::run(&["state", "verify", "--directory", copy.to_str().unwrap()], "");
    assert_eq!(verified.status.code(), Some(0), "{}", text(&verified));
    // What would change it is for a daemon that does not run.
    let from = ["state", "restore", "--from", copy.to_str().unwrap()];
    for arguments in [from.as_slice(), &["state", "recover", "--mode", "drop-damaged"]] {
        let output = world.command(arguments, "");
        assert!(!output.status.success() && text(&output).contains("in use"), "{}", text(&output));
    }
    assert!(world.gateway.login("bob", &world.token("bob", 0).field(0)).is_accept(), "nothing was disturbed");
}

#[test]
fn what_a_backup_cannot_know_is_refused_until_its_time_is_over() {
    let clock = Clock::right();
    let mut world = WorldBuilder { environment: clock.environment(), ..WorldBuilder::default() }.open();
    at_step_begin(60, 20);
    assert!(world.gateway.login("alice", &world.token("alice", 0).field(0)).is_accept());
    let copy = world.directory.path().join("copy");
    world.done(&["state", "backup", "--to", copy.to_str().unwrap()], "");
    assert!(world.gateway.login("bob", &world.token("bob", 0).field(0)).is_accept(), "after the backup");
    end(&mut world);
    std::fs::remove_dir_all(state(&world)).unwrap();
    let said = world.done(&["state", "restore", "--from", copy.to_str().unwrap()], "");
    assert!(said.contains("are refused, for everybody"), "{said}");
    world.restart(drop);
    for user in ["alice", "bob"] {
        for offset in [0, 30, 300] {
            let field = world.token(user, 0).field(offset);
            assert!(world.gateway.login(user, &field).is_reject(), "{user}, {offset} s from now");
        }
    }
    clock.ahead(LATER);
    world.restart(Daemon::kill);
    for user in ["alice", "bob"] {
        assert!(world.gateway.login(user, &world.token(user, 0).field(LATER)).is_accept(), "{user}, later");
    }
}

#[test]
fn both_ways_to_recover_say_what_they_give_up_and_refuse_what_they_cannot_know() {
    for mode in ["drop-damaged", "start-empty"] {
        let clock = Clock::right();
        let mut world = WorldBuilder { environment: clock.environment(), ..WorldBuilder::default() }.open();
        at_step_begin(60, 20);
        for user in ["alice", "bob"] {
            assert!(world.gateway.login(user, &world.token(user, 0).field(0)).is_accept());
        }
        end(&mut world);
        damage(&world);
        let before = content(&state(&world));
        let (status, said) = refused(&world);
        assert_eq!(status, Some(74), "{said}");
        assert!(said.contains("is damaged") && said.contains("state recover --mode"), "{said}");
        let verified = world.command(&["state", "verify"], "");
        assert!(!verified.status.success() && text(&verified).contains("damaged"), "{}", text(&verified));
        assert_eq!(content(&state(&world)), before, "looking changes nothing");

        let said = world.done(&["state", "recover", "--mode", mode], "");
        assert!(said.contains("given up: ") && said.contains("are refused, for everybody"), "{mode}: {said}");
        let kept = content(&state(&world))
            .iter()
            .filter(|(path, _)| path.display().to_string().contains("damaged-"))
            .count();
        assert!(kept > 0, "{mode}: the old files stay");
        world.restart(drop);
        for user in ["alice", "bob"] {
            let reply = world.gateway.login(user, &world.token(user, 0).field(0));
            assert!(reply.is_reject(), "{mode}: {user} was accepted with this code before");
        }
        let counter = world.gateway.login("carol", &world.token("carol", 0).field(0));
        assert!(counter.is_reject(), "{mode}: a counter of which nothing is known");
        clock.ahead(LATER);
        world.restart(Daemon::kill);
        for user in ["alice", "bob"] {
            let reply = world.gateway.login(user, &world.token(user, 0).field(LATER));
            assert!(reply.is_accept(), "{mode}: {user}, later");
        }
    }
    let world = WorldBuilder::default().prepare();
    let output = world.command(&["state", "recover", "--mode", "somehow"], "");
    assert_eq!(output.status.code(), Some(64));
    assert!(text(&output).contains("drop-damaged or start-empty"), "{}", text(&output));
}

#[test]
fn files_of_another_version_are_refused_by_number_and_left_alone() {
    let mut world = World::open();
    at_step_begin(30, 8);
    assert!(world.gateway.login("alice", &world.token("alice", 0).field(0)).is_accept());
    end(&mut world);
    let journal = journal(&world);
    let version = std::fs::read(&journal).unwrap()[8..12].to_vec();
    for other in [0_u32, 7] {
        // Magic, then the version: an older one, and a newer one.
        change(&journal, |octets| octets[8..12].copy_from_slice(&other.to_le_bytes()));
        let before = content(&state(&world));
        let (status, said) = refused(&world);
        assert_eq!(status, Some(74), "{said}");
        assert!(
            said.contains(&format!("has format version {other}, and this sekisho reads version")),
            "{said}"
        );
        let copy = world.directory.path().join("copy");
        for arguments in [
            vec!["state", "verify"],
            vec!["state", "recover", "--mode", "drop-damaged"],
            vec!["state", "backup", "--to", copy.to_str().unwrap()],
        ] {
            let output = world.command(&arguments, "");
            assert!(!output.status.success(), "{arguments:?}: {}", text(&output));
            assert!(text(&output).contains("format version"), "{arguments:?}: {}", text(&output));
        }
        assert_eq!(content(&state(&world)), before, "nothing was changed");
    }
    change(&journal, |octets| octets[8..12].copy_from_slice(&version));
    world.restart(drop);
    assert!(world.gateway.login("alice", &world.token("alice", 0).field(0)).is_reject(), "used before");
}

#[test]
fn a_counter_of_which_a_backup_cannot_know_is_refused_and_not_exported_until_it_is_synchronised() {
    let key = "000102030405060708090a0b0c0d0e0f\n";
    let export = ["token", "export", "--format", "pskc", "--pre-shared-key", "branch"];
    let named = |serial: &str| format!("<SerialNo>{serial}</SerialNo>");
    for used_before in [false, true] {
        let mut world = World::open();
        let (token, other) = (world.token("carol", 0).clone(), world.token("alice", 0).serial.clone());
        let login = |world: &World, counter: i64| world.gateway.login("carol", &token.field(counter * 30));
        if used_before {
            assert!(login(&world, 0).is_accept());
        }
        let copy = world.directory.path().join("copy");
        world.done(&["state", "backup", "--to", copy.to_str().unwrap()], "");
        for counter in [1, 2] {
            assert!(login(&world, counter).is_accept(), "after the backup");
        }
        assert!(world.done(&export, key).contains(&named(&token.serial)));
        end(&mut world);
        std::fs::remove_dir_all(state(&world)).unwrap();
        let said = world.done(&["state", "restore", "--from", copy.to_str().unwrap()], "");
        assert!(said.contains("every code of a counter token until `sekisho token resync`"), "{said}");
        world.restart(drop);
        for counter in [1, 2, 3] {
            assert!(login(&world, counter).is_reject(), "{counter}, used before: {used_before}");
        }
        // Over another start and a snapshot of what is doubted.
        world.restart(Daemon::kill);
        assert!(login(&world, 2).is_reject());

        let output = world.command(&export, key);
        let (written, said) = (text(&output), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(written.contains(&named(&other)) && !written.contains(&named(&token.serial)), "{written}");
        assert!(said.contains(&format!("`sekisho token resync {}` with two codes", token.serial)), "{said}");
        let codes = format!("{}\n{}\n", token.code(5 * 30), token.code(6 * 30));
        world.done(&["token", "resync", &token.serial], &codes);
        let written = world.done(&export, key);
        assert!(written.contains(&named(&token.serial)), "{written}");
        assert!(written.contains("<Counter><PlainValue>7</PlainValue></Counter>"), "{written}");
        assert!(login(&world, 6).is_reject() && login(&world, 7).is_accept(), "it is known again");
        world.restart(Daemon::kill);
        assert!(login(&world, 7).is_reject() && login(&world, 8).is_accept(), "and stays so");
    }
}
