//! What the sockets have seen, in exact counters that metrics read at each scrape.

use crate::metrics::Loss;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of one socket. Never sampled, never reset.
#[derive(Debug, Default)]
#[repr(align(64))] // One cache line each, so that two workers do not slow each other down.
pub struct Traffic {
    pub(super) received: Count,
    pub(super) receive_failed: Count,
    pub(super) unanswerable: Count,
    pub(super) handler_panicked: Count,
    pub(super) sent: Count,
    pub(super) send_blocked: Count,
    pub(super) send_failed: Count,
}

impl Traffic {
    /// Datagrams handed to the handler.
    pub fn received(&self) -> u64 {
        self.received.value()
    }

    /// Receive or poll calls that failed; the worker went on.
    pub fn receive_failed(&self) -> u64 {
        self.receive_failed.value()
    }

    /// Datagrams from port 0, which no reply could reach; dropped unseen.
    pub fn unanswerable(&self) -> u64 {
        self.unanswerable.value()
    }

    /// Datagrams whose handling panicked; the worker went on.
    pub fn handler_panicked(&self) -> u64 {
        self.handler_panicked.value()
    }

    /// Replies that the kernel took.
    pub fn sent(&self) -> u64 {
        self.sent.value()
    }

    /// Replies given up because the send buffer was full.
    pub fn send_blocked(&self) -> u64 {
        self.send_blocked.value()
    }

    /// Replies that the kernel refused for another cause: no route, too long, own address gone.
    pub fn send_failed(&self) -> u64 {
        self.send_failed.value()
    }

    /// Everything lost on this side of the kernel, by cause.
    pub fn lost(&self) -> [(Loss, u64); 5] {
        [
            (Loss::ReceiveFailed, self.receive_failed()),
            (Loss::Unanswerable, self.unanswerable()),
            (Loss::HandlerPanicked, self.handler_panicked()),
            (Loss::SendBlocked, self.send_blocked()),
            (Loss::SendFailed, self.send_failed()),
        ]
    }
}

/// A counter that only goes up; nothing is ordered by it.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn one(&self) {
        self.add(1);
    }

    pub(super) fn add(&self, number: usize) {
        self.0.fetch_add(number as u64, Ordering::Relaxed);
    }

    fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
