//! When a registry that failed is tried again. Pure: time and chance are arguments.
//!
//! Two cases, because they cost a registry different things. Whoever finds *nobody there* spends a packet or two on it, and
//! what matters is to know soon when somebody is: a network that was cut is whole again, an agent starts. So the pace of such
//! attempts is the same however long it takes. A registry that *answers* and fails (5xx, a token that it does not know, a
//! watch that ends as soon as everything was read) is spared: what it answers begins ever further apart.

use std::time::Duration;

use model::ProviderError;

/// After a stay that lasted for a while: what ended it may be over at once (a restart, another leader).
const SOON: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(200));
/// After one that failed at once. Together with how long a stay lasts that makes two attempts a second at
/// most; by chance up to 0.7 s, so that many routers do not come at once.
const APART: (Duration, Duration) = (Duration::from_millis(500), Duration::from_millis(700));
/// Between the beginnings of stays that were answered and failed.
const FIRST: Duration = Duration::from_millis(500);
/// The longest of these.
const LONGEST: Duration = Duration::from_secs(5);

/// One stay at a registry, from the attempt to reach it to its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stay {
    /// The registry answered, be it by an error.
    answered: bool,
    lasted: Duration,
}

impl Stay {
    /// One that ended with this error after so long; `useful` if something was learned before.
    pub(super) fn ended(error: &ProviderError, useful: bool, lasted: Duration) -> Self {
        Self { answered: useful || !matches!(error, ProviderError::Unreachable(_)), lasted }
    }

    /// One at a registry that answered, but not as it should.
    #[cfg(feature = "kubernetes")]
    pub(super) fn answered(lasted: Duration) -> Self {
        Self { answered: true, lasted }
    }
}

/// The pauses of one source.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retry {
    /// From the beginning of a stay that was answered to that of the next.
    step: Duration,
    most: Duration,
}

impl Retry {
    pub(super) fn new() -> Self {
        Self::up_to(LONGEST)
    }

    /// With this as the longest step.
    pub(super) fn up_to(most: Duration) -> Self {
        Self { step: FIRST, most }
    }

    /// How long to wait after this stay. `chance` is in `0.0..=1.0`.
    pub(super) fn after(&mut self, stay: Stay, chance: f64) -> Duration {
        let chance = chance.clamp(0.0, 1.0);
        let (least, most) = if stay.lasted >= FIRST { SOON } else { APART };
        let least = least + (most - least).mul_f64(chance);
        if !stay.answered {
            return least;
        }
        let step = if stay.lasted >= self.most { FIRST } else { self.step };
        self.step = (step * 2).min(self.most);
        step.mul_f64(0.5 + chance / 2.0).saturating_sub(stay.lasted).max(least)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stay(answered: bool, ms: u64) -> Stay {
        Stay { answered, lasted: Duration::from_millis(ms) }
    }

    #[test]
    fn what_an_error_says_of_the_registry() {
        let nobody = ProviderError::Unreachable("refused".into());
        let somebody = ProviderError::Failed("500".into());
        let lasted = Duration::ZERO;
        assert!(!Stay::ended(&nobody, false, lasted).answered);
        assert!(Stay::ended(&nobody, true, lasted).answered, "it was read before the connection broke");
        assert!(Stay::ended(&somebody, false, lasted).answered);
    }

    #[test]
    fn a_registry_that_is_not_there_is_tried_at_the_same_pace_for_as_long_as_it_takes() {
        let mut retry = Retry::new();
        for (lasted, least, most) in [(0, 500, 700), (0, 500, 700), (5000, 100, 200), (0, 500, 700)] {
            assert_eq!(retry.after(stay(false, lasted), 0.0).as_millis(), least);
            assert_eq!(retry.after(stay(false, lasted), 1.0).as_millis(), most);
        }
    }

    #[test]
    fn one_that_answers_and_fails_is_asked_ever_more_seldom() {
        let mut retry = Retry::new();
        let pauses = [(); 6].map(|()| retry.after(stay(true, 0), 1.0).as_millis());
        assert_eq!(pauses, [700, 1000, 2000, 4000, 5000, 5000]);
        assert_eq!(retry.after(stay(true, 4800), 1.0).as_millis(), 200, "the stay counts");
        assert_eq!(retry.after(stay(true, 60_000), 1.0).as_millis(), 200, "a good one");
        assert_eq!(retry.after(stay(true, 0), 1.0).as_millis(), 1000, "begins anew");
    }

    proptest! {
        /// Whatever happens, attempts begin half a second apart at least; whoever finds nobody comes back within 0.7 s; and
        /// whoever is answered begins again within the longest step.
        #[test]
        fn neither_too_often_nor_too_late(
            stays in prop::collection::vec((any::<bool>(), 0u64..20_000, 0.0..=1.0f64), 1..100),
        ) {
            let mut retry = Retry::new();
            for (answered, ms, chance) in stays {
                let stay = stay(answered, ms);
                let pause = retry.after(stay, chance);
                prop_assert!(stay.lasted + pause >= Duration::from_millis(500));
                let latest = if answered { LONGEST.saturating_sub(stay.lasted).max(APART.1) } else { APART.1 };
                prop_assert!(pause <= latest, "{pause:?} after {stay:?}");
            }
        }
    }
}
