//! Builds one line of evidence: typed values in, one buffer out, escaped so that no name can end the line or forge a
//! second one (SEC-02).

use crate::clock::Wall;
use crate::identity::{EntryId, RequestId};
use data_encoding::HEXLOWER;
use std::io::Write as _;
use std::net::SocketAddr;

/// Octets that a usual line has, so that its buffer is allocated once.
const USUAL: usize = 512;

/// A JSON object that is still open: place and closing brace come from the audit file.
pub struct Line(Vec<u8>);

impl Line {
    /// Begins a line: what happened, and when (UTC).
    pub fn new(time: Wall, event: &'static str) -> Line {
        Line(Vec::with_capacity(USUAL)).open(time, event)
    }

    /// A line that will be written behind what is in the buffer.
    pub(super) fn in_buffer(buffer: Vec<u8>) -> Line {
        Line(buffer)
    }

    /// The buffer with the line in it.
    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.0
    }

    /// The beginning of a line.
    pub(super) fn open(mut self, time: Wall, event: &str) -> Line {
        self.0.extend_from_slice(b"{\"time\":");
        self.put_time(time);
        self.text("event", event)
    }

    /// Text. Characters that end lines, move cursors, hide or reorder what a reader sees are written as `\u….`.
    #[must_use]
    pub fn text(mut self, key: &'static str, value: &str) -> Line {
        self.key(key);
        self.0.push(b'"');
        self.put_text(value, Backslash::Once);
        self.0.push(b'"');
        self
    }

    /// Text that need not be UTF-8: what is not becomes the text `\xff`, and a backslash `\\`, so that no two values
    /// look the same.
    #[must_use]
    pub fn octets(mut self, key: &'static str, value: &[u8]) -> Line {
        if is_all_plain(value) {
            return self.plain(key, value);
        }
        self.key(key);
        self.0.push(b'"');
        for chunk in value.utf8_chunks() {
            self.put_text(chunk.valid(), Backslash::Twice);
            for octet in chunk.invalid() {
                let _ = write!(self.0, "\\\\x{octet:02x}");
            }
        }
        self.0.push(b'"');
        self
    }

    /// Text of which every character is written as it is ([`is_all_plain`]).
    #[must_use]
    pub(super) fn plain(mut self, key: &'static str, value: &[u8]) -> Line {
        self.key(key);
        self.0.push(b'"');
        self.0.extend_from_slice(value);
        self.0.push(b'"');
        self
    }

    /// The identity of an entry.
    #[must_use]
    pub fn entry(mut self, key: &'static str, value: EntryId) -> Line {
        let mut digits = [0; 32];
        HEXLOWER.encode_mut(&value.octets(), &mut digits);
        self.key(key);
        self.0.push(b'"');
        let mut rest = digits.as_slice();
        for length in [8, 4, 4, 4, 12] {
            let (group, after) = rest.split_at_checked(length).unwrap_or_default();
            self.0.extend_from_slice(group);
            self.0.push(if after.is_empty() { b'"' } else { b'-' });
            rest = after;
        }
        self
    }

    /// The name of a request.
    #[must_use]
    pub fn request(mut self, key: &'static str, value: RequestId) -> Line {
        let mut digits = [0; 16];
        HEXLOWER.encode_mut(&value.0.to_be_bytes(), &mut digits);
        self.key(key);
        self.0.push(b'"');
        self.0.extend_from_slice(&digits);
        self.0.push(b'"');
        self
    }

    /// An address with its port.
    #[must_use]
    pub fn address(mut self, key: &'static str, value: SocketAddr) -> Line {
        let SocketAddr::V4(v4) = value else { return self.shown(key, value) };
        self.key(key);
        self.0.push(b'"');
        for (octet, behind) in v4.ip().octets().into_iter().zip(*b"...:") {
            self.put_decimal(octet.into());
            self.0.push(behind);
        }
        self.put_decimal(v4.port().into());
        self.0.push(b'"');
        self
    }

    /// Anything with a text form, such as an address.
    #[must_use]
    pub fn shown(mut self, key: &'static str, value: impl std::fmt::Display) -> Line {
        self.key(key);
        self.0.push(b'"');
        let mut escaping = Escaping(&mut self);
        let _ = std::fmt::Write::write_fmt(&mut escaping, format_args!("{value}"));
        self.0.push(b'"');
        self
    }

    /// A number.
    #[must_use]
    pub fn number(mut self, key: &'static str, value: u64) -> Line {
        self.key(key);
        self.put_decimal(value);
        self
    }

    /// A number that may be negative.
    #[must_use]
    pub fn signed(mut self, key: &'static str, value: i64) -> Line {
        self.key(key);
        if value < 0 {
            self.0.push(b'-');
        }
        self.put_decimal(value.unsigned_abs());
        self
    }

    /// A point in time (UTC).
    #[must_use]
    pub fn time(mut self, key: &'static str, value: Wall) -> Line {
        self.key(key);
        self.put_time(value);
        self
    }

    /// The line, as evidence for [`Staged`](crate::store::Staged).
    pub fn finish(self) -> Box<[u8]> {
        self.0.into_boxed_slice()
    }

    /// Keys are our own words and need no escaping.
    fn key(&mut self, key: &'static str) {
        self.0.extend_from_slice(b",\"");
        self.0.extend_from_slice(key.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    /// RFC 3339 with microseconds; a time beyond the year 9999 is written as seconds since the epoch.
    fn put_time(&mut self, time: Wall) {
        let Some(Date { year, month, day }) = Date::of(time.seconds() / 86_400) else {
            return self.put_decimal(time.seconds());
        };
        let of_day = time.seconds() % 86_400;
        let mut text = *b"\"0000-00-00T00:00:00.000000Z\"";
        for (value, place) in [
            (year, 1..5),
            (month, 6..8),
            (day, 9..11),
            (of_day / 3600, 12..14),
            (of_day / 60 % 60, 15..17),
            (of_day % 60, 18..20),
            (u64::from(time.subsec_nanos() / 1000), 21..27),
        ] {
            fill_digits(text.get_mut(place).unwrap_or_default(), value);
        }
        self.0.extend_from_slice(&text);
    }

    fn put_decimal(&mut self, value: u64) {
        put_decimal(&mut self.0, value);
    }

    /// Runs of harmless characters, which nearly all text is, are copied as a whole.
    fn put_text(&mut self, text: &str, backslash: Backslash) {
        if is_all_plain(text.as_bytes()) {
            return self.0.extend_from_slice(text.as_bytes());
        }
        let mut rest = text;
        loop {
            let plain = rest.bytes().position(|octet| !is_plain(octet)).unwrap_or(rest.len());
            let (before, after) = rest.split_at_checked(plain).unwrap_or((rest, ""));
            self.0.extend_from_slice(before.as_bytes());
            let mut characters = after.chars();
            let Some(character) = characters.next() else { return };
            if character == '\\' && backslash == Backslash::Twice {
                self.0.extend_from_slice(b"\\\\");
            }
            self.put_char(character);
            rest = characters.as_str();
        }
    }

    fn put_char(&mut self, character: char) {
        match character {
            '"' => self.0.extend_from_slice(b"\\\""),
            '\\' => self.0.extend_from_slice(b"\\\\"),
            ' '..='~' => self.0.push(u8::try_from(character).unwrap_or(b'?')),
            _ if character.is_control() || is_hidden(character) => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let _ = write!(self.0, "\\u{unit:04x}");
                }
            }
            _ => self.0.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// How often a backslash of the value is written, before JSON doubles it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Backslash {
    Once,
    Twice,
}

/// Printable ASCII that JSON writes as it is.
fn is_plain(octet: u8) -> bool {
    (octet.wrapping_sub(b' ') < 95) & (octet != b'"') & (octet != b'\\')
}

/// Whether all of a text is. Looks at every octet, because many at a time take less than one by one until the first.
pub(super) fn is_all_plain(octets: &[u8]) -> bool {
    octets.iter().fold(true, |all, &octet| all & is_plain(octet))
}

/// Appends a number in decimal digits.
pub(super) fn put_decimal(out: &mut Vec<u8>, value: u64) {
    let digits = usize::try_from(value.checked_ilog10().unwrap_or(0)).unwrap_or(0).saturating_add(1);
    let mut room = [0; 20];
    let room = room.get_mut(..digits).unwrap_or_default();
    fill_digits(room, value);
    out.extend_from_slice(room);
}

/// Fills a place with the last decimal digits of a number, leading zeros included.
fn fill_digits(place: &mut [u8], mut value: u64) {
    for octet in place.iter_mut().rev() {
        *octet = b'0'.wrapping_add(u8::try_from(value % 10).unwrap_or(0));
        value /= 10;
    }
}

/// A day of the Gregorian calendar.
struct Date {
    year: u64,
    month: u64,
    day: u64,
}

impl Date {
    /// The day so many days after 1970-01-01; `None` beyond the year 9999. Years are counted from March on, so that the
    /// leap day is the last one: then months begin at every (153 m + 2) / 5 days, and centuries have one length.
    fn of(days: u64) -> Option<Date> {
        const FROM_MARCH_OF_YEAR_0: u64 = 719_468;
        const FOUR_CENTURIES: u64 = 146_097;
        const CENTURY: u64 = 36_524;
        const FOUR_YEARS: u64 = 1461;
        let days = days.checked_add(FROM_MARCH_OF_YEAR_0)?;
        let (fours, day) = (days / FOUR_CENTURIES, days % FOUR_CENTURIES);
        // The last day of the last century, and of a leap year, belongs to what it ends.
        let century = (day / CENTURY).min(3);
        let day = day - century * CENTURY;
        let four = day / FOUR_YEARS;
        let day = day - four * FOUR_YEARS;
        let one = (day / 365).min(3);
        let day = day - one * 365;
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
        let year = fours * 400 + century * 100 + four * 4 + one + next;
        (year <= 9999).then_some(Date { year, month, day })
    }
}

/// Escapes what a formatter writes.
struct Escaping<'a>(&'a mut Line);

impl std::fmt::Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.put_text(text, Backslash::Once);
        Ok(())
    }
}

/// Characters that are not controls but hide or reorder what a reader sees: soft hyphen, Arabic letter mark, Mongolian
/// separator, zero-width and directional marks, line separators, variation selectors, tags.
fn is_hidden(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn closed(line: Line) -> String {
        let mut text = String::from_utf8(line.finish().into()).unwrap();
        text.push('}');
        text
    }

    #[test]
    fn a_line_has_the_form_of_the_contract() {
        let line = Line::new(Wall::from_seconds(1_785_567_600), "login")
            .text("outcome", "accept")
            .octets("user", "山田".as_bytes())
            .signed("step_offset", -1)
            .number("duration_us", 42)
            .shown("source", std::net::Ipv4Addr::LOCALHOST)
            .time("until", Wall::from_seconds(0));
        let expected = r#"{"time":"2026-08-01T07:00:00.000000Z","event":"login","outcome":"accept","user":"山田","step_offset":-1,"duration_us":42,"source":"127.0.0.1","until":"1970-01-01T00:00:00.000000Z"}"#;
        assert_eq!(closed(line), expected);
    }

    #[test]
    fn sec_02_no_name_ends_the_line_or_hides() {
        for (octets, expected) in [
            (b"a\r\n{\"x\":1}".as_slice(), r#""a\u000d\u000a{\"x\":1}""#),
            (b"\x1b[2J\0\x7f", r#""\u001b[2J\u0000\u007f""#),
            (b"\xff\\xff", r#""\\xff\\\\xff""#),
            ("\u{202e}\u{200b}\u{e0041}".as_bytes(), r#""\u202e\u200b\udb40\udc41""#),
            ("\u{85}\u{2028}".as_bytes(), r#""\u0085\u2028""#),
        ] {
            let text = closed(Line::new(Wall::default(), "x").octets("user", octets));
            assert_eq!(
                text,
                format!("{{\"time\":\"1970-01-01T00:00:00.000000Z\",\"event\":\"x\",\"user\":{expected}}}")
            );
        }
    }

    #[test]
    fn every_day_until_the_year_9999_is_the_calendars() {
        let mut days = 0;
        while let Some(Date { year, month, day }) = Date::of(days) {
            let expected = jiff::Timestamp::from_second(i64::try_from(days * 86_400).unwrap()).unwrap();
            let expected = expected.to_zoned(jiff::tz::TimeZone::UTC).date();
            let (y, m, d) = (expected.year().into(), expected.month().into(), expected.day().into());
            assert_eq!((i64::try_from(year).unwrap(), month, day), (y, i8_of(m), i8_of(d)), "day {days}");
            // Every day around the ends of months for the first centuries, then in steps of a prime.
            days += if days < 160_000 { 1 } else { 97 };
        }
        assert_eq!(Date::of(2_932_896).map(|date| date.year), Some(9999));
        assert!(Date::of(2_932_897).is_none() && Date::of(u64::MAX).is_none());
    }

    fn i8_of(value: i64) -> u64 {
        u64::try_from(value).unwrap()
    }

    proptest! {
        #[test]
        fn a_time_is_written_as_the_calendar_has_it(seconds in 0..250_000_000_000_u64, nanos in 0..1_000_000_000_u64) {
            let time = Wall::from_seconds(seconds).plus(std::time::Duration::from_nanos(nanos));
            let micros = i32::try_from(nanos / 1000 * 1000).unwrap();
            let utc = jiff::Timestamp::new(i64::try_from(seconds).unwrap(), micros).unwrap();
            let line = closed(Line::new(time, "x"));
            prop_assert_eq!(line, format!("{{\"time\":\"{utc:.6}\",\"event\":\"x\"}}"));
        }

        #[test]
        fn every_line_is_one_line_of_json(text: String, octets: Vec<u8>, seconds: u64, number: i64) {
            let line = Line::new(Wall::from_seconds(seconds), "x")
                .text("a", &text).octets("b", &octets).shown("c", &text).signed("d", number);
            let line = closed(line);
            prop_assert!(!line.contains(|c: char| c.is_control()));
            let read: serde_json::Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(read["a"].as_str(), Some(text.as_str()));
            prop_assert_eq!(read["c"].as_str(), Some(text.as_str()));
            prop_assert_eq!(read["d"].as_i64(), Some(number));
        }
    }
}
