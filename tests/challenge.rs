//! The login in two steps: the password first, then the code, tied together by State and by nothing else.

use crate::harness::gateway::{Gateway, Reply, Request, Signed, code, kind};
use crate::harness::world::{PASSWORD, SECRET, person};
use crate::harness::{Daemon, WorldBuilder, at_step_begin, hotp, wait_for, wait_for_long};
use std::collections::HashSet;
use std::time::Duration;

const SERVICE: &str = r#"
    [service.test]
    digits = 6
    period = "30s"
    reject-delay = "0s"
    second-step = "always"
"#;

/// A second gateway with a secret of its own.
const OTHER: &str = r#"
    [[radius.client]]
    name = "other"
    network = "127.0.0.2/32"
    secret = "second-secret-of-another-client!"
    service = "test"
"#;

const OTHER_ADDRESS: &str = "127.0.0.2";
const OTHER_SECRET: &str = "second-secret-of-another-client!";

/// A bank whose logins take two steps, with further keys in its service profile.
fn bank(more: &str) -> WorldBuilder {
    WorldBuilder { service: format!("{SERVICE}{more}\n"), clients: OTHER.into(), ..WorldBuilder::default() }
}

/// The first step; gives the State.
fn begin(gateway: &Gateway, user: &str, password: &str) -> Vec<u8> {
    let challenge = gateway.login(user, password);
    assert!(challenge.is_challenge(), "{user} is challenged, and gets no {}", challenge.code());
    challenge.state()
}

#[test]
fn chl_01_12_the_password_then_the_code_with_its_state() {
    let world = bank("").open();
    at_step_begin(30, 10);
    let challenge = world.gateway.login("alice", PASSWORD);
    assert!(challenge.is_challenge());
    assert!(challenge.state().len() >= 16);
    assert_eq!(challenge.values(kind::SESSION_TIMEOUT), [60_u32.to_be_bytes().to_vec()]);
    let text = challenge.values(kind::REPLY_MESSAGE).concat();
    assert_eq!(String::from_utf8(text).unwrap(), "ワンタイムパスワードを入力してください。");
    let code = world.token("alice", 0).code(0);

    // Without the State it is a password of six digits, and leads nowhere.
    let astray = begin(&world.gateway, "alice", &code);
    let request = world.gateway.answer("alice", &code, &astray);
    world.expect_reject(&world.gateway, &request, "password-wrong");

    let code = world.token("alice", 0).code(30);
    let accept = world.gateway.ask(&world.gateway.answer("alice", &code, &challenge.state()));
    assert!(accept.is_accept());
    assert_eq!(accept.structure().1, [(kind::MESSAGE_AUTHENTICATOR, 16)], "nothing more comes with it");
}

#[test]
fn chl_01_a_code_that_is_missing_is_asked_for_and_one_that_came_is_not() {
    let service = SERVICE.replace("always", "when-missing");
    let world = WorldBuilder { service, ..WorldBuilder::default() }.open();
    at_step_begin(30, 10);
    assert!(world.gateway.login("alice", &world.token("alice", 0).field(0)).is_accept());
    let state = begin(&world.gateway, "bob", PASSWORD);
    let answer = world.gateway.answer("bob", &world.token("bob", 0).code(0), &state);
    assert!(world.gateway.ask(&answer).is_accept());
    // A code that came and was wrong looks the same as one that did not come.
    let wrong = format!("{PASSWORD}{}", world.token("carol", 1).wrong_code());
    let state = begin(&world.gateway, "carol", &wrong);
    let answer = world.gateway.answer("carol", &world.token("carol", 1).code(0), &state);
    assert!(world.gateway.ask(&answer).is_reject());
}

#[test]
fn chl_02_states_do_not_repeat_and_show_nothing() {
    let world = bank("").open();
    let states: Vec<Vec<u8>> = (0..1000).map(|_| begin(&world.gateway, "alice", PASSWORD)).collect();
    assert_eq!(states.iter().collect::<HashSet<_>>().len(), states.len());
    assert!(states.iter().all(|state| state.len() == states[0].len()));
    // No bit stands still or just follows the count: each is set in about half of them. Ten standard deviations.
    for bit in 0..states[0].len() * 8 {
        let set = states.iter().filter(|state| state[bit / 8] & (1 << (bit % 8)) != 0).count();
        assert!((342..=658).contains(&set), "bit {bit} is set in {set} of 1000");
        let same_as_before =
            states.windows(2).filter(|pair| (pair[0][bit / 8] ^ pair[1][bit / 8]) & (1 << (bit % 8)) == 0);
        let same = same_as_before.count();
        assert!((342..=658).contains(&same), "bit {bit} stays in {same} of 999");
    }
}

#[test]
fn chl_03_a_state_works_once_also_for_two_at_the_same_time() {
    const NAMES: [&str; 8] = ["u0", "u1", "u2", "u3", "u4", "u5", "u6", "u7"];
    let people = NAMES.map(|name| person(name, &[(6, 30)])).to_vec();
    let world = WorldBuilder { people, ..bank("") }.open();
    at_step_begin(30, 15);
    for (at, name) in NAMES.into_iter().enumerate() {
        let token = world.token(name, 0);
        let state = begin(&world.gateway, name, PASSWORD);
        let gateways: Vec<Gateway> = (0..4).map(|_| world.second_gateway()).collect();
        // The same code by all, or a good code by each of two: one State lets one of them in.
        let requests: Vec<Request> = gateways
            .iter()
            .enumerate()
            .map(|(nth, gateway)| {
                let offset = if at % 2 == 1 && nth % 2 == 1 { 30 } else { 0 };
                gateway.answer(name, &token.code(offset), &state)
            })
            .collect();
        for (gateway, request) in gateways.iter().zip(&requests) {
            gateway.send(request);
        }
        let replies = gateways
            .iter()
            .zip(&requests)
            .map(|(gateway, request)| gateway.receive(request).expect("an answer"));
        assert_eq!(replies.filter(Reply::is_accept).count(), 1, "{name}");
        let again = world.gateway.answer(name, &token.code(30), &state);
        world.expect_reject(&world.gateway, &again, "challenge-unknown");
    }
}

#[test]
fn chl_04_a_state_of_another_client_is_unknown() {
    let world = bank("").open();
    at_step_begin(30, 5);
    let other = world.gateway_at(OTHER_ADDRESS, OTHER_SECRET);
    let state = begin(&world.gateway, "alice", PASSWORD);
    let code = world.token("alice", 0).code(0);
    world.expect_reject(&other, &other.answer("alice", &code, &state), "challenge-unknown");
    assert!(
        world.gateway.ask(&world.gateway.answer("alice", &code, &state)).is_accept(),
        "nor is it used up"
    );
}

#[test]
fn chl_05_a_state_of_another_user_is_unknown() {
    let world = bank("").open();
    at_step_begin(30, 10);
    let (alice, bob) = (world.token("alice", 0).code(0), world.token("bob", 0).code(0));
    for code in [&alice, &bob] {
        let state = begin(&world.gateway, "alice", PASSWORD);
        world.expect_reject(&world.gateway, &world.gateway.answer("bob", code, &state), "challenge-unknown");
    }
    // Neither's code was touched.
    for (user, code) in [("alice", alice), ("bob", bob)] {
        let state = begin(&world.gateway, user, PASSWORD);
        assert!(world.gateway.ask(&world.gateway.answer(user, &code, &state)).is_accept());
    }
}

#[test]
fn chl_06_a_state_that_is_not_exactly_ours_is_unknown() {
    let world = bank("").open();
    at_step_begin(30, 10);
    let code = world.token("alice", 0).code(0);
    let state = begin(&world.gateway, "alice", PASSWORD);
    let mut wrong: Vec<Vec<u8>> = vec![
        Vec::new(),
        vec![state[0]],
        state[..state.len() - 1].to_vec(),
        state[1..].to_vec(),
        [state.as_slice(), &[0]].concat(),
        [state.as_slice(), &state].concat(),
        vec![0; state.len()],
        vec![0x5a; 253],
    ];
    wrong.extend((0..state.len()).map(|at| {
        let mut flipped = state.clone();
        flipped[at] ^= 1 << (at % 8);
        flipped
    }));
    for wrong in wrong {
        let request = world.gateway.answer("alice", &code, &wrong);
        world.expect_reject(&world.gateway, &request, "challenge-unknown");
    }
    assert!(world.gateway.ask(&world.gateway.answer("alice", &code, &state)).is_accept());
}

#[test]
fn chl_06_a_state_expires() {
    let world = bank("challenge-lifetime = \"10s\"").open();
    let challenge = world.gateway.login("alice", PASSWORD);
    assert_eq!(challenge.values(kind::SESSION_TIMEOUT), [10_u32.to_be_bytes().to_vec()]);
    wait_for_long("the challenge to be forgotten", || {
        let open = world.daemon.metric("sekisho_state_entries{table=\"challenges\"}");
        (open == 0.0).then_some(())
    });
    let code = world.token("alice", 0).code(0);
    let request = world.gateway.answer("alice", &code, &challenge.state());
    world.expect_reject(&world.gateway, &request, "challenge-unknown");
}

#[test]
fn chl_07_nobody_is_told_anything_at_the_first_step() {
    let world = bank("max-failures = 1\nwrong-password = \"burns\"").open();
    at_step_begin(30, 10);
    // carol is locked.
    let token = world.token("carol", 1);
    let state = begin(&world.gateway, "carol", PASSWORD);
    let request = world.gateway.answer("carol", &token.wrong_code(), &state);
    world.expect_reject(&world.gateway, &request, "code-wrong");

    let cases = [
        ("alice", PASSWORD, ""),
        ("alice", "wrong", "password-wrong"),
        ("alice", "", "password-empty"),
        ("nobody", PASSWORD, "user-unknown"),
        ("carol", PASSWORD, "locked"),
        ("dave", PASSWORD, "no-token"),
    ];
    let mut structures = HashSet::new();
    let mut rejects = HashSet::new();
    for (user, password, reason) in cases {
        let challenge = world.gateway.login(user, password);
        assert!(challenge.is_challenge(), "{user}");
        let texts = (challenge.values(kind::REPLY_MESSAGE), challenge.values(kind::SESSION_TIMEOUT));
        structures.insert((challenge.structure(), texts));
        if reason.is_empty() {
            continue;
        }
        let code = if user == "alice" {
            world.token("alice", 0).code(if password.is_empty() { 30 } else { 0 })
        } else {
            token.code(0)
        };
        let request = world.gateway.answer(user, &code, &challenge.state());
        let reject = world.expect_reject(&world.gateway, &request, reason);
        rejects.insert((reject.structure(), reject.values(kind::REPLY_MESSAGE)));
    }
    assert_eq!(structures.len(), 1, "{structures:?}");
    assert_eq!(rejects.len(), 1, "{rejects:?}");
}

#[test]
fn chl_08_a_wrong_code_at_the_second_step_counts_as_one_failure() {
    let world = bank("max-failures = 2").open();
    at_step_begin(30, 15);
    let token = world.token("alice", 0);
    let fail = |code: &str| {
        let state = begin(&world.gateway, "alice", PASSWORD);
        let request = world.gateway.answer("alice", code, &state);
        assert!(world.gateway.ask(&request).is_reject());
        // The State is gone with it.
        let again = world.gateway.answer("alice", &token.code(0), &state);
        world.expect_reject(&world.gateway, &again, "challenge-unknown");
    };
    let locked = || world.daemon.metric("sekisho_users_locked");
    fail(&token.wrong_code());
    assert_eq!(locked(), 0.0);
    let state = begin(&world.gateway, "alice", PASSWORD);
    assert!(world.gateway.ask(&world.gateway.answer("alice", &token.code(0), &state)).is_accept());
    // What is no code at all is a guess like any other here.
    fail("not a code");
    assert_eq!(locked(), 0.0);
    fail(&token.wrong_code());
    assert_eq!(locked(), 1.0);
    let state = begin(&world.gateway, "alice", PASSWORD);
    let request = world.gateway.answer("alice", &token.code(30), &state);
    world.expect_reject(&world.gateway, &request, "locked");
}

#[test]
fn chl_09_a_retransmission_of_the_second_step_gets_the_same_reply() {
    let world = bank("").open();
    at_step_begin(30, 5);
    let first = world.gateway.request("alice", PASSWORD.as_bytes());
    let challenge = world.gateway.ask(&first);
    assert_eq!(world.gateway.ask(&first), challenge, "the same State, not another one");
    let second = world.gateway.answer("alice", &world.token("alice", 0).code(0), &challenge.state());
    let accept = world.gateway.ask(&second);
    assert!(accept.is_accept());
    assert_eq!(world.gateway.ask(&second), accept);
    assert_eq!(world.gateway.ask(&first), challenge);
    assert_eq!(world.daemon.reason("code-accepted"), 1.0);
    assert_eq!(world.daemon.metric("sekisho_duplicates_total"), 3.0);
}

#[test]
fn chl_10_a_flood_of_first_steps_fills_its_own_part_of_the_table() {
    // Nothing of a first step has to be on disk, so the flood is not slowed down by it.
    let world = WorldBuilder { durability: "memory", ..bank("") }.open();
    let early = begin(&world.gateway, "alice", PASSWORD);
    wait_for_long("the table to be full", || {
        // As many at once as one port has Identifiers.
        let flood = world.second_gateway();
        let asked: Vec<Request> = (0..250).map(|_| flood.request("nobody", b"whatever")).collect();
        asked.iter().for_each(|request| flood.send(request));
        let last = asked.last().unwrap();
        flood.receive_within(last, Duration::from_millis(500));
        (world.daemon.reason("table-full") > 0.0).then_some(())
    });
    let open = world.daemon.metric("sekisho_state_entries{table=\"challenges\"}");
    assert!(open < 20_000.0, "{open} challenges are open");
    let other = world.gateway_at(OTHER_ADDRESS, OTHER_SECRET);
    at_step_begin(30, 5);
    let state = begin(&other, "bob", PASSWORD);
    assert!(other.ask(&other.answer("bob", &world.token("bob", 0).code(0), &state)).is_accept());
    let fresh = world.second_gateway();
    let answer = fresh.answer("alice", &world.token("alice", 0).code(0), &early);
    assert!(fresh.ask(&answer).is_accept(), "and what was open before stays open");
}

#[test]
fn chl_13_a_restart_between_the_steps_is_no_way_in() {
    for how in [Daemon::stop as fn(Daemon), Daemon::kill] {
        let mut world = bank("").open();
        let state = begin(&world.gateway, "alice", PASSWORD);
        world.restart(how);
        at_step_begin(30, 5);
        let code = world.token("alice", 0).code(0);
        let request = world.gateway.answer("alice", &code, &state);
        world.expect_reject(&world.gateway, &request, "challenge-unknown");
    }
}

#[test]
fn parallel_dialogues_of_one_user_do_not_disturb_each_other() {
    let world = bank("").open();
    at_step_begin(30, 10);
    let [first, second] = [(); 2].map(|()| begin(&world.gateway, "carol", PASSWORD));
    let decoy = begin(&world.gateway, "carol", "wrong");
    let counter = &world.token("carol", 0).secret_hex;
    let (six, eight) = (hotp(counter, 6, 0), world.token("carol", 1).code(0));
    assert!(world.gateway.ask(&world.gateway.answer("carol", &eight, &second)).is_accept());
    assert!(world.gateway.ask(&world.gateway.answer("carol", &six, &first)).is_accept());
    let late = world.gateway.answer("carol", &hotp(counter, 6, 1), &decoy);
    world.expect_reject(&world.gateway, &late, "password-wrong");
}

#[test]
fn a_second_step_that_nobody_could_judge_can_be_repeated() {
    let mut world = bank("").open();
    at_step_begin(30, 20);
    let state = begin(&world.gateway, "alice", PASSWORD);
    let code = world.token("alice", 0).code(0);
    world.slapd.kill();
    let request = world.gateway.answer("alice", &code, &state);
    world.gateway.send(&request);
    world.daemon.wait_for_reason("directory-unreachable", 1.0);
    world.gateway.expect_nothing();
    world.slapd.run();
    // The gateway asks again, as it does when it hears nothing: the same State and the same code.
    let accept = wait_for("an answer", || {
        world.gateway.send(&request);
        world.gateway.receive_within(&request, Duration::from_millis(500))
    });
    assert!(accept.is_accept());
}

#[test]
fn a_state_without_a_password_field_is_no_second_step() {
    let world = bank("").open();
    let state = begin(&world.gateway, "alice", PASSWORD);
    let attributes = [(kind::USER_NAME, b"alice".to_vec()), (kind::STATE, state.clone())];
    let request = world.gateway.build(code::ACCESS_REQUEST, &attributes, None, Signed::First);
    world.expect_reject(&world.gateway, &request, "credential-missing");
    let elsewhere = Gateway::from("127.0.0.5:0".parse().unwrap(), world.daemon.radius[0], SECRET);
    at_step_begin(30, 5);
    // The State belongs to the client, which may send from another address and port of its own.
    let answer = elsewhere.answer("alice", &world.token("alice", 0).code(0), &state);
    assert!(elsewhere.ask(&answer).is_accept());
}
