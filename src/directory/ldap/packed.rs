//! Entries that are kept by the million: what most of them say alike is written as one octet.
//!
//! ```text
//! packed  tokens of: length of the DN u16 · DN · attributes in BER
//! token   0 to 127: so many octets and one more follow as they are · 128 to 255: a phrase
//! ```

use super::message::RawEntry;
use crate::secret::Secret;
use std::collections::HashMap;
use zeroize::Zeroizing;

/// Object classes and containers that nearly every directory has. One that is not here only takes more room.
const COMMON: &[&str] = &[
    "top",
    "person",
    "organizationalPerson",
    "inetOrgPerson",
    "posixAccount",
    "shadowAccount",
    "account",
    "device",
    "applicationProcess",
    "oathUser",
    "oathTOTPUser",
    "oathHOTPUser",
    "oathToken",
    "oathTOTPToken",
    "oathHOTPToken",
    "oathParams",
    "oathTOTPParams",
    "ipaToken",
    "ipatokenTOTP",
    "ipatokenHOTP",
    "sekishoUser",
    "sekishoToken",
    "sekishoContract",
    "pwdPolicy",
];
const CONTAINERS: &[&str] =
    &[",ou=people", ",ou=users", ",ou=tokens", ",ou=params", ",ou=contracts", ",cn=users"];

/// The octet strings that are replaced, fixed for the life of the directory's client.
pub struct Phrases {
    all: Vec<Box<[u8]>>,
    /// Which octets any of them begins with: few.
    first: Box<[bool; 256]>,
    /// Which of them begin so, longest first.
    by_start: HashMap<[u8; 3], Vec<u8>, ahash::RandomState>,
}

/// An entry as it is kept; it may carry keys.
#[derive(PartialEq, Eq)]
pub struct Packed(Secret);

/// A packed entry made whole for a moment.
pub struct Unpacked {
    octets: Zeroizing<Vec<u8>>,
}

impl Phrases {
    /// For entries below `base` of which these attributes are asked for.
    pub fn new(base: &str, attributes: &[String]) -> Phrases {
        // As they stand in BER (RFC 4511 §4.1.7): the description of an attribute with the beginning of its values, a
        // value that is an object class, the end of a DN.
        let described = attributes.iter().filter_map(|name| framed(&[0x04], name.as_bytes(), &[0x31]));
        let classes = COMMON.iter().filter_map(|class| framed(&[0x04], class.as_bytes(), &[]));
        let ends = CONTAINERS.iter().map(|container| container.as_bytes().to_vec());
        let base = std::iter::once(format!(",{base}").into_bytes());
        let mut all: Vec<Box<[u8]>> =
            base.chain(ends).chain(described).chain(classes).map(Vec::into_boxed_slice).collect();
        all.truncate(128);
        let mut first = Box::new([false; 256]);
        for start in all.iter().filter_map(|phrase| phrase.first()) {
            if let Some(first) = first.get_mut(usize::from(*start)) {
                *first = true;
            }
        }
        let mut by_start: HashMap<_, Vec<u8>, _> = HashMap::default();
        for (at, phrase) in (0..128_u8).zip(&all) {
            if let Some(start) = phrase.first_chunk::<3>() {
                by_start.entry(*start).or_default().push(at);
            }
        }
        for found in by_start.values_mut() {
            found.sort_by_key(|at| {
                std::cmp::Reverse(all.get(usize::from(*at)).map_or(0, |phrase| phrase.len()))
            });
        }
        Phrases { all, first, by_start }
    }

    /// Packs an entry.
    pub fn pack(&self, entry: RawEntry<'_>) -> Packed {
        let dn = entry.dn.as_bytes();
        let length = u16::try_from(dn.len()).unwrap_or(u16::MAX);
        let mut whole = Zeroizing::new(Vec::with_capacity(dn.len() + entry.kept().len() + 2));
        whole.extend_from_slice(&length.to_be_bytes());
        whole.extend_from_slice(dn.get(..usize::from(length)).unwrap_or(dn));
        whole.extend_from_slice(entry.kept());
        let mut packed = Zeroizing::new(Vec::with_capacity(whole.len()));
        let (mut rest, mut plain) = (whole.as_slice(), 0_usize);
        while let Some(after) = rest.get(plain..).filter(|after| !after.is_empty()) {
            match self.at_start(after) {
                None => plain += 1,
                Some((number, phrase)) => {
                    literal(&mut packed, rest.get(..plain).unwrap_or_default());
                    packed.push(0x80 | number);
                    rest = after.get(phrase.len()..).unwrap_or_default();
                    plain = 0;
                }
            }
        }
        literal(&mut packed, rest);
        Packed(Secret::new(std::mem::take(&mut *packed)))
    }

    /// Makes an entry whole again.
    pub fn unpack(&self, packed: &Packed) -> Unpacked {
        let mut octets = Zeroizing::new(Vec::with_capacity(packed.0.len().saturating_mul(4)));
        let mut rest = packed.0.expose();
        while let Some((&token, after)) = rest.split_first() {
            rest = match token.checked_sub(0x80) {
                Some(number) => {
                    octets.extend_from_slice(self.all.get(usize::from(number)).map_or(&[], |phrase| phrase));
                    after
                }
                None => {
                    let (plain, after) = after.split_at_checked(usize::from(token) + 1).unwrap_or_default();
                    octets.extend_from_slice(plain);
                    after
                }
            };
        }
        Unpacked { octets }
    }

    fn at_start(&self, octets: &[u8]) -> Option<(u8, &[u8])> {
        let start = octets.first_chunk::<3>()?;
        self.first.get(usize::from(start[0])).filter(|is_first| **is_first)?;
        let candidates = self.by_start.get(start)?;
        candidates.iter().find_map(|&number| {
            let phrase = self.all.get(usize::from(number))?;
            octets.starts_with(phrase).then_some((number, &**phrase))
        })
    }
}

impl Unpacked {
    /// The DN.
    pub fn dn(&self) -> &str {
        self.parts().0
    }

    /// The entry as it came.
    pub fn entry(&self) -> RawEntry<'_> {
        let (dn, attributes) = self.parts();
        RawEntry::again(dn, attributes)
    }

    fn parts(&self) -> (&str, &[u8]) {
        let Some((length, rest)) = self.octets.split_first_chunk::<2>() else { return ("", &[]) };
        let (dn, attributes) =
            rest.split_at_checked(usize::from(u16::from_be_bytes(*length))).unwrap_or_default();
        (std::str::from_utf8(dn).unwrap_or_default(), attributes)
    }
}

/// Octets as they are, in pieces of at most 128.
fn literal(packed: &mut Vec<u8>, octets: &[u8]) {
    for piece in octets.chunks(128) {
        packed.push(u8::try_from(piece.len().saturating_sub(1)).unwrap_or(0));
        packed.extend_from_slice(piece);
    }
}

/// Tags around a short text with its length; `None` for one that BER would write with a longer length.
fn framed(before: &[u8], text: &[u8], after: &[u8]) -> Option<Vec<u8>> {
    let length = u8::try_from(text.len()).ok().filter(|length| *length < 0x80)?;
    Some([before, &[length], text, after].concat())
}

#[cfg(test)]
mod tests {
    use super::super::ber::{SEQUENCE, SET, Writer};
    use super::*;
    use proptest::prelude::*;

    fn phrases() -> Phrases {
        let attributes = ["objectClass", "uid", "oathTOTPToken", "oathSecret"].map(str::to_owned);
        Phrases::new("dc=example,dc=jp", &attributes)
    }

    fn attributes(all: &[(&str, &[&[u8]])]) -> Vec<u8> {
        let mut writer = Writer::new();
        for (name, values) in all {
            writer.within(SEQUENCE, |attribute| {
                attribute.put(0x04, name.as_bytes());
                attribute.within(SET, |set| {
                    for value in *values {
                        set.put(0x04, value);
                    }
                });
            });
        }
        writer.octets().to_vec()
    }

    #[test]
    fn a_usual_entry_takes_two_fifths() {
        let dn = "uid=user00012345,ou=people,dc=example,dc=jp";
        let content = attributes(&[
            ("objectClass", &[b"top", b"person", b"organizationalPerson", b"inetOrgPerson", b"oathTOTPUser"]),
            ("uid", &[b"user00012345"]),
            ("oathTOTPToken", &[b"cn=t00012345,ou=tokens,dc=example,dc=jp"]),
        ]);
        let phrases = phrases();
        let packed = phrases.pack(RawEntry::again(dn, &content));
        let whole = phrases.unpack(&packed);
        assert_eq!((whole.dn(), whole.entry().kept()), (dn, content.as_slice()));
        assert!(packed.0.len() * 5 < (dn.len() + content.len()) * 2, "{} octets", packed.0.len());
    }

    proptest! {
        #[test]
        fn every_entry_comes_back_octet_for_octet(dn in ".{0,300}", content: Vec<u8>, mixed in prop::collection::vec(0..200_usize, 0..50)) {
            let phrases = phrases();
            let mut content = content;
            for at in mixed {
                content.extend_from_slice(phrases.all.get(at).map_or(&[at as u8], |phrase| phrase));
            }
            let packed = phrases.pack(RawEntry::again(&dn, &content));
            let whole = phrases.unpack(&packed);
            prop_assert_eq!((whole.dn(), whole.entry().kept()), (dn.as_str(), content.as_slice()));
            prop_assert!(phrases.pack(whole.entry()) == packed);
        }
    }
}
