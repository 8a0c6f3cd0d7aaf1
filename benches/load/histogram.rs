//! Latencies by logarithmic buckets: 32 to each doubling, so that a value is known to 3 %.

use std::time::Duration;

const SUB_BITS: u32 = 5;
const SUBS: usize = 1 << SUB_BITS;

/// How often each latency was seen, in nanoseconds.
#[derive(Clone)]
pub struct Histogram {
    buckets: Vec<u32>,
    count: u64,
    highest: u64,
}

impl Histogram {
    pub fn new() -> Histogram {
        Histogram { buckets: vec![0; 64 * SUBS], count: 0, highest: 0 }
    }

    pub fn record(&mut self, nanos: u64) {
        self.buckets[bucket(nanos)] += 1;
        self.count += 1;
        self.highest = self.highest.max(nanos);
    }

    /// The latency that this share of all is not above.
    pub fn quantile(&self, share: f64) -> Duration {
        let wanted = ((self.count as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (at, count) in self.buckets.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= wanted {
                return Duration::from_nanos(upper(at).min(self.highest));
            }
        }
        Duration::from_nanos(self.highest)
    }
}

fn bucket(nanos: u64) -> usize {
    let Some(log) = nanos.checked_ilog2().filter(|log| *log >= SUB_BITS) else { return nanos as usize };
    let shift = log - SUB_BITS;
    ((shift as usize + 1) << SUB_BITS) + ((nanos >> shift) as usize & (SUBS - 1))
}

/// The largest value of a bucket.
fn upper(bucket: usize) -> u64 {
    if bucket < SUBS {
        return bucket as u64;
    }
    let shift = (bucket >> SUB_BITS) - 1;
    let low = ((SUBS + (bucket & (SUBS - 1))) as u64) << shift;
    low + (1 << shift) - 1
}
