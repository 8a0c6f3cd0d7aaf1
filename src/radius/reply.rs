//! Answers: what is kept of a request to answer it later, what may be said, and the octets of it.

use crate::outcome::Reason;
use crate::radius::authenticator::SharedSecret;
use crate::radius::dictionary::{attribute, code};
use crate::radius::draft::{DoesNotFit, Draft, SIGNED_HEADER_OCTETS};
use crate::radius::octets::PacketOctets;
use crate::radius::packet::{PACKET_OCTETS_MAX, VALUE_OCTETS_MAX};
use crate::radius::request::{Kind, Request, WhichSecret};
use std::time::Duration;

/// What is needed to answer a request after its datagram is gone. Small; allocates only for Proxy-State.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyTo {
    identifier: u8,
    authenticator: [u8; 16],
    which_secret: WhichSecret,
    /// All Proxy-State attributes of the request in order, as they stood, headers included.
    proxy_states: Option<Box<[u8]>>,
    /// The EAP Identifier, if the request brought EAP: its reject needs an EAP-Failure.
    eap_identifier: Option<u8>,
}

impl ReplyTo {
    /// Takes what the reply needs. Of a Status-Server nothing is echoed (RFC 5997 §3).
    ///
    /// # Errors
    /// [`Reason::ReplyTooLong`] if all Proxy-State together leaves no room for an accept or a reject: better known now
    /// than after a code has been used up.
    pub fn new(request: &Request<'_>) -> Result<ReplyTo, Reason> {
        let packet = &request.packet;
        let mut reply_to = ReplyTo {
            identifier: packet.identifier(),
            authenticator: *packet.authenticator(),
            which_secret: request.which_secret(),
            proxy_states: None,
            eap_identifier: None,
        };
        if request.kind == Kind::StatusServer {
            return Ok(reply_to);
        }
        // The EAP packet is all EAP-Messages in a row; its second octet is the Identifier (RFC 3579 §3.1, RFC 3748 §4).
        reply_to.eap_identifier = packet.values(attribute::EAP_MESSAGE).flatten().nth(1).copied();
        let octets: usize =
            packet.values(attribute::PROXY_STATE).map(|value| value.len().saturating_add(2)).sum();
        if octets > 0 {
            if octets.saturating_add(SIGNED_HEADER_OCTETS + EAP_FAILURE_OCTETS) > PACKET_OCTETS_MAX {
                return Err(Reason::ReplyTooLong);
            }
            let mut echo = Vec::with_capacity(octets);
            for value in packet.values(attribute::PROXY_STATE) {
                echo.push(attribute::PROXY_STATE);
                echo.push(u8::try_from(value.len().saturating_add(2)).map_err(|_| Reason::Malformed)?);
                echo.extend_from_slice(value);
            }
            reply_to.proxy_states = Some(echo.into_boxed_slice());
        }
        Ok(reply_to)
    }

    /// Which of the client's secrets must sign the reply.
    pub fn which_secret(&self) -> WhichSecret {
        self.which_secret
    }

    /// The Identifier of request and reply.
    pub fn identifier(&self) -> u8 {
        self.identifier
    }

    /// The Request Authenticator.
    pub fn authenticator(&self) -> &[u8; 16] {
        &self.authenticator
    }
}

/// What is said to the gateway. The variants hold what RFC 2865 §5.44 allows and no more: a reject can carry neither
/// State nor policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyContent<'a> {
    /// Access-Accept; also the answer to Status-Server.
    Accept {
        /// Shown to the user; from configuration only, never from the request (CVE-2024-3596).
        message: Option<&'a str>,
        /// How long the session may last, in whole seconds.
        session_timeout: Option<Duration>,
    },
    /// Access-Reject.
    Reject {
        /// Shown to the user; the same for every cause.
        message: Option<&'a str>,
    },
    /// Access-Challenge: grants nothing and asks for the second step.
    Challenge {
        /// The prompt.
        message: Option<&'a str>,
        /// What the gateway sends back with the answer: 1 to 253 octets.
        state: &'a [u8],
        /// How long the prompt is good, in whole seconds.
        session_timeout: Option<Duration>,
    },
}

impl<'a> ReplyContent<'a> {
    /// An accept without further content.
    pub const ACCEPT: ReplyContent<'static> = ReplyContent::Accept { message: None, session_timeout: None };
    /// A reject without further content.
    pub const REJECT: ReplyContent<'static> = ReplyContent::Reject { message: None };

    fn parts(&self) -> (u8, Option<&'a str>, Option<&'a [u8]>, Option<Duration>) {
        match *self {
            ReplyContent::Accept { message, session_timeout } => {
                (code::ACCESS_ACCEPT, message, None, session_timeout)
            }
            ReplyContent::Reject { message } => (code::ACCESS_REJECT, message, None, None),
            ReplyContent::Challenge { message, state, session_timeout } => {
                (code::ACCESS_CHALLENGE, message, Some(state), session_timeout)
            }
        }
    }
}

/// Writes and signs a reply: Message-Authenticator first (CVE-2024-3596), EAP-Failure, Reply-Message, State,
/// Session-Timeout, then every Proxy-State. What does not fit beside Proxy-State and State is left out, the message first;
/// it is also left out beside an EAP-Failure (RFC 3579 §2.6.5).
///
/// # Errors
/// [`Reason::ReplyTooLong`] if State does not fit; never for an accept or a reject, see [`ReplyTo::new`].
pub fn encode(
    to: &ReplyTo,
    secret: &SharedSecret,
    content: &ReplyContent<'_>,
) -> Result<PacketOctets, Reason> {
    let (code, message, state, session_timeout) = content.parts();
    let echo = to.proxy_states.as_deref().unwrap_or_default();
    let failure = to.eap_identifier.filter(|_| code == code::ACCESS_REJECT);
    let mut needed = SIGNED_HEADER_OCTETS
        .saturating_add(failure.map_or(0, |_| EAP_FAILURE_OCTETS))
        .saturating_add(state.map_or(0, |state| state.len().saturating_add(2)))
        .saturating_add(echo.len());
    let mut admit = |octets: usize| {
        let sum = needed.saturating_add(octets);
        let fits = sum <= PACKET_OCTETS_MAX;
        needed = if fits { sum } else { needed };
        fits
    };
    let session_timeout = session_timeout.filter(|_| admit(6));
    let message = message.filter(|text| failure.is_none() && admit(message_octets(text))).unwrap_or_default();

    let mut draft = Draft::new(code, to.identifier, &to.authenticator, needed);
    let mut write = || {
        if let Some(identifier) = failure {
            draft.attribute(attribute::EAP_MESSAGE, &[EAP_FAILURE, identifier, 0, 4])?;
        }
        for piece in split(message) {
            draft.attribute(attribute::REPLY_MESSAGE, piece.as_bytes())?;
        }
        if let Some(state) = state {
            draft.attribute(attribute::STATE, state)?;
        }
        if let Some(timeout) = session_timeout {
            let seconds = u32::try_from(timeout.as_secs()).unwrap_or(u32::MAX);
            draft.attribute(attribute::SESSION_TIMEOUT, &seconds.to_be_bytes())?;
        }
        draft.written(echo)
    };
    write().map_err(|DoesNotFit| Reason::ReplyTooLong)?;
    Ok(draft.sign_reply(secret))
}

/// Code of EAP-Failure (RFC 3748 §4.2).
const EAP_FAILURE: u8 = 4;

/// Octets of an EAP-Message with an EAP-Failure.
const EAP_FAILURE_OCTETS: usize = 6;

/// The text in pieces of at most 253 octets that never cut a character.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (piece, tail) = rest.split_at_checked(rest.floor_char_boundary(VALUE_OCTETS_MAX))?;
        rest = tail;
        (!piece.is_empty()).then_some(piece)
    })
}

fn message_octets(text: &str) -> usize {
    split(text).map(|piece| piece.len().saturating_add(2)).sum()
}
