//! One directory entry as it arrived: raw octets under attribute names that every spelling finds.

mod dn;
mod values;

pub use dn::{Dn, escaped};
pub use values::{NeverOr, file_time, generalized, generalized_time};

use crate::clock::Wall;
use crate::identity::EntryId;
use crate::secret::Secret;
use sha2::{Digest, Sha256};
use std::fmt;
use std::ops::Range;
use zeroize::Zeroizing;

/// An entry: its DN, its lasting identity and its attributes.
///
/// Names and values stand in one [`Secret`], because one of them may be a token's key and nobody knows which before it is
/// asked for.
pub struct Entry {
    /// The DN as the directory wrote it: what a bind is made with.
    pub dn: String,
    /// The identity that survives renames.
    pub id: EntryId,
    octets: Secret,
    values: Vec<Value>,
}

/// Where in the octets one value stands, and the name of its attribute.
struct Value {
    name: Range<u32>,
    value: Range<u32>,
}

/// An attribute that may have one value has several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an attribute that may have one value has several")]
pub struct ManyValues;

/// Why an attribute's value cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It may have one value and has several.
    #[error(transparent)]
    ManyValues(#[from] ManyValues),
    /// The value is not of the attribute's syntax, or out of range.
    #[error("a value is not of its attribute's syntax")]
    Syntax,
}

impl Entry {
    /// What identifies an entry where the layout names nothing else, in the order in which it is looked for.
    pub const IDENTITIES: [&str; 3] = ["entryUUID", "nsUniqueId", "objectGUID"];

    /// An entry from a search. Its identity is the value of `identity` if the layout names such an attribute, else
    /// entryUUID, nsUniqueId or objectGUID, else a hash of the DN.
    pub fn new<N, V>(
        dn: impl Into<String>,
        identity: Option<&str>,
        attributes: impl IntoIterator<Item = (N, V), IntoIter: Clone>,
    ) -> Entry
    where
        N: AsRef<str>,
        V: IntoIterator<Item: AsRef<[u8]>>,
    {
        let mut entry = Entry::identified(dn, EntryId::new([0; 16]), attributes);
        entry.id = entry.identify(identity);
        entry
    }

    /// An entry whose identity is known from elsewhere: the entryUUID of a Sync State control (RFC 4533 §2.2).
    pub fn identified<N, V>(
        dn: impl Into<String>,
        id: EntryId,
        attributes: impl IntoIterator<Item = (N, V), IntoIter: Clone>,
    ) -> Entry
    where
        N: AsRef<str>,
        V: IntoIterator<Item: AsRef<[u8]>>,
    {
        let attributes = attributes.into_iter();
        let (mut room, mut count) = (0, 0);
        for (name, values) in attributes.clone() {
            room += plain_name(name.as_ref()).len();
            for value in values {
                room += value.as_ref().len();
                count += 1;
            }
        }
        let mut entry = Builder::with_room(room, count);
        for (name, values) in attributes {
            entry.name(plain_name(name.as_ref()).as_bytes());
            for value in values {
                entry.value(value.as_ref(), b"");
            }
        }
        Entry { dn: dn.into(), ..entry.identified(id) }
    }

    /// The same with the identity that a layout names.
    #[must_use]
    pub fn known_by(mut self, identity: &str) -> Entry {
        self.id = self.identify(Some(identity));
        self
    }

    /// Every value of the attribute, under any spelling of its name, with any options.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let name = plain_name(name);
        let is_it = |value: &&Value| self.at(&value.name).eq_ignore_ascii_case(name.as_bytes());
        let first = self.values.iter().position(|value| is_it(&value));
        let (first, rest) = first.and_then(|at| self.values.get(at..)?.split_first()).unzip();
        let name = first.map_or(&[][..], |first| self.at(&first.name));
        let more = rest.unwrap_or_default().iter();
        let more = more.filter(|value| self.at(&value.name).eq_ignore_ascii_case(name));
        first.into_iter().chain(more).map(|value| self.at(&value.value))
    }

    /// The only value of the attribute.
    ///
    /// # Errors
    /// [`ManyValues`] if there are several, equal or not (LDAP-27).
    pub fn one(&self, name: &str) -> Result<Option<&[u8]>, ManyValues> {
        let mut values = self.all(name);
        let first = values.next();
        if values.next().is_some() { Err(ManyValues) } else { Ok(first) }
    }

    /// The only value as text.
    ///
    /// # Errors
    /// Several values, or not UTF-8.
    pub fn text(&self, name: &str) -> Result<Option<&str>, Unreadable> {
        self.read(name, |value| std::str::from_utf8(value).ok())
    }

    /// The only value as an Integer (RFC 4517 §3.3.16).
    ///
    /// # Errors
    /// Several values, not a number, or outside 64 bits.
    pub fn integer(&self, name: &str) -> Result<Option<i64>, Unreadable> {
        self.read(name, values::integer)
    }

    /// The only value as a Boolean (RFC 4517 §3.3.3), in any case.
    ///
    /// # Errors
    /// Several values, or neither TRUE nor FALSE.
    pub fn boolean(&self, name: &str) -> Result<Option<bool>, Unreadable> {
        self.read(name, |value| match value {
            _ if value.eq_ignore_ascii_case(b"TRUE") => Some(true),
            _ if value.eq_ignore_ascii_case(b"FALSE") => Some(false),
            _ => None,
        })
    }

    /// The only value as a Generalized Time (RFC 4517 §3.3.13).
    ///
    /// # Errors
    /// Several values, or no such time.
    pub fn time(&self, name: &str) -> Result<Option<Wall>, Unreadable> {
        self.read(name, generalized_time)
    }

    /// The only value as Active Directory writes times that may be "never".
    ///
    /// # Errors
    /// Several values, or no such time.
    pub fn file_time(&self, name: &str) -> Result<Option<NeverOr>, Unreadable> {
        self.read(name, file_time)
    }

    /// Whether the entry is of this object class.
    pub fn is_a(&self, class: &str) -> bool {
        self.all("objectClass").any(|value| {
            std::str::from_utf8(value).is_ok_and(|value| known_name(value).eq_ignore_ascii_case(class))
        })
    }

    fn read<'a, T>(
        &'a self,
        name: &str,
        parse: impl FnOnce(&'a [u8]) -> Option<T>,
    ) -> Result<Option<T>, Unreadable> {
        self.one(name)?.map(|value| parse(value).ok_or(Unreadable::Syntax)).transpose()
    }

    fn at(&self, place: &Range<u32>) -> &[u8] {
        let [start, end] = [place.start, place.end].map(|at| usize::try_from(at).unwrap_or(usize::MAX));
        self.octets.expose().get(start..end).unwrap_or_default()
    }

    fn identify(&self, identity: Option<&str>) -> EntryId {
        if let Some(name) = identity
            && let Ok(Some(value)) = self.one(name)
        {
            return uuid(value).unwrap_or_else(|| hashed(b"value", value));
        }
        Entry::IDENTITIES
            .into_iter()
            .find_map(|name| uuid(self.one(name).ok()??))
            .unwrap_or_else(|| EntryId::of_dn(&self.dn))
    }
}

/// An entry in the making: its DN, then each name with the values that follow it.
pub struct Builder {
    dn: String,
    octets: Zeroizing<Vec<u8>>,
    name: Range<u32>,
    values: Vec<Value>,
}

impl Builder {
    /// Room for so many octets of names and values, and for so many values. It has to suffice: a buffer that moves leaves keys
    /// behind.
    pub fn with_room(octets: usize, values: usize) -> Builder {
        let octets = Zeroizing::new(Vec::with_capacity(octets));
        Builder { dn: String::new(), octets, name: 0..0, values: Vec::with_capacity(values) }
    }

    /// The DN, in two pieces.
    pub fn dn(&mut self, head: &[u8], end: &[u8]) {
        self.dn = String::from_utf8([head, end].concat()).unwrap_or_default();
    }

    /// The name of the values that follow, without options.
    pub fn name(&mut self, name: &[u8]) {
        self.name = self.write(name, b"");
    }

    /// A value, in two pieces.
    pub fn value(&mut self, head: &[u8], end: &[u8]) {
        let value = self.write(head, end);
        self.values.push(Value { name: self.name.clone(), value });
    }

    /// The entry, of this identity.
    pub fn identified(mut self, id: EntryId) -> Entry {
        Entry { dn: self.dn, id, octets: Secret::new(std::mem::take(&mut *self.octets)), values: self.values }
    }

    /// Appends octets; gives where they stand. No entry is as large as what four octets can count.
    fn write(&mut self, head: &[u8], end: &[u8]) -> Range<u32> {
        let start = self.octets.len();
        self.octets.extend_from_slice(head);
        self.octets.extend_from_slice(end);
        let [start, end] = [start, self.octets.len()].map(|at| u32::try_from(at).unwrap_or(u32::MAX));
        start..end
    }
}

/// The DN and the names of the attributes; never a value.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.values.iter().map(|value| String::from_utf8_lossy(self.at(&value.name)));
        write!(f, "Entry({:?} {} ", self.dn, self.id)?;
        f.debug_set().entries(names).finish()?;
        f.write_str(")")
    }
}

impl EntryId {
    /// A stand-in for entries without any identity of their own; it lasts as long as the DN does.
    pub fn of_dn(dn: &str) -> EntryId {
        match Dn::parse(dn) {
            Some(dn) => hashed(b"dn", dn.as_str().as_bytes()),
            None => hashed(b"text", dn.as_bytes()),
        }
    }
}

fn uuid(value: &[u8]) -> Option<EntryId> {
    match <[u8; 16]>::try_from(value) {
        Ok(octets) => Some(EntryId::new(octets)),
        Err(_) => EntryId::parse(std::str::from_utf8(value).ok()?),
    }
}

fn hashed(kind: &[u8], value: &[u8]) -> EntryId {
    let digest = Sha256::new().chain_update(kind).chain_update([0]).chain_update(value).finalize();
    EntryId::new(digest.first_chunk().copied().unwrap_or_default())
}

/// The name without options (RFC 4512 §2.5): `;binary` and `;lang-ja` say how, not what.
pub fn plain_name(name: &str) -> &str {
    // What nearly every name is.
    if name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|octet| octet.is_ascii_alphanumeric())
    {
        return name;
    }
    known_name(name.split(';').next().unwrap_or(name).trim())
}

/// The usual name for an OID of an attribute or a class that we know; anything else stays what it is.
fn known_name(name: &str) -> &str {
    let oid = match name.split_at_checked(4) {
        Some((prefix, oid)) if prefix.eq_ignore_ascii_case("oid.") => oid,
        _ => name,
    };
    if !oid.starts_with(|c: char| c.is_ascii_digit()) {
        return name;
    }
    let beyond = |arc: &str| oid.strip_prefix(arc);
    let numbered = |table: &'static [(&str, &str)], rest: &str| {
        table.iter().find(|(number, _)| *number == rest).map(|&(_, name)| name)
    };
    let found = beyond("1.3.6.1.4.1.5427.1.389.4226.").and_then(|rest| numbered(OATH, rest));
    let found =
        found.or_else(|| beyond("2.16.840.1.113730.3.8.16.").and_then(|rest| numbered(FREEIPA, rest)));
    found.or_else(|| numbered(STANDARD, oid)).unwrap_or(oid)
}

/// Attributes (4) and classes (6) of OATH-LDAP, as slapo-otp numbers them.
const OATH: &[(&str, &str)] = &[
    ("4.1", "oathSecret"),
    ("4.2", "oathTokenSerialNumber"),
    ("4.3", "oathTokenIdentifier"),
    ("4.4.1", "oathTOTPTimeStepPeriod"),
    ("4.5", "oathOTPLength"),
    ("4.5.1", "oathHOTPParams"),
    ("4.5.2", "oathTOTPParams"),
    ("4.6", "oathHMACAlgorithm"),
    ("4.7", "oathTimestamp"),
    ("4.7.3", "oathSecretTime"),
    ("4.8", "oathSecretMaxAge"),
    ("4.9", "oathToken"),
    ("4.9.1", "oathHOTPToken"),
    ("4.9.2", "oathTOTPToken"),
    ("4.10.2", "oathHOTPCounter"),
    ("4.10.3", "oathHOTPLookAhead"),
    ("4.10.6", "oathTOTPLastTimeStep"),
    ("4.10.7", "oathMaxUsageCount"),
    ("4.10.8", "oathTOTPTimeStepWindow"),
    ("4.10.9", "oathTOTPTimeStepDrift"),
    ("4.12", "oathEncKey"),
    ("6.1.1", "oathHOTPUser"),
    ("6.1.2", "oathTOTPUser"),
    ("6.2.1", "oathHOTPParams"),
    ("6.2.2", "oathTOTPParams"),
    ("6.3.1", "oathHOTPToken"),
    ("6.3.2", "oathTOTPToken"),
];

/// Attributes (1) and classes (2) of FreeIPA's tokens.
const FREEIPA: &[(&str, &str)] = &[
    ("1.1", "ipatokenUniqueID"),
    ("1.2", "ipatokenDisabled"),
    ("1.3", "ipatokenNotBefore"),
    ("1.4", "ipatokenNotAfter"),
    ("1.7", "ipatokenSerial"),
    ("1.8", "ipatokenOTPkey"),
    ("1.9", "ipatokenOTPalgorithm"),
    ("1.10", "ipatokenOTPdigits"),
    ("1.11", "ipatokenTOTPclockOffset"),
    ("1.12", "ipatokenTOTPtimeStep"),
    ("1.13", "ipatokenOwner"),
    ("1.21", "ipatokenHOTPcounter"),
    ("1.22", "ipatokenTOTPwatermark"),
    ("2.1", "ipaToken"),
    ("2.2", "ipatokenTOTP"),
    ("2.5", "ipatokenHOTP"),
];

/// What DNs are made of (RFC 4514 §3), and the operational attributes that are read.
const STANDARD: &[(&str, &str)] = &[
    ("2.5.4.0", "objectClass"),
    ("2.5.4.3", "cn"),
    ("2.5.4.4", "sn"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "c"),
    ("2.5.4.7", "l"),
    ("2.5.4.8", "st"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "o"),
    ("2.5.4.11", "ou"),
    ("0.9.2342.19200300.100.1.1", "uid"),
    ("0.9.2342.19200300.100.1.3", "mail"),
    ("0.9.2342.19200300.100.1.25", "dc"),
    ("1.3.6.1.1.16.4", "entryUUID"),
    ("1.3.6.1.4.1.42.2.27.8.1.13", "pwdLockoutDuration"),
    ("1.3.6.1.4.1.42.2.27.8.1.17", "pwdAccountLockedTime"),
    ("1.3.6.1.4.1.42.2.27.8.1.23", "pwdPolicySubentry"),
    ("1.3.6.1.4.1.42.2.27.8.1.26", "pwdMaxIdle"),
    ("1.3.6.1.4.1.42.2.27.8.1.27", "pwdStartTime"),
    ("1.3.6.1.4.1.42.2.27.8.1.28", "pwdEndTime"),
    ("1.3.6.1.4.1.42.2.27.8.1.29", "pwdLastSuccess"),
];

#[cfg(test)]
mod tests;
