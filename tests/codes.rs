//! Codes of real tokens: the tables of RFC 4226 and RFC 6238, windows, drift and look-ahead, tokens that cannot work.
//! Every expected code comes from the tables or from `oathtool`.

use crate::harness::{
    Clock, Daemon, PASSWORD, Person, Seed, World, WorldBuilder, holder, hotp, person, person_ldif, slapd,
    totp_at,
};

/// RFC 4226 Appendix D: ASCII 12345678901234567890.
const SEED: &str = "3132333435363738393031323334353637383930";

fn vectors(table: &str) -> serde_json::Value {
    let vectors: serde_json::Value = serde_json::from_str(include_str!("vectors/otp.json")).unwrap();
    vectors[table].clone()
}

/// The key that RFC 6238 uses with a hash: the same twenty octets, repeated to the length of the hash.
fn key(algorithm: &str) -> String {
    let octets = match algorithm {
        "sha1" => 20,
        "sha256" => 32,
        _ => 64,
    };
    SEED.chars().cycle().take(2 * octets).collect()
}

fn field(code: &str) -> String {
    format!("{PASSWORD}{code}")
}

/// Starts the daemon anew at a time at which the clock then stands.
fn begin_at(world: &mut World, clock: &Clock, unix: u64) {
    clock.stand(unix);
    world.restart(Daemon::kill);
}

#[test]
fn otp_01_every_row_of_rfc_4226_is_accepted_once_and_in_order() {
    let token = Seed { window: Some(0), ..Seed::new("HOTP", SEED, 6, 0) };
    let world = WorldBuilder::of(vec![holder("hotp", vec![token])]).open();
    let rows =
        ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"];
    assert!(world.gateway.login("hotp", &field(rows[1])).is_reject(), "the second row is not due yet");
    for (counter, code) in rows.iter().enumerate() {
        assert_eq!(&hotp(SEED, 6, u64::try_from(counter).unwrap()), code);
        assert!(world.gateway.login("hotp", &field(code)).is_accept(), "row {counter}");
        assert!(world.gateway.login("hotp", &field(code)).is_reject(), "row {counter} again");
    }
}

#[test]
fn otp_02_otp_05_every_row_of_rfc_6238_is_accepted_at_its_time() {
    let token = |algorithm: &'static str| {
        let token = Seed::new(&format!("T-{algorithm}"), &key(algorithm), 8, 30);
        holder(algorithm, vec![Seed { algorithm, ..token }])
    };
    let clock = Clock::standing_at(59);
    let mut world = WorldBuilder {
        environment: clock.environment(),
        ..WorldBuilder::of(vec![token("sha1"), token("sha256"), token("sha512")])
    }
    .open();
    let rows = [
        (59, ["94287082", "46119246", "90693936"]),
        (1_111_111_109, ["07081804", "68084774", "25091201"]),
        (1_111_111_111, ["14050471", "67062674", "99943326"]),
        (1_234_567_890, ["89005924", "91819424", "93441116"]),
        (2_000_000_000, ["69279037", "90698825", "38618901"]),
        (20_000_000_000, ["65353130", "77737706", "47863826"]),
    ];
    for (unix, codes) in rows {
        begin_at(&mut world, &clock, unix);
        for (algorithm, code) in ["sha1", "sha256", "sha512"].into_iter().zip(codes) {
            assert_eq!(totp_at(&key(algorithm), algorithm, 8, 30, unix), code);
            assert!(world.gateway.login(algorithm, &field(code)).is_accept(), "{algorithm} at {unix}");
            assert!(world.gateway.login(algorithm, &field(code)).is_reject(), "{algorithm} at {unix}, again");
        }
    }
}

#[test]
fn otp_03_digits_periods_and_hashes_go_together_in_every_way() {
    let mut people = Vec::new();
    for algorithm in ["sha1", "sha256", "sha512"] {
        for digits in [6, 7, 8] {
            for period in [30, 60] {
                let name = format!("{algorithm}-{digits}-{period}");
                let token = Seed { algorithm, ..Seed::new(&name, &key(algorithm), digits, period) };
                people.push(holder(&name, vec![token]));
            }
        }
    }
    let clock = Clock::standing_at(59);
    let mut world = WorldBuilder { environment: clock.environment(), ..WorldBuilder::of(people) }.open();
    let extra = vectors("totp_extra");
    // 59 and 60 are one minute's step, and a used one; each gets a fresh memory.
    for unix in [59_u64, 1_111_111_109, 1_700_000_000] {
        begin_at(&mut world, &clock, unix);
        for person in &world.people {
            let token = &person.tokens[0];
            let code = token.code_at(unix);
            let row = extra["vectors"].as_array().unwrap().iter().find(|row| {
                row["unix_time"] == unix
                    && row["step"] == token.period
                    && row["digits"] == token.digits
                    && row["algorithm"].as_str().unwrap().eq_ignore_ascii_case(token.algorithm)
            });
            if let Some(row) = row {
                assert_eq!(row["otp"], code, "oathtool and the vectors agree");
            }
            assert!(
                world.gateway.login(&person.name, &field(&code)).is_accept(),
                "{} at {unix}",
                person.name
            );
        }
    }
}

#[test]
fn otp_04_leading_zeros_count() {
    let clock = Clock::standing_at(1_111_111_109);
    let token = Seed::new("ZERO", SEED, 6, 30);
    let world = WorldBuilder {
        environment: clock.environment(),
        ..WorldBuilder::of(vec![holder("zero", vec![token])])
    };
    let world = world.open();
    assert!(world.gateway.login("zero", &field("81804")).is_reject());
    assert!(world.gateway.login("zero", &format!("{PASSWORD}x81804")).is_reject());
    assert!(world.gateway.login("zero", &field("081804")).is_accept());
}

#[test]
fn otp_05_counters_beyond_32_and_53_bits() {
    let rows = vectors("hotp_extra")["vectors"].as_array().unwrap().clone();
    let mut people = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let counter: u64 = row["counter"].as_str().unwrap().parse().unwrap();
        let algorithm = match row["algorithm"].as_str().unwrap() {
            "SHA1" => "sha1",
            "SHA256" => "sha256",
            _ => "sha512",
        };
        let digits = u32::try_from(row["digits"].as_u64().unwrap()).unwrap();
        let token = Seed::new(&format!("H-{at}"), row["seed_hex"].as_str().unwrap(), digits, 0);
        // slapo-otp keeps the last counter that was used.
        let entry = counter.checked_sub(1).map_or(String::new(), |last| format!("oathHOTPCounter: {last}\n"));
        people.push(holder(&format!("h{at}"), vec![Seed { algorithm, window: Some(0), entry, ..token }]));
    }
    let world = WorldBuilder::of(people).open();
    for (at, row) in rows.iter().enumerate() {
        let code = row["otp"].as_str().unwrap();
        assert!(world.gateway.login(&format!("h{at}"), &field(code)).is_accept(), "{row}");
        assert!(world.gateway.login(&format!("h{at}"), &field(code)).is_reject(), "{row} again");
    }
}

/// One of the decisions in the vectors, for users whose last step stands in the directory.
#[test]
fn otp_07_otp_09_windows_and_last_steps_decide_as_the_vectors_say() {
    let table = vectors("totp_window");
    let unix = table["unix_time"].as_u64().unwrap();
    let cases = table["cases"].as_array().unwrap();
    for (back, forward) in [(1, 1), (2, 1), (1, 0)] {
        let mine: Vec<_> = cases
            .iter()
            .filter(|case| case["back"] == back && case["forward"] == forward && case["drift"].is_null())
            .collect();
        assert!(!mine.is_empty());
        let person = |(at, case): (usize, &&serde_json::Value)| {
            let entry =
                case["last"].as_u64().map_or(String::new(), |last| format!("oathTOTPLastTimeStep: {last}\n"));
            let token = Seed::new(&format!("W-{at}"), SEED, 6, 30);
            holder(&format!("u{at}"), vec![Seed { entry, window: None, ..token }])
        };
        let clock = Clock::standing_at(unix);
        let world = WorldBuilder {
            service: format!(
                "[service.test]\nreject-delay = \"0s\"\nwindow = {{ back = {back}, forward = {forward} }}\n"
            ),
            environment: clock.environment(),
            ..WorldBuilder::of(mine.iter().enumerate().map(person).collect())
        }
        .open();
        for (at, case) in mine.iter().enumerate() {
            let reply = world.gateway.login(&format!("u{at}"), &field(case["otp"].as_str().unwrap()));
            assert_eq!(reply.is_accept(), case["accept"].as_bool().unwrap(), "{case}");
            assert_eq!(reply.is_reject(), !case["accept"].as_bool().unwrap(), "{case}");
        }
    }
}

#[test]
fn otp_09_the_default_window_is_one_step_either_way_and_no_more() {
    let clock = Clock::standing_at(1_700_000_010);
    let offsets = [-90, -60, -30, 0, 30, 60, 90];
    let names: Vec<String> = offsets.iter().map(|offset| format!("w{offset}").replace('-', "m")).collect();
    let people = names.iter().map(|name| person(name, &[(6, 30)])).collect();
    let world = WorldBuilder { environment: clock.environment(), ..WorldBuilder::of(people) }.open();
    for (name, offset) in names.iter().zip(offsets) {
        let code = world.token(name, 0).code_at(1_700_000_010_u64.checked_add_signed(offset).unwrap());
        let reply = world.gateway.login(name, &field(&code));
        assert_eq!(reply.is_accept(), offset.abs() <= 30, "{offset} s");
    }
}

#[test]
fn otp_10_drift_is_learned_from_success_only_and_moves_the_window_without_widening_it() {
    let begin = 1_700_000_010;
    let clock = Clock::standing_at(begin);
    let people = vec![person("late", &[(6, 30)]), person("wrong", &[(6, 30)])];
    let mut world = WorldBuilder { environment: clock.environment(), ..WorldBuilder::of(people) }.open();
    let mut now = begin;
    let late = |world: &World, now: u64, steps: i64| {
        world.token("late", 0).field_at(now.checked_add_signed(30 * steps).unwrap())
    };
    // Codes two steps old teach nothing while they are refused.
    for round in 0..4_u64 {
        now = begin + 60 * (round + 1);
        begin_at(&mut world, &clock, now);
        let old = world.token("wrong", 0).field_at(now - 60);
        assert!(world.gateway.login("wrong", &old).is_reject());
        assert!(
            world.gateway.login("late", &late(&world, now, -1)).is_accept(),
            "one step late is within the window"
        );
    }
    for _ in 0..4 {
        now += 60;
        begin_at(&mut world, &clock, now);
        assert!(world.gateway.login("late", &late(&world, now, -1)).is_accept());
    }
    now += 60;
    begin_at(&mut world, &clock, now);
    assert!(
        world.gateway.login("late", &late(&world, now, -3)).is_reject(),
        "the window has moved by one, not two"
    );
    assert!(
        world.gateway.login("late", &late(&world, now, 1)).is_reject(),
        "what it gained behind it lost ahead"
    );
    assert!(
        world.gateway.login("late", &late(&world, now, -2)).is_accept(),
        "two late is one from the usual"
    );
    let shown = world.done(&["token", "show", "SN-late-0"], "");
    assert!(shown.to_lowercase().contains("drift"), "the drift is shown: {shown}");
}

#[test]
fn otp_11_look_ahead_finds_skipped_codes_and_kills_them() {
    let token = Seed { window: Some(3), ..Seed::new("AHEAD", SEED, 6, 0) };
    let mut world = WorldBuilder::of(vec![holder("ahead", vec![token])]).open();
    let code = |counter| field(&hotp(SEED, 6, counter));
    assert!(world.gateway.login("ahead", &code(4)).is_reject(), "one beyond the look-ahead");
    assert!(world.gateway.login("ahead", &code(3)).is_accept());
    for counter in 0..=3 {
        assert!(world.gateway.login("ahead", &code(counter)).is_reject(), "{counter} is dead");
    }
    world.restart(Daemon::kill);
    assert!(world.gateway.login("ahead", &code(2)).is_reject(), "the counter never goes back");
    assert!(world.gateway.login("ahead", &code(7)).is_accept());
}

/// What makes a token unusable, as lines that replace those of its entries.
const UNUSABLE: [(&str, &str, &str); 9] = [
    ("secret of 15 octets", "oathSecret:: ", "oathSecret:: MTIzNDU2Nzg5MDEyMzQ1"),
    ("five digits", "oathOTPLength: ", "oathOTPLength: 5"),
    ("nine digits", "oathOTPLength: ", "oathOTPLength: 9"),
    ("99 digits", "oathOTPLength: ", "oathOTPLength: 99"),
    ("a period of 14 s", "oathTOTPTimeStepPeriod: ", "oathTOTPTimeStepPeriod: 14"),
    ("a period of 121 s", "oathTOTPTimeStepPeriod: ", "oathTOTPTimeStepPeriod: 121"),
    ("a period of 0 s", "oathTOTPTimeStepPeriod: ", "oathTOTPTimeStepPeriod: 0"),
    ("SHA-224", "oathHMACAlgorithm: ", "oathHMACAlgorithm: 1.2.840.113549.2.8"),
    ("an unknown hash", "oathHMACAlgorithm: ", "oathHMACAlgorithm: 1.2.3.4"),
];

#[test]
fn otp_13_unusable_tokens_refuse_their_user_and_nobody_else() {
    let spoilt = |(at, (_, from, to)): (usize, &(&str, &str, &str))| {
        let lines = person_ldif(&person(&format!("bad{at}"), &[(6, 30)]));
        lines
            .lines()
            .map(|line| if line.starts_with(from) { to } else { line })
            .fold(String::new(), |all, line| all + line + "\n")
            + "\n"
    };
    let ldif: String = UNUSABLE.iter().enumerate().map(spoilt).collect();
    let world = WorldBuilder {
        slapd: slapd::Options { ldif, ..WorldBuilder::default().slapd },
        ..WorldBuilder::of(vec![person("alice", &[(6, 30)])])
    }
    .open();
    for (at, (what, ..)) in UNUSABLE.iter().enumerate() {
        let name = format!("bad{at}");
        let field = person(&name, &[(6, 30)]).tokens[0].field(0);
        for _ in 0..3 {
            assert!(world.gateway.login(&name, &field).is_reject(), "{what}");
        }
        assert_eq!(world.last_reason(&name), "token-unusable", "{what}");
        assert_eq!(world.binds(&name), 0, "{what}");
        let serial = format!("SN-{name}-0");
        let lines = world.daemon.log();
        let told = lines.lines().filter(|line| line.contains(&serial)).count();
        assert_eq!(told, 1, "{what}: the operator is told once");
    }
    assert!(world.gateway.login("alice", &world.token("alice", 0).field(0)).is_accept());
}

#[test]
fn otp_14_only_ascii_digits_are_digits() {
    let clock = Clock::standing_at(1_700_000_010);
    let world = WorldBuilder { environment: clock.environment(), ..WorldBuilder::default() }.open();
    let code = world.token("alice", 0).code_at(1_700_000_010);
    let in_script = |zero: char| -> String {
        code.chars().map(|c| char::from_u32(u32::from(zero) + c.to_digit(10).unwrap()).unwrap()).collect()
    };
    let bad = [
        in_script('０'),
        in_script('٠'),
        in_script('०'),
        format!("+{}", &code[1..]),
        format!("-{}", &code[1..]),
        format!("{} {}", &code[..3], &code[3..]),
        format!("{code} "),
        format!("{code}\t"),
        format!("{}\u{200b}{}", &code[..3], &code[3..]),
    ];
    for bad in bad {
        assert!(world.gateway.login("alice", &field(&bad)).is_reject(), "{bad:?}");
    }
    assert!(world.gateway.login("alice", &field(&code)).is_accept(), "and none of them cost the code");
}

#[test]
fn otp_27_two_tokens_work_side_by_side_with_one_bind_each() {
    let clock = Clock::standing_at(1_700_000_010);
    let world = WorldBuilder { environment: clock.environment(), ..WorldBuilder::default() }.open();
    for (at, binds) in [(0, 1), (1, 2)] {
        let token = world.token("carol", at);
        let field = if at == 0 { token.field(0) } else { token.field_at(1_700_000_010) };
        assert!(world.gateway.login("carol", &field).is_accept());
        assert_eq!(world.binds("carol"), binds);
        assert!(world.gateway.login("carol", &field).is_reject(), "each token remembers its own step");
        assert_eq!(world.binds("carol"), binds, "a used code asks nobody");
    }
    // The next code of one is not the concern of the other.
    let next = hotp(&world.token("carol", 0).secret_hex, 6, 1);
    assert!(world.gateway.login("carol", &field(&next)).is_accept());
    assert!(world.gateway.login("carol", &world.token("carol", 1).field_at(1_700_000_070)).is_accept());
}

#[test]
fn otp_28_tokens_outside_their_time_or_use_are_refused_like_any_other() {
    let with = |name: &str, entry: &str, parameters: &str| {
        let mut person = person(name, &[(6, 30)]);
        person.tokens[0].entry = entry.into();
        person.tokens[0].parameters = parameters.into();
        person
    };
    let ours = "objectClass: sekishoToken\n";
    let people = vec![
        with("early", &format!("{ours}sekishoNotBefore: 20990101000000Z\n"), ""),
        with("over", &format!("{ours}sekishoNotAfter: 20200101000000Z\n"), ""),
        with("lost", &format!("{ours}sekishoTokenState: suspended\n"), ""),
        with("old", "oathSecretTime: 20200101000000Z\n", "oathSecretMaxAge: 86400\n"),
        with("unknown", "", "oathSecretMaxAge: 86400\n"),
        with("young", "oathSecretTime: 20200101000000Z\n", "oathSecretMaxAge: 2000000000\n"),
        with(
            "inside",
            &format!("{ours}sekishoNotBefore: 20200101000000Z\nsekishoNotAfter: 20990101000000Z\n"),
            "",
        ),
        counted("worn", 9, 10),
        counted("fresh", 3, 10),
    ];
    let world = WorldBuilder::of(people).open();
    let mut structures = Vec::new();
    for (name, reason) in [
        ("early", "token-not-yet-valid"),
        ("over", "token-expired"),
        ("lost", "token-suspended"),
        ("old", "token-expired"),
        ("unknown", "token-unusable"),
        ("worn", "token-unusable"),
    ] {
        let token = world.token(name, 0);
        let code = if token.period == 0 { hotp(&token.secret_hex, 6, 10) } else { token.code(0) };
        let reply = world.gateway.login(name, &field(&code));
        assert!(reply.is_reject(), "{name}");
        assert_eq!(world.last_reason(name), reason, "{name}");
        structures.push(reply.structure());
    }
    structures.push(world.gateway.login("nobody", &field("123456")).structure());
    assert!(
        structures.iter().all(|structure| *structure == structures[0]),
        "one kind of reject: {structures:?}"
    );
    for name in ["young", "inside"] {
        assert!(world.gateway.login(name, &world.token(name, 0).field(0)).is_accept(), "{name}");
    }
    let fresh = world.token("fresh", 0);
    assert!(world.gateway.login("fresh", &field(&hotp(&fresh.secret_hex, 6, 4))).is_accept());
}

/// A counter token that has been used up to `last` and may be used `most` times.
fn counted(name: &str, last: u64, most: u64) -> Person {
    let mut person = person(name, &[(6, 0)]);
    person.tokens[0].entry = format!("oathHOTPCounter: {last}\n");
    person.tokens[0].parameters = format!("oathMaxUsageCount: {most}\n");
    person
}

#[test]
fn s_03_s_05_a_code_of_another_hour_is_told_apart_and_never_accepted() {
    let clock = Clock::standing_at(1_700_000_010);
    let world = WorldBuilder { environment: clock.environment(), ..WorldBuilder::default() }.open();
    let off = world.token("alice", 0).field_at(1_700_000_010 - 7 * 60);
    assert!(world.gateway.login("alice", &off).is_reject());
    assert_eq!(world.last_reason("alice"), "code-other-time");
    assert_eq!(world.daemon.metric("sekisho_code_other_time_total"), 1.0);
    let record = world.audit().pop().unwrap().to_string();
    assert!(record.contains("420"), "the audit log says that the clock is 7 min behind: {record}");
    assert!(world.gateway.login("alice", &world.token("alice", 0).field_at(1_700_000_010)).is_accept());
}
