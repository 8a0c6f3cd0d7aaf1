//! The sockets, the loop and the way back, over loopback.

use super::*;
use crate::clock;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::num::NonZeroU16;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Only ever waited out by a test that fails.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server of one or more workers that sends back what it gets.
struct Echo {
    sockets: Sockets,
    stop: Stop,
    workers: Vec<JoinHandle<()>>,
    seen: mpsc::Receiver<(ReturnAddress, usize)>,
}

impl Echo {
    fn over(sockets: Sockets) -> Echo {
        let stop = Stop::new().unwrap();
        let (tell, seen) = mpsc::channel();
        let workers = sockets
            .all()
            .iter()
            .map(|socket| {
                let (socket, stop, tell, outbound) =
                    (socket.clone(), stop.clone(), tell.clone(), sockets.outbound());
                std::thread::spawn(move || {
                    let pulse = Pulse::new(clock::now().mono);
                    let mut departures = Departures::default();
                    run(&socket, &stop, &pulse, |received| {
                        let Received::Datagram(arrival) = received else {
                            return outbound.send_off(&mut departures);
                        };
                        assert_ne!(arrival.octets, b"panic");
                        tell.send((arrival.from, arrival.octets.len())).unwrap();
                        outbound.add(&mut departures, &arrival.from, arrival.octets);
                    });
                })
            })
            .collect();
        Echo { sockets, stop, workers, seen }
    }

    fn on(addresses: &[SocketAddr]) -> Echo {
        let mut sockets = Sockets::new();
        for &address in addresses {
            sockets.bind(address, NonZeroU16::MIN).unwrap();
        }
        Echo::over(sockets)
    }

    fn port(&self) -> u16 {
        self.sockets.all()[0].address().port()
    }

    fn seen(&self) -> (ReturnAddress, usize) {
        self.seen.recv_timeout(PATIENCE).unwrap()
    }

    fn traffic(&self, sum: fn(&Traffic) -> u64) -> u64 {
        self.sockets.all().iter().map(|socket| sum(socket.traffic())).sum()
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.raise();
        for worker in self.workers.drain(..) {
            worker.join().unwrap();
        }
    }
}

fn client(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind((address, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Asks and says from which address the answer came.
fn ask(client: &UdpSocket, server: SocketAddr, octets: &[u8]) -> SocketAddr {
    client.send_to(octets, server).unwrap();
    let mut room = vec![0; 65_536];
    let (len, from) = client.recv_from(&mut room).unwrap();
    assert_eq!(&room[..len], octets);
    from
}

/// The two wildcards on one port, as `listen = ["0.0.0.0:…", "[::]:…"]` asks for.
fn both_wildcards() -> Echo {
    // Another process may take the port in the other family between the two binds.
    for _ in 0..20 {
        let mut sockets = Sockets::new();
        let port = sockets.bind("0.0.0.0:0".parse().unwrap(), NonZeroU16::MIN).unwrap().port();
        if sockets.bind(SocketAddr::new("::".parse().unwrap(), port), NonZeroU16::MIN).is_ok() {
            return Echo::over(sockets);
        }
    }
    panic!("no port is free in both families");
}

#[test]
fn whoever_handles_datagrams_is_told_that_there_are_no_more() {
    let mut sockets = Sockets::new();
    sockets.bind("127.0.0.1:0".parse().unwrap(), NonZeroU16::MIN).unwrap();
    let (socket, stop) = (sockets.all()[0].clone(), Stop::new().unwrap());
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(socket.address()).unwrap();
    (0..3).for_each(|at| assert_eq!(client.send(&[at]).unwrap(), 1));
    let mut seen = Vec::new();
    run(&socket, &stop.clone(), &Pulse::new(clock::now().mono), |received| match received {
        Received::Datagram(arrival) => seen.push(Some(arrival.octets[0])),
        Received::NoMore => {
            seen.push(None);
            match seen.len() {
                4 => assert_eq!(client.send(&[3]).unwrap(), 1),
                _ => stop.raise(),
            }
        }
    });
    assert_eq!(seen, [Some(0), Some(1), Some(2), None, Some(3), None]);

    // Also when it ends first.
    let (stop, mut seen) = (Stop::new().unwrap(), Vec::new());
    assert_eq!(client.send(&[4]).unwrap(), 1);
    run(&socket, &stop.clone(), &Pulse::new(clock::now().mono), |received| {
        stop.raise();
        seen.push(matches!(received, Received::NoMore));
    });
    assert_eq!(seen, [false, true]);
}

#[test]
fn replies_leave_from_the_address_that_was_asked() {
    let echo = both_wildcards();
    for (from, to) in
        [("127.0.0.1", "127.0.0.1"), ("127.0.0.1", "127.0.0.2"), ("127.0.0.3", "127.9.9.9"), ("::1", "::1")]
    {
        let client = client(from);
        let server = SocketAddr::new(to.parse().unwrap(), echo.port());
        assert_eq!(ask(&client, server, b"who is there"), server);
        let (arrived, _) = echo.seen();
        assert_eq!((arrived.peer, arrived.local), (client.local_addr().unwrap(), Some(server.ip())));
        assert_eq!(arrived.socket, SocketNumber(u16::from(server.is_ipv6())));
    }
}

#[test]
fn listed_addresses_answer_for_themselves() {
    let echo = Echo::on(&[
        "127.0.0.1:0".parse().unwrap(),
        "[::1]:0".parse().unwrap(),
        "127.0.0.2:0".parse().unwrap(),
    ]);
    for (socket, from) in echo.sockets.all().iter().zip(["127.0.0.1", "::1", "127.0.0.1"]) {
        assert_eq!(ask(&client(from), socket.address(), b"x"), socket.address());
        assert_eq!(echo.seen().0.socket, socket.number());
    }
}

#[test]
fn a_socket_of_both_families_shows_ipv4_as_ipv4() {
    let both = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::DGRAM, None).unwrap();
    both.set_only_v6(false).unwrap();
    both.bind(&"[::]:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    let mut sockets = Sockets::new();
    let port = sockets.adopt(both.into()).unwrap().port();
    let echo = Echo::over(sockets);
    let client = client("127.0.0.1");
    let server = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), port);
    assert_eq!(ask(&client, server, b"mapped"), server);
    let (arrived, _) = echo.seen();
    assert_eq!((arrived.peer, arrived.local), (client.local_addr().unwrap(), Some(server.ip())));
}

#[test]
fn link_local_peers_keep_their_interface() {
    let Some(own) = link_local() else {
        eprintln!("skipped: this machine has no link-local address");
        return;
    };
    let echo = both_wildcards();
    let client = UdpSocket::bind(own).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut server = own;
    server.set_port(echo.port());
    assert_eq!(ask(&client, server, b"near").ip(), own.ip());
    let (arrived, _) = echo.seen();
    assert_eq!(arrived.peer, client.local_addr().unwrap(), "with the scope");
}

/// A link-local address of this machine with its scope: address, interface number in hexadecimal, …, flags, name.
fn link_local() -> Option<SocketAddr> {
    let table = std::fs::read_to_string("/proc/self/net/if_inet6").ok()?;
    table.lines().find_map(|row| {
        let mut columns = row.split_ascii_whitespace();
        let ip = u128::from_str_radix(columns.next()?, 16).ok().map(std::net::Ipv6Addr::from)?;
        let scope = u32::from_str_radix(columns.next()?, 16).ok()?;
        let address = std::net::SocketAddrV6::new(ip, 0, 0, scope);
        (ip.is_unicast_link_local() && UdpSocket::bind(address).is_ok()).then_some(address.into())
    })
}

#[test]
fn rad_lengths_from_nothing_to_the_most_arrive_whole() {
    let echo = Echo::on(&["127.0.0.1:0".parse().unwrap()]);
    let client = client("127.0.0.1");
    for len in [0, 1, 20, 4096, 4097, 9000, 65_507] {
        ask(&client, echo.sockets.all()[0].address(), &vec![7; len]);
        assert_eq!(echo.seen().1, len);
    }
}

#[test]
fn a_crowd_is_received_in_full_and_counted() {
    const CROWD: u64 = 500;
    let mut sockets = Sockets::new();
    let server = sockets.bind("127.0.0.1:0".parse().unwrap(), NonZeroU16::new(4).unwrap()).unwrap();
    assert_eq!(sockets.all().len(), 4);
    assert!(sockets.all().iter().all(|socket| socket.address() == server));
    // All are sent before anybody receives, so that the batches are full ones.
    let clients: Vec<_> = (0..10).map(|_| client("127.0.0.1")).collect();
    for number in 0..CROWD {
        clients[number as usize % 10].send_to(&number.to_be_bytes(), server).unwrap();
    }
    let echo = Echo::over(sockets);
    let mut room = [0; 16];
    for client in &clients {
        for _ in 0..CROWD / 10 {
            assert_eq!(client.recv_from(&mut room).unwrap(), (8, server));
        }
    }
    for _ in 0..CROWD {
        echo.seen();
    }
    assert_eq!(echo.traffic(Traffic::received), CROWD);
    assert_eq!(echo.traffic(|traffic| traffic.lost().iter().map(|(_, lost)| lost).sum()), 0);
    assert!(echo.sockets.all().iter().all(|socket| socket.kernel_dropped() == Some(0)));
    // The client's answer may be there before its sender has counted it.
    while echo.traffic(Traffic::sent) < CROWD {
        std::thread::yield_now();
    }
}

#[test]
fn replies_of_a_batch_arrive_one_by_one_and_whole() {
    let mut sockets = Sockets::new();
    let server = sockets.bind("127.0.0.1:0".parse().unwrap(), NonZeroU16::MIN).unwrap();
    // More clients than are gathered at once, more from one than go into one run, lengths that join and that do not.
    let lengths = [20, 20, 40, 20, 1232, 1233, 40, 40, 38, 40, 0, 1];
    let clients: Vec<_> = (0..20).map(|_| client("127.0.0.1")).collect();
    let letter = |client: usize, number: usize| vec![(client * 31 + number) as u8; lengths[number % 12]];
    for number in 0..48 {
        for (client, socket) in clients.iter().enumerate() {
            socket.send_to(&letter(client, number), server).unwrap();
        }
    }
    let echo = Echo::over(sockets);
    let mut room = [0; 2048];
    for (client, socket) in clients.iter().enumerate() {
        let mut received: Vec<_> = (0..48)
            .map(|_| {
                let (len, from) = socket.recv_from(&mut room).unwrap();
                assert_eq!(from, server);
                room[..len].to_vec()
            })
            .collect();
        let mut sent: Vec<_> = (0..48).map(|number| letter(client, number)).collect();
        received.sort();
        sent.sort();
        assert_eq!(received, sent);
    }
    while echo.traffic(Traffic::sent) < 48 * 20 {
        std::thread::yield_now();
    }
    assert_eq!(echo.traffic(Traffic::sent), 48 * 20);
    assert_eq!(echo.traffic(Traffic::send_failed), 0);
}

#[test]
fn replies_enough_for_one_call_do_not_wait_for_others() {
    let echo = Echo::on(&["127.0.0.1:0".parse().unwrap()]);
    let client = client("127.0.0.1");
    let mut room = [0; 16];
    client.send_to(b"x", ("127.0.0.1", echo.port())).unwrap();
    client.recv(&mut room).unwrap();
    let (to, _) = echo.seen();
    // It is counted after it has left.
    while echo.traffic(Traffic::sent) < 1 {
        std::thread::yield_now();
    }
    let (outbound, mut departures) = (echo.sockets.outbound(), Departures::default());
    for full in 1..=3_u64 {
        for _ in 1..outbound::RUN {
            outbound.add(&mut departures, &to, b"reply");
        }
        client.set_nonblocking(true).unwrap();
        assert_eq!(client.recv(&mut room).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        client.set_nonblocking(false).unwrap();
        outbound.add(&mut departures, &to, b"reply");
        for _ in 0..outbound::RUN {
            assert_eq!(client.recv(&mut room).unwrap(), 5);
        }
        assert_eq!(echo.traffic(Traffic::sent), 1 + full * outbound::RUN as u64);
    }
    outbound.send_off(&mut departures);
    assert_eq!(echo.traffic(Traffic::sent), 1 + 3 * outbound::RUN as u64);
}

#[test]
fn a_stranger_on_the_same_address_is_refused() {
    let mut sockets = Sockets::new();
    let two = NonZeroU16::new(2).unwrap();
    let server = sockets.bind("127.0.0.1:0".parse().unwrap(), two).unwrap();
    for workers in [NonZeroU16::MIN, two] {
        let refused = Sockets::new().bind(server, workers).unwrap_err();
        assert!(refused.to_string().starts_with(&format!("cannot listen on {server}: ")), "{refused}");
    }
}

#[test]
fn only_datagram_sockets_are_adopted() {
    let stream = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = UdpSocket::from(std::os::fd::OwnedFd::from(stream));
    assert!(matches!(Sockets::new().adopt(stream), Err(BindError::NotUdp(_))));
}

#[test]
fn a_panic_and_a_refused_reply_leave_the_worker_running() {
    let echo = Echo::on(&["127.0.0.1:0".parse().unwrap()]);
    let server = echo.sockets.all()[0].address();
    let client = client("127.0.0.1");
    client.send_to(b"panic", server).unwrap();
    ask(&client, server, b"and on");
    assert_eq!(echo.traffic(Traffic::handler_panicked), 1);

    let (good, _) = echo.seen();
    let outbound = echo.sockets.outbound();
    let not_ours = ReturnAddress { local: "192.0.2.99".parse().ok(), ..good };
    outbound.send(&not_ours, b"from an address that we do not have");
    outbound.send(&good, &[0; 65_508]);
    outbound.send(&ReturnAddress { socket: SocketNumber(9), ..good }, b"no such socket");
    assert_eq!(echo.traffic(Traffic::send_failed), 2);
    ask(&client, server, b"still there");
}

#[test]
fn sec_21_a_stop_ends_idle_workers_and_leaves_no_thread() {
    let echo = both_wildcards();
    assert_eq!(echo.workers.len(), 2);
    drop(echo); // Joins: the test ends only if both loops do.
}

#[test]
fn sec_20_an_idle_worker_has_a_pulse() {
    let mut sockets = Sockets::new();
    sockets.bind("127.0.0.1:0".parse().unwrap(), NonZeroU16::MIN).unwrap();
    let (socket, stop) = (sockets.all()[0].clone(), Stop::new().unwrap());
    let long_ago = clock::Mono::from_nanos(0);
    let pulse = Pulse::new(long_ago);
    let worker = std::thread::spawn({
        let (stop, pulse) = (stop.clone(), pulse.clone());
        move || run(&socket, &stop, &pulse, |_| {})
    });
    let now = clock::now().mono;
    while pulse.age(now) > Duration::ZERO {
        std::thread::yield_now();
    }
    stop.raise();
    worker.join().unwrap();
}
