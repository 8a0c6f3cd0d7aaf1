//! Lists of otpauth URIs, one a line, each with its serial number before it or without.

use super::{Described, Gathering, Onward, Place, Problem, Reading, serial, text, user};
use crate::identity::TokenSerial;
use crate::otp::uri::KeyUri;
use crate::secret::Secret;
use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};

/// Reads a list: `otpauth://…` or `SERIAL otpauth://…`; empty lines and lines that begin with `#` are passed over.
///
/// A URI has no serial number. One without gets it from its key, so that the same list read twice names the same tokens
/// and no token is added twice. The account is taken for the user's name.
pub fn read(octets: &[u8]) -> Reading {
    let text = match text(octets) {
        Ok(text) => text,
        Err(why) => return Reading::refused(why),
    };
    let mut gathering = Gathering::default();
    for (line, number) in text.lines().zip(1..) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let place = Place::Line(number);
        if gathering.add(place.clone(), record(line, place)) == Onward::Stop {
            break;
        }
    }
    gathering.finish()
}

fn record(line: &str, place: Place) -> Result<Described, Problem> {
    // A URI may hold a blank where somebody forgot to encode it: only what stands before the scheme is a serial number.
    let (before, uri) = match line.split_once(char::is_whitespace) {
        Some((first, rest)) if !first.contains("://") => (Some(first), rest.trim_start()),
        _ => (None, line),
    };
    let uri = KeyUri::parse(uri)?;
    Ok(Described {
        place,
        serial: before.map_or_else(|| Ok(serial_of(&uri.secret)), serial)?,
        secret: uri.secret,
        algorithm: uri.algorithm,
        digits: uri.digits,
        moving: uri.moving,
        begins: None,
        ends: None,
        user: user(&uri.account)?,
    })
}

/// Fifty bits of a hash: enough to tell tokens apart, and nothing of a key of 128 bits or more.
fn serial_of(secret: &Secret) -> TokenSerial {
    let digest =
        Sha256::new().chain_update(b"sekisho otpauth serial\0").chain_update(secret.expose()).finalize();
    let mut text = String::from("OA");
    BASE32_NOPAD.encode_append(digest.as_slice(), &mut text);
    text.truncate(12);
    TokenSerial::new(&text)
}
