//! What every story needs: a daemon, a directory, a gateway and codes, all of them real programs.
//!
//! Nothing here uses the crate under test: packets are built and checked by hand, codes come from `oathtool`, the
//! directory is slapd, so that a mistake of ours cannot agree with itself.

#![allow(dead_code, reason = "each story uses its part of the harness")]

pub mod branch;
pub mod clock;
pub mod daemon;
pub mod dice;
pub mod gateway;
pub mod https;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod redis;
pub mod slapd;
pub mod smtp;
pub mod volume;
pub mod world;

pub use clock::Clock;
pub use daemon::Daemon;
pub use dice::Dice;
pub use gateway::{Gateway, Reply, Request, code};
pub use https::Https;
pub use postgres::Postgres;
pub use proxy::{Manners, Proxy};
pub use redis::Redis;
pub use smtp::{MailServer, Protection};
pub use volume::Volume;
pub use world::{
    PASSWORD, Person, SECRET, Seed, World, WorldBuilder, holder, person, person_ldif, token_ldif,
};

use std::process::Command;
use std::time::{Duration, Instant};

/// Waits until `condition` gives a value; fails with `what` after half a minute: a busy machine takes its time.
pub fn wait_for<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    wait_or(what, String::new, condition)
}

/// The same, with something to say when it fails.
pub fn wait_or<T>(what: &str, told: impl FnOnce() -> String, mut condition: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(30) {
        if let Some(value) = condition() {
            return value;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("waited 30 s for: {what}\n{}", told());
}

/// The code that a token shows: seconds away from now, as `oathtool` computes it.
pub fn totp(secret_hex: &str, digits: u32, period: u32, offset_seconds: i64) -> String {
    let at = unix_now().checked_add_signed(offset_seconds).unwrap();
    totp_at(secret_hex, "sha1", digits, period, at)
}

/// The code of a token at a given time.
pub fn totp_at(secret_hex: &str, algorithm: &str, digits: u32, period: u32, at: u64) -> String {
    oathtool(&[
        &format!("--totp={algorithm}"),
        &format!("--digits={digits}"),
        &format!("--time-step-size={period}s"),
        &format!("--now=@{at}"),
        secret_hex,
    ])
}

/// The code of a counter token.
pub fn hotp(secret_hex: &str, digits: u32, counter: u64) -> String {
    oathtool(&["--hotp", &format!("--digits={digits}"), &format!("--counter={counter}"), secret_hex])
}

fn oathtool(arguments: &[&str]) -> String {
    let output = Command::new("oathtool")
        .args(arguments)
        .output()
        .expect("oathtool is needed: apt-get install oathtool");
    assert!(output.status.success(), "oathtool: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Seconds since 1970.
pub fn unix_now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// Waits for the beginning of a step, so that what follows happens within one step.
pub fn at_step_begin(period: u64, needed: u64) {
    wait_for_long("a step with enough time left", || (unix_now() % period <= period - needed).then_some(()));
}

/// [`wait_for`] for what takes longer by its nature, at most 70 s.
pub fn wait_for_long(what: &str, mut condition: impl FnMut() -> Option<()>) {
    let begun = Instant::now();
    while condition().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(70), "waited 70 s for: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
