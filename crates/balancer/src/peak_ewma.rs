//! hot path
//!
//! The one of two that will probably answer first.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use model::Tick;

use crate::{
    Ask, Balancer, Decay, Vitals,
    draws::Draws,
    due::{Due, millis},
    ewma::DOUBT,
};

/// How old the typical latency may be, in milliseconds.
const PERIOD: u32 = 100;

/// Above so many times the typical latency an instance is slow: it gets requests only while others are busier in that
/// measure, and a single one now and then to see whether it still is.
const SLOW: u32 = 3;

/// A slow instance is asked with this part of its fair share. Of ten instances one costs a thousandth of the requests, and
/// the 99.9th percentile shows what it always was.
const PROBED: u64 = 100;

/// How often it is asked at most, in milliseconds. At least it is every [`DOUBT`].
const QUICK: u32 = 1000;

/// Over how many milliseconds the rate of requests is measured, at least.
const WINDOW: u32 = 1000;

/// One pick of so many among instances that are not slow goes by requests in flight alone, so that none is starved for being
/// a little slower: that leaves each a quarter of its fair share, whatever the others are.
const UNBIASED: u8 = 4;

/// Power of two choices by expected latency: draws two candidates at random, in proportion to their weights, and takes the
/// one with the lesser product of average latency and requests in flight, this one included.
///
/// The average is a peak EWMA: it rises at once and falls slowly. Failures raise it, so an instance that fails fast does not
/// look quick. One without answers counts as typical: the median of the others. An instance that is nearly never chosen
/// would never be known to have recovered, hence the exceptions above.
///
/// Source: Finagle's `PeakEwma`; the exceptions answer <https://github.com/traefik/traefik/issues/12306>.
#[derive(Debug)]
pub(crate) struct PeakEwma {
    draws: Draws,
    decay: Decay,
    due: Due,
    /// Microseconds; 0 while no instance has answered.
    typical: AtomicU32,
    /// How long a slow instance is left alone, in milliseconds.
    pause: AtomicU32,
    /// Requests that had ended when that was worked out, and when it was, in milliseconds; only whoever claims the work uses
    /// them.
    ended: AtomicU64,
    measured: AtomicU32,
}

impl PeakEwma {
    pub(crate) fn new(draws: Draws, decay: Decay) -> Self {
        let (pause, ended, measured) = (AtomicU32::new(DOUBT), AtomicU64::default(), AtomicU32::default());
        Self { draws, decay, due: Due::default(), typical: AtomicU32::default(), pause, ended, measured }
    }

    /// The median latency of the candidates that take requests and have answered, of all if none of those is left; of an even number the lower one of the two
    /// in the middle, so that of two instances one can be slow.
    fn typical(&self, now: Tick) -> u32 {
        if self.due.claim(PERIOD, now) {
            let roster = self.draws.roster();
            let all = || (0..roster.len()).map(|at| roster.vitals(at));
            let of = |vitals: &Vitals| vitals.ewma().micros();
            let typical = match median(all().filter(|vitals| vitals.admits(now)).map(of)) {
                0 => median(all().map(of)),
                typical => typical,
            };
            self.typical.store(typical, Relaxed);
            self.measure(now);
        }
        self.typical.load(Relaxed)
    }

    /// Works out how long a slow instance is left alone.
    fn measure(&self, now: Tick) {
        let (now, before) = (millis(now).max(1), self.measured.load(Relaxed));
        let passed = now.wrapping_sub(before);
        if before != 0 && passed < WINDOW {
            return;
        }
        let roster = self.draws.roster();
        let ended: u64 = (0..roster.len()).map(|at| roster.vitals(at).totals().requests).sum();
        if before != 0 {
            let requests = ended.saturating_sub(self.ended.load(Relaxed));
            self.pause.store(pause(requests, passed, roster.len()), Relaxed);
        }
        self.ended.store(ended, Relaxed);
        self.measured.store(now, Relaxed);
    }

    /// Whether the caller is to find out whether a slow instance still is. While a request is in flight there, it tells.
    fn explores(&self, at: usize, typical: u32, now: Tick) -> bool {
        let vitals = self.draws.roster().vitals(at);
        let idle = vitals.in_flight() == 0;
        let pause = if idle { self.pause.load(Relaxed) } else { DOUBT };
        vitals.ewma().explore(typical, pause, idle, now, self.decay)
    }

    fn latency(&self, at: usize, typical: u32) -> u32 {
        let known = self.draws.roster().vitals(at).ewma().micros();
        if known > 0 { known } else { typical.max(1) }
    }

    /// Latency times requests in flight, this one included; those for each `unit` of its share, so that a light one counts
    /// as busy with fewer.
    fn cost(&self, at: usize, latency: u32, unit: u64, now: Tick) -> f64 {
        let roster = self.draws.roster();
        let busy = f64::from(roster.vitals(at).in_flight()) * unit as f64 / roster.share(at, now) as f64;
        f64::from(latency) * (busy + 1.0)
    }
}

impl Balancer for PeakEwma {
    fn reaches(&self, at: usize, ask: &Ask<'_>) -> bool {
        self.draws.roster().is_wanted(at, ask)
    }

    fn pick(&self, ask: &Ask<'_>) -> Option<usize> {
        let (one, other) = self.draws.two(ask)?;
        let Some(other) = other else { return Some(one) };
        let (roster, now) = (self.draws.roster(), ask.now);
        let typical = self.typical(now);
        let (a, b) = (self.latency(one, typical), self.latency(other, typical));
        let slow = typical.saturating_mul(SLOW);
        // A request that has failed somewhere already is not the one to find out.
        if a > slow && ask.tried.is_empty() && self.explores(one, typical, now) {
            return Some(one);
        }
        let is_better = if a.max(b) <= slow && fastrand::u8(..UNBIASED) == 0 {
            roster.load(other, now) < roster.load(one, now)
        } else {
            // The first draw honours the weights already: of idle ones only the latency counts.
            let unit = roster.share(one, now).max(roster.share(other, now));
            self.cost(other, b, unit, now) < self.cost(one, a, unit, now)
        };
        Some(if is_better { other } else { one })
    }
}

/// How long a slow one of so many instances is left alone, in milliseconds, if together they had so many requests within
/// this time. Pure.
fn pause(requests: u64, millis: u32, instances: usize) -> u32 {
    let fair = u64::from(millis) * instances as u64 / requests.max(1);
    u32::try_from(fair.saturating_mul(PROBED)).unwrap_or(u32::MAX).clamp(QUICK, DOUBT)
}

/// The lower median of the numbers that are not 0, or up to an eighth more: they are counted in classes, eight for each power
/// of two, because sorting them would need room for all. 0 if there is none.
fn median(numbers: impl Iterator<Item = u32>) -> u32 {
    let mut classes = [0_u16; 256];
    let mut count = 0_u32;
    for number in numbers.filter(|number| *number > 0) {
        let class = &mut classes[class(number)];
        *class = class.saturating_add(1);
        count += 1;
    }
    let mut before = 0;
    let found = classes.iter().position(|members| {
        before += u32::from(*members);
        2 * before >= count.max(1)
    });
    found.map_or(0, greatest_of)
}

/// Eight classes for each power of two; below 16 one for each number.
fn class(number: u32) -> usize {
    let shift = number.max(1).ilog2().saturating_sub(3);
    (8 * shift + (number >> shift)) as usize
}

/// The greatest number of a class.
fn greatest_of(class: usize) -> u32 {
    // Below 256, and 8 classes for each of 29 shifts.
    let class = class as u32;
    let shift = (class / 8).saturating_sub(1);
    ((class - 8 * shift) << shift) + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_median_is_the_lower_one_and_counts_only_who_answered() {
        for (numbers, expected) in
            [(&[][..], 0), (&[0, 0], 0), (&[7], 7), (&[1, 15], 1), (&[0, 3, 9, 11], 9), (&[4, 4, 4, 4_000_000_000], 4)]
        {
            assert_eq!(median(numbers.iter().copied()), expected, "{numbers:?}");
        }
    }

    #[test]
    fn slow_ones_are_asked_for_a_part_of_their_share() {
        // Ten instances.
        for (per_second, expected) in
            [(0, DOUBT), (10, DOUBT), (200, DOUBT), (400, 2500), (1000, QUICK), (100_000, QUICK)]
        {
            assert_eq!(pause(per_second, 1000, 10), expected, "{per_second}/s");
            assert_eq!(pause(7 * per_second, 7000, 10), expected, "{per_second}/s");
        }
        assert_eq!(pause(1000, 1000, 40), 4000);
    }

    proptest! {
        #[test]
        fn the_median_is_right_to_an_eighth(mut numbers in prop::collection::vec(1_u32.., 1..50)) {
            let found = median(numbers.iter().copied());
            numbers.sort_unstable();
            let exact = numbers[(numbers.len() - 1) / 2];
            prop_assert!(found >= exact && found - exact <= exact / 8, "{found} for {exact}");
        }

        #[test]
        fn classes_are_in_order(a: u32, b: u32) {
            prop_assert!((class(a) <= class(b)) || a > b);
            prop_assert!(class(a) < 256 && greatest_of(class(a)) >= a);
        }
    }
}
