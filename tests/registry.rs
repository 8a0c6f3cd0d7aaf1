//! The directory's side of a token's life: confirmed over RADIUS, asked by contract, stopped at once, read where nothing
//! can be written.

use crate::harness::daemon::{Daemon, write};
use crate::harness::world::{PASSWORD, Person, octets, person};
use crate::harness::{World, WorldBuilder, at_step_begin, slapd, wait_for};
use sekisho::directory::seal::Keyring;
use sekisho::secret::Secret;
use std::time::Duration;

/// A user whose token's entry, and whose own, have further lines.
fn special(name: &str, user: &str, token: &str) -> Person {
    let mut person = person(name, &[(6, 30)]);
    if !user.is_empty() {
        person.entry = format!("objectClass: sekishoUser\n{user}");
    }
    if !token.is_empty() {
        person.tokens[0].entry = format!("objectClass: sekishoToken\n{token}");
    }
    person
}

fn waiting(name: &str) -> Person {
    special(name, "", "sekishoTokenState: set-up\n")
}

/// A bank whose directory lets the daemon write.
fn writing(people: Vec<Person>) -> WorldBuilder {
    let slapd = slapd::Options { writable: true, ..slapd::Options::default() };
    WorldBuilder { slapd, ..WorldBuilder::of(people) }
}

fn service(lines: &str) -> String {
    format!("{}{lines}", WorldBuilder::default().service)
}

/// The values of an attribute of an entry, as slapd has them now.
fn values(world: &World, dn: &str, attribute: &str) -> Vec<String> {
    let ldif = world.slapd.dump().replace("\n ", "");
    let entry = ldif.split("\n\n").find(|entry| entry.contains(&format!("dn: {dn}\n"))).unwrap_or_default();
    let prefix = format!("{attribute}: ");
    entry.lines().filter_map(|line| line.strip_prefix(&prefix)).map(str::to_owned).collect()
}

fn state_of(world: &World, name: &str) -> Vec<String> {
    values(world, &world.token(name, 0).dn(), "sekishoTokenState")
}

fn set(world: &World, dn: &str, attribute: &str, value: &str) {
    world
        .slapd
        .change(&format!("dn: {dn}\nchangetype: modify\nreplace: {attribute}\n{attribute}: {value}\n"));
}

#[test]
fn otp_34_s_15_the_first_correct_code_takes_a_token_into_service() {
    let world = writing(vec![waiting("alice"), waiting("bob")]).open();
    let alice = world.token("alice", 0);
    let wrong = format!("{PASSWORD}{}", alice.wrong_code());
    assert!(world.gateway.login("alice", &wrong).is_reject());
    assert!(world.gateway.login("alice", &format!("wrong{}", alice.code(-30))).is_reject());
    assert_eq!(state_of(&world, "alice"), ["set-up"], "a wrong code or a wrong password confirms nothing");
    assert!(world.gateway.login("alice", &alice.field(0)).is_accept());
    assert_eq!(state_of(&world, "alice"), ["active"]);
    let line = world.audit().pop().unwrap();
    assert_eq!((line["reason"].as_str(), line["confirms"].as_str()), (Some("code-accepted"), Some("token")));
    assert!(world.gateway.login("alice", &alice.field(0)).is_reject(), "the code counts once");
    assert!(world.gateway.login("alice", &alice.field(30)).is_accept());
    assert!(world.audit().pop().unwrap()["confirms"].is_null());
    assert_eq!(state_of(&world, "bob"), ["set-up"]);
}

#[test]
fn s_15_what_cannot_be_confirmed_gets_no_answer_and_uses_no_code_up() {
    // Our classes, and no right to write.
    let world = WorldBuilder::of(vec![waiting("alice"), person("bob", &[(6, 30)])]).open();
    let alice = world.token("alice", 0);
    at_step_begin(30, 5);
    let field = alice.field(0);
    let request = world.gateway.request("alice", field.as_bytes());
    world.gateway.expect_silence(&request);
    world.daemon.wait_for_reason("not-confirmed", 1.0);
    assert!(world.daemon.log().contains("bind-dn may not write here"));
    assert!(world.gateway.login("bob", &world.token("bob", 0).field(0)).is_accept(), "others are served");
    set(&world, &alice.dn(), "sekishoTokenState", "active");
    wait_for("the change to be followed", || world.gateway.login("alice", &field).is_accept().then_some(()));
}

#[test]
fn s_13_a_token_of_another_contract_is_confirmed_by_its_first_code() {
    let shared = person("alice", &[(6, 30)]);
    let dn = shared.tokens[0].dn();
    let second = Person {
        entry: format!("objectClass: sekishoUser\nsekishoPendingToken: {dn}\n"),
        ..person("second", &[])
    };
    let world = writing(vec![shared, second]).open();
    let token = world.token("alice", 0);
    let field = token.field(0);
    assert!(world.gateway.login("second", &field).is_reject());
    assert_eq!(world.last_reason("second"), "no-token", "the token does not list its owners");
    let owners = ["alice", "second"].map(|name| values(&world, &slapd::user_dn(name), "entryUUID").remove(0));
    world.slapd.change(&format!(
        "dn: {dn}\nchangetype: modify\nadd: objectClass\nobjectClass: sekishoToken\n-\nadd: sekishoOwner\n\
         sekishoOwner: {}\nsekishoOwner: {}\n",
        owners[0], owners[1]
    ));
    let wrong = format!("{PASSWORD}{}", token.wrong_code());
    wait_for("the owners to be followed", || {
        assert!(world.gateway.login("second", &wrong).is_reject());
        (world.last_reason("second") == "code-wrong").then_some(())
    });
    assert!(world.gateway.login("second", &field).is_accept());
    assert_eq!(values(&world, &slapd::user_dn("second"), "oathTOTPToken"), [dn]);
    assert!(values(&world, &slapd::user_dn("second"), "sekishoPendingToken").is_empty());
    assert!(world.gateway.login("alice", &field).is_reject(), "one token, one code, once (S-02)");
}

#[test]
fn s_10_s_11_only_users_of_enabled_contracts_are_asked() {
    for bindings in ["follow", "ask"] {
        let member = |name: &str, contract: &str, tokens: &[(u32, u32)]| Person {
            entry: format!("objectClass: sekishoUser\nsekishoContract: {contract}\n"),
            ..person(name, tokens)
        };
        let people = vec![
            member("alice", "C-1", &[(6, 30)]),
            member("dave", "c-1", &[]),
            member("bob", "C-2", &[]),
            person("eve", &[]),
        ];
        let world = WorldBuilder {
            service: service("contracts = \"enable\"\n"),
            ldap: "cache-lifetime = \"0s\"".into(),
            bindings,
            ..writing(people)
        }
        .open();
        let base = slapd::BASE;
        // Until the counter enables it, none of its users is asked.
        for name in ["alice", "dave", "bob", "eve"] {
            assert!(world.gateway.login(name, PASSWORD).is_accept(), "{bindings}: {name}");
            assert_eq!(world.last_reason(name), "code-not-asked", "{bindings}: {name}");
        }
        let enable = |id: &str, service: &str| {
            world.slapd.change(&format!(
                "dn: sekishoContract={id},ou=contracts,{base}\nobjectClass: sekishoContractEntry\n\
                 sekishoContract: {id}\nsekishoService: {service}\n"
            ));
        };
        enable("C-1", "test");
        enable("C-2", "another-service");
        wait_for("the contract to be known", || {
            world.gateway.login("alice", PASSWORD).is_reject().then_some(())
        });
        assert_eq!(world.last_reason("alice"), "code-missing", "{bindings}");
        assert!(world.gateway.login("alice", &world.token("alice", 0).field(0)).is_accept());
        assert!(world.gateway.login("dave", PASSWORD).is_reject(), "{bindings}: everybody of it needs one");
        assert_eq!(world.last_reason("dave"), "no-token", "{bindings}");
        for name in ["bob", "eve"] {
            assert!(world.gateway.login(name, PASSWORD).is_accept(), "{bindings}: {name}");
        }
        // A container that is not seen is not one without contracts.
        world.slapd.delete(&format!("sekishoContract=C-1,ou=contracts,{base}"));
        wait_for("the contract to be gone", || {
            world.gateway.login("dave", PASSWORD).is_accept().then_some(())
        });
        world.slapd.delete(&format!("sekishoContract=C-2,ou=contracts,{base}"));
        world.slapd.delete(&format!("ou=contracts,{base}"));
        wait_for("the container to be gone", || {
            let request = world.gateway.request("bob", PASSWORD.as_bytes());
            world.gateway.send(&request);
            world.gateway.receive_within(&request, Duration::from_millis(500)).is_none().then_some(())
        });
        world.daemon.wait_for_reason("contracts-unknown", 1.0);
    }
}

#[test]
fn s_04_s_22_the_confirmation_password_serves_until_there_is_a_token_and_after_it_is_given_up() {
    let mut new = waiting("new");
    new.tokens[0].entry.push_str("sekishoTokenStateTime: 20260821093000Z\n");
    let profile = "password = \"none\"\nlayout = \"code\"\nwithout-token = \"password\"\n";
    let world = WorldBuilder { service: service(profile), ..writing(vec![new, person("dave", &[])]) }.open();
    let (gateway, token) = (&world.gateway, world.token("new", 0));
    assert!(gateway.login("dave", PASSWORD).is_accept());
    assert_eq!(world.last_reason("dave"), "password-instead");
    assert!(gateway.login("dave", "wrong").is_reject());
    assert_eq!(world.last_reason("dave"), "password-wrong");
    assert!(gateway.login("dave", "").is_reject());
    assert_eq!(world.last_reason("dave"), "password-empty");
    // Registered, not yet confirmed: both work, and the first code ends that.
    assert!(gateway.login("new", PASSWORD).is_accept());
    assert!(gateway.login("new", &token.code(0)).is_accept());
    assert_eq!(world.last_reason("new"), "code-accepted");
    assert_eq!(state_of(&world, "new"), ["active"]);
    let binds = world.binds("new");
    assert!(gateway.login("new", PASSWORD).is_reject());
    // A token that is only stopped opens no way around it.
    for (state, reason) in [("suspended", "token-suspended"), ("active", "code-used")] {
        set(&world, &token.dn(), "sekishoTokenState", state);
        let code = token.code(0);
        wait_for(reason, || {
            assert!(gateway.login("new", &code).is_reject());
            (world.last_reason("new") == reason).then_some(())
        });
        assert_eq!(world.binds("new"), binds, "{state}");
    }
    // Stop of use.
    set(&world, &token.dn(), "sekishoTokenState", "revoked");
    wait_for("the password to serve again", || gateway.login("new", PASSWORD).is_accept().then_some(()));
}

#[test]
fn s_19_s_23_s_24_a_stopped_token_is_refused_for_its_own_reason() {
    let world = writing(vec![person("alice", &[(6, 30)])]).open();
    let token = world.token("alice", 0);
    assert!(world.gateway.login("alice", &token.field(-30)).is_accept());
    world.slapd.change(&format!(
        "dn: {}\nchangetype: modify\nadd: objectClass\nobjectClass: sekishoToken\n",
        token.dn()
    ));
    for (attribute, value, reason) in [
        ("sekishoTokenState", "suspended", "token-suspended"),
        ("sekishoTokenState", "revoked", "token-revoked"),
        ("sekishoTokenState", "issued", "no-token"),
        ("sekishoTokenState", "active", "code-wrong"),
        ("sekishoNotAfter", "20200101000000Z", "token-expired"),
    ] {
        set(&world, &token.dn(), attribute, value);
        let wrong = format!("{PASSWORD}{}", token.wrong_code());
        wait_for(reason, || {
            assert!(world.gateway.login("alice", &wrong).is_reject());
            (world.last_reason("alice") == reason).then_some(())
        });
    }
}

#[test]
fn a_directory_without_our_classes_works_and_is_only_read() {
    let people = vec![person("alice", &[(6, 30)])];
    let world = WorldBuilder { slapd: slapd::Options::default(), ..WorldBuilder::of(people) }.open();
    assert!(world.gateway.login("alice", &world.token("alice", 0).field(0)).is_accept());
}

#[test]
fn s_15_a_daemon_killed_while_it_confirms_accepts_the_code_once() {
    let names: Vec<String> = (0..8).map(|number| format!("user{number}")).collect();
    let mut world = writing(names.iter().map(|name| waiting(name)).collect()).open();
    for (number, name) in names.iter().enumerate() {
        at_step_begin(30, 5);
        let field = world.token(name, 0).field(0);
        let request = world.gateway.request(name, field.as_bytes());
        world.gateway.send(&request);
        // Somewhere between the arrival and the answer, later each time.
        let delay = Duration::from_micros(400 * u64::try_from(number).unwrap());
        std::thread::sleep(delay);
        let before = std::mem::replace(
            &mut world.gateway,
            crate::harness::Gateway::new(([127, 0, 0, 1], 1).into(), "x"),
        );
        world.restart(Daemon::kill);
        let first =
            before.receive_within(&request, Duration::from_millis(50)).is_some_and(|reply| reply.is_accept());
        let second = world.gateway.login(name, &field).is_accept();
        // Marked and not answered is the one case in which nobody is told; twice accepted is none.
        assert!(!(first && second), "{name}: accepted twice after {delay:?}");
        if first || second {
            assert_eq!(state_of(&world, name), ["active"], "{name}");
        }
        assert!(world.gateway.login(name, &world.token(name, 0).field(30)).is_accept(), "{name}: goes on");
        assert_eq!(state_of(&world, name), ["active"], "{name}");
    }
}

#[test]
fn keys_rotate_and_tokens_are_sealed_anew_while_logins_go_on() {
    let names: Vec<String> = (0..40).map(|number| format!("user{number}")).collect();
    let people: Vec<Person> = names.iter().map(|name| person(name, &[(6, 30)])).collect();
    // Sealed under the first key, as our own commands would have written them.
    let mut builder = writing(people);
    builder.ldap = "seal-key-file = \"seal.key\"".into();
    let mut world = builder.prepare();
    write(world.directory.path(), "seal.key", KEYS);
    let mut keyring = Keyring::default();
    keyring.add(KEYS).unwrap();
    for (number, name) in names.iter().enumerate() {
        let token = world.token(name, 0);
        let key = Secret::new(octets(&token.secret_hex));
        let sealed = keyring.seal(&token.serial, &key, [u8::try_from(number).unwrap(); 24]).unwrap();
        set(&world, &token.dn(), "oathSecret", &sealed);
    }
    world.restart(drop);
    let under = |world: &World, id: &str| {
        let ldif = world.slapd.dump().replace("\n ", "");
        ldif.lines().filter(|line| line.starts_with(&format!("oathSecret: {{sekisho:v1}}{id}:"))).count()
    };
    assert_eq!((under(&world, "2025"), under(&world, "2026")), (40, 0));
    assert!(world.gateway.login("user0", &world.token("user0", 0).field(0)).is_accept());

    let said = world.done(&["keys", "rotate", "2026"], "");
    assert!(said.contains("reload every node"), "{said}");
    let again = world.command(&["keys", "rotate", "2026"], "");
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    world.daemon.signal("HUP");
    wait_for("the new key", || {
        let keys: serde_json::Value =
            serde_json::from_str(&world.done(&["keys", "list", "--json"], "")).unwrap();
        (keys["keys"] == serde_json::json!(["2026", "2025"])).then_some(())
    });
    let would = world.done(&["keys", "rewrap", "--dry-run"], "");
    assert!(would.contains("under the key 2026"), "{would}");
    assert_eq!(under(&world, "2026"), 0);

    std::thread::scope(|scope| {
        let gateway = world.second_gateway();
        let (world, names) = (&world, &names);
        let logins = scope.spawn(move || {
            for name in &names[1..] {
                assert!(gateway.login(name, &world.token(name, 0).field(0)).is_accept(), "{name}");
            }
        });
        let said = world.done(&["keys", "rewrap"], "");
        assert!(said.contains("sealed anew: 40 tokens looked at, 40 sealed under 2026"), "{said}");
        logins.join().unwrap();
    });
    assert_eq!((under(&world, "2025"), under(&world, "2026")), (0, 40));
    let said = world.done(&["keys", "rewrap", "--json"], "");
    assert!(said.contains("\"resealed\":0"), "what is done is passed over: {said}");
    let outcomes: Vec<_> = world
        .audit()
        .into_iter()
        .filter(|line| line["event"] == "keys")
        .map(|line| line["outcome"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(outcomes, ["begun", "done", "begun", "done"]);
    // The old key may go now.
    let file = world.directory.path().join("seal.key");
    let text = std::fs::read_to_string(&file).unwrap();
    let kept: String =
        text.lines().filter(|line| line.starts_with("2026:")).map(|line| format!("{line}\n")).collect();
    write(world.directory.path(), "seal.key", &kept);
    world.restart(|daemon| daemon.stop());
    assert!(world.gateway.login("user1", &world.token("user1", 0).field(30)).is_accept());
}

#[test]
fn check_says_whether_the_directory_could_be_written_to_and_changes_nothing() {
    let people = || vec![person("alice", &[(6, 30)])];
    let checked = |builder: WorldBuilder| {
        let world = builder.prepare();
        let before = world.slapd.dump();
        let output = world.command(&["check", "--online"], "");
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_eq!(world.slapd.dump(), before);
        String::from_utf8(output.stdout).unwrap()
    };
    let sealing = |builder: WorldBuilder| {
        let key = tempfile::tempdir().unwrap().keep().join("seal.key");
        write(key.parent().unwrap(), "seal.key", KEYS);
        WorldBuilder { ldap: format!("seal-key-file = {key:?}"), ..builder }
    };
    let ready = checked(sealing(writing(people())));
    assert!(!ready.contains("read-only"), "{ready}");
    let unsealed = checked(writing(people()));
    assert!(unsealed.contains("set seal-key-file") && !unsealed.contains("may not write"), "{unsealed}");
    let barred = checked(sealing(WorldBuilder::of(people())));
    assert_eq!(barred.matches("may not write").count(), 3, "{barred}");
    let bare =
        checked(sealing(WorldBuilder { slapd: slapd::Options::default(), ..WorldBuilder::of(people()) }));
    assert!(bare.contains("the schema lacks sekishoUser, sekishoToken"), "{bare}");
    let nowhere = sealing(writing(people()));
    let ldap = format!("{}\ntoken-base = \"ou=nowhere,{}\"", nowhere.ldap, slapd::BASE);
    let nowhere = checked(WorldBuilder { ldap, ..nowhere });
    assert!(nowhere.contains("token-base = \"ou=nowhere"), "{nowhere}");
}

const KEYS: &str = "2025:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n";
