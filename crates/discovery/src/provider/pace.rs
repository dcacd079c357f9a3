//! How often we ask. Pure: time and chance are arguments.

use std::time::Duration;

use model::Tick;

/// Answers in quick succession that a watch follows without delay: a deployment's burst of changes is seen live.
const BURST: u32 = 10;
/// After the burst, one question in this time: what a registry that changes all the time costs us and itself.
const INTERVAL: Duration = Duration::from_millis(100);

/// Between two readings of everything, at most, for sources that follow changes: nothing needs it as long as registries
/// keep their word. An event that was lost, by them or by us, is made good within this time.
const RESYNC: Duration = Duration::from_secs(600);

/// When to read everything again: between a half and all of ten minutes, so that many routers spread. `chance` is in
/// `0.0..=1.0`.
pub(super) fn resync(chance: f64) -> Duration {
    Backoff::new(RESYNC, RESYNC).next(chance)
}

/// The rate limit of one watch: a bucket of [`BURST`] questions that refills one per [`INTERVAL`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    tokens: u32,
    refilled: Tick,
    interval: Duration,
}

impl Pace {
    pub(super) fn new(now: Tick) -> Self {
        Self { tokens: BURST, refilled: now, interval: INTERVAL }
    }

    /// One at a time, this far apart.
    pub(super) fn every(interval: Duration, now: Tick) -> Self {
        Self { tokens: 1, refilled: now, interval }
    }

    /// Takes one question out of the bucket; how long to wait before asking it.
    pub(super) fn wait(&mut self, now: Tick) -> Duration {
        let nanos = u64::try_from(self.interval.as_nanos()).unwrap_or(u64::MAX).max(1);
        let burst = if self.interval == INTERVAL { BURST } else { 1 };
        let earned = now.0.saturating_sub(self.refilled.0) / nanos;
        if earned > 0 {
            self.tokens = self.tokens.saturating_add(u32::try_from(earned).unwrap_or(u32::MAX)).min(burst);
            self.refilled = Tick(self.refilled.0 + earned * nanos);
        }
        if self.tokens > 0 {
            self.tokens -= 1;
            return Duration::ZERO;
        }
        self.refilled = self.refilled.after(self.interval);
        self.refilled.since(now)
    }
}

/// Waits between attempts that fail: doubling up to a limit, each shortened by chance so that many routers spread.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    next: Duration,
    most: Duration,
}

impl Backoff {
    /// Waits from the first to the longest.
    #[must_use]
    pub fn new(first: Duration, most: Duration) -> Self {
        Self { next: first, most }
    }

    /// The next wait: between a half and all of the present step. `chance` is in `0.0..=1.0`.
    pub fn next(&mut self, chance: f64) -> Duration {
        let step = self.next;
        self.next = (step * 2).min(self.most);
        step.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_burst_is_free_and_then_the_interval_holds() {
        let start = Tick(1_000);
        let mut pace = Pace::new(start);
        for _ in 0..BURST {
            assert_eq!(pace.wait(start), Duration::ZERO);
        }
        assert_eq!(pace.wait(start), INTERVAL);
        let later = start.after(INTERVAL * 100);
        assert_eq!(pace.wait(later), Duration::ZERO);
    }

    #[test]
    fn failures_wait_longer_up_to_the_limit() {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(5));
        let waits: Vec<_> = (0..6).map(|_| backoff.next(1.0).as_millis()).collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 5000, 5000]);
        assert_eq!(backoff.next(0.0), Duration::from_millis(2500));
    }

    #[test]
    fn everything_is_read_again_within_ten_minutes_and_not_by_all_at_once() {
        assert_eq!([resync(0.0).as_secs(), resync(1.0).as_secs()], [300, 600]);
    }

    proptest! {
        /// Over any schedule of answers, questions never exceed the burst plus one per interval.
        #[test]
        fn the_rate_is_bounded(gaps in prop::collection::vec(0u64..300, 1..200)) {
            let mut now = Tick(0);
            let mut pace = Pace::new(now);
            for (asked, gap) in gaps.into_iter().enumerate() {
                now = now.after(Duration::from_millis(gap));
                now = now.after(pace.wait(now));
                let allowed = u64::from(BURST) + now.0 / 100_000_000;
                prop_assert!(asked as u64 <= allowed, "question {} at {:?}", asked + 1, now);
            }
        }
    }
}
