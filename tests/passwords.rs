//! The field that holds password and code: encodings, blanks and marks, layouts, lengths; and what reaches the directory.

use crate::harness::gateway::Signed;
use crate::harness::{Clock, PASSWORD, Person, SECRET, World, WorldBuilder, code, person, slapd};

const NOON: u64 = 1_700_000_010;

/// A bank at a time that stands still, so that every code is known beforehand.
fn bank(people: Vec<Person>) -> (Clock, WorldBuilder) {
    let clock = Clock::standing_at(NOON);
    let builder = WorldBuilder { environment: clock.environment(), ..WorldBuilder::of(people) };
    (clock, builder)
}

fn with_password(name: &str, password: &[u8]) -> Person {
    Person { password: password.to_vec(), ..person(name, &[(6, 30)]) }
}

fn login(world: &World, user: &str, field: &[u8]) -> bool {
    world.gateway.ask(&world.gateway.request(user, field)).is_accept()
}

#[test]
fn ldap_09_passwords_reach_the_directory_octet_for_octet() {
    let long = [b"a-very-long-password-".repeat(6)].concat();
    let passwords: Vec<Vec<u8>> = vec![
        b"x".to_vec(),
        b" leading and trailing ".to_vec(),
        b"   ".to_vec(),
        b"a;b,c".to_vec(),
        b";,;".to_vec(),
        b"back\\slash*(paren)\"quote\"".to_vec(),
        b"ends-in-digits-987654".to_vec(),
        b"123456".to_vec(),
        b"12345678".to_vec(),
        "パスワード①㈱".as_bytes().to_vec(),
        "p\u{e4}ssw\u{f6}rd".as_bytes().to_vec(),
        // Decomposed: not the same octets as composed, and normalisation is off.
        "p\u{61}\u{308}ss".as_bytes().to_vec(),
        b"nul\0inside".to_vec(),
        b"\xff\xfe not utf-8".to_vec(),
        b"tab\tand\rreturn\n".to_vec(),
        long[..121].to_vec(),
        long[..122].to_vec(),
    ];
    let names: Vec<String> = (0..passwords.len()).map(|n| format!("user{n}")).collect();
    let people = names.iter().zip(&passwords).map(|(name, password)| with_password(name, password)).collect();
    let (_clock, builder) = bank(people);
    let world = builder.open();
    for (name, password) in names.iter().zip(&passwords) {
        let token = world.token(name, 0);
        let field = [password.as_slice(), token.code_at(NOON).as_bytes()].concat();
        assert!(field.len() <= 128);
        // One octet more or less is another password; the earlier step's code pays for it.
        let near = [&password[..password.len() - 1], token.code_at(NOON - 30).as_bytes()].concat();
        assert!(
            !login(&world, name, &near),
            "{:?} without its last octet",
            String::from_utf8_lossy(password)
        );
        assert!(login(&world, name, &field), "{:?}", String::from_utf8_lossy(password));
        assert_eq!(world.binds(name), if password.len() > 1 { 2 } else { 1 }, "one bind for each attempt");
    }
}

#[test]
fn a_field_of_128_octets_is_the_longest_that_radius_carries() {
    let password = [b'p'; 122];
    let (_clock, builder) =
        bank(vec![with_password("long", &password), with_password("longer", &[b'p'; 123])]);
    let world = builder.open();
    let code = world.token("long", 0).code_at(NOON);
    assert!(login(&world, "long", &[&password[..], code.as_bytes()].concat()));
    let code = world.token("longer", 0).code_at(NOON);
    assert!(
        !login(&world, "longer", &[&[b'p'; 123][..], code.as_bytes()].concat()),
        "129 octets fit no User-Password"
    );
    assert_eq!(world.binds("longer"), 0);
}

#[test]
fn encodings_are_the_clients_and_the_directory_hears_utf_8() {
    let japanese = "パスワード表①㈱ﾊﾝｶｸ~";
    let western = "Stra\u{df}e \u{a3}5 \u{e9}t\u{e9}";
    let client = |n: u8, encoding: &str| {
        format!(
            "[[radius.client]]\nname = \"{encoding}\"\nnetwork = \"127.0.0.{n}\"\nsecret-file = \"gateway.secret\"\n\
             service = \"test\"\npassword-encoding = \"{encoding}\"\n\n"
        )
    };
    let (_clock, builder) = bank(vec![
        with_password("ja", japanese.as_bytes()),
        with_password("de", western.as_bytes()),
        person("alice", &[(6, 30)]),
    ]);
    let world =
        WorldBuilder { clients: client(2, "cp932") + &client(3, "latin-1") + &client(4, "utf-8"), ..builder }
            .open();
    // As Windows writes it; the directory holds UTF-8.
    let cp932: &[u8] = b"\x83p\x83X\x83\x8f\x81[\x83h\x95\\\x87@\x87\x8a\xca\xdd\xb6\xb8~";
    let latin1: Vec<u8> = western.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    for (address, user, password) in [("127.0.0.2", "ja", cp932), ("127.0.0.3", "de", &latin1)] {
        let gateway = world.gateway_at(address, SECRET);
        let token = world.token(user, 0);
        let field = |password: &[u8], at| [password, token.code_at(at).as_bytes()].concat();
        assert!(
            gateway.ask(&gateway.request(user, &field(password, NOON))).is_accept(),
            "{user} as declared"
        );
        let utf8 = world.gateway_at("127.0.0.4", SECRET);
        let octets = if user == "ja" { japanese.as_bytes() } else { western.as_bytes() };
        assert!(utf8.ask(&utf8.request(user, &field(octets, NOON + 30))).is_accept(), "{user} in UTF-8");
    }
    // What is no text in the declared encoding reaches nobody, and costs no code.
    let gateway = world.gateway_at("127.0.0.2", SECRET);
    let code = world.token("alice", 0).code_at(NOON);
    let unreadable = [b"\x83\xff\x81".as_slice(), code.as_bytes()].concat();
    assert!(gateway.ask(&gateway.request("alice", &unreadable)).is_reject());
    assert_eq!(world.last_reason("alice"), "password-unreadable");
    assert_eq!(world.binds("alice"), 0);
}

#[test]
fn normalisation_is_off_unless_asked_for() {
    let (composed, decomposed) = ("caf\u{e9}", "cafe\u{301}");
    let (_clock, builder) = bank(vec![with_password("alice", composed.as_bytes())]);
    let world = WorldBuilder {
        clients:
            "[[radius.client]]\nname = \"nfc\"\nnetwork = \"127.0.0.2\"\nsecret-file = \"gateway.secret\"\n\
                  service = \"test\"\npassword-normalization = \"nfc\"\n"
                .into(),
        ..builder
    }
    .open();
    let field = |password: &str, at| format!("{password}{}", world.token("alice", 0).code_at(at));
    assert!(world.gateway.login("alice", &field(decomposed, NOON - 30)).is_reject());
    assert!(world.gateway_at("127.0.0.2", SECRET).login("alice", &field(decomposed, NOON)).is_accept());
    assert!(world.gateway.login("alice", &field(composed, NOON + 30)).is_accept());
}

#[test]
fn layouts_say_where_the_code_stands() {
    let layouts = [
        ("password-code", "{p}{c}", vec!["{c}{p}", "{p},{c}x", "{p} {c} "]),
        ("code-password", "{c}{p}", vec!["{p}{c}"]),
        ("password,code", "{p},{c}", vec!["{p}{c}", "{c},{p}", "{p};{c}"]),
        ("code,password", "{c},{p}", vec!["{p},{c}", "{c}{p}"]),
        ("password||code", "{p}||{c}", vec!["{p}|{c}", "{p}{c}"]),
        ("password code", "{p} {c}", vec!["{p}{c}", "{p}  x{c}"]),
    ];
    let people = (0..layouts.len()).map(|n| with_password(&format!("user{n}"), b"pass,wo;rd 12")).collect();
    let (_clock, builder) = bank(people);
    let mut service = builder.service.clone();
    let mut clients = String::new();
    for (n, (layout, ..)) in layouts.iter().enumerate() {
        service += &format!("[service.layout{n}]\nreject-delay = \"0s\"\nlayout = \"{layout}\"\n");
        clients += &format!(
            "[[radius.client]]\nname = \"layout{n}\"\nnetwork = \"127.0.0.{}\"\nsecret-file = \"gateway.secret\"\nservice = \"layout{n}\"\n",
            n + 2
        );
    }
    let world = WorldBuilder { service, clients, ..builder }.open();
    for (n, (layout, right, wrong)) in layouts.iter().enumerate() {
        let (gateway, user) = (world.gateway_at(&format!("127.0.0.{}", n + 2), SECRET), format!("user{n}"));
        let code = world.token(&user, 0).code_at(NOON);
        let filled = |form: &str| form.replace("{p}", "pass,wo;rd 12").replace("{c}", &code);
        for wrong in wrong {
            assert!(gateway.login(&user, &filled(wrong)).is_reject(), "{layout}: {wrong}");
        }
        assert_eq!(world.binds(&user), 0, "{layout}: what does not hold a code asks nobody");
        assert!(gateway.login(&user, &filled(right)).is_accept(), "{layout}");
    }
}

#[test]
fn otp_15_no_password_no_bind() {
    let (_clock, builder) = bank(vec![person("alice", &[(6, 30)]), person("bob", &[(8, 60)])]);
    let world = builder.open();
    let code = world.token("alice", 0).code_at(NOON);
    for field in [&code, &code[..5], &code[..1]] {
        assert!(world.gateway.login("alice", field).is_reject(), "{field:?}");
    }
    assert!(!login(&world, "alice", b""));
    assert!(!login(&world, "alice", &[0; 16]));
    let nul_password = [&[0][..], code.as_bytes()].concat();
    assert!(!login(&world, "alice", &nul_password), "a NUL is an octet like any other, and not the password");
    let eight = world.token("bob", 0).code_at(NOON);
    assert!(world.gateway.login("bob", &eight).is_reject());
    assert_eq!(world.binds("bob"), 0);
    assert_eq!(world.last_reason("bob"), "password-empty");
    assert!(
        world.gateway.login("bob", &format!("{PASSWORD}{eight}")).is_accept(),
        "an empty password costs no code"
    );
}

#[test]
fn ldap_01_a_directory_that_lets_empty_passwords_in_lets_nobody_in() {
    let (_clock, builder) = bank(vec![person("alice", &[(6, 30)])]);
    let options =
        slapd::Options { global: "allow bind_anon_cred bind_anon_dn\n".into(), ..builder.slapd.clone() };
    let never = "[[service.test.operation]]\nname = \"login\"\nmatch = { NAS-Port-Id = \"login\" }\ncode = \"never\"\n";
    let world = WorldBuilder { slapd: options, service: builder.service.clone() + never, ..builder }.open();
    // The trap is there: this directory says yes to a name without a password.
    let trap = std::process::Command::new("ldapsearch")
        .args([
            "-x",
            "-H",
            &world.slapd.url(),
            "-D",
            &slapd::user_dn("alice"),
            "-w",
            "",
            "-b",
            "",
            "-s",
            "base",
        ])
        .output()
        .unwrap();
    assert!(trap.status.success(), "{}", String::from_utf8_lossy(&trap.stderr));
    let code = world.token("alice", 0).code_at(NOON);
    let before = world.binds("alice");
    assert!(world.gateway.login("alice", &code).is_reject());
    let attributes = [(1, b"alice".to_vec()), (87, b"login".to_vec())];
    for field in [&b""[..], &[0; 16]] {
        let request = world.gateway.build(code::ACCESS_REQUEST, &attributes, Some(field), Signed::First);
        assert!(
            world.gateway.ask(&request).is_reject(),
            "where no code is asked for, an empty password is none either"
        );
    }
    assert_eq!(world.binds("alice"), before, "no such bind was sent");
}

#[test]
fn a_password_that_was_right_is_not_asked_again_until_the_entry_changes() {
    let (_clock, builder) = bank(vec![person("alice", &[(6, 30)])]);
    let world = WorldBuilder { ldap: "password-cache = \"5m\"\n".into(), ..builder }.open();
    let token = world.token("alice", 0);
    let field = |password: &str, steps: u64| format!("{password}{}", token.code_at(NOON - 30 + steps * 30));
    let held = "sekisho_state_entries{table=\"proofs\"}";
    assert!(world.gateway.login("alice", &field(PASSWORD, 0)).is_accept());
    world.daemon.wait_for_metric(held, 1.0);
    assert!(world.gateway.login("alice", &field(PASSWORD, 1)).is_accept());
    assert_eq!(world.binds("alice"), 1, "the second was proven by the first");
    // The password is nothing that we read; that the entry has changed is.
    world.set_password("alice", "another password");
    world.daemon.wait_for_metric(held, 0.0);
    assert!(world.gateway.login("alice", &field(PASSWORD, 2)).is_reject());
    assert_eq!(world.binds("alice"), 2, "the directory is asked, and says no");
}

#[test]
fn otp_17_a_wrong_code_asks_nobody_for_the_password() {
    let (_clock, builder) = bank(vec![person("alice", &[(6, 30)]), person("carol", &[(6, 0), (8, 60)])]);
    let world = builder.open();
    for user in ["alice", "carol"] {
        for code in ["000017", "001030", "00002043"] {
            assert!(world.gateway.login(user, &format!("{PASSWORD}{code}")).is_reject());
        }
        assert_eq!(world.binds(user), 0);
    }
    assert!(world.slapd.log().lines().all(|line| !line.contains("err=49")), "the directory saw no failure");
}

#[test]
fn a_password_that_ends_in_digits_works_with_tokens_of_six_and_eight() {
    let mut people = Vec::new();
    for (n, password) in ["digits12", "digits1234567890", "00000000"].into_iter().enumerate() {
        people.push(Person { password: password.into(), ..person(&format!("user{n}"), &[(6, 0), (8, 60)]) });
    }
    let (_clock, builder) = bank(people);
    let world = builder.open();
    for person in &world.people {
        let password = String::from_utf8(person.password.clone()).unwrap();
        for token in &person.tokens {
            let code = if token.period == 0 { token.code(0) } else { token.code_at(NOON) };
            let field = format!("{password}{code}");
            assert!(
                world.gateway.login(&person.name, &field).is_accept(),
                "{password} and {} digits",
                token.digits
            );
        }
        assert_eq!(world.binds(&person.name), 2, "never two binds for one attempt");
    }
}
