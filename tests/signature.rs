//! Signed or not: what each policy demands of a request, and what an unsigned one can never do (CVE-2024-3596).

use crate::harness::daemon::{field, run};
use crate::harness::gateway::{Gateway, Request, Signed, code, kind};
use crate::harness::world::{PASSWORD, SECRET};
use crate::harness::{Daemon, World, WorldBuilder, at_step_begin, wait_for};

/// A bank whose gateway has this policy.
fn bank(policy: &str) -> World {
    WorldBuilder { client: policy.into(), ..WorldBuilder::default() }.open()
}

/// An Access-Request without Message-Authenticator.
fn unsigned(gateway: &Gateway, user: &str, field: &str, attributes: &[(u8, Vec<u8>)]) -> Request {
    let mut all = vec![(kind::USER_NAME, user.as_bytes().to_vec())];
    all.extend_from_slice(attributes);
    gateway.build(code::ACCESS_REQUEST, &all, Some(field.as_bytes()), Signed::No)
}

fn proxy_state() -> (u8, Vec<u8>) {
    (kind::PROXY_STATE, b"from-a-proxy".to_vec())
}

#[test]
fn rad_17_an_unsigned_request_is_dropped_counted_and_named() {
    let world = World::open();
    at_step_begin(30, 5);
    let code = world.token("alice", 0).field(0);
    let request = unsigned(&world.gateway, "alice", &code, &[]);
    world.expect_drop(&world.gateway, &request.octets, "message-authenticator-missing");
    let line = wait_for("a line about it", || {
        let log = world.daemon.log();
        log.lines().find(|line| line.contains("message-authenticator-missing")).map(str::to_owned)
    });
    assert_eq!(field(&line, "client").as_deref(), Some("gateway"), "{line}");
    // The line comes once in a while, the counter every time.
    for _ in 0..200 {
        world.gateway.send(&unsigned(&world.gateway, "alice", &code, &[]));
    }
    world.daemon.wait_for_reason("message-authenticator-missing", 201.0);
    let log = world.daemon.log();
    assert!(log.matches("message-authenticator-missing").count() < 20);
    assert!(world.gateway.login("alice", &code).is_accept());
}

#[test]
fn rad_18_proxy_state_must_be_signed_where_signatures_are_optional() {
    let world = bank("message-authenticator = \"optional\"");
    at_step_begin(30, 10);
    let alice = world.token("alice", 0).field(0);
    let request = unsigned(&world.gateway, "alice", &alice, &[proxy_state()]);
    world.expect_drop(&world.gateway, &request.octets, "proxy-state-unsigned");
    let request = world.gateway.request_with("alice", alice.as_bytes(), &[proxy_state()]);
    assert!(world.gateway.ask(&request).is_accept());
    let request = unsigned(&world.gateway, "bob", &world.token("bob", 0).field(0), &[]);
    assert!(world.gateway.ask(&request).is_accept());
}

#[test]
fn rad_18_20_an_insecure_client_may_send_proxy_state_unsigned() {
    let policy = "message-authenticator = \"optional\"\nlimit-proxy-state = false\ninsecure = true";
    let world = bank(policy);
    at_step_begin(30, 5);
    let request = unsigned(&world.gateway, "alice", &world.token("alice", 0).field(0), &[proxy_state()]);
    let accept = world.gateway.ask(&request);
    assert!(accept.is_accept());
    assert_eq!(accept.values(kind::PROXY_STATE), [b"from-a-proxy".to_vec()]);
}

#[test]
fn rad_19_every_reply_begins_with_its_signature_also_to_unsigned_requests() {
    let clients = r#"
        [[radius.client]]
        name = "two-steps"
        network = "127.0.0.2/32"
        secret-file = "gateway.secret"
        service = "two-steps"
        message-authenticator = "optional"
    "#;
    let service = "[service.two-steps]\nsecond-step = \"always\"\nreject-delay = \"0s\"\n";
    let world = WorldBuilder {
        client: "message-authenticator = \"optional\"".into(),
        clients: clients.into(),
        service: WorldBuilder::default().service + service,
        ..WorldBuilder::default()
    }
    .open();
    at_step_begin(30, 5);
    // `ask` checks the signature and its place in every reply.
    let alice = world.token("alice", 0).field(0);
    assert!(world.gateway.ask(&unsigned(&world.gateway, "alice", &alice, &[])).is_accept());
    assert!(world.gateway.ask(&unsigned(&world.gateway, "alice", &alice, &[])).is_reject());
    let two_steps = world.gateway_at("127.0.0.2", SECRET);
    assert!(two_steps.ask(&unsigned(&two_steps, "alice", PASSWORD, &[])).is_challenge());
    let status = world.gateway.build(code::STATUS_SERVER, &[], None, Signed::First);
    assert!(world.gateway.ask(&status).is_accept());
}

#[test]
fn rad_20_switching_both_protections_off_needs_the_word_insecure() {
    let directory = tempfile::tempdir().unwrap();
    let check = |policy: &str| {
        let config = format!(
            r#"
            [[radius.client]]
            name = "gateway"
            network = "127.0.0.1/32"
            secret = "{SECRET}"
            service = "test"
            {policy}
            [service.test]
            [directory]
            kind = "embedded"
            "#
        );
        let path = crate::harness::daemon::write(directory.path(), "sekisho.toml", &config);
        let output = run(&["check", "--config", path.to_str().unwrap()], "");
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let both = "message-authenticator = \"optional\"\nlimit-proxy-state = false\n";
    let (status, text) = check(both);
    assert_eq!(status, Some(78), "{text}");
    assert!(text.contains("limit-proxy-state") && text.contains("insecure"), "{text}");
    let (status, text) = check(&format!("{both}insecure = true\n"));
    assert_eq!(status, Some(0), "{text}");
}

#[test]
fn rad_21_auto_only_ever_tightens_and_remembers_it() {
    let mut world = bank("message-authenticator = \"auto\"");
    let pins = |world: &World| world.daemon.metric("sekisho_pinned_sources");
    // Before anything verified: unsigned requests are served but for Proxy-State, and forgeries decide nothing.
    for request in [
        unsigned(&world.gateway, "nobody", "whatever", &[]),
        unsigned(&world.gateway, "alice", "whatever", &[]),
    ] {
        assert!(world.gateway.ask(&request).is_reject());
    }
    let request = unsigned(&world.gateway, "alice", "whatever", &[proxy_state()]);
    world.expect_drop(&world.gateway, &request.octets, "proxy-state-unsigned");
    let forger = world.gateway_at("127.0.0.1", "not-the-secret-of-this-gateway!!");
    let forged = forger.request("alice", b"whatever");
    world.expect_drop(&forger, &forged.octets, "message-authenticator-bad");
    assert_eq!(pins(&world), 0.0);
    assert!(world.gateway.ask(&unsigned(&world.gateway, "nobody", "whatever", &[])).is_reject());

    // One that verified, whatever became of it, and nothing unsigned is taken from there any more.
    assert!(world.gateway.login("nobody", "whatever").is_reject());
    assert_eq!(pins(&world), 1.0);
    let dropped = |world: &World| {
        let request = unsigned(&world.gateway, "nobody", "whatever", &[]);
        world.expect_drop(&world.gateway, &request.octets, "message-authenticator-missing");
    };
    dropped(&world);
    // Another source in the client's network has not been seen to sign.
    let other = world.gateway_at("127.0.0.7", SECRET);
    assert!(other.ask(&unsigned(&other, "nobody", "whatever", &[])).is_reject());

    world.restart(Daemon::stop);
    dropped(&world);
    world.restart(crate::harness::Daemon::kill);
    dropped(&world);
    assert_eq!(pins(&world), 1.0);
}

#[test]
fn rad_23_proxy_states_come_back_whole_in_order_and_repeated() {
    let service =
        "[service.test]\ndigits = 6\nperiod = \"30s\"\nreject-delay = \"0s\"\nsecond-step = \"always\"\n";
    let world = WorldBuilder { service: service.into(), ..WorldBuilder::default() }.open();
    at_step_begin(30, 5);
    let values: [&[u8]; 5] = [b"one", b"\0two\0", b"one", &[0xff; 253], b""];
    let mut attributes: Vec<(u8, Vec<u8>)> = Vec::new();
    for (at, value) in values.iter().enumerate() {
        // Scattered among others.
        attributes.push((kind::PROXY_STATE, value.to_vec()));
        attributes.push((kind::CLASS, vec![u8::try_from(at).unwrap()]));
    }
    let challenge = world.gateway.ask(&world.gateway.request_with("alice", PASSWORD.as_bytes(), &attributes));
    assert!(challenge.is_challenge());
    attributes.push((kind::STATE, challenge.state()));
    let code = world.token("alice", 0).code(0);
    let accept = world.gateway.ask(&world.gateway.request_with("alice", code.as_bytes(), &attributes));
    assert!(accept.is_accept());
    let reject = world.gateway.ask(&world.gateway.request_with("alice", code.as_bytes(), &attributes));
    assert!(reject.is_reject());
    for reply in [challenge, accept, reject] {
        assert_eq!(reply.values(kind::PROXY_STATE), values.map(<[u8]>::to_vec));
        assert_eq!(reply.values(kind::CLASS), Vec::<Vec<u8>>::new(), "and nothing else comes back");
    }
}

#[test]
fn rad_40_a_forged_packet_does_not_push_out_a_kept_reply() {
    let world = World::open();
    at_step_begin(30, 5);
    let request = world.gateway.request("alice", world.token("alice", 0).field(0).as_bytes());
    let accept = world.gateway.ask(&request);
    assert!(accept.is_accept());
    // Same port, same Identifier; another authenticator, or another content under the same one.
    let mut forged = request.clone();
    forged.octets[4..20].fill(0x11);
    world.expect_drop(&world.gateway, &forged.octets, "message-authenticator-bad");
    let mut forged = request.clone();
    let last = forged.octets.len() - 1;
    forged.octets[last] ^= 1;
    world.expect_drop(&world.gateway, &forged.octets, "message-authenticator-bad");
    assert_eq!(world.gateway.ask(&request), accept);
    assert_eq!(world.daemon.metric("sekisho_duplicates_total"), 1.0);
}

/// The shape of the forgery of 2024: an unsigned request for a known user with a wrong password, whose Proxy-State
/// holds the octets that make the MD5 of a reject collide with that of an accept. It works where such a request is
/// answered and its Proxy-State comes back.
#[test]
fn a_request_in_the_shape_of_blastradius_gets_no_answer_from_any_safe_policy() {
    let gibberish: Vec<u8> = (0..253_u8).map(|at| at.wrapping_mul(151) ^ 0x5c).collect();
    let attack = |gateway: &Gateway| {
        let collision =
            [(kind::PROXY_STATE, gibberish.clone()), (kind::PROXY_STATE, gibberish[..170].to_vec())];
        unsigned(gateway, "alice", "guess", &collision)
    };
    for (policy, reason) in [
        ("", "message-authenticator-missing"),
        ("message-authenticator = \"require\"", "message-authenticator-missing"),
        ("message-authenticator = \"auto\"", "proxy-state-unsigned"),
        ("message-authenticator = \"optional\"", "proxy-state-unsigned"),
    ] {
        let world = bank(policy);
        world.expect_drop(&world.gateway, &attack(&world.gateway).octets, reason);
        // A client in the middle can strip the signature of a real request, but not its Proxy-State.
        let signed = world.gateway.request_with("alice", b"guess", &[(kind::PROXY_STATE, gibberish.clone())]);
        let mut stripped = signed.octets.clone();
        stripped.drain(20..38);
        let length = u16::try_from(stripped.len()).unwrap();
        stripped[2..4].copy_from_slice(&length.to_be_bytes());
        world.expect_drop(&world.gateway, &stripped, reason);
        // Other vehicles do not come back at all: what an unsigned request says is never echoed.
        if reason == "proxy-state-unsigned" {
            let vehicles = [
                (kind::CLASS, gibberish.clone()),
                (kind::REPLY_MESSAGE, gibberish.clone()),
                (kind::STATE, gibberish.clone()),
            ];
            let reply = world.gateway.ask(&unsigned(&world.gateway, "alice", "guess", &vehicles));
            assert!(!reply.octets.windows(16).any(|window| gibberish.windows(16).any(|part| part == window)));
        }
    }
}
