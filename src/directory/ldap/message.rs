//! LDAP messages (RFC 4511 §4): the requests we send and the responses we understand.

use super::ber::{BOOLEAN, ENUMERATED, INTEGER, Malformed, OCTET_STRING, Reader, SEQUENCE, SET, Writer};

/// The [Password Policy](https://datatracker.ietf.org/doc/html/draft-behera-ldap-password-policy) control.
pub const PASSWORD_POLICY: &str = "1.3.6.1.4.1.42.2.27.8.5.1";
/// Simple paged results (RFC 2696).
pub const PAGED_RESULTS: &str = "1.2.840.113556.1.4.319";
/// Sync Request control (RFC 4533 §2.2).
pub const SYNC_REQUEST: &str = "1.3.6.1.4.1.4203.1.9.1.1";
/// Sync State control (RFC 4533 §2.3).
pub const SYNC_STATE: &str = "1.3.6.1.4.1.4203.1.9.1.2";
/// Sync Done control (RFC 4533 §2.4).
pub const SYNC_DONE: &str = "1.3.6.1.4.1.4203.1.9.1.3";
/// Sync Info message (RFC 4533 §2.5).
pub const SYNC_INFO: &str = "1.3.6.1.4.1.4203.1.9.1.4";
/// StartTLS (RFC 4511 §4.14).
pub const START_TLS: &str = "1.3.6.1.4.1.1466.20037";
/// Who am I? (RFC 4532).
pub const WHO_AM_I: &str = "1.3.6.1.4.1.4203.1.11.3";

/// success (RFC 4511 Appendix A.1).
pub const SUCCESS: u32 = 0;
/// sizeLimitExceeded.
pub const SIZE_LIMIT_EXCEEDED: u32 = 4;
/// unwillingToPerform.
pub const UNWILLING_TO_PERFORM: u32 = 53;
/// noSuchObject.
pub const NO_SUCH_OBJECT: u32 = 32;
/// e-syncRefreshRequired (RFC 4533 §2.6).
pub const SYNC_REFRESH_REQUIRED: u32 = 4096;

const BIND_REQUEST: u8 = 0x60;
const BIND_RESPONSE: u8 = 0x61;
const UNBIND_REQUEST: u8 = 0x42;
const SEARCH_REQUEST: u8 = 0x63;
const SEARCH_ENTRY: u8 = 0x64;
const SEARCH_DONE: u8 = 0x65;
const SEARCH_REFERENCE: u8 = 0x73;
const MODIFY_RESPONSE: u8 = 0x67;
const ADD_RESPONSE: u8 = 0x69;
const DELETE_RESPONSE: u8 = 0x6b;
const EXTENDED_REQUEST: u8 = 0x77;
const EXTENDED_RESPONSE: u8 = 0x78;
const INTERMEDIATE_RESPONSE: u8 = 0x79;
const CONTROLS: u8 = 0xa0;
const REFERRAL: u8 = 0xa3;

/// A request control with its value already encoded.
#[derive(Clone, Debug)]
pub struct Control {
    /// Its OID.
    pub oid: &'static str,
    /// Whether the server must refuse the operation if it does not know the control.
    pub criticality: Criticality,
    /// Its value, if it has one.
    pub value: Option<Vec<u8>>,
}

/// What a server that does not know a control has to do (RFC 4511 §4.1.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Criticality {
    /// Refuse the operation.
    Critical,
    /// Ignore the control.
    Optional,
}

/// How far below the base a search looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The base itself.
    Base,
    /// The base and everything below.
    Subtree,
}

/// A search: aliases are never followed, values are always asked for, the list of attributes is always given.
pub struct Search<'a> {
    /// Where to look.
    pub base: &'a str,
    /// How far down.
    pub scope: Scope,
    /// The filter, encoded.
    pub filter: &'a [u8],
    /// Which attributes to return.
    pub attributes: &'a [&'a str],
    /// The most entries to return; 0 for all.
    pub size_limit: u32,
    /// The most seconds the server may take; 0 for any.
    pub time_limit: u32,
    /// Controls.
    pub controls: &'a [Control],
}

/// A simple bind (RFC 4511 §4.2).
pub fn bind(id: u32, dn: &str, password: &[u8], controls: &[Control]) -> Writer {
    message(id, controls, |message| {
        message.within(BIND_REQUEST, |bind| {
            bind.number(INTEGER, 3).put(OCTET_STRING, dn.as_bytes()).put(0x80, password);
        });
    })
}

/// A search (RFC 4511 §4.5.1).
pub fn search(id: u32, search: &Search<'_>) -> Writer {
    message(id, search.controls, |message| {
        message.within(SEARCH_REQUEST, |request| {
            let scope = match search.scope {
                Scope::Base => 0,
                Scope::Subtree => 2,
            };
            request
                .put(OCTET_STRING, search.base.as_bytes())
                .number(ENUMERATED, scope)
                .number(ENUMERATED, 0)
                .number(INTEGER, search.size_limit)
                .number(INTEGER, search.time_limit)
                .put(BOOLEAN, &[0])
                .raw(search.filter)
                .within(SEQUENCE, |list| {
                    for attribute in search.attributes {
                        list.put(OCTET_STRING, attribute.as_bytes());
                    }
                });
        });
    })
}

/// An extended request without a value (RFC 4511 §4.12).
pub fn extended(id: u32, oid: &str) -> Writer {
    message(id, &[], |message| {
        message.within(EXTENDED_REQUEST, |request| {
            request.put(0x80, oid.as_bytes());
        });
    })
}

/// The good-bye (RFC 4511 §4.3).
pub fn unbind(id: u32) -> Writer {
    message(id, &[], |message| {
        message.put(UNBIND_REQUEST, &[]);
    })
}

/// A message with these controls.
pub(super) fn message(id: u32, controls: &[Control], operation: impl FnOnce(&mut Writer)) -> Writer {
    let mut whole = Writer::new();
    whole.within(SEQUENCE, |message| {
        message.number(INTEGER, id);
        operation(message);
        if !controls.is_empty() {
            message.within(CONTROLS, |list| {
                for control in controls {
                    list.within(SEQUENCE, |one| {
                        one.put(OCTET_STRING, control.oid.as_bytes());
                        if control.criticality == Criticality::Critical {
                            one.put(BOOLEAN, &[0xff]);
                        }
                        if let Some(value) = &control.value {
                            one.put(OCTET_STRING, value);
                        }
                    });
                }
            });
        }
    });
    whole
}

/// A message from the server.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Which request it answers; 0 for a notification that answers none.
    pub id: u32,
    /// What it says.
    pub response: Response<'a>,
    controls: Option<Reader<'a>>,
}

/// The responses that we understand.
#[derive(Clone, Copy, Debug)]
pub enum Response<'a> {
    /// The end of a bind.
    Bind(Outcome<'a>),
    /// One entry of a search.
    Entry(RawEntry<'a>),
    /// "Look elsewhere for the rest": never followed.
    Reference,
    /// The end of a search.
    SearchDone(Outcome<'a>),
    /// The end of a change, and the first server that it refers to.
    Acted(Outcome<'a>, Option<&'a [u8]>),
    /// The end of an extended operation.
    Extended(Outcome<'a>),
    /// Something in between: the OID and the value.
    Intermediate(&'a [u8], &'a [u8]),
}

/// LDAPResult (RFC 4511 §4.1.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome<'a> {
    /// resultCode.
    pub code: u32,
    /// diagnosticMessage, as sent.
    pub text: &'a [u8],
}

/// An entry as it came.
#[derive(Clone, Copy, Debug)]
pub struct RawEntry<'a> {
    /// Its name.
    pub dn: &'a str,
    attributes: Reader<'a>,
}

impl<'a> Message<'a> {
    /// Reads one whole message.
    pub fn parse(octets: &'a [u8]) -> Result<Message<'a>, Malformed> {
        let mut message = Reader::new(octets).inside(SEQUENCE)?;
        let id = message.number(INTEGER)?;
        let (tag, content) = message.element()?;
        let mut inside = Reader::new(content);
        let response = match tag {
            BIND_RESPONSE => Response::Bind(Outcome::parse(&mut inside)?),
            SEARCH_ENTRY => {
                let dn = std::str::from_utf8(inside.expect(OCTET_STRING)?).map_err(|_| Malformed)?;
                Response::Entry(RawEntry { dn, attributes: inside.inside(SEQUENCE)? })
            }
            SEARCH_REFERENCE => Response::Reference,
            SEARCH_DONE => Response::SearchDone(Outcome::parse(&mut inside)?),
            MODIFY_RESPONSE | ADD_RESPONSE | DELETE_RESPONSE => {
                let outcome = Outcome::parse(&mut inside)?;
                let referral = inside.optional(REFERRAL)?.map(Reader::new);
                let first = referral.map(|mut urls| urls.expect(OCTET_STRING)).transpose()?;
                Response::Acted(outcome, first)
            }
            EXTENDED_RESPONSE => Response::Extended(Outcome::parse(&mut inside)?),
            INTERMEDIATE_RESPONSE => Response::Intermediate(
                inside.optional(0x80)?.unwrap_or_default(),
                inside.optional(0x81)?.unwrap_or_default(),
            ),
            _ => return Err(Malformed),
        };
        let controls = message.optional(CONTROLS)?.map(Reader::new);
        Ok(Message { id, response, controls })
    }

    /// The value of the response control with this OID.
    pub fn control(&self, oid: &str) -> Result<Option<&'a [u8]>, Malformed> {
        let Some(mut controls) = self.controls else { return Ok(None) };
        while !controls.is_done() {
            let mut control = controls.inside(SEQUENCE)?;
            let found = control.expect(OCTET_STRING)?;
            control.boolean(false)?;
            let value = control.optional(OCTET_STRING)?;
            if found == oid.as_bytes() {
                return Ok(Some(value.unwrap_or_default()));
            }
        }
        Ok(None)
    }
}

impl<'a> Outcome<'a> {
    fn parse(inside: &mut Reader<'a>) -> Result<Outcome<'a>, Malformed> {
        let code = inside.number(ENUMERATED)?;
        inside.expect(OCTET_STRING)?;
        Ok(Outcome { code, text: inside.expect(OCTET_STRING)? })
    }
}

/// An attribute description with its values.
pub type Attribute<'a> = (&'a str, Values<'a>);

/// The values of one attribute, which are known to be well-formed.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a>(Reader<'a>);

impl<'a> Iterator for Values<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.0.is_done() { None } else { self.0.expect(OCTET_STRING).ok() }
    }
}

impl<'a> RawEntry<'a> {
    /// An entry that was kept: its name and what [`RawEntry::kept`] gave.
    pub fn again(dn: &'a str, kept: &'a [u8]) -> RawEntry<'a> {
        RawEntry { dn, attributes: Reader::new(kept) }
    }

    /// The attributes in the form they came in.
    pub fn kept(&self) -> &'a [u8] {
        self.attributes.rest()
    }

    /// The attributes with their values.
    pub fn attributes(&self) -> Result<Vec<Attribute<'a>>, Malformed> {
        let mut list = Vec::new();
        let mut attributes = self.attributes;
        while !attributes.is_done() {
            let mut attribute = attributes.inside(SEQUENCE)?;
            let name = std::str::from_utf8(attribute.expect(OCTET_STRING)?).map_err(|_| Malformed)?;
            let values = attribute.inside(SET)?;
            let mut checked = values;
            while !checked.is_done() {
                checked.expect(OCTET_STRING)?;
            }
            list.push((name, Values(values)));
        }
        Ok(list)
    }
}

/// The value of a paged results control, in a request and in a response (RFC 2696 §2).
pub fn page(size: u32, cookie: &[u8]) -> Vec<u8> {
    let mut value = Writer::new();
    value.within(SEQUENCE, |page| {
        page.number(INTEGER, size).put(OCTET_STRING, cookie);
    });
    value.octets().to_vec()
}

/// The cookie in the value of a paged results control; empty after the last page.
pub fn page_cookie(value: &[u8]) -> Result<&[u8], Malformed> {
    let mut page = Reader::new(value).inside(SEQUENCE)?;
    page.number(INTEGER)?;
    page.expect(OCTET_STRING)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// BindResponse, id 1, invalidCredentials, with a password policy control that says accountLocked.
    const LOCKED: &[u8] = &[
        0x30, 0x35, 0x02, 0x01, 0x01, 0x61, 0x07, 0x0a, 0x01, 0x31, 0x04, 0x00, 0x04, 0x00, 0xa0, 0x27, 0x30,
        0x25, 0x04, 0x19, b'1', b'.', b'3', b'.', b'6', b'.', b'1', b'.', b'4', b'.', b'1', b'.', b'4', b'2',
        b'.', b'2', b'.', b'2', b'7', b'.', b'8', b'.', b'5', b'.', b'1', 0x04, 0x08, 0x30, 0x03, 0x81, 0x01,
        0x01, 0, 0, 0,
    ];

    #[test]
    fn a_bind_response_gives_its_code_and_its_control() {
        let message = Message::parse(LOCKED).unwrap();
        assert!(matches!(message.response, Response::Bind(Outcome { code: 49, .. })));
        assert_eq!(message.control(PASSWORD_POLICY).unwrap().unwrap().get(..5), Some(&LOCKED[47..52]));
        assert_eq!(message.control(SYNC_DONE), Ok(None));
    }

    #[test]
    fn ldap_28_no_cut_or_flipped_message_panics() {
        for length in 0..LOCKED.len() {
            assert!(Message::parse(&LOCKED[..length]).is_err(), "{length}");
        }
        for at in 0..LOCKED.len() {
            for bit in 0..8 {
                let mut flipped = LOCKED.to_vec();
                flipped[at] ^= 1 << bit;
                if let Ok(message) = Message::parse(&flipped) {
                    let _ = message.control(PASSWORD_POLICY);
                }
            }
        }
    }

    #[test]
    fn a_page_is_read_as_it_is_written() {
        assert_eq!(page_cookie(&page(500, b"abc")), Ok(&b"abc"[..]));
        assert_eq!(page_cookie(&page(0, b"")), Ok(&b""[..]));
    }
}
