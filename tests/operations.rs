//! Operations and service profiles: the four that ship, story by story, and every way to name an operation.

use crate::harness::gateway::Signed;
use crate::harness::{Clock, Gateway, PASSWORD, Person, Reply, SECRET, World, WorldBuilder, code, person};

const NOON: u64 = 1_700_000_010;
const SERVICES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/services/*.toml");

/// A bank with the shipped profiles, one gateway for each: 127.0.0.2 to 127.0.0.5.
fn bank(people: Vec<Person>) -> (Clock, World) {
    let profiles = ["kenshin-business", "kenmin-personal", "shinkin-personal", "shiga-business"];
    let client = |(n, profile): (usize, &&str)| {
        format!(
            "[[radius.client]]\nname = \"{profile}\"\nnetwork = \"127.0.0.{}\"\nsecret-file = \"gateway.secret\"\nservice = \"{profile}\"\n",
            n + 2
        )
    };
    // Rejects at once, and every contract is asked (`registry.rs` has contracts); everything else is as shipped.
    let hurry = |name: &&str| format!("[service.{name}]\nreject-delay = \"0s\"\ncontracts = \"ignore\"\n");
    let hurry: String = profiles.iter().map(hurry).collect();
    let clock = Clock::standing_at(NOON);
    let builder = WorldBuilder {
        head: format!("services = \"{SERVICES}\""),
        clients: profiles.iter().enumerate().map(client).collect(),
        service: WorldBuilder::default().service + &hurry,
        environment: clock.environment(),
        ..WorldBuilder::of(people)
    };
    (clock, builder.open())
}

fn business(names: &[&str]) -> Vec<Person> {
    names.iter().map(|name| person(name, &[(8, 60)])).chain([person("dave", &[])]).collect()
}

fn operation_of(world: &World) -> String {
    world.audit().last().unwrap()["operation"].as_str().unwrap_or_default().to_owned()
}

/// What every company service does at an operation that needs a code.
fn needs_code(world: &World, gateway: &Gateway, operation: &str, user: &str) {
    assert!(gateway.operation(user, PASSWORD, operation).is_reject(), "{operation} without a code");
    assert_eq!(world.last_reason(user), "code-missing", "{operation}");
    let field = world.token(user, 0).field_at(NOON);
    assert!(gateway.operation(user, &field, operation).is_accept(), "{operation} with a code");
    assert!(gateway.operation(user, &field, operation).is_reject(), "{operation} with a used code");
    assert!(gateway.operation("dave", &field, operation).is_reject(), "{operation} without a token");
    assert_eq!(world.last_reason("dave"), "no-token", "the reason is in the audit log (S-10)");
}

/// What every company service does where it asks for no code.
fn needs_none(world: &World, gateway: &Gateway, operation: &str, user: &str) {
    assert!(gateway.operation(user, PASSWORD, operation).is_accept(), "{operation}");
    assert_eq!(operation_of(world), operation);
    assert_eq!(world.last_reason(user), "code-not-asked");
    assert!(gateway.operation("dave", PASSWORD, operation).is_accept(), "{operation} without a token");
    assert!(gateway.operation(user, "wrong", operation).is_reject(), "the password still counts (S-04)");
    assert_eq!(world.last_reason(user), "password-wrong");
}

#[test]
fn s_06_p_a_asks_at_the_listed_operations_and_not_at_login() {
    let listed = [
        "transfer",
        "bulk-transfer",
        "payroll",
        "bonus",
        "approval",
        "tax-payment",
        "fee-payment",
        "token-management",
        "user-management",
    ];
    let names: Vec<String> = (0..listed.len()).map(|n| format!("user{n}")).collect();
    let mut people: Vec<&str> = names.iter().map(String::as_str).collect();
    people.extend(["carl", "eve"]);
    let (_clock, world) = bank(business(&people));
    let gateway = world.gateway_at("127.0.0.2", SECRET);
    for (operation, user) in listed.iter().zip(&names) {
        needs_code(&world, &gateway, operation, user);
    }
    needs_none(&world, &gateway, "login", "carl");
    // What nobody has named needs a code: a gap in the configuration opens nothing.
    assert!(gateway.operation("eve", PASSWORD, "something-new").is_reject());
    assert!(gateway.login("eve", PASSWORD).is_reject());
    assert!(gateway.login("eve", &world.token("eve", 0).field_at(NOON)).is_accept());
}

#[test]
fn s_06_p_d_asks_as_p_a_but_not_for_approval_and_tax_and_also_for_changes_of_users() {
    let listed = [
        "transfer",
        "bulk-transfer",
        "payroll",
        "bonus",
        "fee-payment",
        "token-management",
        "user-management",
        "user-change",
    ];
    let names: Vec<String> = (0..listed.len()).map(|n| format!("user{n}")).collect();
    let mut people: Vec<&str> = names.iter().map(String::as_str).collect();
    people.extend(["carl", "eve", "fay"]);
    let (_clock, world) = bank(business(&people));
    let gateway = world.gateway_at("127.0.0.5", SECRET);
    for (operation, user) in listed.iter().zip(&names) {
        needs_code(&world, &gateway, operation, user);
    }
    for (operation, user) in [("login", "carl"), ("approval", "eve"), ("tax-payment", "fay")] {
        needs_none(&world, &gateway, operation, user);
    }
}

#[test]
fn s_08_p_b_always_asks_at_login_in_a_second_step_or_in_the_same_field() {
    let (_clock, world) = bank(business(&["alice", "bob"]));
    let gateway = world.gateway_at("127.0.0.3", SECRET);
    let first = gateway.login("alice", PASSWORD);
    assert!(first.is_challenge());
    assert!(String::from_utf8(first.values(18).concat()).unwrap().contains("ワンタイムパスワード"));
    let answer = |reply: &Reply, user: &str, code: &str| {
        let attributes = [(1, user.as_bytes().to_vec()), (24, reply.state())];
        gateway.ask(&gateway.build(code::ACCESS_REQUEST, &attributes, Some(code.as_bytes()), Signed::First))
    };
    assert!(answer(&first, "alice", &world.token("alice", 0).code_at(NOON)).is_accept());
    assert!(gateway.login("bob", &world.token("bob", 0).field_at(NOON)).is_accept(), "both in one field");
    // Nobody without a token gets in, and nobody learns it at the first step.
    let decoy = gateway.login("dave", PASSWORD);
    assert!(decoy.is_challenge());
    assert_eq!(decoy.structure(), first.structure());
    assert!(answer(&decoy, "dave", "12345678").is_reject());
    assert_eq!(world.last_reason("dave"), "no-token");
}

#[test]
fn s_04_s_08_p_c_asks_at_operations_and_lets_the_user_decide_about_login() {
    let chosen = |name: &str, choice: &str| Person {
        entry: format!("objectClass: sekishoUser\nsekishoLoginCode: {choice}\n"),
        ..person(name, &[(6, 30)])
    };
    let (_clock, world) = bank(vec![
        chosen("with", "required"),
        chosen("without", "not-required"),
        person("undecided", &[(6, 30)]),
        person("fee", &[(6, 30)]),
        person("dave", &[]),
    ]);
    let gateway = world.gateway_at("127.0.0.4", SECRET);
    let code = |user: &str| world.token(user, 0).code_at(NOON);
    // The code stands alone: it takes the place of the confirmation password, which the bank no longer asks for.
    for user in ["with", "without", "undecided"] {
        assert!(gateway.operation(user, "", "transfer").is_reject(), "{user}");
    }
    assert!(gateway.operation("with", "", "login").is_reject(), "who wants a code at login needs one");
    assert!(gateway.operation("with", &code("with"), "login").is_accept());
    for user in ["without", "undecided", "dave"] {
        assert!(gateway.operation(user, "anything", "login").is_accept(), "{user} logs in without a code");
        assert_eq!(world.last_reason(user), "code-not-asked");
    }
    assert!(gateway.operation("without", &code("without"), "transfer").is_accept());
    assert!(gateway.operation("undecided", &code("undecided"), "transfer-abroad").is_accept(), "a prefix");
    assert_eq!(operation_of(&world), "transfer");
    assert!(gateway.operation("fee", &code("fee"), "fee-payment").is_accept());
    // Who has no token yet is asked for the confirmation password, by a bind.
    assert!(gateway.operation("dave", "123456", "transfer").is_reject());
    assert_eq!(world.last_reason("dave"), "password-wrong");
    assert!(gateway.operation("dave", PASSWORD, "transfer").is_accept());
    assert_eq!((world.last_reason("dave").as_str(), world.binds("dave")), ("password-instead", 2));
    assert!(
        gateway.operation("with", PASSWORD, "transfer").is_reject(),
        "who has a token has no way around it"
    );
    for user in ["with", "without", "undecided", "fee"] {
        assert_eq!(world.binds(user), 0, "the gateway has checked the password");
    }
}

#[test]
fn s_17_every_profile_locks_at_the_fifth_wrong_code() {
    for (address, operation, digits) in [
        ("127.0.0.2", "transfer", 8),
        ("127.0.0.3", "", 8),
        ("127.0.0.4", "transfer", 6),
        ("127.0.0.5", "transfer", 8),
    ] {
        let people = vec![person("alice", &[(digits, if digits == 6 { 30 } else { 60 })])];
        let (_clock, world) = bank(people);
        let gateway = world.gateway_at(address, SECRET);
        let token = world.token("alice", 0);
        let password = if address == "127.0.0.4" { "" } else { PASSWORD };
        let finish = |field: &str| {
            let reply = gateway.operation("alice", field, operation);
            if !reply.is_challenge() {
                return reply;
            }
            // The second step of a decoy ends in a reject.
            let attributes = [(1, b"alice".to_vec()), (24, reply.state())];
            let code = &field[field.len() - usize::try_from(digits).unwrap()..];
            gateway.ask(&gateway.build(
                code::ACCESS_REQUEST,
                &attributes,
                Some(code.as_bytes()),
                Signed::First,
            ))
        };
        for n in 1..=5 {
            let wrong = format!("{password}{:0width$}", 17 * n, width = usize::try_from(digits).unwrap());
            assert!(finish(&wrong).is_reject(), "{address}");
        }
        assert!(finish(&format!("{password}{}", token.code_at(NOON))).is_reject(), "{address}: locked");
        assert_eq!(world.daemon.metric("sekisho_users_locked"), 1.0, "{address}");
        assert_eq!(world.last_reason("alice"), "locked", "{address}");
    }
}

#[test]
fn s_07_any_attribute_that_the_gateway_sends_may_name_the_operation() {
    let operation = |name: &str, condition: &str| {
        format!(
            "[[service.test.operation]]\nname = \"{name}\"\nmatch = {{ {condition} }}\ncode = \"never\"\n"
        )
    };
    let service = [
        WorldBuilder::default().service.as_str(),
        &operation("port-id", r#"NAS-Port-Id = "see""#),
        &operation("identifier", r#"NAS-Identifier = "balance""#),
        &operation("called", r#"Called-Station-Id = "branch-*""#),
        &operation("service-type", r#"Service-Type = "Login""#),
        &operation("filter", r#"Filter-Id = ["one", "two"]"#),
        &operation("vendor", r#""Vendor-Specific:32473:7" = "read""#),
        &operation("both", r#"NAS-Port-Type = "Virtual", Connect-Info = "app""#),
    ]
    .concat();
    let world = WorldBuilder { service, ..WorldBuilder::default() }.open();
    let vendor = [&32473_u32.to_be_bytes()[..], &[7, 6], b"read"].concat();
    let cases: Vec<(&str, Vec<(u8, Vec<u8>)>)> = vec![
        ("port-id", vec![(87, b"see".to_vec())]),
        ("identifier", vec![(32, b"balance".to_vec())]),
        ("called", vec![(30, b"branch-12".to_vec())]),
        ("service-type", vec![(6, 1_u32.to_be_bytes().to_vec())]),
        ("filter", vec![(11, b"two".to_vec())]),
        ("vendor", vec![(26, vendor)]),
        ("both", vec![(61, 5_u32.to_be_bytes().to_vec()), (77, b"app".to_vec())]),
    ];
    let ask = |attributes: &[(u8, Vec<u8>)]| {
        let all = [&[(1, b"dave".to_vec())], attributes].concat();
        world.gateway.ask(&world.gateway.build(
            code::ACCESS_REQUEST,
            &all,
            Some(PASSWORD.as_bytes()),
            Signed::First,
        ))
    };
    for (name, attributes) in &cases {
        assert!(ask(attributes).is_accept(), "{name}");
        assert_eq!(operation_of(&world), *name);
    }
    // Nearly is not enough, and one of two conditions is not either.
    for attributes in [
        vec![],
        vec![(87, b"SEE".to_vec())],
        vec![(87, b"see ".to_vec())],
        vec![(30, b"branch".to_vec())],
        vec![(11, b"three".to_vec())],
        vec![(61, 5_u32.to_be_bytes().to_vec())],
    ] {
        assert!(ask(&attributes).is_reject(), "{attributes:?}");
        assert_eq!(operation_of(&world), "other");
    }
}

/// One service with an operation for each rule.
fn rules(more: &str) -> (Clock, World) {
    let operation = |name: &str| {
        format!(
            "[[service.test.operation]]\nname = \"{name}\"\nmatch = {{ NAS-Port-Id = \"{name}\" }}\ncode = \"{name}\"\n"
        )
    };
    let service = ["required", "optional", "never"].map(operation).concat();
    let clock = Clock::standing_at(NOON);
    let base = WorldBuilder::default();
    let world = WorldBuilder {
        service: base.service.clone() + more + &service,
        environment: clock.environment(),
        ..base
    }
    .open();
    (clock, world)
}

#[test]
fn s_09_where_no_code_is_asked_none_is_consumed() {
    let (_clock, world) = rules("");
    let field = world.token("alice", 0).field_at(NOON);
    assert!(world.gateway.operation("alice", PASSWORD, "never").is_accept());
    // The code would be a part of the password, and that is wrong: said aloud, not swallowed.
    assert!(world.gateway.operation("alice", &field, "never").is_reject());
    assert_eq!(world.last_reason("alice"), "password-wrong");
    assert!(world.gateway.operation("alice", &field, "required").is_accept(), "and the code is still good");
}

#[test]
fn s_09_an_optional_code_is_checked_if_it_comes() {
    let (_clock, world) = rules("");
    let token = world.token("alice", 0);
    assert!(world.gateway.operation("alice", PASSWORD, "optional").is_accept());
    assert_eq!(world.last_reason("alice"), "code-not-asked");
    assert!(world.gateway.operation("alice", &token.field_at(NOON), "optional").is_accept());
    assert_eq!(world.last_reason("alice"), "code-accepted");
    assert!(
        world.gateway.operation("alice", &token.field_at(NOON), "optional").is_reject(),
        "and it counts once"
    );
    assert!(
        world.gateway.operation("alice", &format!("{PASSWORD}000017"), "optional").is_reject(),
        "and is not ignored"
    );
    assert!(world.gateway.operation("dave", PASSWORD, "optional").is_accept(), "nor needed");
}

#[test]
fn s_09_rules_where_the_gateway_has_checked_the_password() {
    let (_clock, world) = rules("password = \"none\"\nlayout = \"code\"\n");
    let token = world.token("alice", 0);
    assert!(world.gateway.operation("alice", "", "required").is_reject());
    assert!(world.gateway.operation("alice", "000017", "optional").is_reject(), "a wrong code is wrong");
    assert!(world.gateway.operation("alice", "", "optional").is_accept());
    assert!(world.gateway.operation("alice", &token.code_at(NOON), "never").is_accept());
    assert!(
        world.gateway.operation("alice", &token.code_at(NOON), "required").is_accept(),
        "never has consumed nothing"
    );
    assert!(world.gateway.operation("alice", &token.code_at(NOON), "required").is_reject());
    assert_eq!(world.binds("alice"), 0);
}

#[test]
fn s_10_whoever_has_no_token_is_refused_with_a_reason_for_the_operator_only() {
    let (_clock, world) = rules("");
    let refused = world.gateway.operation("dave", &format!("{PASSWORD}123456"), "required");
    let wrong = world.gateway.operation("alice", &format!("{PASSWORD}000017"), "required");
    assert_eq!(refused.structure(), wrong.structure());
    assert_eq!(refused.values(18), wrong.values(18), "the user is told the same");
    assert_eq!(world.last_reason("dave"), "no-token");
    assert_eq!(world.daemon.reason("no-token"), 1.0);
}

#[test]
fn an_operation_that_the_profile_refuses_to_guess_is_refused() {
    let service = WorldBuilder::default().service + "[service.test.otherwise]\ncode = \"refuse\"\n";
    let world = WorldBuilder { service, ..WorldBuilder::default() }.open();
    assert!(world.gateway.operation("alice", &world.token("alice", 0).field(0), "anything").is_reject());
    assert_eq!(world.last_reason("alice"), "operation-unknown");
}

#[test]
fn every_shipped_profile_is_a_configuration_without_a_problem() {
    let clients = "[[radius.client]]\nname = \"a\"\nnetwork = \"127.0.0.2\"\nsecret-file = \"gateway.secret\"\nservice = \"kenshin-business\"\n";
    let builder = WorldBuilder {
        head: format!("services = \"{SERVICES}\""),
        clients: clients.into(),
        ..WorldBuilder::default()
    };
    let (status, text) = builder.check();
    assert_eq!(status, Some(0), "{text}");
}
