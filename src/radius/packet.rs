//! A packet as it lies in the datagram: header, attributes that tile it, nothing copied.

use crate::outcome::Reason;
use crate::radius::dictionary::{attribute, code};
use std::borrow::Cow;
use std::fmt;

/// Octets of the header: Code, Identifier, Length, Authenticator (RFC 2865 §3).
pub const HEADER_OCTETS: usize = 20;

/// The longest packet, in octets (RFC 2865 §3).
pub const PACKET_OCTETS_MAX: usize = 4096;

/// The longest value of one attribute, in octets (RFC 2865 §5).
pub const VALUE_OCTETS_MAX: usize = 253;

/// How many attributes a packet may have unless configuration says otherwise: what FreeRADIUS allows. Real requests
/// have ten to thirty; without a bound a packet can carry two thousand empty ones.
pub const ATTRIBUTES_MAX: usize = 200;

/// A packet whose attributes tile it exactly, borrowed from the datagram.
#[derive(Clone, Copy)]
pub struct Packet<'a> {
    octets: &'a [u8],
    header: Header<'a>,
    attributes: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads the header only, so that the client can be looked up before anything else is believed.
    ///
    /// # Errors
    /// [`Reason::TooShort`] below 20 octets.
    pub fn peek(datagram: &'a [u8]) -> Result<Header<'a>, Reason> {
        let (&[code, identifier, high, low], rest) = datagram.split_first_chunk().ok_or(Reason::TooShort)?;
        let authenticator = rest.first_chunk().ok_or(Reason::TooShort)?;
        Ok(Header { code, identifier, length: u16::from_be_bytes([high, low]), authenticator })
    }

    /// Cuts the datagram to its Length and checks that the attributes tile it, for a packet of any Code.
    ///
    /// # Errors
    /// [`Reason::TooShort`], [`Reason::LengthWrong`], [`Reason::Malformed`] (a Length of 0 or 1, an overrun, an octet
    /// left over, Type 0), [`Reason::AttributesTooMany`].
    pub fn parse(datagram: &'a [u8], attributes_max: usize) -> Result<Packet<'a>, Reason> {
        let packet = Packet::cut(datagram)?;
        packet.check_tiling(attributes_max)?;
        Ok(packet)
    }

    /// As [`Packet::parse`], for what arrives at an authentication port: the Code is checked before the attributes.
    ///
    /// # Errors
    /// Those of [`Packet::parse`], and [`Reason::TypeUnknown`] for all but Access-Request and Status-Server.
    pub fn parse_request(datagram: &'a [u8], attributes_max: usize) -> Result<Packet<'a>, Reason> {
        let packet = Packet::cut(datagram)?;
        if !matches!(packet.code(), code::ACCESS_REQUEST | code::STATUS_SERVER) {
            return Err(Reason::TypeUnknown);
        }
        packet.check_tiling(attributes_max)?;
        Ok(packet)
    }

    /// Octets beyond Length are padding and are gone before anything is computed (RFC 2865 §3).
    fn cut(datagram: &'a [u8]) -> Result<Packet<'a>, Reason> {
        let header = Packet::peek(datagram)?;
        let length = usize::from(header.length);
        if length > PACKET_OCTETS_MAX {
            return Err(Reason::LengthWrong);
        }
        let octets = datagram.get(..length).ok_or(Reason::LengthWrong)?;
        let attributes = octets.get(HEADER_OCTETS..).ok_or(Reason::LengthWrong)?;
        Ok(Packet { octets, header, attributes })
    }

    /// Every Length at least 2, so that each turn of the loop gets nearer to the end.
    fn check_tiling(&self, attributes_max: usize) -> Result<(), Reason> {
        let mut attributes = self.attributes();
        let mut count = 0usize;
        for attribute in attributes.by_ref() {
            count = count.saturating_add(1);
            if attribute.kind == 0 {
                return Err(Reason::Malformed);
            }
            if count > attributes_max {
                return Err(Reason::AttributesTooMany);
            }
        }
        if attributes.rest.is_empty() { Ok(()) } else { Err(Reason::Malformed) }
    }

    /// What kind of packet it is (RFC 2865 §4); see [`code`].
    pub fn code(&self) -> u8 {
        self.header.code
    }

    /// Ties a reply to its request.
    pub fn identifier(&self) -> u8 {
        self.header.identifier
    }

    /// The Request Authenticator, or the Response Authenticator of a reply.
    pub fn authenticator(&self) -> &'a [u8; 16] {
        self.header.authenticator
    }

    /// The whole packet without padding: what a duplicate is compared by.
    pub fn octets(&self) -> &'a [u8] {
        self.octets
    }

    /// The attributes in the order they stand.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes { rest: self.attributes }
    }

    /// The values of one attribute type, in order.
    pub fn values(&self, kind: u8) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.attributes().filter(move |attribute| attribute.kind == kind).map(|attribute| attribute.value)
    }

    /// What vendors have put into Vendor-Specific attributes, in order (RFC 2865 §5.26). A value that does not follow
    /// the recommended layout is passed over: it is somebody's, but not readable.
    pub fn vendor_attributes(&self) -> impl Iterator<Item = VendorAttribute<'a>> + use<'a> {
        self.values(attribute::VENDOR_SPECIFIC).filter_map(vendor_content).flat_map(|(vendor, content)| {
            content.map(move |Attribute { kind, value }| VendorAttribute { vendor, kind, value })
        })
    }

    /// The values of one extended type, such as 241.3 (RFC 6929 §2); fragments of 245 and 246 are joined. Values that
    /// are too short, or whose last fragment is missing, are passed over.
    pub fn extended_values(&self, kind: u8, extended: u8) -> impl Iterator<Item = Cow<'a, [u8]>> + use<'a> {
        let long = matches!(kind, attribute::EXTENDED_ATTRIBUTE_5 | attribute::EXTENDED_ATTRIBUTE_6);
        let mut joined: Option<Vec<u8>> = None;
        self.values(kind).filter_map(move |value| {
            let (_, content) = value.split_first().filter(|(subtype, _)| **subtype == extended)?;
            if !long {
                return (!content.is_empty()).then_some(Cow::Borrowed(content));
            }
            let (flags, piece) = content.split_first().filter(|(_, piece)| !piece.is_empty())?;
            let more = flags & MORE_FRAGMENTS != 0;
            match (joined.take(), more) {
                (_, true) if piece.len() != LONG_FRAGMENT_OCTETS => None,
                (None, false) => Some(Cow::Borrowed(piece)),
                (before, _) => {
                    let mut whole = before.unwrap_or_default();
                    whole.extend_from_slice(piece);
                    if !more {
                        return Some(Cow::Owned(whole));
                    }
                    joined = Some(whole);
                    None
                }
            }
        })
    }

    /// Where the value of the Message-Authenticator lies; `Wrong` if it has not 16 octets or stands twice. Which of
    /// two a sender has signed differs between implementations, so two are no signature (RFC 3579 §3.2).
    pub(super) fn message_authenticator(&self) -> Located<'a> {
        let mut found = Located::Missing;
        let mut attributes = self.attributes();
        while let Some(Attribute { kind, value }) = attributes.next() {
            if kind != attribute::MESSAGE_AUTHENTICATOR {
                continue;
            }
            found = match (found, value.first_chunk(), value.len()) {
                (Located::Missing, Some(signature), 16) => {
                    let after = attributes.rest;
                    let end = self.octets.len().saturating_sub(after.len());
                    let before = self.octets.get(..end.saturating_sub(16)).unwrap_or_default();
                    Located::At { before, signature, after }
                }
                _ => Located::Wrong,
            };
        }
        found
    }
}

/// Content is not printed: it may hold a hidden password.
impl fmt::Debug for Packet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Header { code, identifier, length, .. } = self.header;
        write!(f, "Packet(code {code}, identifier {identifier}, {length} octets)")
    }
}

/// The first 20 octets of a datagram. Nothing in it has been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// What kind of packet it claims to be.
    pub code: u8,
    /// Ties a reply to its request.
    pub identifier: u8,
    /// The length that the packet claims, in octets.
    pub length: u16,
    /// Request or Response Authenticator.
    pub authenticator: &'a [u8; 16],
}

/// One attribute: its type and its value of 0 to 253 octets, which may hold NUL and need not be text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// The attribute's type, 1 to 255; see [`attribute`].
    pub kind: u8,
    /// The octets after the attribute's header.
    pub value: &'a [u8],
}

/// The attributes of a packet, in order. Ends where they no longer tile.
#[derive(Clone)]
pub struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    #[inline]
    fn next(&mut self) -> Option<Attribute<'a>> {
        let (&[kind, length], tail) = self.rest.split_first_chunk()?;
        let (value, rest) = tail.split_at_checked(usize::from(length).checked_sub(2)?)?;
        self.rest = rest;
        Some(Attribute { kind, value })
    }
}

/// One attribute of a vendor's own, from inside a Vendor-Specific.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct VendorAttribute<'a> {
    /// The vendor's number (SMI Network Management Private Enterprise Code).
    pub vendor: u32,
    /// The vendor's own type.
    pub kind: u8,
    /// The octets after the inner header.
    pub value: &'a [u8],
}

/// The vendor's number and the attributes inside, if they tile the value.
pub(super) fn vendor_content(value: &[u8]) -> Option<(u32, Attributes<'_>)> {
    let (vendor, rest) = value.split_first_chunk()?;
    let content = Attributes { rest };
    let mut end = content.clone();
    end.by_ref().for_each(drop);
    end.rest.is_empty().then_some((u32::from_be_bytes(*vendor), content))
}

/// What the search for the Message-Authenticator found.
pub(super) enum Located<'a> {
    Missing,
    Wrong,
    At { before: &'a [u8], signature: &'a [u8; 16], after: &'a [u8] },
}

/// The More flag of a long extended attribute; the other bits are reserved and ignored (RFC 6929 §2.2).
const MORE_FRAGMENTS: u8 = 0x80;

/// A fragment that is not the last fills its attribute: 255 less Type, Length, Extended-Type and flags (RFC 6929 §2.2).
const LONG_FRAGMENT_OCTETS: usize = 251;
