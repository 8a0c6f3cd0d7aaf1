//! The published vectors of RFC 4226 and RFC 6238, and the decisions about windows, drift and resynchronisation.

use super::hotp::Generator;
use super::uri::{KeyMoving, KeyUri};
use super::*;
use crate::clock::Wall;
use crate::secret::Secret;
use data_encoding::HEXLOWER;
use serde_json::Value;

fn vectors(name: &str) -> Value {
    let all: Value = serde_json::from_str(include_str!("../../tests/vectors/otp.json")).unwrap();
    all[name].clone()
}

fn each(section: &Value, list: &str) -> Vec<Value> {
    let rows = section[list].as_array().unwrap().clone();
    assert!(!rows.is_empty());
    rows
}

fn hex(value: &Value) -> Vec<u8> {
    HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap()
}

/// A number, or a number written as text because it exceeds 2^53.
fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| value.as_str().unwrap().parse().unwrap())
}

fn algorithm(row: &Value) -> Algorithm {
    Algorithm::parse(row["algorithm"].as_str().unwrap()).unwrap()
}

fn digits(row: &Value) -> Digits {
    Digits::new(number(&row["digits"])).unwrap()
}

fn code(text: &str) -> Code {
    Code::parse(text.as_bytes(), Digits::new(text.len() as u64).unwrap()).unwrap()
}

const SEED: &[u8] = b"12345678901234567890";

fn time(period: u64, back: u64, forward: u64) -> Parameters {
    Parameters {
        algorithm: Algorithm::Sha1,
        digits: Digits::SIX,
        moving: Moving::Time { period: Period::from_seconds(period).unwrap() },
        window: Window::new(back, forward).unwrap(),
    }
}

fn counter(look_ahead: u64) -> Parameters {
    Parameters {
        moving: Moving::Counter { look_ahead: LookAhead::new(look_ahead).unwrap() },
        ..time(30, 0, 0)
    }
}

fn shown(step: u64) -> Code {
    Code::shown(truncated(SEED, Algorithm::Sha1, Step(step)), Digits::SIX)
}

#[test]
fn otp_01_rfc_4226_appendix_d() {
    let section = vectors("hotp");
    let mut last = None;
    for row in each(&section, "vectors") {
        let step = Step(number(&row["counter"]));
        let bits = truncated(&hex(&section["seed_hex"]), Algorithm::Sha1, step);
        assert_eq!(u64::from(bits), number(&row["truncated_dec"]));
        let (six, eight) = (code(row["otp6"].as_str().unwrap()), code(row["otp8"].as_str().unwrap()));
        assert!(six.fits(bits) && eight.fits(bits));
        let ask = |last| examine(SEED, &counter(0), &six, Wall::default(), last, Drift::default());
        assert_eq!(ask(last), Finding::Fresh { step, offset: 0 });
        last = Some(step);
        assert_eq!(ask(last), Finding::Used { step });
    }
}

#[test]
fn otp_02_rfc_6238_appendix_b() {
    let section = vectors("totp");
    let rows = each(&section, "vectors");
    assert_eq!(rows.len(), 18);
    for row in rows {
        let seed = hex(&section["seeds_hex"][row["algorithm"].as_str().unwrap()]);
        let now = Wall::from_seconds(number(&row["unix_time"]));
        let step = step_at(now, Period::HALF_MINUTE);
        assert_eq!(step.0, u64::from_str_radix(row["T_hex"].as_str().unwrap(), 16).unwrap());
        let parameters = Parameters { algorithm: algorithm(&row), digits: digits(&row), ..time(30, 1, 1) };
        let finding =
            examine(&seed, &parameters, &code(row["otp"].as_str().unwrap()), now, None, Drift::default());
        assert_eq!(finding, Finding::Fresh { step, offset: 0 }, "{row}");
    }
}

#[test]
fn otp_03_digits_periods_and_hashes() {
    let seeds = vectors("totp")["seeds_hex"].clone();
    for row in each(&vectors("totp_extra"), "vectors") {
        let seed = hex(&seeds[row["algorithm"].as_str().unwrap()]);
        let period = Period::from_seconds(number(&row["step"])).unwrap();
        let step = step_at(Wall::from_seconds(number(&row["unix_time"])), period);
        let made = Code::shown(truncated(&seed, algorithm(&row), step), digits(&row));
        assert_eq!(made.expose(), row["otp"].as_str().unwrap(), "{row}");
    }
}

#[test]
fn otp_05_counters_beyond_32_bits() {
    for row in each(&vectors("hotp_extra"), "vectors") {
        let bits = truncated(&hex(&row["seed_hex"]), algorithm(&row), Step(number(&row["counter"])));
        assert_eq!(Code::shown(bits, digits(&row)).expose(), row["otp"].as_str().unwrap(), "{row}");
    }
}

#[test]
fn otp_07_and_09_windows() {
    let section = vectors("totp_window");
    let now = Wall::from_seconds(number(&section["unix_time"]));
    for row in each(&section, "cases") {
        let last = row["last"].as_u64().map(Step);
        let drift = Drift::from_steps(row["drift"].as_i64().unwrap_or(0) as i16);
        let parameters = time(30, number(&row["back"]), number(&row["forward"]));
        let finding = examine(SEED, &parameters, &code(row["otp"].as_str().unwrap()), now, last, drift);
        let accepted = match finding {
            Finding::Fresh { step, .. } => Some(step.0),
            Finding::Used { .. } | Finding::None => None,
        };
        assert_eq!(accepted.is_some(), row["accept"].as_bool().unwrap(), "{row}");
        assert_eq!(accepted.or(last.map(|last| last.0)), row["new_last"].as_u64(), "{row}");
    }
}

#[test]
fn otp_11_and_12_counters_look_ahead_and_resynchronise() {
    for row in each(&vectors("hotp_window"), "cases") {
        let last = number(&row["next"]).checked_sub(1).map(Step);
        let otp = code(row["otp"].as_str().unwrap());
        let accepted = match row["otp2"].as_str() {
            Some(second) => {
                resync(SEED, &counter(3), &otp, &code(second), Wall::default(), last).map(|r| r.step)
            }
            None => {
                let parameters = counter(number(&row["look_ahead"]));
                match examine(SEED, &parameters, &otp, Wall::default(), last, Drift::default()) {
                    Finding::Fresh { step, .. } => Some(step),
                    Finding::Used { .. } | Finding::None => None,
                }
            }
        };
        assert_eq!(accepted.is_some(), row["accept"].as_bool().unwrap(), "{row}");
        let next = accepted.or(last).map_or(0, |last| last.0 + 1);
        assert_eq!(Some(next), row["new_next"].as_u64(), "{row}");
    }
}

#[test]
fn otp_13_parameters_have_bounds() {
    for (digits, good) in [(5, false), (6, true), (7, true), (8, true), (9, false), (262, false)] {
        assert_eq!(Digits::new(digits).is_ok(), good, "{digits}");
    }
    for (seconds, good) in [(0, false), (14, false), (15, true), (120, true), (121, false), (286, false)] {
        assert_eq!(Period::from_seconds(seconds).is_ok(), good, "{seconds}");
    }
    assert!(Period::new(std::time::Duration::from_millis(30_500)).is_err());
    for (octets, good) in [(0, false), (15, false), (16, true), (128, true), (129, false)] {
        assert_eq!(check_secret(&vec![7; octets]).is_ok(), good, "{octets}");
    }
    for (name, good) in
        [("SHA1", true), ("sha-256", true), ("Sha512", true), ("md5", false), ("", false), ("sha384", false)]
    {
        assert_eq!(Algorithm::parse(name).is_ok(), good, "{name}");
    }
    assert!(Window::new(10, 10).is_ok() && Window::new(11, 0).is_err() && Window::new(0, 11).is_err());
    assert!(LookAhead::new(10).is_ok() && LookAhead::new(11).is_err());
}

#[test]
fn otp_24_a_clock_set_back_opens_no_used_step() {
    let parameters = time(30, 1, 1);
    let ask = |step: u64, now: u64, last| {
        examine(
            SEED,
            &parameters,
            &shown(step),
            Wall::from_seconds(now * 30),
            Some(Step(last)),
            Drift::default(),
        )
    };
    assert_eq!(ask(96, 96, 100), Finding::Used { step: Step(96) });
    assert_eq!(ask(101, 100, 100), Finding::Fresh { step: Step(101), offset: 1 });
}

#[test]
fn the_epoch_and_the_end_of_counters_hold() {
    let at = |now, step| {
        examine(SEED, &time(30, 10, 0), &shown(step), Wall::from_seconds(now), None, Drift::default())
    };
    assert_eq!(at(0, 0), Finding::Fresh { step: Step(0), offset: 0 });
    assert_eq!(at(u64::MAX, u64::MAX / 30), Finding::Fresh { step: Step(u64::MAX / 30), offset: 0 });
    let end = |last: u64, step| {
        examine(SEED, &counter(10), &shown(step), Wall::default(), Some(Step(last)), Drift::default())
    };
    assert_eq!(end(u64::MAX - 1, u64::MAX), Finding::Fresh { step: Step(u64::MAX), offset: 0 });
    assert_eq!(end(u64::MAX, u64::MAX), Finding::None);
}

/// Two steps of one window that show the same code: the later is taken, and after that the code is dead.
#[test]
fn s_02_a_code_that_two_steps_share_counts_once() {
    let parameters = time(30, 10, 10);
    let generator = Generator::new(SEED, Algorithm::Sha1).unwrap();
    let codes: Vec<u32> = (0..200_000).map(|step| generator.truncated(Step(step)) % 1_000_000).collect();
    let (early, late) = (0..codes.len())
        .find_map(|early| {
            (early + 1..(early + 20).min(codes.len()))
                .find(|&late| codes[late] == codes[early])
                .map(|late| (early as u64, late as u64))
        })
        .unwrap();
    let now = Wall::from_seconds((early + late) / 2 * 30);
    let ask = |last| examine(SEED, &parameters, &shown(early), now, last, Drift::default());
    assert!(matches!(ask(None), Finding::Fresh { step, .. } if step == Step(late)));
    assert_eq!(ask(Some(Step(late))), Finding::Used { step: Step(late) });
    assert_eq!(ask(Some(Step(early))), Finding::Used { step: Step(early) });
}

#[test]
fn s_05_another_time_within_a_day_is_told() {
    let (parameters, here) = (time(60, 1, 1), 28_333_333);
    let now = Wall::from_seconds(here * 60 + 17);
    for (steps, seconds) in
        [(-7, Some(-420)), (7, Some(420)), (-1440, Some(-86_400)), (1440, Some(86_400)), (1441, None)]
    {
        let code = shown(here.saturating_add_signed(steps));
        assert_eq!(other_time(SEED, &parameters, &code, now), seconds, "{steps}");
    }
    assert_eq!(other_time(SEED, &counter(3), &shown(1), now), None);
    assert_eq!(other_time(SEED, &parameters, &code("12345678"), now), None);
}

#[test]
fn s_05_and_otp_12_two_codes_in_a_row_find_the_clock() {
    let (parameters, here) = (time(30, 1, 1), 56_666_667);
    let now = Wall::from_seconds(here * 30);
    let ask =
        |first: u64, second: u64, last| resync(SEED, &parameters, &shown(first), &shown(second), now, last);
    let found = ask(here - 15, here - 14, None).unwrap();
    assert_eq!((found.step, found.drift), (Step(here - 14), Drift::from_steps(-14)));
    assert_eq!(
        examine(SEED, &parameters, &shown(here - 13), now, Some(found.step), found.drift),
        Finding::Fresh { step: Step(here - 13), offset: -13 }
    );
    assert_eq!(ask(here - 14, here - 15, None), None, "swapped");
    assert_eq!(ask(here - 15, here - 13, None), None, "one left out");
    assert_eq!(ask(here - 15, here - 15, None), None, "one twice");
    assert_eq!(ask(here - 15, here - 14, Some(Step(here - 15))), None, "the first is used");
    assert_eq!(ask(here - 2881, here - 2880, None), None, "more than a day");
}

#[test]
fn otp_33_key_uris() {
    for row in each(&vectors("otpauth"), "vectors") {
        let parsed = KeyUri::parse(row["uri"].as_str().unwrap());
        assert_eq!(parsed.is_ok(), row["valid"].as_bool().unwrap(), "{row}");
        let Ok(uri) = parsed else { continue };
        assert_eq!(uri.issuer.as_deref(), row["issuer"].as_str());
        assert_eq!(uri.account, row["account"].as_str().unwrap());
        assert_eq!(uri.secret, Secret::new(hex(&row["secret_hex"])));
        assert_eq!((uri.algorithm, uri.digits), (algorithm(&row), digits(&row)));
        match uri.moving {
            KeyMoving::Time { period } => assert_eq!(Some(period.seconds()), row["period"].as_u64()),
            KeyMoving::Counter { next } => assert_eq!(Some(next), row["counter"].as_u64()),
        }
    }
}
