//! Templates as tables, and letters to a mail server that takes them.

use super::*;
use crate::metrics::{Label as _, MailResult, Metrics};
use smtp::{MailServer, Protection, Received};
use std::sync::Arc;
use std::sync::atomic::Ordering;

#[path = "../../tests/harness/smtp.rs"]
#[allow(dead_code, missing_docs, reason = "each side of the tests uses its part")]
mod smtp;

const ISSUED: Issued<'static> = Issued {
    user: "信用 太郎",
    link: "https://otp.example.jp/setup",
    serial: "S-1",
    until: "2026年4月8日 17:00",
    ids: Mailed::Ids { service_id: "1234567890", user_id: "AB12-CD34" },
};

#[test]
fn s_12_the_templates_that_ship_say_what_each_service_needs() {
    let templates = Templates::shipped().unwrap();
    for (language, greeting) in [(Language::Japanese, "信用 太郎 様"), (Language::English, "Dear 信用 太郎,")]
    {
        let with_ids = templates.write(language, &ISSUED);
        let link_only = templates.write(language, &Issued { ids: Mailed::OnScreen, ..ISSUED });
        for letter in [&with_ids, &link_only] {
            assert!(letter.text.contains(greeting) && letter.text.contains(ISSUED.link), "{letter:?}");
            assert!(letter.text.contains(ISSUED.until));
            assert!(!letter.text.contains(['{', '}']) && !letter.subject.contains(['{', '\n']));
        }
        for id in ["1234567890", "AB12-CD34"] {
            assert!(with_ids.text.contains(id) && !link_only.text.contains(id), "{language:?}");
        }
    }
}

#[test]
fn templates_are_checked_when_they_are_read() {
    let read =
        |text: &str, kind| Template::parse(text.as_bytes(), kind).map_err(|problem| problem.to_string());
    let ids = Kind::WithIds;
    for (text, kind, problem) in [
        (
            "Subject: a\n\n{user} {password}\n",
            ids,
            "line 3: there is no {password} here; there are {user}, {link}, {service-id}, {user-id}, {serial}, {until}",
        ),
        (
            "Subject: a\n\nx\n{service-id}\n",
            Kind::LinkOnly,
            "line 4: there is no {service-id} here; there are {user}, {link}, {serial}, {until}",
        ),
        (
            "Subject: {x}\n\ny\n",
            ids,
            "line 1: there is no {x} here; there are {user}, {link}, {service-id}, {user-id}, {serial}, {until}",
        ),
        (
            "Subject: a\n\n{user\n",
            ids,
            "line 3: a brace without its other one; write {{ or }} for the character itself",
        ),
        (
            "Subject: a\n\nuser}\n",
            ids,
            "line 3: a brace without its other one; write {{ or }} for the character itself",
        ),
        (
            "Betreff: a\n\nx\n",
            ids,
            "the first line must be \"Subject: \" and the subject, the second must be empty",
        ),
        (
            "Subject: a\nBcc: b\n\nx\n",
            ids,
            "the first line must be \"Subject: \" and the subject, the second must be empty",
        ),
        (
            "Subject:\n\nx\n",
            ids,
            "the first line must be \"Subject: \" and the subject, the second must be empty",
        ),
        ("Subject: a\n\n \n", ids, "there is no text below the subject"),
    ] {
        assert_eq!(read(text, kind).unwrap_err(), problem, "{text}");
    }
    assert_eq!(Template::parse(b"\xff", ids), Err(TemplateProblem::NotText));
    assert_eq!(Template::parse(&[b' '; 65 * 1024], ids), Err(TemplateProblem::TooLong));
    let mut templates = Templates::shipped().unwrap();
    let own = read("\u{feff}Subject: {{{user}}}\r\n\r\n{ user-id }!\r\n", ids).unwrap();
    templates.replace(ids, Language::English, own);
    let letter = templates.write(Language::English, &Issued { user: "a\r\nBcc: b", ..ISSUED });
    assert_eq!(letter, Letter { subject: "{aBcc: b}".into(), text: "AB12-CD34!\n".into() });
}

#[test]
fn addresses_and_servers_are_read_strictly() {
    for (address, good) in [
        ("u1@example.jp", true),
        ("u1@例え.jp", true),
        ("u1", false),
        ("u1@example.jp\r\nBcc: x@y.jp", false),
        ("u1@example.jp, u2@example.jp", false),
        ("<u1@example.jp>", false),
        ("", false),
    ] {
        assert_eq!(address.parse::<Address>().is_ok(), good, "{address}");
    }
    assert!(format!("{}@example.jp", "a".repeat(250)).parse::<Address>().is_err());
    assert!("Bank <otp@example.jp>".parse::<Sender>().is_ok() && "Bank\n<a@b.jp>".parse::<Sender>().is_err());
    let server = |text, tls| {
        Server::parse(text, tls).map(|server| (server.host.clone(), server.port, server.is_loopback()))
    };
    for (text, tls, expected) in [
        ("smtp.example.jp", Tls::StartTls, Ok(("smtp.example.jp", 587, false))),
        ("smtp.example.jp", Tls::Implicit, Ok(("smtp.example.jp", 465, false))),
        ("localhost", Tls::None, Ok(("localhost", 25, true))),
        ("[::1]:2525", Tls::None, Ok(("::1", 2525, true))),
        ("smtp.example.jp:0", Tls::None, Err(NoServer)),
        ("smtp://a", Tls::None, Err(NoServer)),
        ("a b", Tls::None, Err(NoServer)),
        ("", Tls::None, Err(NoServer)),
    ] {
        assert_eq!(
            server(text, tls),
            expected.map(|(host, port, local)| (host.to_owned(), port, local)),
            "{text}"
        );
    }
}

fn settings(server: &MailServer, tls: Tls) -> Settings {
    use rustls::pki_types::pem::PemObject as _;
    Settings {
        server: Server { host: "localhost".into(), port: server.address.port() },
        tls,
        authorities: vec![CertificateDer::from_pem_slice(server.authority.as_bytes()).unwrap()],
        from: "例銀行 <otp@example.jp>".parse().unwrap(),
        login: None,
        deadline: Duration::from_secs(30),
        first_pause: Duration::from_millis(20),
    }
}

fn letter() -> Letter {
    Templates::shipped().unwrap().write(Language::Japanese, &ISSUED)
}

async fn arrived(server: &MailServer, letters: usize) -> Vec<Received> {
    for _ in 0..1000 {
        let received = server.received();
        if received.len() >= letters {
            return received;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} of {letters} letters arrived", server.received().len());
}

async fn counted(metrics: &Metrics, result: MailResult, times: u64) {
    for _ in 0..1000 {
        if metrics.mail.at(result).get() >= times {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} is not {times}", result.text());
}

#[tokio::test]
async fn s_12_letters_arrive_in_clear_after_starttls_and_with_tls() {
    for (protection, tls) in [
        (Protection::None, Tls::None),
        (Protection::StartTls, Tls::StartTls),
        (Protection::Implicit, Tls::Implicit),
    ] {
        let server = MailServer::start(protection);
        let login = (tls != Tls::None).then(|| ("otp".to_owned(), Secret::new(*b"mail-secret")));
        let post =
            Post::start(Settings { login, ..settings(&server, tls) }, Arc::new(Metrics::new().unwrap()))
                .unwrap();
        post.send(&"u1@example.jp".parse().unwrap(), &letter(), "S-1").unwrap();
        let received = arrived(&server, 1).await.remove(0);
        assert_eq!((received.protected, received.login.is_empty()), (tls != Tls::None, tls == Tls::None));
        assert_eq!(received.login, if tls == Tls::None { "" } else { "\0otp\0mail-secret" });
        assert!(received.from.contains("<otp@example.jp>"), "{}", received.from);
        assert!(received.to[0].contains("<u1@example.jp>") && received.to.len() == 1);
        assert_eq!(received.header("Subject"), letter().subject);
        assert_eq!(received.body().trim_end(), letter().text.trim_end());
        assert!(received.text.lines().all(|line| line.is_ascii() && line.len() <= 998));
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_verified_or_does_not_offer_tls_gets_nothing() {
    let (clear, other) = (MailServer::start(Protection::None), MailServer::start(Protection::Implicit));
    let foreign = Settings {
        authorities: settings(&clear, Tls::Implicit).authorities,
        ..settings(&other, Tls::Implicit)
    };
    for (server, settings) in [(&clear, settings(&clear, Tls::StartTls)), (&other, foreign)] {
        let metrics = Arc::new(Metrics::new().unwrap());
        let brief = Settings { deadline: Duration::from_millis(100), ..settings };
        let post = Post::start(brief, Arc::clone(&metrics)).unwrap();
        post.send(&"u1@example.jp".parse().unwrap(), &letter(), "S-1").unwrap();
        counted(&metrics, MailResult::Failed, 1).await;
        assert!(server.received().is_empty());
        assert_eq!(metrics.mail_waiting.get(), 0);
    }
}

#[tokio::test]
async fn a_busy_server_is_asked_again_and_a_refusal_is_final() {
    let server = MailServer::start(Protection::None);
    server.busy.store(3, Ordering::SeqCst);
    let metrics = Arc::new(Metrics::new().unwrap());
    let post = Post::start(settings(&server, Tls::None), Arc::clone(&metrics)).unwrap();
    post.send(&"u1@example.jp".parse().unwrap(), &letter(), "S-1").unwrap();
    arrived(&server, 1).await;
    counted(&metrics, MailResult::Sent, 1).await;
    assert_eq!(metrics.mail.at(MailResult::Retried).get(), 3);
    post.send(&"nobody@example.jp".parse().unwrap(), &letter(), "S-2").unwrap();
    counted(&metrics, MailResult::Failed, 1).await;
    assert_eq!(metrics.mail.at(MailResult::Retried).get(), 3, "a refusal for good is not repeated");
}

#[tokio::test]
async fn the_queue_has_an_end() {
    // Nobody listens there: every letter waits behind the first.
    let server = MailServer::start(Protection::None);
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let settings = Settings {
        server: Server { host: "127.0.0.1".into(), port: nowhere },
        first_pause: Duration::from_secs(5),
        ..settings(&server, Tls::None)
    };
    let metrics = Arc::new(Metrics::new().unwrap());
    let post = Post::start(settings, Arc::clone(&metrics)).unwrap();
    let to: Address = "u1@example.jp".parse().unwrap();
    let refused = (0..QUEUE_MAX + 2).filter_map(|_| post.send(&to, &letter(), "S").err()).next_back();
    assert_eq!(refused, Some(NotQueued::Full));
    assert!(metrics.mail.at(MailResult::Refused).get() >= 1);
}
