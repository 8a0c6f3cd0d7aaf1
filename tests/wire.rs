//! Packets as they stand on the wire: recorded exchanges octet for octet, hostile packets in silence, odd ones served.

use crate::harness::gateway::{self, Signed, code, kind};
use crate::harness::world::{PASSWORD, SECRET, Seed, holder, person};
use crate::harness::{Gateway, Request, World, WorldBuilder, at_step_begin, hotp};
use serde_json::Value;

/// The token of RFC 4226, appendix D.
const RFC_4226: &str = "3132333435363738393031323334353637383930";

const STATIC_PASSWORD: &str = "correct horse battery staple";

/// A client that need not sign, beside the one that must.
const LENIENT: &str = r#"
[[radius.client]]
name = "lenient"
network = "127.0.0.2/32"
secret-file = "gateway.secret"
service = "test"
message-authenticator = "optional"
"#;

const LENIENT_ADDRESS: &str = "127.0.0.2";

/// A client whose users log in in two steps.
const TWO_STEPS: &str = r#"
[[radius.client]]
name = "two-steps"
network = "127.0.0.3/32"
secret-file = "gateway.secret"
service = "two-steps"
"#;

const TWO_STEPS_ADDRESS: &str = "127.0.0.3";

/// The bank of the recorded exchanges: nothing in its rejects but what must be there.
fn recorded_bank() -> World {
    let token = Seed::new("RFC-4226", RFC_4226, 6, 0);
    let world = WorldBuilder {
        people: vec![holder("alice", vec![token])],
        clients: [LENIENT, TWO_STEPS].concat(),
        service: r#"
            [service.test]
            digits = 6
            reject-delay = "0s"
            reject-text = ""
            max-failures = 10
            [service.two-steps]
            digits = 6
            reject-delay = "0s"
            reject-text = ""
            challenge-text = "Enter your one-time password"
            second-step = "always"
            max-failures = 10
        "#
        .into(),
        ..WorldBuilder::default()
    }
    .open();
    world.set_password("alice", STATIC_PASSWORD);
    world
}

fn lenient_bank() -> World {
    WorldBuilder { clients: LENIENT.into(), ..WorldBuilder::default() }.open()
}

fn recorded(part: &str) -> Vec<Value> {
    let vectors: Value = serde_json::from_str(include_str!("vectors/radius.json")).unwrap();
    vectors[part].as_array().unwrap().clone()
}

fn exchange(id: &str) -> Vec<Value> {
    let all = recorded("exchanges");
    let found = all.iter().find(|exchange| exchange["id"] == id).unwrap();
    found["steps"].as_array().unwrap().clone()
}

fn octets(step: &Value, name: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(step[name].as_str().unwrap().as_bytes()).unwrap()
}

/// The recorded request; its reply is made with the server's secret in any case.
fn request_of(step: &Value) -> Request {
    Request { octets: octets(step, "request_hex"), secret: SECRET.into() }
}

/// From where the step comes: each client policy has an address.
fn address_of(step: &Value) -> &'static str {
    let demand = &step["client_policy"]["require_message_authenticator"];
    if *demand == Value::Bool(false) { LENIENT_ADDRESS } else { "127.0.0.1" }
}

/// Plays an exchange: every reply comes as recorded, octet for octet, and every silence is counted for its reason.
fn play(world: &World, id: &str, silences: &[&str]) {
    let mut silences = silences.iter();
    let mut gateways: Vec<Gateway> = Vec::new();
    for step in exchange(id) {
        let at = gateways.len();
        gateways.push(world.gateway_at(address_of(&step), SECRET));
        let same_port =
            step["same_source_port_as_step"].as_u64().map(|step| usize::try_from(step).unwrap() - 1);
        let gateway = &gateways[same_port.unwrap_or(at)];
        let request = request_of(&step);
        if step["expect"] == "reply" {
            assert_eq!(
                gateway.ask(&request).octets,
                octets(&step, "reply_hex"),
                "{id}: {}",
                step["description"]
            );
        } else {
            world.expect_drop(gateway, &request.octets, silences.next().expect("a reason for each silence"));
        }
    }
}

#[test]
fn rad_01_04_23_33_34_51_recorded_exchanges_octet_for_octet() {
    let world = recorded_bank();
    play(&world, "pap-accept", &[]);
    assert_eq!(world.daemon.metric("sekisho_duplicates_total"), 1.0);
    play(&world, "wrong-secret", &["message-authenticator-bad"]);
    play(&world, "proxy-state-echo", &[]);
    play(&world, "status-server", &["message-authenticator-missing", "message-authenticator-bad"]);
    play_challenge(&world);
    play(&world, "rejected-methods", &[]);
    // Codes 3 to 6 belong to the exchanges over TLS.
    for counter in 3..=6 {
        let field = format!("{STATIC_PASSWORD}{}", hotp(RFC_4226, 6, counter));
        assert!(world.gateway.login("alice", &field).is_accept(), "code {counter}");
    }
    for oddity in recorded("accepted_oddities") {
        let gateway = world.second_gateway();
        assert_eq!(
            gateway.ask(&request_of(&oddity)).octets,
            octets(&oddity, "reply_hex"),
            "{}",
            oddity["id"]
        );
    }
}

/// The State is ours and not the recorded one, so the requests of the second step are made anew around it.
fn play_challenge(world: &World) {
    let steps = exchange("access-challenge");
    let gateway = world.gateway_at(TWO_STEPS_ADDRESS, SECRET);
    let challenge = gateway.ask(&request_of(&steps[0]));
    assert!(challenge.is_challenge());
    let expected: Vec<(u8, usize)> = vec![(80, 16), (18, 28), (24, 16), (27, 4)];
    assert_eq!(challenge.structure().1, expected);
    assert_eq!(challenge.values(kind::REPLY_MESSAGE), [b"Enter your one-time password".to_vec()]);
    for step in &steps[1..] {
        let recorded = octets(step, "request_hex");
        let attributes = [
            (kind::USER_NAME, b"alice".to_vec()),
            (kind::STATE, challenge.state()),
            (kind::NAS_IP_ADDRESS, octets_of(recorded.as_slice(), kind::NAS_IP_ADDRESS)),
        ];
        let request = gateway::build(
            SECRET.as_bytes(),
            code::ACCESS_REQUEST,
            recorded[1],
            recorded[4..20].try_into().unwrap(),
            &attributes,
            step["password"].as_str().map(str::as_bytes),
            Signed::First,
        );
        let gateway = world.gateway_at(TWO_STEPS_ADDRESS, SECRET);
        assert_eq!(gateway.ask(&request).octets, octets(step, "reply_hex"), "{}", step["description"]);
    }
}

/// The value of an attribute of a recorded packet.
fn octets_of(packet: &[u8], kind: u8) -> Vec<u8> {
    let mut rest = &packet[20..];
    while rest[0] != kind {
        rest = &rest[usize::from(rest[1])..];
    }
    rest[2..usize::from(rest[1])].to_vec()
}

#[test]
fn rad_02_03_05_07_15_16_34_every_recorded_silence_has_its_reason() {
    let world = recorded_bank();
    for packet in recorded("silent_discard") {
        let reason = match packet["id"].as_str().unwrap() {
            "short-datagram" => "too-short",
            "length-below-20" | "length-beyond-datagram" | "length-4097" => "length-wrong",
            "attr-length-0" | "attr-length-1" | "attr-overruns" | "one-trailing-octet" => "malformed",
            "ma-missing" | "eap-without-ma" => "message-authenticator-missing",
            "ma-bit-flipped" | "body-bit-flipped" | "ma-length-17" | "ma-twice" => {
                "message-authenticator-bad"
            }
            "proxy-state-without-ma" => "proxy-state-unsigned",
            id if id.starts_with("code-") => "type-unknown",
            id => panic!("no reason is known for {id}"),
        };
        let gateway = world.gateway_at(address_of(&packet), SECRET);
        world.expect_drop(&gateway, &octets(&packet, "request_hex"), reason);
    }
    let field = format!("{STATIC_PASSWORD}{}", hotp(RFC_4226, 6, 0));
    assert!(world.gateway.login("alice", &field).is_accept(), "no code was used up");
}

#[test]
fn rad_02_shorter_than_a_header_is_silence() {
    let world = World::open();
    for length in 0..20 {
        world.expect_drop(&world.gateway, &vec![1; length], "too-short");
    }
}

#[test]
fn rad_03_lengths_that_cannot_be_are_silence() {
    let world = World::open();
    let whole = world.gateway.request("alice", b"whatever").octets;
    let length = u16::try_from(whole.len()).unwrap();
    for wrong in [0, 1, 19, length + 1, 4096, 4097, 65535] {
        let mut octets = whole.clone();
        octets[2..4].copy_from_slice(&wrong.to_be_bytes());
        world.expect_drop(&world.gateway, &octets, "length-wrong");
    }
    let mut long = world.gateway.request("alice", b"whatever").octets;
    long.resize(5000, 0);
    long[2..4].copy_from_slice(&5000_u16.to_be_bytes());
    world.expect_drop(&world.gateway, &long, "length-wrong");
}

#[test]
fn rad_04_padding_is_not_part_of_the_packet() {
    let world = World::open();
    at_step_begin(30, 5);
    let mut request = world.gateway.request("alice", world.token("alice", 0).field(0).as_bytes());
    request.octets.resize(request.octets.len() + 300, 0xa5);
    assert!(world.gateway.ask(&request).is_accept());
}

#[test]
fn rad_05_attributes_must_tile() {
    let world = World::open();
    // Attributes that end the packet, as they stand; the rest of it is in order and signed.
    let ends: [&[u8]; 8] =
        [&[25, 0], &[25, 1], &[25, 0, 0, 0], &[25, 5, 1, 2], &[25, 255, 1], &[25], &[0, 2], &[0, 4, 1, 2]];
    for end in ends {
        let mut octets = world.gateway.build(code::ACCESS_REQUEST, &[], Some(b"x"), Signed::First).octets;
        octets.extend_from_slice(end);
        let length = u16::try_from(octets.len()).unwrap();
        octets[2..4].copy_from_slice(&length.to_be_bytes());
        world.expect_drop(&world.gateway, &octets, "malformed");
    }
}

#[test]
fn rad_06_more_attributes_than_anybody_needs_are_silence() {
    let world = World::open();
    at_step_begin(30, 5);
    let field = world.token("alice", 0).field(0);
    let empty = |count| vec![(kind::CLASS, Vec::new()); count];
    // With Message-Authenticator, User-Name and User-Password there are one more than allowed, and then just allowed.
    let many = world.gateway.request_with("alice", field.as_bytes(), &empty(198));
    world.expect_drop(&world.gateway, &many.octets, "attributes-too-many");
    let full = world.gateway.build(code::ACCESS_REQUEST, &empty(2038), None, Signed::No);
    assert_eq!(full.octets.len(), 4096);
    world.expect_drop(&world.gateway, &full.octets, "attributes-too-many");
    let most = world.gateway.request_with("alice", field.as_bytes(), &empty(197));
    assert!(world.gateway.ask(&most).is_accept());
}

#[test]
fn rad_07_other_codes_are_silence() {
    let world = World::open();
    at_step_begin(30, 5);
    let field = world.token("alice", 0).field(0);
    let user = [(kind::USER_NAME, b"alice".to_vec())];
    for other in (0..=255).filter(|code| ![code::ACCESS_REQUEST, code::STATUS_SERVER].contains(code)) {
        let request = world.gateway.build(other, &user, Some(field.as_bytes()), Signed::First);
        world.gateway.send(&request);
    }
    world.daemon.wait_for_reason("type-unknown", 254.0);
    world.gateway.expect_nothing();
    assert!(world.gateway.login("alice", &field).is_accept(), "none of them used the code");
}

#[test]
fn rad_14_the_message_authenticator_may_stand_anywhere() {
    let world = World::open();
    at_step_begin(30, 5);
    let name = |name: &str| (kind::USER_NAME, name.as_bytes().to_vec());
    let signature = (kind::MESSAGE_AUTHENTICATOR, vec![0; 16]);
    let port = (kind::NAS_PORT, vec![0, 0, 0, 1]);
    let [alice, bob, carol] =
        [("alice", 0), ("bob", 0), ("carol", 1)].map(|(name, at)| world.token(name, at).field(0));
    let asks = [
        (vec![name("alice"), port.clone()], alice, Signed::First),
        (vec![name("bob"), signature, port.clone()], bob, Signed::InPlace),
        (vec![name("carol"), port], carol, Signed::Last),
    ];
    for (attributes, field, signed) in asks {
        let request = world.gateway.build(code::ACCESS_REQUEST, &attributes, Some(field.as_bytes()), signed);
        assert!(world.gateway.ask(&request).is_accept(), "{signed:?}");
    }
}

#[test]
fn rad_15_one_flipped_bit_anywhere_is_silence() {
    let world = World::open();
    at_step_begin(30, 10);
    let attributes = [(kind::NAS_PORT, vec![0, 0, 0, 1]), (kind::PROXY_STATE, b"proxy".to_vec())];
    let field = world.token("alice", 0).field(0);
    let request = world.gateway.request_with("alice", field.as_bytes(), &attributes);
    for at in 0..request.octets.len() {
        let mut flipped = request.octets.clone();
        flipped[at] ^= 1 << (at % 8);
        world.gateway.socket.send_to(&flipped, world.gateway.server).unwrap();
    }
    let dropped = || {
        let metrics = world.daemon.metrics();
        let drops = metrics.iter().filter(|(name, _)| {
            name.starts_with("sekisho_requests_total{") && name.contains("outcome=\"drop\"")
        });
        drops.map(|(_, count)| count).sum::<f64>()
    };
    let sent = f64::from(u32::try_from(request.octets.len()).unwrap());
    crate::harness::wait_for("all of them to be dropped", || (dropped() >= sent).then_some(()));
    world.gateway.expect_nothing();
    assert!(world.daemon.reason("message-authenticator-bad") >= 60.0);
    assert!(world.gateway.ask(&request).is_accept(), "the code was not used up");
}

#[test]
fn rad_16_a_message_authenticator_of_another_length_or_a_second_one_is_silence() {
    let world = lenient_bank();
    at_step_begin(30, 5);
    let field = world.token("alice", 0).field(0);
    for gateway in [&world.gateway, &world.gateway_at(LENIENT_ADDRESS, SECRET)] {
        for length in [0, 15, 17] {
            let attributes =
                [(kind::USER_NAME, b"alice".to_vec()), (kind::MESSAGE_AUTHENTICATOR, vec![0; length])];
            let request =
                gateway.build(code::ACCESS_REQUEST, &attributes, Some(field.as_bytes()), Signed::No);
            world.expect_drop(gateway, &request.octets, "message-authenticator-bad");
        }
        // One of the two is right, whichever of them a receiver believes.
        for signed in [Signed::First, Signed::Last] {
            let attributes =
                [(kind::USER_NAME, b"alice".to_vec()), (kind::MESSAGE_AUTHENTICATOR, vec![0; 16])];
            let request = gateway.build(code::ACCESS_REQUEST, &attributes, Some(field.as_bytes()), signed);
            world.expect_drop(gateway, &request.octets, "message-authenticator-bad");
        }
    }
    assert!(world.gateway.login("alice", &field).is_accept());
}

#[test]
fn rad_24_a_full_load_of_proxy_states_is_echoed_whole() {
    let text = "あ".repeat(84);
    let service = WorldBuilder::default().service + &format!("reject-text = \"{text}\"\n");
    let world = WorldBuilder { service, ..WorldBuilder::default() }.open();
    at_step_begin(30, 5);
    let states: Vec<(u8, Vec<u8>)> = (0..15).map(|at| (kind::PROXY_STATE, vec![at; 253])).collect();
    let echo: Vec<Vec<u8>> = states.iter().map(|(_, value)| value.clone()).collect();
    let token = world.token("alice", 0);
    let request = world.gateway.request_with("alice", token.field(0).as_bytes(), &states);
    let accept = world.gateway.ask(&request);
    assert!(accept.is_accept());
    assert_eq!(accept.values(kind::PROXY_STATE), echo);

    // Where text and echo do not fit together, the text is what stays behind.
    let wrong = world.gateway.request_with("alice", format!("{PASSWORD}000").as_bytes(), &states);
    let reject = world.gateway.ask(&wrong);
    assert!(reject.is_reject());
    assert_eq!(reject.values(kind::PROXY_STATE), echo);
    assert_eq!(reject.values(kind::REPLY_MESSAGE), Vec::<Vec<u8>>::new());

    // Where the echo alone does not fit, nobody is judged.
    let mut beyond = states;
    beyond.push((kind::PROXY_STATE, vec![15; 231]));
    let request = world.gateway.build(code::ACCESS_REQUEST, &beyond, None, Signed::First);
    assert_eq!(request.octets.len(), 4096);
    world.expect_drop(&world.gateway, &request.octets, "reply-too-long");
}

#[test]
fn rad_25_unknown_and_broken_extended_attributes_are_passed_over() {
    let world = World::open();
    let odd: Vec<(&str, Vec<(u8, Vec<u8>)>)> = vec![
        ("unknown types", vec![(250, vec![1]), (192, Vec::new()), (17, vec![9; 253])]),
        ("a vendor nobody knows", vec![(26, vec![0, 0, 0x7e, 0xd9, 1, 6, 1, 2, 3, 4])]),
        ("a vendor's value without a vendor", vec![(26, vec![0, 0]), (26, Vec::new())]),
        ("a vendor's values that do not tile", vec![(26, vec![0, 0, 0x7e, 0xd9, 1, 200, 1])]),
        ("an extended type without a value", vec![(241, vec![3]), (244, Vec::new())]),
        ("a long extended type without flags", vec![(245, vec![1]), (246, vec![1, 0])]),
        ("a fragment without its end", vec![(245, [vec![26, 0x80], vec![7; 251]].concat())]),
        ("a short fragment that says more", vec![(246, vec![26, 0x80, 1, 2, 3])]),
        ("a broken TLV inside", vec![(241, vec![1, 5, 0, 9])]),
    ];
    for (what, attributes) in odd {
        at_step_begin(30, 2);
        let before = world.daemon.reason("code-accepted") + world.daemon.reason("code-used");
        let request =
            world.gateway.request_with("alice", world.token("alice", 0).field(0).as_bytes(), &attributes);
        // The code is good for the first of them only; that it was looked at is what counts.
        world.gateway.ask(&request);
        let judged = || world.daemon.reason("code-accepted") + world.daemon.reason("code-used");
        crate::harness::wait_for(what, || (judged() > before).then_some(()));
    }
    assert!(world.daemon.reason("code-accepted") >= 1.0);
}

#[test]
fn rad_26_values_of_the_wrong_size_count_as_absent() {
    let world = World::open();
    at_step_begin(30, 5);
    let attributes = [
        (kind::NAS_PORT, vec![0, 0, 1]),
        (kind::NAS_IPV6_ADDRESS, vec![10, 0, 0, 1]),
        (kind::NAS_IP_ADDRESS, vec![10]),
        (kind::SERVICE_TYPE, vec![17]),
        (kind::SESSION_TIMEOUT, Vec::new()),
    ];
    let field = world.token("alice", 0).field(0);
    let request = world.gateway.request_with("alice", field.as_bytes(), &attributes);
    assert!(world.gateway.ask(&request).is_accept());
}

#[test]
fn rad_27_a_password_of_impossible_length_is_refused() {
    let world = World::open();
    for length in [0, 1, 15, 17, 129, 144, 253] {
        let attributes = [(kind::USER_NAME, b"alice".to_vec()), (kind::USER_PASSWORD, vec![0x5a; length])];
        let request = world.gateway.build(code::ACCESS_REQUEST, &attributes, None, Signed::First);
        world.expect_reject(&world.gateway, &request, "credential-invalid");
    }
}

/// Users by what is special in their passwords; with six digits behind, the fields have the lengths that matter.
const SPECIAL: [(&str, &str); 11] = [
    ("fifteen", "9_octets."),
    ("sixteen", "10_octets."),
    ("seventeen", "11__octets."),
    ("thirty-two", "26_octets_and_two_blocks_."),
    (
        "longest-but-one",
        "121_octets______________________________________________________________________________________________________________.",
    ),
    (
        "longest",
        "122_octets_______________________________________________________________________________________________________________.",
    ),
    ("utf-8", "パスワード・秘密"),
    ("nul", "nul\0inside"),
    ("blanks", "  blanks around  "),
    ("marks", "semi;colon,comma\"quote\\"),
    ("digits", "20240229123456"),
];

#[test]
fn rad_28_passwords_of_every_length_and_kind_reach_the_directory_octet_for_octet() {
    let people = SPECIAL.map(|(name, _)| person(name, &[(6, 30)])).to_vec();
    let world = WorldBuilder { people, ..WorldBuilder::default() }.open();
    let lengths = SPECIAL[..6].iter().map(|(_, password)| password.len() + 6);
    assert!(lengths.eq([15, 16, 17, 32, 127, 128]));
    for (name, password) in SPECIAL {
        world.set_password(name, password);
        at_step_begin(30, 3);
        let token = world.token(name, 0);
        assert!(world.gateway.login(name, &format!("{password}{}", token.code(0))).is_accept(), "{name}");
        // One character less, with the next code of the window.
        let shorter = &password[..password.char_indices().last().unwrap().0];
        let request = world.gateway.request(name, format!("{shorter}{}", token.code(30)).as_bytes());
        world.expect_reject(&world.gateway, &request, "password-wrong");
    }
    for one in ["a", "7", "\0"] {
        assert!(world.gateway.login("fifteen", one).is_reject());
    }
}

#[test]
fn rad_29_30_31_32_33_35_what_is_no_login_is_refused_and_uses_nothing_up() {
    let world = lenient_bank();
    at_step_begin(30, 15);
    let field = world.token("alice", 0).field(0);
    let name = || (kind::USER_NAME, b"alice".to_vec());
    let chap = || (kind::CHAP_PASSWORD, vec![7; 17]);
    let eap = || (kind::EAP_MESSAGE, [vec![2, 42, 0, 10, 1], b"alice".to_vec()].concat());
    // Vendor 311 (Microsoft): MS-CHAP-Response is its type 1, MS-CHAP2-Response its type 25.
    let ms_chap =
        |version: u8| (kind::VENDOR_SPECIFIC, [vec![0, 0, 1, 55, version, 52], vec![0; 50]].concat());
    let state = || (kind::STATE, vec![1; 16]);
    let service_type = |value| (kind::SERVICE_TYPE, vec![0, 0, 0, value]);
    let with_password = Some(field.as_bytes());
    let refused: Vec<(&str, Vec<(u8, Vec<u8>)>, Option<&[u8]>)> = vec![
        ("credential-invalid", vec![name(), chap()], with_password),
        ("credential-invalid", vec![name(), eap()], with_password),
        ("credential-invalid", vec![name(), ms_chap(25)], with_password),
        ("credential-invalid", vec![name(), chap(), eap()], None),
        ("credential-missing", vec![name()], None),
        ("user-name-missing", vec![], with_password),
        ("user-name-missing", vec![(kind::USER_NAME, Vec::new())], with_password),
        ("attribute-repeated", vec![name(), name()], with_password),
        ("attribute-repeated", vec![name(), (kind::USER_NAME, b"bob".to_vec())], with_password),
        ("attribute-repeated", vec![name(), (kind::USER_PASSWORD, vec![0; 16])], with_password),
        ("attribute-repeated", vec![name(), state(), state()], with_password),
        ("method-unsupported", vec![name(), chap(), (kind::CHAP_CHALLENGE, vec![3; 16])], None),
        ("method-unsupported", vec![name(), ms_chap(1)], None),
        ("method-unsupported", vec![name(), ms_chap(25)], None),
        ("method-unsupported", vec![name(), eap()], None),
        ("service-type-refused", vec![name(), service_type(10)], with_password),
        ("service-type-refused", vec![name(), service_type(17)], with_password),
    ];
    for (reason, attributes, field) in refused {
        let request = world.gateway.build(code::ACCESS_REQUEST, &attributes, field, Signed::First);
        let reject = world.expect_reject(&world.gateway, &request, reason);
        // RAD-34, RAD-48: an EAP-Failure with the Identifier that came, and then no text; otherwise the text alone.
        let has_eap = attributes.iter().any(|(kind, _)| *kind == kind::EAP_MESSAGE);
        let failure = if has_eap { vec![vec![4, 42, 0, 4]] } else { Vec::new() };
        assert_eq!(reject.values(kind::EAP_MESSAGE), failure, "{reason}");
        assert_eq!(reject.values(kind::REPLY_MESSAGE).is_empty(), has_eap, "{reason}");
        assert_eq!(reject.attributes().len(), 2, "{reason}");
    }
    // Without a signature, what has no credential deserves no answer, and EAP must be signed (RFC 3579 §3.1).
    let lenient = world.gateway_at(LENIENT_ADDRESS, SECRET);
    let nothing = lenient.build(code::ACCESS_REQUEST, &[name()], None, Signed::No);
    world.expect_drop(&lenient, &nothing.octets, "credential-missing-unsigned");
    let eap = lenient.build(code::ACCESS_REQUEST, &[name(), eap()], None, Signed::No);
    world.expect_drop(&lenient, &eap.octets, "message-authenticator-missing");

    assert!(world.gateway.login("alice", &field).is_accept(), "none of them used the code or counted");
    assert_eq!(world.daemon.metric("sekisho_users_locked"), 0.0);
}

#[test]
fn rad_49_the_text_of_a_reject_is_configured_and_whole() {
    let longest = format!("{}!", "拒".repeat(84));
    let texts = [
        ("language = \"ja\"", "認証できませんでした。"),
        ("language = \"en\"", "Authentication failed."),
        (&format!("reject-text = \"{longest}\""), longest.as_str()),
    ];
    for (key, text) in texts {
        let service = WorldBuilder::default().service + key + "\n";
        let world = WorldBuilder { service, ..WorldBuilder::default() }.open();
        let reject = world.gateway.login("alice", "alice-typed-this");
        assert_eq!(reject.values(kind::REPLY_MESSAGE), [text.as_bytes().to_vec()]);
    }
}

#[test]
fn rad_51_a_request_under_another_secret_is_silence_or_a_reject_under_ours() {
    let world = lenient_bank();
    at_step_begin(30, 5);
    let field = world.token("alice", 0).field(0);
    let stranger = world.gateway_at("127.0.0.1", "another-secret-of-somebody-else!");
    let request = stranger.request("alice", field.as_bytes());
    world.expect_drop(&stranger, &request.octets, "message-authenticator-bad");

    let lenient = world.gateway_at(LENIENT_ADDRESS, "another-secret-of-somebody-else!");
    let unsigned = lenient.build(
        code::ACCESS_REQUEST,
        &[(kind::USER_NAME, b"alice".to_vec())],
        Some(field.as_bytes()),
        Signed::No,
    );
    // The reply is checked against the secret that the server holds.
    let request = Request { secret: SECRET.into(), ..unsigned };
    assert!(lenient.ask(&request).is_reject());
    assert!(world.gateway.login("alice", &field).is_accept(), "the code was not used up");
}
