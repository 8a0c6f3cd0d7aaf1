//! A banking gateway: RADIUS packets built by hand, replies checked by hand.

use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

/// RADIUS codes.
pub mod code {
    pub const ACCESS_REQUEST: u8 = 1;
    pub const ACCESS_ACCEPT: u8 = 2;
    pub const ACCESS_REJECT: u8 = 3;
    pub const ACCESS_CHALLENGE: u8 = 11;
    pub const STATUS_SERVER: u8 = 12;
}

/// Types of attributes.
pub mod kind {
    pub const USER_NAME: u8 = 1;
    pub const USER_PASSWORD: u8 = 2;
    pub const CHAP_PASSWORD: u8 = 3;
    pub const NAS_IP_ADDRESS: u8 = 4;
    pub const NAS_PORT: u8 = 5;
    pub const SERVICE_TYPE: u8 = 6;
    pub const REPLY_MESSAGE: u8 = 18;
    pub const STATE: u8 = 24;
    pub const CLASS: u8 = 25;
    pub const VENDOR_SPECIFIC: u8 = 26;
    pub const SESSION_TIMEOUT: u8 = 27;
    pub const CALLING_STATION_ID: u8 = 31;
    pub const NAS_IDENTIFIER: u8 = 32;
    pub const PROXY_STATE: u8 = 33;
    pub const CHAP_CHALLENGE: u8 = 60;
    pub const EAP_MESSAGE: u8 = 79;
    pub const MESSAGE_AUTHENTICATOR: u8 = 80;
    pub const NAS_PORT_ID: u8 = 87;
    pub const NAS_IPV6_ADDRESS: u8 = 95;
}

/// One gateway with one socket.
pub struct Gateway {
    pub socket: UdpSocket,
    pub server: SocketAddr,
    pub secret: Vec<u8>,
    identifier: AtomicU8,
}

/// A request as octets, with what is needed to check its reply.
#[derive(Clone)]
pub struct Request {
    pub octets: Vec<u8>,
    pub secret: Vec<u8>,
}

/// A reply that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub octets: Vec<u8>,
    pub from: SocketAddr,
}

/// How long a story waits for an answer that must come.
const ANSWER: Duration = Duration::from_secs(8);

/// How long silence has to last to count as silence. Drops are also checked by their counters.
const SILENCE: Duration = Duration::from_millis(250);

impl Gateway {
    /// A gateway that asks `server`, from any local port.
    pub fn new(server: SocketAddr, secret: &str) -> Gateway {
        let local: SocketAddr = match server.ip() {
            IpAddr::V4(_) => "127.0.0.1:0".parse().unwrap(),
            IpAddr::V6(_) => "[::1]:0".parse().unwrap(),
        };
        Gateway::from(local, server, secret)
    }

    /// A gateway with this local address.
    pub fn from(local: SocketAddr, server: SocketAddr, secret: &str) -> Gateway {
        let socket = UdpSocket::bind(local).unwrap();
        Gateway { socket, server, secret: secret.into(), identifier: AtomicU8::new(0) }
    }

    /// A login: User-Name and User-Password, signed.
    pub fn login(&self, user: &str, field: &str) -> Reply {
        self.ask(&self.request(user, field.as_bytes()))
    }

    /// A login that names its operation in NAS-Port-Id.
    pub fn operation(&self, user: &str, field: &str, operation: &str) -> Reply {
        let attributes = [(1, user.as_bytes().to_vec()), (87, operation.as_bytes().to_vec())];
        self.ask(&self.build(code::ACCESS_REQUEST, &attributes, Some(field.as_bytes()), Signed::First))
    }

    /// A signed Access-Request.
    pub fn request(&self, user: &str, field: &[u8]) -> Request {
        self.build(code::ACCESS_REQUEST, &[(1, user.as_bytes().to_vec())], Some(field), Signed::First)
    }

    /// Any request: attributes in order, the hidden User-Password last if there is one.
    pub fn build(
        &self,
        code: u8,
        attributes: &[(u8, Vec<u8>)],
        field: Option<&[u8]>,
        signed: Signed,
    ) -> Request {
        let identifier = self.identifier.fetch_add(1, Ordering::Relaxed);
        let mut authenticator = [0; 16];
        getrandom::fill(&mut authenticator).unwrap();
        build(&self.secret, code, identifier, authenticator, attributes, field, signed)
    }

    /// Sends and waits for the reply, which must be genuine.
    pub fn ask(&self, request: &Request) -> Reply {
        self.send(request);
        self.receive(request).expect("an answer")
    }

    /// Sends; nobody may answer.
    pub fn expect_silence(&self, request: &Request) {
        self.send(request);
        assert_eq!(self.receive_within(request, SILENCE), None, "silence");
    }

    /// Sends octets as they are; nobody may answer.
    pub fn expect_silence_to(&self, octets: &[u8]) {
        self.socket.send_to(octets, self.server).unwrap();
        self.socket.set_read_timeout(Some(SILENCE)).unwrap();
        assert!(self.socket.recv_from(&mut [0; 4096]).is_err(), "silence");
    }

    /// An Access-Request with these attributes beside User-Name and User-Password, signed.
    pub fn request_with(&self, user: &str, field: &[u8], attributes: &[(u8, Vec<u8>)]) -> Request {
        let mut all = vec![(kind::USER_NAME, user.as_bytes().to_vec())];
        all.extend_from_slice(attributes);
        self.build(code::ACCESS_REQUEST, &all, Some(field), Signed::First)
    }

    /// The second step of a login: what a challenge asked for, with its State.
    pub fn answer(&self, user: &str, code: &str, state: &[u8]) -> Request {
        self.request_with(user, code.as_bytes(), &[(kind::STATE, state.to_vec())])
    }

    /// The next octets that arrive, whatever they answer.
    pub fn receive_any(&self) -> Vec<u8> {
        let mut buffer = [0; 65536];
        self.socket.set_read_timeout(Some(ANSWER)).unwrap();
        loop {
            match self.socket.recv(&mut buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                received => return buffer[..received.expect("an answer")].to_vec(),
            }
        }
    }

    /// Nothing has arrived. For silence that a counter has already confirmed.
    pub fn expect_nothing(&self) {
        self.socket.set_nonblocking(true).unwrap();
        let arrived = self.socket.recv_from(&mut [0; 4096]);
        self.socket.set_nonblocking(false).unwrap();
        assert!(arrived.is_err(), "silence, and no {arrived:?}");
    }

    pub fn send(&self, request: &Request) {
        self.socket.send_to(&request.octets, self.server).unwrap();
    }

    /// The reply to this request, checked; `None` after a while.
    pub fn receive(&self, request: &Request) -> Option<Reply> {
        self.receive_within(request, ANSWER)
    }

    pub fn receive_within(&self, request: &Request, patience: Duration) -> Option<Reply> {
        let until = Instant::now() + patience;
        let mut buffer = [0; 65536];
        loop {
            let left = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
            self.socket.set_read_timeout(Some(left)).unwrap();
            let (length, from) = match self.socket.recv_from(&mut buffer) {
                Ok(received) => received,
                // A machine that is paused and goes on interrupts whoever waits.
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(_) => return None,
            };
            if buffer[1] == request.octets[1] {
                return Some(request.genuine(&buffer[..length], from));
            }
        }
    }

    /// What FreeRADIUS' own client makes of it: `Access-Accept`, `Access-Reject`, … or the empty text.
    pub fn radclient(&self, attributes: &str) -> String {
        let secret = String::from_utf8(self.secret.clone()).unwrap();
        let mut client = Command::new("radclient")
            .args(["-r", "1", "-t", "8", "-x", &self.server.to_string(), "auth", &secret])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("radclient is needed: apt-get install freeradius-utils");
        use std::io::Write as _;
        client.stdin.take().unwrap().write_all(attributes.as_bytes()).unwrap();
        let output = client.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let received = text.lines().find(|line| line.starts_with("Received "));
        received.and_then(|line| line.split_whitespace().nth(1)).unwrap_or_default().to_owned()
    }
}

/// Where the Message-Authenticator stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signed {
    First,
    Last,
    /// Where the attributes have a Message-Authenticator of 16 octets; its value is filled in.
    InPlace,
    No,
}

/// Builds a request from its parts.
pub fn build(
    secret: &[u8],
    code: u8,
    identifier: u8,
    authenticator: [u8; 16],
    attributes: &[(u8, Vec<u8>)],
    field: Option<&[u8]>,
    signed: Signed,
) -> Request {
    let mut all = Vec::new();
    if signed == Signed::First {
        all.push((80, vec![0; 16]));
    }
    all.extend_from_slice(attributes);
    if let Some(field) = field {
        all.push((2, hide(secret, &authenticator, field)));
    }
    if signed == Signed::Last {
        all.push((80, vec![0; 16]));
    }
    let mut octets = vec![code, identifier, 0, 0];
    octets.extend_from_slice(&authenticator);
    let mut signature_at = None;
    for (kind, value) in &all {
        if *kind == 80 && value.len() == 16 {
            signature_at = Some(octets.len() + 2);
        }
        octets.extend_from_slice(&[*kind, u8::try_from(value.len() + 2).unwrap()]);
        octets.extend_from_slice(value);
    }
    let length = u16::try_from(octets.len()).unwrap().to_be_bytes();
    octets[2..4].copy_from_slice(&length);
    if let (Some(at), true) = (signature_at, signed != Signed::No) {
        let signature = hmac_md5(secret, &[&octets]);
        octets[at..at + 16].copy_from_slice(&signature);
    }
    Request { octets, secret: secret.to_vec() }
}

/// RFC 2865 §5.2.
pub fn hide(secret: &[u8], authenticator: &[u8; 16], password: &[u8]) -> Vec<u8> {
    let mut padded = password.to_vec();
    padded.resize(password.len().max(1).next_multiple_of(16), 0);
    let mut hidden = Vec::new();
    let mut before = authenticator.to_vec();
    for block in padded.chunks(16) {
        let mask = Md5::digest([secret, before.as_slice()].concat());
        before = block.iter().zip(mask).map(|(octet, mask)| octet ^ mask).collect();
        hidden.extend_from_slice(&before);
    }
    hidden
}

fn hmac_md5(secret: &[u8], parts: &[&[u8]]) -> [u8; 16] {
    let mut mac = Hmac::<Md5>::new_from_slice(secret).unwrap();
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

impl Request {
    /// Octets that came back: they must be a genuine reply to this request.
    pub fn genuine(&self, octets: &[u8], from: SocketAddr) -> Reply {
        let reply = Reply { octets: octets.to_vec(), from };
        reply.check(self);
        reply
    }

    /// Whether these octets carry the right Response Authenticator for it.
    pub fn is_answered_by(&self, octets: &[u8]) -> bool {
        if octets.len() < 20 || octets[1] != self.octets[1] {
            return false;
        }
        let mut unsigned = octets.to_vec();
        unsigned[4..20].copy_from_slice(&self.authenticator());
        octets[4..20] == *Md5::digest([unsigned.as_slice(), &self.secret].concat()).as_slice()
    }

    pub fn authenticator(&self) -> [u8; 16] {
        self.octets[4..20].try_into().unwrap()
    }
}

impl Reply {
    pub fn code(&self) -> u8 {
        self.octets[0]
    }

    pub fn is_accept(&self) -> bool {
        self.code() == code::ACCESS_ACCEPT
    }

    pub fn is_reject(&self) -> bool {
        self.code() == code::ACCESS_REJECT
    }

    pub fn is_challenge(&self) -> bool {
        self.code() == code::ACCESS_CHALLENGE
    }

    /// All attributes in order.
    pub fn attributes(&self) -> Vec<(u8, Vec<u8>)> {
        let mut rest = &self.octets[20..];
        let mut attributes = Vec::new();
        while let [kind, length, ..] = rest {
            let length = usize::from(*length);
            assert!((2..=rest.len()).contains(&length), "the reply's attributes tile it");
            attributes.push((*kind, rest[2..length].to_vec()));
            rest = &rest[length..];
        }
        assert!(rest.is_empty(), "no octet left over");
        attributes
    }

    /// The values of one type, in order.
    pub fn values(&self, kind: u8) -> Vec<Vec<u8>> {
        self.attributes().into_iter().filter(|(found, _)| *found == kind).map(|(_, value)| value).collect()
    }

    /// The State attribute of a challenge.
    pub fn state(&self) -> Vec<u8> {
        let states = self.values(24);
        assert_eq!(states.len(), 1, "one State");
        states[0].clone()
    }

    /// The types of the attributes and the lengths of their values: what the structure of a reply is.
    pub fn structure(&self) -> (u8, Vec<(u8, usize)>) {
        (self.code(), self.attributes().iter().map(|(kind, value)| (*kind, value.len())).collect())
    }

    /// RAD-19 holds for every reply of every story: Message-Authenticator first and right, Response Authenticator right.
    fn check(&self, request: &Request) {
        let length = usize::from(u16::from_be_bytes([self.octets[2], self.octets[3]]));
        assert_eq!(length, self.octets.len(), "Length is what arrived");
        assert!(length <= 4096, "no reply is longer than 4096 octets");
        assert_eq!(&self.octets[20..22], &[80, 18], "Message-Authenticator comes first");
        let mut unsigned = self.octets.clone();
        unsigned[4..20].copy_from_slice(&request.authenticator());
        let response = Md5::digest([unsigned.as_slice(), &request.secret].concat());
        assert_eq!(&self.octets[4..20], response.as_slice(), "Response Authenticator");
        unsigned[22..38].fill(0);
        assert_eq!(self.octets[22..38], hmac_md5(&request.secret, &[&unsigned]), "Message-Authenticator");
        self.attributes();
    }
}
