//! TLS: the server proves its name or gets nothing.

use super::fake::{Fake, STARTTLS_YES};
use super::slapd::{Certificates, Validity};
use super::*;

fn secure(port: u16, host: &str, tls: Tls, ca: &Certificates) -> Settings {
    let scheme = if tls == Tls::Ldaps { "ldaps" } else { "ldap" };
    let server = Server::parse(&format!("{scheme}://{host}:{port}"), tls, Cleartext::LoopbackOnly).unwrap();
    let trust = Trust::these([CertificateDer::from(ca.ca_der.clone())]).unwrap();
    Settings { servers: vec![server], trust, ..settings(&[], Mode::Ask) }
}

#[test]
fn ldap_05_passwords_go_to_a_server_that_proves_its_name_and_to_no_other() {
    let good = Certificates::new(&["localhost", "127.0.0.1"], Validity::Current);
    let others_name = Certificates::new(&["ldap.example.com"], Validity::Current);
    let past = Certificates::new(&["localhost", "127.0.0.1"], Validity::Past);
    let stranger = Certificates::new(&["localhost", "127.0.0.1"], Validity::Current);
    for (served, trusted, works) in [
        (&good, &good, true),
        (&others_name, &others_name, false),
        (&past, &past, false),
        (&good, &stranger, false),
    ] {
        let slapd = Slapd::start(&Options { tls: Some(served.clone()), ..Options::default() });
        let dn = slapd.add_person("alice", "secret");
        let before = slapd.log().matches("BIND dn=").count();
        for (tls, port) in [(Tls::Ldaps, slapd.tls_port()), (Tls::StartTls, slapd.port())] {
            for host in ["127.0.0.1", "localhost"] {
                let bench = Bench::new(secure(port, host, tls, trusted));
                let answer = bench.check(&dn, b"secret");
                if works {
                    assert_eq!(answer, Ok(PasswordAnswer::Right), "{host} {tls:?}");
                    assert!(matches!(bench.find("alice"), Ok(Found::One(_))));
                } else {
                    assert_eq!(answer, Err(Unavailable::Unreachable), "{host} {tls:?}");
                    bench.wait_up(0, false);
                }
            }
        }
        if !works {
            assert_eq!(slapd.log().matches("BIND dn=").count(), before, "a bind was sent");
        }
    }
}

#[test]
fn ldap_06_after_a_refused_starttls_nothing_is_sent_in_clear() {
    let ca = Certificates::new(&["127.0.0.1"], Validity::Current);
    let slapd = Slapd::start(&Options::default());
    let dn = slapd.add_person("alice", "secret");
    let before = slapd.log().matches("BIND dn=").count();
    let bench = Bench::new(secure(slapd.port(), "127.0.0.1", Tls::StartTls, &ca));
    assert_eq!(bench.check(&dn, b"secret"), Err(Unavailable::Unreachable));
    bench.wait_told("the refusal", |event| {
        matches!(event, Event::ServerDown { trouble: Trouble::StartTlsRefused(_), .. })
    });
    assert_eq!(slapd.log().matches("BIND dn=").count(), before, "a bind was sent in clear");
}

#[test]
fn ldap_06_octets_before_the_handshake_close_the_connection() {
    let ca = Certificates::new(&["127.0.0.1"], Validity::Current);
    // A bind response that says "right", put in where the handshake should begin.
    let injected = [STARTTLS_YES, &[0x30, 0x0c, 2, 1, 2, 0x61, 7, 10, 1, 0, 4, 0, 4, 0]].concat();
    let fake = Fake::start(move |_| injected.clone());
    let bench = Bench::new(secure(fake.port(), "127.0.0.1", Tls::StartTls, &ca));
    assert_eq!(bench.check("uid=a", b"secret"), Err(Unavailable::Unreachable));
    bench.wait_told("the injection", |event| {
        matches!(event, Event::ServerDown { trouble: Trouble::Injected, .. })
    });
    assert!(
        fake.requests().iter().all(|request| request.tag == fake::EXTENDED_REQUEST),
        "something was sent in clear"
    );
}
