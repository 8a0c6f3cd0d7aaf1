//! Passwords: every octet arrives, nothing is sent that should not be, and the directory's reservations are heard.

use super::*;

#[test]
fn ldap_01_07_09_passwords_arrive_as_they_are_and_empty_ones_never() {
    let long = [b'x'; 128];
    let passwords: [&[u8]; 7] = [
        b"plain",
        "パスワード".as_bytes(),
        b" lead and trail ",
        b"nul\0inside",
        b"\xff\xfe",
        b";,:\"\\",
        &long,
    ];
    let slapd = Slapd::start(&Options { global: "allow bind_anon_dn\n".into(), ..Options::default() });
    let bench = Bench::new(settings(&[slapd.port()], Mode::Ask));
    for (at, password) in passwords.into_iter().enumerate() {
        let uid = format!("u{at}");
        let dn = slapd.add_user(slapd::User { uid: &uid, password, tokens: &[] });
        assert_eq!(bench.check(&dn, password), Ok(PasswordAnswer::Right), "{password:?}");
        for wrong in [&b"wrong"[..], b"", b"\0", b"\0plain"] {
            assert_eq!(bench.check(&dn, wrong), Ok(PasswordAnswer::Wrong), "{password:?} {wrong:?}");
        }
        // The searches still have the service identity: users may read nothing here.
        assert_eq!(&*bench.found(&uid).dn, &*dn);
    }
    assert_eq!(bench.check("", b"password"), Ok(PasswordAnswer::Wrong));
    assert_eq!(bench.check(&slapd::user_dn("nobody"), b"password"), Ok(PasswordAnswer::Wrong));
    let log = slapd.log();
    assert!(!log.contains("BIND dn=\"\" method=128"), "an empty DN was sent");
    // One bind with the right password and one with the wrong one for each user: none for the empty ones.
    for at in 0..passwords.len() {
        assert_eq!(
            log.matches(&format!("BIND dn=\"{}\" method=128", slapd::user_dn(&format!("u{at}")))).count(),
            2
        );
    }
}

#[test]
fn ldap_24_the_directorys_password_policy_is_heard() {
    let slapd = Slapd::start(&Options { password_policy: true, ..Options::default() });
    let locked = slapd.add_person("locked", "right");
    let reset = slapd.add_person("reset", "right");
    slapd.change(&format!("dn: {reset}\nchangetype: modify\nadd: pwdReset\npwdReset: TRUE\n"));
    let bench = Bench::new(settings(&[slapd.port()], Mode::Ask));
    assert_eq!(bench.check(&locked, b"right"), Ok(PasswordAnswer::Right));
    assert_eq!(bench.check(&reset, b"right"), Ok(PasswordAnswer::MustChange));
    for _ in 0..3 {
        assert_eq!(bench.check(&locked, b"wrong"), Ok(PasswordAnswer::Wrong));
    }
    assert_eq!(bench.check(&locked, b"right"), Ok(PasswordAnswer::Locked));
}

#[test]
fn ldap_23_an_overlay_that_guards_binds_is_seen() {
    let runtime = Runtime::new().unwrap();
    let guards = |slapd: &Slapd, bind_dn: &str| {
        let settings = Settings { bind_dn: bind_dn.to_owned(), ..settings(&[slapd.port()], Mode::Ask) };
        runtime.block_on(otp_overlay_guards(&settings))
    };
    let plain = Slapd::start(&Options::default());
    assert_eq!(guards(&plain, slapd::SERVICE_DN), Ok(Guarded::No));
    assert_eq!(guards(&plain, ""), Ok(Guarded::Unknown));
    let guarded = Slapd::start(&Options { otp_overlay: true, ..Options::default() });
    assert_eq!(guards(&guarded, slapd::SERVICE_DN), Ok(Guarded::Yes));
}

#[test]
fn many_binds_at_once_share_the_pool_and_all_get_their_own_answer() {
    let slapd = Slapd::start(&Options::default());
    let right = slapd.add_person("right", "right");
    let wrong = slapd.add_person("wrong", "right");
    let bench = Bench::new(settings(&[slapd.port()], Mode::Ask));
    let answers = bench.runtime.block_on(async {
        let checks = (0..200).map(|at| {
            let (ldap, dn) = (Arc::clone(&bench.ldap), if at % 2 == 0 { &right } else { &wrong });
            let (user, password) = (user(dn), if at % 2 == 0 { "right" } else { "wrong" });
            tokio::spawn(async move {
                ldap.check_password(&KeptUser::new(&user), Secret::new(password), soon()).await
            })
        });
        futures_util::future::join_all(checks).await
    });
    for (at, answer) in answers.into_iter().enumerate() {
        let expected = if at % 2 == 0 { PasswordAnswer::Right } else { PasswordAnswer::Wrong };
        assert_eq!(answer.unwrap(), Ok(expected), "{at}");
    }
    let log = slapd.log();
    let connections: std::collections::HashSet<&str> = log
        .lines()
        .filter(|line| line.contains("BIND dn=\"uid="))
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with("conn=")))
        .collect();
    assert!(connections.len() <= 4, "{connections:?}");
}
