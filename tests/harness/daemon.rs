//! The built binary as its administrator runs it.

use super::wait_for;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A running `sekisho serve`. Killed when dropped.
pub struct Daemon {
    child: Option<Child>,
    pub radius: Vec<SocketAddr>,
    pub http: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
}

/// The binary under test.
pub fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_sekisho")
}

/// Runs a subcommand to its end, with `input` on standard input.
pub fn run(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(binary())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input may be gone before it is written.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

impl Daemon {
    /// Starts `serve` with this configuration and waits until it is ready.
    pub fn start(config: &Path) -> Daemon {
        Daemon::start_with(config, &[])
    }

    /// Starts with additional environment variables (for example a moved clock).
    pub fn start_with(config: &Path, environment: &[(&str, &str)]) -> Daemon {
        let mut child = Command::new(binary())
            .args(["serve", "--log-format", "json", "--config"])
            .arg(config)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        read_lines(child.stdout.take().unwrap(), Arc::clone(&log));
        read_lines(child.stderr.take().unwrap(), Arc::clone(&log));
        let ready = wait_for("the ready line", || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the daemon ended with {status}:\n{}", log.lock().unwrap().join("\n"));
            }
            let lines = log.lock().unwrap();
            lines.iter().find(|line| field(line, "event").as_deref() == Some("ready")).cloned()
        });
        let addresses = |name: &str| -> Vec<SocketAddr> {
            let text = field(&ready, name).unwrap_or_default();
            text.split([',', ' ']).filter_map(|address| address.parse().ok()).collect()
        };
        let http = addresses("http").first().copied().unwrap_or_else(|| "127.0.0.1:9".parse().unwrap());
        Daemon { radius: addresses("radius_udp"), http, child: Some(child), log }
    }

    /// No daemon: what stands in the place of one that is being restarted.
    pub fn nothing() -> Daemon {
        let nowhere = "127.0.0.1:9".parse().unwrap();
        Daemon { child: None, radius: vec![nowhere], http: nowhere, log: Arc::default() }
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("a running daemon").id()
    }

    /// Everything logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// The log lines of one event.
    pub fn events(&self, event: &str) -> Vec<String> {
        let lines = self.log.lock().unwrap();
        lines.iter().filter(|line| field(line, "event").as_deref() == Some(event)).cloned().collect()
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([format!("-{name}"), self.pid().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// SIGTERM, and the exit status that follows.
    pub fn stop(mut self) -> ExitStatus {
        self.signal("TERM");
        wait_for("the daemon to stop", || self.child.as_mut()?.try_wait().unwrap())
    }

    /// SIGKILL: no chance to save anything.
    pub fn kill(mut self) {
        let mut child = self.child.take().expect("a running daemon");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// One HTTP GET: status and body.
    pub fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.http).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let status = text.split_whitespace().nth(1).unwrap().parse().unwrap();
        let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
        (status, body)
    }

    /// All series of /metrics whose name and labels start with the given text, as one sum.
    pub fn metric(&self, series: &str) -> f64 {
        self.metrics().iter().filter(|(name, _)| name.starts_with(series)).map(|(_, value)| value).sum()
    }

    /// All series by name and labels.
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        let (status, body) = self.get("/metrics");
        assert_eq!(status, 200);
        body.lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.rsplit_once(' '))
            .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
            .collect()
    }

    /// How often requests ended for this reason, over all clients.
    pub fn reason(&self, reason: &str) -> f64 {
        let wanted = format!("reason=\"{reason}\"");
        let requests = self
            .metrics()
            .into_iter()
            .filter(|(name, _)| name.starts_with("sekisho_requests_total{") && name.contains(&wanted));
        requests.map(|(_, value)| value).sum()
    }

    /// Waits until requests have ended `times` times for this reason.
    pub fn wait_for_reason(&self, reason: &str, times: f64) {
        wait_for(&format!("{times} × {reason}"), || (self.reason(reason) >= times).then_some(()));
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Of a story that failed, everything is worth knowing.
        if std::thread::panicking() && self.child.is_some() {
            eprintln!("the daemon's log:\n{}", self.log());
        }
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn read_lines(stream: impl Read + Send + 'static, log: Arc<Mutex<Vec<String>>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            log.lock().unwrap().push(line);
        }
    });
}

/// A text field of a JSON log line, wherever it stands.
pub fn field(line: &str, name: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(line).ok()?;
    let found = value.get(name).or_else(|| value.get("fields")?.get(name))?;
    Some(found.as_str().map_or_else(|| found.to_string(), str::to_owned))
}

/// Where a story keeps its files.
pub fn write(directory: &Path, name: &str, content: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let path = directory.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, content).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}
