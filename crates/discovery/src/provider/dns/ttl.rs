//! When a name is looked up again. Pure: chance is an argument.

use std::time::Duration;

/// How long to wait: what the records say within the bounds of the settings, and up to a tenth more by chance, so that
/// many names and many routers spread. `chance` is in `0.0..=1.0`.
pub(super) fn wait(ttl: Duration, min: Duration, max: Duration, chance: f64) -> Duration {
    ttl.min(max).max(min).mul_f64(1.0 + chance.clamp(0.0, 1.0) / 10.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Kong 11713.
    #[test]
    fn a_ttl_counts_within_its_bounds() {
        let seconds = Duration::from_secs;
        let wait = |ttl| wait(seconds(ttl), seconds(1), seconds(30), 0.0);
        assert_eq!((wait(0), wait(7), wait(86_400)), (seconds(1), seconds(7), seconds(30)));
    }

    proptest! {
        /// Whatever records say: never before they are due, never more often than allowed, never much later.
        #[test]
        fn a_name_is_looked_up_in_time(ttl in 0u64..100_000, min in 1u64..100, more in 0u64..100, chance in 0.0..=1.0) {
            let (ttl, min, max) = (Duration::from_secs(ttl), Duration::from_secs(min), Duration::from_secs(min + more));
            let wait = wait(ttl, min, max, chance);
            prop_assert!(wait >= min && wait >= ttl.min(max));
            prop_assert!(wait <= max.mul_f64(1.1001));
        }
    }
}
