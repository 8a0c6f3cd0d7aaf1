//! A listener that serves a bounded number of connections, each for a bounded time.

use axum::serve::Listener;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

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
}

/// A connection, its place and its end.
pub(super) struct Connection {
    stream: TcpStream,
    _place: OwnedSemaphorePermit,
    end: Pin<Box<Sleep>>,
}

impl Bounded {
    pub(super) fn new(listener: TcpListener, limits: Limits) -> Bounded {
        let places = Arc::new(Semaphore::new(limits.connections));
        Bounded { listener, places, patience: limits.patience }
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
                return (Connection { stream, _place: place, end: Box::pin(sleep(self.patience)) }, peer);
            }
            sleep(REST).await;
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Connection {
    /// The stream, unless its time is over. Also sees to it that the task is woken at the end.
    fn in_time(&mut self, cx: &mut Context<'_>) -> io::Result<Pin<&mut TcpStream>> {
        match self.end.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(Pin::new(&mut self.stream)),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.in_time(cx)?.poll_read(cx, into)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        self.in_time(cx)?.poll_write(cx, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.in_time(cx)?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.in_time(cx)?.poll_shutdown(cx)
    }
}
