//! Is anybody there? Status-Server (RFC 5997) is answered while we can judge, and silent while we cannot.

use crate::harness::gateway::{Gateway, Request, Signed, code, kind};
use crate::harness::world::SECRET;
use crate::harness::{World, WorldBuilder, at_step_begin, wait_for, wait_for_long};

fn probe(gateway: &Gateway) -> Request {
    gateway.build(
        code::STATUS_SERVER,
        &[(kind::NAS_IDENTIFIER, b"gw1.example".to_vec())],
        None,
        Signed::First,
    )
}

fn answered(world: &World) -> f64 {
    world.daemon.metric("sekisho_client_status_server_total")
}

#[test]
fn rad_43_a_probe_is_answered_at_once_and_counts_as_no_login() {
    // Rejects wait for longer than any story waits for an answer.
    let service = "[service.test]\nreject-delay = \"10s\"\n".into();
    let client = "timeout = \"20s\"\nretries = 0".into();
    let world = WorldBuilder { service, client, ..WorldBuilder::default() }.open();
    let judged = |world: &World| world.daemon.metric("sekisho_requests_total");
    let before = judged(&world);
    for times in 1..=3 {
        let accept = world.gateway.ask(&probe(&world.gateway));
        assert!(accept.is_accept());
        assert_eq!(accept.structure().1, [(kind::MESSAGE_AUTHENTICATOR, 16)]);
        assert_eq!(answered(&world), f64::from(times));
    }
    assert_eq!(judged(&world), before);
}

#[test]
fn rad_44_a_probe_must_be_signed_under_any_policy() {
    let clients = r#"
        [[radius.client]]
        name = "lenient"
        network = "127.0.0.2/32"
        secret-file = "gateway.secret"
        service = "test"
        message-authenticator = "optional"
    "#;
    let network = r#""127.0.0.1/32""#;
    let world = WorldBuilder { clients: clients.into(), network, ..WorldBuilder::default() }.open();
    for address in ["127.0.0.1", "127.0.0.2"] {
        let gateway = world.gateway_at(address, SECRET);
        let unsigned = gateway.build(code::STATUS_SERVER, &[], None, Signed::No);
        world.expect_drop(&gateway, &unsigned.octets, "message-authenticator-missing");
        let forger = world.gateway_at(address, "not-the-secret-of-this-gateway!!");
        world.expect_drop(&forger, &probe(&forger).octets, "message-authenticator-bad");
    }
    let stranger = world.gateway_at("127.0.0.3", SECRET);
    world.expect_drop(&stranger, &probe(&stranger).octets, "client-unknown");
    assert_eq!(answered(&world), 0.0);
}

#[test]
fn rad_45_probes_can_be_switched_off() {
    let clients = r#"
        [[radius.client]]
        name = "quiet"
        network = "127.0.0.2/32"
        secret-file = "gateway.secret"
        service = "test"
        status-server = false
    "#;
    let world = WorldBuilder { clients: clients.into(), ..WorldBuilder::default() }.open();
    let quiet = world.gateway_at("127.0.0.2", SECRET);
    world.expect_drop(&quiet, &probe(&quiet).octets, "status-server-silent");
    assert!(world.gateway.ask(&probe(&world.gateway)).is_accept());
}

#[test]
fn rad_45_too_many_probes_are_silence() {
    let world = World::open();
    // More than are answered in a second, as often as it takes for so many to come within one.
    wait_for("some to be too many", || {
        for _ in 0..1500 {
            world.gateway.send(&probe(&world.gateway));
        }
        (world.daemon.reason("status-server-silent") > 0.0).then_some(())
    });
    assert!(answered(&world) > 0.0);
    let later = world.second_gateway();
    wait_for("a probe to be answered again", || {
        let probe = probe(&later);
        later.send(&probe);
        later.receive_within(&probe, std::time::Duration::from_millis(100))
    });
}

#[test]
fn rad_46_a_probe_is_silence_while_the_directory_is_stale_and_so_is_a_login() {
    let ldap = "max-stale = \"10s\"\n".into();
    let mut world = WorldBuilder { ldap, ..WorldBuilder::default() }.open();
    assert!(world.gateway.ask(&probe(&world.gateway)).is_accept());
    world.slapd.kill();
    wait_for("a probe to be silence", || {
        world.gateway.send(&probe(&world.gateway));
        (world.daemon.reason("status-server-silent") > 0.0).then_some(())
    });
    // What is known of the users is believed for a while; but nobody can be asked for a password.
    let login = world.second_gateway();
    let dropped = || world.daemon.metric("sekisho_request_duration_seconds_count{outcome=\"drop\"}");
    wait_for_long("what is known to be too old", || {
        let before = dropped();
        login.send(&login.request("alice", world.token("alice", 0).field(0).as_bytes()));
        wait_for("silence", || (dropped() > before).then_some(()));
        (world.daemon.reason("directory-stale") > 0.0).then_some(())
    });
    login.expect_nothing();
    world.slapd.run();
    wait_for("a probe to be answered again", || {
        let probe = probe(&login);
        login.send(&probe);
        login.receive_within(&probe, std::time::Duration::from_millis(100))
    });
    at_step_begin(30, 3);
    let field = world.token("alice", 0).field(0);
    assert!(world.second_gateway().login("alice", &field).is_accept(), "no code was used up");
}

#[test]
fn rad_47_nothing_of_a_probe_is_looked_at_or_echoed() {
    let world = World::open();
    at_step_begin(30, 5);
    let field = world.token("alice", 0).field(0);
    let attributes = [
        (kind::USER_NAME, b"alice".to_vec()),
        (kind::PROXY_STATE, b"from-a-proxy".to_vec()),
        (kind::STATE, vec![1; 16]),
        (kind::EAP_MESSAGE, vec![2, 1, 0, 4]),
    ];
    let request =
        world.gateway.build(code::STATUS_SERVER, &attributes, Some(field.as_bytes()), Signed::First);
    let accept = world.gateway.ask(&request);
    assert!(accept.is_accept());
    assert_eq!(accept.structure().1, [(kind::MESSAGE_AUTHENTICATOR, 16)]);
    assert!(world.gateway.login("alice", &field).is_accept(), "the code in it was not looked at");
}
