//! `shedding` compiled: when a core has too much in hand to take on more. Pure.

use std::time::Duration;

use settings::{Located, SettingsError, Span};

use crate::settings as typed;

/// When a core has too much in hand to take on more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shedding {
    /// Requests in hand at which all new ones are refused.
    requests: u32,
    /// Requests in hand up to which none is.
    free: u32,
    /// How late a core may come to its work before any is refused.
    lag: Duration,
}

/// All are refused when the lag is this many times what it may be.
const ALL: u32 = 4;

impl Shedding {
    /// Nothing is refused.
    pub(super) const OFF: Self = Self { requests: u32::MAX, free: u32::MAX, lag: Duration::MAX };

    pub(super) fn of(typed: &Located<typed::Shedding>) -> Result<Self, SettingsError> {
        let (requests, lag) = (typed.requests.0, typed.lag.0.map(Span::get));
        if requests == Some(0) || lag.is_some_and(|lag| lag < SHORTEST) {
            let text =
                "requests is at least 1 and lag at least 20ms: below that a healthy core is refused work; or off";
            return Err(SettingsError::at(typed, text));
        }
        let free = requests.map_or(u32::MAX, |requests| requests - requests / 5);
        Ok(Self { requests: requests.unwrap_or(u32::MAX), free, lag: lag.unwrap_or(Duration::MAX) })
    }

    /// The share of new requests to be refused, 0 to 1, by a core that has so many in hand, this one among them, and
    /// comes so late to its work. Zero costs two comparisons.
    #[must_use]
    pub fn share(&self, in_hand: u32, lag: Duration) -> f64 {
        if in_hand <= self.free && lag <= self.lag {
            return 0.0;
        }
        let above = f64::from(in_hand.saturating_sub(self.free));
        let room = f64::from((self.requests - self.free).max(1));
        let late = lag.saturating_sub(self.lag).as_secs_f64();
        let later = self.lag.as_secs_f64() * f64::from(ALL - 1);
        (above / room).max(late / later).min(1.0)
    }
}

/// Timers have a resolution of a millisecond, and a busy machine lets a thread wait for some.
const SHORTEST: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use settings::OrOff;

    use super::*;

    fn compiled(requests: Option<u32>, lag: Option<u64>) -> Result<Shedding, SettingsError> {
        let typed = typed::Shedding { requests: OrOff(requests), lag: OrOff(lag.map(Span::from_millis)) };
        Shedding::of(&typed.into())
    }

    fn shedding(requests: Option<u32>, lag: Option<u64>) -> Shedding {
        compiled(requests, lag).unwrap()
    }

    fn assert_close(share: f64, expected: f64) {
        assert!((share - expected).abs() < 1e-9, "{share}, not {expected}");
    }

    #[test]
    fn refusals_begin_at_four_fifths_and_are_certain_above_the_limit() {
        let by_count = shedding(Some(100), None);
        for (in_hand, share) in [(1, 0.0), (80, 0.0), (90, 0.5), (100, 1.0), (5000, 1.0)] {
            assert_close(by_count.share(in_hand, Duration::from_secs(9)), share);
        }
        let by_lag = shedding(None, Some(100));
        for (lag, share) in [(0, 0.0), (100, 0.0), (250, 0.5), (400, 1.0), (9000, 1.0)] {
            assert_close(by_lag.share(1_000_000, Duration::from_millis(lag)), share);
        }
        assert_close(shedding(None, None).share(u32::MAX, Duration::from_secs(3600)), 0.0);
        assert!(shedding(Some(1), None).share(2, Duration::ZERO) >= 1.0, "the smallest limit");
    }

    #[test]
    fn limits_that_would_refuse_a_healthy_core_are_found() {
        assert!(compiled(Some(0), None).is_err());
        assert!(compiled(None, Some(1)).is_err());
    }

    proptest! {
        /// More in hand or more lag never means less refused, and a share is a share.
        #[test]
        fn the_share_rises(requests in 1_u32..10_000, lag in 20_u64..5000, a in 0_u32..20_000, b in 0_u32..20_000, late in 0_u64..30_000) {
            let shedding = shedding(Some(requests), Some(lag));
            let share = |in_hand, late| shedding.share(in_hand, Duration::from_millis(late));
            let (low, high) = (a.min(b), a.max(b));
            prop_assert!(share(low, late) <= share(high, late));
            prop_assert!(share(low, late) <= share(low, late + 1));
            prop_assert!((0.0..=1.0).contains(&share(high, late)));
        }
    }
}
