//! Who asks: clients by source address, their secrets, and the address that the answer leaves from.

use crate::harness::daemon::write;
use crate::harness::gateway::{Signed, code, kind};
use crate::harness::world::SECRET;
use crate::harness::{Daemon, Gateway, World, WorldBuilder, at_step_begin};
use std::net::SocketAddr;

/// A client with a secret of its own, at one network.
fn client(name: &str, network: &str, secret: &str, more: &str) -> String {
    format!(
        "[[radius.client]]\nname = \"{name}\"\nnetwork = \"{network}\"\nsecret = \"{secret}\"\nservice = \"test\"\n{more}\n"
    )
}

const SECOND: &str = "second-secret-of-another-client!";
const THIRD: &str = "third-secret-of-yet-another-one!";

#[test]
fn rad_08_a_stranger_gets_silence_and_one_count() {
    let world = WorldBuilder { network: r#""127.0.0.1/32""#, ..WorldBuilder::default() }.open();
    at_step_begin(30, 5);
    let field = world.token("alice", 0).field(0);
    let stranger = world.gateway_at("127.0.0.9", SECRET);
    let before = world.daemon.log().lines().count();
    for request in [
        stranger.request("alice", field.as_bytes()),
        stranger.build(code::STATUS_SERVER, &[], None, Signed::First),
        stranger.build(code::ACCESS_REQUEST, &[(kind::USER_NAME, b"alice".to_vec())], Some(b"x"), Signed::No),
    ] {
        world.expect_drop(&stranger, &request.octets, "client-unknown");
    }
    for _ in 0..500 {
        stranger.send(&stranger.request("alice", field.as_bytes()));
    }
    world.daemon.wait_for_reason("client-unknown", 503.0);
    stranger.expect_nothing();
    let unknown = world.daemon.metric("sekisho_requests_total{client=\"-\",");
    assert_eq!(unknown, 503.0, "strangers have one label together");
    assert!(world.daemon.log().lines().count() - before < 100, "a storm of strangers is no storm in the log");
    assert!(world.gateway.login("alice", &field).is_accept());
}

#[test]
fn rad_09_the_source_address_alone_names_the_client() {
    let clients = client("second", "127.0.0.2/32", SECOND, "");
    let world = WorldBuilder { clients, ..WorldBuilder::default() }.open();
    at_step_begin(30, 5);
    let field = world.token("alice", 0).field(0);
    // What the packet says of itself is the second client; where it comes from is the first.
    let claims = [(kind::NAS_IP_ADDRESS, vec![127, 0, 0, 2]), (kind::NAS_IDENTIFIER, b"second".to_vec())];
    let pretender = world.gateway_at("127.0.0.1", SECOND);
    let request = pretender.request_with("alice", field.as_bytes(), &claims);
    world.expect_drop(&pretender, &request.octets, "message-authenticator-bad");
    let request = world.gateway.request_with("alice", field.as_bytes(), &claims);
    assert!(world.gateway.ask(&request).is_accept());
    world.daemon.wait_for_reason("code-accepted", 1.0);
    let counted = "sekisho_requests_total{client=\"gateway\",outcome=\"accept\",";
    assert_eq!(world.daemon.metric(counted), 1.0);
}

#[test]
fn rad_10_the_longest_prefix_wins_whatever_the_order() {
    let lenient = "message-authenticator = \"optional\"";
    let others =
        [client("narrow", "127.0.0.2/32", SECOND, lenient), client("middle", "127.0.0.0/24", THIRD, "")];
    let orders = [others.concat(), others.iter().rev().cloned().collect::<String>()];
    // The gateway's own network, the widest, stands first in the file.
    for clients in orders {
        let world = WorldBuilder { clients, ..WorldBuilder::default() }.open();
        for (address, secret) in [
            ("127.0.0.2", SECOND),
            ("127.0.0.3", THIRD),
            ("127.0.0.1", THIRD),
            ("127.0.1.2", SECRET),
            ("127.255.255.254", SECRET),
        ] {
            let gateway = world.gateway_at(address, secret);
            assert!(gateway.login("nobody", "whatever").is_reject(), "{address}");
            for wrong in [SECRET, SECOND, THIRD].into_iter().filter(|&other| other != secret) {
                let stranger = world.gateway_at(address, wrong);
                let request = stranger.request("nobody", b"whatever");
                world.expect_drop(&stranger, &request.octets, "message-authenticator-bad");
            }
            // The policy goes with the prefix as the secret does.
            let user = [(kind::USER_NAME, b"nobody".to_vec())];
            let unsigned = gateway.build(code::ACCESS_REQUEST, &user, Some(b"whatever"), Signed::No);
            if address == "127.0.0.2" {
                assert!(gateway.ask(&unsigned).is_reject());
            } else {
                world.expect_drop(&gateway, &unsigned.octets, "message-authenticator-missing");
            }
        }
    }
}

#[test]
fn rad_11_12_ipv4_and_ipv6_addresses_of_one_host_are_clients_of_their_own() {
    let clients =
        [client("mapped", "::ffff:127.0.0.2/128", SECOND, ""), client("six", "::1/128", THIRD, "")].concat();
    let listen = r#"["127.0.0.1:0", "[::1]:0"]"#.into();
    let network = r#""127.0.0.0/8""#;
    let world = WorldBuilder { clients, listen, network, ..WorldBuilder::default() }.open();
    at_step_begin(30, 10);
    let [four, six]: [SocketAddr; 2] = world.daemon.radius.clone().try_into().expect("two addresses");
    let mapped = Gateway::from("127.0.0.2:0".parse().unwrap(), four, SECOND);
    assert!(mapped.login("alice", &world.token("alice", 0).field(0)).is_accept());
    let gateway = Gateway::new(six, THIRD);
    let accept = gateway.login("bob", &world.token("bob", 0).field(0));
    assert!(accept.is_accept());
    assert_eq!(accept.from, six);
    let wrong = Gateway::new(six, SECRET);
    let request = wrong.request("bob", b"whatever");
    world.expect_drop(&wrong, &request.octets, "message-authenticator-bad");
    for name in ["mapped", "six"] {
        let accepts = format!("sekisho_requests_total{{client=\"{name}\",outcome=\"accept\",");
        assert_eq!(world.daemon.metric(&accepts), 1.0, "{name}");
    }
}

#[test]
fn rad_13_reply_leaves_from_the_asked_address() {
    let listen = r#"["0.0.0.0:0", "[::]:0"]"#.into();
    let world = WorldBuilder { listen, ..WorldBuilder::default() }.open();
    let port = |is: fn(&SocketAddr) -> bool| {
        let found = world.daemon.radius.iter().find(|address| is(address));
        found.expect("both families").port()
    };
    let (four, six) = (port(SocketAddr::is_ipv4), port(SocketAddr::is_ipv6));
    for (from, asked, port) in [
        ("127.0.0.1:0", "127.0.0.1", four),
        ("127.0.0.1:0", "127.0.0.2", four),
        ("127.0.0.3:0", "127.9.9.9", four),
        ("[::1]:0", "::1", six),
    ] {
        let server = SocketAddr::new(asked.parse().unwrap(), port);
        let gateway = Gateway::from(from.parse().unwrap(), server, SECRET);
        let reject = gateway.login("nobody", "whatever");
        assert_eq!(reject.from, server);
        // A retransmission is answered by another part of the daemon, from the same address.
        let request = gateway.request("nobody", b"whatever");
        let first = gateway.ask(&request);
        assert_eq!(gateway.ask(&request), first);
        let status = gateway.build(code::STATUS_SERVER, &[], None, Signed::First);
        assert_eq!(gateway.ask(&status).from, server);
    }
}

/// How often a secret of the usual gateway was used.
fn used(world: &World, secret: &str) -> f64 {
    world.daemon.metric(&format!("sekisho_client_secret_total{{client=\"gateway\",secret=\"{secret}\"}}"))
}

#[test]
fn two_secrets_are_good_while_one_takes_the_place_of_the_other() {
    let builder = WorldBuilder { client: format!("next-secret = \"{SECOND}\""), ..WorldBuilder::default() };
    let mut world = builder.open();
    at_step_begin(30, 15);
    assert!(world.gateway.login("alice", &world.token("alice", 0).field(0)).is_accept());
    assert_eq!((used(&world, "current"), used(&world, "next")), (1.0, 0.0));
    // Signed, hidden and answered with the new secret.
    let moved = world.gateway_at("127.0.0.1", SECOND);
    assert!(moved.login("bob", &world.token("bob", 0).field(0)).is_accept());
    let status = moved.build(code::STATUS_SERVER, &[], None, Signed::First);
    assert!(moved.ask(&status).is_accept());
    assert_eq!((used(&world, "current"), used(&world, "next")), (1.0, 2.0));
    let third = world.gateway_at("127.0.0.1", THIRD);
    world.expect_drop(&third, &third.request("alice", b"x").octets, "message-authenticator-bad");

    // The counter has shown that nobody uses the old one any more: it goes.
    let config = std::fs::read_to_string(&world.config).unwrap();
    let config = config.replace(&format!("next-secret = \"{SECOND}\""), "");
    write(world.directory.path(), "sekisho.toml", &config);
    write(world.directory.path(), "gateway.secret", SECOND);
    world.restart(Daemon::stop);
    let moved = world.gateway_at("127.0.0.1", SECOND);
    assert!(moved.login("carol", &world.token("carol", 1).field(0)).is_accept());
    let request = world.gateway.request("carol", b"whatever");
    world.expect_drop(&world.gateway, &request.octets, "message-authenticator-bad");
}
