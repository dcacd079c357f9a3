//! A token bucket of one second's worth. Pure.

use model::Tick;

const SECOND: u64 = 1_000_000_000;

/// How many were taken, as the time at which the bucket is full again.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Bucket {
    full: Tick,
}

impl Bucket {
    /// Takes one of `rate` in a second, if there is one.
    pub(super) fn take(&mut self, rate: u32, now: Tick) -> bool {
        let Some(step) = SECOND.checked_div(u64::from(rate)) else { return false };
        let full = self.full.max(now).0.saturating_add(step);
        let there = full - now.0 <= SECOND;
        if there {
            self.full = Tick(full);
        }
        there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_s_worth_at_once_then_one_by_one() {
        let mut bucket = Bucket::default();
        let taken = |bucket: &mut Bucket, now| (0..100).filter(|_| bucket.take(10, Tick(now))).count();
        assert_eq!(taken(&mut bucket, SECOND), 10);
        assert_eq!(taken(&mut bucket, SECOND + SECOND / 10), 1);
        assert_eq!(taken(&mut bucket, 5 * SECOND), 10);
    }

    #[test]
    fn a_rate_of_nothing_gives_nothing_and_a_slow_one_gives_one_in_a_second() {
        let mut bucket = Bucket::default();
        assert!(!bucket.take(0, Tick(SECOND)));
        assert!(bucket.take(1, Tick(SECOND)));
        assert!(!bucket.take(1, Tick(SECOND + SECOND / 2)));
        assert!(bucket.take(1, Tick(2 * SECOND)));
    }
}
