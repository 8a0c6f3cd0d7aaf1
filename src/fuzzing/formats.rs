//! Files with tokens in them: no octets panic, no key leaves its bounds, and what was read is read again when written.

use super::Input;
use crate::formats::pskc::{self, Opening, Randomness, Shown, Under};
use crate::formats::{Reading, SERIAL_MAX, read_csv, read_otpauth};
use crate::otp::{SECRET_MAX, SECRET_MIN};
use crate::secret::Secret;

/// The first octet chooses the format, the rest is the file.
pub fn formats(octets: &[u8]) {
    let mut input = Input(octets);
    let key = || Secret::new([7; 16]);
    let reading = match input.octet() % 4 {
        0 => pskc::read(input.0, &Opening::Password(Secret::new(*b"1234"))),
        1 => pskc::read(input.0, &Opening::PreShared(key())),
        2 => read_csv(input.0),
        _ => read_otpauth(input.0),
    };
    check(&reading);
    let random = Randomness { salt: [1; 16], mac_key: [2; 20], initial_vector: [3; 16] };
    for token in reading.tokens.iter().take(4) {
        let shown = Shown {
            serial: token.serial.as_str(),
            issuer: None,
            secret: &token.secret,
            algorithm: token.algorithm,
            digits: token.digits,
            moving: token.moving,
            begins: None,
            ends: None,
            user: token.user.as_deref(),
        };
        let under = Under::PreShared { name: "fuzz", key: key() };
        let text = pskc::whole(&shown, under, &random).unwrap_or_default();
        let back = pskc::read(text.as_bytes(), &Opening::PreShared(key())).whole();
        let back = back.map(|tokens| {
            let read = tokens.into_iter().map(|t| (t.serial, t.secret, t.algorithm, t.digits, t.moving));
            read.collect::<Vec<_>>()
        });
        let written =
            (token.serial.clone(), token.secret.duplicate(), token.algorithm, token.digits, token.moving);
        assert_eq!(back, Ok(vec![written]), "what was written reads back");
    }
}

fn check(reading: &Reading) {
    assert!(!reading.tokens.is_empty() || !reading.refused.is_empty(), "nothing was said about the file");
    for token in &reading.tokens {
        assert!((SECRET_MIN..=SECRET_MAX).contains(&token.secret.len()));
        assert!((1..=SERIAL_MAX).contains(&token.serial.as_str().len()));
    }
    for refused in &reading.refused {
        assert!(!refused.to_string().contains(char::is_control), "a refusal stays on one line: {refused}");
    }
}
