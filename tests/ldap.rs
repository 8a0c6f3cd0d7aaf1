//! A real slapd: names and DNs of every spelling, certificates, and changes while the daemon runs.

use crate::harness::slapd::Certificates;
use crate::harness::slapd::Validity::{Current, Past};
use crate::harness::{
    Daemon, Manners, PASSWORD, Proxy, Seed, World, WorldBuilder, at_step_begin, holder, person, person_ldif,
    slapd, token_ldif, wait_for, wait_or,
};
use std::net::TcpListener;
use std::time::Duration;

/// The three ways of keeping in step, with the shortest waits.
pub const MODES: [(&str, &str); 3] =
    [("follow", ""), ("poll", "poll-every = \"1s\"\n"), ("ask", "cache-lifetime = \"1s\"\n")];

pub fn in_mode(bindings: &'static str, ldap: &str, builder: WorldBuilder) -> World {
    WorldBuilder { bindings, ldap: format!("{}{ldap}", builder.ldap), ..builder }.open()
}

fn text_of(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

/// A login with the code of now.
pub fn login(world: &World, token: &Seed, name: &str) -> bool {
    world.gateway.login(name, &token.field(0)).is_accept()
}

/// Asks while the directory may not be there yet.
pub fn ask(world: &World, name: &str, field: &str) {
    let request = world.gateway.request(name, field.as_bytes());
    world.gateway.send(&request);
    let _ = world.gateway.receive_within(&request, Duration::from_millis(100));
}

/// Changes the directory while the daemon cannot see it.
fn change_unseen(world: &World, ldif: &str) {
    let proxy = world.proxy.as_ref().unwrap();
    let down = world.daemon.events("directory-down").len();
    proxy.behave(Manners::Closed);
    wait_for("the daemon to miss it", || (world.daemon.events("directory-down").len() > down).then_some(()));
    world.slapd.change(ldif);
    proxy.behave(Manners::Good);
}

/// Waits until `name` gets in with this token, with a new code for every try.
pub fn becomes_good(world: &World, token: &Seed, name: &str) {
    let told =
        || format!("{}\n{}", world.last_reason(name), text_of(&world.command(&["user", "show", name], "")));
    wait_or(&format!("{name} to get in"), told, || login(world, token, name).then_some(()));
}

/// Waits until the reason of a refusal is this one.
pub fn becomes_refused(world: &World, token: &Seed, name: &str, reason: &str) {
    wait_for(&format!("{name} to be refused: {reason}"), || {
        let reply = world.gateway.login(name, &token.field(0));
        (reply.is_reject() && world.last_reason(name) == reason).then_some(())
    });
}

#[test]
fn ldap_02_names_that_mean_something_to_a_filter_are_nobodys() {
    for (mode, ldap) in MODES {
        let world = in_mode(mode, ldap, WorldBuilder::default());
        let field = world.token("alice", 0).field(0);
        for name in [
            "*",
            "a*",
            ")(uid=*",
            "\\",
            "\\2a",
            "alice)(objectClass=*",
            "alice\0",
            "(uid=alice)",
            "*)(uid=alice",
        ] {
            assert!(world.gateway.login(name, &field).is_reject(), "{mode}: {name:?}");
        }
        world.daemon.wait_for_reason("user-unknown", 9.0);
        if mode == "ask" {
            let log = world.slapd.log().to_lowercase();
            for literal in
                ["(uid=\\2A)", "(uid=a\\2A)", "(uid=\\29\\28uid=\\2A)", "(uid=alice\\29\\28objectClass=\\2A)"]
            {
                assert!(
                    log.contains(&literal.to_lowercase()),
                    "the directory was asked for the literal {literal}"
                );
            }
        }
        assert!(world.gateway.login("alice", &field).is_accept(), "{mode}");
    }
}

#[test]
fn ldap_03_dns_with_every_special_character_work_from_end_to_end() {
    let rdns = [
        r"cn=comma\, in it",
        r"cn=plus\+sign",
        r#"cn=quote\"d"#,
        r"cn=\#begins so",
        r"cn=trailing\ ",
        r"cn=\ leading",
        r"cn=semi\;colon",
        r"cn=less\<more\>",
        r"cn=back\\slash",
        "cn=equals=sign",
        "cn=山田太郎",
        r"cn=two+sn=parts",
        r"cn=esc\e5\b1\b1aped",
    ];
    let mut ldif = String::new();
    let mut people = Vec::new();
    for (n, rdn) in rdns.iter().enumerate() {
        let (name, seed) = (format!("user{n}"), person(&format!("user{n}"), &[(6, 30)]).tokens.remove(0));
        // The token's DN is as odd as the user's.
        let token_dn = format!("{},ou=tokens,{}", rdn.replace("sn=parts", "serialNumber=parts"), slapd::BASE);
        let entry = token_ldif(&seed)
            .replace(&format!("dn: {}", seed.dn()), &format!("dn:: {}", slapd::base64(token_dn.as_bytes())));
        let (cn, sn) = (unescaped(rdn), if rdn.contains("+sn=") { "parts" } else { "x" });
        ldif += &entry.replace(
            &format!("cn: {}\noathToken", seed.serial),
            &format!("{}{cn}oathToken", if rdn.contains("+sn=") { "serialNumber: parts\n" } else { "" }),
        );
        ldif += &format!(
            "dn:: {}\nobjectClass: inetOrgPerson\nobjectClass: oathTOTPUser\nuid: {name}\nsn: {sn}\n{cn}userPassword: {PASSWORD}\noathTOTPToken:: {}\n\n",
            slapd::base64(format!("{rdn},ou=people,{}", slapd::BASE).as_bytes()),
            slapd::base64(token_dn.as_bytes()),
        );
        people.push(holder(&name, vec![seed]));
    }
    for (mode, ldap) in [MODES[0], MODES[2]] {
        let options = slapd::Options { ldif: ldif.clone(), ..WorldBuilder::default().slapd };
        let world = in_mode(mode, ldap, WorldBuilder { slapd: options, ..WorldBuilder::of(Vec::new()) });
        for (person, rdn) in people.iter().zip(rdns) {
            at_step_begin(30, 2);
            assert!(login(&world, &person.tokens[0], &person.name), "{mode}: {rdn}");
        }
    }
}

/// The cn of an RDN as an LDIF line.
fn unescaped(rdn: &str) -> String {
    let value = rdn.strip_prefix("cn=").unwrap().split("+sn=").next().unwrap();
    let mut octets = Vec::new();
    let mut rest = value.as_bytes();
    while let [first, after @ ..] = rest {
        match (first, after) {
            (b'\\', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let hex = std::str::from_utf8(&rest[1..3]).unwrap();
                octets.push(u8::from_str_radix(hex, 16).unwrap());
                rest = after;
            }
            (b'\\', [escaped, after @ ..]) => {
                octets.push(*escaped);
                rest = after;
            }
            (octet, after) => {
                octets.push(*octet);
                rest = after;
            }
        }
    }
    format!("cn:: {}\n", slapd::base64(&octets))
}

#[test]
fn ldap_04_two_entries_of_one_name_are_nobody_and_an_alarm() {
    let twin = |unit: &str| {
        format!(
            "dn: uid=twin,ou={unit},{}\nobjectClass: inetOrgPerson\nuid: twin\ncn: twin\nsn: twin\nuserPassword: {PASSWORD}\n\n",
            slapd::BASE
        )
    };
    for (mode, ldap) in MODES {
        let options =
            slapd::Options { ldif: twin("people") + &twin("services"), ..WorldBuilder::default().slapd };
        let world = in_mode(mode, ldap, WorldBuilder { slapd: options, ..WorldBuilder::default() });
        assert!(world.gateway.login("twin", &format!("{PASSWORD}123456")).is_reject(), "{mode}");
        assert_eq!(world.last_reason("twin"), "user-ambiguous", "{mode}");
        world.daemon.wait_for_reason("user-ambiguous", 1.0);
        assert!(login(&world, world.token("alice", 0), "alice"), "{mode}");
    }
}

#[test]
fn ldap_05_only_the_right_certificate_gets_a_password() {
    for tls in ["ldaps", "start-tls"] {
        for (what, names, validity, ours, good) in [
            ("right", "127.0.0.1", Current, true, true),
            ("of another host", "ldap.example.jp", Current, true, false),
            ("expired", "127.0.0.1", Past, true, false),
            ("of an authority that nobody trusts", "127.0.0.1", Current, false, false),
        ] {
            let certificates = Certificates::new(&[names], validity);
            let options = slapd::Options { tls: Some(certificates), ..WorldBuilder::default().slapd };
            let authority = (!ours).then(|| Certificates::new(&["127.0.0.1"], Current).ca);
            let mut world =
                WorldBuilder { tls, slapd: options, authority, ..WorldBuilder::default() }.prepare();
            if good {
                world.restart(drop);
                assert!(login(&world, world.token("alice", 0), "alice"), "{tls}, {what}");
                assert!(world.slapd.log().contains("TLS established"), "{tls}, {what}");
                continue;
            }
            let daemon = Daemon::launch(&world.config, &[]);
            wait_for("the failure to be told", || {
                (!daemon.events("directory-down").is_empty()).then_some(())
            });
            assert!(daemon.events("ready").is_empty(), "{tls}, {what}");
            assert!(!world.slapd.log().contains("BIND dn"), "{tls}, {what}: no password was sent");
        }
    }
}

#[test]
fn ldap_06_a_server_that_refuses_start_tls_gets_nothing_in_clear() {
    // This slapd has no certificate: it answers StartTLS with an error.
    let authority = Some(Certificates::new(&["127.0.0.1"], Current).ca);
    let world = WorldBuilder { tls: "start-tls", authority, ..WorldBuilder::default() }.prepare();
    let daemon = Daemon::launch(&world.config, &[]);
    wait_for("the failure to be told", || (!daemon.events("directory-down").is_empty()).then_some(()));
    assert!(world.slapd.log().contains("EXT oid=1.3.6.1.4.1.1466.20037"), "StartTLS was tried");
    assert!(!world.slapd.log().contains("BIND dn"), "no password was sent");
}

#[test]
fn ldap_07_users_never_bind_on_the_connection_that_searches() {
    let world = in_mode("ask", "cache-lifetime = \"0s\"\n", WorldBuilder::default());
    at_step_begin(30, 10);
    for step in [-30, 0, 30] {
        assert!(world.gateway.login("alice", &world.token("alice", 0).field(step)).is_accept());
        assert!(
            world.gateway.login("bob", &format!("wrong{}", world.token("bob", 0).code(2 * step))).is_reject()
        );
    }
    let log = world.slapd.log();
    let connections = |wanted: &str| -> std::collections::BTreeSet<String> {
        let lines = log.lines().filter(|line| line.contains(wanted));
        lines.filter_map(|line| line.split("conn=").nth(1)?.split(' ').next().map(str::to_owned)).collect()
    };
    let (users, service) =
        (connections("BIND dn=\"uid="), connections(&format!("BIND dn=\"{}", slapd::SERVICE_DN)));
    assert!(!users.is_empty() && !service.is_empty());
    assert!(users.is_disjoint(&service), "{users:?} {service:?}");
    assert!(users.is_disjoint(&connections(" SRCH base=")), "nothing is searched for as a user");
}

#[test]
fn ldap_10_changes_take_effect() {
    for (mode, ldap) in MODES {
        let filter = "(&(objectClass=inetOrgPerson)(uid={user})(!(employeeType=blocked)))";
        let world = in_mode(mode, ldap, WorldBuilder { filter: filter.into(), ..WorldBuilder::default() });
        // A new user with a new token.
        let fresh = person("fresh", &[(6, 30)]);
        world.slapd.change(&person_ldif(&fresh));
        becomes_good(&world, &fresh.tokens[0], "fresh");
        // A token is deleted.
        world.slapd.delete(&fresh.tokens[0].dn());
        becomes_refused(&world, &fresh.tokens[0], "fresh", "token-unusable");
        // A token is taken away from its user.
        let alice = world.person("alice").dn();
        world.slapd.change(&format!("dn: {alice}\nchangetype: modify\ndelete: oathTOTPToken\n-\ndelete: objectClass\nobjectClass: oathTOTPUser\n"));
        becomes_refused(&world, world.token("alice", 0), "alice", "no-token");
        // A user falls out of the filter, and another one is deleted.
        world.slapd.change(&format!(
            "dn: {}\nchangetype: modify\nadd: employeeType\nemployeeType: blocked\n",
            world.person("bob").dn()
        ));
        becomes_refused(&world, world.token("bob", 0), "bob", "user-unknown");
        world.slapd.delete(&world.person("dave").dn());
        wait_for("dave to be unknown", || {
            let _ = world.gateway.login("dave", &format!("{PASSWORD}123456"));
            (world.last_reason("dave") == "user-unknown").then_some(())
        });
        // Parameters change: the same token shows six digits now.
        let carol = Seed { digits: 6, ..world.token("carol", 1).clone() };
        world.slapd.change(&format!(
            "dn: cn={},ou=params,{}\nchangetype: modify\nreplace: oathOTPLength\noathOTPLength: 6\n",
            carol.serial,
            slapd::BASE
        ));
        becomes_good(&world, &carol, "carol");
    }
}

#[test]
fn revoked_means_revoked_within_a_second() {
    let world = World::open();
    assert!(login(&world, world.token("alice", 0), "alice"));
    world.slapd.delete(&world.token("bob", 0).dn());
    world.slapd.change(&format!(
        "dn: {}\nchangetype: modify\nadd: objectClass\nobjectClass: sekishoToken\n-\nadd: sekishoTokenState\nsekishoTokenState: suspended\n",
        world.token("carol", 1).dn()
    ));
    std::thread::sleep(Duration::from_secs(1));
    assert!(world.gateway.login("bob", &world.token("bob", 0).field(0)).is_reject());
    assert_eq!(world.last_reason("bob"), "token-unusable");
    assert!(
        world.gateway.login("carol", &world.token("carol", 1).field(0)).is_reject(),
        "S-23: suspended at once"
    );
    assert_eq!(world.last_reason("carol"), "code-wrong", "her other token is live, and shows another code");
    assert!(login(&world, world.token("carol", 0), "carol"));
}

#[test]
fn ldap_11_what_was_deleted_while_nobody_looked_is_gone_after_the_refresh() {
    for (mode, ldap) in [MODES[0], MODES[1]] {
        let builder = WorldBuilder { proxy: Some(Proxy::listen()), ..WorldBuilder::default() };
        let world = in_mode(mode, &format!("{ldap}shrink-limit = 100\n"), builder);
        at_step_begin(30, 12);
        let (alice, bob) = (world.token("alice", 0).clone(), world.token("bob", 0).clone());
        assert!(login(&world, &bob, "bob"));
        let dave = world.person("dave").dn();
        change_unseen(
            &world,
            &format!("dn: {}\nchangetype: delete\n\ndn: {dave}\nchangetype: delete\n", bob.dn()),
        );
        wait_for("bob's token to be gone", || {
            ask(&world, "bob", &bob.field(60));
            (world.last_reason("bob") == "token-unusable").then_some(())
        });
        wait_for("dave to be gone", || {
            ask(&world, "dave", &format!("{PASSWORD}123456"));
            (world.last_reason("dave") == "user-unknown").then_some(())
        });
        assert!(login(&world, &alice, "alice"));
    }
}

#[test]
fn ldap_12_a_rename_keeps_what_is_remembered() {
    for (mode, ldap) in MODES {
        let world = in_mode(mode, ldap, WorldBuilder::default());
        at_step_begin(30, 15);
        let (alice, bob) = (world.token("alice", 0).clone(), world.token("bob", 0).clone());
        let used = alice.field(0);
        assert!(world.gateway.login("alice", &used).is_accept());
        for code in bob.wrong_codes(5) {
            assert!(world.gateway.login("bob", &format!("{PASSWORD}{code}")).is_reject());
        }
        for (old, new) in [("alice", "alicia"), ("bob", "robert")] {
            world.slapd.change(&format!(
                "dn: {}\nchangetype: modrdn\nnewrdn: uid={new}\ndeleteoldrdn: 1\n",
                slapd::user_dn(old)
            ));
        }
        // The token moves too, and its user's reference with it.
        world.slapd.change(&format!(
            "dn: {}\nchangetype: modrdn\nnewrdn: cn=renamed\ndeleteoldrdn: 1\n\ndn: {}\nchangetype: modify\nreplace: oathTOTPToken\noathTOTPToken: {}\n",
            alice.dn(),
            slapd::user_dn("alicia"),
            slapd::token_dn("renamed"),
        ));
        wait_for("alicia's code to be known as used", || {
            let reply = world.gateway.login("alicia", &used);
            assert!(!reply.is_accept(), "{mode}: a used code is good again after a rename");
            (world.last_reason("alicia") == "code-used").then_some(())
        });
        wait_for("robert to be known as locked", || {
            let reply = world.gateway.login("robert", &bob.field(0));
            assert!(!reply.is_accept(), "{mode}: a lock is gone after a rename");
            (world.last_reason("robert") == "locked").then_some(())
        });
        assert!(world.gateway.login("alicia", &alice.field(30)).is_accept(), "{mode}");
    }
}

#[test]
fn ldap_16_a_reading_that_is_not_whole_replaces_nothing() {
    let world = in_mode("poll", "poll-every = \"1s\"\n", WorldBuilder::default());
    let config = |size: &str| {
        format!(
            "dn: olcDatabase={{1}}mdb,cn=config\nchangetype: modify\nreplace: olcLimits\nolcLimits: dn.exact=\"{}\" size={size}\n",
            slapd::SERVICE_DN
        )
    };
    world.slapd.change(&config("2"));
    wait_for("the reading to fail", || {
        (!world.daemon.events("directory-sync-broken").is_empty()).then_some(())
    });
    at_step_begin(30, 10);
    for name in ["alice", "bob", "carol"] {
        assert!(login(&world, world.token(name, 0), name), "{name} is still known");
    }
    world.slapd.change(&config("unlimited"));
    let fresh = person("fresh", &[(6, 30)]);
    world.slapd.change(&person_ldif(&fresh));
    becomes_good(&world, &fresh.tokens[0], "fresh");
}

#[test]
fn ldap_17_nobody_is_sent_elsewhere() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = elsewhere.local_addr().unwrap().port();
    let ldif = format!(
        "dn: ou=away,{base}\nobjectClass: referral\nobjectClass: extensibleObject\nou: away\nref: ldap://127.0.0.1:{port}/ou=away,{base}\n\n",
        base = slapd::BASE
    );
    for (mode, ldap) in MODES {
        let options = slapd::Options { ldif: ldif.clone(), ..WorldBuilder::default().slapd };
        let builder =
            WorldBuilder { bindings: mode, ldap: ldap.into(), slapd: options, ..WorldBuilder::default() };
        let mut world = builder.prepare();
        if mode == "ask" {
            world.restart(drop);
            assert!(world.gateway.login("somebody", &format!("{PASSWORD}123456")).is_reject());
            assert!(login(&world, world.token("alice", 0), "alice"));
            continue;
        }
        // A whole table cannot be read here, and half of one is none (LDAP-16): an operator is told.
        let daemon = Daemon::launch(&world.config, &[]);
        wait_for("the trouble to be told", || {
            daemon.events("directory-sync-broken").iter().any(|line| line.contains("refer")).then_some(())
        });
        assert!(daemon.events("ready").is_empty(), "{mode}");
    }
    elsewhere.set_nonblocking(true).unwrap();
    assert!(elsewhere.accept().is_err(), "nobody came, and nobody's password");
}

#[test]
fn ldap_31_a_token_of_two_users_and_a_serial_of_two_tokens_are_nobodys() {
    let mut thief = person("thief", &[]);
    let alice = person("alice", &[(6, 30)]);
    thief.entry = format!("objectClass: oathTOTPUser\noathTOTPToken: {}\n", alice.tokens[0].dn());
    let (mut one, mut two) = (person("one", &[(6, 30)]), person("two", &[(6, 30)]));
    one.tokens[0].entry = String::new();
    two.tokens[0].entry = String::new();
    let ldif = person_ldif(&one) + &person_ldif(&two);
    let ldif = ldif.replace("oathTokenSerialNumber: SN-two-0", "oathTokenSerialNumber: SN-one-0");
    let options = slapd::Options { ldif, ..WorldBuilder::default().slapd };
    let world =
        WorldBuilder { slapd: options, ..WorldBuilder::of(vec![alice, thief, person("bob", &[(6, 30)])]) }
            .open();
    let stolen = world.token("alice", 0).clone();
    for (name, field) in [
        ("alice", stolen.field(0)),
        ("thief", stolen.field(0)),
        ("one", one.tokens[0].field(0)),
        ("two", two.tokens[0].field(0)),
    ] {
        assert!(world.gateway.login(name, &field).is_reject(), "{name}");
        assert_eq!(world.last_reason(name), "token-unusable", "{name}");
    }
    assert!(login(&world, world.token("bob", 0), "bob"));
    let told = world.daemon.events("token-unusable");
    assert!(
        told.iter().any(|line| line.contains("SN-alice-0"))
            && told.iter().any(|line| line.contains("SN-one-0")),
        "{told:?}"
    );
    // Put right, both work again.
    world.slapd.change(&format!("dn: {}\nchangetype: modify\ndelete: oathTOTPToken\n-\ndelete: objectClass\nobjectClass: oathTOTPUser\n", slapd::user_dn("thief")));
    becomes_good(&world, &stolen, "alice");
    world.slapd.change(&format!(
        "dn: {}\nchangetype: modify\nreplace: oathTokenSerialNumber\noathTokenSerialNumber: SN-two-0\n",
        two.tokens[0].dn()
    ));
    becomes_good(&world, &two.tokens[0], "two");
    becomes_good(&world, &one.tokens[0], "one");
}

#[test]
fn ldap_32_a_mass_disappearance_is_held_back_and_told() {
    let names: Vec<String> = (0..20).map(|n| format!("user{n}")).collect();
    for (mode, ldap) in [MODES[0], MODES[1]] {
        let people = names.iter().map(|name| person(name, &[(6, 30)])).collect();
        let builder = WorldBuilder {
            ldap: "shrink-limit = 50\n".into(),
            proxy: Some(Proxy::listen()),
            ..WorldBuilder::of(people)
        };
        let world = in_mode(mode, ldap, builder);
        let deletions =
            names[2..].iter().map(|name| format!("dn: {}\nchangetype: delete\n\n", slapd::user_dn(name)));
        change_unseen(&world, &deletions.collect::<String>());
        wait_or(
            "the alarm",
            || world.daemon.log(),
            || (!world.daemon.events("directory-held-back").is_empty()).then_some(()),
        );
        at_step_begin(30, 5);
        let kept = &world.gateway.login("user9", &world.token("user9", 0).field(0));
        assert!(kept.is_reject(), "{mode}: the directory itself no longer knows the password");
        assert_eq!(world.last_reason("user9"), "password-wrong", "{mode}: but the table does know the user");
        assert!(login(&world, world.token("user1", 0), "user1"), "{mode}");
    }
}

#[test]
fn a_quiet_directory_of_few_threads_is_followed_without_interruption() {
    let world = World::open();
    wait_for("some seconds of quiet", || (world.slapd.log().matches(" WHOAMI").count() > 16).then_some(()));
    let broken = world.daemon.events("directory-sync-broken");
    assert!(broken.is_empty(), "{broken:?}");
    assert!(world.daemon.metric("sekisho_directory_sync_age_seconds") < 2.0);
}
