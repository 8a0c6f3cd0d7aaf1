//! Servers that lie, stall and explode.

use super::fake::*;
use super::*;

fn bombs() -> Vec<(&'static str, Vec<u8>)> {
    let depth = 100_000usize;
    let mut nested = Vec::new();
    for level in (0..depth).rev() {
        nested.extend([0x30, 0x84]);
        nested.extend(u32::try_from(level * 6).unwrap().to_be_bytes());
    }
    let mut inside = vec![0x30, 0x84];
    inside.extend(u32::try_from(nested.len() + 3).unwrap().to_be_bytes());
    inside.extend([2, 1, 1]);
    inside.extend(&nested);
    vec![
        ("nothing but nesting", nested),
        ("nesting behind an id", inside),
        ("2^31 octets announced", vec![0x30, 0x84, 0x80, 0, 0, 0, 2, 1, 1]),
        ("4 GiB announced", vec![0x30, 0x84, 0xff, 0xff, 0xff, 0xff]),
        ("a length of five octets", vec![0x30, 0x85, 1, 0, 0, 0, 0]),
        ("indefinite length", vec![0x30, 0x80, 2, 1, 1, 0, 0]),
        ("an empty sequence", vec![0x30, 0]),
        ("a string for an id", vec![0x30, 5, 4, 1, b'a', 0x61, 0]),
        ("a bind response without a body", vec![0x30, 5, 2, 1, 1, 0x61, 0]),
        (
            "a result code of nine octets",
            vec![0x30, 0x14, 2, 1, 1, 0x61, 15, 10, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 4, 0],
        ),
        ("a negative result code", vec![0x30, 0x0c, 2, 1, 1, 0x61, 7, 10, 1, 0x80, 4, 0, 4, 0]),
        ("an id of nobody", vec![0x30, 0x0c, 2, 1, 99, 0x61, 7, 10, 1, 0, 4, 0, 4, 0]),
        ("a notice of disconnection", vec![0x30, 0x0c, 2, 1, 0, 0x78, 7, 10, 1, 52, 4, 0, 4, 0]),
        ("another operation's response", vec![0x30, 0x0c, 2, 1, 1, 0x65, 7, 10, 1, 0, 4, 0, 4, 0]),
        ("HTTP", b"HTTP/1.1 200 OK\r\n\r\n".to_vec()),
        ("zeros", vec![0; 100]),
    ]
}

#[test]
fn ldap_08_only_a_clean_success_is_right() {
    let code = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let answered = Arc::clone(&code);
    let fake = Fake::start(move |request| {
        if is_users_bind(request) {
            result(request.id, BIND_RESPONSE, answered.load(Ordering::SeqCst))
        } else {
            polite(request)
        }
    });
    let bench = Bench::new(settings(&[fake.port()], Mode::Ask));
    for (wanted, expected) in [
        (0, Ok(PasswordAnswer::Right)),
        (49, Ok(PasswordAnswer::Wrong)),
        (50, Ok(PasswordAnswer::Wrong)),
        (32, Ok(PasswordAnswer::Wrong)),
        (34, Ok(PasswordAnswer::Wrong)),
        (48, Ok(PasswordAnswer::Wrong)),
        (53, Err(Unavailable::Unreachable)),
        (8, Err(Unavailable::Unreachable)),
        (10, Err(Unavailable::Unreachable)),
        (14, Err(Unavailable::Unreachable)),
        (51, Err(Unavailable::Unreachable)),
        (52, Err(Unavailable::Unreachable)),
        (80, Err(Unavailable::Unreachable)),
        (118, Err(Unavailable::Unreachable)),
    ] {
        code.store(wanted, Ordering::SeqCst);
        assert_eq!(bench.check("uid=a", b"secret"), expected, "{wanted}");
    }
}

#[test]
fn ldap_08_trouble_at_one_server_is_answered_by_the_next() {
    for code in [51, 52, 80] {
        let busy = Fake::start(move |request| {
            if is_users_bind(request) { result(request.id, BIND_RESPONSE, code) } else { polite(request) }
        });
        let good = Fake::start(polite);
        let bench = Bench::new(settings(&[busy.port(), good.port()], Mode::Ask));
        assert_eq!(bench.check("uid=a", b"secret"), Ok(PasswordAnswer::Right), "{code}");
        assert!(busy.requests().iter().any(is_users_bind));
    }
}

#[test]
fn ldap_28_bombs_cost_a_connection_and_nothing_else() {
    for (what, bomb) in bombs() {
        let sent = bomb.clone();
        let fake =
            Fake::start(move |request| if is_users_bind(request) { sent.clone() } else { polite(request) });
        let bench = Bench::new(Settings {
            timeout: Duration::from_millis(300),
            ..settings(&[fake.port()], Mode::Ask)
        });
        assert_eq!(bench.check("uid=a", b"secret"), Err(Unavailable::Unreachable), "{what}");
        // The same in a search, in the service's bind and in what the watcher hears.
        let fake = Fake::start(
            move |request| if request.tag == SEARCH_REQUEST { bomb.clone() } else { polite(request) },
        );
        let bench = Bench::new(Settings {
            timeout: Duration::from_millis(300),
            ..settings(&[fake.port()], Mode::Ask)
        });
        assert!(matches!(bench.find("a"), Err(Unavailable::Unreachable)), "{what}");
        assert_eq!(bench.check("uid=a", b"secret"), Ok(PasswordAnswer::Right), "{what}");
        assert!(!bench.told(|event| *event == Event::Restarted), "{what}");
    }
}

#[test]
fn ldap_28_a_server_whose_every_word_is_a_bomb_is_down() {
    for (what, bomb) in bombs() {
        let fake = Fake::start(move |_| bomb.clone());
        let bench = Bench::new(Settings {
            timeout: Duration::from_millis(300),
            ..settings(&[fake.port()], Mode::Follow)
        });
        bench.wait_told(what, |event| matches!(event, Event::ServerDown { .. }));
        assert!(!bench.told(|event| *event == Event::Restarted), "{what}");
    }
}

#[test]
fn more_entries_than_asked_for_are_not_kept() {
    let fake = Fake::start(|request| match request.tag {
        SEARCH_REQUEST => {
            (0..100).flat_map(|at| entry(request.id, &format!("uid=a{at}"), &[("uid", b"a")], &[])).collect()
        }
        _ => polite(request),
    });
    let bench = Bench::new(settings(&[fake.port()], Mode::Ask));
    assert!(matches!(bench.find("a"), Err(Unavailable::Unreachable)));
    assert!(bench.told(|event| matches!(event, Event::Failed { trouble: Trouble::TooMany, .. })));
}

#[test]
fn ldap_17_referrals_are_not_followed() {
    let target = Fake::start(polite);
    let url = format!("ldap://127.0.0.1:{}/", target.port());
    let fake = Fake::start(move |request| {
        let mut uri = ber::Writer::new();
        uri.put(ber::OCTET_STRING, url.as_bytes());
        let mut content = ber::Writer::new();
        content
            .number(ber::ENUMERATED, 10)
            .put(ber::OCTET_STRING, b"")
            .put(ber::OCTET_STRING, b"")
            .put(0xa3, uri.octets());
        match request.tag {
            SEARCH_REQUEST if request.octets.windows(3).any(|window| window == b"ref") => {
                let reference = message(request.id, SEARCH_REFERENCE, uri.octets(), &[]);
                [reference, result(request.id, SEARCH_DONE, 0)].concat()
            }
            SEARCH_REQUEST => message(request.id, SEARCH_DONE, content.octets(), &[]),
            _ if is_users_bind(request) => message(request.id, BIND_RESPONSE, content.octets(), &[]),
            _ => polite(request),
        }
    });
    let bench = Bench::new(settings(&[fake.port()], Mode::Ask));
    assert!(matches!(bench.find("a"), Err(Unavailable::Unreachable)));
    assert!(matches!(bench.find("ref"), Ok(Found::Nobody)));
    assert!(bench.told(|event| matches!(event, Event::ReferralIgnored { .. })));
    assert_eq!(bench.check("uid=a", b"secret"), Err(Unavailable::Unreachable));
    assert!(target.requests().is_empty(), "the referral was followed");
}

#[test]
fn a_bind_without_an_answer_ends_in_time_and_a_hopeless_one_is_not_begun() {
    let fake = Fake::start(|request| if is_users_bind(request) { Vec::new() } else { polite(request) });
    let bench =
        Bench::new(Settings { timeout: Duration::from_millis(100), ..settings(&[fake.port()], Mode::Ask) });
    bench.wait_up(0, true);
    assert_eq!(bench.check("uid=a", b"secret"), Err(Unavailable::Unreachable));
    let before = fake.requests().iter().filter(|request| is_users_bind(request)).count();
    assert_eq!(bench.check_before("uid=a", b"secret", now().mono), Err(Unavailable::TooLate));
    assert_eq!(fake.requests().iter().filter(|request| is_users_bind(request)).count(), before);
}

#[test]
fn ldap_30_a_bind_is_not_begun_when_its_answer_would_come_too_late() {
    let fake = Fake::start(|request| {
        if is_users_bind(request) {
            std::thread::sleep(Duration::from_millis(50));
        }
        polite(request)
    });
    let bench = Bench::new(settings(&[fake.port()], Mode::Ask));
    for _ in 0..5 {
        assert_eq!(bench.check("uid=a", b"secret"), Ok(PasswordAnswer::Right));
    }
    let before = fake.requests().len();
    let soon = now().mono.plus(Duration::from_millis(10));
    assert_eq!(bench.check_before("uid=a", b"secret", soon), Err(Unavailable::TooLate));
    assert!(!fake.requests().iter().skip(before).any(is_users_bind), "a hopeless bind was begun");
}
