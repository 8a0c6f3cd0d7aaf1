//! Sends finished requests and takes the replies: so many in flight, or so many a second whatever becomes of them.

use crate::histogram::Histogram;
use crate::requests::{Reply, Request, Verified, place, verify};
use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSockRef, UdpSocketState};
use rustix::event::{Timespec, epoll};
use std::io::{ErrorKind, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// How requests are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// The next one when an answer has come: so many in flight.
    Closed { in_flight: usize },
    /// So many a second, whatever comes back; latency counts from the planned time.
    Open { rate: f64 },
}

/// What a run came to.
pub struct Run {
    pub accepted: usize,
    pub refused: usize,
    pub forged: usize,
    /// Sent and never answered.
    pub lost: usize,
    /// From the first measured sending to the last answer.
    pub lasted: Duration,
    /// Requests in that time.
    pub sent: usize,
    /// Answers in that time.
    pub answered: usize,
    pub latency: Histogram,
}

impl Run {
    /// A run in which nothing has happened yet.
    pub fn nothing() -> Run {
        Run {
            accepted: 0,
            refused: 0,
            forged: 0,
            lost: 0,
            lasted: Duration::ZERO,
            sent: 0,
            answered: 0,
            latency: Histogram::new(),
        }
    }
}

/// The sockets of one gateway.
pub struct Generator {
    sockets: Vec<UdpSocket>,
    states: Vec<UdpSocketState>,
    epoll: rustix::fd::OwnedFd,
    rooms: Vec<u8>,
}

/// Room for one reply; none is longer.
const ROOM: usize = 4096;

/// Nothing is answered after this time: what is missing is lost.
const PATIENCE: Duration = Duration::from_secs(1);

/// The part of a run that only warms up.
const WARM_UP: f64 = 0.1;

impl Generator {
    pub fn new(server: SocketAddr, ports: usize) -> Generator {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let mut sockets = Vec::new();
        let mut states = Vec::new();
        for at in 0..ports {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.connect(server).unwrap();
            let state = UdpSocketState::new(UdpSockRef::from(&socket)).unwrap();
            let _ = state.set_recv_buffer_size(UdpSockRef::from(&socket), 4 << 20);
            epoll::add(&epoll, &socket, epoll::EventData::new_u64(at as u64), epoll::EventFlags::IN).unwrap();
            sockets.push(socket);
            states.push(state);
        }
        Generator { sockets, states, epoll, rooms: vec![0; ROOM * BATCH_SIZE] }
    }

    /// Sends all requests, or as many as fit into `seconds`. `measured` is called when warming up is over and when the
    /// last answer has come.
    pub fn run(&mut self, requests: &[Request], pace: Pace, seconds: f64, mut measured: impl FnMut()) -> Run {
        let ports = self.sockets.len();
        // Which request waits in which place; the number plus one.
        let mut waiting = vec![0_u32; ports * 256];
        let mut sent_at = vec![0_u64; requests.len()];
        let mut replies: Vec<Reply> = Vec::with_capacity(requests.len());
        let begun = Instant::now();
        let nanos = |at: Instant| at.duration_since(begun).as_nanos() as u64;
        let end = Duration::from_secs_f64(seconds);
        let mut warming = true;
        let (mut next, mut in_flight) = (0_usize, 0_usize);
        let (mut first, mut last, mut answered_before) = (0_u64, 0_u64, 0_usize);
        let mut heard = Instant::now();
        loop {
            let now = Instant::now();
            let over = next == requests.len() || now.duration_since(begun) >= end;
            let due = match pace {
                _ if over => next,
                Pace::Closed { in_flight: wanted } => next + wanted.saturating_sub(in_flight),
                Pace::Open { rate } => (nanos(now) as f64 * rate / 1e9) as usize + 1,
            };
            // Not too many at once, so that answers are taken in between.
            let until = due.min(next + 64).min(requests.len());
            while next < until {
                let (port, identifier) = place(next, ports);
                let slot = &mut waiting[port * 256 + usize::from(identifier)];
                if *slot == 0 {
                    in_flight += 1;
                }
                *slot = next as u32 + 1;
                sent_at[next] = match pace {
                    Pace::Closed { .. } => nanos(Instant::now()),
                    Pace::Open { rate } => (next as f64 * 1e9 / rate) as u64,
                };
                // A full buffer is a loss like any other.
                let _ = self.sockets[port].send(requests[next].octets());
                next += 1;
            }
            if warming && now.duration_since(begun) > end.mul_f64(WARM_UP) {
                warming = false;
                first = nanos(Instant::now());
                answered_before = replies.len();
                measured();
            }
            let rest = match pace {
                // There is more to send at once.
                _ if until < due => Duration::ZERO,
                Pace::Closed { .. } => Duration::from_millis(50),
                // A sleep costs a wake-up of 50 µs: waiting for less is spinning.
                Pace::Open { .. } if !over => Duration::ZERO,
                Pace::Open { .. } => Duration::from_millis(50),
            };
            let before = replies.len();
            for port in self.ready(rest) {
                self.take(port, |identifier, octets| {
                    let slot = &mut waiting[port * 256 + usize::from(identifier)];
                    let Some(request) = slot.checked_sub(1) else { return };
                    *slot = 0;
                    in_flight -= 1;
                    last = nanos(Instant::now());
                    let mut copy = [0; 128];
                    let length = octets.len().min(copy.len());
                    copy[..length].copy_from_slice(&octets[..length]);
                    replies.push(Reply { request, at: last, length: length as u8, octets: copy });
                });
            }
            if replies.len() > before {
                heard = Instant::now();
            } else if heard.elapsed() > PATIENCE {
                // What has not come by now does not come: its place is free again.
                if over {
                    break;
                }
                waiting.fill(0);
                in_flight = 0;
                heard = Instant::now();
            }
            if over && in_flight == 0 {
                break;
            }
        }
        assert!(!warming, "a run needs more requests than it uses up while it warms up");
        measured();
        let mut run = Run {
            lost: next - replies.len(),
            lasted: Duration::from_nanos(last.saturating_sub(first)),
            sent: sent_at[..next].iter().filter(|at| **at >= first).count(),
            answered: replies.len() - answered_before,
            ..Run::nothing()
        };
        for reply in &replies {
            // Under overload an identifier is used again before the answer has come: then it is for an earlier request.
            let candidates = (0..=reply.request as usize).rev().step_by(ports * 256).take(16);
            let found = candidates
                .map(|at| (at, verify(&requests[at], reply)))
                .find(|(_, is)| *is != Verified::Forged);
            match found {
                Some((_, Verified::Accept)) => run.accepted += 1,
                Some((_, Verified::Refused)) => run.refused += 1,
                Some((_, Verified::Forged)) | None => run.forged += 1,
            }
            if let Some((at, _)) = found.filter(|_| reply.at >= first) {
                run.latency.record(reply.at.saturating_sub(sent_at[at]));
            }
        }
        run
    }

    fn ready(&self, rest: Duration) -> Vec<usize> {
        let mut events = [const { std::mem::MaybeUninit::<epoll::Event>::uninit() }; 64];
        let rest = Timespec::try_from(rest).ok();
        match epoll::wait(&self.epoll, &mut events, rest.as_ref()) {
            Ok((ready, _)) => ready
                .iter()
                .map(|event| {
                    let data = event.data;
                    data.u64() as usize
                })
                .collect(),
            Err(_) => Vec::new(),
        }
    }

    /// Takes what has arrived on one socket.
    fn take(&mut self, port: usize, mut each: impl FnMut(u8, &[u8])) {
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        let received = {
            let mut slices: [IoSliceMut<'_>; BATCH_SIZE] = std::array::from_fn(|_| IoSliceMut::new(&mut []));
            for (slice, room) in slices.iter_mut().zip(self.rooms.chunks_exact_mut(ROOM)) {
                *slice = IoSliceMut::new(room);
            }
            self.states[port].recv(UdpSockRef::from(&self.sockets[port]), &mut slices, &mut metas)
        };
        match received {
            Ok(count) => {
                for (meta, room) in metas.iter().zip(self.rooms.chunks_exact(ROOM)).take(count) {
                    for octets in
                        room[..meta.len].chunks(meta.stride.max(1)).filter(|octets| octets.len() >= 20)
                    {
                        each(octets[1], octets);
                    }
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionRefused) => {}
            Err(error) => panic!("receiving: {error}"),
        }
    }
}
