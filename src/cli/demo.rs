//! `sekisho demo`: the whole daemon on loopback, with users whose codes are shown.

use super::command::{Demo, LogFormat};
use super::output::print;
use super::serve::refused;
use super::{Exit, Failure};
use crate::clock;
use crate::config::{self, Inputs, LogLevel};
use crate::daemon::{self, Ending, log};
use crate::directory::embedded::{Embedded, MAX_STALE, NewToken, NewUser};
use crate::identity::ContractId;
use crate::otp::uri::{KeyMoving, KeyUri};
use crate::otp::{self, Algorithm, Code, Digits, Moving, Parameters, Period, Window};
use crate::secret::Secret;
use crate::state::{Bindings, Scope};
use crate::tokens::Role;
use std::fmt::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Everybody's password in the demo.
const PASSWORD: &str = "open sesame";

/// The secret between the demo's gateway and the demo.
const SECRET: &str = "demo-only-secret-of-32-characters";

/// The demo's users: name, digits, period.
const USERS: [(&str, Digits, Period); 2] =
    [("alice", Digits::SIX, Period::HALF_MINUTE), ("hanako", Digits::EIGHT, Period::MINUTE)];

/// Runs the demo until Ctrl-C, and leaves nothing behind.
pub fn run(arguments: &Demo) -> Result<Exit, Failure> {
    let folder = Folder::new()?;
    let people = furnish(&folder.0).map_err(|error| Failure::Unavailable(error.to_string()))?;
    let config = folder.write("sekisho.toml", CONFIG)?;
    folder.write("gateway.secret", SECRET)?;

    let loaded = config::load(&Inputs { environment: Vec::new(), ..Inputs::of_process(&config) });
    let problems: Vec<String> = loaded.errors().map(ToString::to_string).collect();
    let settings = loaded.settings.ok_or_else(|| Failure::Configuration(problems.join("\n")))?;
    let format = match arguments.log_format {
        Some(LogFormat::Json) => config::LogFormat::Json,
        Some(LogFormat::Text) | None => config::LogFormat::Text,
    };
    log::start(format, LogLevel::Warn);
    let running = daemon::start(settings).map_err(|error| refused(&error))?;
    running.say_ready();
    let radius = running.radius.first().map(ToString::to_string).unwrap_or_default();
    print(&welcome(&people, &radius, &running.http.to_string(), &folder.0))?;
    keep_showing(people);
    match daemon::run(running, None) {
        Ok(Ending::Clean) => Ok(Exit::Done),
        Ok(Ending::Broken) => Ok(Exit::Io),
        Err(error) => Err(Failure::Io("signals".to_owned(), error)),
    }
}

/// One demo user with the key that only a demo would show.
struct Person {
    name: &'static str,
    secret: Secret,
    digits: Digits,
    period: Period,
}

impl Person {
    fn code(&self) -> String {
        let step = otp::step_at(clock::now().wall, self.period);
        let number = otp::truncated(self.secret.expose(), Algorithm::Sha1, step);
        Code::shown(number, self.digits).expose()
    }

    fn seconds_left(&self) -> u64 {
        self.period.seconds() - clock::now().wall.seconds() % self.period.seconds()
    }

    fn uri(&self) -> Secret {
        let uri = KeyUri {
            issuer: Some("sekisho demo".into()),
            account: self.name.into(),
            secret: self.secret.duplicate(),
            algorithm: Algorithm::Sha1,
            digits: self.digits,
            moving: KeyMoving::Time { period: self.period },
        };
        uri.write()
    }
}

/// Makes the embedded directory with its users and fresh keys.
fn furnish(folder: &Path) -> anyhow::Result<Vec<Person>> {
    let scope = Scope::Complete { max_stale: MAX_STALE };
    let directory = Embedded::open(&folder.join("directory"), Arc::new(Bindings::new(scope)), 1)?;
    let mut people = Vec::new();
    for (name, digits, period) in USERS {
        let mut key = [0; 20];
        getrandom::fill(&mut key).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
        let secret = Secret::new(key);
        let user = NewUser {
            name: name.into(),
            other_names: Vec::new(),
            contract: Some(ContractId::new("demo")),
            role: Role::General,
            login_code: None,
            mail: None,
        };
        directory.add_user(user, &Secret::new(PASSWORD))?;
        let parameters = Parameters {
            algorithm: Algorithm::Sha1,
            digits,
            moving: Moving::Time { period },
            window: Window::ONE,
        };
        let token = NewToken {
            serial: format!("DEMO-{name}"),
            secret: secret.duplicate(),
            parameters,
            begins: None,
            ends: None,
        };
        directory.add_token(name, token)?;
        people.push(Person { name, secret, digits, period });
    }
    Ok(people)
}

fn welcome(people: &[Person], radius: &str, http: &str, folder: &Path) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "sekisho demo: RADIUS on {radius}, metrics on http://{http}/metrics");
    let _ = writeln!(text, "files in {} (gone after Ctrl-C)\n", folder.display());
    for person in people {
        let _ = writeln!(
            text,
            "{}: password \"{PASSWORD}\", code now {} ({} digits, valid for {} s)",
            person.name,
            person.code(),
            person.digits.count(),
            person.seconds_left(),
        );
        if let Some(code) = qr(person.uri().expose()) {
            let _ = writeln!(text, "scan with any authenticator app:\n{code}");
        }
    }
    if let Some(person) = people.first() {
        let _ = writeln!(
            text,
            "paste while the code is valid; a second time the same code is refused:\n\n  \
             echo 'User-Name = \"{}\", User-Password = \"{PASSWORD}{}\", Message-Authenticator = 0x00' \
             | radclient -x {radius} auth {SECRET}\n",
            person.name,
            person.code(),
        );
    }
    let _ = writeln!(text, "Ctrl-C ends the demo. Codes as they change:");
    text
}

fn qr(uri: &[u8]) -> Option<String> {
    let code = qrcode::QrCode::with_error_correction_level(uri, qrcode::EcLevel::L).ok()?;
    Some(code.render::<qrcode::render::unicode::Dense1x2>().build())
}

/// Shows the codes whenever one changes; ends with the process.
fn keep_showing(people: Vec<Person>) {
    std::thread::spawn(move || {
        loop {
            let line: Vec<String> =
                people.iter().map(|person| format!("{} {}", person.name, person.code())).collect();
            if print(&format!("{}\n", line.join("   "))).is_err() {
                return;
            }
            let pause = people.iter().map(Person::seconds_left).min().unwrap_or(30);
            std::thread::sleep(Duration::from_secs(pause) + Duration::from_millis(50));
        }
    });
}

/// A temporary folder that only its owner can read, and that goes when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Folder, Failure> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| Failure::Unavailable(error.to_string()))?;
        let name = format!("sekisho-demo-{:016x}", u64::from_be_bytes(random));
        let path = std::env::temp_dir().join(name);
        let made = std::fs::DirBuilder::new().mode(0o700).recursive(true).create(path.join("directory"));
        made.map_err(|error| Failure::Io(path.display().to_string(), error))?;
        Ok(Folder(path))
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf, Failure> {
        use std::io::Write as _;
        let path = self.0.join(name);
        let written = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|error| Failure::Io(path.display().to_string(), error))?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder in the place for temporary files that cannot be removed will be removed by the system.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The demo's configuration: everything on loopback, nothing to prepare.
const CONFIG: &str = r#"
[radius]
listen = ["127.0.0.1:0"]

[[radius.client]]
name = "demo-gateway"
network = ["127.0.0.0/8"]
secret-file = "gateway.secret"
service = "demo"

[directory]
kind = "embedded"

[directory.embedded]
folder = "directory"

[service.demo]
digits = 6
period = "30s"
password = "directory"

[state]
directory = "state"

[http]
listen = "127.0.0.1:0"

[admin]
socket = "admin.sock"

[audit]
file = "audit.jsonl"
"#;
