//! A listener that serves a bounded number of connections, each for a bounded time, in clear or with TLS.

use crate::metrics::{Attempt, Metrics};
use arc_swap::ArcSwapOption;
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{Accept, TlsAcceptor};

/// The rest after an accept that failed, usually because the process has no descriptors left: the connection stays in
/// the kernel's queue, and asking again at once would be a busy loop.
const REST: Duration = Duration::from_millis(100);

/// What strangers can hold open.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Connections at once; more wait in the kernel's queue.
    pub(super) connections: usize,
    /// How long one may last, from its arrival to the last octet of the reply.
    pub(super) patience: Duration,
}

/// Accepts while places are free.
pub(super) struct Bounded {
    listener: TcpListener,
    places: Arc<Semaphore>,
    patience: Duration,
    tls: Arc<ArcSwapOption<ServerConfig>>,
    metrics: Arc<Metrics>,
}

/// A connection, its place and its end.
pub(super) struct Connection {
    stream: Stream,
    _place: OwnedSemaphorePermit,
    end: Pin<Box<Sleep>>,
    shown: Shown,
    metrics: Arc<Metrics>,
}

/// The handshake belongs to the connection's own task: a peer that is slow at it holds up nobody else.
enum Stream {
    Clear(TcpStream),
    Shaking(Box<Accept<TcpStream>>),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Who is at the other end of a connection.
#[derive(Clone)]
pub(super) struct Peer {
    /// Its address.
    pub(super) address: SocketAddr,
    /// How the connection is protected.
    pub(super) protection: Protection,
    shown: Shown,
}

/// What the other end has shown in the handshake, once that is over.
type Shown = Arc<OnceLock<Option<CertificateDer<'static>>>>;

/// How a connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protection {
    /// Not at all.
    Clear,
    /// By TLS.
    Tls,
}

impl Peer {
    /// Whether nothing of the connection leaves this machine.
    pub(super) fn is_loopback(&self) -> bool {
        self.address.ip().to_canonical().is_loopback()
    }

    /// The certificate that it has shown and that an authority of ours vouches for.
    pub(super) fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.shown.get()?.as_ref()
    }
}

impl Connected<IncomingStream<'_, Bounded>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Bounded>) -> Peer {
        let connection = stream.io();
        let protection = match connection.stream {
            Stream::Clear(_) => Protection::Clear,
            Stream::Shaking(_) | Stream::Tls(_) => Protection::Tls,
        };
        Peer { address: *stream.remote_addr(), protection, shown: Arc::clone(&connection.shown) }
    }
}

impl Bounded {
    pub(super) fn new(
        listener: TcpListener,
        limits: Limits,
        tls: Arc<ArcSwapOption<ServerConfig>>,
        metrics: Arc<Metrics>,
    ) -> Bounded {
        let places = Arc::new(Semaphore::new(limits.connections));
        Bounded { listener, places, patience: limits.patience, tls, metrics }
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            // The place is asked for first: who has none stays in the kernel's queue and costs us nothing.
            if let Ok(place) = Arc::clone(&self.places).acquire_owned().await
                && let Ok((stream, peer)) = self.listener.accept().await
            {
                let stream = match self.tls.load_full() {
                    Some(config) => Stream::Shaking(Box::new(TlsAcceptor::from(config).accept(stream))),
                    None => Stream::Clear(stream),
                };
                let connection = Connection {
                    stream,
                    _place: place,
                    end: Box::pin(sleep(self.patience)),
                    shown: Arc::default(),
                    metrics: Arc::clone(&self.metrics),
                };
                return (connection, peer);
            }
            sleep(REST).await;
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Connection {
    /// Goes on with the handshake, unless the connection's time is over. Also sees to it that the task is woken at the
    /// end.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let Stream::Shaking(handshake) = &mut self.stream else { return Poll::Ready(Ok(())) };
        let shaken = ready!(Pin::new(handshake.as_mut()).poll(cx));
        let attempt = if shaken.is_ok() { Attempt::Succeeded } else { Attempt::Failed };
        self.metrics.http_tls_handshakes.at(attempt).inc();
        let stream = shaken?;
        let (_, session) = stream.get_ref();
        let certificate = session.peer_certificates().and_then(<[_]>::first).cloned();
        // Set once: the handshake is over once.
        let _ = self.shown.set(certificate.map(CertificateDer::into_owned));
        self.stream = Stream::Tls(Box::new(stream));
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_ready(cx))?;
        match &mut self.stream {
            Stream::Clear(stream) => Pin::new(stream).poll_read(cx, into),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, into),
            Stream::Shaking(_) => Poll::Pending,
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_ready(cx))?;
        match &mut self.stream {
            Stream::Clear(stream) => Pin::new(stream).poll_write(cx, octets),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, octets),
            Stream::Shaking(_) => Poll::Pending,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_ready(cx))?;
        match &mut self.stream {
            Stream::Clear(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
            Stream::Shaking(_) => Poll::Pending,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Clear(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
            // There is nothing to say good-bye to.
            Stream::Shaking(_) => Poll::Ready(Ok(())),
        }
    }
}
