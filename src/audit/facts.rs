//! The evidence of a decision in the short form in which it rides in the journal, and the line that is made of it.
//!
//! To write a line of JSON costs more than most decisions do. So the worker that decides writes down what it knows, and
//! the thread behind the answers makes the line: always the same one, so that a line torn by a crash comes again
//! from the journal to the very same octets.
//!
//! ```text
//! facts  1 · seconds u64 · nanoseconds u32 · length u8 · event · fields
//! field  key u8 · kind u8 · value      text and octets: length u16 before them; numbers: little-endian
//! ```

use super::line::{Line, is_all_plain};
use crate::clock::Wall;
use crate::identity::{EntryId, RequestId};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// The first octet of facts; a line of JSON begins with a brace.
const FACTS: u8 = 1;

const TEXT: u8 = 1;
const OCTETS: u8 = 2;
const ENTRY: u8 = 3;
const REQUEST: u8 = 4;
const ADDRESS_V4: u8 = 5;
const ADDRESS_V6: u8 = 6;
const NUMBER: u8 = 7;
const SIGNED: u8 = 8;

macro_rules! keys {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        /// The keys of a line. Their numbers are in journals: they are never given to another key.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Key { $($(#[$doc])* $name = $number,)* }

        impl Key {
            /// All of them.
            pub const ALL: &'static [Key] = &[$(Key::$name),*];

            /// The word in the line.
            pub const fn text(self) -> &'static str {
                match self { $(Key::$name => $text),* }
            }

            fn of(number: u8) -> Option<Key> {
                match number { $($number => Some(Key::$name),)* _ => None }
            }
        }
    };
}

keys! {
    /// What left for the gateway.
    Outcome = 1, "outcome";
    /// Why.
    Reason = 2, "reason";
    /// Names the request.
    Request = 3, "request";
    /// Who asked.
    Client = 4, "client";
    /// From where.
    Source = 5, "source";
    /// Under which service profile.
    Service = 6, "service";
    /// What was to be approved.
    Operation = 7, "operation";
    /// The name as sent.
    User = 8, "user";
    /// The user's entry.
    Entry = 9, "entry";
    /// The user's contract.
    Contract = 10, "contract";
    /// The end user's address or number, as the gateway tells it.
    CallingStation = 11, "calling_station";
    /// The serial number of the token whose code was right.
    Token = 12, "token";
    /// The step of the window it was found in.
    StepOffset = 13, "step_offset";
    /// What a decoy would have been refused for.
    WouldBe = 14, "would_be";
    /// By how many seconds the token's clock is ahead.
    ClockOff = 15, "clock_off_seconds";
    /// Who was locked by it.
    Locks = 16, "locks";
    /// From the arrival to the decision.
    Duration = 17, "duration_us";
    /// What the first correct code takes into service.
    Confirms = 18, "confirms";
    /// How it was known that the password is right, if the directory was not asked.
    Password = 19, "password";
}

/// Facts while they are written.
pub struct Facts<'o>(&'o mut Vec<u8>);

impl<'o> Facts<'o> {
    /// Begins behind what is in the buffer: what happened, and when.
    pub fn begin(out: &'o mut Vec<u8>, time: Wall, event: &'static str) -> Facts<'o> {
        out.push(FACTS);
        out.extend_from_slice(&time.seconds().to_le_bytes());
        out.extend_from_slice(&time.subsec_nanos().to_le_bytes());
        out.push(u8::try_from(event.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(event.as_bytes().get(..usize::from(u8::MAX)).unwrap_or(event.as_bytes()));
        Facts(out)
    }

    /// Goes on with what was written last.
    pub fn go_on(out: &'o mut Vec<u8>) -> Facts<'o> {
        Facts(out)
    }

    /// Text.
    pub fn text(&mut self, key: Key, value: &str) -> &mut Facts<'o> {
        self.long(key, TEXT, value.as_bytes())
    }

    /// Text that need not be UTF-8.
    pub fn octets(&mut self, key: Key, value: &[u8]) -> &mut Facts<'o> {
        self.long(key, OCTETS, value)
    }

    /// The identity of an entry.
    pub fn entry(&mut self, key: Key, value: EntryId) -> &mut Facts<'o> {
        self.field(key, ENTRY, &value.octets())
    }

    /// The name of a request.
    pub fn request(&mut self, key: Key, value: RequestId) -> &mut Facts<'o> {
        self.field(key, REQUEST, &value.0.to_le_bytes())
    }

    /// An address with its port.
    pub fn address(&mut self, key: Key, value: SocketAddr) -> &mut Facts<'o> {
        match value {
            SocketAddr::V4(v4) => {
                self.field(key, ADDRESS_V4, &v4.ip().octets());
            }
            SocketAddr::V6(v6) => {
                self.field(key, ADDRESS_V6, &v6.ip().octets());
                self.0.extend_from_slice(&v6.scope_id().to_le_bytes());
            }
        }
        self.0.extend_from_slice(&value.port().to_le_bytes());
        self
    }

    /// A number.
    pub fn number(&mut self, key: Key, value: u64) -> &mut Facts<'o> {
        self.field(key, NUMBER, &value.to_le_bytes())
    }

    /// A number that may be negative.
    pub fn signed(&mut self, key: Key, value: i64) -> &mut Facts<'o> {
        self.field(key, SIGNED, &value.to_le_bytes())
    }

    fn long(&mut self, key: Key, kind: u8, value: &[u8]) -> &mut Facts<'o> {
        // Nothing that a decision names is that long; what is, is cut rather than lost.
        let value = value.get(..usize::from(u16::MAX)).unwrap_or(value);
        let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
        self.field(key, kind, &length.to_le_bytes());
        self.0.extend_from_slice(value);
        self
    }

    fn field(&mut self, key: Key, kind: u8, value: &[u8]) -> &mut Facts<'o> {
        self.0.extend_from_slice(&[key as u8, kind]);
        self.0.extend_from_slice(value);
        self
    }
}

/// Appends the line of some evidence: facts become one, and what is a line already stays as it is.
pub(super) fn put_line(out: &mut Vec<u8>, evidence: &[u8]) {
    let Some((&FACTS, facts)) = evidence.split_first() else { return out.extend_from_slice(evidence) };
    let start = out.len();
    let line = Line::in_buffer(std::mem::take(out));
    let line = match read(line, facts) {
        Ok(line) => line,
        // Of a version that knows more keys: nothing is lost, and nothing is guessed.
        Err(line) => {
            let mut buffer = line.into_buffer();
            buffer.truncate(start);
            Line::in_buffer(buffer)
                .open(Wall::default(), "unreadable")
                .text("facts", &data_encoding::HEXLOWER.encode(evidence))
        }
    };
    *out = line.into_buffer();
}

fn read(line: Line, facts: &[u8]) -> Result<Line, Line> {
    let mut rest = Rest(facts);
    let Some((time, event)) = rest.begin() else { return Err(line) };
    let mut line = line.open(time, event);
    while !rest.0.is_empty() {
        line = rest.field(line)?;
    }
    Ok(line)
}

/// What has not been read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn begin(&mut self) -> Option<(Wall, &'a str)> {
        let (seconds, nanos) = (u64::from_le_bytes(self.array()?), u32::from_le_bytes(self.array()?));
        let [length] = self.array()?;
        let event = std::str::from_utf8(self.octets(usize::from(length))?).ok()?;
        let below_a_second = std::time::Duration::from_nanos(u64::from(nanos));
        Some((Wall::from_seconds(seconds).plus(below_a_second), event))
    }

    /// Puts the next field into the line; the line comes back as it was if the field makes no sense.
    fn field(&mut self, line: Line) -> Result<Line, Line> {
        match self.value() {
            Some((key, value)) => Ok(match value {
                Value::Plain(octets) => line.plain(key, octets),
                Value::Text(text) => line.text(key, text),
                Value::Octets(octets) => line.octets(key, octets),
                Value::Entry(entry) => line.entry(key, entry),
                Value::Request(request) => line.request(key, request),
                Value::Address(address) => line.address(key, address),
                Value::Number(number) => line.number(key, number),
                Value::Signed(number) => line.signed(key, number),
            }),
            None => Err(line),
        }
    }

    fn value(&mut self) -> Option<(&'static str, Value<'a>)> {
        let [key, kind] = self.array()?;
        let value = match kind {
            TEXT => match self.long()? {
                octets if is_all_plain(octets) => Value::Plain(octets),
                octets => Value::Text(std::str::from_utf8(octets).ok()?),
            },
            OCTETS => Value::Octets(self.long()?),
            ENTRY => Value::Entry(EntryId::new(self.array()?)),
            REQUEST => Value::Request(RequestId(u64::from_le_bytes(self.array()?))),
            ADDRESS_V4 => {
                let ip = IpAddr::from(Ipv4Addr::from(self.array::<4>()?));
                Value::Address(SocketAddr::new(ip, u16::from_le_bytes(self.array()?)))
            }
            ADDRESS_V6 => {
                let ip = Ipv6Addr::from(self.array::<16>()?);
                let (scope, port) = (u32::from_le_bytes(self.array()?), u16::from_le_bytes(self.array()?));
                Value::Address(SocketAddrV6::new(ip, port, 0, scope).into())
            }
            NUMBER => Value::Number(u64::from_le_bytes(self.array()?)),
            SIGNED => Value::Signed(i64::from_le_bytes(self.array()?)),
            _ => return None,
        };
        Some((Key::of(key)?.text(), value))
    }

    fn long(&mut self) -> Option<&'a [u8]> {
        let length = u16::from_le_bytes(self.array()?);
        self.octets(usize::from(length))
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn octets(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}

enum Value<'a> {
    Plain(&'a [u8]),
    Text(&'a str),
    Octets(&'a [u8]),
    Entry(EntryId),
    Request(RequestId),
    Address(SocketAddr),
    Number(u64),
    Signed(i64),
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TIME: Wall = Wall::from_seconds(1_785_567_600);

    fn line(evidence: &[u8]) -> String {
        let mut out = b"before|".to_vec();
        put_line(&mut out, evidence);
        String::from_utf8(out).unwrap().strip_prefix("before|").unwrap().to_owned()
    }

    #[test]
    fn facts_become_the_line_that_would_have_been_written_at_once() {
        let entry = EntryId::new(*b"0123456789abcdef");
        for address in ["192.0.2.7:1812", "[2001:db8::7]:1812", "[fe80::1%3]:9"] {
            let address: SocketAddr = address.parse().unwrap();
            let mut facts = Vec::new();
            Facts::begin(&mut facts, TIME, "authentication")
                .text(Key::Outcome, "accept")
                .request(Key::Request, RequestId(0x66aa))
                .address(Key::Source, address)
                .octets(Key::User, b"a\"\\\xff")
                .entry(Key::Entry, entry)
                .text(Key::Contract, "契約\n")
                .signed(Key::StepOffset, -1)
                .number(Key::Duration, 42);
            let at_once = Line::new(TIME, "authentication")
                .text("outcome", "accept")
                .shown("request", RequestId(0x66aa))
                .shown("source", address)
                .octets("user", b"a\"\\\xff")
                .shown("entry", entry)
                .text("contract", "契約\n")
                .signed("step_offset", -1)
                .number("duration_us", 42);
            assert_eq!(line(&facts), String::from_utf8(at_once.finish().into()).unwrap());
        }
    }

    #[test]
    fn a_line_stays_as_it_is_and_what_nobody_can_read_is_kept() {
        assert_eq!(line(b"{\"event\":\"release\""), "{\"event\":\"release\"");
        let mut facts = Vec::new();
        Facts::begin(&mut facts, TIME, "x").number(Key::Duration, 1);
        facts[15] = 200;
        assert_eq!(
            line(&facts),
            format!(
                "{{\"time\":\"1970-01-01T00:00:00.000000Z\",\"event\":\"unreadable\",\"facts\":\"{}\"",
                data_encoding::HEXLOWER.encode(&facts)
            )
        );
    }

    #[test]
    fn no_two_keys_have_one_number_or_one_name() {
        for key in Key::ALL {
            assert_eq!(Key::of(*key as u8), Some(*key));
            assert_eq!(Key::ALL.iter().filter(|other| other.text() == key.text()).count(), 1);
        }
    }

    proptest! {
        #[test]
        fn whatever_the_octets_one_line_of_json_comes_of_them(mut octets: Vec<u8>) {
            octets.insert(0, FACTS);
            let line = line(&octets) + "}";
            prop_assert!(!line.contains(|c: char| c.is_control()));
            prop_assert!(serde_json::from_str::<serde_json::Value>(&line).is_ok());
        }
    }
}
