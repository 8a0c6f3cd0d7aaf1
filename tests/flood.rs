//! Storms: noise, forgeries and one gateway gone mad. The others are served, memory stays where it was.

use crate::harness::gateway::{Gateway, Request, Signed, code, kind};
use crate::harness::world::{PASSWORD, SECRET, person};
use crate::harness::{World, WorldBuilder, at_step_begin, wait_for, wait_for_long};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// SplitMix64: the same noise in every run, so that what it finds is found again.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }

    fn octet(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    fn octets(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.octet()).collect()
    }

    /// A packet that was right before something happened to it.
    fn damaged(&mut self, packet: &[u8]) -> Vec<u8> {
        let mut octets = packet.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(octets.len());
            match self.below(5) {
                0 => octets[at] ^= 1 << self.below(8),
                1 => octets[at] = self.octet(),
                2 => octets.truncate(at.max(1)),
                3 => octets.insert(at, self.octet()),
                _ => {
                    let copy = octets[at..].to_vec();
                    octets.extend_from_slice(&copy);
                    octets.truncate(5000);
                }
            }
        }
        octets
    }
}

/// Kilobytes of the daemon's memory that are in use.
fn resident(world: &World) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", world.daemon.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Everything that arrived and was dealt with, or was lost before it could be.
fn dealt_with(world: &World) -> f64 {
    let lost: f64 = ["kernel-buffer", "receive-failed", "unanswerable", "handler-panicked"]
        .iter()
        .map(|cause| world.daemon.metric(&format!("sekisho_dropped_total{{cause=\"{cause}\"}}")))
        .sum();
    let counted = ["requests_total", "duplicates_total", "client_status_server_total"];
    lost + counted.iter().map(|name| world.daemon.metric(&format!("sekisho_{name}"))).sum::<f64>()
}

/// Sends in portions that the daemon has dealt with before the next one comes.
fn pour(world: &World, gateway: &Gateway, total: usize, mut packet: impl FnMut(usize) -> Vec<u8>) {
    const PORTION: usize = 250;
    let mut sent = dealt_with(world);
    for portion in 0..total / PORTION {
        for at in 0..PORTION {
            let octets = packet(portion * PORTION + at);
            // What is longer than a datagram may be was not meant to arrive.
            if gateway.socket.send_to(&octets, gateway.server).is_ok() {
                sent += 1.0;
            }
        }
        wait_for("a portion to be dealt with", || (dealt_with(world) >= sent).then_some(()));
    }
}

#[test]
fn rad_52_noise_is_silence_and_leaves_nothing_behind() {
    let world = WorldBuilder { network: r#""127.0.0.1/32""#, ..WorldBuilder::default() }.open();
    let mut noise = Noise(52);
    let stranger = world.gateway_at("127.0.0.9", SECRET);
    let known = world.second_gateway();
    let valid = known.request_with("nobody", b"whatever", &[(kind::PROXY_STATE, vec![1; 40])]).octets;
    let status = known.build(code::STATUS_SERVER, &[], None, Signed::First).octets;
    let mut round = |count: usize| {
        pour(&world, &stranger, count, |at| {
            let length = noise.below(600);
            let packet = if at % 2 == 0 { noise.octets(length) } else { noise.damaged(&valid) };
            // Not even what is right: there is no answer for strangers.
            if at % 100 == 99 { valid.clone() } else { packet }
        });
        stranger.expect_nothing();
        pour(&world, &known, count, |at| match at % 4 {
            0 => {
                let length = noise.below(4096);
                noise.octets(length)
            }
            1 => noise.damaged(&status),
            _ => noise.damaged(&valid),
        });
    };
    round(10_000);
    let before = resident(&world);
    round(40_000);
    let grown = resident(&world).saturating_sub(before);
    assert!(grown < 16 << 10, "the daemon has grown by {grown} KiB");
    assert_eq!(world.daemon.metric("sekisho_dropped_total{cause=\"handler-panicked\"}"), 0.0);
    assert_eq!(world.daemon.metric("sekisho_in_flight"), 0.0);
    at_step_begin(30, 5);
    assert!(world.gateway.login("alice", &world.token("alice", 0).field(0)).is_accept());
}

#[test]
fn sec_04_names_that_nobody_has_leave_nothing_behind() {
    let world = WorldBuilder { durability: "memory", ..WorldBuilder::default() }.open();
    let names = |from: usize, count: usize| {
        pour(&world, &world.gateway, count, |at| {
            world.gateway.request(&format!("random-name-{}", from + at), b"whatever123456").octets
        });
    };
    names(0, 5_000);
    let before = resident(&world);
    names(5_000, 15_000);
    let grown = resident(&world).saturating_sub(before);
    assert!(grown < 16 << 10, "the daemon has grown by {grown} KiB");
    for table in ["users", "tokens", "throttle", "challenges"] {
        let entries = world.daemon.metric(&format!("sekisho_state_entries{{table=\"{table}\"}}"));
        assert_eq!(entries, 0.0, "{table}");
    }
    let duplicates = world.daemon.metric("sekisho_state_entries{table=\"duplicates\"}");
    assert!(duplicates <= 256.0, "one port has 256 Identifiers");
    assert!(world.daemon.metrics().keys().all(|series| !series.contains("random-name")));
}

/// A second gateway with a secret of its own.
const NOISY: &str = r#"
    [[radius.client]]
    name = "noisy"
    network = "127.0.0.2/32"
    secret = "second-secret-of-another-client!"
    service = "test"
"#;

/// Runs `storm` over and over until `calm` has ended.
fn during(storm: impl Fn() + Sync, calm: impl FnOnce()) {
    /// Ends the storm also when the calm part fails.
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                storm();
            }
        });
        let _over = Over(&over);
        calm();
    });
}

/// Asks as a gateway does: again, if nothing came.
fn patiently(gateway: &Gateway, request: &Request) -> bool {
    wait_for("an answer", || {
        gateway.send(request);
        gateway.receive_within(request, Duration::from_secs(1))
    })
    .is_accept()
}

#[test]
fn sec_14_one_gateway_gone_mad_does_not_keep_the_others_from_being_served() {
    const NAMES: [&str; 10] = ["w0", "w1", "w2", "w3", "w4", "w5", "w6", "w7", "w8", "w9"];
    let world = WorldBuilder {
        people: NAMES.map(|name| person(name, &[(6, 30)])).to_vec(),
        clients: NOISY.replace("service", "in-flight-max = 128\n    service"),
        // Every reject is in flight for a second: the noisy one fills whatever it is given.
        service: "[service.test]\ndigits = 6\nperiod = \"30s\"\nreject-delay = \"1s\"\n".into(),
        radius: "in-flight-max = 256".into(),
        client: "in-flight-max = 128".into(),
        ..WorldBuilder::default()
    }
    .open();
    at_step_begin(30, 20);
    let noisy: Vec<Gateway> =
        (0..8).map(|_| world.gateway_at("127.0.0.2", "second-secret-of-another-client!")).collect();
    let storm = || {
        for gateway in &noisy {
            for _ in 0..20 {
                gateway.send(&gateway.request("nobody", b"whatever"));
            }
        }
    };
    during(storm, || {
        wait_for("the noisy one to have more than its share", || {
            (world.daemon.reason("client-share") > 100.0).then_some(())
        });
        for name in NAMES {
            let request = world.gateway.request(name, world.token(name, 0).field(0).as_bytes());
            assert!(patiently(&world.gateway, &request), "{name}");
        }
    });
    let refused = |client: &str, reason: &str| {
        world.daemon.metric(&format!(
            "sekisho_requests_total{{client=\"{client}\",outcome=\"drop\",reason=\"{reason}\"}}"
        ))
    };
    assert!(refused("noisy", "client-share") > 0.0);
    assert_eq!(refused("gateway", "client-share"), 0.0);
    assert_eq!(refused("gateway", "overload"), 0.0);
    assert_eq!(world.daemon.reason("code-accepted"), 10.0);
}

#[test]
fn sec_15_a_flood_of_forgeries_gets_nothing_and_known_clients_are_served() {
    let world = WorldBuilder { network: r#""127.0.0.1/32""#, ..WorldBuilder::default() }.open();
    let stranger = world.gateway_at("127.0.0.9", SECRET);
    let forger = world.gateway_at("127.0.0.1", "not-the-secret-of-this-gateway!!");
    let storm = || {
        for _ in 0..50 {
            stranger.send(&stranger.request("alice", b"whatever"));
            forger.send(&forger.request("alice", b"whatever"));
        }
    };
    at_step_begin(30, 15);
    during(storm, || {
        wait_for("the flood", || {
            let daemon = &world.daemon;
            (daemon.reason("client-unknown") > 1000.0 && daemon.reason("message-authenticator-bad") > 1000.0)
                .then_some(())
        });
        for name in ["alice", "bob"] {
            let request = world.gateway.request(name, world.token(name, 0).field(0).as_bytes());
            assert!(patiently(&world.gateway, &request), "{name}");
        }
    });
    stranger.expect_nothing();
    forger.expect_nothing();
    assert_eq!(world.daemon.metric("sekisho_users_locked"), 0.0);
}

#[test]
fn sec_17_what_nobody_signed_locks_nobody() {
    let world =
        WorldBuilder { client: "message-authenticator = \"optional\"".into(), ..WorldBuilder::default() }
            .open();
    at_step_begin(30, 15);
    let token = world.token("alice", 0);
    let unsigned = |field: &str| {
        let user = [(kind::USER_NAME, b"alice".to_vec())];
        world.gateway.build(code::ACCESS_REQUEST, &user, Some(field.as_bytes()), Signed::No)
    };
    for guess in 0..20 {
        assert!(
            world.gateway.ask(&unsigned(&format!("{PASSWORD}{guess}{}", token.wrong_code()))).is_reject()
        );
    }
    assert_eq!(world.daemon.metric("sekisho_users_locked"), 0.0);
    // Guessing unsigned is limited all the same; who signs is not concerned.
    assert!(world.daemon.reason("throttled") > 0.0);
    assert!(world.gateway.ask(&unsigned(&token.field(0))).is_reject());
    assert!(world.gateway.login("alice", &token.field(0)).is_accept());
    // Nor do forgeries against a client that must sign.
    let forger = world.gateway_at("127.0.0.1", "not-the-secret-of-this-gateway!!");
    for _ in 0..20 {
        let request = forger.request("bob", b"whatever");
        forger.send(&request);
    }
    wait_for_long("the forgeries to be dropped", || {
        (world.daemon.reason("message-authenticator-bad") >= 20.0).then_some(())
    });
    assert!(world.gateway.login("bob", &world.token("bob", 0).field(0)).is_accept());
}
