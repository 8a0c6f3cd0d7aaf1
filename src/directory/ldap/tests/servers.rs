//! Servers that come and go.

use super::*;

fn two(first: &Slapd, second: &Slapd) -> Settings {
    Settings { timeout: Duration::from_millis(500), ..settings(&[first.port(), second.port()], Mode::Ask) }
}

#[test]
fn ldap_30_a_frozen_server_costs_its_timeout_and_comes_back() {
    let options = Options { ldif: person_ldif("alice"), ..Options::default() };
    let (first, second) = (Slapd::start(&options), Slapd::start(&options));
    let bench = Bench::new(two(&first, &second));
    let dn = slapd::user_dn("alice");
    assert_eq!(bench.check(&dn, b"alice"), Ok(PasswordAnswer::Right));
    first.freeze();
    assert_eq!(bench.check(&dn, b"alice"), Ok(PasswordAnswer::Right), "the second server answers");
    bench.wait_up(0, false);
    let binds = |log: String| log.matches(&format!("BIND dn=\"{dn}\" method=128")).count();
    let before = binds(second.log());
    for _ in 0..10 {
        assert_eq!(bench.check(&dn, b"alice"), Ok(PasswordAnswer::Right));
        assert!(matches!(bench.find("alice"), Ok(Found::One(_))));
    }
    assert_eq!(binds(second.log()), before + 10, "one bind for each password");
    first.thaw();
    bench.wait_up(0, true);
    assert!(bench.ldap.servers()[0].trouble.is_none());
}

#[test]
fn ldap_30_a_restarted_server_is_used_again_without_a_failure() {
    let options = Options { ldif: person_ldif("alice"), ..Options::default() };
    let mut slapd = Slapd::start(&options);
    let bench = Bench::new(settings(&[slapd.port()], Mode::Ask));
    let dn = slapd::user_dn("alice");
    for _ in 0..3 {
        assert_eq!(bench.check(&dn, b"alice"), Ok(PasswordAnswer::Right));
        assert!(matches!(bench.find("alice"), Ok(Found::One(_))));
        slapd.kill();
        bench.wait_up(0, false);
        assert_eq!(bench.check(&dn, b"alice"), Err(Unavailable::Unreachable));
        assert!(matches!(bench.find("alice"), Err(Unavailable::Unreachable)));
        slapd.run();
        bench.wait_up(0, true);
    }
    // Between two looks of the watcher: the kept connections are dead and nobody is told.
    assert_eq!(bench.check(&dn, b"alice"), Ok(PasswordAnswer::Right));
    slapd.stop();
    slapd.run();
    wait("an answer from the restarted server", || {
        (bench.check(&dn, b"alice") == Ok(PasswordAnswer::Right)).then_some(())
    });
}

#[test]
fn a_server_that_comes_up_after_us_is_found() {
    let mut slapd = Slapd::start(&Options { ldif: person_ldif("alice"), ..Options::default() });
    slapd.stop();
    let bench = Bench::new(settings(&[slapd.port()], Mode::Follow));
    bench.wait_up(0, false);
    assert!(bench.ldap.servers()[0].trouble.is_some());
    assert!(matches!(bench.known("alice"), Known::Stale));
    slapd.run();
    bench.wait_known("alice", "after the server came up", is_active);
}

#[test]
fn a_service_identity_that_cannot_bind_is_named_as_the_trouble() {
    let slapd = Slapd::start(&Options::default());
    let wrong = Settings { bind_password: Secret::new("wrong"), ..settings(&[slapd.port()], Mode::Ask) };
    let bench = Bench::new(wrong);
    bench.wait_told("the refusal", |event| {
        matches!(event, Event::ServerDown { trouble: Trouble::ServiceBind(49), .. })
    });
    assert!(bench.ldap.servers()[0].trouble.as_ref().unwrap().contains("bind-dn"));
}
