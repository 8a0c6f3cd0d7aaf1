//! How long requests took: a histogram that several workers write without slowing each other down.
//!
//! The histogram of the prometheus crate takes about 21 ns from one thread and 100 ns from two, because all of its cells
//! are shared. Here each thread has cells of its own, which are added up when somebody looks.

use super::labels::Label;
use crate::outcome::Verdict;
use prometheus::core::{Collector, Desc};
use prometheus::proto;
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// Upper bounds in nanoseconds: from what an accept without the disk takes to the longest patience of a client.
const BOUNDS: [u64; 17] = [
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
];

/// One more than the bounds: what is above all of them.
const BUCKETS: usize = BOUNDS.len() + 1;

/// More threads than this share cells, which is slower and just as right.
const SHARDS: usize = 16;

const VERDICTS: usize = <Verdict as Label>::ALL.len();

/// `sekisho_request_duration_seconds{outcome}`.
#[derive(Clone, Debug)]
pub(super) struct Durations {
    desc: Desc,
    shards: Arc<[Shard; SHARDS]>,
}

/// The cells of one thread, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard([Cells; VERDICTS]);

#[derive(Debug, Default)]
struct Cells {
    buckets: [AtomicU64; BUCKETS],
    nanos: AtomicU64,
}

impl Durations {
    pub(super) fn new(name: &str, help: &str) -> prometheus::Result<Durations> {
        let desc = Desc::new(name.into(), help.into(), vec!["outcome".into()], Default::default())?;
        Ok(Durations { desc, shards: Arc::new(Default::default()) })
    }

    pub(super) fn observe(&self, verdict: Verdict, elapsed: Duration) {
        let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|&bound| bound < nanos);
        let cells = self.shards.get(own_shard()).and_then(|shard| shard.0.get(verdict.index()));
        if let Some(cells) = cells
            && let Some(count) = cells.buckets.get(bucket)
        {
            count.fetch_add(1, Ordering::Relaxed);
            cells.nanos.fetch_add(nanos, Ordering::Relaxed);
        }
    }

    fn histogram(&self, verdict: Verdict) -> proto::Histogram {
        let mut counts = [0u64; BUCKETS];
        let mut nanos = 0u64;
        for cells in self.shards.iter().filter_map(|shard| shard.0.get(verdict.index())) {
            for (sum, count) in counts.iter_mut().zip(&cells.buckets) {
                *sum = sum.wrapping_add(count.load(Ordering::Relaxed));
            }
            nanos = nanos.wrapping_add(cells.nanos.load(Ordering::Relaxed));
        }
        let mut so_far = 0u64;
        let mut buckets = Vec::with_capacity(BOUNDS.len());
        for (bound, count) in BOUNDS.iter().zip(counts) {
            so_far = so_far.wrapping_add(count);
            let mut bucket = proto::Bucket::default();
            bucket.set_cumulative_count(so_far);
            bucket.set_upper_bound(seconds(*bound));
            buckets.push(bucket);
        }
        let mut histogram = proto::Histogram::default();
        histogram.set_sample_count(counts.iter().fold(0, |sum, count| sum.wrapping_add(*count)));
        histogram.set_sample_sum(seconds(nanos));
        histogram.set_bucket(buckets);
        histogram
    }
}

impl Collector for Durations {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let metrics = <Verdict as Label>::ALL.iter().map(|&verdict| {
            let mut label = proto::LabelPair::default();
            label.set_name("outcome".into());
            label.set_value(verdict.text().into());
            let mut metric = proto::Metric::from_label(vec![label]);
            metric.set_histogram(self.histogram(verdict));
            metric
        });
        let mut family = proto::MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(proto::MetricType::HISTOGRAM);
        family.set_metric(metrics.collect());
        vec![family]
    }
}

/// Threads are dealt out to shards as they first come.
fn own_shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: Cell<Option<usize>> = const { Cell::new(None) };
    }
    OWN.with(|own| {
        own.get().unwrap_or_else(|| {
            let shard = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
            own.set(Some(shard));
            shard
        })
    })
}

#[expect(clippy::cast_precision_loss, reason = "sums beyond 2^53 ns (104 days) may be off by a nanosecond")]
fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_falls_into_its_bucket_from_whatever_thread() {
        let durations = Durations::new("d", "help").unwrap();
        let cases = [(0, 0), (25_000, 0), (25_001, 1), (5_000_000_000, 16), (5_000_000_001, 17)];
        std::thread::scope(|scope| {
            for (nanos, _) in cases {
                let durations = &durations;
                scope.spawn(move || durations.observe(Verdict::Reject, Duration::from_nanos(nanos)));
            }
        });
        let histogram = durations.histogram(Verdict::Reject);
        assert_eq!(histogram.get_sample_count(), 5);
        assert!((histogram.get_sample_sum() - 10.000_050_002).abs() < 1e-9);
        for (at, bucket) in histogram.get_bucket().iter().enumerate() {
            let expected = cases.iter().filter(|(_, place)| *place <= at).count() as u64;
            assert_eq!(bucket.cumulative_count(), expected, "bucket {at}");
        }
        assert_eq!(durations.histogram(Verdict::Accept).get_sample_count(), 0);
    }

    #[test]
    fn the_bounds_rise() {
        assert!(BOUNDS.is_sorted_by(|a, b| a < b));
    }
}
