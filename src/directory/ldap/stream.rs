//! One TCP connection to a server, in clear or inside TLS.

use super::settings::{Server, Tls, Trust};
use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// Octets to and from a server.
pub struct Stream {
    tcp: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

impl Stream {
    /// Connects to the first address of the server that answers; nothing is protected yet.
    pub async fn connect(server: &Server) -> io::Result<Stream> {
        let mut last = io::Error::from(ErrorKind::NotFound);
        for address in tokio::net::lookup_host((server.host.as_str(), server.port)).await? {
            match TcpStream::connect(address).await {
                Ok(tcp) => {
                    tcp.set_nodelay(true)?;
                    let keepalive = TcpKeepalive::new()
                        .with_time(Duration::from_secs(15))
                        .with_interval(Duration::from_secs(5))
                        .with_retries(3);
                    SockRef::from(&tcp).set_tcp_keepalive(&keepalive)?;
                    return Ok(Stream { tcp, tls: None });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Puts the connection inside TLS; the certificate must carry the server's name.
    pub async fn protect(&mut self, server: &Server, trust: &Trust) -> io::Result<()> {
        debug_assert!(server.tls != Tls::None && self.tls.is_none());
        let name = ServerName::try_from(server.host.clone()).map_err(io::Error::other)?;
        let tls = ClientConnection::new(trust.0.clone(), name).map_err(io::Error::other)?;
        let tls = self.tls.insert(Box::new(tls));
        while tls.is_handshaking() {
            flush(tls, &self.tcp).await?;
            if tls.is_handshaking() {
                fill(tls, &self.tcp).await?;
            }
        }
        flush(tls, &self.tcp).await
    }

    /// Whether octets have arrived that nobody asked for, or the server has hung up. Only sure when nothing is in
    /// flight.
    pub fn is_disturbed(&mut self) -> bool {
        let Some(tls) = &mut self.tls else {
            return !matches!(self.tcp.try_read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock);
        };
        loop {
            match tls.read_tls(&mut Tried(&self.tcp)) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Ok(0) | Err(_) => return true,
                Ok(_) => match tls.process_new_packets() {
                    Ok(state) if state.plaintext_bytes_to_read() == 0 && !state.peer_has_closed() => {}
                    _ => return true,
                },
            }
        }
    }

    /// Whether the server has sent something that was not read yet, waiting for the operating system to say so.
    /// Right after the response to StartTLS, anything there was put in before the handshake.
    pub fn has_unread(&self) -> io::Result<bool> {
        let mut octet = [std::mem::MaybeUninit::uninit()];
        match SockRef::from(&self.tcp).peek(&mut octet) {
            Ok(count) => Ok(count > 0),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes everything.
    pub async fn write(&mut self, mut octets: &[u8]) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            while !octets.is_empty() {
                let written = tls.writer().write(octets)?;
                octets = octets.get(written..).unwrap_or_default();
                flush(tls, &self.tcp).await?;
            }
            return Ok(());
        }
        while !octets.is_empty() {
            self.tcp.writable().await?;
            match self.tcp.try_write(octets) {
                Ok(written) => octets = octets.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits for octets and puts them into `into`, which must have room; at least one, the end of the stream is an
    /// error. Giving up while waiting loses nothing.
    pub async fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = match &mut self.tls {
                Some(tls) => match tls.reader().read(into) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        flush(tls, &self.tcp).await?;
                        fill(tls, &self.tcp).await?;
                        continue;
                    }
                    read => read?,
                },
                None => {
                    // Knows from a read that left room that nothing else is there: who looks next need not ask the system.
                    self.tcp.read(into).await?
                }
            };
            return if read == 0 { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(read) };
        }
    }
}

/// Sends what TLS wants to send.
async fn flush(tls: &mut ClientConnection, tcp: &TcpStream) -> io::Result<()> {
    while tls.wants_write() {
        tcp.writable().await?;
        match tls.write_tls(&mut Tried(tcp)) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Waits until TLS has got something more to work on.
async fn fill(tls: &mut ClientConnection, tcp: &TcpStream) -> io::Result<()> {
    loop {
        tcp.readable().await?;
        match tls.read_tls(&mut Tried(tcp)) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) => break,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    if let Err(error) = tls.process_new_packets() {
        // The alert tells the server why; nobody waits for it.
        let _ = tls.write_tls(&mut Tried(tcp));
        return Err(io::Error::new(ErrorKind::InvalidData, error));
    }
    Ok(())
}

/// A socket that says `WouldBlock` instead of waiting.
struct Tried<'a>(&'a TcpStream);

impl Read for Tried<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(into)
    }
}

impl Write for Tried<'_> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.try_write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
