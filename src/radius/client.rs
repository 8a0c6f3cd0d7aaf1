//! The asking side, for `sekisho probe` and tests: makes requests and checks replies as a careful gateway would.

use crate::outcome::Reason;
use crate::radius::authenticator::SharedSecret;
use crate::radius::dictionary::{attribute, code};
use crate::radius::draft::Draft;
use crate::radius::packet::{ATTRIBUTES_MAX, Attribute, Located, Packet};
use crate::secret::same_bytes;
use thiserror::Error;

/// Identifier and Request Authenticator of a request: fresh random octets for each, and what its reply is checked by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Unused among the requests that wait for a reply on the same port.
    pub identifier: u8,
    /// Unpredictable and never used before with this secret (RFC 2865 §3).
    pub authenticator: [u8; 16],
}

impl Asked {
    /// An Access-Request with Message-Authenticator first, User-Name, hidden User-Password and what the caller adds.
    ///
    /// # Errors
    /// [`QuestionError`] for a password or a packet that RADIUS cannot carry.
    pub fn access_request(
        &self,
        secret: &SharedSecret,
        user_name: &[u8],
        password: &[u8],
        others: &[Attribute<'_>],
    ) -> Result<Vec<u8>, QuestionError> {
        let hidden = secret.hide(password, &self.authenticator).ok_or(QuestionError::PasswordTooLong)?;
        let credential = [
            Attribute { kind: attribute::USER_NAME, value: user_name },
            Attribute { kind: attribute::USER_PASSWORD, value: &hidden },
        ];
        self.request(code::ACCESS_REQUEST, secret, credential.iter().chain(others))
    }

    /// A Status-Server with Message-Authenticator first (RFC 5997 §3).
    ///
    /// # Errors
    /// [`QuestionError::TooLong`] for attributes that do not fit.
    pub fn status_server(
        &self,
        secret: &SharedSecret,
        others: &[Attribute<'_>],
    ) -> Result<Vec<u8>, QuestionError> {
        self.request(code::STATUS_SERVER, secret, others.iter())
    }

    fn request<'q>(
        &self,
        code: u8,
        secret: &SharedSecret,
        attributes: impl Iterator<Item = &'q Attribute<'q>>,
    ) -> Result<Vec<u8>, QuestionError> {
        let mut draft = Draft::new(code, self.identifier, &self.authenticator, 128);
        for &Attribute { kind, value } in attributes {
            draft.attribute(kind, value).map_err(|_| QuestionError::TooLong)?;
        }
        Ok(draft.sign_request(secret).to_vec())
    }

    /// Checks that the datagram is the server's reply to this request, and that nobody on the way has made it up.
    ///
    /// # Errors
    /// [`ReplyError`] says what is wrong with it; the caller goes on waiting.
    pub fn verify_reply<'r>(
        &self,
        datagram: &'r [u8],
        secret: &SharedSecret,
    ) -> Result<Packet<'r>, ReplyError> {
        let packet = Packet::parse(datagram, ATTRIBUTES_MAX).map_err(ReplyError::Unreadable)?;
        if !matches!(packet.code(), code::ACCESS_ACCEPT | code::ACCESS_REJECT | code::ACCESS_CHALLENGE) {
            return Err(ReplyError::NotAReply(packet.code()));
        }
        if packet.identifier() != self.identifier {
            return Err(ReplyError::OtherIdentifier(packet.identifier()));
        }
        let (head, attributes) = packet.octets().split_at_checked(20).unwrap_or_default();
        let head = head.get(..4).unwrap_or_default();
        let authenticator = secret.response_authenticator(&[head, &self.authenticator, attributes]);
        if !same_bytes(&authenticator, packet.authenticator()) {
            return Err(ReplyError::ResponseAuthenticatorBad);
        }
        let (signature, after) = match packet.message_authenticator() {
            Located::Missing => return Err(ReplyError::MessageAuthenticatorMissing),
            Located::Wrong => return Err(ReplyError::MessageAuthenticatorBad),
            Located::At { before, .. } if before.len() != 22 => {
                return Err(ReplyError::MessageAuthenticatorNotFirst);
            }
            Located::At { signature, after, .. } => (signature, after),
        };
        let begin = [attribute::MESSAGE_AUTHENTICATOR, 18];
        if !secret.verify_signature(&[head, &self.authenticator, &begin, &[0; 16], after], signature) {
            return Err(ReplyError::MessageAuthenticatorBad);
        }
        Ok(packet)
    }
}

/// Why a request cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum QuestionError {
    /// RADIUS cannot hide it (RFC 2865 §5.2).
    #[error("the password is longer than 128 octets, more than a User-Password can carry")]
    PasswordTooLong,
    /// It cannot be encoded.
    #[error("a value is longer than 253 octets, or the packet longer than 4096")]
    TooLong,
}

/// Why a datagram is not the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReplyError {
    /// Not a packet.
    #[error("the reply is no RADIUS packet ({})", .0.text())]
    Unreadable(Reason),
    /// No code of a reply.
    #[error("the packet has code {0}, not that of an accept (2), reject (3) or challenge (11)")]
    NotAReply(u8),
    /// A reply to something else.
    #[error("the reply has identifier {0}, which is another request's")]
    OtherIdentifier(u8),
    /// Made with another secret, or changed on the way.
    #[error(
        "the Response Authenticator is wrong: the two sides have different secrets, or the reply was altered"
    )]
    ResponseAuthenticatorBad,
    /// The server does not sign its replies.
    #[error("the reply has no Message-Authenticator, so it can be forged (CVE-2024-3596)")]
    MessageAuthenticatorMissing,
    /// The server signs, but not first.
    #[error(
        "the Message-Authenticator is not the first attribute, so the reply can be forged (CVE-2024-3596)"
    )]
    MessageAuthenticatorNotFirst,
    /// The signature is wrong.
    #[error("the Message-Authenticator is wrong, twice there or of the wrong length")]
    MessageAuthenticatorBad,
}
