//! A packet while it is written: Message-Authenticator first, signed at the end, never above 4096 octets.

use crate::radius::authenticator::SharedSecret;
use crate::radius::dictionary::attribute;
use crate::radius::octets::PacketOctets;
use crate::radius::packet::{HEADER_OCTETS, PACKET_OCTETS_MAX};

/// Octets of header and Message-Authenticator: what every packet we send has.
pub(super) const SIGNED_HEADER_OCTETS: usize = HEADER_OCTETS + 18;

/// The packet so far. In a reply the header holds the Request Authenticator until [`Draft::sign_reply`].
pub(super) struct Draft(PacketOctets);

/// The packet would be longer than 4096 octets, or a value longer than 253.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DoesNotFit;

impl Draft {
    /// Begins a packet; `room` is the expected number of octets.
    pub(super) fn new(code: u8, identifier: u8, authenticator: &[u8; 16], room: usize) -> Draft {
        let mut octets = PacketOctets::with_room(room.max(SIGNED_HEADER_OCTETS));
        octets.append(&[code, identifier, 0, 0]);
        octets.append(authenticator);
        octets.append(&[attribute::MESSAGE_AUTHENTICATOR, 18]);
        octets.append(&[0; 16]);
        Draft(octets)
    }

    /// Adds one attribute.
    pub(super) fn attribute(&mut self, kind: u8, value: &[u8]) -> Result<(), DoesNotFit> {
        let length = u8::try_from(value.len().saturating_add(2)).map_err(|_| DoesNotFit)?;
        self.make_room(usize::from(length))?;
        self.0.append(&[kind, length]);
        self.0.append(value);
        Ok(())
    }

    /// Adds attributes that are already written.
    pub(super) fn written(&mut self, attributes: &[u8]) -> Result<(), DoesNotFit> {
        self.make_room(attributes.len())?;
        self.0.append(attributes);
        Ok(())
    }

    fn make_room(&self, octets: usize) -> Result<(), DoesNotFit> {
        if self.0.len().saturating_add(octets) > PACKET_OCTETS_MAX { Err(DoesNotFit) } else { Ok(()) }
    }

    /// Writes Length and Message-Authenticator; a request is then finished.
    pub(super) fn sign_request(mut self, secret: &SharedSecret) -> PacketOctets {
        let length = u16::try_from(self.0.len()).unwrap_or(u16::MAX).to_be_bytes();
        self.0.overwrite(2, &length);
        let signature = secret.sign(&[&self.0]);
        self.0.overwrite(SIGNED_HEADER_OCTETS - 16, &signature);
        self.0
    }

    /// Writes Length, Message-Authenticator and, over both, the Response Authenticator.
    pub(super) fn sign_reply(self, secret: &SharedSecret) -> PacketOctets {
        let mut signed = self.sign_request(secret);
        let authenticator = secret.response_authenticator(&[&signed]);
        signed.overwrite(4, &authenticator);
        signed
    }
}
