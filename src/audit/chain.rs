//! What makes lines a chain: sequence, and the hash of the line before.

use super::facts::put_line;
use super::line::put_decimal;
use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

/// The end of a chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tail {
    /// SHA-256 of the last line without its newline; zeros before the first.
    pub hash: [u8; 32],
    /// The sequence of the last line; 0 before the first.
    pub sequence: u64,
}

impl Tail {
    /// The end of a chain that ends with this line.
    pub fn of(line: &[u8], sequence: u64) -> Tail {
        Tail { hash: Sha256::digest(line).into(), sequence }
    }

    /// Puts the line of some evidence behind the chain, and returns its new end.
    pub fn append(&self, out: &mut Vec<u8>, sequence: u64, evidence: &[u8]) -> Tail {
        let start = out.len();
        put_line(out, evidence);
        let mut hex = [0u8; 64];
        HEXLOWER.encode_mut(&self.hash, &mut hex);
        out.extend_from_slice(b",\"seq\":");
        put_decimal(out, sequence);
        out.extend_from_slice(b",\"prev\":\"");
        out.extend_from_slice(&hex);
        out.extend_from_slice(b"\"}");
        let tail = Tail::of(out.get(start..).unwrap_or_default(), sequence);
        out.push(b'\n');
        tail
    }
}

/// A line's place in the chain, as it says itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place<'a> {
    /// Everything before the place.
    pub evidence: &'a [u8],
    /// Its sequence.
    pub sequence: u64,
    /// The hash of the line before.
    pub before: [u8; 32],
}

impl<'a> Place<'a> {
    /// Reads the end of a line; `None` if it is not a whole line of an audit file.
    pub fn of(line: &'a [u8]) -> Option<Place<'a>> {
        let rest = line.strip_suffix(b"\"}")?;
        let (rest, hex) = rest.split_at_checked(rest.len().checked_sub(64)?)?;
        let before = HEXLOWER.decode(hex).ok()?.try_into().ok()?;
        let rest = rest.strip_suffix(b",\"prev\":\"")?;
        let digits = rest.iter().rev().take_while(|octet| octet.is_ascii_digit()).count();
        let (rest, digits) = rest.split_at_checked(rest.len().checked_sub(digits)?)?;
        let sequence = std::str::from_utf8(digits).ok()?.parse().ok()?;
        let evidence = rest.strip_suffix(b",\"seq\":")?;
        evidence.starts_with(b"{").then_some(Place { evidence, sequence, before })
    }

    /// Whether the line was written by the audit file itself, so that it has no sequence of its own.
    pub fn is_our_own(&self) -> bool {
        let own = b"\"event\":\"audit-";
        self.evidence.windows(own.len()).take(64).any(|window| window == own)
    }
}
