//! How long each cause of a reject takes as the gateway sees it (SEC-03): `cargo bench --bench causes`.
//!
//! The release binary with a real slapd, the default reject delay of one second, every cause in random order over many
//! sockets. Printed are the times beyond the delay, and for each cause the largest distance between its distribution
//! and that of all others together (Kolmogorov–Smirnov) with the bound that chance exceeds once in a hundred.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "what goes wrong here has to stop the run, and it is about real time"
)]

#[path = "../tests/harness/mod.rs"]
#[expect(unused_imports, reason = "the stories use more of it")]
mod harness;

use harness::{World, WorldBuilder, person};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Samples of each cause.
const SAMPLES: usize = 1000;

/// Sockets that ask at once.
const SOCKETS: usize = 200;

/// The reject delay that the daemon adds.
const DELAY: Duration = Duration::from_secs(1);

/// How often one user may fail without being locked.
const EACH: usize = 9;

struct Attempt {
    cause: &'static str,
    user: String,
    field: String,
}

fn main() {
    let users = SAMPLES.div_ceil(EACH);
    let mut people = vec![person("bare", &[]), person("locked", &[(6, 0)]), person("used", &[(6, 0)])];
    for at in 0..users {
        people.push(person(&format!("typo{at}"), &[(6, 0)]));
        people.push(person(&format!("half{at}"), &[(6, 0)]));
    }
    let service = "[service.test]\ndigits = 6\nperiod = \"30s\"\nreject-delay = \"1s\"\nmax-failures = 10\n";
    let radius = "in-flight-max = 4096\n".into();
    let client = "in-flight-max = 4096\n".into();
    let world =
        WorldBuilder { people, service: service.into(), radius, client, ..WorldBuilder::default() }.open();

    assert!(world.gateway.login("used", &world.token("used", 0).field(0)).is_accept());
    for code in world.token("locked", 0).wrong_codes(10) {
        assert!(world.gateway.login("locked", &format!("x{code}")).is_reject());
    }
    let mut attempts = attempts(&world, users);
    shuffle(&mut attempts);
    let attempts = Mutex::new(attempts);
    let times: Mutex<Vec<(&'static str, Duration)>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..SOCKETS {
            scope.spawn(|| {
                let gateway = world.second_gateway();
                loop {
                    let Some(attempt) = attempts.lock().unwrap().pop() else { return };
                    let request = gateway.request(&attempt.user, attempt.field.as_bytes());
                    let begun = Instant::now();
                    let reply = gateway.ask(&request);
                    let took = begun.elapsed();
                    assert!(reply.is_reject(), "{}: {}", attempt.cause, attempt.user);
                    times.lock().unwrap().push((attempt.cause, took));
                }
            });
        }
    });
    for reason in ["user-unknown", "no-token", "code-wrong", "code-used", "password-wrong", "locked"] {
        println!("{reason:<16} {} decided so", world.daemon.reason(reason));
    }
    report(&times.into_inner().unwrap());
}

fn attempts(world: &World, users: usize) -> Vec<Attempt> {
    let mut attempts = Vec::new();
    let mut add = |cause, user: String, field: String| attempts.push(Attempt { cause, user, field });
    let used = world.token("used", 0).field(0);
    for at in 0..SAMPLES {
        add("unknown user", format!("nobody{at}"), format!("pw{at:06}"));
        add("no token", "bare".into(), format!("pw{at:06}"));
        add("used code", "used".into(), used.clone());
        add("locked user", "locked".into(), format!("pw{at:06}"));
    }
    for at in 0..users {
        let (typo, half) = (format!("typo{at}"), format!("half{at}"));
        for code in world.token(&typo, 0).wrong_codes(EACH) {
            add("wrong code", typo.clone(), format!("{}{code}", harness::PASSWORD));
        }
        for counter in 0..EACH {
            let code = world.token(&half, 0).code(30 * i64::try_from(counter).unwrap());
            add("wrong password", half.clone(), format!("not it{counter}{code}"));
        }
    }
    attempts
}

fn shuffle(attempts: &mut [Attempt]) {
    // Codes of one counter token have to come in order, or the earlier ones are used up by the later: keep the order
    // within a user by sorting the places that a user was given.
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    for at in (1..attempts.len()).rev() {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        attempts.swap(at, usize::try_from(seed % (at as u64 + 1)).unwrap());
    }
    let mut places: std::collections::HashMap<String, Vec<usize>> = std::collections::HashMap::new();
    for (at, attempt) in attempts.iter().enumerate().filter(|(_, attempt)| attempt.user.starts_with("half")) {
        places.entry(attempt.user.clone()).or_default().push(at);
    }
    for places in places.values() {
        // Taken from the end: the first counter last.
        let mut fields: Vec<String> = places.iter().map(|&at| attempts[at].field.clone()).collect();
        fields.sort_by(|a, b| b.cmp(a));
        for (&at, field) in places.iter().zip(fields) {
            attempts[at].field = field;
        }
    }
}

fn report(times: &[(&'static str, Duration)]) {
    let mut causes: Vec<&str> = times.iter().map(|(cause, _)| *cause).collect();
    causes.sort_unstable();
    causes.dedup();
    println!("milliseconds beyond the delay of {} s", DELAY.as_secs());
    println!(
        "{:<16} {:>5} {:>8} {:>8} {:>8} {:>8} {:>8}   distance (bound)",
        "cause", "n", "min", "p10", "p50", "p90", "p99"
    );
    for cause in causes {
        let of = |own: bool| {
            let mut chosen: Vec<f64> = times
                .iter()
                .filter(|(other, _)| (*other == cause) == own)
                .map(|(_, took)| took.saturating_sub(DELAY).as_secs_f64() * 1000.0)
                .collect();
            chosen.sort_by(f64::total_cmp);
            chosen
        };
        let (own, others) = (of(true), of(false));
        let at = |part: f64| own[((own.len() - 1) as f64 * part) as usize];
        let (n, m) = (own.len() as f64, others.len() as f64);
        let bound = 1.63 * ((n + m) / (n * m)).sqrt();
        println!(
            "{cause:<16} {:>5} {:>8.2} {:>8.2} {:>8.2} {:>8.2} {:>8.2}   {:.3} ({bound:.3})",
            own.len(),
            own[0],
            at(0.1),
            at(0.5),
            at(0.9),
            at(0.99),
            distance(&own, &others),
        );
    }
}

/// The largest distance between two empirical distributions of sorted samples.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    let below = |samples: &[f64], value: f64| {
        samples.partition_point(|sample| *sample <= value) as f64 / samples.len() as f64
    };
    a.iter().chain(b).map(|&value| (below(a, value) - below(b, value)).abs()).fold(0.0, f64::max)
}
