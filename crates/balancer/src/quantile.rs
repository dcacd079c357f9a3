//! hot path
//!
//! How long 95 of 100 answers of a service take, in one atomic.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// How far one answer moves the estimate: a slower one up by 19 parts, a quicker one down by one, so that it rests where
/// nineteen of twenty are quicker. In 1/4096: a slower answer moves it up by 9 %, however slow it was.
const UP: u64 = 19 * 20;
const DOWN: u64 = 20;
const WHOLE: u64 = 4096;

/// Answers before the estimate is one: fewer may all be exceptions.
const ENOUGH: u64 = 100;

/// An estimate of the 95th percentile that follows what it sees ("frugal streaming", in proportion to itself). It is
/// within a tenth or so of the true one after some hundred answers, and forgets what was so a few hundred answers ago.
///
/// Nanoseconds in the upper 56 bits, answers so far in the lower 8, up to `ENOUGH`.
#[derive(Debug, Default)]
pub struct P95(AtomicU64);

const COUNT: u32 = 8;

impl P95 {
    /// An answer came after `elapsed`.
    pub fn observe(&self, elapsed: Duration) {
        let sample = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX).min(u64::MAX >> (COUNT + 1));
        let _ = self.0.fetch_update(Relaxed, Relaxed, |word| {
            let (nanos, count) = (word >> COUNT, word & ((1 << COUNT) - 1));
            let nanos = match sample > nanos {
                _ if count == 0 => sample,
                true => nanos + nanos * UP / WHOLE + 1,
                false => nanos - nanos * DOWN / WHOLE,
            };
            Some(nanos << COUNT | (count + 1).min(ENOUGH))
        });
    }

    /// The estimate; `None` before there were enough answers.
    #[must_use]
    pub fn get(&self) -> Option<Duration> {
        let word = self.0.load(Relaxed);
        (word & ((1 << COUNT) - 1) == ENOUGH).then(|| Duration::from_nanos(word >> COUNT))
    }
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;

    /// The share of samples above the estimate, over many samples after a warm-up.
    fn above(mut sample: impl FnMut(&mut Rng) -> f64) -> f64 {
        const SAMPLES: u32 = 20_000;
        let (p95, mut rng, mut above) = (P95::default(), Rng::with_seed(7), 0);
        for n in 0..SAMPLES + 1000 {
            let elapsed = Duration::from_secs_f64(sample(&mut rng));
            above += u32::from(n >= 1000 && p95.get().is_some_and(|p95| elapsed > p95));
            p95.observe(elapsed);
        }
        f64::from(above) / f64::from(SAMPLES)
    }

    #[test]
    fn one_answer_in_twenty_takes_longer_whatever_the_distribution() {
        let uniform = above(|rng| 0.001 + rng.f64() * 0.01);
        let exponential = above(|rng| -0.005 * (1.0 - rng.f64()).ln());
        let two_kinds = above(|rng| if rng.f64() < 0.2 { 0.2 + 0.1 * rng.f64() } else { 0.002 + 0.001 * rng.f64() });
        for share in [uniform, exponential, two_kinds] {
            assert!((0.03..0.07).contains(&share), "{uniform} {exponential} {two_kinds}");
        }
    }

    #[test]
    fn it_says_nothing_before_it_has_seen_enough_and_follows_a_change() {
        let p95 = P95::default();
        for _ in 0..ENOUGH {
            assert_eq!(p95.get(), None);
            p95.observe(Duration::from_millis(10));
        }
        assert!(p95.get().unwrap() <= Duration::from_millis(11));
        p95.observe(Duration::from_secs(3600));
        assert!(p95.get().unwrap() <= Duration::from_millis(12), "one answer is one answer");
        (0..100).for_each(|_| p95.observe(Duration::from_millis(100)));
        assert!(p95.get().unwrap() >= Duration::from_millis(90));
        (0..1000).for_each(|_| p95.observe(Duration::from_millis(1)));
        assert!(p95.get().unwrap() <= Duration::from_millis(2));
    }

    #[test]
    fn no_time_is_too_long() {
        let p95 = P95::default();
        (0..200).for_each(|_| p95.observe(Duration::MAX));
        assert!(p95.get().is_some());
    }
}
