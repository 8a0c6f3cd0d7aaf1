//! The loop of a worker: wait, receive a batch, hand on each datagram, go on whatever happens.

use super::address::{Arrival, ReturnAddress};
use super::socket::{Socket, Wire};
use crate::clock::{self, Mono};
use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSockRef};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use std::io::{self, IoSliceMut};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Room for one receive: the largest thing that the kernel hands over, a run of joined datagrams (GRO) of 64 KiB in
/// all, and nine cache lines more, so that the beginnings of the buffers do not all fall into the same cache set.
/// Only what is written to is ever backed by memory.
const ROOM: usize = 65_536 + 9 * 64;

/// How long an idle worker sleeps between two beats of its pulse.
const IDLE: Duration = Duration::from_secs(1);

/// The first rest after an error that may stay, doubled up to [`IDLE`]: an error must not become a busy loop.
const FIRST_REST: Duration = Duration::from_millis(5);

/// What a worker tells its handler.
pub enum Received<'a> {
    /// A datagram has arrived.
    Datagram(Arrival<'a>),
    /// No more have come for now. Under a flood that may never be said.
    NoMore,
}

/// Receives from `socket` until `stop` is raised. Each datagram goes to `handle` on this thread, and so does the word
/// that there are no more.
///
/// No error ends the loop and no panic of `handle` does: both are counted in the socket's
/// [`Traffic`](super::Traffic). At most one batch (32 buffers) is handled between two looks at `stop`. What the kernel
/// still holds when `stop` is raised is left there: its senders ask again, elsewhere.
pub fn run(socket: &Socket, stop: &Stop, pulse: &Pulse, mut handle: impl FnMut(Received<'_>)) {
    let wire = &*socket.wire;
    let mut rooms = vec![0u8; ROOM * BATCH_SIZE];
    let mut metas = [RecvMeta::default(); BATCH_SIZE];
    let mut rest = FIRST_REST;
    let mut handled = false;
    while !stop.is_raised() {
        let received = {
            let mut slices: [IoSliceMut<'_>; BATCH_SIZE] = std::array::from_fn(|_| IoSliceMut::new(&mut []));
            for (slice, room) in slices.iter_mut().zip(rooms.chunks_exact_mut(ROOM)) {
                *slice = IoSliceMut::new(room);
            }
            wire.state.recv(UdpSockRef::from(&wire.udp), &mut slices, &mut metas)
        };
        let at = clock::now();
        pulse.beat(at.mono);
        if received.is_err() && std::mem::take(&mut handled) {
            guarded(wire, &mut handle, Received::NoMore);
        }
        match received {
            Ok(count) => {
                rest = FIRST_REST;
                for (meta, room) in metas.iter().zip(rooms.chunks_exact(ROOM)).take(count) {
                    if meta.addr.port() == 0 {
                        wire.traffic.unanswerable.one();
                        continue;
                    }
                    let from = ReturnAddress::new(meta.addr, socket.number(), meta.dst_ip);
                    for octets in datagrams(room, meta.len, meta.stride) {
                        wire.traffic.received.one();
                        let arrival = Arrival { octets, from, at };
                        guarded(wire, &mut handle, Received::Datagram(arrival));
                    }
                }
                handled = true;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => stop.or_readable(socket, IDLE),
            Err(_) => {
                wire.traffic.receive_failed.one();
                stop.wait(rest);
                rest = IDLE.min(rest * 2);
            }
        }
    }
    if handled {
        guarded(wire, &mut handle, Received::NoMore);
    }
}

/// A datagram that finds a bug costs its sender an answer, not everybody the worker.
fn guarded(wire: &Wire, handle: &mut impl FnMut(Received<'_>), received: Received<'_>) {
    if catch_unwind(AssertUnwindSafe(|| handle(received))).is_err() {
        wire.traffic.handler_panicked.one();
    }
}

/// The datagrams of one receive: `stride` octets each, the last perhaps fewer. An empty datagram is one, too.
fn datagrams(room: &[u8], len: usize, stride: usize) -> impl Iterator<Item = &[u8]> {
    let filled = room.get(..len).unwrap_or(room);
    let empty = filled.is_empty().then_some(filled);
    empty.into_iter().chain(filled.chunks(stride.max(1)))
}

/// Ends the workers. Clones share one state; raised once, it stays raised.
#[derive(Clone, Debug)]
pub struct Stop(Arc<StopState>);

#[derive(Debug)]
struct StopState {
    raised: AtomicBool,
    /// Becomes readable with the flag and stays so, which wakes every poll at once.
    bell: OwnedFd,
}

impl Stop {
    /// Not raised yet.
    ///
    /// # Errors
    ///
    /// When the process has no descriptor left.
    pub fn new() -> io::Result<Stop> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Stop(Arc::new(StopState { raised: AtomicBool::new(false), bell })))
    }

    /// Ends every loop that watches this, for good.
    pub fn raise(&self) {
        self.0.raised.store(true, Ordering::Release);
        // The counter of a fresh eventfd takes this; if it did not, the flag is seen within `IDLE`.
        let _ = rustix::io::write(&self.0.bell, &1u64.to_ne_bytes());
    }

    /// Whether it was raised.
    pub fn is_raised(&self) -> bool {
        self.0.raised.load(Ordering::Acquire)
    }

    /// Waits until it is raised or the time is over; says whether it was raised.
    pub fn wait(&self, at_most: Duration) -> bool {
        let _ = poll(&mut [PollFd::new(&self.0.bell, PollFlags::IN)], timespec(at_most).as_ref());
        self.is_raised()
    }

    /// Waits for a datagram, for the stop or for the time to be over.
    fn or_readable(&self, socket: &Socket, at_most: Duration) {
        let udp = PollFd::new(&socket.wire.udp, PollFlags::IN);
        let bell = PollFd::new(&self.0.bell, PollFlags::IN);
        match poll(&mut [udp, bell], timespec(at_most).as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => {
                socket.wire.traffic.receive_failed.one();
                std::thread::sleep(FIRST_REST);
            }
        }
    }
}

fn timespec(duration: Duration) -> Option<Timespec> {
    Timespec::try_from(duration).ok()
}

/// The heartbeat of one loop: when it last came round, busy or idle. Clones share it: the loop keeps one, whoever watches
/// the loop another.
#[derive(Clone, Debug)]
pub struct Pulse(Arc<Beat>);

#[derive(Debug)]
#[repr(align(64))] // Written by its loop at each turn: not on a line with another's.
struct Beat(AtomicU64);

impl Pulse {
    /// A loop that starts now.
    pub fn new(now: Mono) -> Pulse {
        Pulse(Arc::new(Beat(AtomicU64::new(now.nanos()))))
    }

    /// Says that the loop has come round.
    pub fn beat(&self, now: Mono) {
        self.0.0.store(now.nanos(), Ordering::Relaxed);
    }

    /// How long ago the loop came round. An idle worker beats every second.
    pub fn age(&self, now: Mono) -> Duration {
        now.since(Mono::from_nanos(self.0.0.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_datagrams_are_taken_apart() {
        let parts =
            |len, stride| datagrams(b"aaaabbbbccdd", len, stride).map(<[u8]>::len).collect::<Vec<_>>();
        assert_eq!(parts(10, 4), [4, 4, 2]);
        assert_eq!(parts(8, 4), [4, 4]);
        assert_eq!(parts(3, 3), [3]);
        assert_eq!(parts(0, 0), [0], "an empty datagram is one that must be counted");
        assert_eq!(parts(99, 99), [12], "never beyond the room");
    }

    #[test]
    fn a_stop_once_raised_stays() {
        let stop = Stop::new().unwrap();
        assert!(!stop.wait(Duration::ZERO));
        stop.clone().raise();
        stop.raise();
        assert!(stop.is_raised());
        assert!(stop.wait(Duration::MAX), "does not wait");
    }

    #[test]
    fn a_pulse_tells_its_age() {
        let pulse = Pulse::new(Mono::from_nanos(5));
        assert_eq!(pulse.age(Mono::from_nanos(7)), Duration::from_nanos(2));
        pulse.beat(Mono::from_nanos(9));
        assert_eq!(pulse.age(Mono::from_nanos(7)), Duration::ZERO);
    }
}
