//! The octets of a packet that we send: a usual reply is kept in place, only a long one is allocated.

use arrayvec::ArrayVec;
use std::fmt;
use std::ops::Deref;

/// What is kept in place: header, Message-Authenticator, and a Proxy-State or a short Reply-Message.
const SHORT: usize = 76;

/// A written packet, or one that is being written.
pub struct PacketOctets(Kept);

enum Kept {
    Short(ArrayVec<u8, SHORT>),
    Long(Vec<u8>),
}

impl PacketOctets {
    /// Nothing yet; `room` is the expected number of octets.
    pub(super) fn with_room(room: usize) -> PacketOctets {
        PacketOctets(if room <= SHORT {
            Kept::Short(ArrayVec::new())
        } else {
            Kept::Long(Vec::with_capacity(room))
        })
    }

    /// Adds octets behind the others.
    pub(super) fn append(&mut self, octets: &[u8]) {
        match &mut self.0 {
            Kept::Long(long) => long.extend_from_slice(octets),
            Kept::Short(short) => {
                if short.try_extend_from_slice(octets).is_err() {
                    let mut long = Vec::with_capacity(short.len().saturating_add(octets.len()).max(128));
                    long.extend_from_slice(short);
                    long.extend_from_slice(octets);
                    self.0 = Kept::Long(long);
                }
            }
        }
    }

    /// Octets that were allocated for nothing.
    #[cfg(test)]
    pub(super) fn unused_room(&self) -> usize {
        match &self.0 {
            Kept::Short(_) => 0,
            Kept::Long(long) => long.capacity() - long.len(),
        }
    }

    /// Overwrites octets that are there already.
    pub(super) fn overwrite(&mut self, at: usize, octets: &[u8]) {
        let all: &mut [u8] = match &mut self.0 {
            Kept::Short(short) => short,
            Kept::Long(long) => long,
        };
        if let Some(place) = all.get_mut(at..).and_then(|rest| rest.get_mut(..octets.len())) {
            place.copy_from_slice(octets);
        }
    }
}

/// In one piece, where the array's own way is octet by octet.
impl Clone for PacketOctets {
    fn clone(&self) -> PacketOctets {
        PacketOctets::from(&**self)
    }
}

impl From<&[u8]> for PacketOctets {
    fn from(octets: &[u8]) -> PacketOctets {
        let mut all = PacketOctets::with_room(octets.len());
        all.append(octets);
        all
    }
}

impl Deref for PacketOctets {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Kept::Short(short) => short,
            Kept::Long(long) => long,
        }
    }
}

impl AsRef<[u8]> for PacketOctets {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for PacketOctets {
    fn eq(&self, other: &PacketOctets) -> bool {
        **self == **other
    }
}

impl Eq for PacketOctets {}

/// Content is not printed: a request holds a hidden password.
impl fmt::Debug for PacketOctets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PacketOctets({} octets)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_read_as_they_were_written_whatever_their_number() {
        for (room, length) in [(0, 0), (0, SHORT), (SHORT, SHORT), (SHORT, SHORT + 1), (200, 200), (10, 4096)]
        {
            let expected: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let mut octets = PacketOctets::with_room(room);
            expected.chunks(7).for_each(|piece| octets.append(piece));
            assert_eq!(*octets, *expected);
            octets.overwrite(0, b"x");
            octets.overwrite(length.saturating_sub(1), b"y");
            assert_eq!((octets.len(), octets.last()), (length, (length > 0).then_some(&b'y')));
            octets.overwrite(length, b"beyond the end");
            assert_eq!(octets.len(), length);
        }
    }
}
