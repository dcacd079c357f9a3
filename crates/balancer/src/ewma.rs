//! hot path
//!
//! An average latency that rises at once and falls slowly.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use model::Tick;

/// Time after which a sample has lost all but 1/e of its influence. Finagle's default: long enough to bridge the gaps
/// between the requests of a quiet service, short enough to forget a garbage collection within half a minute.
const DECAY: Duration = Duration::from_secs(10);

/// A peak exponentially weighted moving average, after Finagle's `PeakEwma`.
///
/// A sample above the average becomes the average; one below pulls it down by its age-dependent share. So a sudden slowness
/// shows with the first answer, and trust is regained slowly.
///
/// Average (microseconds, upper half; 0 is "no sample yet") and time of the last sample (milliseconds, lower half) share
/// one atomic, so that no reader or writer sees one without the other. The time wraps after 49 days: an instance idle for
/// 25 gives its next sample too little influence, once.
///
/// Source: <https://github.com/twitter/finagle/blob/develop/finagle-core/src/main/scala/com/twitter/finagle/loadbalancer/PeakEwma.scala>
#[derive(Debug, Default)]
pub(crate) struct Ewma(AtomicU64);

#[derive(Clone, Copy)]
struct State {
    micros: u32,
    millis: u32,
}

impl Ewma {
    /// An answer came after `elapsed`.
    pub(crate) fn observe(&self, elapsed: Duration, now: Tick) {
        let sample = micros(elapsed);
        let millis = millis(now);
        let _ = self.0.fetch_update(Relaxed, Relaxed, |word| {
            let old = State::of(word);
            // Another core may have been here with a slightly later time: then no time has passed.
            let age = millis.wrapping_sub(old.millis).cast_signed().max(0).unsigned_abs();
            let micros = if sample >= old.micros { sample } else { decayed(old.micros, sample, age) };
            Some(State { micros, millis: old.millis.wrapping_add(age) }.word())
        });
    }

    /// No answer came within `elapsed`: raises the average to that if it is lower, and never lowers it.
    pub(crate) fn at_least(&self, elapsed: Duration, now: Tick) {
        let sample = micros(elapsed);
        let millis = millis(now);
        let _ = self.0.fetch_update(Relaxed, Relaxed, |word| {
            (sample > State::of(word).micros).then(|| State { micros: sample, millis }.word())
        });
    }

    /// The average; `None` before the first sample.
    pub(crate) fn get(&self) -> Option<Duration> {
        let micros = State::of(self.0.load(Relaxed)).micros;
        (micros > 0).then(|| Duration::from_micros(micros.into()))
    }
}

impl State {
    fn of(word: u64) -> Self {
        let [a, b, c, d, rest @ ..] = word.to_be_bytes();
        Self { micros: u32::from_be_bytes([a, b, c, d]), millis: u32::from_be_bytes(rest) }
    }

    fn word(self) -> u64 {
        u64::from(self.micros) << 32 | u64::from(self.millis)
    }
}

/// Between the average and a lower sample: the older the average, the nearer to the sample.
fn decayed(average: u32, sample: u32, age_millis: u32) -> u32 {
    let keep = (-f64::from(age_millis) / DECAY.as_secs_f64() / 1000.0).exp();
    let micros = f64::from(average) * keep + f64::from(sample) * (1.0 - keep);
    // A mean of two u32 fits; the cast drops the fraction, and `max` what rounding took below the sample.
    (micros as u32).max(sample)
}

/// At least 1, as 0 means "no sample yet"; saturates at 71 minutes.
fn micros(elapsed: Duration) -> u32 {
    u32::try_from(elapsed.as_micros()).unwrap_or(u32::MAX).max(1)
}

/// The low 32 bits; differences are taken modulo 2^32.
fn millis(now: Tick) -> u32 {
    (now.0 / 1_000_000) as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(millis: u64) -> Tick {
        Tick(millis * 1_000_000)
    }

    #[test]
    fn it_rises_at_once_and_falls_slowly() {
        let ewma = Ewma::default();
        assert_eq!(ewma.get(), None);
        ewma.observe(10 * MS, at(0));
        ewma.observe(100 * MS, at(1));
        assert_eq!(ewma.get(), Some(100 * MS));
        ewma.observe(10 * MS, at(10_001));
        let fallen = ewma.get().unwrap();
        // 10 + 90 / e
        assert!((43 * MS..44 * MS).contains(&fallen), "{fallen:?}");
    }

    #[test]
    fn a_core_whose_clock_was_read_earlier_changes_nothing() {
        let ewma = Ewma::default();
        ewma.observe(100 * MS, at(1000));
        ewma.observe(10 * MS, at(999));
        assert_eq!(ewma.get(), Some(100 * MS));
    }

    #[test]
    fn giving_up_raises_and_never_lowers() {
        let ewma = Ewma::default();
        ewma.observe(10 * MS, at(0));
        ewma.at_least(5 * MS, at(60_000));
        assert_eq!(ewma.get(), Some(10 * MS));
        ewma.at_least(700 * MS, at(60_000));
        assert_eq!(ewma.get(), Some(700 * MS));
    }

    proptest! {
        #[test]
        fn it_stays_between_the_lowest_and_the_highest_sample(
            samples in prop::collection::vec((1_u64..10_000_000, 0_u64..u64::MAX / 2), 1..50),
        ) {
            let ewma = Ewma::default();
            for &(micros, now) in &samples {
                ewma.observe(Duration::from_micros(micros), Tick(now));
            }
            let average = ewma.get().unwrap().as_micros() as u64;
            let low = samples.iter().map(|s| s.0).min().unwrap();
            let high = samples.iter().map(|s| s.0).max().unwrap();
            prop_assert!((low..=high).contains(&average), "{average} outside {low}..={high}");
            prop_assert!(average >= samples.last().unwrap().0, "a peak was missed");
        }
    }
}
