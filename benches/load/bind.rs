//! The floor of the LDAP path: bare binds, one at a time on each connection, and nothing around them.

use crate::generator::Run;
use crate::histogram::Histogram;
use crate::requests::{PASSWORD, name};
use crate::slapd::BASE;
use rustix::event::{Timespec, epoll};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Binds as one user after the other over so many connections.
pub fn run(port: u16, users: u32, connections: usize, seconds: f64, mut measured: impl FnMut()) -> Run {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    let mut streams: Vec<TcpStream> = (0..connections)
        .map(|at| {
            let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            stream.set_nodelay(true).unwrap();
            epoll::add(&epoll, &stream, epoll::EventData::new_u64(at as u64), epoll::EventFlags::IN).unwrap();
            stream
        })
        .collect();
    let mut run = Run::nothing();
    let mut sent_at = vec![Instant::now(); connections];
    let mut user = 0_u32;
    let mut ask = |stream: &mut TcpStream| {
        user = (user + 61_583) % users;
        stream.write_all(&request(user)).unwrap();
        Instant::now()
    };
    for (stream, at) in streams.iter_mut().zip(&mut sent_at) {
        *at = ask(stream);
    }
    let begun = Instant::now();
    let (end, mut first) = (Duration::from_secs_f64(seconds), None);
    while begun.elapsed() < end {
        if first.is_none() && begun.elapsed() > end / 10 {
            first = Some(Instant::now());
            run.latency = Histogram::new();
            measured();
        }
        let mut events = [const { std::mem::MaybeUninit::<epoll::Event>::uninit() }; 64];
        let rest = Timespec::try_from(Duration::from_millis(50)).ok();
        let Ok((ready, _)) = epoll::wait(&epoll, &mut events, rest.as_ref()) else { continue };
        for event in ready.iter() {
            let data = event.data;
            let at = data.u64() as usize;
            let mut answer = [0; 64];
            let length = streams[at].read(&mut answer).unwrap();
            // [APPLICATION 1], and the result code in it: 0 is success.
            let right =
                answer[..length].windows(5).any(|octets| octets[0] == 0x61 && octets[2..] == [0x0a, 1, 0]);
            run.latency.record(sent_at[at].elapsed().as_nanos() as u64);
            if right {
                run.accepted += 1;
            } else {
                run.refused += 1;
            }
            if first.is_some() {
                run.answered += 1;
                run.sent += 1;
            }
            sent_at[at] = ask(&mut streams[at]);
        }
    }
    measured();
    run.lasted = first.map_or(Duration::ZERO, |first| first.elapsed());
    run
}

/// RFC 4511 §4.2. Every length is below 128.
fn request(user: u32) -> Vec<u8> {
    let dn = format!("uid={},ou=people,{BASE}", name(user));
    let mut bind = vec![2, 1, 3, 4, dn.len() as u8];
    bind.extend_from_slice(dn.as_bytes());
    bind.extend_from_slice(&[0x80, PASSWORD.len() as u8]);
    bind.extend_from_slice(PASSWORD.as_bytes());
    let mut message = vec![0x30, bind.len() as u8 + 5, 2, 1, 1, 0x60, bind.len() as u8];
    message.append(&mut bind);
    message
}
