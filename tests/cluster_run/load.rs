//! Gateways that log users in through several nodes at once, and remember everything that came of it.

use super::history::{History, Offer, Shown, Verdict, Weather};
use crate::crash::history::Ticket;
use crate::crash::load::Holder;
use crate::harness::gateway::{Request, Signed, build};
use crate::harness::{Dice, PASSWORD, SECRET, code, unix_now};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A request without an answer is sent again after this time, as gateways do.
const AGAIN: Duration = Duration::from_millis(400);
/// An answer that has not come by then does not come, for a gateway. It is remembered all the same if it does.
const PATIENCE: Duration = Duration::from_millis(1200);
/// The same while nothing is broken: then silence is held against the nodes, and a busy machine must not pass for it.
const FAIR_PATIENCE: Duration = Duration::from_secs(5);
/// Addresses that packets come from.
const GATEWAYS: [&str; 2] = ["127.0.0.1:0", "127.0.0.2:0"];
/// Packets whose late answers are still waited for.
const OPEN_MAX: usize = 200;

/// What a whole run knows together.
pub struct Run {
    pub nodes: Vec<SocketAddr>,
    pub history: Mutex<History>,
    /// Odd while something is broken.
    pub weather: AtomicU64,
    pub over: AtomicBool,
    /// Whether a login may be asked about twice.
    pub lost_answers: LostAnswers,
    packets: AtomicUsize,
    stations: AtomicUsize,
    begun: Instant,
}

/// Whether gateways ask again for answers that they have not seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostAnswers {
    AreAskedForAgain,
    StayLost,
}

impl Run {
    pub fn new(nodes: Vec<SocketAddr>, lost_answers: LostAnswers) -> Run {
        Run {
            nodes,
            history: Mutex::default(),
            weather: AtomicU64::new(0),
            over: AtomicBool::new(false),
            lost_answers,
            packets: AtomicUsize::new(0),
            stations: AtomicUsize::new(0),
            begun: Instant::now(),
        }
    }

    pub fn history(&self) -> std::sync::MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is broken from now on, or mended.
    pub fn turn_weather(&self) {
        self.weather.fetch_add(1, Ordering::AcqRel);
    }

    fn weather(&self) -> u64 {
        self.weather.load(Ordering::Acquire)
    }

    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }
}

/// A user of the run, and which code comes next.
pub struct Account<'h> {
    pub holder: &'h Holder,
    next: u64,
}

impl<'h> Account<'h> {
    pub fn new(holder: &'h Holder) -> Account<'h> {
        Account { holder, next: 0 }
    }

    /// The code that nobody has shown yet, if there is one now.
    fn next(&self) -> Option<Ticket> {
        let step = match self.holder.period() {
            0 => self.next,
            period => unix_now() / period,
        };
        (step >= self.next).then_some(Ticket { holder: self.holder.number, step })
    }
}

/// One gateway: two addresses, any number of packets that wait.
pub struct Client<'r> {
    run: &'r Run,
    sockets: Vec<UdpSocket>,
    dice: Dice,
    identifier: u8,
    open: Vec<Flight>,
}

struct Flight {
    /// Where it stands in the history.
    offer: usize,
    node: usize,
    socket: usize,
    request: Request,
    weather: u64,
    sent: Instant,
}

/// A packet before it leaves.
struct Packet {
    number: usize,
    station: usize,
    socket: usize,
    request: Request,
    shown: Shown,
}

impl<'r> Client<'r> {
    pub fn new(run: &'r Run, seed: u64) -> Client<'r> {
        let sockets = GATEWAYS.iter().map(|address| {
            let socket = UdpSocket::bind(address).unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        });
        Client { run, sockets: sockets.collect(), dice: Dice::new(seed), identifier: 0, open: Vec::new() }
    }

    /// Logs these users in again and again until the run is over.
    pub fn log_in(&mut self, accounts: &mut [Account<'_>]) {
        while !self.run.is_over() {
            let at = self.dice.index(accounts.len());
            match accounts[at].next() {
                Some(ticket) => {
                    let settled = self.login(accounts[at].holder, ticket);
                    // A code that nobody has said anything about may still be good.
                    if settled || accounts[at].holder.period() > 0 {
                        accounts[at].next = ticket.step + 1;
                    }
                }
                None => self.rest(Duration::from_millis(5)),
            }
        }
        self.rest(PATIENCE);
    }

    /// Shows a user's wrong codes until the user is locked, and then right ones to every node.
    pub fn guess(&mut self, accounts: &[Account<'_>]) {
        for account in accounts {
            let mut refused = 0;
            for number in 0.. {
                if self.run.is_over() {
                    return;
                }
                let node = self.dice.index(self.run.nodes.len());
                let station = self.station();
                let shown = Shown::Wrong(account.holder.number);
                let code = wrong_code(account.holder, number);
                let packet = self.packet(account.holder, shown, &code, station, 0);
                let offer = self.send(&packet, node);
                self.wait_for(&[offer]);
                refused += usize::from(self.verdict(offer) == Some(Verdict::Reject));
                if refused >= super::bank::MAX_FAILURES {
                    break;
                }
            }
            for node in 0..self.run.nodes.len() {
                if let Some(ticket) = account.next() {
                    let offer = self.offer(account.holder, ticket, node);
                    self.wait_for(&[offer]);
                }
            }
        }
    }

    /// Shows these codes once more to every node, in new packets.
    pub fn again(&mut self, holders: &[Holder], tickets: &[Ticket]) {
        for ticket in tickets {
            let nodes = 0..self.run.nodes.len();
            let offers: Vec<usize> =
                nodes.map(|node| self.offer(&holders[ticket.holder], *ticket, node)).collect();
            self.wait_for(&offers);
        }
    }

    /// One login in one of the ways that gateways, networks and thieves have; whether anybody said anything.
    fn login(&mut self, holder: &Holder, ticket: Ticket) -> bool {
        let nodes = self.run.nodes.len();
        let (here, there) = {
            let here = self.dice.index(nodes);
            (here, (here + 1 + self.dice.index(nodes.max(2) - 1)) % nodes)
        };
        let offers = match self.dice.below(6) {
            // A thief who is as fast as the user, on every node.
            0 | 1 => (0..nodes).map(|node| self.offer(holder, ticket, node)).collect(),
            2 => vec![self.offer(holder, ticket, here), self.offer(holder, ticket, here)],
            // A gateway that gives up on a node and sends the same packet to the next.
            3 => {
                let packet = self.right(holder, ticket);
                let first = self.send(&packet, here);
                let late = self.dice.micros(3000);
                self.rest(late);
                vec![first, self.send(&packet, there)]
            }
            _ => vec![self.offer(holder, ticket, here)],
        };
        self.wait_for(&offers);
        let mut all = offers;
        if all.iter().all(|offer| self.verdict(*offer).is_none()) {
            // The next server in the gateway's list, with a packet of its own.
            let offer = self.offer(holder, ticket, there);
            self.wait_for(&[offer]);
            all.push(offer);
        } else if self.dice.below(3) == 0 {
            if self.run.lost_answers == LostAnswers::AreAskedForAgain {
                self.ask_for_lost_answer(holder, ticket, &all);
            }
            let offer = self.offer(holder, ticket, there);
            self.wait_for(&[offer]);
        }
        all.iter().any(|offer| self.verdict(*offer).is_some())
    }

    /// The answer has come, but suppose it had not: the same login asks the others.
    fn ask_for_lost_answer(&mut self, holder: &Holder, ticket: Ticket, offers: &[usize]) {
        let accepted = offers.iter().find(|offer| self.verdict(**offer) == Some(Verdict::Accept));
        let Some(&accepted) = accepted else { return };
        let (station, gateway) = {
            let history = self.run.history();
            (history.offers[accepted].station, history.offers[accepted].gateway)
        };
        // Twice: the second one is too much.
        for _ in 0..2 {
            let node = self.dice.index(self.run.nodes.len());
            let field = holder.code(ticket.step);
            let packet = self.packet(holder, Shown::Right(ticket), &field, station, gateway);
            let offer = self.send(&packet, node);
            self.wait_for(&[offer]);
        }
    }

    /// A new packet of a login of its own.
    fn offer(&mut self, holder: &Holder, ticket: Ticket, node: usize) -> usize {
        let packet = self.right(holder, ticket);
        self.send(&packet, node)
    }

    fn right(&mut self, holder: &Holder, ticket: Ticket) -> Packet {
        let (station, gateway) = (self.station(), self.dice.index(GATEWAYS.len()));
        self.packet(holder, Shown::Right(ticket), &holder.code(ticket.step), station, gateway)
    }

    fn station(&self) -> usize {
        self.run.stations.fetch_add(1, Ordering::Relaxed)
    }

    fn packet(&mut self, holder: &Holder, shown: Shown, code: &str, station: usize, socket: usize) -> Packet {
        self.identifier = self.identifier.wrapping_add(1);
        let mut authenticator = [0; 16];
        getrandom::fill(&mut authenticator).unwrap();
        let attributes = [(1, holder.name.as_bytes().to_vec()), (31, station.to_string().into_bytes())];
        let field = format!("{PASSWORD}{code}");
        let request = build(
            SECRET.as_bytes(),
            code::ACCESS_REQUEST,
            self.identifier,
            authenticator,
            &attributes,
            Some(field.as_bytes()),
            Signed::First,
        );
        let number = self.run.packets.fetch_add(1, Ordering::Relaxed);
        Packet { number, station, socket, request, shown }
    }

    /// Sends a packet to a node; gives its place in the history.
    fn send(&mut self, packet: &Packet, node: usize) -> usize {
        let weather = self.run.weather();
        let offer = {
            let mut history = self.run.history();
            history.offers.push(Offer {
                shown: packet.shown,
                packet: packet.number,
                station: packet.station,
                gateway: packet.socket,
                node,
                begin: self.run.now(),
                answer: None,
                weather: Weather::Foul,
            });
            history.offers.len() - 1
        };
        let (socket, request) = (packet.socket, packet.request.clone());
        let flight = Flight { offer, node, socket, request, weather, sent: Instant::now() };
        self.transmit(&flight);
        self.open.push(flight);
        if self.open.len() > OPEN_MAX {
            self.open.remove(0);
        }
        offer
    }

    fn transmit(&self, flight: &Flight) {
        let sent = self.sockets[flight.socket].send_to(&flight.request.octets, self.run.nodes[flight.node]);
        sent.unwrap();
    }

    fn verdict(&self, offer: usize) -> Option<Verdict> {
        self.run.history().offers[offer].answer.map(|(_, verdict)| verdict)
    }

    /// Waits until all of these are answered, or patience ends.
    fn wait_for(&mut self, offers: &[usize]) {
        let (begun, weather) = (Instant::now(), self.run.weather());
        let is_fair = || weather.is_multiple_of(2) && self.run.weather() == weather;
        while begun.elapsed() < if is_fair() { FAIR_PATIENCE } else { PATIENCE } {
            self.receive();
            let waiting = |flight: &&mut Flight| offers.contains(&flight.offer);
            let mut all_answered = true;
            let (sockets, nodes) = (&self.sockets, &self.run.nodes);
            for flight in self.open.iter_mut().filter(waiting) {
                all_answered = false;
                if flight.sent.elapsed() > AGAIN {
                    flight.sent = Instant::now();
                    sockets[flight.socket].send_to(&flight.request.octets, nodes[flight.node]).unwrap();
                }
            }
            if all_answered {
                return;
            }
            std::thread::sleep(Duration::from_micros(300));
        }
        // Silence counts in the weather that it began and ended in.
        let weather = self.run.weather();
        for flight in self.open.iter().filter(|flight| offers.contains(&flight.offer)) {
            self.run.history().offers[flight.offer].weather = of(flight.weather, weather);
        }
    }

    /// Passes time, and takes what arrives.
    fn rest(&mut self, length: Duration) {
        let begun = Instant::now();
        loop {
            self.receive();
            if begun.elapsed() >= length {
                return;
            }
            std::thread::sleep(Duration::from_micros(300));
        }
    }

    fn receive(&mut self) {
        let mut buffer = [0; 4096];
        for socket in 0..self.sockets.len() {
            while let Ok((length, from)) = self.sockets[socket].recv_from(&mut buffer) {
                let octets = &buffer[..length];
                let its = |flight: &Flight| {
                    flight.socket == socket
                        && self.run.nodes[flight.node] == from
                        && flight.request.is_answered_by(octets)
                };
                // What answers nothing is the second answer to a request that was sent twice.
                let Some(at) = self.open.iter().position(its) else { continue };
                let flight = self.open.remove(at);
                let reply = flight.request.genuine(octets, from);
                let verdict = if reply.is_accept() { Verdict::Accept } else { Verdict::Reject };
                assert!(reply.is_accept() || reply.is_reject());
                let now = self.run.now();
                let offer = &mut self.run.history().offers[flight.offer];
                offer.answer = Some((now, verdict));
                offer.weather = of(flight.weather, self.run.weather());
            }
        }
    }
}

fn of(begun: u64, ended: u64) -> Weather {
    if begun == ended && begun.is_multiple_of(2) { Weather::Fair } else { Weather::Foul }
}

/// A code of nobody: right neither now nor near now.
fn wrong_code(holder: &Holder, number: u64) -> String {
    let now = if holder.period() == 0 { 0 } else { unix_now() / holder.period() };
    let near: Vec<String> = (now.saturating_sub(5)..now + 20).map(|step| holder.code(step)).collect();
    let mut codes = (0_u64..).map(|n| format!("{:08}", 10_000_019 + 977 * (number * 40 + n)));
    codes.find(|code| !near.contains(code)).unwrap()
}
