//! What the store counts: read by the daemon whenever it shows its metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the classes of [`Figures::syncs`], in microseconds; one more class takes whatever is slower.
pub const SYNC_BOUNDS: [u64; 13] =
    [50, 100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 51_200, 102_400, 1_000_000];

/// Counters since the start. They are read one by one, so a sum may be one batch ahead of another.
#[derive(Debug, Default)]
pub struct Figures {
    /// Batches that were answered.
    pub batches: AtomicU64,
    /// Entries in them.
    pub entries: AtomicU64,
    /// Octets written to the journal.
    pub octets: AtomicU64,
    /// Syncs of the journal by duration: one class for each of [`SYNC_BOUNDS`], and one above; not cumulated.
    pub syncs: [AtomicU64; SYNC_BOUNDS.len() + 1],
    /// All syncs together, in nanoseconds.
    pub sync_nanos: AtomicU64,
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

    pub(super) fn synced(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let class = SYNC_BOUNDS.iter().position(|&bound| micros <= bound).unwrap_or(SYNC_BOUNDS.len());
        if let Some(count) = self.syncs.get(class) {
            Figures::add(count, 1);
        }
        Figures::add(&self.sync_nanos, u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }
}
