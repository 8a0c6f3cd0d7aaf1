//! The messages of Content Synchronization (RFC 4533 §2), read and written.

use super::ber::{ENUMERATED, Malformed, OCTET_STRING, Reader, SEQUENCE, SET, Writer};
use super::message::{Control, Criticality, SYNC_REQUEST};
use crate::identity::EntryId;

/// refreshAndPersist in a Sync Request.
const REFRESH_AND_PERSIST: u32 = 3;

/// Sync State: what an entry's message says about it (§2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State<'a> {
    /// What has become of the entry.
    pub change: Change,
    /// The entry's entryUUID.
    pub id: EntryId,
    /// A new cookie.
    pub cookie: Option<&'a [u8]>,
}

/// What has become of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is still there, as it was.
    Present,
    /// It is new in the content, or has changed; the message carries all of it.
    Put,
    /// It has left the content.
    Deleted,
}

/// Sync Info: news about the session (§2.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Info<'a> {
    /// A new cookie and nothing else.
    Cookie(&'a [u8]),
    /// The end of a delete phase: what was not mentioned is still there.
    RefreshDelete(Option<&'a [u8]>, Refresh),
    /// The end of a present phase: what was not mentioned is gone.
    RefreshPresent(Option<&'a [u8]>, Refresh),
    /// Entries, all of which are present or all of which are gone.
    Ids(Option<&'a [u8]>, Change, Vec<EntryId>),
}

/// Whether the refresh stage is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// It goes on with another phase.
    GoesOn,
    /// It is over; from here on changes come as they happen.
    Done,
}

/// Asks for everything since `cookie`, or for everything, and then for every change. The control is critical: a
/// server that does not know it must not answer with a plain search.
pub fn request(cookie: Option<&[u8]>) -> Control {
    let mut value = Writer::new();
    value.within(SEQUENCE, |request| {
        request.number(ENUMERATED, REFRESH_AND_PERSIST);
        if let Some(cookie) = cookie {
            request.put(OCTET_STRING, cookie);
        }
    });
    Control { oid: SYNC_REQUEST, criticality: Criticality::Critical, value: Some(value.octets().to_vec()) }
}

impl<'a> State<'a> {
    /// Reads the value of a Sync State control.
    pub fn parse(value: &'a [u8]) -> Result<State<'a>, Malformed> {
        let mut fields = Reader::new(value).inside(SEQUENCE)?;
        let change = match fields.number(ENUMERATED)? {
            0 => Change::Present,
            1 | 2 => Change::Put,
            3 => Change::Deleted,
            _ => return Err(Malformed),
        };
        let id = id(fields.expect(OCTET_STRING)?)?;
        Ok(State { change, id, cookie: fields.optional(OCTET_STRING)? })
    }
}

impl<'a> Info<'a> {
    /// Reads the value of a Sync Info message.
    pub fn parse(value: &'a [u8]) -> Result<Info<'a>, Malformed> {
        let (tag, content) = Reader::new(value).element()?;
        let mut fields = Reader::new(content);
        match tag {
            0x80 => Ok(Info::Cookie(content)),
            0xa1 | 0xa2 => {
                let cookie = fields.optional(OCTET_STRING)?;
                let refresh = if fields.boolean(true)? { Refresh::Done } else { Refresh::GoesOn };
                Ok(if tag == 0xa1 {
                    Info::RefreshDelete(cookie, refresh)
                } else {
                    Info::RefreshPresent(cookie, refresh)
                })
            }
            0xa3 => {
                let cookie = fields.optional(OCTET_STRING)?;
                let change = if fields.boolean(false)? { Change::Deleted } else { Change::Present };
                let mut set = fields.inside(SET)?;
                let mut ids = Vec::new();
                while !set.is_done() {
                    ids.push(id(set.expect(OCTET_STRING)?)?);
                }
                Ok(Info::Ids(cookie, change, ids))
            }
            _ => Err(Malformed),
        }
    }
}

/// The cookie in the value of a Sync Done control (§2.4), if the control came at all.
pub fn done_cookie(value: &[u8]) -> Result<Option<&[u8]>, Malformed> {
    Reader::new(value).inside(SEQUENCE)?.optional(OCTET_STRING)
}

fn id(octets: &[u8]) -> Result<EntryId, Malformed> {
    octets.try_into().map(EntryId::new).map_err(|_| Malformed)
}

/// A number for tests that have to build values.
#[cfg(test)]
pub fn state_value(change: u32, id: EntryId) -> Vec<u8> {
    let mut value = Writer::new();
    value.within(SEQUENCE, |state| {
        state.number(ENUMERATED, change).put(OCTET_STRING, &id.octets());
    });
    value.octets().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: EntryId = EntryId::new([7; 16]);

    #[test]
    fn a_state_is_read() {
        for (number, change) in
            [(0, Change::Present), (1, Change::Put), (2, Change::Put), (3, Change::Deleted)]
        {
            let value = state_value(number, ID);
            assert_eq!(State::parse(&value), Ok(State { change, id: ID, cookie: None }));
        }
        assert_eq!(State::parse(&state_value(4, ID)), Err(Malformed));
    }

    #[test]
    fn every_kind_of_news_is_read_with_its_defaults() {
        let uuid = [&[0x04, 16][..], &[7; 16]].concat();
        let set = [&[0x31, 18][..], &uuid].concat();
        for (value, expected) in [
            (vec![0x80, 1, b'c'], Info::Cookie(b"c")),
            (vec![0xa1, 0], Info::RefreshDelete(None, Refresh::Done)),
            (vec![0xa1, 6, 4, 1, b'c', 1, 1, 0], Info::RefreshDelete(Some(b"c"), Refresh::GoesOn)),
            (vec![0xa2, 3, 1, 1, 0], Info::RefreshPresent(None, Refresh::GoesOn)),
            (vec![0xa2, 3, 1, 1, 0xff], Info::RefreshPresent(None, Refresh::Done)),
            ([&[0xa3, 20][..], &set].concat(), Info::Ids(None, Change::Present, vec![ID])),
            ([&[0xa3, 23, 1, 1, 0xff][..], &set].concat(), Info::Ids(None, Change::Deleted, vec![ID])),
        ] {
            assert_eq!(Info::parse(&value), Ok(expected), "{value:02x?}");
        }
        assert_eq!(Info::parse(&[0xa3, 4, 0x31, 2, 4, 0]), Err(Malformed));
        assert_eq!(Info::parse(&[0x84, 0]), Err(Malformed));
    }

    #[test]
    fn a_request_carries_mode_and_cookie() {
        assert_eq!(request(None).value, Some(vec![0x30, 3, 0x0a, 1, 3]));
        assert_eq!(request(Some(b"c")).value, Some(vec![0x30, 6, 0x0a, 1, 3, 4, 1, b'c']));
        assert_eq!(done_cookie(&[0x30, 3, 4, 1, b'c']), Ok(Some(&b"c"[..])));
    }
}
