//! A real PostgreSQL on a loopback port with a folder of its own, for as long as the value lives.

use super::process::{Family, free_port, succeeded};
use super::wait_for;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The user that nodes connect as, without a password; and the database.
pub const USER: &str = "sekisho";
/// See [`USER`].
pub const DATABASE: &str = "sekisho";

/// A running PostgreSQL; a commit is on its disk, and on its standby's if it has one, before it is answered.
pub struct Postgres {
    directory: tempfile::TempDir,
    port: u16,
    server: Option<Family>,
}

impl Postgres {
    /// Starts one with an empty database.
    pub fn start() -> Postgres {
        let postgres = Postgres::folder();
        let text = postgres.data().display().to_string();
        postgres.tool("initdb", &["-D", &text, "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]);
        let mut postgres = postgres;
        postgres.run();
        postgres.query_in("postgres", &format!("CREATE DATABASE {DATABASE}"));
        postgres
    }

    /// Starts a standby of this one; from now on nothing is committed that the standby does not have.
    pub fn standby(&self) -> Postgres {
        let mut standby = Postgres::folder();
        let (data, port) = (standby.data().display().to_string(), self.port.to_string());
        let from = ["-D", &data, "-h", "127.0.0.1", "-p", &port, "-U", USER];
        standby
            .tool("pg_basebackup", &[from.as_slice(), &["-R", "-X", "stream", "-c", "fast", "-N"]].concat());
        standby.run();
        self.query("ALTER SYSTEM SET synchronous_standby_names = '*'");
        self.query("SELECT pg_reload_conf()");
        wait_for("the standby to be synchronous", || {
            (self.query("SELECT sync_state FROM pg_stat_replication").trim() == "sync").then_some(())
        });
        standby
    }

    /// Makes a standby the server that is written to.
    pub fn promote(&self) {
        self.query("SELECT pg_promote()");
        wait_for("the standby to be promoted", || {
            (self.query("SELECT pg_is_in_recovery()").trim() == "f").then_some(())
        });
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Speaks TLS as well, with these as PEM, on the same port.
    pub fn protect(&self, certificate: &str, key: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        for (name, text) in [("server.crt", certificate), ("server.key", key)] {
            let path = self.data().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            if let Some((user, group)) = somebody() {
                std::os::unix::fs::chown(&path, Some(user), Some(group)).unwrap();
            }
        }
        self.query("ALTER SYSTEM SET ssl = on");
        self.query("SELECT pg_reload_conf()");
        wait_for("postgres to speak TLS", || (self.query("SHOW ssl").trim() == "on").then_some(()));
    }

    /// Wants a password, by SCRAM; nothing is asked with [`Postgres::query`] after that.
    pub fn want_password(&self, password: &str) {
        self.query(&format!("ALTER ROLE {USER} PASSWORD '{password}'"));
        let who = "host all all 127.0.0.1/32 scram-sha-256\nhost all all ::1/128 scram-sha-256\n";
        std::fs::write(self.data().join("pg_hba.conf"), who).unwrap();
        self.query("SELECT pg_reload_conf()");
        wait_for("postgres to want a password", || {
            self.try_query(DATABASE, "SELECT 1").is_none().then_some(())
        });
    }

    /// Starts it on what its folder holds.
    pub fn run(&mut self) {
        let mut command = self.as_somebody(&tool("postgres"));
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log()).unwrap();
        command
            .arg("-D")
            .arg(self.data())
            .args(["-p", &self.port.to_string(), "-h", "127.0.0.1", "-k", ""])
            .args(["-c", "max_connections=40", "-c", "shared_buffers=16MB", "-c", "wal_level=replica"])
            // A standby that has lost its server looks for it again at once, or nothing is committed for five seconds.
            .args(["-c", "wal_retrieve_retry_interval=100ms"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let mut server = Family::start(&mut command);
        let log = self.log();
        server.wait_for_port(self.port, || std::fs::read_to_string(&log).unwrap_or_default());
        self.server = Some(server);
        // It listens before it has read its log.
        wait_for("postgres to have recovered", || self.try_query("postgres", "SELECT 1"));
    }

    /// Ends it without warning, with all its processes.
    pub fn kill(&mut self) {
        self.server.take().expect("a running postgres").kill();
    }

    /// Forgets everything that nodes have written.
    pub fn lose_data(&self) {
        self.query_in("postgres", &format!("DROP DATABASE {DATABASE} WITH (FORCE)"));
        self.query_in("postgres", &format!("CREATE DATABASE {DATABASE}"));
    }

    /// It stands still, with all its processes.
    pub fn freeze(&self) {
        self.server.as_ref().expect("a running postgres").freeze();
    }

    /// It goes on.
    pub fn thaw(&self) {
        self.server.as_ref().expect("a running postgres").thaw();
    }

    /// What one statement gives, without headings.
    pub fn query(&self, sql: &str) -> String {
        self.query_in(DATABASE, sql)
    }

    fn query_in(&self, database: &str, sql: &str) -> String {
        succeeded("psql", &self.psql(database, sql).output().unwrap())
    }

    fn try_query(&self, database: &str, sql: &str) -> Option<()> {
        self.psql(database, sql).output().unwrap().status.success().then_some(())
    }

    fn psql(&self, database: &str, sql: &str) -> Command {
        let mut command = Command::new(tool("psql"));
        let to = ["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", USER, "-d", database];
        command.args(["-X", "-A", "-t", "-q", "-w", "-v", "ON_ERROR_STOP=1"]).args(to).args(["-c", sql]);
        command
    }

    fn folder() -> Postgres {
        let directory = tempfile::tempdir().unwrap();
        if let Some((user, group)) = somebody() {
            std::os::unix::fs::chown(directory.path(), Some(user), Some(group)).unwrap();
        }
        Postgres { directory, port: free_port(), server: None }
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    fn tool(&self, name: &str, arguments: &[&str]) {
        let output = self.as_somebody(&tool(name)).args(arguments).output().unwrap();
        succeeded(name, &output);
    }

    /// The servers refuse to run as root.
    fn as_somebody(&self, program: &Path) -> Command {
        let mut command = match somebody() {
            None => Command::new(program),
            Some((user, group)) => {
                let mut command = Command::new("setpriv");
                command.args([
                    format!("--reuid={user}"),
                    format!("--regid={group}"),
                    "--clear-groups".into(),
                ]);
                command.arg(program);
                command
            }
        };
        command.current_dir(self.directory.path()).env("LC_ALL", "C");
        command
    }
}

/// Who runs it instead of root: `postgres` or else `nobody`; nobody else if this is not root.
fn somebody() -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt as _;
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let of = |name: &str| {
        let fields: Vec<&str> = users
            .lines()
            .map(|line| line.split(':'))
            .find_map(|mut fields| (fields.next()? == name).then(|| fields.collect()))?;
        Some((fields.get(1)?.parse().ok()?, fields.get(2)?.parse().ok()?))
    };
    of("postgres").or_else(|| of("nobody"))
}

/// Debian's package `postgresql` keeps its programs by version.
fn tool(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .unwrap_or_else(|_| panic!("postgres is needed: apt-get install postgresql"));
    let mut found: Vec<PathBuf> = versions
        .map(|version| version.unwrap().path().join("bin").join(name))
        .filter(|path| path.exists())
        .collect();
    found.sort();
    found.pop().unwrap_or_else(|| panic!("{name} is needed: apt-get install postgresql"))
}
