//! The daemon under load: the release binary with a configuration and a state directory of its own.

use crate::engine::Engine;
use crate::processes::{Process, Processors};
use crate::requests::{PERIOD, SECRET};
use crate::slapd::{BASE, SERVICE_DN, SERVICE_PASSWORD, Slapd};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How the daemon is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// `memory`, `relaxed` or `sync`.
    pub durability: &'static str,
    /// `none` (the gateway has checked it) or `directory` (one bind for each login).
    pub password: &'static str,
    pub on: Processors,
    /// The engine that it shares with nobody.
    pub cluster: Option<&'static str>,
}

pub struct Daemon {
    pub process: Process,
    pub radius: SocketAddr,
    http: SocketAddr,
    /// From the start of the process until it answers, with all users read.
    pub start: Duration,
    folder: TempDir,
    _engine: Option<Engine>,
}

impl Daemon {
    /// Starts one on an empty state directory and waits until it is ready.
    pub fn start(slapd: &Slapd, setting: Setting) -> Daemon {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let path = folder.path();
        let engine = setting.cluster.map(Engine::start);
        let keys = engine.as_ref().map(Engine::keys).unwrap_or_default();
        let config = write(path, "sekisho.toml", &configure(slapd, setting, &keys));
        write(path, "cluster.key", &data_encoding::BASE64.encode(&[7; 32]));
        write(path, "gateway.secret", std::str::from_utf8(SECRET).unwrap());
        write(path, "ldap.password", SERVICE_PASSWORD);
        let begun = Instant::now();
        let mut process = Process::start(
            env!("CARGO_BIN_EXE_sekisho"),
            &["serve", "--log-format", "json", "--config", &config],
            setting.on,
        );
        // Five million users take five minutes.
        let (radius, http) = process.wait_for("ready line", Duration::from_secs(900), |line| {
            let value: serde_json::Value = serde_json::from_str(line).ok()?;
            let fields = value.get("fields").unwrap_or(&value);
            let address = |name: &str| fields.get(name)?.as_str()?.parse().ok();
            (fields.get("event")? == "ready").then(|| Some((address("radius_udp")?, address("http")?)))?
        });
        let start = begun.elapsed();
        let daemon = Daemon { process, radius, http, start, folder, _engine: engine };
        crate::wait_for("the daemon to be ready", || daemon.get("/readyz").contains(" 200 ").then_some(()));
        daemon
    }

    /// An answer of its HTTP server, or why there is none.
    pub fn get(&self, path: &str) -> String {
        let mut text = String::new();
        let asked = TcpStream::connect(self.http).and_then(|mut stream| {
            let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes())?;
            stream.read_to_string(&mut text)
        });
        asked.map_or_else(|error| error.to_string(), |_| text)
    }

    /// The snapshots of its journal that lie there now.
    pub fn snapshots(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.folder.path().join("state")).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with("snapshot")).collect()
    }

    /// What it says became of requests that were not accepted, for when there were any.
    pub fn complaints(&self) -> String {
        let text = self.get("/metrics");
        let lines = text.lines().filter(|line| {
            (line.starts_with("sekisho_requests_total") || line.starts_with("sekisho_dropped_total"))
                && !line.contains("code-accepted")
                && !line.ends_with(" 0")
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

fn configure(slapd: &Slapd, setting: Setting, keys: &str) -> String {
    let Setting { durability, password, on, .. } = setting;
    let workers = if on == Processors::First { "workers = 1" } else { "" };
    let url = slapd.url();
    format!(
        r#"
[radius]
listen = ["127.0.0.1:0"]
in-flight-max = 16384
{workers}

[[radius.client]]
name = "load"
network = ["127.0.0.1/32"]
secret-file = "gateway.secret"
service = "load"
in-flight-max = 16384

[directory]
kind = "ldap"

[directory.ldap]
servers = ["{url}"]
tls = "none"
bind-dn = "{SERVICE_DN}"
bind-password-file = "ldap.password"
base = "{BASE}"
bindings = "follow"
pool = 16

[service.load]
digits = 6
period = "{PERIOD}s"
password = "{password}"

[state]
directory = "state"
durability = "{durability}"
{keys}
[http]
listen = "127.0.0.1:0"

[admin]
socket = "admin.sock"

[audit]
file = "audit.jsonl"

[log]
level = "info"
"#
    )
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}
