//! Builds one line of evidence: typed values in, one buffer out, escaped so that no name can end the line or forge a
//! second one (SEC-02).

use crate::clock::Wall;
use crate::identity::EntryId;
use std::io::Write as _;

/// Octets that a usual line has, so that its buffer is allocated once.
const USUAL: usize = 512;

/// A JSON object that is still open: place and closing brace come from the audit file.
pub struct Line(Vec<u8>);

impl Line {
    /// Begins a line: what happened, and when (UTC).
    pub fn new(time: Wall, event: &'static str) -> Line {
        let mut line = Line(Vec::with_capacity(USUAL));
        line.0.extend_from_slice(b"{\"time\":");
        line.put_time(time);
        line.text("event", event)
    }

    /// Text. Characters that end lines, move cursors, hide or reorder what a reader sees are written as `\u….`.
    #[must_use]
    pub fn text(mut self, key: &'static str, value: &str) -> Line {
        self.key(key);
        self.put_string(value.as_bytes());
        self
    }

    /// Text that need not be UTF-8: what is not becomes the text `\xff`, and a backslash `\\`, so that no two values
    /// look the same.
    #[must_use]
    pub fn octets(mut self, key: &'static str, value: &[u8]) -> Line {
        self.key(key);
        self.0.push(b'"');
        for chunk in value.utf8_chunks() {
            for character in chunk.valid().chars() {
                if character == '\\' {
                    self.0.extend_from_slice(b"\\\\");
                }
                self.put_char(character);
            }
            for octet in chunk.invalid() {
                let _ = write!(self.0, "\\\\x{octet:02x}");
            }
        }
        self.0.push(b'"');
        self
    }

    /// The identity of an entry.
    #[must_use]
    pub fn entry(self, key: &'static str, value: EntryId) -> Line {
        self.shown(key, value)
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
        let _ = write!(self.0, "{value}");
        self
    }

    /// A number that may be negative.
    #[must_use]
    pub fn signed(mut self, key: &'static str, value: i64) -> Line {
        self.key(key);
        let _ = write!(self.0, "{value}");
        self
    }

    /// A point in time (UTC).
    #[must_use]
    pub fn time(mut self, key: &'static str, value: Wall) -> Line {
        self.key(key);
        self.put_time(value);
        self
    }

    /// The line, for [`Staged::evidence`](crate::store::Staged::evidence).
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
        let seconds = i64::try_from(time.seconds()).ok();
        let micros = time.subsec_nanos() / 1000 * 1000;
        let time_of = |seconds| jiff::Timestamp::new(seconds, i32::try_from(micros).unwrap_or(0)).ok();
        let _ = match seconds.and_then(time_of) {
            Some(utc) => write!(self.0, "\"{utc:.6}\""),
            None => write!(self.0, "{}", time.seconds()),
        };
    }

    fn put_string(&mut self, text: &[u8]) {
        self.0.push(b'"');
        for chunk in text.utf8_chunks() {
            chunk.valid().chars().for_each(|character| self.put_char(character));
        }
        self.0.push(b'"');
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

/// Escapes what a formatter writes.
struct Escaping<'a>(&'a mut Line);

impl std::fmt::Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        text.chars().for_each(|character| self.0.put_char(character));
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

    proptest! {
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
