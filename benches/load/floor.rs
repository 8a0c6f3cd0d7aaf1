//! The floor: a bare responder with the work that nobody can avoid, and nothing else.
//!
//! Unhide the password, check the Message-Authenticator, compute one TOTP, sign the reply. No state, no lookup, no
//! allocation, always an accept.

use crate::processes::{Process, Processors};
use crate::requests::{PERIOD, SECRET, key, truncated};
use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use std::hint::black_box;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The argument that makes this program the floor.
pub const ARGUMENT: &str = "--be-the-floor";

/// Starts the floor as a process of its own.
pub fn start(on: Processors) -> (Process, SocketAddr) {
    let program = std::env::current_exe().unwrap();
    let mut process = Process::start(program.to_str().unwrap(), &[ARGUMENT], on);
    let address = process.wait_for("address", Duration::from_secs(5), |line| line.parse().ok());
    (process, address)
}

/// Answers until it is killed.
pub fn serve() -> ! {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    println!("{}", socket.local_addr().unwrap());
    let signer = Hmac::<Md5>::new_from_slice(SECRET).unwrap();
    let hider = Md5::new().chain_update(SECRET);
    let mut buffer = [0; 4096];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        let request = &mut buffer[..length];
        if length < 73 || request[20..22] != [80, 18] {
            continue;
        }
        let signature: [u8; 16] = request[22..38].try_into().unwrap();
        request[22..38].fill(0);
        if signer.clone().chain_update(&*request).finalize().into_bytes()[..] != signature {
            continue;
        }
        let mask = hider.clone().chain_update(&request[4..20]).finalize();
        let user = request[41..49].iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0'));
        let password: [u8; 16] = std::array::from_fn(|at| request[51 + at] ^ mask[at]);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        black_box((truncated(&key(user), now / PERIOD), password));
        let mut reply = [0; 38];
        reply[..4].copy_from_slice(&[2, request[1], 0, 38]);
        reply[4..20].copy_from_slice(&request[4..20]);
        reply[20..22].copy_from_slice(&[80, 18]);
        let signature = signer.clone().chain_update(reply).finalize().into_bytes();
        reply[22..38].copy_from_slice(&signature);
        let authenticator = Md5::new().chain_update(reply).chain_update(SECRET).finalize();
        reply[4..20].copy_from_slice(&authenticator);
        let _ = socket.send_to(&reply, from);
    }
}
