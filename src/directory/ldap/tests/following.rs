//! The table that follows the directory.

use super::fake::*;
use super::*;

fn three() -> Options {
    Options { ldif: ["alice", "bob", "carol"].map(person_ldif).concat(), ..Options::default() }
}

fn following(slapd: &Slapd) -> Bench {
    let bench = Bench::new(settings(&[slapd.port()], Mode::Follow));
    wait("the first load", || bench.told(|event| matches!(event, Event::Loaded { .. })).then_some(()));
    bench
}

#[test]
fn ldap_10_every_change_becomes_effective() {
    let slapd = Slapd::start(&three());
    let bench = following(&slapd);
    for name in ["alice", "bob", "carol"] {
        bench.wait_known(name, "with a token", is_active);
    }
    // A new user before the token exists, then the token, then its parameters change.
    slapd.add_user(slapd::User { uid: "dave", password: b"x", tokens: &[&slapd::token_dn("dave")] });
    bench.wait_known("dave", "without the token", |user| is_unusable(user, Defect::TokenNotFound));
    slapd.change(&token_ldif("dave"));
    bench.wait_known("dave", "with the token", is_active);
    slapd.change(&format!(
        "dn: {}\nchangetype: modify\nreplace: oathOTPLength\noathOTPLength: 3\n",
        slapd::PARAMS_DN
    ));
    for name in ["alice", "bob", "carol", "dave"] {
        bench.wait_known(name, "with bad parameters", |user| is_unusable(user, Defect::Digits));
    }
    slapd.change(&format!(
        "dn: {}\nchangetype: modify\nreplace: oathOTPLength\noathOTPLength: 6\n",
        slapd::PARAMS_DN
    ));
    bench.wait_known("dave", "with good parameters", is_active);
    // Revoked: the token goes, the reference goes, the user goes, the user leaves the filter.
    slapd.delete(&slapd::token_dn("alice"));
    bench.wait_known("alice", "without the token", |user| is_unusable(user, Defect::TokenNotFound));
    slapd.change(&format!(
        "dn: {}\nchangetype: modify\ndelete: oathTOTPToken\n-\ndelete: objectClass\nobjectClass: oathTOTPUser\n",
        slapd::user_dn("bob")
    ));
    bench.wait_known("bob", "without the reference", |user| standings(user).is_empty());
    slapd.delete(&slapd::user_dn("carol"));
    bench.wait_nobody("carol");
    slapd.change(&format!("dn: {}\nchangetype: modify\nadd: uid\nuid: dave2\n", slapd::user_dn("dave")));
    bench.wait_known("dave2", "by the second name", is_active);
    slapd.change(&format!("dn: {}\nchangetype: modify\ndelete: uid\nuid: dave2\n", slapd::user_dn("dave")));
    bench.wait_nobody("dave2");
}

#[test]
fn ldap_10_what_moves_out_of_scope_or_out_of_the_filter_is_gone() {
    let slapd = Slapd::start(&three());
    let base = format!("ou=people,{}", slapd::BASE);
    let filter = "(&(objectClass=inetOrgPerson)(!(description=closed))(uid={user}))";
    let narrow = Settings {
        base,
        user_filter: UserFilter::parse(filter).unwrap(),
        ..settings(&[slapd.port()], Mode::Follow)
    };
    let bench = Bench::new(narrow);
    bench.wait_known("alice", "loaded", |_| true);
    bench.wait_known("bob", "loaded", |user| is_unusable(user, Defect::TokenNotFound));
    slapd.change(&format!(
        "dn: {}\nchangetype: modrdn\nnewrdn: uid=alice\ndeleteoldrdn: 1\nnewsuperior: ou=tokens,{}\n",
        slapd::user_dn("alice"),
        slapd::BASE
    ));
    bench.wait_nobody("alice");
    slapd.change(&format!(
        "dn: {}\nchangetype: modify\nadd: description\ndescription: closed\n",
        slapd::user_dn("bob")
    ));
    bench.wait_nobody("bob");
    bench.wait_known("carol", "untouched", |_| true);
}

#[test]
fn ldap_11_14_what_was_deleted_while_we_were_away_is_gone_after_the_refresh() {
    let mut slapd = Slapd::start(&three());
    let bench = following(&slapd);
    let alice = bench.wait_known("alice", "loaded", is_active).id;
    slapd.change_unseen(|slapd| {
        slapd.delete(&slapd::token_dn("alice"));
        slapd.delete(&slapd::user_dn("bob"));
    });
    bench.wait_known("alice", "without the token", |user| {
        is_unusable(user, Defect::TokenNotFound) && user.id == alice
    });
    bench.wait_nobody("bob");
    bench.wait_known("carol", "untouched", is_active);
}

#[test]
fn ldap_12_a_rename_keeps_the_identities() {
    let slapd = Slapd::start(&three());
    let bench = following(&slapd);
    let before = bench.wait_known("alice", "loaded", is_active);
    let token_of = |user: &User| match &user.tokens {
        Tokens::These(tokens) => tokens.first().map(|token| token.id),
        Tokens::TooMany(_) => None,
    };
    slapd.change(&format!(
        "dn: {}\nchangetype: modrdn\nnewrdn: uid=alicia\ndeleteoldrdn: 1\n",
        slapd::user_dn("alice")
    ));
    let renamed = bench.wait_known("alicia", "renamed", is_active);
    bench.wait_nobody("alice");
    slapd.change(&format!(
        "dn: {}\nchangetype: modrdn\nnewrdn: cn=t2\ndeleteoldrdn: 1\n",
        slapd::token_dn("alice")
    ));
    bench.wait_known("alicia", "with a dangling reference", |user| is_unusable(user, Defect::TokenNotFound));
    slapd.change(&format!(
        "dn: {}\nchangetype: modify\nreplace: oathTOTPToken\noathTOTPToken: {}\n",
        slapd::user_dn("alicia"),
        slapd::token_dn("t2")
    ));
    let after = bench.wait_known("alicia", "with the renamed token", is_active);
    assert_eq!((before.id, token_of(&before)), (renamed.id, token_of(&renamed)));
    assert_eq!((before.id, token_of(&before)), (after.id, token_of(&after)));
    assert_eq!(&*after.dn, slapd::user_dn("alicia"));
}

#[test]
fn ldap_14_another_server_behind_the_same_name_is_converged_to() {
    let mut slapd = Slapd::start(&three());
    let bench = following(&slapd);
    bench.wait_known("alice", "loaded", is_active);
    slapd.stop();
    slapd.replace_all(&Options { ldif: ["carol", "dave"].map(person_ldif).concat(), ..Options::default() });
    slapd.run();
    bench.wait_known("dave", "of the other server", is_active);
    bench.wait_nobody("alice");
    bench.wait_nobody("bob");
    let carol = bench.wait_known("carol", "of the other server", is_active);
    let bench = Bench::new(settings(&[slapd.port()], Mode::Ask));
    assert_eq!(carol.id, bench.found("carol").id);
}

#[test]
fn ldap_15_a_table_that_nobody_confirms_answers_nobody_until_the_server_is_back() {
    let mut slapd = Slapd::start(&three());
    let bench = Bench::with_max_stale(settings(&[slapd.port()], Mode::Follow), Duration::from_secs(3));
    bench.wait_known("alice", "loaded", is_active);
    slapd.freeze();
    wait("the table to be stale", || matches!(bench.known("alice"), Known::Stale).then_some(()));
    slapd.thaw();
    bench.wait_known("alice", "after the thaw", is_active);
    slapd.kill();
    wait("the table to be stale", || matches!(bench.known("alice"), Known::Stale).then_some(()));
    slapd.run();
    bench.wait_known("alice", "after the restart", is_active);
}

#[test]
fn ldap_31_two_owners_disable_a_token_until_one_goes() {
    let slapd = Slapd::start(&three());
    let bench = following(&slapd);
    let thief = slapd.add_person("thief", "x");
    slapd.refer(&thief, &slapd::token_dn("alice"));
    bench.wait_known("alice", "disabled", |user| is_unusable(user, Defect::SeveralOwners));
    bench.wait_known("thief", "disabled", |user| is_unusable(user, Defect::SeveralOwners));
    assert!(bench.told(|event| matches!(event, Event::Unusable { defect: Defect::SeveralOwners, .. })));
    slapd.delete(&thief);
    bench.wait_known("alice", "alone again", is_active);
    let serial = |of: &str, serial: &str| {
        slapd.change(&format!(
            "dn: {}\nchangetype: modify\nreplace: oathTokenSerialNumber\noathTokenSerialNumber: {serial}\n",
            slapd::token_dn(of)
        ));
    };
    serial("bob", "carol");
    bench.wait_known("bob", "disabled", |user| is_unusable(user, Defect::SerialRepeated));
    bench.wait_known("carol", "disabled", |user| is_unusable(user, Defect::SerialRepeated));
    serial("bob", "bob");
    bench.wait_known("bob", "alone again", is_active);
    bench.wait_known("carol", "alone again", is_active);
}

#[test]
fn ldap_32_a_mass_disappearance_is_held_back_until_somebody_permits_it() {
    let names: Vec<String> = (0..40).map(|at| format!("u{at}")).collect();
    let ldif = names.iter().map(|name| person_ldif(name)).collect();
    let mut slapd = Slapd::start(&Options { ldif, ..Options::default() });
    let bench = following(&slapd);
    bench.wait_known("u39", "loaded", is_active);
    slapd.stop();
    slapd.replace_all(&Options { ldif: person_ldif("u0"), ..Options::default() });
    slapd.run();
    bench.wait_told("the alarm", |event| *event == Event::HeldBack { before: 40, after: 1 });
    assert!(matches!(bench.known("u39"), Known::One(_)), "the table is as it was");
    bench.ldap.permit_shrinking();
    bench.wait_nobody("u39");
    bench.wait_known("u0", "is left", is_active);
}

#[test]
fn ldap_27_attribute_names_as_oids_and_with_options_are_understood() {
    let fake = Fake::start(|request| match request.tag {
        SEARCH_REQUEST if is_about_schema(request) => result(request.id, SEARCH_DONE, 0),
        SEARCH_REQUEST => {
            let uuid = |octet| EntryId::new([octet; 16]);
            let state = |octet| vec![(message::SYNC_STATE, sync::state_value(1, uuid(octet)))];
            let token: &[(&str, &[u8])] = &[
                ("2.5.4.0", b"oathTOTPToken"),
                ("1.3.6.1.4.1.5427.1.389.4226.4.1;binary", &[7; 20]),
                ("OATHTOKENSERIALNUMBER", b"s1"),
                ("oathtotpparams", b"cn=p8,ou=params,dc=example,dc=jp"),
            ];
            let params: &[(&str, &[u8])] = &[
                ("oathotplength", b"8"),
                ("OathHMACAlgorithm", b"1.2.840.113549.2.7"),
                ("oathTOTPTimeStepPeriod", b"60"),
            ];
            let user: &[(&str, &[u8])] =
                &[("UID;lang-ja", b"alice"), ("OATHtotpTOKEN", b"CN=T1, OU=tokens, DC=example,dc=jp")];
            let entries = if request.octets.windows(13).any(|window| window == b"inetOrgPerson") {
                vec![entry(request.id, "uid=alice,dc=example,dc=jp", user, &state(1))]
            } else {
                vec![
                    entry(request.id, "cn=t1,ou=tokens,dc=example,dc=jp", token, &state(2)),
                    entry(request.id, "cn=p8,ou=params,dc=example,dc=jp", params, &state(3)),
                ]
            };
            [entries.concat(), news(request.id, &[0xa1, 0])].concat()
        }
        _ => polite(request),
    });
    let bench = Bench::new(settings(&[fake.port()], Mode::Follow));
    bench.wait_known("alice", "with a token", is_active);
}

/// A Sync Info message.
fn news(id: u32, value: &[u8]) -> Vec<u8> {
    let mut content = ber::Writer::new();
    content.put(0x80, message::SYNC_INFO.as_bytes()).put(0x81, value);
    fake::message(id, INTERMEDIATE_RESPONSE, content.octets(), &[])
}

#[test]
fn ldap_13_a_server_that_has_forgotten_us_is_read_anew_while_the_old_table_is_served() {
    for end in [message::SYNC_REFRESH_REQUIRED, 53] {
        let gate = Arc::new(AtomicBool::new(false));
        let fake = forgetful(end, &gate);
        let bench = Bench::new(settings(&[fake.port()], Mode::Follow));
        bench.wait_known("c", "loaded", |_| true);
        bench.wait_told("the restart", |event| matches!(event, Event::SyncRestarted { .. }));
        bench.wait_known("c", "of the old table", |_| true);
        gate.store(true, Ordering::SeqCst);
        bench.wait_nobody("c");
        bench.wait_known("a", "of the new table", |_| true);
    }
}

/// A server with users a, b and c that breaks the first session off, ends the one with a cookie with result `end`, and
/// has only a in the third, once the gate is open.
fn forgetful(end: u32, gate: &Arc<AtomicBool>) -> Fake {
    let gate = Arc::clone(gate);
    // The searches without a cookie: their connections and ids, and whether the users are asked for. The first two are
    // the first session, the next two the third.
    let followers: Mutex<Vec<(usize, u32, bool)>> = Mutex::new(Vec::new());
    // Questions on connections of the first session: it is broken off when one comes again.
    let questions: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    let all = |id: u32, is_users: bool, names: &[u8]| {
        let put = |name: &u8| {
            let state = sync::state_value(1, EntryId::new([*name; 16]));
            entry(id, &format!("uid={name}"), &[("uid", &[*name])], &[(message::SYNC_STATE, state)])
        };
        let entries = if is_users { names.iter().flat_map(put).collect() } else { Vec::new() };
        [entries, news(id, b"\xa1\x08\x04\x06cookie")].concat()
    };
    let contains =
        |request: &Request, text: &[u8]| request.octets.windows(text.len()).any(|window| window == text);
    Fake::start(move |request| {
        let Request { id, tag, connection, .. } = *request;
        let mut followers = followers.lock().unwrap();
        let in_first = followers.iter().take(2).any(|(first, ..)| *first == connection);
        let is_users = contains(request, b"inetOrgPerson");
        match tag {
            SEARCH_REQUEST if is_about_schema(request) => result(id, SEARCH_DONE, 0),
            SEARCH_REQUEST if contains(request, b"cookie") => result(id, SEARCH_DONE, end),
            SEARCH_REQUEST => {
                followers.push((connection, id, is_users));
                if followers.len() <= 2 { all(id, is_users, b"abc") } else { Vec::new() }
            }
            EXTENDED_REQUEST if in_first => {
                let mut questions = questions.lock().unwrap();
                let again = questions.contains(&connection);
                questions.push(connection);
                if again { result(0, EXTENDED_RESPONSE, 52) } else { polite(request) }
            }
            EXTENDED_REQUEST if gate.load(Ordering::SeqCst) => {
                let waiting = followers.extract_if(2.., |(other, ..)| *other == connection);
                let refresh: Vec<u8> =
                    waiting.flat_map(|(_, id, is_users)| all(id, is_users, b"a")).collect();
                [refresh, polite(request)].concat()
            }
            _ => polite(request),
        }
    })
}

#[test]
fn ldap_16_a_reference_during_the_load_leaves_the_table_as_it_was() {
    let slapd = Slapd::start(&three());
    slapd.change(&format!(
        "dn: ou=elsewhere,{}\nobjectClass: referral\nobjectClass: extensibleObject\nou: elsewhere\nref: ldap://127.0.0.1:1/ou=elsewhere,{}\n",
        slapd::BASE,
        slapd::BASE
    ));
    let bench = Bench::new(settings(&[slapd.port()], Mode::Follow));
    bench.wait_told("the refusal", |event| {
        matches!(event, Event::SyncBroken { trouble: Trouble::Referral, .. })
    });
    assert!(matches!(bench.known("alice"), Known::Stale));
}

#[test]
fn names_that_the_schema_does_not_have_are_not_asked_for() {
    let types = b"( 1.3.6.1.4.1.42.2.27.8.1.17 NAME 'pwdAccountLockedTime' )";
    for (shown, asked) in [(true, false), (false, true)] {
        let fake = Fake::start(move |request| {
            let schema: &[(&str, &[u8])] = match request.tag {
                SEARCH_REQUEST if is_about_schema(request) => &[("subschemaSubentry", b"cn=Subschema")],
                SEARCH_REQUEST if holds(request, b"attributeTypes") => &[("attributeTypes", types)],
                SEARCH_REQUEST => return Vec::new(),
                _ => return polite(request),
            };
            let found = if shown { entry(request.id, "cn=Subschema", schema, &[]) } else { Vec::new() };
            [found, result(request.id, SEARCH_DONE, 0)].concat()
        });
        let _bench = Bench::new(settings(&[fake.port()], Mode::Follow));
        let search = wait("the search for users", || {
            let of_users =
                |request: &Request| request.tag == SEARCH_REQUEST && holds(request, b"inetOrgPerson");
            fake.requests().into_iter().find(of_users)
        });
        for always in [&b"pwdAccountLockedTime"[..], b"sekishoTokenState"] {
            assert!(holds(&search, always), "{shown}");
        }
        assert!(!holds(&search, b"entryUUID"), "the state of each entry says it");
        assert_eq!(holds(&search, b"nsAccountLock"), asked);
    }
}

fn holds(request: &Request, text: &[u8]) -> bool {
    request.octets.windows(text.len()).any(|window| window == text)
}
