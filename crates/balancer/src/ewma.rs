//! hot path
//!
//! An average latency that rises at once and falls slowly.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use model::Tick;

use crate::{Decay, due::millis};

/// How many times as low an answer of an instance that was slow, to a request that went to see, makes the average at least.
/// What it answers now says more than what it did then: after a timeout of 15 s it is back within four such answers. The next
/// one may go to see at once, and what is left of the average is forgotten when it is within [`RISE`] of the answer.
const FALL: u32 = 8;

/// How many times as high one answer can make the average. One that is slow for what it was asked, and not for who was asked,
/// must not take an instance out for a minute; of an instance that is fifty times too slow four answers tell.
const RISE: u32 = 3;

/// A failure counts as an answer that took so many times the average, with its age-dependent share. Of an instance that fails
/// one of a hundred requests the average is a quarter higher for it; from one of twenty on it grows until the instance gets
/// hardly any, threefold in about half a second if all fail.
const FAILURE: u32 = 20;

/// Failures raise the average to this, not further: with the usual decay an instance is then back within two minutes.
const WORST: u32 = 10_000_000;

/// What an instance that has done nothing but fail begins with.
const FAILED: u32 = 1_000_000;

/// The clock of one core is not so many milliseconds behind that of another one.
const SKEW: u32 = 60_000;

/// After so many milliseconds without an answer an average is doubted, whatever is under way.
pub(crate) const DOUBT: u32 = 5000;

/// A peak exponentially weighted moving average, after Finagle's `PeakEwma`.
///
/// A sample above the average becomes the average, up to threefold; one below pulls it down by its age-dependent share. So a
/// sudden slowness shows with the first answers, and trust is regained slowly. A failure raises it, see
/// [`failed`](Self::failed).
///
/// Whether somebody was told to explore (the highest bit), the average (microseconds, the rest of the upper half; 0 is "no
/// sample yet") and the time of the last sample (milliseconds, lower half) share one atomic, so that no reader or writer sees
/// one without the others. The time wraps after 49 days: an instance idle for that long gives its next sample too little
/// influence, once.
///
/// Source: <https://github.com/twitter/finagle/blob/develop/finagle-core/src/main/scala/com/twitter/finagle/loadbalancer/PeakEwma.scala>
#[derive(Debug, Default)]
pub(crate) struct Ewma(AtomicU64);

#[derive(Clone, Copy)]
struct State {
    micros: u32,
    asked: bool,
    millis: u32,
}

const ASKED: u32 = 1 << 31;

impl Ewma {
    /// An answer came after `elapsed`.
    pub(crate) fn observe(&self, elapsed: Duration, now: Tick, decay: Decay) {
        let sample = micros(elapsed);
        self.update(now, |old, age| match old.micros {
            0 => (sample, false),
            known if sample >= known => (sample.min(known.saturating_mul(RISE)), false),
            known if old.asked => {
                let left = mixed(known, sample, age, decay).min(known / FALL);
                if left <= sample.saturating_mul(RISE) { (sample, false) } else { (left, true) }
            }
            known => (mixed(known, sample, age, decay).max(sample), false),
        });
    }

    /// A request failed after `elapsed`: raises the average, and never lowers it.
    pub(crate) fn failed(&self, elapsed: Duration, now: Tick, decay: Decay) {
        let sample = micros(elapsed);
        self.update(now, |old, age| {
            let failed = match old.micros {
                0 => FAILED,
                known => mixed(known, known.saturating_mul(FAILURE), age, decay).min(WORST).max(known),
            };
            (failed.max(sample), false)
        });
    }

    /// Nothing is known any more.
    pub(crate) fn forget(&self) {
        self.0.store(0, Relaxed);
    }

    /// Something is known anew: makes the average what becomes of the old one and its age, and says whether more is to be
    /// explored at once.
    fn update(&self, now: Tick, new: impl Fn(State, u32) -> (u32, bool)) {
        let millis = millis(now);
        let _ = self.0.fetch_update(Relaxed, Relaxed, |word| {
            let old = State::of(word);
            let at = if old.micros == 0 { millis } else { old.millis.wrapping_add(old.passed(millis)) };
            let (micros, asked) = new(old, old.age(millis));
            Some(State { micros, asked, millis: at }.word())
        });
    }

    /// If nothing was heard for `pause`, in milliseconds, tells the caller alone to go and see. What comes of that counts as
    /// much as an answer after a long time; if it took longer still to ask, the average goes towards what is typical for the
    /// rest of it, as it says less and less of what is now. `idle`: no request is in flight. Then whoever went to see last
    /// is back, and unless that was in vain the next one may go.
    pub(crate) fn explore(&self, typical: u32, pause: u32, idle: bool, now: Tick, decay: Decay) -> bool {
        let word = self.0.load(Relaxed);
        let old = State::of(word);
        let pause = if old.asked && idle { 0 } else { pause };
        let Some(rest) = old.passed(millis(now)).checked_sub(pause) else { return false };
        let new = State { micros: mixed(old.micros, typical, rest, decay), asked: true, millis: millis(now) };
        self.0.compare_exchange(word, new.word(), Relaxed, Relaxed).is_ok()
    }

    /// No answer came within `elapsed`: raises the average to that if it is lower, and never lowers it. No time says nothing,
    /// but that whoever went to see did so in vain.
    pub(crate) fn at_least(&self, elapsed: Duration, now: Tick) {
        let sample = if elapsed.is_zero() { 0 } else { micros(elapsed) };
        let millis = millis(now);
        let _ = self.0.fetch_update(Relaxed, Relaxed, |word| {
            let old = State::of(word);
            let micros = old.micros.max(sample);
            (old.asked || micros > old.micros).then(|| State { micros, asked: false, millis }.word())
        });
    }

    /// The average in microseconds; 0 before the first sample.
    pub(crate) fn micros(&self) -> u32 {
        State::of(self.0.load(Relaxed)).micros
    }

    /// The average; `None` before the first sample.
    pub(crate) fn get(&self) -> Option<Duration> {
        let micros = self.micros();
        (micros > 0).then(|| Duration::from_micros(micros.into()))
    }
}

impl State {
    fn of(word: u64) -> Self {
        let [a, b, c, d, rest @ ..] = word.to_be_bytes();
        let high = u32::from_be_bytes([a, b, c, d]);
        Self { micros: high & !ASKED, asked: high & ASKED != 0, millis: u32::from_be_bytes(rest) }
    }

    /// Milliseconds since the last sample, or since somebody was told to explore. Another core may have been here with a
    /// slightly later time: then none.
    fn passed(self, millis: u32) -> u32 {
        let passed = millis.wrapping_sub(self.millis);
        if passed > u32::MAX - SKEW { 0 } else { passed }
    }

    /// How old the average is.
    fn age(self, millis: u32) -> u32 {
        self.passed(millis).saturating_add(if self.asked { DOUBT } else { 0 })
    }

    fn word(self) -> u64 {
        let high = self.micros | if self.asked { ASKED } else { 0 };
        u64::from(high) << 32 | u64::from(self.millis)
    }
}

/// Between the average and a sample: the older the average, the nearer to the sample.
fn mixed(average: u32, sample: u32, age_millis: u32, decay: Decay) -> u32 {
    let keep = (-f64::from(age_millis) / f64::from(decay.millis())).exp();
    let micros = f64::from(average) * keep + f64::from(sample) * (1.0 - keep);
    // A mean of two u32 fits; the cast drops the fraction.
    micros as u32
}

/// At least 1, as 0 means "no sample yet"; saturates at 35 minutes.
fn micros(elapsed: Duration) -> u32 {
    u32::try_from(elapsed.as_micros()).unwrap_or(u32::MAX).clamp(1, ASKED - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const TEN: Decay = Decay::STANDARD;

    fn at(millis: u64) -> Tick {
        Tick(millis * 1_000_000)
    }

    #[test]
    fn it_rises_at_once_and_falls_slowly() {
        let ewma = Ewma::default();
        assert_eq!(ewma.get(), None);
        ewma.observe(40 * MS, at(0), TEN);
        ewma.observe(100 * MS, at(1), TEN);
        assert_eq!(ewma.get(), Some(100 * MS));
        ewma.observe(10 * MS, at(10_001), TEN);
        let fallen = ewma.get().unwrap();
        // 10 + 90 / e
        assert!((43 * MS..44 * MS).contains(&fallen), "{fallen:?}");
    }

    #[test]
    fn a_shorter_decay_forgets_sooner() {
        let ewma = Ewma::default();
        ewma.observe(100 * MS, at(0), TEN);
        ewma.observe(10 * MS, at(2000), Decay::from_millis(2000));
        assert!((43 * MS..44 * MS).contains(&ewma.get().unwrap()), "{:?}", ewma.get());
    }

    #[test]
    fn one_answer_raises_it_to_threefold_at_most() {
        let ewma = Ewma::default();
        for expected in [10, 30, 90, 270, 500] {
            ewma.observe(if expected == 10 { 10 * MS } else { 500 * MS }, at(0), TEN);
            assert_eq!(ewma.get(), Some(expected * MS));
        }
    }

    #[test]
    fn a_core_whose_clock_was_read_earlier_changes_nothing() {
        let ewma = Ewma::default();
        ewma.observe(100 * MS, at(1000), TEN);
        ewma.observe(10 * MS, at(999), TEN);
        assert_eq!(ewma.get(), Some(100 * MS));
    }

    #[test]
    fn after_weeks_it_still_falls() {
        let weeks = 5 * 7 * 24 * 3_600_000;
        let fresh = Ewma::default();
        fresh.observe(100 * MS, at(weeks), TEN);
        let idle = Ewma::default();
        idle.observe(100 * MS, at(0), TEN);
        for (ewma, now) in [(fresh, weeks + 60_000), (idle, weeks)] {
            ewma.observe(10 * MS, at(now), TEN);
            assert!(ewma.get() < Some(11 * MS), "{:?}", ewma.get());
        }
    }

    #[test]
    fn giving_up_raises_and_never_lowers() {
        let ewma = Ewma::default();
        ewma.observe(10 * MS, at(0), TEN);
        ewma.at_least(5 * MS, at(60_000));
        assert_eq!(ewma.get(), Some(10 * MS));
        ewma.at_least(700 * MS, at(60_000));
        assert_eq!(ewma.get(), Some(700 * MS));
        for elapsed in [Duration::ZERO, 5 * MS] {
            assert!(ewma.explore(10_000, 0, true, at(60_000), TEN));
            ewma.at_least(elapsed, at(60_000));
            assert_eq!(ewma.get(), Some(700 * MS));
            assert!(!ewma.explore(10_000, 1000, true, at(60_999), TEN), "impatient clients must not follow each other");
        }
    }

    #[test]
    fn failing_fast_makes_it_rise() {
        let ewma = Ewma::default();
        ewma.failed(MS, at(0), TEN);
        assert_eq!(ewma.get(), Some(1000 * MS), "nothing but a failure is known");
        let ewma = Ewma::default();
        ewma.observe(10 * MS, at(0), TEN);
        for ms in 1..=650 {
            ewma.failed(MS / 10, at(ms), TEN);
        }
        assert!(ewma.get() > Some(30 * MS), "{:?}", ewma.get());
        for ms in 651..100_000 {
            ewma.failed(MS / 10, at(ms), TEN);
        }
        assert_eq!(ewma.get(), Some(Duration::from_secs(10)));
    }

    #[test]
    fn one_failure_of_a_hundred_is_hardly_seen() {
        let ewma = Ewma::default();
        for ms in 0..60_000 {
            if ms % 100 == 99 { ewma.failed(MS / 10, at(ms), TEN) } else { ewma.observe(10 * MS, at(ms), TEN) }
        }
        assert!(ewma.get() < Some(14 * MS), "{:?}", ewma.get());
    }

    #[test]
    fn an_old_average_is_doubted_and_one_answer_tells() {
        let slow = || {
            let ewma = Ewma::default();
            ewma.observe(1000 * MS, at(0), TEN);
            assert!(!ewma.explore(10_000, DOUBT, false, at(4999), TEN));
            assert!(ewma.explore(10_000, DOUBT, false, at(5000), TEN));
            assert!(!ewma.explore(10_000, DOUBT, false, at(5001), TEN));
            assert_eq!(ewma.get(), Some(1000 * MS), "nothing is known yet");
            ewma
        };
        let (well, still_slow, fails) = (slow(), slow(), slow());
        well.observe(10 * MS, at(5010), TEN);
        assert_eq!(well.get(), Some(125 * MS), "an eighth");
        assert!(!well.explore(10_000, DOUBT, false, at(5010), TEN) && well.explore(10_000, DOUBT, true, at(5010), TEN));
        well.observe(10 * MS, at(5020), TEN);
        assert_eq!(well.get(), Some(10 * MS), "what is left is within threefold");
        assert!(!well.explore(10_000, DOUBT, true, at(5021), TEN), "nothing is in doubt");
        still_slow.observe(1000 * MS, at(6000), TEN);
        assert_eq!(still_slow.get(), Some(1000 * MS));
        fails.failed(MS, at(5001), TEN);
        assert!(fails.get() > Some(5000 * MS), "{:?}", fails.get());
        for known in [&still_slow, &fails] {
            assert!(!known.explore(10_000, DOUBT, true, at(6001), TEN), "it was in vain");
        }
        let long_ago = slow();
        assert!(
            long_ago.explore(10_000, DOUBT, false, at(100_000), TEN) && long_ago.get() < Some(11 * MS),
            "{:?}",
            long_ago.get()
        );
    }

    proptest! {
        /// However slow it was, a few answers to requests that went to see are enough.
        #[test]
        fn one_that_has_recovered_is_back_within_seven_answers(slow in 1_000_u64..35 * 60_000, quick in 1_u64..1000) {
            let ewma = Ewma::default();
            ewma.observe(Duration::from_millis(slow), at(0), TEN);
            let (typical, mut now) = (micros(Duration::from_millis(quick)), u64::from(DOUBT));
            for answers in 0.. {
                prop_assert!(answers <= 7, "{:?} after {slow} ms and {quick} ms", ewma.get());
                if ewma.micros() <= RISE * typical {
                    break;
                }
                prop_assert!(ewma.explore(typical, DOUBT, true, at(now), TEN));
                now += quick;
                ewma.observe(Duration::from_millis(quick), at(now), TEN);
            }
        }

        #[test]
        fn it_stays_between_the_lowest_and_the_highest_sample(
            samples in prop::collection::vec((1_u64..10_000_000, 0_u64..u64::MAX / 2), 1..50),
        ) {
            let ewma = Ewma::default();
            for &(micros, now) in &samples {
                ewma.observe(Duration::from_micros(micros), Tick(now), TEN);
            }
            let average = ewma.get().unwrap().as_micros() as u64;
            let low = samples.iter().map(|s| s.0).min().unwrap();
            let high = samples.iter().map(|s| s.0).max().unwrap();
            prop_assert!((low..=high).contains(&average), "{average} outside {low}..={high}");
            prop_assert!(average >= samples.last().unwrap().0.min(3 * low), "a peak was missed");
        }
    }
}
