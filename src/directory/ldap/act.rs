//! Operations that change an entry (RFC 4511 §4.6 to §4.8), each atomic by itself, with an assertion on what was read
//! (RFC 4528).

use super::ber::{ENUMERATED, OCTET_STRING, SEQUENCE, SET, Writer};
use super::filter::Filter;
use super::message::{Control, Criticality, message};
use crate::secret::Secret;

/// The assertion control (RFC 4528).
pub const ASSERTION: &str = "1.3.6.1.1.12";

/// referral (RFC 4511 Appendix A.1): the entry can be changed on another server only.
pub const REFERRAL: u32 = 10;
/// unavailableCriticalExtension.
pub const UNAVAILABLE_CRITICAL_EXTENSION: u32 = 12;
/// noSuchAttribute.
pub const NO_SUCH_ATTRIBUTE: u32 = 16;
/// undefinedAttributeType.
pub const UNDEFINED_ATTRIBUTE_TYPE: u32 = 17;
/// attributeOrValueExists.
pub const ATTRIBUTE_OR_VALUE_EXISTS: u32 = 20;
/// invalidAttributeSyntax.
pub const INVALID_ATTRIBUTE_SYNTAX: u32 = 21;
/// insufficientAccessRights.
pub const INSUFFICIENT_ACCESS_RIGHTS: u32 = 50;
/// busy.
pub const BUSY: u32 = 51;
/// unavailable.
pub const UNAVAILABLE: u32 = 52;
/// objectClassViolation.
pub const OBJECT_CLASS_VIOLATION: u32 = 65;
/// entryAlreadyExists.
pub const ENTRY_ALREADY_EXISTS: u32 = 68;
/// other: an error inside the server.
pub const OTHER: u32 = 80;
/// assertionFailed (RFC 4528 §5).
pub const ASSERTION_FAILED: u32 = 122;

const MODIFY_REQUEST: u8 = 0x66;
const ADD_REQUEST: u8 = 0x68;
const DELETE_REQUEST: u8 = 0x4a;

/// One operation on one entry.
pub enum Act<'a> {
    /// Adds an entry.
    Add {
        /// Its DN.
        dn: &'a str,
        /// Its attributes.
        attributes: &'a [(&'static str, Vec<Secret>)],
    },
    /// Changes an entry that `still` is true of.
    Modify {
        /// Its DN.
        dn: &'a str,
        /// What changes, all of it or nothing.
        edits: &'a [Edit],
        /// What must be true of it at that moment.
        still: &'a Filter,
    },
    /// Deletes an entry that `still` is true of.
    Delete {
        /// Its DN.
        dn: &'a str,
        /// What must be true of it at that moment.
        still: &'a Filter,
    },
}

/// One change of one attribute. Values may be keys, so they wipe themselves.
pub struct Edit {
    /// How.
    pub how: How,
    /// Which attribute.
    pub attribute: &'static str,
    /// The values.
    pub values: Vec<Secret>,
}

/// The operations of a modify (RFC 4511 §4.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// These values come on top.
    Add,
    /// These values go.
    Delete,
    /// These values stand for all there were; none takes the attribute away.
    Replace,
}

impl Edit {
    /// The attribute has this value from now on.
    pub fn set(attribute: &'static str, value: impl Into<Vec<u8>>) -> Edit {
        Edit { how: How::Replace, attribute, values: vec![Secret::new(value.into())] }
    }

    /// The attribute has this value from now on, or none.
    pub fn put(attribute: &'static str, value: Option<impl Into<Vec<u8>>>) -> Edit {
        let values = value.map(|value| Secret::new(value.into())).into_iter().collect();
        Edit { how: How::Replace, attribute, values }
    }

    /// The attribute gets this value, too.
    pub fn add(attribute: &'static str, value: &str) -> Edit {
        Edit { how: How::Add, attribute, values: vec![Secret::new(value.as_bytes())] }
    }

    /// The attribute loses this value.
    pub fn delete(attribute: &'static str, value: &str) -> Edit {
        Edit { how: How::Delete, attribute, values: vec![Secret::new(value.as_bytes())] }
    }
}

impl Act<'_> {
    /// The message that asks for it.
    pub fn message(&self, id: u32) -> Writer {
        match self {
            Act::Add { dn, attributes } => message(id, &[], |message| {
                message.within(ADD_REQUEST, |request| {
                    request.put(OCTET_STRING, dn.as_bytes()).within(SEQUENCE, |list| {
                        for (name, values) in *attributes {
                            list.within(SEQUENCE, |one| attribute(one, name, values));
                        }
                    });
                });
            }),
            Act::Modify { dn, edits, still } => message(id, &[assertion(still)], |message| {
                message.within(MODIFY_REQUEST, |request| {
                    request.put(OCTET_STRING, dn.as_bytes()).within(SEQUENCE, |list| {
                        for edit in *edits {
                            list.within(SEQUENCE, |one| {
                                one.number(ENUMERATED, edit.how.number());
                                one.within(SEQUENCE, |inside| {
                                    attribute(inside, edit.attribute, &edit.values);
                                });
                            });
                        }
                    });
                });
            }),
            Act::Delete { dn, still } => message(id, &[assertion(still)], |message| {
                message.put(DELETE_REQUEST, dn.as_bytes());
            }),
        }
    }
}

impl How {
    fn number(self) -> u32 {
        match self {
            How::Add => 0,
            How::Delete => 1,
            How::Replace => 2,
        }
    }
}

fn attribute(writer: &mut Writer, name: &str, values: &[Secret]) {
    writer.put(OCTET_STRING, name.as_bytes()).within(SET, |set| {
        for value in values {
            set.put(OCTET_STRING, value.expose());
        }
    });
}

/// Critical: a server that does not know it must not change anything.
fn assertion(still: &Filter) -> Control {
    Control { oid: ASSERTION, criticality: Criticality::Critical, value: Some(still.octets().to_vec()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_modify_reads_as_rfc_4511_says() {
        let still = Filter::equals("a", b"1");
        let edits = [Edit::set("b", *b"2"), Edit::put("c", None::<Vec<u8>>)];
        let octets = Act::Modify { dn: "cn=x", edits: &edits, still: &still }.message(3).octets().to_vec();
        let expected = [
            &[0x30, 0x47, 0x02, 1, 3, 0x66, 0x23, 0x04, 4][..],
            b"cn=x",
            &[0x30, 0x1b, 0x30, 0x0d, 0x0a, 1, 2, 0x30, 8, 0x04, 1, b'b', 0x31, 3, 0x04, 1, b'2'],
            &[0x30, 0x0a, 0x0a, 1, 2, 0x30, 0x05, 0x04, 1, b'c', 0x31, 0],
        ]
        .concat();
        assert_eq!(octets.get(..expected.len()), Some(&*expected), "{octets:02x?}");
        assert!(octets.windows(ASSERTION.len()).any(|part| part == ASSERTION.as_bytes()));
        assert!(octets.ends_with(still.octets()));
    }
}
