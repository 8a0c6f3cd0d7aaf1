//! Many users who log in at once from several sockets, each with the next code of a token.

use super::history::{History, Ticket};
use crate::harness::gateway::Request;
use crate::harness::{Gateway, PASSWORD, Person, SECRET, Seed, holder, unix_now};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Sockets come in pairs: the second one offers, at the same moment, what the first one offers.
const LANES: usize = 4;
/// Requests of one lane that wait for their answers.
const IN_FLIGHT: usize = 8;
/// Seconds; a wider step means that more accepted codes are still in the window after a kill.
const PERIOD: u64 = 60;
/// Codes of a counter token that are offered in one life: the daemon knows the last few as used, earlier ones would
/// count as failures when they are offered again.
const COUNTERS: u32 = 4;
/// A request without an answer is sent again after this time, as gateways do.
const AGAIN: Duration = Duration::from_secs(1);
/// When a daemon that runs has not answered by then, something is wrong.
const PATIENCE: Duration = Duration::from_secs(20);

/// A user with one token: by counter if the number is even, else by time.
pub struct Holder {
    pub number: usize,
    pub name: String,
    pub key: Vec<u8>,
    /// No step below this one is offered as new.
    next: u64,
    current: u64,
    /// Packets with the current code that were not answered yet.
    waiting: u32,
    /// Codes that were offered since the daemon started.
    offered: u32,
    /// Offered before the daemon was killed, and the answer did not arrive: nobody knows whether it is used.
    doubtful: Option<u64>,
}

impl Holder {
    pub fn new(number: usize) -> Holder {
        let key = format!("crash-run-key-{number:06}").into_bytes();
        let name = format!("user{number}");
        Holder { number, name, key, next: 0, current: 0, waiting: 0, offered: 0, doubtful: None }
    }

    pub fn period(&self) -> u64 {
        if self.number.is_multiple_of(2) { 0 } else { PERIOD }
    }

    /// The user and the token for the directory.
    pub fn person(&self) -> Person {
        let key = crate::harness::world::hex(&self.key);
        let serial = format!("SN-{}", self.number);
        holder(&self.name, vec![Seed::new(&serial, &key, 8, u32::try_from(self.period()).unwrap())])
    }

    /// RFC 4226 §5.3, eight digits; without a process for each of many thousand codes.
    pub fn code(&self, step: u64) -> String {
        let mac = Hmac::<Sha1>::new_from_slice(&self.key).unwrap().chain_update(step.to_be_bytes());
        let tag = mac.finalize().into_bytes();
        let at = usize::from(tag[19] & 15);
        let number = u32::from_be_bytes(tag[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
        format!("{:08}", number % 100_000_000)
    }

    /// The daemon was started anew.
    pub fn restarted(&mut self) {
        if self.waiting > 0 {
            self.doubtful = Some(self.current);
        }
        (self.waiting, self.offered) = (0, 0);
    }

    fn next_step(&self) -> Option<u64> {
        let step = if self.period() == 0 { self.next } else { unix_now() / PERIOD };
        let spent = self.period() == 0 && self.offered >= COUNTERS;
        (self.waiting == 0 && step >= self.next && !spent).then_some(step)
    }
}

/// Requests toward one running daemon.
pub struct Load<'h> {
    pub server: SocketAddr,
    pub history: &'h Mutex<History>,
    /// The daemon is dead: what has arrived is read, and that is all.
    pub over: &'h AtomicBool,
    /// New codes that were refused.
    pub refused: &'h AtomicUsize,
}

struct Flight {
    number: usize,
    ticket: Ticket,
    request: Request,
    socket: usize,
    first: Instant,
    sent: Instant,
}

impl Load<'_> {
    /// Everybody logs in, again and again, until it is over; `odds` is any number to begin with.
    pub fn fresh(&self, holders: &mut [Holder], odds: usize) {
        let share = holders.len().div_ceil(LANES);
        std::thread::scope(|scope| {
            for holders in holders.chunks_mut(share) {
                scope.spawn(|| self.fresh_lane(holders, odds));
            }
        });
    }

    /// Offers these codes once more, each in a new packet, and waits for all answers unless it is over before.
    pub fn again(&self, holders: &[Holder], tickets: &[Ticket]) {
        std::thread::scope(|scope| {
            for lane in 0..LANES {
                let mut tickets = tickets.iter().skip(lane).step_by(LANES);
                scope.spawn(move || {
                    let mut lane = Lane::new(self);
                    loop {
                        while lane.has_room() {
                            let Some(&ticket) = tickets.next() else { break };
                            lane.offer(&holders[ticket.holder], ticket, 0);
                        }
                        if lane.flights.is_empty() || lane.receive().is_none() {
                            break;
                        }
                    }
                });
            }
        });
    }

    fn fresh_lane(&self, holders: &mut [Holder], odds: usize) {
        let mut lane = Lane::new(self);
        let first = holders[0].number;
        let mut turn = odds;
        loop {
            for _ in 0..holders.len() {
                if !lane.has_room() {
                    break;
                }
                turn += 1;
                let at = turn % holders.len();
                let Some(step) = holders[at].next_step() else { continue };
                let ticket = Ticket { holder: first + at, step };
                // A third of the codes goes out twice at once, in different packets through different sockets.
                let packets = if turn.is_multiple_of(3) { 2 } else { 1 };
                (0..packets).for_each(|socket| lane.offer(&holders[at], ticket, socket));
                let holder = &mut holders[at];
                (holder.current, holder.waiting) = (step, u32::try_from(packets).unwrap());
                holder.offered += 1;
            }
            let Some(answered) = lane.receive() else { break };
            for ticket in answered {
                let holder = &mut holders[ticket.holder - first];
                holder.next = holder.next.max(ticket.step + 1);
                holder.waiting -= 1;
                let known = holder.doubtful != Some(ticket.step) && holder.waiting == 0;
                if known && !self.history().was_accepted(ticket) {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    fn history(&self) -> std::sync::MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Lane<'l> {
    load: &'l Load<'l>,
    sockets: [Gateway; 2],
    flights: Vec<Flight>,
}

impl<'l> Lane<'l> {
    fn new(load: &'l Load<'l>) -> Lane<'l> {
        let sockets = [(); 2].map(|()| Gateway::new(load.server, SECRET));
        sockets.iter().for_each(|gateway| gateway.socket.set_nonblocking(true).unwrap());
        Lane { load, sockets, flights: Vec::new() }
    }

    fn has_room(&self) -> bool {
        self.flights.len() < IN_FLIGHT && !self.load.over.load(Ordering::Acquire)
    }

    fn offer(&mut self, holder: &Holder, ticket: Ticket, socket: usize) {
        let number = self.load.history().offer(ticket);
        let field = format!("{PASSWORD}{}", holder.code(ticket.step));
        let attributes = [(31, number.to_string().into_bytes())];
        let request = self.sockets[socket].request_with(&holder.name, field.as_bytes(), &attributes);
        self.sockets[socket].send(&request);
        if number.is_multiple_of(8) {
            self.sockets[socket].send(&request);
        }
        let sent = Instant::now();
        self.flights.push(Flight { number, ticket, request, socket, first: sent, sent });
    }

    /// The codes of the requests that were answered; `None` when nothing will come any more.
    fn receive(&mut self) -> Option<Vec<Ticket>> {
        // Looked at first: what a dead daemon has sent is in the sockets.
        let over = self.load.over.load(Ordering::Acquire);
        let (mut answered, mut buffer) = (Vec::new(), [0; 4096]);
        for (socket, gateway) in self.sockets.iter().enumerate() {
            while let Ok((length, from)) = gateway.socket.recv_from(&mut buffer) {
                let its = |flight: &Flight| flight.socket == socket && flight.request.octets[1] == buffer[1];
                // What answers nothing is the second answer to a request that was sent twice.
                let Some(at) = self.flights.iter().position(its) else { continue };
                let flight = self.flights.swap_remove(at);
                let reply = flight.request.genuine(&buffer[..length], from);
                if reply.is_accept() {
                    self.load.history().accept(flight.number);
                } else {
                    assert!(reply.is_reject());
                }
                answered.push(flight.ticket);
            }
        }
        if answered.is_empty() && over {
            return None;
        }
        if answered.is_empty() {
            for flight in self.flights.iter_mut().filter(|flight| flight.sent.elapsed() > AGAIN) {
                assert!(flight.first.elapsed() < PATIENCE, "no answer to request {}", flight.number);
                flight.sent = Instant::now();
                self.sockets[flight.socket].send(&flight.request);
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        Some(answered)
    }
}
