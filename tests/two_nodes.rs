//! Two nodes before one directory and without an engine: what a counter stops on one is stopped on the other.

use crate::harness::branch::{Branch, member};
use crate::harness::daemon::{Daemon, write};
use crate::harness::world::hex;
use crate::harness::{Gateway, SECRET, hotp};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const SERVICE: &str = "shinkin-personal";

/// How long the other node may go on after the command has ended. It takes milliseconds; the rest is for a busy machine.
const HEARD_WITHIN: Duration = Duration::from_secs(1);

/// Another node of the same bank: the same configuration, a state of its own.
fn another(branch: &Branch) -> (Daemon, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    for file in ["sekisho.toml", "gateway.secret", "ldap.password", "seal.key"] {
        let text = std::fs::read_to_string(branch.world.directory.path().join(file)).unwrap();
        write(directory.path(), file, &text);
    }
    let environment: Vec<(&str, &str)> =
        branch.world.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let daemon = Daemon::start_with(&directory.path().join("sekisho.toml"), &environment);
    (daemon, directory)
}

#[test]
fn s_23_what_is_suspended_on_one_node_is_refused_on_the_other_at_once() {
    let branch = Branch::open(vec![member("hanako", "P-1", "general", &[])]);
    branch.enable("P-1", SERVICE);
    let key = hex(&[5; 20]);
    let keys = format!("serial,secret-hex,type,user\nH-1,{key},hotp,hanako\n");
    let keys = write(branch.world.directory.path(), "keys.csv", &keys);
    let _ = branch.done(&["token", "import", keys.to_str().unwrap(), "--format", "csv", "--bind"], &[]);

    let (b, files) = another(&branch);
    let gateway = Gateway::from(SocketAddr::new("127.0.0.4".parse().unwrap(), 0), b.radius[0], SECRET);
    // The next counter that nothing has used up; a code that is refused is not.
    let mut counter = 0;
    let mut accepted = || {
        let is_accept = gateway.operation("hanako", &hotp(&key, 6, counter), "transfer").is_accept();
        counter += u64::from(is_accept);
        is_accept
    };
    let on_b = |verb: &str| {
        let config = files.path().join("sekisho.toml");
        let arguments = ["token", verb, "H-1", "--config", config.to_str().unwrap()];
        assert!(crate::harness::daemon::run(&arguments, "").status.success(), "{verb} on B");
    };
    let mut late = Vec::new();
    for round in 0..10 {
        assert!(accepted(), "in service, round {round}");
        let _ = branch.done(&["token", "suspend", "H-1"], &[]);
        let ended = Instant::now();
        while accepted() {
            late.push(ended.elapsed());
            assert!(ended.elapsed() < HEARD_WITHIN, "still accepted {:?} after the command", ended.elapsed());
        }
        assert!(!accepted() && !accepted(), "and from then on");
        on_b("resume");
    }
    println!("accepted after the command had ended: {late:?}");
}
