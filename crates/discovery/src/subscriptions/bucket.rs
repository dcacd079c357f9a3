//! A token bucket of one second's worth, and who comes to it often. Pure.

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

/// Clients that are told apart, by a hash of their address. Two that share a place count as one.
const PLACES: usize = 256;

/// Names in a second that a client may bring up and count as one that seldom does: as many as a person who tries again.
const FEW: u32 = 4;

/// How many names clients brought up of late.
#[derive(Debug)]
pub(super) struct Askers(Box<[Asker]>);

#[derive(Debug, Default, Clone, Copy)]
struct Asker {
    second: u64,
    /// In that second, and in the one before.
    names: u32,
    before: u32,
}

impl Default for Askers {
    fn default() -> Self {
        Self(vec![Asker::default(); PLACES].into())
    }
}

impl Askers {
    /// Notes that this client brings up a name, and says whether it seldom does.
    pub(super) fn is_seldom(&mut self, asker: u64, now: Tick) -> bool {
        let asker = &mut self.0[asker as usize % PLACES];
        let second = now.0 / SECOND;
        if second != asker.second {
            let before = if second == asker.second + 1 { asker.names } else { 0 };
            *asker = Asker { second, names: 0, before };
        }
        asker.names = asker.names.saturating_add(1);
        asker.names.max(asker.before) <= FEW
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

    #[test]
    fn who_brings_up_many_names_is_no_longer_one_that_seldom_does() {
        let mut askers = Askers::default();
        let mut seldom = |asker, now| (0..10).filter(|_| askers.is_seldom(asker, Tick(now))).count();
        assert_eq!(seldom(7, SECOND), FEW as usize);
        assert_eq!(seldom(7, 2 * SECOND), 0, "a second ago it had many");
        assert_eq!(seldom(8, 2 * SECOND), FEW as usize, "another one");
        assert_eq!(seldom(7, 9 * SECOND), FEW as usize, "long ago");
    }
}
