//! What the store counts: read by the daemon whenever it shows its metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters since the start. They are read one by one, so a sum may be one batch ahead of another.
#[derive(Debug, Default)]
pub struct Figures {
    /// Batches that were answered.
    pub batches: AtomicU64,
    /// Entries in them.
    pub entries: AtomicU64,
    /// Octets written to the journal.
    pub octets: AtomicU64,
    /// Syncs of the journal.
    pub syncs: AtomicU64,
    /// Segments begun.
    pub segments: AtomicU64,
    /// Snapshots that were completed.
    pub snapshots: AtomicU64,
    /// Snapshots that failed; the journal goes on and grows.
    pub snapshot_failures: AtomicU64,
    /// Times the disk failed.
    pub failures: AtomicU64,
    /// Times the failed disk was tried and failed again.
    pub failed_probes: AtomicU64,
    /// Entries that got no answer because the disk had failed.
    pub unanswered: AtomicU64,
}

impl Figures {
    pub(super) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }
}
