//! The part of ASN.1 BER that LDAP uses (RFC 4511 §5.1), read without recursion and written into a wiped buffer.
//!
//! A reader only ever goes as deep as the code that holds it, so that nesting costs a hostile server more than us;
//! lengths must be definite and lie inside what has arrived.

use zeroize::Zeroizing;

/// BOOLEAN.
pub const BOOLEAN: u8 = 0x01;
/// INTEGER.
pub const INTEGER: u8 = 0x02;
/// OCTET STRING.
pub const OCTET_STRING: u8 = 0x04;
/// ENUMERATED.
pub const ENUMERATED: u8 = 0x0a;
/// SEQUENCE and SEQUENCE OF.
pub const SEQUENCE: u8 = 0x30;
/// SET and SET OF.
pub const SET: u8 = 0x31;

/// What was read is not what RFC 4511 says must stand there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server's message is not LDAP (RFC 4511)")]
pub struct Malformed;

/// Reads elements one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from these octets.
    pub fn new(octets: &'a [u8]) -> Reader<'a> {
        Reader { rest: octets }
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether everything has been read.
    pub fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    /// The tag of the next element, if there is one.
    pub fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// The next element: its tag and its content.
    pub fn element(&mut self) -> Result<(u8, &'a [u8]), Malformed> {
        let (header, length) = header(self.rest)?.ok_or(Malformed)?;
        let tag = self.peek().ok_or(Malformed)?;
        let content = self.rest.get(header..).ok_or(Malformed)?;
        let (content, rest) = content.split_at_checked(length).ok_or(Malformed)?;
        self.rest = rest;
        Ok((tag, content))
    }

    /// The content of the next element, which must have this tag.
    pub fn expect(&mut self, tag: u8) -> Result<&'a [u8], Malformed> {
        let (found, content) = self.element()?;
        if found == tag { Ok(content) } else { Err(Malformed) }
    }

    /// The content of the next element if it has this tag; otherwise nothing is read.
    pub fn optional(&mut self, tag: u8) -> Result<Option<&'a [u8]>, Malformed> {
        if self.peek() == Some(tag) { self.expect(tag).map(Some) } else { Ok(None) }
    }

    /// A constructed element, to be read further.
    pub fn inside(&mut self, tag: u8) -> Result<Reader<'a>, Malformed> {
        self.expect(tag).map(Reader::new)
    }

    /// An INTEGER or ENUMERATED that is not negative and fits.
    pub fn number(&mut self, tag: u8) -> Result<u32, Malformed> {
        number(self.expect(tag)?)
    }

    /// A BOOLEAN, or `absent` if none stands here.
    pub fn boolean(&mut self, absent: bool) -> Result<bool, Malformed> {
        match self.optional(BOOLEAN)? {
            None => Ok(absent),
            Some([octet]) => Ok(*octet != 0),
            Some(_) => Err(Malformed),
        }
    }
}

/// The content of an INTEGER or ENUMERATED.
pub fn number(content: &[u8]) -> Result<u32, Malformed> {
    match content {
        [] => Err(Malformed),
        [first, ..] if first & 0x80 != 0 || content.len() > 5 => Err(Malformed),
        _ => {
            let value = content.iter().fold(0u64, |value, &octet| (value << 8) | u64::from(octet));
            u32::try_from(value).map_err(|_| Malformed)
        }
    }
}

/// The octets of tag and length at the start of `octets`, and the length they announce; `None` if not all of them
/// have arrived.
pub fn header(octets: &[u8]) -> Result<Option<(usize, usize)>, Malformed> {
    let [tag, rest @ ..] = octets else { return Ok(None) };
    if tag & 0x1f == 0x1f {
        return Err(Malformed);
    }
    let [first, rest @ ..] = rest else { return Ok(None) };
    if first & 0x80 == 0 {
        return Ok(Some((2, usize::from(*first))));
    }
    let count = usize::from(first & 0x7f);
    if !(1..=4).contains(&count) {
        return Err(Malformed);
    }
    let Some(length) = rest.get(..count) else { return Ok(None) };
    let length = length.iter().fold(0usize, |length, &octet| (length << 8) | usize::from(octet));
    Ok(Some((2 + count, length)))
}

/// Writes elements. What it wrote may hold a password, so it wipes itself.
#[derive(Default)]
pub struct Writer {
    octets: Zeroizing<Vec<u8>>,
}

/// Room that most requests fit into, so that a password is not left behind when the buffer moves.
const USUAL: usize = 512;

impl Writer {
    /// An empty buffer.
    pub fn new() -> Writer {
        Writer { octets: Zeroizing::new(Vec::with_capacity(USUAL)) }
    }

    /// One element.
    pub fn put(&mut self, tag: u8, content: &[u8]) -> &mut Writer {
        self.header(tag, content.len());
        self.raw(content)
    }

    /// Octets that are elements already.
    pub fn raw(&mut self, octets: &[u8]) -> &mut Writer {
        self.reserve(octets.len());
        self.octets.extend_from_slice(octets);
        self
    }

    /// An INTEGER or ENUMERATED.
    pub fn number(&mut self, tag: u8, value: u32) -> &mut Writer {
        let octets = value.to_be_bytes();
        let mut short: &[u8] = &octets;
        while let [0, rest @ ..] = short
            && rest.first().is_some_and(|next| next & 0x80 == 0)
        {
            short = rest;
        }
        if short.first().is_some_and(|first| first & 0x80 != 0) {
            self.header(tag, short.len() + 1);
            return self.raw(&[0]).raw(short);
        }
        self.put(tag, short)
    }

    /// A constructed element with what `inside` writes.
    pub fn within(&mut self, tag: u8, inside: impl FnOnce(&mut Writer)) -> &mut Writer {
        let mut content = Writer::new();
        inside(&mut content);
        self.put(tag, &content.octets)
    }

    /// What was written.
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    fn header(&mut self, tag: u8, length: usize) {
        self.reserve(6);
        self.octets.push(tag);
        match u8::try_from(length) {
            Ok(short) if short < 0x80 => self.octets.push(short),
            _ => {
                let octets = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
                self.octets.push(0x84);
                self.octets.extend_from_slice(&octets);
            }
        }
    }

    /// Moves to a larger buffer when needed and wipes the old one: a plain `Vec` would leave it behind.
    fn reserve(&mut self, more: usize) {
        let needed = self.octets.len().saturating_add(more);
        if needed > self.octets.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(needed.saturating_mul(2)));
            larger.extend_from_slice(&self.octets);
            self.octets = larger;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_are_written() {
        for value in [0, 1, 127, 128, 255, 256, 65_535, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
            let mut writer = Writer::new();
            writer.number(INTEGER, value);
            assert_eq!(Reader::new(writer.octets()).number(INTEGER), Ok(value), "{value}");
        }
        for bad in [&[][..], &[0x80], &[0xff, 0xff], &[0, 0, 0, 0, 0, 1], &[1, 0, 0, 0, 0]] {
            assert_eq!(number(bad), Err(Malformed), "{bad:?}");
        }
    }

    #[test]
    fn long_content_is_read_as_it_is_written() {
        for length in [0, 127, 128, 300, 70_000] {
            let content = vec![7u8; length];
            let mut writer = Writer::new();
            writer.within(SEQUENCE, |inside| {
                inside.put(OCTET_STRING, &content);
            });
            let mut inside = Reader::new(writer.octets()).inside(SEQUENCE).unwrap();
            assert_eq!(inside.expect(OCTET_STRING), Ok(content.as_slice()));
            assert!(inside.is_done());
        }
    }

    #[test]
    fn ldap_28_lengths_outside_the_message_and_indefinite_ones_are_refused() {
        for bad in [
            &[0x30, 0x80, 0, 0][..],
            &[0x30, 0x85, 1, 0, 0, 0, 0],
            &[0x30, 0x84, 0x80, 0, 0, 0],
            &[0x30, 0x05, 1],
            &[0x3f, 0x81, 1, 0],
            &[0x30],
            &[],
        ] {
            assert_eq!(Reader::new(bad).element(), Err(Malformed), "{bad:?}");
        }
        assert_eq!(header(&[0x30, 0x84, 0x7f]), Ok(None));
        assert_eq!(header(&[0x30, 0x84, 0x7f, 0xff, 0xff, 0xff]), Ok(Some((6, 0x7fff_ffff))));
    }
}
