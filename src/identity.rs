//! The names and identities of things, parsed once and valid ever after.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// A name that configuration gives to something; cheap to share, printable, never from the network.
macro_rules! configured_name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes the name as configured.
            pub fn new(name: &str) -> $name {
                $name(name.into())
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

configured_name! {
    /// A RADIUS client: the gateway, VPN or bank front end that asks.
    ClientName
}
configured_name! {
    /// A service profile, for example `kenshin-business`.
    ServiceName
}
configured_name! {
    /// What is being approved, for example `transfer` (services.md: operation, 取引).
    OperationName
}
configured_name! {
    /// The bank's customer, who has one or more users (services.md: contract, 契約).
    ContractId
}
configured_name! {
    /// The serial number printed on or shown by a token.
    TokenSerial
}

/// The User-Name as it was sent: up to 253 octets that need not be UTF-8 and that nobody has checked.
///
/// It finds an entry and is written to the evidence; it is never the key of any state, because one user has many
/// spellings. What nearly every name has room in is inline, so that a request allocates nothing for it and moves little.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct UserName(Octets);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Octets {
    /// The rest of the room is zeros, so that equal names are equal throughout.
    Short {
        len: u8,
        room: [u8; UserName::SHORT],
    },
    Long(Box<[u8]>),
}

impl UserName {
    /// The longest value of a RADIUS attribute (RFC 2865 §5), in octets.
    pub const MAX: usize = 253;

    const SHORT: usize = 62;

    /// Takes 1 to 253 octets; `None` for anything else.
    pub fn new(octets: &[u8]) -> Option<UserName> {
        let len = u8::try_from(octets.len()).ok().filter(|&len| len > 0 && octets.len() <= UserName::MAX)?;
        let mut room = [0; UserName::SHORT];
        Some(UserName(match room.get_mut(..octets.len()) {
            Some(beginning) => {
                beginning.copy_from_slice(octets);
                Octets::Short { len, room }
            }
            None => Octets::Long(octets.into()),
        }))
    }

    /// The octets as sent.
    pub fn octets(&self) -> &[u8] {
        match &self.0 {
            Octets::Short { len, room } => room.get(..usize::from(*len)).unwrap_or_default(),
            Octets::Long(octets) => octets,
        }
    }

    /// The name as text, if it is UTF-8. A directory is only ever asked about UTF-8 names.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(self.octets()).ok()
    }
}

/// Escapes whatever could end a line, move a cursor or reorder text in a log (SEC-02).
impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_escaped(f, self.octets())
    }
}

impl fmt::Debug for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserName({self})")
    }
}

/// Text from the network, escaped for one line of a log: control characters, invalid UTF-8, the backslash and the
/// marks that change the direction of text become `\u{…}` or `\x…`.
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_escaped(f, self.0)
    }
}

fn write_escaped(f: &mut fmt::Formatter<'_>, octets: &[u8]) -> fmt::Result {
    use fmt::Write as _;
    for chunk in octets.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '\\' {
                f.write_str("\\\\")?;
            } else if c.is_control() || is_invisible(c) {
                write!(f, "\\u{{{:x}}}", u32::from(c))?;
            } else {
                f.write_char(c)?;
            }
        }
        for octet in chunk.invalid() {
            write!(f, "\\x{octet:02x}")?;
        }
    }
    Ok(())
}

/// Characters that are not controls but hide or reorder what a reader sees.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// The identity of a directory entry: entryUUID, objectGUID or what the layout names. It survives renames.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryId([u8; 16]);

/// As one number: octet strings are hashed with their length, which is always the same here.
impl Hash for EntryId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(u128::from_ne_bytes(self.0));
    }
}

impl EntryId {
    /// Takes the sixteen octets of a UUID.
    pub const fn new(octets: [u8; 16]) -> EntryId {
        EntryId(octets)
    }

    /// The sixteen octets.
    pub const fn octets(self) -> [u8; 16] {
        self.0
    }

    /// Reads the usual text form, with or without hyphens.
    pub fn parse(text: &str) -> Option<EntryId> {
        let mut octets = [0u8; 16];
        let mut digits = text.bytes().filter(|&b| b != b'-');
        for octet in &mut octets {
            let high = char::from(digits.next()?).to_digit(16)?;
            let low = char::from(digits.next()?).to_digit(16)?;
            *octet = u8::try_from(high * 16 + low).ok()?;
        }
        digits.next().is_none().then_some(EntryId(octets))
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, octet) in self.0.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{octet:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Names one judged request in logs, audit and `sekisho why`: unique within a state directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sec_02_a_hostile_name_stays_on_one_line() {
        let name = UserName::new(b"a\r\nb\x1b[2J\0\xff\\\xe2\x80\xaeevil").unwrap();
        assert_eq!(name.to_string(), "a\\u{d}\\u{a}b\\u{1b}[2J\\u{0}\\xff\\\\\\u{202e}evil");
    }

    #[test]
    fn names_have_the_length_of_an_attribute() {
        assert!(UserName::new(b"").is_none());
        assert!(UserName::new(&[b'a'; 254]).is_none());
        for len in [1, 61, 62, 63, 253] {
            let name = vec![b'a'; len];
            assert_eq!(UserName::new(&name).unwrap().octets(), name);
        }
    }

    #[test]
    fn entry_ids_read_what_they_print() {
        let text = "1b4e28ba-2fa1-11d2-883f-0016d3cca427";
        let id = EntryId::parse(text).unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!(EntryId::parse(&text.replace('-', "")), Some(id));
        for bad in ["", "1b4e28ba", "zz4e28ba-2fa1-11d2-883f-0016d3cca427", &format!("{text}00")] {
            assert_eq!(EntryId::parse(bad), None, "{bad}");
        }
    }
}
