//! The way out: replies from any thread, each from the address that was asked.

use super::address::ReturnAddress;
use super::socket::Wire;
use quinn_udp::{Transmit, UdpSockRef};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

/// Sends replies. Cheap to clone; never waits; a reply that cannot leave at once is counted and forgotten, because
/// the client asks again.
#[derive(Clone, Debug)]
pub struct Outbound {
    wires: Arc<[Arc<Wire>]>,
}

impl Outbound {
    pub(super) fn over(wires: Arc<[Arc<Wire>]>) -> Outbound {
        Outbound { wires }
    }

    /// Sends one reply. What became of it is in the socket's [`Traffic`](super::Traffic).
    pub fn send(&self, to: &ReturnAddress, octets: &[u8]) {
        let Some(wire) = self.wires.get(usize::from(to.socket.0)) else {
            return; // A number of other sockets: nothing to count it on, and nothing to send it with.
        };
        let transmit = Transmit {
            destination: to.peer,
            ecn: None,
            contents: octets,
            segment_size: None,
            src_ip: to.local.filter(can_send_from),
        };
        match wire.state.try_send(UdpSockRef::from(&wire.udp), &transmit) {
            Ok(()) => wire.traffic.sent.one(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => wire.traffic.send_blocked.one(),
            Err(_) => wire.traffic.send_failed.one(),
        }
    }

    /// Sends the replies of a batch, in order.
    ///
    /// One system call each: `sendmmsg` would save 0.1 µs of 3, and no safe interface sets the source address with it.
    pub fn send_all<'a>(&self, replies: impl IntoIterator<Item = (&'a ReturnAddress, &'a [u8])>) {
        for (to, octets) in replies {
            self.send(to, octets);
        }
    }
}

/// A request to a group address can only be answered from an address of the kernel's choice.
fn can_send_from(ip: &IpAddr) -> bool {
    !ip.is_multicast() && !ip.is_unspecified() && !matches!(ip, IpAddr::V4(v4) if v4.is_broadcast())
}
