//! A TCP relay before another server that can be told to misbehave.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How the relay treats what comes from the server; looked at for every read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manners {
    /// Passed on.
    Good,
    /// Taken and never passed on: a server behind a broken network.
    Silent,
    /// Passed on octet for octet, slowly.
    Slow,
    /// Passed on, but at most some 500 octets a second on each connection.
    Narrow,
    /// Replaced by octets that are no LDAP.
    Garbage,
    /// Kept, both ways, until manners are others: a broken network that is mended before anybody has noticed. What was
    /// under way arrives late.
    Parted,
    /// Our end is closed for writing, the other stays open.
    HalfClosed,
    /// Closed at once.
    Closed,
}

/// The relay. Ends with the process.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    server: Mutex<u16>,
    manners: Mutex<Manners>,
}

impl Proxy {
    /// Listens, with good manners and no server yet.
    pub fn listen() -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared { server: Mutex::new(0), manners: Mutex::new(Manners::Good) });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                accepting.accept(client);
            }
        });
        Proxy { port, shared }
    }

    /// Where it leads to.
    pub fn toward(&self, port: u16) {
        *self.shared.server.lock().unwrap() = port;
    }

    /// From now on, for connections that exist too.
    pub fn behave(&self, manners: Manners) {
        *self.shared.manners.lock().unwrap() = manners;
    }

    /// Its URL, as a directory.
    pub fn url(&self) -> String {
        format!("ldap://127.0.0.1:{}", self.port)
    }

    /// Its port, for other protocols.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Shared {
    fn manners(&self) -> Manners {
        *self.manners.lock().unwrap()
    }

    fn accept(self: &Arc<Shared>, client: TcpStream) {
        if self.manners() == Manners::Closed {
            return;
        }
        let Ok(server) = TcpStream::connect(("127.0.0.1", *self.server.lock().unwrap())) else { return };
        for stream in [&client, &server] {
            stream.set_nodelay(true).unwrap();
        }
        let (from_client, to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let asking = Arc::clone(self);
        std::thread::spawn(move || asking.ask(from_client, to_server));
        let shared = Arc::clone(self);
        std::thread::spawn(move || shared.answer(server, client));
    }

    fn ask(&self, mut client: TcpStream, mut server: TcpStream) {
        let mut buffer = [0; 16 * 1024];
        while let Ok(read) = client.read(&mut buffer) {
            self.wait_while_parted();
            if read == 0 || server.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        let _ = server.shutdown(Shutdown::Both);
    }

    fn wait_while_parted(&self) {
        while self.manners() == Manners::Parted {
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn answer(&self, mut server: TcpStream, mut client: TcpStream) {
        let mut buffer = [0; 16 * 1024];
        server.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        loop {
            let read = match server.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => &buffer[..read],
                // Manners apply to silent connections too.
                Err(error)
                    if matches!(
                        error.kind(),
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                    ) =>
                {
                    &[]
                }
                Err(_) => break,
            };
            self.wait_while_parted();
            let passed = match self.manners() {
                Manners::Good | Manners::Parted => client.write_all(read),
                Manners::Silent => Ok(()),
                Manners::Slow => read.iter().try_for_each(|octet| {
                    std::thread::sleep(Duration::from_millis(100));
                    client.write_all(&[*octet])
                }),
                Manners::Narrow => read.chunks(50).try_for_each(|piece| {
                    std::thread::sleep(Duration::from_millis(100));
                    client.write_all(piece)
                }),
                Manners::Garbage => client.write_all(&vec![0xa5; read.len()]),
                Manners::HalfClosed => {
                    let _ = client.shutdown(Shutdown::Write);
                    Ok(())
                }
                Manners::Closed => break,
            };
            if passed.is_err() {
                break;
            }
        }
        let _ = client.shutdown(Shutdown::Both);
        let _ = server.shutdown(Shutdown::Both);
    }
}
