//! hot path
//!
//! How many requests ended and how long they took together: one atomic, so one addition counts both.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// The lower bits count requests: seven weeks at 15,000 a second, then from 0 again.
const COUNT_BITS: u32 = 36;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;

/// Latencies are summed in quarters of a millisecond, modulo 2^28: differences are right as long as less than 18 hours of
/// waiting came between, which in ten seconds takes 6700 requests that all wait.
const UNIT_MICROS: u64 = 250;

/// Both numbers, for whoever compares them with earlier ones.
#[derive(Debug, Default)]
pub(crate) struct Tally(AtomicU64);

/// Both numbers at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Reading(u64);

impl Tally {
    /// A request ended after that.
    pub(crate) fn add(&self, elapsed: Duration) {
        let units = elapsed.as_micros() as u64 / UNIT_MICROS;
        self.0.fetch_add(1_u64.wrapping_add(units << COUNT_BITS), Relaxed);
    }

    pub(crate) fn read(&self) -> Reading {
        Reading(self.0.load(Relaxed))
    }
}

impl Reading {
    pub(crate) fn requests(self) -> u64 {
        self.0 & COUNT_MASK
    }

    /// Requests and their latencies together since an earlier reading.
    pub(crate) fn since(self, earlier: Self) -> (u64, Duration) {
        let requests = self.requests().wrapping_sub(earlier.requests()) & COUNT_MASK;
        let units = (self.0 >> COUNT_BITS).wrapping_sub(earlier.0 >> COUNT_BITS) & (u64::MAX >> COUNT_BITS);
        (requests, Duration::from_micros(units * UNIT_MICROS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_are_counted_and_wrap_alone() {
        let tally = Tally(AtomicU64::new(u64::MAX - 7));
        let before = tally.read();
        for _ in 0..20 {
            tally.add(Duration::from_millis(3));
        }
        tally.add(Duration::from_micros(200));
        let (requests, together) = tally.read().since(before);
        assert_eq!(requests, 21);
        // The count's carry into the sum, once in seven weeks, is a quarter of a millisecond.
        assert!((59_750..=60_250).contains(&together.as_micros()), "{together:?}");
    }
}
