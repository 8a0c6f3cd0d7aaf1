//! The built binary as its administrator runs it.

use super::wait_for;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long it may take until it is ready.
const START: Duration = Duration::from_secs(30);

/// A running `sekisho serve`. Killed when dropped.
pub struct Daemon {
    child: Option<Child>,
    pub radius: Vec<SocketAddr>,
    pub http: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
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
        let mut daemon = Daemon::launch(config, environment);
        daemon.wait_until_ready();
        daemon
    }

    /// Starts it and waits for nothing: it may never become ready.
    pub fn launch(config: &Path, environment: &[(&str, &str)]) -> Daemon {
        // For a story about a full disk: a write that goes too far fails, and does not kill.
        let mut command = Command::new("env");
        command.args(["--ignore-signal=XFSZ", binary()]).envs(environment.iter().copied());
        Daemon::spawn(command, config)
    }

    /// Starts it by a command that becomes the binary under test, and waits until it is ready.
    pub fn start_as(command: Command, config: &Path) -> Daemon {
        let mut daemon = Daemon::spawn(command, config);
        daemon.wait_until_ready();
        daemon
    }

    /// Starts it by such a command and waits for nothing.
    pub fn spawn(mut command: Command, config: &Path) -> Daemon {
        let mut child = command
            .args(["serve", "--log-format", "json", "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let readers = vec![
            read_lines(child.stdout.take().unwrap(), Arc::clone(&log)),
            read_lines(child.stderr.take().unwrap(), Arc::clone(&log)),
        ];
        let mut daemon = Daemon::nothing();
        (daemon.child, daemon.log, daemon.readers) = (Some(child), log, readers);
        daemon
    }

    fn wait_until_ready(&mut self) {
        if !self.becomes_ready() {
            let status = self.child.as_mut().unwrap().wait().unwrap();
            panic!("the daemon ended with {status}:\n{}", self.log());
        }
    }

    /// Waits until it is ready, or has ended before it was.
    pub fn becomes_ready(&mut self) -> bool {
        // Longer than for anything else: on a busy machine a start with its syncs is what takes the longest.
        let begun = Instant::now();
        let ready = loop {
            if let Some(ready) = self.events("ready").pop() {
                break ready;
            }
            if !self.is_running() {
                return false;
            }
            assert!(begun.elapsed() < START, "waited {START:?} for the ready line\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        };
        let addresses = |name: &str| -> Vec<SocketAddr> {
            let text = field(&ready, name).unwrap_or_default();
            text.split([',', ' ']).filter_map(|address| address.parse().ok()).collect()
        };
        self.radius = addresses("radius_udp");
        self.http = addresses("http").first().copied().unwrap_or(self.http);
        true
    }

    /// Waits until it has ended by itself and all that it said is read; gives its exit code.
    pub fn ended(&mut self) -> Option<i32> {
        let status = wait_for("the daemon to end", || self.child.as_mut().unwrap().try_wait().unwrap());
        self.readers.drain(..).for_each(|reader| reader.join().unwrap());
        status.code()
    }

    /// No daemon: what stands in the place of one that is being restarted.
    pub fn nothing() -> Daemon {
        let nowhere = "127.0.0.1:9".parse().unwrap();
        Daemon { child: None, radius: vec![nowhere], http: nowhere, log: Arc::default(), readers: Vec::new() }
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

    /// Lets it write files up to this size; `unlimited` lifts the limit.
    pub fn limit_files(&self, octets: &str) {
        let limit = format!("--fsize={octets}:unlimited");
        let status = Command::new("prlimit").args(["--pid", &self.pid().to_string(), &limit]).status();
        assert!(status.unwrap().success());
    }

    /// SIGTERM, and a clean end that follows.
    pub fn stop(mut self) {
        self.signal("TERM");
        let ended = self.ended();
        assert_eq!(ended, Some(0), "a clean stop:\n{}", self.log());
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
        self.try_get(path).expect("an answer over HTTP")
    }

    fn try_get(&self, path: &str) -> std::io::Result<(u16, String)> {
        let mut stream = TcpStream::connect(self.http)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let status = text.split_whitespace().nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
        Ok((status, body))
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

    /// Waits until a metric has this value: a reply may be here before it is counted.
    pub fn wait_for_metric(&self, series: &str, value: f64) {
        wait_for(&format!("{series} = {value}"), || (self.metric(series) == value).then_some(()));
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
            let text = self.try_get("/metrics").map_or_else(|error| error.to_string(), |(_, body)| body);
            let counted = text.lines().filter(|line| !line.contains("_bucket{") && !line.ends_with(" 0"));
            counted.filter(|line| line.starts_with("sekisho_")).for_each(|line| eprintln!("{line}"));
        }
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn read_lines(stream: impl Read + Send + 'static, log: Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            log.lock().unwrap().push(line);
        }
    })
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
