//! Opening UDP sockets so that every reply can leave from the address that was asked.

use super::address::SocketNumber;
use super::kernel;
use super::outbound::Outbound;
use super::traffic::Traffic;
use quinn_udp::{UdpSockRef, UdpSocketState};
use rustix::net::sockopt;
use socket2::{Domain, Protocol, Type};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::num::NonZeroU16;
use std::sync::Arc;

/// The receive buffer that is asked for: half a second of 40,000 requests at the 200 octets and the kernel's
/// bookkeeping that each occupies. The kernel gives at most `net.core.rmem_max`.
const RECEIVE_BUFFER: usize = 16 << 20;

/// The send buffer that is asked for; replies are small and leave at once.
const SEND_BUFFER: usize = 2 << 20;

/// Why a socket could not be opened: always the configuration or the system, never a peer.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address is taken, is not ours, or needs a privilege.
    #[error("cannot listen on {address}: {cause}")]
    Refused {
        /// The address as configured.
        address: SocketAddr,
        /// What the kernel said.
        cause: io::Error,
    },
    /// A socket was handed over (socket activation) that is not a bound UDP socket.
    #[error("the socket handed over is not a bound UDP socket over IPv4 or IPv6: {0}")]
    NotUdp(io::Error),
    /// More sockets than numbers.
    #[error("more than 65535 sockets: list fewer addresses or start fewer workers")]
    TooMany,
}

/// One open UDP socket. A worker owns it and receives; any number of [`Outbound`]s send through it.
#[derive(Clone, Debug)]
pub struct Socket {
    number: SocketNumber,
    address: SocketAddr,
    pub(super) wire: Arc<Wire>,
}

/// The descriptor, its options and its counters.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) udp: UdpSocket,
    pub(super) state: UdpSocketState,
    pub(super) traffic: Traffic,
}

impl Socket {
    /// Its place in [`Sockets`].
    pub fn number(&self) -> SocketNumber {
        self.number
    }

    /// The address it is bound to, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its counters.
    pub fn traffic(&self) -> &Traffic {
        &self.wire.traffic
    }

    /// Datagrams that the kernel threw away because the receive buffer was full; `None` if it does not say.
    pub fn kernel_dropped(&self) -> Option<u64> {
        kernel::dropped(&self.wire.udp)
    }

    /// The receive buffer in octets that the kernel really gave, which is twice what it counts as usable.
    pub fn receive_buffer(&self) -> Option<usize> {
        self.wire.state.recv_buffer_size(UdpSockRef::from(&self.wire.udp)).ok()
    }

    /// Asks for everything that receiving and answering needs.
    fn prepare(number: SocketNumber, udp: UdpSocket) -> io::Result<Socket> {
        let address = udp.local_addr()?;
        let state = UdpSocketState::new(UdpSockRef::from(&udp))?;
        // Smaller buffers than asked for lose datagrams in a burst; they do not keep us from serving.
        let _ = state.set_recv_buffer_size(UdpSockRef::from(&udp), RECEIVE_BUFFER);
        let _ = state.set_send_buffer_size(UdpSockRef::from(&udp), SEND_BUFFER);
        // quinn-udp forbids fragments, which QUIC wants. A RADIUS reply may have 4096 octets, and nobody may shrink
        // our path with forged ICMP messages: send in fragments of the interface's size, whatever a router says.
        let _ = sockopt::set_ip_mtu_discover(&udp, sockopt::Ipv4PathMtuDiscovery::OMIT);
        if address.is_ipv6() {
            let _ = sockopt::set_ipv6_mtu_discover(&udp, sockopt::Ipv6PathMtuDiscovery::OMIT);
        }
        Ok(Socket { number, address, wire: Arc::new(Wire { udp, state, traffic: Traffic::default() }) })
    }
}

/// All sockets of the daemon, numbered as they are opened.
#[derive(Debug, Default)]
pub struct Sockets {
    open: Vec<Socket>,
}

impl Sockets {
    /// No socket yet.
    pub fn new() -> Sockets {
        Sockets::default()
    }

    /// Listens on `address` with one socket per worker. With port 0 all of them get the same free port.
    ///
    /// Several sockets on one address share its datagrams by the sender's address and port, so that a retransmission
    /// comes to the same worker. `0.0.0.0` and `[::]` can be listed together.
    ///
    /// # Errors
    ///
    /// [`BindError::Refused`] if the address is not to be had, which includes another process that listens on it and
    /// would share: two daemons on one address would each accept a code once.
    pub fn bind(&mut self, address: SocketAddr, workers: NonZeroU16) -> Result<SocketAddr, BindError> {
        let refused = |cause| BindError::Refused { address, cause };
        // The first is bound alone, and fails if anybody is there; only then may its own siblings join.
        let first = open(address, Sharing::Alone).map_err(refused)?;
        let real = first.local_addr().map_err(refused)?;
        let mut group = vec![first];
        for _ in 1..workers.get() {
            if let [only] = group.as_slice() {
                socket2::SockRef::from(only).set_reuse_port(true).map_err(refused)?;
            }
            group.push(open(real, Sharing::Siblings).map_err(refused)?);
        }
        for udp in group {
            let number = self.next_number()?;
            self.open.push(Socket::prepare(number, udp).map_err(refused)?);
        }
        Ok(real)
    }

    /// Takes a bound UDP socket that somebody else opened (socket activation). One that serves both families is fine.
    ///
    /// # Errors
    ///
    /// [`BindError::NotUdp`] if it is another kind of socket.
    pub fn adopt(&mut self, udp: UdpSocket) -> Result<SocketAddr, BindError> {
        let kind = socket2::SockRef::from(&udp).r#type().map_err(BindError::NotUdp)?;
        if kind != Type::DGRAM {
            return Err(BindError::NotUdp(io::ErrorKind::InvalidInput.into()));
        }
        let number = self.next_number()?;
        let socket = Socket::prepare(number, udp).map_err(BindError::NotUdp)?;
        let address = socket.address;
        self.open.push(socket);
        Ok(address)
    }

    /// The sockets in the order of their numbers: one for each worker thread.
    pub fn all(&self) -> &[Socket] {
        &self.open
    }

    /// The way out through all of them.
    pub fn outbound(&self) -> Outbound {
        Outbound::over(self.open.iter().map(|socket| Arc::clone(&socket.wire)).collect())
    }

    fn next_number(&self) -> Result<SocketNumber, BindError> {
        u16::try_from(self.open.len()).map(SocketNumber).map_err(|_| BindError::TooMany)
    }
}

/// Whether sockets of our own may be bound to the same address.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    Alone,
    Siblings,
}

fn open(address: SocketAddr, sharing: Sharing) -> io::Result<UdpSocket> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        // Otherwise `[::]` would take IPv4 as well and `0.0.0.0` could not be bound beside it.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_port(sharing == Sharing::Siblings)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}
