//! Whole configurations: samples, bad ones, and what is printed of them.

use super::*;
use crate::identity::ServiceName;
use crate::policy::{Client, Profile, Requirement};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Secrets of the tests; none may appear in any output.
const GATEWAY: &str = "c2VraXNob19nYXRld2F5X3NlY3JldA";
const LDAP: &str = "bGRhcF9jYW5hcnlfcGFzc3dvcmQ";
const SEAL: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// A folder with a configuration, its credentials and a CA.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        let place = Place { folder: tempfile::tempdir().unwrap() };
        place.write_secret("credentials/gateway.secret", &format!("{GATEWAY}\n"));
        place.write_secret("credentials/ldap.password", LDAP);
        place.write_secret("credentials/seal.key", &format!("2026:{SEAL}\n"));
        let ca = rcgen::generate_simple_self_signed(["ldap.example.jp".to_owned()]).unwrap();
        place.write("ca.pem", &ca.cert.pem());
        place
    }

    fn with_samples() -> Place {
        let place = Place::new();
        for sample in samples() {
            let text = fs::read_to_string(sample_folder().join(&sample)).unwrap();
            place.write(sample.to_str().unwrap(), &text);
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    fn write_secret(&self, name: &str, text: &str) {
        self.write(name, text);
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn load(&self, file: &str, environment: &[(&str, &str)]) -> Loaded {
        let mut environment: Vec<_> =
            environment.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let ca = self.path("ca.pem").display().to_string();
        environment.push(("SEKISHO__DIRECTORY__LDAP__CA_FILE".to_owned(), ca));
        let credentials = Some(self.path("credentials"));
        load(&Inputs { file: self.path(file), environment, credentials })
    }

    /// The problems of a file `f.toml` with this text, without the folder's name.
    fn problems(&self, text: &str) -> Vec<String> {
        self.write("f.toml", text);
        let folder = format!("{}/", self.folder.path().display());
        let loaded = self.load("f.toml", &[]);
        let lines: Vec<_> =
            loaded.problems.iter().map(|problem| problem.to_string().replace(&folder, "")).collect();
        assert_eq!(loaded.settings.is_none(), loaded.errors().next().is_some(), "{lines:?}");
        lines
    }
}

fn sample_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conf")
}

/// All files in `conf/` and `conf/services/`, relative to `conf/`.
fn samples() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in ["", "services"] {
        for entry in fs::read_dir(sample_folder().join(folder)).unwrap() {
            let name = PathBuf::from(folder).join(entry.unwrap().file_name());
            if name.extension().is_some_and(|extension| extension == "toml") {
                found.push(name);
            }
        }
    }
    assert!(found.len() >= 7, "{found:?}");
    found
}

fn main_samples() -> impl Iterator<Item = String> {
    samples()
        .into_iter()
        .filter(|name| name.parent() == Some(Path::new("")))
        .map(|name| name.display().to_string())
}

fn lines(loaded: &Loaded) -> Vec<String> {
    loaded.problems.iter().map(Problem::to_string).collect()
}

#[test]
fn every_sample_loads_without_a_problem() {
    let place = Place::with_samples();
    for sample in main_samples() {
        let loaded = place.load(&sample, &[]);
        assert_eq!(lines(&loaded), [""; 0], "{sample}");
        assert!(loaded.settings.is_some());
    }
}

#[test]
fn an_unknown_key_is_refused_in_every_table_of_every_sample() {
    let mut planted = 0;
    for sample in samples() {
        let text = fs::read_to_string(sample_folder().join(&sample)).unwrap();
        let headers = text.lines().enumerate().filter(|(_, line)| line.starts_with('['));
        for at in headers.map(|(at, _)| at + 1).chain([0]) {
            let mut changed: Vec<&str> = text.lines().collect();
            changed.insert(at, "planted = 1");
            let place = Place::with_samples();
            place.write(sample.to_str().unwrap(), &changed.join("\n"));
            let main = if sample.starts_with("services") { "sekisho.toml" } else { sample.to_str().unwrap() };
            let loaded = place.load(main, &[]);
            let expected =
                format!("{}:{}:1: error: ", place.path(sample.to_str().unwrap()).display(), at + 1);
            let found = lines(&loaded);
            assert!(
                found.iter().any(|line| line.starts_with(&expected) && line.contains("planted: there is no such key")),
                "{} line {at}: {found:?}",
                sample.display()
            );
            planted += 1;
        }
    }
    assert!(planted > 40, "{planted}");
}

#[test]
fn the_sample_shows_every_key_with_its_default() {
    let text = fs::read_to_string(sample_folder().join("sekisho.toml")).unwrap();
    let commented = |line: &str| {
        let bare = line.strip_prefix('#').filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()));
        bare.filter(|rest| rest.contains(" = ")).map(str::to_owned)
    };
    let whole: String =
        text.lines().map(|line| commented(line).unwrap_or_else(|| line.to_owned()) + "\n").collect();
    let place = Place::with_samples();
    place.write_secret("credentials/gateway.next.secret", "bmV4dF9nYXRld2F5X3NlY3JldA");
    place.write_secret("seal.key", &format!("2026:{SEAL}\n"));
    place.write_secret("credentials/mail.password", "mail");
    place.write_secret("credentials/cluster.key", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
    place.write_secret("credentials/cluster.password", "cluster");
    let signed = rcgen::generate_simple_self_signed(["otp.example.jp".to_owned()]).unwrap();
    place.write("http.pem", &signed.cert.pem());
    place.write_secret("http.key", &signed.signing_key.serialize_pem());
    place.write("callers.pem", &signed.cert.pem());
    place.write("mail/issued.en.txt", "Subject: a\n\n{link}\n");
    place.write("whole.toml", &whole);
    let ca = format!("{:?}", place.path("ca.pem"));
    // One word of two that exclude each other.
    let whole = whole.replace("cluster-lost = \"no-answer\"", "cluster-lost = \"alone\"");
    place.write("whole.toml", &whole);
    let ours = [("SEKISHO__MAIL__CA_FILE", ca.as_str()), ("SEKISHO__STATE__CLUSTER_CA_FILE", &ca)];
    assert_eq!(lines(&place.load("whole.toml", &ours)), [""; 0]);
    let whole = whole.replace("cluster-lost = \"alone\"", "cluster-lost = \"no-answer\"");

    let sample: toml::Table = whole.parse().unwrap();
    let defaults: toml::Table = include_str!("defaults.toml").parse().unwrap();
    let mut compared = 0;
    for (name, default) in &defaults {
        let default = default.as_table().unwrap();
        match name.as_str() {
            "each-client" => compare(default, &sample["radius"]["client"][0], name, &mut compared),
            "each-service" => compare(default, &sample["service"]["example"], name, &mut compared),
            _ => compare(default, &sample[name], name, &mut compared),
        }
    }
    assert!(compared > 60, "{compared}");

    fn compare(default: &toml::Table, sample: &toml::Value, at: &str, compared: &mut usize) {
        for (name, value) in default {
            let shown = sample.get(name).unwrap_or_else(|| panic!("{at}.{name} is not in the sample"));
            match value {
                toml::Value::Table(inner) => compare(inner, shown, &format!("{at}.{name}"), compared),
                _ => assert_eq!(shown, value, "{at}.{name}"),
            }
            *compared += 1;
        }
    }
}

#[test]
fn the_defaults_here_are_those_of_the_core() {
    let place = Place::with_samples();
    let settings = place.load("sekisho.toml", &[]).settings.unwrap();
    let example = settings.profiles.iter().find(|profile| profile.name.as_str() == "example").unwrap();
    let mut core = Profile::new(ServiceName::new("example"));
    core.operations = example.operations.clone();
    assert_eq!(format!("{example:?}"), format!("{core:?}"));
    let client = settings.clients.named("banking-gateway").unwrap();
    assert_eq!(client.in_flight_max, Client::IN_FLIGHT_MAX);
    assert_eq!(client.patience, crate::policy::Patience::default());
    assert_eq!(client.signature, crate::radius::SignaturePolicy::default());
    assert_eq!(client.encoding, crate::policy::PasswordEncoding::default());
}

#[test]
fn s_06_s_08_s_09_each_service_asks_for_codes_where_its_manual_says() {
    use Requirement::{Never, Required, UserChoice};
    let place = Place::with_samples();
    let settings = place.load("sekisho.toml", &[]).settings.unwrap();
    for (service, operation, requirement) in [
        ("kenshin-business", "login", Never),
        ("kenshin-business", "transfer", Required),
        ("kenshin-business", "bulk-transfer", Required),
        ("kenshin-business", "payroll", Required),
        ("kenshin-business", "approval", Required),
        ("kenshin-business", "tax-payment", Required),
        ("kenshin-business", "token-management", Required),
        ("kenshin-business", "user-management", Required),
        ("kenshin-business", "other", Required),
        ("kenmin-personal", "login", Required),
        ("shinkin-personal", "login", UserChoice),
        ("shinkin-personal", "transfer", Required),
        ("shinkin-personal", "other", Required),
        ("shiga-business", "login", Never),
        ("shiga-business", "transfer", Required),
        ("shiga-business", "fee-payment", Required),
        ("shiga-business", "user-change", Required),
        ("shiga-business", "approval", Never),
        ("shiga-business", "tax-payment", Never),
    ] {
        let profile = settings.profiles.iter().find(|profile| profile.name.as_str() == service).unwrap();
        let found = profile.named_operation(operation).map(|(_, requirement)| requirement);
        assert_eq!(found, Some(requirement), "{service} {operation}");
    }
}

/// A configuration with nothing wrong, to which a test adds.
const GOOD: &str = r#"
[[radius.client]]
name = "a"
network = "192.0.2.1"
secret-credential = "gateway.secret"
service = "s"
[directory]
kind = "embedded"
[service.s]
"#;

#[test]
fn sec_06_sec_09_bad_configurations_and_the_exact_list_of_their_problems() {
    let place = Place::new();
    assert_eq!(place.problems(GOOD), [""; 0]);
    place.write_secret("short", "0123456789\n");
    place.write_secret("empty", "\n");
    place.write_secret("example", "Testing123Testing123");
    place.write_secret("own", "eW91cl9vd25fbG9uZ19zZWNyZXQ");
    place.write("open", GATEWAY);
    fs::set_permissions(place.path("open"), fs::Permissions::from_mode(0o644)).unwrap();
    let generate = "make one: head -c 32 /dev/urandom | base64";
    let client = |rest: &str| {
        format!(
            "[directory]\nkind = \"embedded\"\n[service.s]\n[[radius.client]]\nname = \"a\"\nnetwork = \"192.0.2.1\"\nservice = \"s\"\n{rest}"
        )
    };
    let whole = |rest: &str| format!("{}{rest}", client("secret-credential = \"gateway.secret\"\n"));
    let service = |rest: &str| GOOD.to_owned() + rest;
    let mut wrong = Vec::new();
    for (text, expected) in [
        // Nothing at all.
        (String::new(), vec![
            r#"f.toml: error: directory.ldap.base: it is missing; write the DN below which users and tokens are, such as "dc=example,dc=jp""#.to_owned(),
            "f.toml: error: directory.ldap.bind-dn: it is missing; write the DN that searches and may read token secrets".to_owned(),
            r#"f.toml: error: directory.ldap.servers: it is missing; write ["ldaps://ldap1.example.jp"]"#.to_owned(),
            "f.toml: error: radius.client = []: there is nobody who may ask; add a [[radius.client]] with name, network, secret-file and service".to_owned(),
        ]),
        // Secrets.
        (client(""), vec!["f.toml:4:1: error: radius.client[0].secret-file: it is missing; write secret-file or secret-credential".to_owned()]),
        (client("secret-file = \"short\""), vec![
            format!(r#"f.toml:8:15: error: radius.client[0].secret-file = "short": the secret has 10 octets, fewer than 16; {generate}; or set insecure = true if the client cannot hold more"#),
            format!(r#"f.toml:8:15: warning: radius.client[0].secret-file = "short": a secret of 10 octets can be guessed from one recorded packet; {generate}"#),
        ]),
        (client("secret-file = \"short\"\ninsecure = true"), vec![
            format!(r#"f.toml:8:15: warning: radius.client[0].secret-file = "short": a secret of 10 octets can be guessed from one recorded packet; {generate}"#),
        ]),
        (client("secret-file = \"empty\"\ninsecure = true"), vec![format!(r#"f.toml:8:15: error: radius.client[0].secret-file = "empty": the secret is empty (RFC 2865 §3); {generate}"#)]),
        (client("secret-file = \"example\""), vec![format!(r#"f.toml:8:15: error: radius.client[0].secret-file = "example": the secret is an example that everybody knows; {generate}"#)]),
        (client("secret-file = \"open\""), vec![r#"f.toml:8:15: error: radius.client[0].secret-file = "open": others may use open (mode 0644); run: chmod 600 open"#.to_owned()]),
        (client("secret-file = \"none\""), vec![r#"f.toml:8:15: error: radius.client[0].secret-file = "none": none cannot be read: No such file or directory (os error 2); name a file that the service may read"#.to_owned()]),
        (client("secret = \"eW91cl9vd25fbG9uZ19zZWNyZXQ\""), vec!["f.toml:8:10: error: radius.client[0].secret: a secret in a configuration file is for loopback only; use secret-file or secret-credential".to_owned()]),
        (client("secret-file = \"own\"\nsecret-credential = \"gateway.secret\""), vec![r#"f.toml:8:15: error: radius.client[0].secret-file = "own": the secret is given in more than one way; leave one of secret, secret-file and secret-credential"#.to_owned()]),
        (client("secret-credential = \"../x\""), vec![r#"f.toml:8:21: error: radius.client[0].secret-credential = "../x": this is no name of a credential; write the name that LoadCredential= gives it"#.to_owned()]),
        (whole("next-secret-credential = \"gateway.secret\""), vec![r#"f.toml:9:26: warning: radius.client[0].next-secret-credential = "gateway.secret": the secret is the same as radius.client[0].secret-credential; give each client its own, so that one that leaks opens one"#.to_owned()]),
        // Signatures.
        (whole("message-authenticator = \"optional\"\nlimit-proxy-state = false"), vec!["f.toml:10:21: error: radius.client[0].limit-proxy-state = false: unsigned requests with Proxy-State can be turned into accepts (CVE-2024-3596); leave it true, or set insecure = true as well if you must".to_owned()]),
        (whole("message-authenticator = \"optional\"\nlimit-proxy-state = false\ninsecure = true"), vec!["f.toml:10:21: warning: radius.client[0].limit-proxy-state = false: accepts for this client can be forged (CVE-2024-3596); upgrade the client so that it sends Message-Authenticator".to_owned()]),
        (whole("limit-proxy-state = false"), vec!["f.toml:9:21: error: radius.client[0].limit-proxy-state = false: it means something with message-authenticator = \"optional\" only; take it out".to_owned()]),
        // Who asks, and what.
        (whole("").replace("\"192.0.2.1\"", "\"0.0.0.0/0\""), vec![r#"f.toml:6:11: error: radius.client[0].network = "0.0.0.0/0": 0.0.0.0/0 lets anybody on the network ask; name the client's own addresses, or set any-network = true"#.to_owned()]),
        (whole("").replace("service = \"s\"", "service = \"t\""), vec![r#"f.toml:7:11: error: radius.client[0].service = "t": there is no service of this name; known are s"#.to_owned()]),
        (whole("") + "[[radius.client]]\nname = \"a\"\nnetwork = \"192.0.2.1/32\"\nservice = \"s\"\nsecret-file = \"own\"\n", vec![
            r#"f.toml:10:8: error: radius.client[1].name = "a": two clients are named a; logs and metrics could not tell them apart"#.to_owned(),
            r#"f.toml:11:11: error: radius.client[1].network = "192.0.2.1/32": network 192.0.2.1/32 belongs to a and to a; give it to one of them, once"#.to_owned(),
        ]),
        (whole("timeout = \"20s\"\nretries = 4"), vec![r#"f.toml:9:11: error: radius.client[0].timeout = "20s": the client repeats a request for up to 100s, but replies are kept for 30s only; set radius.reply-cache-lifetime to 100s or more, or lower timeout or retries"#.to_owned()]),
        (whole("retries = 11"), vec!["f.toml:9:11: error: radius.client[0].retries = 11: the client's retries must be 0 to 10".to_owned()]),
        (service("[radius]\nattributes-max = 3\nlisten = [\"[::1]:1812\", \"[::1]:1812\"]"), vec![
            "f.toml:11:18: error: radius.attributes-max = 3: it is out of bounds; write a number from 16 to 2038".to_owned(),
            r#"f.toml:12:10: error: radius.listen = ["[::1]:1812", "[::1]:1812"]: [::1]:1812 is there twice; leave one of them"#.to_owned(),
        ]),
        // Services.
        (service("digits = 5\nperiod = \"5m\"\nlock = \"5m\"\nlayout = \"code,\"\ntime-zone = \"Asia/Edo\"\nreissue-closed = \"20:50-20:50\""), vec![
            "f.toml:10:10: error: service.s.digits = 5: the number of digits must be 6, 7 or 8".to_owned(),
            "f.toml:11:10: error: service.s.period = \"5m\": the period must be 15 to 120 whole seconds".to_owned(),
            "f.toml:12:8: error: service.s.lock = \"5m\": a lock must hold until released, or at least 30 minutes".to_owned(),
            "f.toml:13:10: error: service.s.layout = \"code,\": use password-code, code-password, code, or both words around a separator such as \"password,code\"".to_owned(),
            "f.toml:14:13: error: service.s.time-zone = \"Asia/Edo\": this time zone is not known; write an IANA name such as \"Asia/Tokyo\"".to_owned(),
            "f.toml:15:18: error: service.s.reissue-closed = \"20:50-20:50\": closed hours must be two different times of day such as 20:50-08:10".to_owned(),
        ]),
        (service("[[service.s.operation]]\nname = \"transfer\"\nmatch = { NAS-Prt-Id = \"x\", User-Password = \"y\", NAS-Port = \"z\" }\n"), vec![
            r#"f.toml:10:1: error: service.s.operation[0].code: it is missing; write "required", "optional", "never" or "user-choice""#.to_owned(),
            "f.toml:12:24: error: service.s.operation[0].match.NAS-Prt-Id = \"x\": `NAS-Prt-Id` is no attribute known here; write an RFC name such as `NAS-Port-Id`, `Attr-<1 to 255>`, `Attr-<241 to 246>.<n>` or `Vendor-Specific:<vendor>:<type>`".to_owned(),
            "f.toml:12:45: error: service.s.operation[0].match.User-Password = \"y\": `User-Password` carries a credential and cannot be compared; name an attribute such as `NAS-Port-Id`".to_owned(),
            "f.toml:12:61: error: service.s.operation[0].match.NAS-Port = \"z\": `NAS-Port` can never be `z`; write a whole number from 0 to 4294967295, or the RFC's name of the value".to_owned(),
        ]),
        (service("[[service.s.operation]]\nname = \"a\"\nmatch = {}\ncode = \"never\"\n[[service.s.operation]]\nname = \"b\"\nmatch = { NAS-Port-Id = \"b\" }\ncode = \"required\"\n"), vec![
            "f.toml:16:1: error: service.s.operation[1].match = { NAS-Port-Id = \"b\" }: operation b is never reached: one before it has no conditions and fits every request; put that one last".to_owned(),
        ]),
        // The rest.
        (service("[http]\nlisten = \"0.0.0.0:9812\""), vec![r#"f.toml:11:10: error: http.listen = "0.0.0.0:9812": this address is not loopback, and nothing protects what goes over it; listen on 127.0.0.1 or [::1], give tls-certificate and tls-key for listen, or set http.allow-cleartext = true for monitoring in a trusted network"#.to_owned()]),
        (GOOD.to_owned() + "services = \"x/*.toml\"", vec!["f.toml:10:1: error: service.s.services: there is no such key here; known are".to_owned()]),
        ("services = \"x/*.toml\"\n".to_owned() + GOOD, vec![r#"f.toml:1:12: error: services = "x/*.toml": No such file or directory (os error 2); name files with service profiles; the last part of a path may have one *"#.to_owned()]),
    ] {
        let found = place.problems(&text);
        let same = found.len() == expected.len()
            && found.iter().zip(&expected).all(|(found, expected)| found.starts_with(expected.as_str()));
        if !same {
            wrong.push(format!("{text}\nexpected {expected:#?}\nfound    {found:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn mail_settings_are_checked_together() {
    let place = Place::new();
    place.write_secret("mail.password", "mail_canary_password");
    place.write("bad/issued-link.en.txt", "Subject: a\n\n{link} {service-id}\n");
    place.write("none/readme.txt", "");
    let ca = format!("ca-file = {:?}\n", place.path("ca.pem"));
    let good = format!("[mail]\n{ca}server = \"smtp.example.jp\"\nfrom = \"otp@example.jp\"\n");
    let none = "[mail]\nserver = \"127.0.0.1:25\"\ntls = \"none\"\nfrom = \"otp@example.jp\"\n";
    for (text, expected) in [
        ("[mail]\n".to_owned(), ""),
        (good.clone(), ""),
        (none.to_owned(), ""),
        (good.clone() + "user = \"otp\"\npassword-file = \"mail.password\"\n", ""),
        (good.clone() + "user = \"otp\"\n", "mail.password-file: it is missing"),
        (
            good.clone() + "password-file = \"mail.password\"\n",
            "mail.user: there is a password and nobody to log in",
        ),
        (good.clone() + "password = \"x\"\n", "mail.password: there is no such key here"),
        (good.replace("otp@", "otp"), "mail.from = \"otpexample.jp\": this is no mail address"),
        (good.replace("from", "#from"), "mail.from: it is missing; write the sender"),
        (good.replace("server", "#server"), "mail.server: it is missing, so nothing would be mailed"),
        (
            good.replace("smtp.", "smtp://"),
            "mail.server = \"smtp://example.jp\": this is not HOST or HOST:PORT",
        ),
        (good.replace("ca.pem", "f.toml"), "there is no certificate in it; name a PEM file"),
        (
            none.replace("127.0.0.1", "192.0.2.1"),
            "mail.tls = \"none\": letters with names and ids would cross",
        ),
        (good.clone() + "templates = \"none\"\n", "there is no template in"),
        (good.clone() + "templates = \"bad\"\n", "issued-link.en.txt: line 3: there is no {service-id} here"),
        ("[service.s]\nsetup-link = \"http://x\"\n".to_owned(), "a setup link must be an https:// address"),
    ] {
        let whole = match text.strip_prefix("[service.s]\n") {
            Some(keys) => GOOD.to_owned() + keys,
            None => GOOD.to_owned() + &text,
        };
        let found = place.problems(&whole);
        let fits = if expected.is_empty() {
            found.is_empty()
        } else {
            found.len() == 1 && found[0].contains(expected)
        };
        assert!(fits, "{text}: {found:#?}");
    }
    let off = none.replace("127.0.0.1", "192.0.2.1")
        + "allow-cleartext = true\nuser = \"a\"\npassword-file = \"mail.password\"\n";
    let found = place.problems(&(GOOD.to_owned() + &off));
    assert!(
        found.iter().any(|line| line.contains("a password would cross the network in clear")),
        "{found:#?}"
    );
}

#[test]
fn http_settings_are_checked_together() {
    let place = Place::new();
    let (one, other) = (
        rcgen::generate_simple_self_signed(["otp.example.jp".to_owned()]).unwrap(),
        rcgen::generate_simple_self_signed(["otp.example.jp".to_owned()]).unwrap(),
    );
    place.write("http.pem", &one.cert.pem());
    place.write_secret("http.key", &one.signing_key.serialize_pem());
    place.write("open.key", &one.signing_key.serialize_pem());
    place.write_secret("other.key", &other.signing_key.serialize_pem());
    place.write_secret("token", "http_canary_token_0123456789_0123456789");
    place.write_secret("short", "http_canary");
    let tls = "[http]\nlisten = \"0.0.0.0:1\"\ntls-certificate = \"http.pem\"\ntls-key = \"http.key\"\n";
    let caller = |keys: &str| format!("{tls}[[http.caller]]\nname = \"a\"\n{keys}\n");
    for (text, expected) in [
        (tls.to_owned(), ""),
        (caller("token-file = \"token\""), ""),
        (
            format!(
                "{}client-ca = \"http.pem\"\n[[http.caller]]\nname = \"a\"\ncertificate-name = \"b.example.jp\"\n",
                tls
            ),
            "",
        ),
        (tls.replace("tls-key", "#tls-key"), "http.tls-key: the certificate needs its one key"),
        (tls.replace("tls-certificate", "#tls-certificate"), "http.tls-certificate: it is missing"),
        (tls.replace("http.key", "other.key"), "http.tls-certificate = \"http.pem\": "),
        (tls.replace("http.key", "http.pem"), "others may use"),
        (tls.replace("http.key", "open.key"), "others may use"),
        (tls.replace("\"http.pem", "\"token"), "there is no certificate in it"),
        (tls.to_owned() + "client-ca = \"token\"\n", "http.client-ca = \"token\""),
        (tls.to_owned() + "requests-per-minute = 0\n", "http.requests-per-minute = 0: it is out of bounds"),
        (
            tls.to_owned() + "monitoring-listen = \"0.0.0.0:2\"\n",
            "http.monitoring-listen = \"0.0.0.0:2\": this address is not loopback",
        ),
        (caller("token-file = \"short\""), "http.caller[0].token-file = \"short\": a token has 32 to 512"),
        (
            caller("token-file = \"token\"\n[[http.caller]]\nname = \"b\"\ntoken-file = \"token\""),
            "another caller has the same token",
        ),
        (caller("token-file = \"token\"\ncertificate-name = \"b\""), "a caller shows one thing"),
        (caller(""), "a caller shows one thing"),
        (
            caller("token-file = \"token\"").replace("\"a\"", "\"root\""),
            "this name stands for a user of this machine",
        ),
        (caller("certificate-name = \"b.example.jp\""), "no certificate is asked for without authorities"),
        (format!("{tls}[[http.caller]]\ntoken-file = \"token\"\n"), "http.caller[0].name: it is missing"),
    ] {
        let found = place.problems(&(GOOD.to_owned() + &text));
        let fits = if expected.is_empty() {
            found.is_empty()
        } else {
            found.len() == 1 && found[0].contains(expected)
        };
        assert!(fits, "{text}: {found:#?}");
        assert!(!found.concat().contains("canary"), "{found:#?}");
    }
}

#[test]
fn ldap_settings_are_checked_together() {
    let place = Place::new();
    let text = r#"
[[radius.client]]
name = "a"
network = "127.0.0.1"
secret = "c2VraXNob19nYXRld2F5X3NlY3JldA"
service = "s"
[directory.ldap]
servers = ["ldap://192.0.2.1", "ldaps://a", "http://b"]
tls = "none"
bind-dn = "sekisho"
bind-password = "bGRhcF9jYW5hcnlfcGFzc3dvcmQ"
base = "dc=example,dc=jp"
user-filter = "(uid=user)"
layout = "custom"
bindings = "poll"
poll-every = "10m"
seal-key-credential = "ldap.password"
password-cache = "5m"
token-base = "ou=tokens,dc=example,dc=com"
[service.s]
second-step = "always"
without-token = "password"
"#;
    let found = place.problems(text);
    for (line, key) in [
        (8, "directory.ldap.servers"),
        (8, "ldaps://a"),
        (8, "http://b"),
        (10, "directory.ldap.bind-dn"),
        (11, "directory.ldap.bind-password"),
        (13, "directory.ldap.user-filter"),
        (8, "directory.ldap.custom: it is missing"),
        (8, "directory.ldap.max-stale"),
        (17, "directory.ldap.seal-key-credential"),
        (18, "directory.ldap.password-cache"),
        (19, "it does not lie below base"),
        (22, "service.s.without-token"),
    ] {
        let fits = |found: &&String| found.starts_with(&format!("f.toml:{line}:")) && found.contains(key);
        assert!(found.iter().any(|found| fits(&found)), "{line} {key}: {found:#?}");
    }
    assert!(!found.concat().contains(LDAP) && !found.concat().contains(GATEWAY), "{found:#?}");
}

#[test]
fn later_layers_win_and_the_origin_of_each_value_is_shown() {
    let place = Place::with_samples();
    place.write("conf.d/10.toml", "[radius]\nattributes-max = 100\n[http]\nlisten = \"[::1]:1\"\n[service.kenshin-business]\ndigits = 6\n");
    place.write(
        "conf.d/20.toml",
        "[radius]\nattributes-max = 101\n[[radius.client]]\nname = \"b\"\nnetwork = \"192.0.2.2\"\nservice = \"shiga-business\"\nsecret-file = \"own\"\n",
    );
    place.write_secret("conf.d/own", "eW91cl9vd25fbG9uZ19zZWNyZXQ");
    let environment = [
        ("SEKISHO__HTTP__LISTEN", "127.0.0.1:2"),
        ("SEKISHO__RADIUS__LISTEN", r#"["127.0.0.1:0"]"#),
        ("SEKISHO__SERVICE__KENSHIN_BUSINESS__MAX_FAILURES", "3"),
        ("SEKISHO_OTHER", "not ours"),
    ];
    let loaded = place.load("sekisho.toml", &environment);
    assert_eq!(lines(&loaded), [""; 0]);
    let shown = loaded.effective().to_string();
    let folder = place.folder.path().display();
    for line in [
        format!("attributes-max = 101  # {folder}/conf.d/20.toml:2:18"),
        "listen = \"127.0.0.1:2\"  # environment SEKISHO__HTTP__LISTEN".to_owned(),
        "listen = [\"127.0.0.1:0\"]  # environment SEKISHO__RADIUS__LISTEN".to_owned(),
        "max-failures = 3  # environment SEKISHO__SERVICE__KENSHIN_BUSINESS__MAX_FAILURES".to_owned(),
        format!("digits = 6  # {folder}/conf.d/10.toml:6:10"),
        "durability = \"sync\"  # default".to_owned(),
        "secret-file = \"own\"".to_owned(),
    ] {
        assert!(shown.contains(&line), "{line}\n{shown}");
    }
    let settings = loaded.settings.unwrap();
    assert_eq!(settings.clients.iter().len(), 2);
    assert_eq!(settings.radius.attributes_max, 101);
    assert!(shown.parse::<toml::Table>().is_ok(), "{shown}");
}

#[test]
fn the_environment_is_read_as_strictly_as_a_file() {
    let place = Place::new();
    place.write("f.toml", GOOD);
    let environment = [
        ("SEKISHO__RADIUS__LISEN", "127.0.0.1:1"),
        ("SEKISHO__HTTP__ALLOW_CLEARTEXT", "yes"),
        ("SEKISHO__RADIUS__ATTRIBUTES_MAX", "1\n[http]"),
        ("SEKISHO__DIRECTORY__LDAP__BIND_PASSWORD", LDAP),
        ("SEKISHO__", "x"),
        ("SEKISHO__RADIUS__CLIENT__0__SECRET_FILE", "x"),
    ];
    let found = lines(&place.load("f.toml", &environment));
    for expected in [
        "environment SEKISHO__: error: \"\": the variable names no key",
        "environment SEKISHO__DIRECTORY__LDAP__BIND_PASSWORD: error: directory.ldap.bind-password: others can read",
        "environment SEKISHO__HTTP__ALLOW_CLEARTEXT: error: http.allow-cleartext = \"yes\": the value has the wrong form; write true or false",
        "environment SEKISHO__RADIUS__ATTRIBUTES_MAX: error: radius.attributes-max",
        "environment SEKISHO__RADIUS__CLIENT__0__SECRET_FILE: error: radius.client",
        "environment SEKISHO__RADIUS__LISEN: error: radius.lisen: there is no such key here; did you mean listen?",
    ] {
        assert!(found.iter().any(|line| line.starts_with(expected)), "{expected}\n{found:#?}");
    }
    assert_eq!(found.len(), 6, "{found:#?}");
    assert!(!found.concat().contains(LDAP), "{found:#?}");
}

#[test]
fn sec_01_no_secret_is_ever_printed() {
    let place = Place::with_samples();
    place.write("conf.d/a.toml", &format!("[[radius.client]]\nname = \"l\"\nnetwork = \"127.0.0.1\"\nsecret = \"{LDAP}\"\nservice = \"example\"\nnext-secret = \"{GATEWAY}\"\n"));
    let loaded = place.load("sekisho.toml", &[]);
    let shown = format!("{}{}", loaded.effective(), lines(&loaded).join("\n"));
    assert!(loaded.settings.is_some() && shown.contains("next-secret = \"[hidden]\""), "{shown}");
    for secret in [GATEWAY, LDAP, SEAL] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn files_that_cannot_be_read_are_problems_with_a_place() {
    let place = Place::new();
    assert!(
        lines(&place.load("none.toml", &[]))[0].contains("none.toml: error: cannot be read: No such file")
    );
    fs::write(place.path("f.toml"), b"[http]\n# \xff\n").unwrap();
    assert!(
        lines(&place.load("f.toml", &[]))[0].contains("f.toml:2:3: error: cannot be read: it is not UTF-8")
    );
    place.write("f.toml", "[http\n[radius]\nlisten =\n");
    let found = lines(&place.load("f.toml", &[]));
    assert!(found.len() >= 2 && found.iter().all(|line| line.contains("write it as TOML")), "{found:?}");
}

#[test]
fn each_mistake_about_the_engine_is_refused_with_its_key_and_what_is_right() {
    let place = Place::new();
    place.write_secret("key", SEAL);
    place.write_secret("short", "AAECAwQFBgcICQ==");
    place.write_secret("no-base64", "this is no base64, however long it may be made");
    let right = [
        ("cluster", "\"rediss://redis.example.jp\""),
        ("node", "\"tokyo-1\""),
        ("cluster-key-file", "\"key\""),
        ("cluster-ca-file", "\"ca.pem\""),
    ];
    let state = |changes: &[(&str, &str)]| {
        let mut text = GOOD.to_owned() + "[state]\n";
        for (key, value) in
            right.iter().filter(|(key, _)| changes.iter().all(|(other, _)| other != key)).chain(changes)
        {
            if !value.is_empty() {
                text += &format!("{key} = {value}\n");
            }
        }
        text
    };
    assert_eq!(place.problems(&state(&[])), [""; 0]);
    for (changes, expected) in [
        (
            &[("cluster", "\"rediss://node:hidden@redis.example.jp\"")][..],
            &["state.cluster:", "for loopback only", "cluster-password-file", "take it out of the URL"][..],
        ),
        (
            &[("cluster-password", "\"hidden\"")],
            &["state.cluster-password:", "for loopback only", "cluster-password-file"],
        ),
        (&[("cluster", "\"redis://redis.example.jp\"")], &["state.cluster =", "in clear", "rediss://"]),
        (
            &[("cluster", "\"redis+sentinel://redis.example.jp/set\"")],
            &["state.cluster =", "in clear", "rediss+sentinel://"],
        ),
        (
            &[("cluster", "\"postgres://db.example.jp/otp?sslmode=disable\"")],
            &["state.cluster =", "in clear", "sslmode=require"],
        ),
        (&[("cluster", "\"etcd://127.0.0.1\"")], &["state.cluster =", "redis://", "postgres://"]),
        (
            &[("cluster", "\"rediss://redis.example.jp:0\"")],
            &["state.cluster =", "no usable host", "host:port"],
        ),
        (&[("cluster", "\"postgres://db.example.jp\"")], &["state.cluster =", "/sekisho"]),
        (&[("cluster-key-file", "")], &["state.cluster-key-file:", "missing", "cluster-key-credential"]),
        (&[("cluster-key-file", "\"none\"")], &["state.cluster-key-file =", "cannot be read"]),
        (
            &[("cluster-key-file", "\"short\"")],
            &["state.cluster-key-file =", "not 32 octets in base64", "head -c 32 /dev/urandom | base64"],
        ),
        (
            &[("cluster-key-file", "\"no-base64\"")],
            &["state.cluster-key-file =", "not 32 octets in base64", "head -c 32 /dev/urandom | base64"],
        ),
        (&[("cluster-lost", "\"alone\"")], &["state.cluster-alone:", "missing", "the one node that goes on"]),
        (
            &[("cluster-alone", "\"tokyo-1\"")],
            &["state.cluster-alone =", "cluster-lost = \"alone\" only", "set cluster-lost"],
        ),
        (&[("cluster-lost", "\"maybe\"")], &["state.cluster-lost", "no-answer", "alone"]),
        (&[("node", "")], &["state.node:", "missing", "each node has its own"]),
        (&[("cluster-timeout", "\"0s\"")], &["state.cluster-timeout =", "out of bounds", "50ms", "10s"]),
        (&[("cluster-timeout", "\"1h\"")], &["state.cluster-timeout =", "out of bounds", "50ms", "10s"]),
        (
            &[("cluster-ca-file", "\"none.pem\"")],
            &["state.cluster-ca-file =", "cannot be read", "authorities"],
        ),
        (&[("cluster-ca-file", "\"key\"")], &["state.cluster-ca-file =", "no certificate", "authorities"]),
        (
            &[("cluster", ""), ("cluster-key-file", ""), ("cluster-lost", "\"alone\"")],
            &["state.cluster-lost =", "no cluster", "take it out"],
        ),
        (
            &[("cluster", ""), ("cluster-key-file", ""), ("cluster-alone", "\"tokyo-1\"")],
            &["state.cluster-alone =", "no cluster", "take it out"],
        ),
        (&[("cluster", "")], &["state.cluster-key-file", "no cluster", "take it out"]),
        (
            &[("cluster", ""), ("cluster-key-file", ""), ("cluster-password-file", "\"password\"")],
            &["state.cluster-password-file", "no cluster", "take it out"],
        ),
        (
            &[("cluster", ""), ("cluster-key-file", ""), ("cluster-password", "\"hidden\"")],
            &["state.cluster-password", "no cluster", "take it out"],
        ),
        (
            &[("cluster", ""), ("cluster-key-file", ""), ("cluster-key-credential", "\"cluster.key\"")],
            &["state.cluster-key-credential", "no cluster", "take it out"],
        ),
    ] {
        let found = place.problems(&state(changes));
        assert!(matches!(found.as_slice(), [one] if one.contains(": error: ")), "{changes:?}: {found:#?}");
        assert!(expected.iter().all(|word| found.concat().contains(word)), "{changes:?}: {found:#?}");
        assert!(!found.concat().contains("hidden"), "{found:#?}");
    }
    let client = GOOD.replace("service = \"s\"", "service = \"s\"\nlost-answer-grace = \"31s\"");
    let found = place.problems(&client).concat();
    let expected = ["radius.client[0].lost-answer-grace =", "out of bounds", "30s"];
    assert!(expected.iter().all(|word| found.contains(word)), "{found}");
}
