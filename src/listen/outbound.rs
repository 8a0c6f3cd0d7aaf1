//! The way out: replies from any thread, each from the address that was asked.

use super::address::ReturnAddress;
use super::socket::Wire;
use quinn_udp::{Transmit, UdpSockRef};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

/// Replies of one [`Run`] at most; a full one leaves at once. A call costs about as much as the way of one datagram
/// through the kernel, so more share little; and whoever has its replies early asks again while the others are gathered.
pub(super) const RUN: usize = 16;

/// Gateways, by address and port, whose replies are gathered at the same time.
const RUNS: usize = 16;

/// The longest reply in octets that joins others. The kernel cuts a run into datagrams but not into fragments, so each
/// has to fit into the least that IPv6 asks of a link: 1280, less 40 and 8 of headers (RFC 8200 §5).
const CUT_MAX: usize = 1232;

/// Sends replies. Cheap to clone; never waits; a reply that cannot leave at once is counted and forgotten, because
/// the client asks again.
#[derive(Clone, Debug)]
pub struct Outbound {
    wires: Arc<[Arc<Wire>]>,
}

/// Replies that are ready and leave together: those to one gateway in one call, where the kernel cuts them apart again
/// (`UDP_SEGMENT`). Kept from batch to batch for its room.
#[derive(Debug, Default)]
pub struct Departures {
    runs: Vec<Run>,
    /// How many of the runs hold something.
    filled: usize,
}

/// Replies to one gateway, end to end: all of one length, only the last may be shorter. Empty again when it has left.
#[derive(Debug)]
struct Run {
    to: ReturnAddress,
    octets: Vec<u8>,
    cut: usize,
    replies: usize,
}

impl Run {
    fn takes(&self, to: &ReturnAddress, octets: &[u8]) -> bool {
        self.to == *to
            && self.replies < RUN
            && (1..=self.cut).contains(&octets.len())
            && self.octets.len() == self.cut.saturating_mul(self.replies)
    }
}

impl Departures {
    /// An empty run to `to`, unless as many as may be are filled.
    fn next(&mut self, to: &ReturnAddress, cut: usize) -> Option<&mut Run> {
        if self.filled >= RUNS {
            return None;
        }
        if self.filled >= self.runs.len() {
            self.runs.push(Run { to: *to, octets: Vec::new(), cut, replies: 0 });
        }
        let run = self.runs.get_mut(self.filled)?;
        self.filled = self.filled.saturating_add(1);
        (run.to, run.cut, run.replies) = (*to, cut, 0);
        run.octets.clear();
        Some(run)
    }
}

impl Outbound {
    pub(super) fn over(wires: Arc<[Arc<Wire>]>) -> Outbound {
        Outbound { wires }
    }

    /// Sends one reply. What became of it is in the socket's [`Traffic`](super::Traffic).
    pub fn send(&self, to: &ReturnAddress, octets: &[u8]) {
        if let Some(wire) = self.wires.get(usize::from(to.socket.0)) {
            wire.send(to, octets);
        } // A number of other sockets: nothing to count it on, and nothing to send it with.
    }

    /// Lets a reply wait for others of its batch, until they are enough for one call, at most until [`Outbound::send_off`].
    pub fn add(&self, departures: &mut Departures, to: &ReturnAddress, octets: &[u8]) {
        if octets.is_empty() || octets.len() > CUT_MAX {
            return self.send(to, octets);
        }
        let filled = departures.filled;
        let open = departures.runs.iter().take(filled).position(|run| run.takes(to, octets));
        let run = match open {
            Some(at) => departures.runs.get_mut(at),
            None => {
                if filled >= RUNS {
                    self.send_off(departures);
                }
                departures.next(to, octets.len())
            }
        };
        if let Some(run) = run {
            run.octets.extend_from_slice(octets);
            run.replies = run.replies.saturating_add(1);
            if run.replies >= RUN {
                self.send_run(run);
                run.octets.clear();
                run.replies = 0;
            }
        }
    }

    /// Sends all that were added.
    pub fn send_off(&self, departures: &mut Departures) {
        for run in departures.runs.iter().take(departures.filled).filter(|run| run.replies > 0) {
            self.send_run(run);
        }
        departures.filled = 0;
    }

    fn send_run(&self, run: &Run) {
        if let Some(wire) = self.wires.get(usize::from(run.to.socket.0)) {
            wire.send_run(run);
        }
    }
}

impl Wire {
    fn send(&self, to: &ReturnAddress, octets: &[u8]) {
        self.count(1, &self.try_send(to, octets, None));
    }

    /// In one call where the kernel can cut, else one by one. What it refuses as a whole may pass in parts.
    fn send_run(&self, run: &Run) {
        if run.replies > 1 && run.replies <= self.state.max_gso_segments() {
            let sent = self.try_send(&run.to, &run.octets, Some(run.cut));
            if matches!(&sent, Err(error) if error.kind() == io::ErrorKind::WouldBlock) || sent.is_ok() {
                return self.count(run.replies, &sent);
            }
        }
        for octets in run.octets.chunks(run.cut.max(1)) {
            self.send(&run.to, octets);
        }
    }

    fn try_send(&self, to: &ReturnAddress, contents: &[u8], segment_size: Option<usize>) -> io::Result<()> {
        let src_ip = to.local.filter(can_send_from);
        let transmit = Transmit { destination: to.peer, ecn: None, contents, segment_size, src_ip };
        self.state.try_send(UdpSockRef::from(&self.udp), &transmit)
    }

    fn count(&self, replies: usize, sent: &io::Result<()>) {
        let counter = match sent {
            Ok(()) => &self.traffic.sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => &self.traffic.send_blocked,
            Err(_) => &self.traffic.send_failed,
        };
        counter.add(replies);
    }
}

/// A request to a group address can only be answered from an address of the kernel's choice.
fn can_send_from(ip: &IpAddr) -> bool {
    !ip.is_multicast() && !ip.is_unspecified() && !matches!(ip, IpAddr::V4(v4) if v4.is_broadcast())
}
