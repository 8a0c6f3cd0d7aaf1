//! Entries that are kept by the million: what most of them say alike is written as one octet.
//!
//! ```text
//! packed     DN · attributes                      a DN is a value, whatever it begins with
//! attribute  0 · name · values, or the number of an attribute that is asked for · values
//! values     values · 0
//! value      1 · octets, or 2 for the value that the DN begins with, or the number of an end · the octets before it, or the
//!            number of an object class
//! name, octets   a run as `compact` writes it
//! ```

use super::ber::Malformed;
use super::message::RawEntry;
use crate::compact::{Reader, put_run};
use crate::directory::entry::{Builder, Entry, plain_name};
use crate::identity::EntryId;
use crate::secret::Secret;
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

/// What entries have in common, fixed for the life of the directory's client.
pub struct Phrases {
    /// The attributes that are asked for.
    names: Vec<Box<str>>,
    /// What DNs end with, longest first.
    ends: Vec<Box<[u8]>>,
    /// What is asked for only to tell one entry from another.
    dropped: Vec<&'static str>,
}

/// An entry as it is kept; it may carry keys.
#[derive(PartialEq, Eq)]
pub struct Packed(Secret);

impl Packed {
    /// An entry of which these are the octets.
    pub fn new(octets: &[u8]) -> Packed {
        Packed(Secret::new(octets))
    }

    /// Its octets.
    pub fn octets(&self) -> &[u8] {
        self.0.expose()
    }

    /// A second copy.
    pub fn duplicate(&self) -> Packed {
        Packed(self.0.duplicate())
    }
}

/// The end of an attribute's values.
const DONE: u8 = 0;
/// Octets as they are.
const PLAIN: u8 = 1;
/// The value that the DN begins with.
const FIRST: u8 = 2;
/// The first of the ends.
const ENDS: u8 = 3;
/// The first of the object classes.
const CLASSES: u8 = 128;

impl Phrases {
    /// For entries below `base` of which these attributes are kept.
    pub fn new(base: &str, attributes: &[String]) -> Phrases {
        let base = format!(",{base}");
        let ends = CONTAINERS.iter().map(|container| format!("{container}{base}")).chain([base.clone()]);
        let mut ends: Vec<Box<[u8]>> = ends.map(|end| end.into_bytes().into_boxed_slice()).collect();
        ends.sort_by_key(|end| std::cmp::Reverse(end.len()));
        let is_kept = |name: &&str| attributes.iter().any(|other| other.eq_ignore_ascii_case(name));
        Phrases {
            names: attributes.iter().take(0xff).map(|name| name.as_str().into()).collect(),
            ends,
            dropped: Entry::IDENTITIES.into_iter().filter(|name| !is_kept(name)).collect(),
        }
    }

    /// Packs an entry, without the attributes that only say which one it is.
    ///
    /// # Errors
    /// It is no list of attributes.
    pub fn pack(&self, entry: RawEntry<'_>) -> Result<Packed, Malformed> {
        let attributes = entry.attributes()?;
        let mut packed = Zeroizing::new(Vec::with_capacity(entry.dn.len() + entry.kept().len() + 64));
        let dn = entry.dn.as_bytes();
        self.value(&mut packed, dn, b"");
        let first = first_value(self.ending(dn).map_or(dn, |(_, head)| head));
        for (name, values) in attributes {
            let name = plain_name(name);
            if self.dropped.iter().any(|dropped| dropped.eq_ignore_ascii_case(name)) {
                continue;
            }
            match (1..=0xff).zip(&self.names).find(|(_, known)| ***known == *name) {
                Some((number, _)) => packed.push(number),
                None => {
                    packed.push(0);
                    put_run(&mut packed, name.as_bytes());
                }
            }
            let is_class = name.eq_ignore_ascii_case("objectClass");
            for value in values {
                let class = if is_class { class_number(value) } else { None };
                match class {
                    Some(number) => packed.push(number),
                    None => self.value(&mut packed, value, first),
                }
            }
            packed.push(DONE);
        }
        Ok(Packed(Secret::new(std::mem::take(&mut *packed))))
    }

    /// Makes an entry whole again.
    pub fn unpack(&self, packed: &Packed, id: EntryId) -> Entry {
        let packed = packed.octets();
        // All the room at once: a buffer that moves leaves keys behind.
        let (mut room, mut values) = (0, 0);
        self.read(packed, &mut |part| match part {
            Part::Dn(..) => {}
            Part::Name(name) => room += name.len(),
            Part::Value(head, end) => {
                room += head.len() + end.len();
                values += 1;
            }
        });
        let mut entry = Builder::with_room(room, values);
        self.read(packed, &mut |part| match part {
            Part::Dn(head, end) => entry.dn(head, end),
            Part::Name(name) => entry.name(name),
            Part::Value(head, end) => entry.value(head, end),
        });
        entry.identified(id)
    }

    fn value(&self, packed: &mut Vec<u8>, value: &[u8], first: &[u8]) {
        if !first.is_empty() && value == first {
            packed.push(FIRST);
        } else if let Some((number, head)) = self.ending(value) {
            packed.push(number);
            put_run(packed, head);
        } else {
            packed.push(PLAIN);
            put_run(packed, value);
        }
    }

    /// The number of the longest end that a value has, and what stands before it.
    fn ending<'v>(&self, value: &'v [u8]) -> Option<(u8, &'v [u8])> {
        let mut ends = (ENDS..CLASSES).zip(&self.ends);
        ends.find_map(|(number, end)| Some((number, value.strip_suffix(&**end)?)))
    }

    /// Tells the parts one after the other. What was written here is read to its end.
    fn read<'p>(&'p self, packed: &'p [u8], tell: &mut dyn FnMut(Part<'p>)) {
        let mut rest = Reader::new(packed);
        let (head, end) = self.read_value(rest.octet(), &mut rest, b"");
        tell(Part::Dn(head, end));
        let first = first_value(head);
        while !rest.is_done() {
            let name = match rest.octet() {
                0 => rest.run(),
                number => self.names.get(usize::from(number) - 1).map_or(&b""[..], |name| name.as_bytes()),
            };
            tell(Part::Name(name));
            loop {
                match rest.octet() {
                    DONE => break,
                    tag => {
                        let (head, end) = self.read_value(tag, &mut rest, first);
                        tell(Part::Value(head, end));
                    }
                }
            }
        }
    }

    fn read_value<'p>(&'p self, tag: u8, rest: &mut Reader<'p>, first: &'p [u8]) -> (&'p [u8], &'p [u8]) {
        match tag {
            DONE => (b"", b""),
            PLAIN => (rest.run(), b""),
            FIRST => (first, b""),
            CLASSES.. => {
                let class = COMMON.get(usize::from(tag - CLASSES));
                (class.map_or(&b""[..], |class| class.as_bytes()), b"")
            }
            _ => {
                let end = self.ends.get(usize::from(tag - ENDS));
                (rest.run(), end.map_or(&b""[..], |end| end))
            }
        }
    }
}

/// A part of a packed entry; values in two pieces.
enum Part<'p> {
    Dn(&'p [u8], &'p [u8]),
    Name(&'p [u8]),
    Value(&'p [u8], &'p [u8]),
}

/// The value that a DN begins with, as it stands there.
fn first_value(dn: &[u8]) -> &[u8] {
    let Some(equals) = dn.iter().position(|octet| *octet == b'=') else { return b"" };
    let value = dn.get(equals + 1..).unwrap_or_default();
    value.split(|octet| *octet == b',').next().unwrap_or_default()
}

fn class_number(class: &[u8]) -> Option<u8> {
    (CLASSES..=0xff).zip(COMMON).find(|(_, common)| common.as_bytes() == class).map(|(number, _)| number)
}

#[cfg(test)]
mod tests {
    use super::super::ber::{OCTET_STRING, SEQUENCE, SET, Writer};
    use super::*;
    use proptest::prelude::*;

    const ID: EntryId = EntryId::new([1; 16]);

    fn phrases() -> Phrases {
        let attributes = ["objectClass", "uid", "oathTOTPToken", "oathSecret"].map(str::to_owned);
        Phrases::new("dc=example,dc=jp", &attributes)
    }

    fn attributes<V: AsRef<[u8]>>(all: &[(&str, Vec<V>)]) -> Vec<u8> {
        let mut writer = Writer::new();
        for (name, values) in all {
            writer.within(SEQUENCE, |attribute| {
                attribute.put(OCTET_STRING, name.as_bytes());
                attribute.within(SET, |set| {
                    for value in values {
                        set.put(OCTET_STRING, value.as_ref());
                    }
                });
            });
        }
        writer.octets().to_vec()
    }

    #[test]
    fn a_usual_entry_takes_a_quarter() {
        let dn = "uid=user00012345,ou=people,dc=example,dc=jp";
        let classes = ["top", "person", "organizationalPerson", "inetOrgPerson", "oathTOTPUser"];
        let content = attributes(&[
            ("objectClass", classes.to_vec()),
            ("uid", vec!["user00012345"]),
            ("oathTOTPToken", vec!["cn=t00012345,ou=tokens,dc=example,dc=jp"]),
        ]);
        let phrases = phrases();
        let packed = phrases.pack(RawEntry::again(dn, &content)).unwrap();
        let entry = phrases.unpack(&packed, ID);
        assert_eq!((entry.dn.as_str(), entry.text("uid")), (dn, Ok(Some("user00012345"))));
        assert_eq!(entry.text("oathTOTPToken"), Ok(Some("cn=t00012345,ou=tokens,dc=example,dc=jp")));
        assert!(entry.is_a("oathTOTPUser") && entry.is_a("top") && !entry.is_a("device"));
        assert!(packed.0.len() * 4 < dn.len() + content.len(), "{} octets", packed.0.len());
    }

    #[test]
    fn what_is_no_list_of_attributes_is_refused_and_what_only_identifies_is_left_out() {
        let phrases = phrases();
        assert!(phrases.pack(RawEntry::again("cn=a", b"\x30\x05\x04")).is_err());
        let content =
            attributes(&[("entryUUID", vec!["1b4e28ba-2fa1-11d2-883f-0016d3cca427"]), ("CN", vec!["a"])]);
        let packed = phrases.pack(RawEntry::again("cn=a", &content)).unwrap();
        let entry = phrases.unpack(&packed, ID);
        assert_eq!((entry.text("entryUUID"), entry.text("cn")), (Ok(None), Ok(Some("a"))));
    }

    proptest! {
        #[test]
        fn every_entry_comes_back_as_it_was(
            dn in "(uid=u1,|cn=a,ou=tokens,)?.{0,200}(,dc=example,dc=jp)?",
            all in prop::collection::vec(
                (
                    prop::sample::select(vec!["objectClass", "uid", "oathSecret;binary", "mail", "2.5.4.3"]),
                    prop::collection::vec(
                        prop_oneof![
                            prop::collection::vec(any::<u8>(), 0..300),
                            "(top|oathToken|u1|a|cn=x,ou=tokens,dc=example,dc=jp|y,dc=example,dc=jp)".prop_map(String::into_bytes),
                        ],
                        0..4,
                    ),
                ),
                0..6,
            ),
        ) {
            let (phrases, content) = (phrases(), attributes(&all));
            let raw = RawEntry::again(&dn, &content);
            let packed = phrases.pack(raw).unwrap();
            let entry = phrases.unpack(&packed, ID);
            let whole = Entry::identified(&*dn, ID, raw.attributes().unwrap());
            prop_assert_eq!(&entry.dn, &whole.dn);
            for name in ["objectClass", "uid", "oathSecret", "mail", "cn"] {
                prop_assert_eq!(entry.all(name).collect::<Vec<_>>(), whole.all(name).collect::<Vec<_>>());
            }
        }
    }
}
