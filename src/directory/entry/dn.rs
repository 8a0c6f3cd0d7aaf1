//! Distinguished names in the one form they are compared in.

use super::known_name;
use std::fmt;
use unicode_normalization::UnicodeNormalization;

/// A DN (RFC 4514) with its spelling taken out: two texts that name one entry give equal values.
///
/// Attribute types are compared without case and by OID, values as caseIgnoreMatch does (RFC 4518: NFKC, case and surplus
/// blanks do not count), the parts of a multi-valued RDN in any order, whatever way characters are escaped. An attribute
/// that is compared with case would be seen as equal too often here; directories use none in DNs.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Dn(Box<str>);

impl Dn {
    /// Reads a DN in any spelling; `None` if it is none. The empty DN is the root.
    pub fn parse(text: &str) -> Option<Dn> {
        match plain(text) {
            Some(normal) => Some(Dn(normal.into())),
            None => Dn::parse_any(text),
        }
    }

    fn parse_any(text: &str) -> Option<Dn> {
        let mut normal = String::with_capacity(text.len());
        let mut rest = text.trim_start_matches(' ');
        if rest.is_empty() {
            return Some(Dn(normal.into()));
        }
        let mut parts: Vec<String> = Vec::new();
        loop {
            let (part, end, after) = part(rest)?;
            parts.push(part);
            if end != Some('+') {
                parts.sort_unstable();
                normal.push_str(&parts.join("+"));
                parts.clear();
            }
            match end {
                Some('+') => {}
                Some(_) => normal.push(','),
                None => return Some(Dn(normal.into())),
            }
            rest = after;
        }
    }

    /// The normal form; not meant for a directory or for people.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is `base` or lies below it.
    pub fn is_within(&self, base: &Dn) -> bool {
        // A comma inside a value is escaped in the normal form, so a plain one always begins a parent.
        base.0.is_empty()
            || self.0.strip_suffix(&*base.0).is_some_and(|above| above.is_empty() || above.ends_with(','))
    }
}

impl fmt::Debug for Dn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// What nearly every DN is: ASCII, one value in each part, without blanks, escapes or anything that could need one. The
/// same result as for any other DN, in one pass.
fn plain(text: &str) -> Option<String> {
    let mut normal = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    loop {
        let (name, value) = rest.split_at_checked(rest.iter().position(|octet| *octet == b'=')?)?;
        let value = value.get(1..)?;
        let end = value.iter().position(|octet| *octet == b',');
        let (value, after) = value.split_at_checked(end.unwrap_or(value.len()))?;
        let is_name = name.first().is_some_and(u8::is_ascii_alphabetic)
            && name.iter().all(|octet| octet.is_ascii_alphanumeric() || *octet == b'-');
        let is_plain = |octet: &u8| octet.is_ascii_graphic() && !b"\"#+,;<=>\\".contains(octet);
        if !is_name || !value.iter().all(is_plain) {
            return None;
        }
        normal.extend_from_slice(usual_type(std::str::from_utf8(name).ok()?).as_bytes());
        normal.push(b'=');
        normal.extend_from_slice(value);
        if end.is_none() {
            normal.make_ascii_lowercase();
            return String::from_utf8(normal).ok();
        }
        normal.push(b',');
        rest = after.get(1..)?;
    }
}

/// The name of an attribute type that is usual in DNs, for one of its others.
fn usual_type(name: &str) -> &str {
    match name {
        _ if name.eq_ignore_ascii_case("commonName") => "cn",
        _ if name.eq_ignore_ascii_case("userid") => "uid",
        _ if name.eq_ignore_ascii_case("domainComponent") => "dc",
        _ => name,
    }
}

/// Reads one `type=value`; gives its normal form, what ended it and what follows.
fn part(text: &str) -> Option<(String, Option<char>, &str)> {
    let (name, value) = text.split_once('=')?;
    let name = known_name(name.trim_matches(' '));
    let mut characters = name.chars();
    let first = characters.next()?;
    let is_oid = first.is_ascii_digit();
    let fits =
        |c: char| if is_oid { c.is_ascii_digit() || c == '.' } else { c.is_ascii_alphanumeric() || c == '-' };
    if !first.is_ascii_alphanumeric() || !characters.all(fits) {
        return None;
    }
    let (value, end, after) = value_octets(value.trim_start_matches(' '))?;
    let mut normal = usual_type(name).to_ascii_lowercase();
    normal.push('=');
    fold(&value, &mut normal);
    Some((normal, end, after))
}

/// Takes the octets of a value up to an unescaped `,`, `;` (LDAPv2) or `+`.
fn value_octets(text: &str) -> Option<(Vec<u8>, Option<char>, &str)> {
    let end_of = |at: usize, c: char| text.get(at + c.len_utf8()..);
    if let Some(hex) = text.strip_prefix('#') {
        let length = hex.find([',', ';', '+']).unwrap_or(hex.len());
        let (hex, after) = hex.split_at_checked(length)?;
        let octets = data_encoding::HEXLOWER_PERMISSIVE.decode(hex.trim_end_matches(' ').as_bytes()).ok()?;
        let mut after = after.chars();
        let end = after.next();
        return Some((simple_string(&octets)?, end, after.as_str()));
    }
    let mut octets = Vec::new();
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            ',' | ';' | '+' => return Some((octets, Some(c), end_of(at, c)?)),
            '\\' => {
                let (_, escaped) = characters.next()?;
                match escaped.to_digit(16) {
                    Some(high) => {
                        let low = characters.next()?.1.to_digit(16)?;
                        octets.push(u8::try_from(high * 16 + low).ok()?);
                    }
                    None if " \"#+,;<=>\\".contains(escaped) => octets.push(u8::try_from(escaped).ok()?),
                    None => return None,
                }
            }
            '"' | '\0' => return None,
            _ => octets.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Some((octets, None, ""))
}

/// A value as it stands in a DN (RFC 4514 §2.4), whatever is in it.
pub fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (at, c) in value.chars().enumerate() {
        match c {
            '\0' => text.push_str("\\00"),
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' | '=' => text.extend(['\\', c]),
            '#' if at == 0 => text.push_str("\\#"),
            ' ' if at == 0 || at == last => text.push_str("\\ "),
            _ => text.push(c),
        }
    }
    text
}

/// The content of a BER string with a short length; of anything else the octets themselves, marked.
fn simple_string(ber: &[u8]) -> Option<Vec<u8>> {
    match ber {
        [] => None,
        [0x04 | 0x0c | 0x13 | 0x16, length @ 0..=0x7f, content @ ..]
            if usize::from(*length) == content.len() =>
        {
            Some(content.to_vec())
        }
        other => Some([b"\0ber ", other].concat()),
    }
}

/// Writes a value as caseIgnoreMatch sees it; whatever could be taken for syntax, and every octet that is not UTF-8, as
/// `\xx`.
fn fold(value: &[u8], normal: &mut String) {
    use fmt::Write as _;
    let Ok(text) = std::str::from_utf8(value) else {
        value.iter().for_each(|octet| _ = write!(normal, "\\{octet:02x}"));
        return;
    };
    // ASCII is in NFKC already, and nearly every DN is ASCII.
    let text: String = if text.is_ascii() {
        text.to_ascii_lowercase()
    } else {
        text.nfkc().flat_map(char::to_lowercase).nfkc().collect()
    };
    for (at, word) in text.split_whitespace().enumerate() {
        if at > 0 {
            normal.push(' ');
        }
        for c in word.chars() {
            if c.is_ascii_control() || "\"#+,;<=>\\".contains(c) {
                _ = write!(normal, "\\{:02x}", u32::from(c));
            } else {
                normal.push(c);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_plain_dn_reads_as_any_other(text in "([a-zA-Z]{0,3}|commonname|UserID)=[a-zA-Z0-9@#+;=\\\\ é]{0,6}(,([a-zA-Z0-9-]{1,4}|domaincomponent)=[!-~]{0,4}){0,3},?") {
            if let Some(normal) = plain(&text) {
                prop_assert_eq!(Dn::parse_any(&text).map(|dn| dn.as_str().to_owned()), Some(normal));
            }
        }
    }

    #[test]
    fn nearly_every_dn_is_plain() {
        assert_eq!(
            plain("UID=u00012345,ou=People,dc=Example,domainComponent=jp").as_deref(),
            Some("uid=u00012345,ou=people,dc=example,dc=jp")
        );
        for other in ["", "cn", "cn=a b", "cn=a\\,b", "1.2=x", "cn=é", "cn=x,", "cn=#04", "cn=a+sn=b"] {
            assert_eq!(plain(other), None, "{other}");
        }
    }
}
