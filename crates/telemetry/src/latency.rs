//! hot path
//!
//! How long requests take, counted by powers of two: two additions for each.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::MetricType,
};

/// The first bound is 128 us, two to this power.
const FIRST: u32 = 7;
/// Each bound is twice the one before, up to 67 s; the last bucket has what took longer.
const BUCKETS: usize = 21;

/// A histogram of times. Clones count into the same numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Latency(Arc<Times>);

#[derive(Debug, Default)]
struct Times {
    counts: [AtomicU64; BUCKETS],
    /// In microseconds.
    sum: AtomicU64,
}

impl Latency {
    /// One more took so long.
    pub(crate) fn observe(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.0.counts[bucket(micros)].fetch_add(1, Relaxed);
        self.0.sum.fetch_add(micros, Relaxed);
    }
}

/// The first bucket whose bound is not less.
fn bucket(micros: u64) -> usize {
    let power = u64::BITS - micros.saturating_sub(1).leading_zeros();
    (power.saturating_sub(FIRST) as usize).min(BUCKETS - 1)
}

/// In seconds.
fn bound(bucket: usize) -> f64 {
    if bucket < BUCKETS - 1 {
        Duration::from_micros(1 << (FIRST as usize + bucket)).as_secs_f64()
    } else {
        f64::INFINITY
    }
}

impl EncodeMetric for Latency {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let counts: Vec<(f64, u64)> =
            self.0.counts.iter().enumerate().map(|(at, count)| (bound(at), count.load(Relaxed))).collect();
        let all = counts.iter().map(|(_, count)| count).sum();
        let sum = Duration::from_micros(self.0.sum.load(Relaxed)).as_secs_f64();
        encoder.encode_histogram::<NoLabelSet>(sum, all, &counts, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_fall_below_their_bound() {
        for (micros, expected) in [(0, 0), (128, 0), (129, 1), (256, 1), (257, 2), (67_108_864, 19), (67_108_865, 20)] {
            assert_eq!(bucket(micros), expected, "{micros}");
        }
        assert_eq!((bound(0), bound(BUCKETS - 1)), (0.000_128, f64::INFINITY));
    }

    proptest! {
        #[test]
        fn each_is_in_the_first_bucket_that_admits_it(micros: u64) {
            let (at, seconds) = (bucket(micros), Duration::from_micros(micros).as_secs_f64());
            prop_assert!(seconds <= bound(at));
            prop_assert!(at == 0 || seconds > bound(at - 1));
        }
    }
}
