//! Replies get lost: the same request gets the same octets again, is judged once, and never costs anybody a login.

use crate::harness::gateway::{Gateway, Request, Signed, build, code, kind};
use crate::harness::world::{PASSWORD, SECRET};
use crate::harness::{World, WorldBuilder, at_step_begin, wait_for, wait_for_long};

fn duplicates(world: &World) -> f64 {
    world.daemon.metric("sekisho_duplicates_total")
}

/// Waits until so many requests are being judged.
fn wait_in_flight(world: &World, count: f64) {
    wait_for("requests in flight", || (world.daemon.metric("sekisho_in_flight") >= count).then_some(()));
}

#[test]
fn rad_36_a_retransmission_gets_the_same_octets_and_one_judgement() {
    let service = WorldBuilder::default().service + "max-failures = 2\n";
    let world = WorldBuilder { service, ..WorldBuilder::default() }.open();
    at_step_begin(30, 10);
    let token = world.token("alice", 0);
    let request = world.gateway.request("alice", token.field(0).as_bytes());
    let accept = world.gateway.ask(&request);
    assert!(accept.is_accept());
    for _ in 0..5 {
        assert_eq!(world.gateway.ask(&request), accept);
    }
    assert_eq!(duplicates(&world), 5.0);
    assert_eq!(world.binds("alice"), 1);
    assert_eq!(world.daemon.reason("code-accepted"), 1.0);

    // A failure counts once, however often its reply is lost.
    let wrong = format!("{PASSWORD}{}", token.wrong_code());
    let request = world.gateway.request("alice", wrong.as_bytes());
    let reject = world.expect_reject(&world.gateway, &request, "code-wrong");
    for _ in 0..5 {
        assert_eq!(world.gateway.ask(&request), reject);
    }
    assert_eq!(duplicates(&world), 10.0);
    assert_eq!(world.daemon.metric("sekisho_users_locked"), 0.0);

    // The same octets from another port are another request.
    let elsewhere = world.second_gateway();
    let request = Request { octets: request.octets.clone(), secret: SECRET.into() };
    world.expect_reject(&elsewhere, &request, "code-wrong");
    assert_eq!(duplicates(&world), 10.0);
}

#[test]
fn rad_37_while_the_directory_thinks_retransmissions_are_dropped_and_one_reply_comes() {
    let world = WorldBuilder { ldap: "timeout = \"4s\"\n".into(), ..WorldBuilder::default() }.open();
    at_step_begin(30, 10);
    let request = world.gateway.request("alice", world.token("alice", 0).field(0).as_bytes());
    world.slapd.freeze();
    world.gateway.send(&request);
    wait_in_flight(&world, 1.0);
    for times in 1..=3 {
        world.gateway.send(&request);
        world.daemon.wait_for_reason("duplicate-in-flight", f64::from(times));
    }
    world.slapd.thaw();
    assert!(world.gateway.receive(&request).expect("an answer").is_accept());
    world.daemon.wait_for_reason("code-accepted", 1.0);
    world.gateway.expect_nothing();
    assert_eq!(world.binds("alice"), 1);
}

#[test]
fn rad_37_while_a_reject_waits_retransmissions_are_dropped_and_one_reply_comes() {
    let service = "[service.test]\ndigits = 6\nperiod = \"30s\"\nreject-delay = \"2s\"\n".into();
    let world = WorldBuilder { service, ..WorldBuilder::default() }.open();
    let request = world.gateway.request("nobody", b"whatever");
    world.gateway.send(&request);
    for times in 1..=3 {
        world.gateway.send(&request);
        world.daemon.wait_for_reason("duplicate-in-flight", f64::from(times));
    }
    let reject = world.gateway.receive(&request).expect("an answer");
    assert!(reject.is_reject());
    world.daemon.wait_for_reason("user-unknown", 1.0);
    world.gateway.expect_nothing();
    assert_eq!(world.gateway.ask(&request), reject, "from now on it is kept");
    assert_eq!(duplicates(&world), 4.0);
}

#[test]
fn rad_38_a_new_request_under_an_old_identifier_silences_the_old_one() {
    let world = WorldBuilder { ldap: "timeout = \"4s\"\n".into(), ..WorldBuilder::default() }.open();
    at_step_begin(30, 10);
    let request = |authenticator: u8, user: &str, field: &str| {
        let user = [(kind::USER_NAME, user.as_bytes().to_vec())];
        let field = Some(field.as_bytes());
        build(SECRET.as_bytes(), code::ACCESS_REQUEST, 7, [authenticator; 16], &user, field, Signed::First)
    };
    let old = request(1, "alice", &world.token("alice", 0).field(0));
    let new = request(2, "bob", &world.token("bob", 0).field(0));
    world.slapd.freeze();
    world.gateway.send(&old);
    wait_in_flight(&world, 1.0);
    world.gateway.send(&new);
    wait_for("both to be taken up", || {
        (world.daemon.metric("sekisho_client_secret_total") >= 2.0).then_some(())
    });
    world.slapd.thaw();
    // The reply is checked against the new request: one to the old one would not fit.
    assert!(world.gateway.receive(&new).expect("an answer").is_accept());
    world.daemon.wait_for_reason("superseded", 1.0);
    world.gateway.expect_nothing();
    // One that was answered before gives way just the same.
    let third = request(3, "nobody", "whatever");
    assert!(world.gateway.ask(&third).is_reject());
    assert_eq!(duplicates(&world), 0.0);
}

#[test]
fn rad_39_other_content_under_the_same_authenticator_is_silence() {
    let world = World::open();
    at_step_begin(30, 5);
    let request = |attributes: &[(u8, Vec<u8>)], field: &str| {
        let mut all = vec![(kind::USER_NAME, b"alice".to_vec())];
        all.extend_from_slice(attributes);
        let field = Some(field.as_bytes());
        build(SECRET.as_bytes(), code::ACCESS_REQUEST, 7, [9; 16], &all, field, Signed::First)
    };
    let field = world.token("alice", 0).field(0);
    let first = request(&[], &field);
    let accept = world.gateway.ask(&first);
    assert!(accept.is_accept());
    for other in [request(&[(kind::NAS_PORT, vec![0, 0, 0, 1])], &field), request(&[], "another password")] {
        world.expect_drop(&world.gateway, &other.octets, "duplicate-differs");
    }
    assert_eq!(world.gateway.ask(&first), accept, "it did not push the kept reply out");
}

#[test]
fn rad_41_a_captured_request_is_worth_nothing_after_its_reply_is_forgotten() {
    let world = WorldBuilder {
        radius: "reply-cache-lifetime = \"5s\"".into(),
        client: "timeout = \"5s\"\nretries = 0".into(),
        ..WorldBuilder::default()
    }
    .open();
    at_step_begin(30, 20);
    let request = world.gateway.request("alice", world.token("alice", 0).field(0).as_bytes());
    let accept = world.gateway.ask(&request);
    assert!(accept.is_accept());
    // The code is still within its window when the cache has forgotten.
    wait_for_long("the reply to be forgotten", || {
        let reply = world.gateway.ask(&request);
        assert!(reply == accept || reply.is_reject());
        reply.is_reject().then_some(())
    });
    world.daemon.wait_for_reason("code-used", 1.0);
    assert_eq!(world.daemon.reason("code-accepted"), 1.0);
}

#[test]
fn rad_42_every_identifier_of_every_port_gets_its_own_answer() {
    let service = r#"
        [service.test]
        digits = 6
        period = "30s"
        reject-delay = "0s"
        [[service.test.operation]]
        name = "balance"
        match = { NAS-Port-Id = "balance" }
        code = "never"
    "#;
    let world = WorldBuilder { service: service.into(), ..WorldBuilder::default() }.open();
    let one_port = [world.second_gateway()];
    let many_ports: Vec<Gateway> = (0..64).map(|_| world.second_gateway()).collect();
    for (gateways, each) in [(&one_port[..], 256), (&many_ports, 4)] {
        // All ask before anybody listens; the password alone decides here, and every other user does not exist.
        let asked: Vec<(&Gateway, Request, bool)> = gateways
            .iter()
            .flat_map(|gateway| (0..each).map(move |at| (gateway, at)))
            .map(|(gateway, at)| {
                let user = if at % 2 == 0 { "alice".to_owned() } else { format!("nobody-{at}") };
                let operation = [(kind::NAS_PORT_ID, b"balance".to_vec())];
                (gateway, gateway.request_with(&user, PASSWORD.as_bytes(), &operation), at % 2 == 0)
            })
            .collect();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for (gateway, request, _) in &asked {
                    gateway.send(request);
                    // A gateway's own buffer holds some hundred replies; it must not be what loses them.
                    std::thread::yield_now();
                }
            });
            for gateway in gateways {
                let mut waiting: Vec<&(&Gateway, Request, bool)> =
                    asked.iter().filter(|(from, ..)| std::ptr::eq(*from, gateway)).collect();
                while !waiting.is_empty() {
                    let octets = gateway.receive_any();
                    let at = waiting.iter().position(|(_, request, _)| request.octets[1] == octets[1]);
                    let (_, request, accepted) = waiting.swap_remove(at.expect("one reply to each"));
                    let reply = request.genuine(&octets, gateway.server);
                    assert_eq!(reply.is_accept(), *accepted);
                }
            }
        });
    }
    assert_eq!(world.daemon.reason("code-not-asked"), 256.0);
    assert_eq!(world.daemon.reason("user-unknown"), 256.0);
}

#[test]
fn sec_30_a_lost_accept_comes_again_even_after_the_user_was_locked() {
    let service = WorldBuilder::default().service + "max-failures = 2\n";
    let world = WorldBuilder { service, ..WorldBuilder::default() }.open();
    at_step_begin(30, 10);
    let token = world.token("alice", 0);
    let request = world.gateway.request("alice", token.field(0).as_bytes());
    let accept = world.gateway.ask(&request);
    assert!(accept.is_accept());
    for wrong in ["x", "y"] {
        let field = format!("{PASSWORD}{wrong}{}", token.wrong_code());
        world.expect_reject(&world.gateway, &world.gateway.request("alice", field.as_bytes()), "code-wrong");
    }
    let locked = world.gateway.request("alice", token.field(30).as_bytes());
    world.expect_reject(&world.gateway, &locked, "locked");
    assert_eq!(world.gateway.ask(&request), accept);
}
