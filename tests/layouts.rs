//! What stands in the entries: FreeIPA's layout, a bank's own, accounts that are closed, and entries that are broken.

use crate::harness::{
    Daemon, PASSWORD, Person, Seed, WorldBuilder, hotp, person, person_ldif, slapd, token_ldif,
};
use crate::ldap::{MODES, in_mode, login};

/// As much of FreeIPA's schema as is read.
const FREEIPA: &str = r"
attributetype ( 2.16.840.1.113730.3.8.16.1.1 NAME 'ipatokenUniqueID' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
attributetype ( 2.16.840.1.113730.3.8.16.1.2 NAME 'ipatokenDisabled' EQUALITY booleanMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.7 SINGLE-VALUE )
attributetype ( 2.16.840.1.113730.3.8.16.1.3 NAME 'ipatokenNotBefore' EQUALITY generalizedTimeMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.24 SINGLE-VALUE )
attributetype ( 2.16.840.1.113730.3.8.16.1.4 NAME 'ipatokenNotAfter' EQUALITY generalizedTimeMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.24 SINGLE-VALUE )
attributetype ( 2.16.840.1.113730.3.8.16.1.8 NAME 'ipatokenOTPkey' EQUALITY octetStringMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.40 SINGLE-VALUE )
attributetype ( 2.16.840.1.113730.3.8.16.1.9 NAME 'ipatokenOTPalgorithm' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
attributetype ( 2.16.840.1.113730.3.8.16.1.10 NAME 'ipatokenOTPdigits' EQUALITY integerMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
attributetype ( 2.16.840.1.113730.3.8.16.1.12 NAME 'ipatokenTOTPtimeStep' EQUALITY integerMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
attributetype ( 2.16.840.1.113730.3.8.16.1.13 NAME 'ipatokenOwner' EQUALITY distinguishedNameMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.12 SINGLE-VALUE )
attributetype ( 2.16.840.1.113730.3.8.16.1.21 NAME 'ipatokenHOTPcounter' EQUALITY integerMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
attributetype ( 2.16.840.1.113730.3.8.16.1.22 NAME 'ipatokenTOTPwatermark' EQUALITY integerMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
objectclass ( 2.16.840.1.113730.3.8.16.2.1 NAME 'ipaToken' SUP top ABSTRACT MUST ipatokenUniqueID MAY ( ipatokenOwner $ ipatokenDisabled $ ipatokenNotBefore $ ipatokenNotAfter ) )
objectclass ( 2.16.840.1.113730.3.8.16.2.2 NAME 'ipatokenTOTP' SUP ipaToken STRUCTURAL MAY ( ipatokenOTPkey $ ipatokenOTPalgorithm $ ipatokenOTPdigits $ ipatokenTOTPtimeStep $ ipatokenTOTPwatermark ) )
objectclass ( 2.16.840.1.113730.3.8.16.2.5 NAME 'ipatokenHOTP' SUP ipaToken STRUCTURAL MAY ( ipatokenOTPkey $ ipatokenOTPalgorithm $ ipatokenOTPdigits $ ipatokenHOTPcounter ) )
";

/// A user with a token in FreeIPA's form.
fn freeipa(name: &str, kind: &str, lines: &str) -> String {
    let secret = person(name, &[(6, 30)]).tokens.remove(0).secret_hex;
    format!(
        "{}dn: ipatokenUniqueID={name}-token,ou=tokens,{}\nobjectClass: ipatoken{kind}\nipatokenUniqueID: {name}-token\n\
         ipatokenOwner: {}\nipatokenOTPkey:: {}\nipatokenOTPdigits: 6\nipatokenOTPalgorithm: SHA1\n{lines}\n",
        slapd::user_ldif(slapd::User { uid: name, password: PASSWORD.as_bytes(), tokens: &[] }),
        slapd::BASE,
        slapd::user_dn(name),
        slapd::base64(&crate::harness::world::octets(&secret)),
    )
}

#[test]
fn ldap_20_ldap_22_freeipas_tokens_count_from_the_next_and_have_their_times() {
    let folder = tempfile::tempdir().unwrap();
    let schema = folder.path().join("freeipa.schema");
    std::fs::write(&schema, FREEIPA).unwrap();
    let ldif = [
        freeipa("totp", "TOTP", "ipatokenTOTPtimeStep: 30\n"),
        freeipa("hotp", "HOTP", "ipatokenHOTPcounter: 5\n"),
        freeipa("off", "TOTP", "ipatokenTOTPtimeStep: 30\nipatokenDisabled: TRUE\n"),
        freeipa("on", "TOTP", "ipatokenTOTPtimeStep: 30\nipatokenDisabled: FALSE\n"),
        freeipa("early", "TOTP", "ipatokenTOTPtimeStep: 30\nipatokenNotBefore: 20990101000000Z\n"),
        freeipa("over", "TOTP", "ipatokenTOTPtimeStep: 30\nipatokenNotAfter: 20200101000000Z\n"),
        freeipa("marked", "TOTP", "ipatokenTOTPtimeStep: 30\nipatokenTOTPwatermark: 4000000000\n"),
    ]
    .concat();
    for (mode, ldap) in MODES {
        let options =
            slapd::Options { ldif: ldif.clone(), schema: vec![schema.clone()], ..slapd::Options::default() };
        let world = WorldBuilder {
            slapd: options,
            bindings: mode,
            ldap: ldap.into(),
            layout: "freeipa",
            ..WorldBuilder::of(Vec::new())
        }
        .open();
        let seed = |name: &str| person(name, &[(6, 30)]).tokens.remove(0);
        for name in ["totp", "on"] {
            assert!(login(&world, &seed(name), name), "{mode}: {name}");
        }
        for (name, reason) in [
            ("off", "token-suspended"),
            ("early", "token-not-yet-valid"),
            ("over", "token-expired"),
            ("marked", "code-used"),
        ] {
            assert!(world.gateway.login(name, &seed(name).field(0)).is_reject(), "{mode}: {name}");
            assert_eq!(world.last_reason(name), reason, "{mode}: {name}");
        }
        // The counter is the next one: 4 is used, 5 is good. slapo-otp would say 4 for the same token.
        let code = |counter| format!("{PASSWORD}{}", hotp(&seed("hotp").secret_hex, 6, counter));
        assert!(world.gateway.login("hotp", &code(4)).is_reject(), "{mode}");
        assert!(world.gateway.login("hotp", &code(5)).is_accept(), "{mode}");
        assert!(world.gateway.login("hotp", &code(5)).is_reject(), "{mode}");
    }
}

#[test]
fn ldap_20_the_same_counter_in_both_forms_accepts_the_same_code() {
    let mut oath = person("hotp", &[(6, 0)]);
    oath.tokens[0].entry = "oathHOTPCounter: 4\n".into();
    let world = WorldBuilder::of(vec![oath]).open();
    let code = |counter| format!("{PASSWORD}{}", hotp(&world.token("hotp", 0).secret_hex, 6, counter));
    assert!(world.gateway.login("hotp", &code(4)).is_reject());
    assert!(world.gateway.login("hotp", &code(5)).is_accept());
}

/// Entries that cannot work, by what replaces a line of a good one.
fn broken() -> Vec<(&'static str, &'static str, String, &'static str)> {
    let elsewhere = format!("cn=p8,ou=params,{}", "dc=elsewhere,dc=jp");
    vec![
        ("no secret", "oathSecret:: ", String::new(), "token-unusable"),
        (
            "a secret of JSON",
            "oathSecret:: ",
            format!("oathSecret:: {}", slapd::base64(br#"{"alg":"dir","enc":"A128GCM"}"#)),
            "token-unusable",
        ),
        (
            "a sealed secret without a key",
            "oathSecret:: ",
            "oathSecret: {sekisho:v1}k:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".into(),
            "token-unusable",
        ),
        ("no parameters", "oathTOTPParams: ", String::new(), "token-unusable"),
        (
            "parameters that do not exist",
            "oathTOTPParams: ",
            format!("oathTOTPParams: cn=none,ou=params,{}", slapd::BASE),
            "token-unusable",
        ),
        (
            "parameters outside the base",
            "oathTOTPParams: ",
            format!("oathTOTPParams: {elsewhere}"),
            "token-unusable",
        ),
        (
            "parameters that are a user",
            "oathTOTPParams: ",
            format!("oathTOTPParams: {}", slapd::user_dn("alice")),
            "token-unusable",
        ),
        (
            "a window of eleven",
            "oathTOTPTimeStepWindow: ",
            "oathTOTPTimeStepWindow: 11".into(),
            "token-unusable",
        ),
        (
            "a negative window",
            "oathTOTPTimeStepWindow: ",
            "oathTOTPTimeStepWindow: -1".into(),
            "token-unusable",
        ),
        (
            "a token that does not exist",
            "oathTOTPToken: ",
            format!("oathTOTPToken: {}", slapd::token_dn("nowhere")),
            "token-unusable",
        ),
        (
            "a token outside the base",
            "oathTOTPToken: ",
            "oathTOTPToken: cn=x,dc=elsewhere,dc=jp".into(),
            "token-unusable",
        ),
        (
            "itself as its token",
            "oathTOTPToken: ",
            format!("oathTOTPToken: {}", slapd::user_dn("self")),
            "token-unusable",
        ),
    ]
}

#[test]
fn ldap_21_broken_entries_refuse_their_user_and_nobody_else() {
    let broken = broken();
    let mut ldif = String::new();
    for (n, (_, line, with, _)) in broken.iter().enumerate() {
        let with = with.replace("uid=self,", &format!("uid=bad{n},"));
        for text in person_ldif(&person(&format!("bad{n}"), &[(6, 30)])).lines() {
            match text.starts_with(line) {
                true if with.is_empty() => {}
                true => ldif += &format!("{with}\n"),
                false => ldif += &format!("{text}\n"),
            }
        }
        ldif.push('\n');
    }
    for (mode, ldap) in MODES {
        let options = slapd::Options { ldif: ldif.clone(), ..WorldBuilder::default().slapd };
        let world = in_mode(mode, ldap, WorldBuilder { slapd: options, ..WorldBuilder::default() });
        for (n, (what, _, _, reason)) in broken.iter().enumerate() {
            let name = format!("bad{n}");
            let field = person(&name, &[(6, 30)]).tokens[0].field(0);
            assert!(world.gateway.login(&name, &field).is_reject(), "{mode}: {what}");
            assert_eq!(world.last_reason(&name), *reason, "{mode}: {what}");
            let shown = world.done(&["user", "show", &name], "");
            assert!(shown.contains("defect"), "{mode}: {what}: an operator sees why: {shown}");
        }
        assert!(login(&world, world.token("alice", 0), "alice"), "{mode}");
        for bad in 0..broken.len() {
            assert_eq!(world.binds(&format!("bad{bad}")), 0, "{mode}");
        }
    }
}

#[test]
fn a_user_of_too_many_tokens_is_refused_and_nobody_else() {
    // slapd's own schema allows one reference; a bank's may allow any number.
    let refers = |name: &str, tokens: usize| {
        let ldif = slapd::user_ldif(slapd::User { uid: name, password: PASSWORD.as_bytes(), tokens: &[] });
        let references =
            (0..tokens).map(|n| format!("seeAlso: {}\n", slapd::token_dn(&format!("{name}-{n}"))));
        format!("{}\n{}\n", ldif.trim_end(), references.collect::<String>())
    };
    let tokens = |name: &str, tokens: usize| -> String {
        (0..tokens)
            .map(|n| {
                token_ldif(&Seed {
                    secret_hex: format!("{:040x}", n + 7),
                    ..Seed::new(&format!("{name}-{n}"), "", 6, 30)
                })
            })
            .collect()
    };
    let ldif = refers("eight", 8)
        + &tokens("eight", 8)
        + &refers("nine", 9)
        + &tokens("nine", 9)
        + &refers("many", 10_000);
    for (mode, ldap) in MODES {
        let custom = "\n[directory.ldap.custom]\ntoken-class = \"oathTOTPToken\"\ntoken-reference = \"seeAlso\"\n\
                      secret = \"oathSecret\"\nserial = \"oathTokenSerialNumber\"\n";
        let options = slapd::Options { ldif: ldif.clone(), ..WorldBuilder::default().slapd };
        let world = WorldBuilder {
            slapd: options,
            bindings: mode,
            layout: "custom",
            ldap: format!("{ldap}{custom}"),
            ..WorldBuilder::of(Vec::new())
        }
        .open();
        for name in ["nine", "many"] {
            assert!(world.gateway.login(name, &format!("{PASSWORD}123456")).is_reject(), "{mode}: {name}");
            assert_eq!(world.last_reason(name), "tokens-too-many", "{mode}: {name}");
        }
        let last = Seed::new("eight-7", &format!("{:040x}", 14), 6, 30);
        assert!(login(&world, &last, "eight"), "{mode}: eight are not too many");
        assert_eq!(world.binds("eight"), 1, "{mode}: one bind, whatever their number");
    }
}

#[test]
fn ldap_23_a_tree_whose_binds_ask_for_codes_themselves_is_refused() {
    let options = slapd::Options { otp_overlay: true, ..WorldBuilder::default().slapd };
    let world = WorldBuilder { slapd: options, ..WorldBuilder::default() }.prepare();
    let mut daemon = Daemon::launch(&world.config, &[]);
    assert_eq!(daemon.ended(), Some(69));
    assert!(daemon.log().contains("otp"), "{}", daemon.log());
    let output = world.command(&["check", "--online"], "");
    assert_eq!(output.status.code(), Some(78), "{output:?}");
}

#[test]
fn ldap_24_accounts_that_the_password_policy_has_closed() {
    let with = |name: &str, lines: &str| Person { entry: lines.into(), ..person(name, &[(6, 30)]) };
    let people = vec![
        with("forever", "pwdAccountLockedTime: 000001010000Z\n"),
        with("past", "pwdAccountLockedTime: 20200101000000Z\n"),
        with("now", "pwdAccountLockedTime: 20980101000000Z\n"),
        with("reset", "pwdReset: TRUE\n"),
        person("fine", &[(6, 30)]),
    ];
    for (mode, ldap) in MODES {
        let options = slapd::Options { password_policy: true, ..WorldBuilder::default().slapd };
        let builder = WorldBuilder {
            slapd: options,
            ldap: "lock-duration = \"30m\"\n".into(),
            ..WorldBuilder::of(people.clone())
        };
        let world = in_mode(mode, ldap, builder);
        world.slapd.change(&format!(
            "dn: cn=default,ou=policies,{}\nchangetype: modify\nreplace: pwdLockoutDuration\npwdLockoutDuration: 1800\n",
            slapd::BASE
        ));
        for (name, reason) in [
            ("forever", "account-locked"),
            ("now", "account-locked"),
            ("reset", "password-must-change"),
            ("past", "code-accepted"),
            ("fine", "code-accepted"),
        ] {
            let reply = world.gateway.login(name, &world.token(name, 0).field(0));
            assert_eq!(
                reply.is_accept(),
                reason == "code-accepted",
                "{mode}: {name}: {}",
                world.last_reason(name)
            );
            assert_eq!(world.last_reason(name), reason, "{mode}: {name}");
        }
    }
}

#[test]
fn ldap_25_accounts_that_active_directory_has_closed() {
    let with = |name: &str, lines: &str| Person {
        entry: format!("objectClass: extensibleObject\n{lines}"),
        ..person(name, &[(6, 30)])
    };
    let people = vec![
        with("disabled", "userAccountControl: 514\n"),
        with("expired", "accountExpires: 132223104000000000\n"),
        with("locked", "msDS-User-Account-Control-Computed: 16\n"),
        with(
            "normal",
            "userAccountControl: 512\naccountExpires: 9223372036854775807\nmsDS-User-Account-Control-Computed: 0\n",
        ),
        with("zero", "userAccountControl: 512\naccountExpires: 0\n"),
    ];
    for (mode, ldap) in MODES {
        let mut options = WorldBuilder::default().slapd;
        options.schema.extend(["nis", "msuser"].map(|name| format!("/etc/ldap/schema/{name}.schema").into()));
        let world = in_mode(mode, ldap, WorldBuilder { slapd: options, ..WorldBuilder::of(people.clone()) });
        // The directory would let all of them in: only what the entries say keeps them out.
        for (name, reason) in [
            ("disabled", "account-disabled"),
            ("expired", "account-expired"),
            ("locked", "account-locked"),
            ("normal", "code-accepted"),
            ("zero", "code-accepted"),
        ] {
            let reply = world.gateway.login(name, &world.token(name, 0).field(0));
            assert_eq!(reply.is_accept(), reason == "code-accepted", "{mode}: {name}");
            assert_eq!(world.last_reason(name), reason, "{mode}: {name}");
        }
    }
}

#[test]
fn a_custom_layout_reads_a_banks_own_attributes() {
    let folder = tempfile::tempdir().unwrap();
    let schema = folder.path().join("bank.schema");
    std::fs::write(
        &schema,
        "attributetype ( 1.3.6.1.4.1.32473.1.1 NAME 'bankKey' EQUALITY caseExactMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )\n\
         attributetype ( 1.3.6.1.4.1.32473.1.2 NAME 'bankSerial' EQUALITY caseExactMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )\n\
         objectclass ( 1.3.6.1.4.1.32473.2.1 NAME 'bankUser' SUP top AUXILIARY MAY ( bankKey $ bankSerial ) )\n",
    )
    .unwrap();
    let user = |name: &str, keys: &[&str]| {
        let keys: String = keys.iter().map(|key| format!("bankKey: {key}\n")).collect();
        let ldif = slapd::user_ldif(slapd::User { uid: name, password: PASSWORD.as_bytes(), tokens: &[] });
        format!("{}\nobjectClass: bankUser\nbankSerial: B-{name}\n{keys}\n", ldif.trim_end())
    };
    // Base32 of 12345678901234567890.
    let good = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    let ldif = [
        user("good", &[good]),
        user("spaced", &["gezd gnbv gy3t qojq gezd gnbv gy3t qojq"]),
        user("bad", &["GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJ1!"]),
        user("short", &["GEZDGNBVGY3TQOJQ"]),
        user("two", &[good, "MFRGGZDFMZTWQ2LKNNWG23TPOBYXE43U"]),
        user("none", &[]),
    ]
    .concat();
    for (mode, ldap) in MODES {
        let custom = "\n[directory.ldap.custom]\nsecret = \"bankKey\"\nsecret-encoding = \"base32\"\nserial = \"bankSerial\"\n";
        let options =
            slapd::Options { ldif: ldif.clone(), schema: vec![schema.clone()], ..slapd::Options::default() };
        let world = WorldBuilder {
            slapd: options,
            bindings: mode,
            layout: "custom",
            ldap: format!("{ldap}{custom}"),
            ..WorldBuilder::of(Vec::new())
        }
        .open();
        let token = Seed::new("B", "3132333435363738393031323334353637383930", 6, 30);
        for name in ["good", "spaced"] {
            assert!(login(&world, &token, name), "{mode}: {name}");
        }
        for (name, reason) in [
            ("bad", "token-unusable"),
            ("short", "token-unusable"),
            ("two", "token-unusable"),
            ("none", "no-token"),
        ] {
            assert!(!login(&world, &token, name), "{mode}: {name}");
            assert_eq!(world.last_reason(name), reason, "{mode}: {name}");
        }
    }
}
