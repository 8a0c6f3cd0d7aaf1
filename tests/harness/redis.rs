//! A real redis-server, or another that speaks as it does, on a loopback port with a folder of its own, for as long as the
//! value lives.

use super::process::{Family, free_port, succeeded};
use super::wait_for;
use std::process::{Command, Output, Stdio};

/// Debian's package `redis-server`, unless `SEKISHO_REDIS_SERVER` names another: `/usr/bin/valkey-server`.
fn server() -> String {
    std::env::var("SEKISHO_REDIS_SERVER").unwrap_or_else(|_| "/usr/bin/redis-server".to_owned())
}

/// A running Redis; every write is on its disk before it is answered (`appendfsync always`).
pub struct Redis {
    directory: tempfile::TempDir,
    port: u16,
    server: Option<Family>,
}

impl Redis {
    /// Starts an empty one.
    pub fn start() -> Redis {
        let mut redis = Redis { directory: tempfile::tempdir().unwrap(), port: free_port(), server: None };
        redis.run();
        redis
    }

    /// Starts one that follows the one at this port, and waits until it has everything.
    pub fn follow(port: u16) -> Redis {
        let redis = Redis::start();
        redis.command(&["REPLICAOF", "127.0.0.1", &port.to_string()]);
        redis.wait_for_link();
        redis
    }

    /// Waits until it has caught up with the one that it follows.
    pub fn wait_for_link(&self) {
        wait_for("the replica to be in step", || self.is_in_step().then_some(()));
    }

    /// It follows nobody any more.
    pub fn promote(&self) {
        self.command(&["REPLICAOF", "NO", "ONE"]);
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Speaks TLS as well, with these as PEM, on the port that this gives.
    pub fn protect(&self, authority: &str, certificate: &str, key: &str) -> u16 {
        let file = |name: &str, text: &str| {
            let path = self.directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let certificate = file("server.pem", certificate);
        let key = file("server.key", key);
        let authority = file("ca.pem", authority);
        let (port, files) = (free_port(), ["tls-cert-file", &certificate, "tls-key-file", &key]);
        let rest = ["tls-ca-cert-file", &authority, "tls-auth-clients", "no", "tls-port", &port.to_string()];
        let said = self.command(&[&["CONFIG", "SET"], files.as_slice(), rest.as_slice()].concat());
        assert_eq!(said.trim(), "OK");
        port
    }

    /// Wants a password; nothing is asked with [`Redis::command`] after that.
    pub fn want_password(&self, password: &str) {
        assert_eq!(self.command(&["CONFIG", "SET", "requirepass", password]).trim(), "OK");
    }

    /// Starts it on what its folder holds.
    pub fn run(&mut self) {
        let directory = self.directory.path();
        let log = directory.join("log");
        let mut command = Command::new(server());
        command
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--daemonize", "no"])
            .args(["--appendonly", "yes", "--appendfsync", "always", "--save", ""])
            .args(["--repl-diskless-sync-delay", "0", "--repl-timeout", "5"])
            .arg("--dir")
            .arg(directory)
            .arg("--logfile")
            .arg(&log)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let mut server = Family::start(&mut command);
        server.wait_for_port(self.port, || std::fs::read_to_string(&log).unwrap_or_default());
        self.server = Some(server);
        // It listens before it has read its file.
        wait_for("redis to have read its file", || (self.command(&["PING"]).trim() == "PONG").then_some(()));
    }

    /// Ends it without warning.
    pub fn kill(&mut self) {
        self.server.take().expect("a running redis").kill();
    }

    /// Forgets everything; it must have been killed.
    pub fn lose_data(&self) {
        assert!(self.server.is_none(), "losing the data needs a killed redis");
        std::fs::remove_dir_all(self.directory.path().join("appendonlydir")).unwrap();
    }

    /// It stands still.
    pub fn freeze(&self) {
        self.server.as_ref().expect("a running redis").freeze();
    }

    /// It goes on.
    pub fn thaw(&self) {
        self.server.as_ref().expect("a running redis").thaw();
    }

    /// What `redis-cli` gets for this command.
    pub fn command(&self, words: &[&str]) -> String {
        succeeded("redis-cli", &self.asked(words))
    }

    /// Whether it has everything that its master has; not while a sentinel breaks all connections to it.
    pub fn is_in_step(&self) -> bool {
        let said = self.asked(&["INFO", "replication"]).stdout;
        String::from_utf8_lossy(&said).contains("master_link_status:up")
    }

    fn asked(&self, words: &[&str]) -> Output {
        Command::new("redis-cli").args(["-p", &self.port.to_string()]).args(words).output().unwrap()
    }
}

/// A sentinel that watches one set, alone in its judgement.
pub struct Sentinel {
    port: u16,
    _server: Family,
    _directory: tempfile::TempDir,
}

impl Sentinel {
    /// The name of the set.
    pub const SET: &str = "sekisho";

    /// Watches this master, and waits until it knows its replica.
    pub fn watch(master: &Redis) -> Sentinel {
        let (directory, port) = (tempfile::tempdir().unwrap(), free_port());
        let (set, file, log) =
            (Sentinel::SET, directory.path().join("sentinel.conf"), directory.path().join("log"));
        let text = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nlogfile {}\n\
             sentinel monitor {set} 127.0.0.1 {} 1\nsentinel down-after-milliseconds {set} 500\n\
             sentinel failover-timeout {set} 2000\n",
            directory.path().display(),
            log.display(),
            master.port()
        );
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(server());
        command.arg(&file).arg("--sentinel").stdin(Stdio::null()).stdout(Stdio::null());
        let mut server = Family::start(&mut command);
        server.wait_for_port(port, || std::fs::read_to_string(&log).unwrap_or_default());
        let sentinel = Sentinel { port, _server: server, _directory: directory };
        wait_for("the sentinel to know the replica", || {
            sentinel.command(&["SENTINEL", "REPLICAS", set]).contains("127.0.0.1").then_some(())
        });
        sentinel
    }

    pub fn url(&self) -> String {
        format!("redis+sentinel://127.0.0.1:{}/{}", self.port, Sentinel::SET)
    }

    /// Waits until it has made this one the master.
    pub fn wait_for_master(&self, redis: &Redis) {
        let named = || self.command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", Sentinel::SET]);
        wait_for("the sentinel to name another master", || {
            named().contains(&redis.port().to_string()).then_some(())
        });
    }

    fn command(&self, words: &[&str]) -> String {
        let output =
            Command::new("redis-cli").args(["-p", &self.port.to_string()]).args(words).output().unwrap();
        succeeded("redis-cli", &output)
    }
}
