//! What a registration needs next, and when. Pure: chance is an argument.

use std::time::Duration;

use discovery::provider::Backoff;

use super::Failure;

/// First wait after a failure.
const FIRST: Duration = Duration::from_millis(250);
/// Longest: a registry that is back knows everybody within this time.
const LONGEST: Duration = Duration::from_secs(5);

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Register,
    Beat,
}

/// The state of one registration.
#[derive(Debug)]
pub(super) struct Pulse {
    next: Step,
    every: Duration,
    backoff: Backoff,
}

impl Pulse {
    /// Of a registration that is not made yet. Three beats in a `ttl`.
    pub(super) fn new(ttl: Duration) -> Self {
        Self { next: Step::Register, every: ttl / 3, backoff: Backoff::new(FIRST, LONGEST) }
    }

    /// Beats oftener, if the registry keeps it for this time only.
    pub(super) fn shorten(&mut self, lease: Duration) {
        self.every = self.every.min(lease / 3);
    }

    pub(super) fn step(&self) -> Step {
        self.next
    }

    /// Whether the registry has it, as far as is known.
    pub(super) fn is_registered(&self) -> bool {
        self.next == Step::Beat
    }

    /// Takes in what came of the step; how long to wait before the next. `chance` is in `0.0..=1.0`.
    pub(super) fn after(&mut self, result: &Result<(), Failure>, chance: f64) -> Duration {
        match result {
            Ok(()) => {
                self.next = Step::Beat;
                self.backoff = Backoff::new(FIRST, LONGEST);
                // Between nine and ten tenths: those that began together do not beat together for good.
                self.every.mul_f64(0.9 + chance / 10.0)
            }
            // Only a beat can be told so; a registry that forgets at once shall not be asked without pause.
            Err(Failure::Forgotten) if self.next == Step::Beat => {
                self.next = Step::Register;
                FIRST.mul_f64(chance)
            }
            // The lease may still run, and then a beat is all it takes. But no wait may outlive it.
            Err(Failure::Away(_)) if self.next == Step::Beat => self.backoff.next(chance).min(self.every),
            Err(_) => {
                self.next = Step::Register;
                self.backoff.next(chance)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn away() -> Result<(), Failure> {
        Err(Failure::Away(String::new()))
    }

    #[test]
    fn a_registry_that_forgot_is_told_again_and_one_that_is_away_is_asked_with_growing_pauses() {
        let mut pulse = Pulse::new(Duration::from_secs(30));
        let waits: Vec<_> = (0..7).map(|_| pulse.after(&away(), 1.0).as_millis()).collect();
        assert_eq!(waits, [250, 500, 1000, 2000, 4000, 5000, 5000]);
        assert_eq!((pulse.after(&Ok(()), 1.0).as_secs(), pulse.step()), (10, Step::Beat));
        assert_eq!((pulse.after(&away(), 1.0).as_millis(), pulse.step()), (250, Step::Beat));
        assert_eq!((pulse.after(&Err(Failure::Forgotten), 0.0), pulse.step()), (Duration::ZERO, Step::Register));
        assert!(pulse.after(&Err(Failure::Forgotten), 0.0) > Duration::ZERO);
        pulse.after(&Ok(()), 0.0);
        pulse.after(&Err(Failure::Refused(String::new())), 0.0);
        assert!(!pulse.is_registered(), "another token may help, and that is read when it registers");
    }

    #[test]
    fn a_lease_shorter_than_asked_for_is_beaten_for_and_a_longer_one_is_not_trusted() {
        let mut pulse = Pulse::new(Duration::from_secs(60));
        for (lease, wait) in [(90, 20), (30, 10), (60, 10)] {
            pulse.shorten(Duration::from_secs(lease));
            assert_eq!(pulse.after(&Ok(()), 1.0).as_secs(), wait, "{lease}");
        }
    }

    proptest! {
        /// Whatever happens, a registration that the registry has is looked after three times in its lease.
        #[test]
        fn no_wait_outlives_the_lease(results in prop::collection::vec((0..4, 0.0_f64..=1.0), 1..40), ttl in 1_u64..3600) {
            let ttl = Duration::from_secs(ttl);
            let mut pulse = Pulse::new(ttl);
            for (kind, chance) in results {
                let result = match kind {
                    0 => Ok(()),
                    1 => away(),
                    2 => Err(Failure::Forgotten),
                    _ => Err(Failure::Refused(String::new())),
                };
                let wait = pulse.after(&result, chance);
                if pulse.is_registered() {
                    prop_assert!(wait <= ttl / 3);
                } else {
                    prop_assert!(wait <= LONGEST);
                }
            }
        }
    }
}
