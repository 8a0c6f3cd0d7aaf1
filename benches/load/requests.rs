//! Fresh users and codes as finished datagrams, and the check of what comes back.
//!
//! Everything is computed before the clock runs and checked after it stopped, by code of its own: the generator must be
//! much cheaper than what it measures, and must not share its mistakes.

use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use sha1::Sha1;

/// The secret between the generator and every server.
pub const SECRET: &[u8] = b"9fJ2-kQ7_vT4.xL8~bN1+wR6=yH3!pD5";
/// Everybody's password.
pub const PASSWORD: &str = "kakunin8";
/// The length of a step in seconds; `rlm_totp` knows no other.
pub const PERIOD: u64 = 30;

/// The name of a user.
pub fn name(user: u32) -> String {
    format!("u{user:08}")
}

/// The key of a user's token: as little like the next user's as a real one, and cheap to make (splitmix64).
pub fn key(user: u32) -> [u8; 20] {
    let mut key = [0; 20];
    let mut state = u64::from(user) << 32;
    for part in key.chunks_mut(8) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        part.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes()[..part.len()]);
    }
    key
}

/// The number behind the last digits of a code (RFC 4226 §5.3).
pub fn truncated(key: &[u8], step: u64) -> u32 {
    let tag =
        Hmac::<Sha1>::new_from_slice(key).unwrap().chain_update(step.to_be_bytes()).finalize().into_bytes();
    let at = usize::from(tag[19] & 15);
    u32::from_be_bytes(tag[at..at + 4].try_into().unwrap()) & 0x7fff_ffff
}

/// Which codes a server can be asked about within one step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Codes {
    /// The step before, this one and the next, in this order: three logins of every user.
    Window,
    /// This step only, again and again: for servers that remember nothing.
    Current,
}

/// One datagram, ready to leave.
pub struct Request {
    octets: [u8; 96],
    length: u8,
}

impl Request {
    pub fn octets(&self) -> &[u8] {
        &self.octets[..usize::from(self.length)]
    }

    fn authenticator(&self) -> &[u8] {
        &self.octets[4..20]
    }
}

/// A reply as it came: when, and to which request as far as its identifier tells.
pub struct Reply {
    pub request: u32,
    pub at: u64,
    pub length: u8,
    pub octets: [u8; 128],
}

/// What a reply turned out to be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Verified {
    Accept,
    /// Signed as it should be, and not an accept.
    Refused,
    /// Not from the server.
    Forged,
}

/// Requests that leave from one port before the next is taken: as many as each port has in flight in a closed loop, so that all
/// paces look the same to the server.
pub const RUN: usize = 16;

/// Where a request with this number leaves from, and under which identifier; each comes again after `ports * 256`.
pub fn place(number: usize, ports: usize) -> (usize, u8) {
    let (run, within) = (number / RUN, number % RUN);
    (run % ports, (run / ports * RUN % 256 + within) as u8)
}

/// Makes `count` requests for a step: users in a random order, each with the codes it may use, oldest first.
pub fn make(count: usize, users: u32, ports: usize, step: u64, codes: Codes) -> Vec<Request> {
    let mut random = Random::new();
    // Steps of a number without a factor in common with `users` visit everybody, far from the one before.
    let stride =
        (u64::from(users) * 5 / 13..).find(|stride| gcd(*stride, u64::from(users)) == 1).unwrap_or(1);
    let signer = Hmac::<Md5>::new_from_slice(SECRET).unwrap();
    let hider = Md5::new().chain_update(SECRET);
    (0..count)
        .map(|number| {
            let round = number as u64 / u64::from(users);
            let user = ((number as u64 % u64::from(users)) * stride % u64::from(users)) as u32;
            let step = match codes {
                Codes::Window => step - 1 + round.min(2),
                Codes::Current => step,
            };
            let code = truncated(&key(user), step) % 1_000_000;
            let field = format!("{PASSWORD}{code:06}");
            build(&name(user), field.as_bytes(), place(number, ports).1, random.next(), &signer, &hider)
        })
        .collect()
}

/// How many requests there are codes for.
pub fn most(users: u32, codes: Codes) -> usize {
    match codes {
        Codes::Window => users as usize * 3,
        Codes::Current => usize::MAX,
    }
}

fn build(name: &str, field: &[u8], identifier: u8, random: u64, signer: &Hmac<Md5>, hider: &Md5) -> Request {
    let mut octets = Vec::with_capacity(96);
    octets.extend_from_slice(&[1, identifier, 0, 0]);
    octets.extend_from_slice(&random.to_le_bytes());
    octets.extend_from_slice(&random.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    octets.extend_from_slice(&[80, 18]);
    octets.extend_from_slice(&[0; 16]);
    octets.extend_from_slice(&[1, name.len() as u8 + 2]);
    octets.extend_from_slice(name.as_bytes());
    // One block hides it: the password and the code have 14 octets.
    let mut hidden = [0; 16];
    hidden[..field.len()].copy_from_slice(field);
    let mask = hider.clone().chain_update(&octets[4..20]).finalize();
    hidden.iter_mut().zip(mask).for_each(|(octet, mask)| *octet ^= mask);
    octets.extend_from_slice(&[2, 18]);
    octets.extend_from_slice(&hidden);
    octets.extend_from_slice(&[4, 6, 192, 0, 2, 10]);
    let length = octets.len() as u8;
    octets[3] = length;
    let signature = signer.clone().chain_update(&octets).finalize().into_bytes();
    octets[22..38].copy_from_slice(&signature);
    octets.resize(96, 0);
    Request { octets: octets.try_into().unwrap(), length }
}

/// Checks a reply as a careful gateway does. Whether it must be signed depends on the server.
pub fn verify(request: &Request, reply: &Reply) -> Verified {
    let octets = &reply.octets[..usize::from(reply.length)];
    if octets.len() < 20 || usize::from(octets[3]) != octets.len() || octets[1] != request.octets[1] {
        return Verified::Forged;
    }
    let mut plain = octets.to_vec();
    plain[4..20].copy_from_slice(request.authenticator());
    let authenticator = Md5::new().chain_update(&plain).chain_update(SECRET).finalize();
    if octets[4..20] != authenticator[..] {
        return Verified::Forged;
    }
    if octets.len() >= 38 && octets[20..22] == [80, 18] {
        plain[22..38].fill(0);
        let signature =
            Hmac::<Md5>::new_from_slice(SECRET).unwrap().chain_update(&plain).finalize().into_bytes();
        if octets[22..38] != signature[..] {
            return Verified::Forged;
        }
    }
    if octets[0] == 2 { Verified::Accept } else { Verified::Refused }
}

/// Enough randomness for a bench (xorshift64*).
struct Random(u64);

impl Random {
    fn new() -> Random {
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).unwrap();
        Random(u64::from_le_bytes(seed) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
