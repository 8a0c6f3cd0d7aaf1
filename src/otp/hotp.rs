//! HOTP (RFC 4226): from a key and a number to 31 bits.

use super::{Algorithm, Step};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Sha256, Sha512};

/// The dynamic truncation of HMAC(secret, step) (RFC 4226 §5.3): 31 bits, of which a code shows the last digits.
pub fn truncated(secret: &[u8], algorithm: Algorithm, step: Step) -> u32 {
    Generator::new(secret, algorithm).map_or(0, |generator| generator.truncated(step))
}

/// A key made ready once, for many steps: half of an HMAC's work is the key. Wipes itself.
pub(super) enum Generator {
    Sha1(Hmac<Sha1>),
    Sha256(Hmac<Sha256>),
    Sha512(Hmac<Sha512>),
}

impl Generator {
    /// HMAC takes keys of every length, so there always is one.
    pub(super) fn new(secret: &[u8], algorithm: Algorithm) -> Option<Generator> {
        match algorithm {
            Algorithm::Sha1 => Hmac::new_from_slice(secret).ok().map(Generator::Sha1),
            Algorithm::Sha256 => Hmac::new_from_slice(secret).ok().map(Generator::Sha256),
            Algorithm::Sha512 => Hmac::new_from_slice(secret).ok().map(Generator::Sha512),
        }
    }

    /// See [`truncated`].
    pub(super) fn truncated(&self, step: Step) -> u32 {
        match self {
            Generator::Sha1(keyed) => truncate(&tag(keyed, step)),
            Generator::Sha256(keyed) => truncate(&tag(keyed, step)),
            Generator::Sha512(keyed) => truncate(&tag(keyed, step)),
        }
    }
}

fn tag<M: Mac + Clone>(keyed: &M, step: Step) -> hmac::digest::Output<M> {
    keyed.clone().chain_update(step.0.to_be_bytes()).finalize().into_bytes()
}

/// Four octets at the place that the low half of the *last* octet names, without the top bit.
fn truncate(tag: &[u8]) -> u32 {
    let at = tag.last().map_or(0, |last| usize::from(last & 0x0f));
    tag.get(at..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |four| u32::from_be_bytes(*four) & 0x7fff_ffff)
}
