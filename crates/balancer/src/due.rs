//! hot path
//!
//! What is worked out anew from time to time, by one of those who need it.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use model::Tick;

/// When something was worked out last, in milliseconds after the start of the process; 0 is never.
///
/// What a look at all candidates finds out (their median latency, how many of them are well) is good for a moment, and too
/// dear for each pick. The first who finds it old claims the work and does it; others go on with the old result meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Due(AtomicU32);

impl Due {
    /// Whether the caller shall work it out: true for one caller in each period, in milliseconds. The time wraps after 49 days; then a result
    /// is kept for up to one period more.
    pub(crate) fn claim(&self, period: u32, now: Tick) -> bool {
        let last = self.0.load(Relaxed);
        let now = millis(now).max(1);
        let is_old = last == 0 || now.wrapping_sub(last) >= period;
        is_old && self.0.compare_exchange(last, now, Relaxed, Relaxed).is_ok()
    }
}

/// The low 32 bits of a time in milliseconds; differences are taken modulo 2^32.
pub(crate) fn millis(now: Tick) -> u32 {
    (now.0 / 1_000_000) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_in_each_period_has_the_work() {
        let due = Due::default();
        let claims = (0..1000).filter(|ms| due.claim(100, Tick(ms * 1_000_000))).count();
        assert_eq!(claims, 10);
        assert!(!due.claim(100, Tick(999_500_000)));
    }
}
