//! Where a datagram came from and how a reply finds its way back.

use crate::clock::Moment;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};

/// One datagram, as long as its handler looks at it.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// The whole payload, up to the 65,507 octets of a UDP datagram: never cut off.
    pub octets: &'a [u8],
    /// Who sent it and to whom.
    pub from: ReturnAddress,
    /// When its batch was taken from the socket.
    pub at: Moment,
}

/// What it takes to answer from the address and port that was asked (RFC 2865 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReturnAddress {
    /// The sender: IPv4-mapped addresses as IPv4, link-local ones with their scope, no flow label.
    pub peer: SocketAddr,
    /// The socket that was asked.
    pub socket: SocketNumber,
    /// Our own address that was asked, if the kernel told.
    pub local: Option<IpAddr>,
}

/// The place of a socket among the [`Sockets`](super::Sockets) that were opened together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SocketNumber(pub u16);

impl ReturnAddress {
    /// Brings addresses as the kernel reports them into the one form that tables and logs use.
    pub(super) fn new(peer: SocketAddr, socket: SocketNumber, local: Option<IpAddr>) -> ReturnAddress {
        let peer = match (peer.ip().to_canonical(), peer) {
            // The scope tells apart equal link-local addresses of two interfaces; the flow label names nobody.
            (IpAddr::V6(ip), SocketAddr::V6(v6)) => SocketAddrV6::new(ip, v6.port(), 0, v6.scope_id()).into(),
            (ip, _) => SocketAddr::new(ip, peer.port()),
        };
        ReturnAddress { peer, socket, local: local.map(|ip| ip.to_canonical()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_peer_has_one_form() {
        let form = |peer: &str| {
            ReturnAddress::new(peer.parse().unwrap(), SocketNumber(0), "::ffff:192.0.2.9".parse().ok())
        };
        let mapped = form("[::ffff:192.0.2.1]:1645");
        assert_eq!(mapped, form("192.0.2.1:1645"));
        assert_eq!(mapped.local, "192.0.2.9".parse().ok());
        assert_eq!(form("[fe80::1%3]:9").peer, "[fe80::1%3]:9".parse().unwrap());
        assert_ne!(form("[fe80::1%3]:9"), form("[fe80::1%4]:9"));
        let flow = SocketAddrV6::new("2001:db8::1".parse().unwrap(), 9, 77, 0);
        assert_eq!(
            ReturnAddress::new(flow.into(), SocketNumber(0), None).peer,
            "[2001:db8::1]:9".parse().unwrap()
        );
    }
}
