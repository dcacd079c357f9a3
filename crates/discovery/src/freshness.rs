//! How long changes take from the reconciler's mailbox to the published table.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Bounds of the buckets are powers of two of a microsecond; the last, about a second, takes all above.
const BUCKETS: usize = 21;

/// Times from an update to the table that holds it. Written by the reconciler, read by metrics and status pages.
#[derive(Debug, Default)]
pub struct Freshness {
    counts: [AtomicU64; BUCKETS],
    last: AtomicU64,
    /// All of them together, in microseconds.
    sum: AtomicU64,
}

impl Freshness {
    pub(crate) fn record(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = (micros.max(1).next_power_of_two().trailing_zeros() as usize).min(BUCKETS - 1);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.last.store(micros, Ordering::Relaxed);
        self.sum.fetch_add(micros, Ordering::Relaxed);
    }

    /// The newest one.
    #[must_use]
    pub fn last(&self) -> Duration {
        Duration::from_micros(self.last.load(Ordering::Relaxed))
    }

    /// All of them together.
    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.sum.load(Ordering::Relaxed))
    }

    /// How many tables were published within each bound; `None` is the bound of those that took longer than a second.
    pub fn counts(&self) -> impl Iterator<Item = (Option<Duration>, u64)> {
        self.counts.iter().enumerate().map(|(at, count)| {
            let bound = (at < BUCKETS - 1).then(|| Duration::from_micros(1 << at));
            (bound, count.load(Ordering::Relaxed))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_falls_into_the_bucket_that_bounds_it() {
        let freshness = Freshness::default();
        for micros in [0, 1, 2, 3, 1000, 1 << 30] {
            freshness.record(Duration::from_micros(micros));
        }
        let full: Vec<_> = freshness.counts().filter(|(_, n)| *n > 0).collect();
        let us = |n| Some(Duration::from_micros(n));
        assert_eq!(full, [(us(1), 2), (us(2), 1), (us(4), 1), (us(1024), 1), (None, 1)]);
        assert_eq!(freshness.last(), Duration::from_micros(1 << 30));
    }
}
