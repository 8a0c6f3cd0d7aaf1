//! Users searched for by name.

use super::*;

#[test]
fn ldap_02_names_are_never_interpreted() {
    let slapd = Slapd::start(&Options { ldif: person_ldif("alice"), ..Options::default() });
    let bench = Bench::new(settings(&[slapd.port()], Mode::Ask));
    assert!(is_active(&bench.found("alice")));
    assert!(is_active(&bench.found(" ALICE ")), "caseIgnoreMatch is the directory's");
    for name in
        ["*", "a*", ")(uid=*", "\\", "\\2a", "\0", "alice\0", "alice)(objectClass=*", "bob", "(", "{user}"]
    {
        assert!(matches!(bench.find(name), Ok(Found::Nobody)), "{name:?}");
    }
    let not_utf8 = UserName::new(b"alic\xe9").unwrap();
    assert!(matches!(bench.runtime.block_on(bench.ldap.find(&not_utf8, soon())), Ok(Found::Nobody)));
    let log = slapd.log();
    assert!(log.contains("(uid=\\2A)") || log.contains("(uid=\\2a)"), "{log}");
}

#[test]
fn ldap_03_dns_with_special_characters_work_from_end_to_end() {
    let slapd = Slapd::start(&Options::default());
    let bench = Bench::new(settings(&[slapd.port()], Mode::Ask));
    for (at, value) in ["Doe\\, John", "a\\+b", "\\\"q\\\"", "\\#x", "x\\ ", "ゆうこ", "a=b\\;c\\<\\>"]
        .into_iter()
        .enumerate()
    {
        let rdn = slapd::base64(format!("cn={value},ou=people,{}", slapd::BASE).as_bytes());
        let token_dn = slapd::base64(format!("cn={value},ou=tokens,{}", slapd::BASE).as_bytes());
        slapd.change(&format!(
            "dn:: {token_dn}\nobjectClass: device\nobjectClass: oathTOTPToken\noathTokenSerialNumber: s{at}\noathSecret:: {}\noathTOTPParams: {}\n\n\
             dn:: {rdn}\nobjectClass: inetOrgPerson\nobjectClass: oathTOTPUser\nuid: u{at}\nsn: x\nuserPassword: secret\noathTOTPToken:: {token_dn}\n",
            slapd::base64(&[7; 20]),
            slapd::PARAMS_DN,
        ));
        let user = bench.found(&format!("u{at}"));
        assert!(is_active(&user), "{value}: {:?}", standings(&user));
        assert_eq!(bench.check(&user.dn, b"secret"), Ok(PasswordAnswer::Right), "{value}");
    }
}

#[test]
fn ldap_04_a_name_of_two_entries_is_nobodys() {
    let slapd = Slapd::start(&Options { ldif: person_ldif("alice"), ..Options::default() });
    slapd.change(&format!(
        "dn: uid=bob,ou=people,{}\nobjectClass: inetOrgPerson\nuid: bob\nuid: alice\ncn: b\nsn: b\n",
        slapd::BASE
    ));
    let bench = Bench::new(settings(&[slapd.port()], Mode::Ask));
    assert!(matches!(bench.find("alice"), Ok(Found::Several)));
    assert!(matches!(bench.find("bob"), Ok(Found::One(_))));
}

#[test]
fn ldap_31_two_owners_or_two_equal_serial_numbers_disable_a_token() {
    let names = ["alice", "bob", "carol"].map(person_ldif).concat();
    let slapd = Slapd::start(&Options { ldif: names, ..Options::default() });
    let bench = Bench::new(settings(&[slapd.port()], Mode::Ask));
    assert!(is_active(&bench.found("alice")));
    let thief = slapd.add_person("thief", "x");
    slapd.refer(&thief, &slapd::token_dn("alice"));
    assert!(is_unusable(&bench.found("alice"), Defect::SeveralOwners));
    assert!(is_unusable(&bench.found("thief"), Defect::SeveralOwners));
    slapd.change(&format!(
        "dn: {}\nchangetype: modify\nreplace: oathTokenSerialNumber\noathTokenSerialNumber: bob\n",
        slapd::token_dn("carol")
    ));
    assert!(is_unusable(&bench.found("bob"), Defect::SerialRepeated));
    assert!(is_unusable(&bench.found("carol"), Defect::SerialRepeated));
    assert!(bench.told(|event| matches!(event, Event::Unusable { defect: Defect::SeveralOwners, .. })));
}

#[test]
fn ldap_21_a_reference_that_leads_nowhere_or_outside_breaks_its_own_token_only() {
    let slapd = Slapd::start(&Options { ldif: person_ldif("alice"), ..Options::default() });
    slapd.add_user(slapd::User { uid: "gone", password: b"x", tokens: &[&slapd::token_dn("none")] });
    let outside = format!("cn=p8,ou=params,{}", slapd::BASE);
    let token = slapd.add_token(slapd::Token { cn: "t", secret: &[7; 20], params: &outside });
    slapd.add_user(slapd::User { uid: "out", password: b"x", tokens: &[&token] });
    let bench = Bench::new(settings(&[slapd.port()], Mode::Ask));
    assert!(is_unusable(&bench.found("gone"), Defect::TokenNotFound));
    assert!(is_active(&bench.found("out")));
    assert!(is_active(&bench.found("alice")));
    // The same tree seen from a base that the tokens lie in and the parameters do not.
    slapd.change(&format!("dn: uid=in,ou=tokens,{}\nobjectClass: inetOrgPerson\nobjectClass: oathTOTPUser\nuid: in\ncn: i\nsn: i\noathTOTPToken: {token}\n", slapd::BASE));
    slapd.change(&format!("dn: uid=out,ou=people,{}\nchangetype: delete\n", slapd::BASE));
    let narrow =
        Settings { base: format!("ou=tokens,{}", slapd::BASE), ..settings(&[slapd.port()], Mode::Ask) };
    let bench = Bench::new(narrow);
    assert!(is_unusable(&bench.found("in"), Defect::ParametersNotFound));
}

#[test]
fn an_answer_is_put_into_memory_under_every_name() {
    let slapd = Slapd::start(&Options { ldif: person_ldif("alice"), ..Options::default() });
    slapd.change(&format!("dn: {}\nchangetype: modify\nadd: uid\nuid: al\n", slapd::user_dn("alice")));
    let bench = Bench::new(settings(&[slapd.port()], Mode::Ask));
    assert!(matches!(bench.known("al"), Known::Ask));
    bench.found("alice");
    assert!(matches!(bench.known("al"), Known::One(user) if is_active(&user.whole())));
}

#[test]
fn freeipas_tokens_are_found_by_their_owner() {
    let schema = tempfile::tempdir().unwrap();
    let file = schema.path().join("ipa.schema");
    std::fs::write(&file, FREEIPA_SCHEMA).unwrap();
    let owner = slapd::user_dn("alice");
    let token = format!(
        "dn: ipatokenUniqueID=t1,ou=tokens,{}\nobjectClass: ipatokenTOTP\nipatokenUniqueID: t1\nipatokenOwner: {owner}\n\
         ipatokenOTPkey:: {}\nipatokenOTPdigits: 6\nipatokenTOTPtimeStep: 30\n\n",
        slapd::BASE,
        slapd::base64(&[7; 20])
    );
    let person = slapd::user_ldif(slapd::User { uid: "alice", password: b"x", tokens: &[] });
    let slapd = Slapd::start(&Options { schema: vec![file], ldif: person + &token, ..Options::default() });
    for mode in [Mode::Ask, Mode::Follow] {
        let bench = Bench::new(Settings { layout: Layout::freeipa(), ..settings(&[slapd.port()], mode) });
        match mode {
            Mode::Ask => assert!(is_active(&bench.found("alice"))),
            _ => {
                bench.wait_known("alice", "with a token", is_active);
                let dn = format!("ipatokenUniqueID=t1,ou=tokens,{}", slapd::BASE);
                slapd.change(&format!(
                    "dn: {dn}\nchangetype: modify\nreplace: ipatokenDisabled\nipatokenDisabled: TRUE\n"
                ));
                bench.wait_known("alice", "suspended", |user| standings(user) == [Standing::Suspended]);
                slapd.delete(&dn);
                bench.wait_known("alice", "without a token", |user| standings(user).is_empty());
            }
        }
    }
}

/// As much of FreeIPA's schema as a token needs.
const FREEIPA_SCHEMA: &str = "\
attributetype ( 2.16.840.1.113730.3.8.16.1.1 NAME 'ipatokenUniqueID' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
attributetype ( 2.16.840.1.113730.3.8.16.1.2 NAME 'ipatokenDisabled' EQUALITY booleanMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.7 SINGLE-VALUE )
attributetype ( 2.16.840.1.113730.3.8.16.1.8 NAME 'ipatokenOTPkey' EQUALITY octetStringMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.40 SINGLE-VALUE )
attributetype ( 2.16.840.1.113730.3.8.16.1.10 NAME 'ipatokenOTPdigits' EQUALITY integerMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
attributetype ( 2.16.840.1.113730.3.8.16.1.12 NAME 'ipatokenTOTPtimeStep' EQUALITY integerMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
attributetype ( 2.16.840.1.113730.3.8.16.1.13 NAME 'ipatokenOwner' EQUALITY distinguishedNameMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.12 SINGLE-VALUE )
objectclass ( 2.16.840.1.113730.3.8.16.2.2 NAME 'ipatokenTOTP' STRUCTURAL MUST ( ipatokenUniqueID $ ipatokenOwner ) MAY ( ipatokenDisabled $ ipatokenOTPkey $ ipatokenOTPdigits $ ipatokenTOTPtimeStep ) )
";
