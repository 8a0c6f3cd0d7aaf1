//! Other people's servers as child processes: free ports, signals to a whole family, and an end with the value.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long a server may take until it listens, or ends.
const PATIENCE: Duration = Duration::from_secs(30);

/// A port that was free a moment ago.
///
/// Below the range that the system gives to others, and never the same twice in one program: a server that is stopped
/// and started again must find its port free.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let place = std::process::id().wrapping_mul(4801) + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 30_000 + u16::try_from(place % 2_700).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A server and the processes that it has begun. Killed when dropped.
pub struct Family(Child);

impl Family {
    /// Starts a server.
    pub fn start(command: &mut Command) -> Family {
        let program = command.get_program().to_string_lossy().into_owned();
        Family(command.spawn().unwrap_or_else(|error| panic!("{program} does not start: {error}")))
    }

    /// Waits until somebody listens on this port.
    pub fn wait_for_port(&mut self, port: u16, told: impl Fn() -> String) {
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = self.0.try_wait().unwrap();
            assert!(ended.is_none(), "it ended at once ({ended:?}):\n{}", told());
            assert!(begun.elapsed() < PATIENCE, "it does not listen:\n{}", told());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// It stands still: connections stay open, nothing is answered.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// It goes on as if nothing had been.
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    /// It is gone without warning, with everything that it has begun.
    pub fn kill(&mut self) {
        let all = members(self.0.id());
        self.signal("-KILL");
        self.0.wait().unwrap();
        wait_until_gone(&all);
    }

    fn signal(&self, signal: &str) {
        for pid in members(self.0.id()) {
            // A child may have ended by itself meanwhile.
            let _ = Command::new("kill").args([signal, &pid.to_string()]).output();
        }
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        kill_all(&members(self.0.id()));
        let _ = self.0.wait();
    }
}

/// A process and its children. Itself first: what is stopped begins no more children.
pub fn members(parent: u32) -> Vec<u32> {
    let children = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        (parent_of(pid)? == parent).then_some(pid)
    });
    std::iter::once(parent).chain(children).collect()
}

/// Kills them all.
pub fn kill_all(all: &[u32]) {
    for pid in all {
        // One may have ended by itself meanwhile.
        let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).output();
    }
}

/// Waits for the end of processes that were killed: orphans may still hold files and memory for a moment.
pub fn wait_until_gone(all: &[u32]) {
    let begun = Instant::now();
    while all.iter().any(|pid| is_alive(*pid)) {
        assert!(begun.elapsed() < PATIENCE, "killed, and still there: {all:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn stat(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ").map(|(_, fields)| fields.to_owned())
}

fn parent_of(pid: u32) -> Option<u32> {
    stat(pid)?.split(' ').nth(1)?.parse().ok()
}

fn is_alive(pid: u32) -> bool {
    stat(pid).is_some_and(|fields| !fields.starts_with(['Z', 'X']))
}

/// The output of a tool that must succeed.
pub fn succeeded(tool: &str, output: &Output) -> String {
    assert!(
        output.status.success(),
        "{tool} failed: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
