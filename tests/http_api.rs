//! A token's life over HTTPS: issued by the counter's system, mailed, set up by the app, confirmed, suspended.

use crate::harness::daemon::write;
use crate::harness::world::octets;
use crate::harness::{
    Https, MailServer, Person, Protection, World, WorldBuilder, holder, https, slapd, totp_at, unix_now,
    wait_for,
};
use data_encoding::BASE32_NOPAD;
use serde_json::Value;
use std::process::Command;
use std::time::Duration;

const COUNTER: &str = "counter-token-0123456789-0123456789";
const AUDITOR: &str = "auditor-token-0123456789-0123456789";

/// A bank with a contract, its master and two users, an API over TLS, and a mail server if one is wanted.
struct Bank {
    world: World,
    /// The counter's system.
    counter: Https,
    /// The auditor's.
    auditor: Https,
    /// Nobody's: an app.
    app: Https,
    mail: Option<MailServer>,
}

fn member(name: &str, contract: &str, role: &str) -> Person {
    let entry = format!("objectClass: sekishoUser\nsekishoContract: {contract}\nsekishoRole: {role}\n");
    Person { entry, ..holder(name, vec![]) }
}

const SERVICES: &str = r#"
[service.test]
digits = 8
period = "60s"
reject-delay = "0s"
setup-link = "https://otp.example.jp/setup"
start-password = "4-8 digits"
token-lifetime = "3y"
renewal-from = "30d"

[service.personal]
digits = 6
period = "30s"
reject-delay = "0s"
setup-ids = "screen"
setup-link = "https://otp.example.jp/personal"
language = "en"
"#;

impl Bank {
    fn open(mail: Option<Protection>, more_http: &str) -> Bank {
        let mail = mail.map(MailServer::start);
        let (certificate, key) = https::certificate();
        let http = format!(
            "tls-certificate = \"http.pem\"\ntls-key = \"http.key\"\n{more_http}\n\
             [[http.caller]]\nname = \"counter-system\"\ntoken-file = \"counter.token\"\n\
             [[http.caller]]\nname = \"auditor-system\"\ntoken-file = \"auditor.token\"\n"
        );
        let mut more = String::from(
            "[[admin.operator]]\nname = \"counter-system\"\nas = [\"counter\", \"counter:*\", \"user:*\"]\n\
             [[admin.operator]]\nname = \"auditor-system\"\nas = [\"auditor\"]\n\
             [[admin.operator]]\nname = \"root\"\nas = [\"counter\"]\n\
             [[admin.operator]]\nname = \"daemon\"\nas = [\"counter\"]\n",
        );
        if let Some(mail) = &mail {
            more.push_str(&format!(
                "[mail]\nserver = \"localhost:{}\"\ntls = \"start-tls\"\nca-file = \"mail.pem\"\n\
                 from = \"Example Bank <otp@example.jp>\"\n",
                mail.address.port()
            ));
        }
        let builder = WorldBuilder {
            people: vec![
                member("m1", "c-1", "master"),
                member("u1", "c-1", "general"),
                member("u2", "c-1", "general"),
                member("p1", "c-2", "master"),
            ],
            service: SERVICES.into(),
            ldap: "seal-key-file = \"seal.key\"\n".into(),
            slapd: slapd::Options { writable: true, ..slapd::Options::default() },
            http,
            more,
            ..WorldBuilder::default()
        };
        let mut world = builder.prepare();
        let folder = world.directory.path().to_owned();
        write(&folder, "seal.key", "1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
        write(&folder, "http.pem", &certificate);
        write(&folder, "http.key", &key);
        write(&folder, "counter.token", COUNTER);
        write(&folder, "auditor.token", AUDITOR);
        if let Some(mail) = &mail {
            write(&folder, "mail.pem", &mail.authority);
        }
        world.restart(drop);
        let who = |token: &str| Https {
            address: world.daemon.http,
            authority: Some(certificate.clone()),
            token: token.into(),
            acts_as: String::new(),
        };
        let (counter, auditor, app) = (who(COUNTER), who(AUDITOR), who(""));
        Bank { world, counter, auditor, app, mail }
    }

    fn enabled(mail: Option<Protection>) -> Bank {
        let bank = Bank::open(mail, "");
        for (contract, service) in [("c-1", "test"), ("c-2", "personal")] {
            let reply = bank
                .counter
                .post(&format!("/v1/contracts/{contract}/enable"), &format!(r#"{{"service":"{service}"}}"#));
            assert_eq!(reply.status, 200, "{reply:?}");
        }
        bank
    }

    fn issue(&self, user: &str, start_password: &str) -> Value {
        let body = format!(r#"{{"mail":"{user}@example.jp","start_password":"{start_password}"}}"#);
        let reply = self.counter.post(&format!("/v1/users/{user}/issue"), &body);
        assert_eq!(reply.status, 201, "{reply:?}");
        reply.json()
    }

    fn setup_body(issued: &Value, start_password: &str) -> String {
        format!(
            r#"{{"service_id":{},"user_id":{},"start_password":"{start_password}"}}"#,
            issued["service_id"], issued["user_id"]
        )
    }

    fn state(&self, serial: &str) -> String {
        self.counter.get(&format!("/v1/tokens/{serial}")).text("state")
    }
}

/// The code of a key in base32, now.
fn code(key: &str, digits: u32, period: u32) -> String {
    let hex = crate::harness::world::hex(&BASE32_NOPAD.decode(key.as_bytes()).unwrap());
    assert!(!octets(&hex).is_empty());
    totp_at(&hex, "sha1", digits, period, unix_now())
}

#[test]
fn s_11_s_12_s_14_s_15_a_token_is_issued_mailed_set_up_once_and_confirmed_over_https() {
    let bank = Bank::enabled(Some(Protection::StartTls));
    let issued = bank.issue("u1", "48291637");
    let serial = issued["serial"].as_str().unwrap().to_owned();
    assert_eq!(issued["mail"]["mail"], "sent", "{issued}");
    let mail = bank.mail.as_ref().unwrap();
    let letter = wait_for("the letter", || mail.received().pop());
    assert!(letter.protected && letter.to[0].contains("u1@example.jp"), "{letter:?}");
    let text = letter.body();
    for part in [
        "https://otp.example.jp/setup",
        issued["service_id"].as_str().unwrap(),
        issued["user_id"].as_str().unwrap(),
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert!(
        !letter.text.contains("48291637") && !text.contains("48291637"),
        "a start password is never mailed"
    );
    assert_eq!(bank.state(&serial), "issued");

    let body = Bank::setup_body(&issued, "48291637");
    let key = bank.app.post("/v1/setup", &body);
    assert_eq!(key.status, 200, "{key:?}");
    assert_eq!(key.text("serial"), serial);
    assert!(key.text("otpauth").starts_with("otpauth://totp/"));
    assert_eq!((&key.json()["digits"], &key.json()["period"]), (&8.into(), &60.into()));
    assert_eq!(bank.app.post("/v1/setup", &body).reason(), "setup-refused", "the key leaves once");
    assert_eq!(bank.state(&serial), "set-up");

    let code = code(&key.text("key"), 8, 60);
    let confirmed = bank.counter.post("/v1/users/u1/confirm", &format!(r#"{{"code":"{code}"}}"#));
    assert_eq!(confirmed.status, 200, "{confirmed:?}");
    assert_eq!(bank.state(&serial), "active");
    let again = bank.counter.post("/v1/users/u1/confirm", &format!(r#"{{"code":"{code}"}}"#));
    assert!([403, 409].contains(&again.status), "{again:?}");

    let suspended = bank.counter.post(&format!("/v1/tokens/{serial}/suspend"), "");
    assert_eq!((suspended.status, bank.state(&serial).as_str()), (200, "suspended"), "{suspended:?}");

    // Nothing secret is anywhere but in the answer.
    let log = bank.world.daemon.log();
    let audit = std::fs::read_to_string(bank.world.directory.path().join("audit.jsonl")).unwrap();
    for secret in ["48291637", &key.text("key"), COUNTER, &code] {
        assert!(!log.contains(secret) && !audit.contains(secret), "{secret} was written down");
    }
    assert!(audit.contains("token:counter-system"), "the caller is in the evidence: {audit}");
}

#[test]
fn s_12_in_p_b_the_ids_stand_on_the_screen_and_not_in_the_letter() {
    let bank = Bank::enabled(Some(Protection::StartTls));
    let issued = bank.issue("p1", "1357");
    let mail = bank.mail.as_ref().unwrap();
    let letter = wait_for("the letter", || mail.received().pop());
    let text = letter.body();
    assert!(text.contains("https://otp.example.jp/personal") && text.contains("Dear "), "{text}");
    for id in ["service_id", "user_id"] {
        let id = issued[id].as_str().unwrap();
        assert!(!id.is_empty() && !text.contains(id), "{id} is in {text}");
    }
}

#[test]
fn s_12_a_letter_that_has_no_link_to_tell_is_not_sent_and_the_answer_says_why() {
    let bank = Bank::enabled(Some(Protection::StartTls));
    bank.world.reconfigure(|text| text.replace("setup-link = \"https://otp.example.jp/setup\"\n", ""));
    bank.world.daemon.signal("HUP");
    wait_for("the reload", || (!bank.world.daemon.events("reloaded").is_empty()).then_some(()));
    let issued = bank.issue("u1", "48291637");
    assert_eq!(issued["mail"]["mail"], "not-sent", "{issued}");
    assert!(issued["mail"]["why"].as_str().unwrap().contains("give service.test a setup-link"), "{issued}");
    bank.issue("p1", "1357");
    let mail = bank.mail.as_ref().unwrap();
    let letters =
        wait_for("the other letter", || Some(mail.received()).filter(|letters| !letters.is_empty()));
    assert!(letters.iter().all(|letter| letter.to[0].contains("p1@example.jp")), "{letters:?}");
}

#[test]
fn s_12_without_a_mail_server_the_answer_says_what_would_have_been_mailed() {
    let bank = Bank::enabled(None);
    let issued = bank.issue("u1", "4829");
    assert_eq!(issued["mail"]["mail"], "would-have-been", "{issued}");
    assert!(issued["mail"]["text"].as_str().unwrap().contains("https://otp.example.jp/setup"));
}

#[test]
fn s_14_wrong_start_passwords_end_the_setup_and_tell_nothing() {
    let bank = Bank::enabled(None);
    let issued = bank.issue("u1", "4829");
    let unknown = bank.app.post("/v1/setup", r#"{"service_id":"1","user_id":"2","start_password":"4829"}"#);
    let mut tries = 0;
    for wrong in 0..30 {
        let begun = std::time::Instant::now();
        let reply = bank.app.post("/v1/setup", &Bank::setup_body(&issued, &format!("{wrong:04}")));
        if reply.status == 429 {
            break;
        }
        assert_eq!(reply.body, unknown.body, "the same answer, whatever is wrong");
        assert!(begun.elapsed() >= Duration::from_secs(1), "whatever it took: {:?}", begun.elapsed());
        tries += 1;
    }
    assert!(tries >= 10, "{tries}");
    let dump = bank.world.slapd.dump();
    let begun = std::time::Instant::now();
    let odd = bank.app.post("/v1/setup", r#"{"service_id":"x","user_id":"2","start_password":"4829"}"#);
    assert!(odd.status == 429 || begun.elapsed() >= Duration::from_secs(1), "{odd:?}");
    assert_eq!(bank.world.slapd.dump(), dump);
    let serial = issued["serial"].as_str().unwrap();
    wait_for("a quiet minute of setups", || {
        let reply = bank.app.post("/v1/setup", &Bank::setup_body(&issued, "4829"));
        (reply.status != 429).then(|| assert_eq!(reply.reason(), "setup-refused", "the setup has ended"))
    });
    assert_ne!(bank.state(serial), "set-up");
}

#[test]
fn two_clients_with_one_key_issue_one_token() {
    let bank = Bank::enabled(None);
    let issue = || {
        let body = r#"{"mail":"u1@example.jp","start_password":"4829"}"#;
        bank.counter.ask("POST", "/v1/users/u1/issue", "Idempotency-Key: once-1\r\n", body)
    };
    let (one, other) = std::thread::scope(|scope| {
        let (one, other) = (scope.spawn(issue), scope.spawn(issue));
        (one.join().unwrap(), other.join().unwrap())
    });
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert!(statuses == [201, 201] || statuses == [201, 409], "{one:?} {other:?}");
    let again = issue();
    let first = if one.status == 201 { &one } else { &other };
    assert_eq!((again.status, &again.body), (201, &first.body), "the same answer again");
    let tokens = bank.counter.get("/v1/tokens?user=u1").json();
    assert_eq!(tokens["tokens"].as_array().unwrap().len(), 1, "{tokens}");
}

#[test]
fn who_may_do_what_is_decided_as_on_the_command_line() {
    let bank = Bank::enabled(None);
    assert_eq!(bank.app.get("/v1/users").reason(), "unauthenticated");
    let forged = Https { token: format!("{COUNTER}x"), ..bank.counter.clone() };
    assert_eq!(forged.get("/v1/users").status, 401);
    let users = bank.auditor.get("/v1/users?contract=c-1&limit=2");
    assert_eq!(users.json()["users"].as_array().unwrap().len(), 2, "{users:?}");
    let next = users.text("next");
    let rest = bank.auditor.get(&format!("/v1/users?contract=c-1&limit=2&after={next}"));
    assert_eq!((rest.json()["users"].as_array().unwrap().len(), &rest.json()["next"]), (1, &Value::Null));
    // Whose entry goes while pages are turned leaves no gap behind which the list would end.
    let page = bank.auditor.get("/v1/users?limit=2");
    bank.world.slapd.change(&format!("dn: {}\nchangetype: delete\n", slapd::user_dn("u1")));
    let page = bank.auditor.get(&format!("/v1/users?limit=1&after={}", page.text("next")));
    assert_eq!(page.json()["users"][0]["user"], "u2", "{page:?}");
    let act = bank.auditor.post("/v1/users/u2/issue", r#"{"start_password":"4829"}"#);
    assert_eq!(act.status, 403, "an auditor changes nothing: {act:?}");
    let other = Https { acts_as: "counter:yamada".into(), ..bank.auditor.clone() };
    assert_eq!(other.get("/v1/users").status, 403);
    let yamada = Https { acts_as: "counter:yamada".into(), ..bank.counter.clone() };
    let dry = yamada.ask("POST", "/v1/users/u2/issue?dry-run=true", "", r#"{"start_password":"4829"}"#);
    assert_eq!((dry.status, &dry.json()["done"]), (200, &false.into()), "{dry:?}");
    assert_eq!(bank.counter.get("/v1/tokens?user=u2").json()["tokens"], serde_json::json!([]));
}

#[test]
fn every_act_with_values_that_cannot_be_is_refused_and_changes_nothing() {
    let bank = Bank::enabled(None);
    let (long, odd) = ("x".repeat(300), "a%0d%0aSet-Cookie:%20x");
    let before = bank.world.slapd.dump();
    for (path, body, statuses) in [
        (format!("/v1/users/{long}/issue"), r#"{"start_password":"4829"}"#, [400, 404]),
        (format!("/v1/users/{odd}/issue"), r#"{"start_password":"4829"}"#, [400, 404]),
        ("/v1/users/nobody/issue".into(), r#"{"start_password":"4829"}"#, [404, 404]),
        ("/v1/users/u1/issue".into(), r#"{"start_password":"482"}"#, [400, 400]),
        ("/v1/users/u1/issue".into(), r#"{"start_password":"abcd"}"#, [400, 400]),
        ("/v1/users/u1/issue".into(), "{}", [400, 400]),
        ("/v1/users/u1/issue".into(), r#"{"start_password":"4829","mail":"a\r\nBcc: b@c.jp"}"#, [400, 400]),
        ("/v1/users/u1/issue".into(), r#"{"existing":"no-such-token"}"#, [404, 404]),
        ("/v1/users/u1/confirm".into(), r#"{"code":"12345678"}"#, [404, 409]),
        ("/v1/users/u1/register".into(), r#"{"serial":"none","code":"1","password":"x"}"#, [404, 403]),
        ("/v1/tokens/none/revoke".into(), "", [404, 404]),
        (format!("/v1/tokens/{odd}/suspend"), "", [400, 404]),
        ("/v1/contracts/c-9/enable".into(), r#"{"service":"no-such-service"}"#, [400, 404]),
        ("/v1/contracts/c-9/disable".into(), "", [404, 409]),
        ("/v1/requests/none/approve".into(), "", [400, 404]),
        (
            "/v1/tokens".into(),
            r#"{"serial":"X-1","key":"!","algorithm":"sha1","digits":8,"period":60}"#,
            [400, 400],
        ),
        (
            "/v1/tokens".into(),
            r#"{"serial":"X-1","key":"GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ","algorithm":"md5","digits":8,"period":60}"#,
            [400, 400],
        ),
    ] {
        let reply = bank.counter.post(&path, body);
        assert!(statuses.contains(&reply.status), "{path} {body}: {reply:?}");
        assert!(!reply.head.contains("set-cookie") && !reply.reason().is_empty());
    }
    assert_eq!(bank.world.slapd.dump(), before, "nothing changed");
}

/// A token that was in service elsewhere and ends so many days from now.
fn brought(bank: &Bank, serial: &str, user: &str, days: i64) -> String {
    let key = BASE32_NOPAD.encode(format!("the key of {serial:>9}").as_bytes());
    let ends = i64::try_from(unix_now()).unwrap() + days * 86_400;
    let ends = jiff::Timestamp::from_second(ends).unwrap();
    let body = format!(
        r#"{{"serial":"{serial}","key":"{key}","algorithm":"sha1","digits":8,"period":60,"user":"{user}","ends":"{ends}"}}"#
    );
    let reply = bank.counter.post("/v1/tokens", &body);
    assert_eq!(reply.status, 200, "{reply:?}");
    key
}

#[test]
fn s_24_a_token_is_renewed_over_https_before_its_end_and_after() {
    let bank = Bank::enabled(None);
    for (serial, user, days, state) in [("E-1", "u1", 20, "active"), ("E-2", "u2", -3, "expired")] {
        let key = brought(&bank, serial, user, days);
        assert_eq!(bank.state(serial), state);
        let before = bank.counter.get(&format!("/v1/tokens/{serial}")).text("ends");
        let owner = Https { acts_as: format!("user:{user}"), ..bank.counter.clone() };
        let renew = |code: &str| {
            owner.post(&format!("/v1/tokens/{serial}/renew"), &format!(r#"{{"proof":{{"code":"{code}"}}}}"#))
        };
        let wrong = renew("00000000");
        assert_eq!((wrong.status, wrong.reason().as_str()), (403, "code-wrong"), "{wrong:?}");
        let without = owner.post(&format!("/v1/tokens/{serial}/renew"), "");
        assert_eq!((without.status, without.reason().as_str()), (403, "code-missing"), "{without:?}");
        let other = Https { acts_as: "user:m1".into(), ..bank.counter.clone() };
        let other = other.post(&format!("/v1/tokens/{serial}/renew"), r#"{"proof":{"code":"00000000"}}"#);
        assert_eq!(other.status, 403, "{other:?}");
        let dry = owner.post(&format!("/v1/tokens/{serial}/renew?dry-run=true"), "");
        assert!(dry.status == 403 || dry.json()["done"] == false, "{dry:?}");
        assert_eq!(bank.counter.get(&format!("/v1/tokens/{serial}")).text("ends"), before);

        let right = code(&key, 8, 60);
        let done = renew(&right);
        assert_eq!(done.status, 200, "{done:?}");
        assert_eq!(bank.state(serial), "active");
        assert!(bank.counter.get(&format!("/v1/tokens/{serial}")).text("ends") > before);
        let early = bank.counter.post(&format!("/v1/tokens/{serial}/renew"), "");
        assert_eq!((early.status, early.reason().as_str()), (409, "renewal-too-early"), "{early:?}");
        let login = bank.world.gateway.login(user, &format!("{}{right}", crate::harness::PASSWORD));
        assert!(login.is_reject(), "the code is used up");
        assert_eq!(bank.world.last_reason(user), "code-used");
    }
}

#[test]
fn what_a_token_has_asked_for_is_not_approved_when_the_token_has_ended() {
    let bank = Bank::enabled(None);
    let _ = brought(&bank, "E-1", "u1", 100);
    let reload = |change: &dyn Fn(String) -> String| {
        let before = bank.world.daemon.events("reloaded").len();
        bank.world.reconfigure(change);
        bank.world.daemon.signal("HUP");
        wait_for("the reload", || (bank.world.daemon.events("reloaded").len() > before).then_some(()));
    };
    reload(&|text| text.replacen("[admin]\n", "[admin]\nfour-eyes = [\"revoke\"]\n", 1));
    let ask = || {
        let asked = bank.counter.post("/v1/tokens/E-1/revoke", "");
        assert_eq!(asked.status, 202, "{asked:?}");
        asked.text("id")
    };
    let (first, second) = (ask(), ask());
    let approve = |id: &str, more: &[&str]| {
        let output = bank.world.command(&[&["request", "approve", id, "--json"], more].concat(), "");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, would) = approve(&first, &["--dry-run"]);
    assert!(code == Some(0) && would.contains("revoke token E-1"), "{would}");

    // The token was lost: another one takes its place, under the same name and with the same rights.
    write(bank.world.directory.path(), "counter.token", "another-token-0123456789-0123456789");
    reload(&|text| text);
    for (id, more) in [(&first, &["--dry-run"][..]), (&first, &[]), (&second, &[])] {
        let (code, told) = approve(id, more);
        assert!(code == Some(1) && told.contains("asker-may-not"), "{more:?} {told}");
    }
    assert_eq!(bank.world.done(&["token", "show", "E-1", "--json"], "").matches("\"active\"").count(), 1);
    let (code, told) = approve(&first, &["--dry-run"]);
    assert!(code == Some(1) && told.contains("decided-already"), "{told}");
}

#[test]
fn a_reload_brings_new_certificates_and_tokens_without_a_gap() {
    let bank = Bank::open(None, "");
    let folder = bank.world.directory.path();
    assert_eq!(bank.counter.get("/v1/status").status, 200);
    let (certificate, key) = https::certificate();
    write(folder, "http.pem", &certificate);
    write(folder, "http.key", &key);
    write(folder, "counter.token", "another-token-0123456789-0123456789");
    bank.world.daemon.signal("HUP");
    let renewed = Https {
        authority: Some(certificate),
        token: "another-token-0123456789-0123456789".into(),
        ..bank.counter.clone()
    };
    wait_for("the new certificate and token", || {
        let reply = renewed.say(b"GET /v1/status HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer another-token-0123456789-0123456789\r\n\r\n");
        reply.is_ok_and(|reply| reply.status == 200).then_some(())
    });
    assert_eq!(
        Https { token: COUNTER.into(), ..renewed.clone() }.get("/v1/status").status,
        401,
        "the old token has ended"
    );
    // A certificate that cannot be used leaves the old one in place.
    write(folder, "http.pem", "no certificate");
    bank.world.daemon.signal("HUP");
    wait_for("the refusal", || (!bank.world.daemon.events("reload-refused").is_empty()).then_some(()));
    assert_eq!(renewed.get("/v1/status").status, 200);
}

#[test]
fn monitoring_has_an_address_of_its_own_and_the_api_none_in_clear() {
    let bank = Bank::open(None, "monitoring-listen = \"127.0.0.1:0\"");
    let ready = bank.world.daemon.events("ready").pop().unwrap();
    let address = crate::harness::daemon::field(&ready, "http_monitoring").unwrap().parse().unwrap();
    let clear = Https { address, authority: None, ..bank.counter.clone() };
    assert_eq!(clear.get("/readyz").status, 200);
    assert!(clear.get("/metrics").body.contains("sekisho_http_requests_total"));
    assert_eq!(clear.get("/v1/status").status, 404);
    assert_eq!(bank.counter.get("/metrics").status, 200);
}

/// The OpenAPI document, held against the running daemon by a tester that knows nothing of us. It needs the program
/// `schemathesis`, from PATH or from `SEKISHO_SCHEMATHESIS`.
#[test]
fn the_openapi_document_is_true() {
    let program = std::env::var("SEKISHO_SCHEMATHESIS").unwrap_or_else(|_| "schemathesis".into());
    if Command::new(&program).arg("--version").output().is_err() {
        eprintln!("absent: schemathesis; the OpenAPI document was not held against the daemon by it");
        return;
    }
    let bank = Bank::open(None, "requests-per-minute = 100000\nsetups-per-minute = 100000");
    for (contract, service) in [("c-1", "test"), ("c-2", "personal")] {
        bank.counter
            .post(&format!("/v1/contracts/{contract}/enable"), &format!(r#"{{"service":"{service}"}}"#));
    }
    let ca = bank.world.directory.path().join("http.pem");
    let url = format!("https://localhost:{}/v1/openapi.json", bank.world.daemon.http.port());
    let output = Command::new(&program)
        .args(["run", &url, "--header", &format!("Authorization: Bearer {COUNTER}"), "--workers", "1"])
        .args([
            "--max-examples",
            "10",
            "--phases",
            "examples,coverage,fuzzing",
            "--generation-database",
            "none",
        ])
        .args([
            "--checks",
            "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
        ])
        .args(["--no-color", "--request-timeout", "20"])
        .arg("--tls-verify")
        .arg(&ca)
        .current_dir(bank.world.directory.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{text}");
    println!(
        "{}",
        text.lines().rev().take(25).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n")
    );
}
