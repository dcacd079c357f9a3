//! hot path
//!
//! How many retries a service may get: a share of its requests, so that retries never multiply an outage.

use std::{
    ops::RangeInclusive,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use model::Tick;

/// Most seconds that can be looked back on.
const LONGEST: usize = 30;

/// What retries a service may get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Retries for every hundred requests of the window.
    pub percent: u32,
    /// Retries in each second whatever the share says, for services with few requests.
    pub floor: u32,
    /// Seconds that are looked back on, 1 to 30.
    pub window: u32,
}

impl Allowance {
    /// A fifth of the requests of ten seconds: long enough to bridge a restart, short enough that the requests of a good time
    /// do not pay for the retries of a bad one. And ten a second, so that a service with few requests may be retried at all.
    pub const STANDARD: Self = Self { percent: 20, floor: 10, window: 10 };

    /// What `window` can be.
    pub const WINDOWS: RangeInclusive<u32> = 1..=LONGEST as u32;
}

/// Counts the requests and retries of one service, second by second.
///
/// Over any time, retries are at most `percent` of the requests or `floor` for each second, whichever is more, and one
/// second's `floor` besides. So in a total outage a service gets at most 1 + max(percent / 100, floor / rate) times its
/// requests.
#[derive(Debug, Default)]
pub struct Budget {
    /// One word for each second, so that a second's end and its counts are seen as one.
    seconds: [AtomicU64; LONGEST],
    retries: AtomicU64,
    refused: AtomicU64,
}

/// What became of all retries so far, for the admin page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retries {
    /// Retries that were allowed.
    pub allowed: u64,
    /// Those that were not, because the budget was spent.
    pub refused: u64,
}

/// The counts of one second: from the highest bit its number (20 bits, twelve days), requests (24) and retries (20).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Second {
    number: u64,
    requests: u64,
    retries: u64,
}

const RETRIES: u32 = 20;
const REQUESTS: u32 = 24;
const NUMBERS: u64 = 1 << (64 - RETRIES - REQUESTS);

/// Above this a second's retries are not counted any more but refused: far from where the field would overflow.
const MOST: u64 = 1 << (RETRIES - 1);

impl Budget {
    /// A request comes. One atomic addition.
    pub fn request(&self, now: Tick) {
        self.current(now).fetch_add(1 << RETRIES, Relaxed);
    }

    /// Asks for a retry, and takes it if it may be. Cores that ask at the same time may both be refused the last one;
    /// never do both get it.
    #[must_use]
    pub fn retry(&self, allowance: Allowance, now: Tick) -> bool {
        let current = self.current(now);
        let second = Second::of(current.fetch_add(1, Relaxed));
        let allowed = second.retries < MOST && {
            let (requests, retries) = self.sum(allowance.window, now);
            second.retries < u64::from(allowance.floor) || retries * 100 <= requests * u64::from(allowance.percent)
        };
        if allowed {
            self.retries.fetch_add(1, Relaxed);
        } else {
            current.fetch_sub(1, Relaxed);
            self.refused.fetch_add(1, Relaxed);
        }
        allowed
    }

    /// What became of all retries so far.
    #[must_use]
    pub fn totals(&self) -> Retries {
        Retries { allowed: self.retries.load(Relaxed), refused: self.refused.load(Relaxed) }
    }

    /// The word of this second, empty if it held one that is past.
    fn current(&self, now: Tick) -> &AtomicU64 {
        let number = number(now);
        let word = &self.seconds[(seconds(now) % LONGEST as u64) as usize];
        let old = word.load(Relaxed);
        if Second::of(old).number != number {
            // Lost only to another core that does the same.
            let _ = word.compare_exchange(old, Second { number, ..Second::default() }.word(), Relaxed, Relaxed);
        }
        word
    }

    /// Requests and retries of the window.
    fn sum(&self, window: u32, now: Tick) -> (u64, u64) {
        let number = number(now);
        self.seconds
            .iter()
            .map(|word| Second::of(word.load(Relaxed)))
            // One of a core whose clock was read a little later counts as well.
            .filter(|s| (number.wrapping_sub(s.number).wrapping_add(1)) % NUMBERS <= window.into())
            .fold((0, 0), |(requests, retries), s| (requests + s.requests, retries + s.retries))
    }
}

impl Second {
    fn of(word: u64) -> Self {
        Self {
            number: word >> (RETRIES + REQUESTS),
            requests: word >> RETRIES & ((1 << REQUESTS) - 1),
            retries: word & ((1 << RETRIES) - 1),
        }
    }

    fn word(self) -> u64 {
        self.number << (RETRIES + REQUESTS) | self.requests << RETRIES | self.retries
    }
}

fn seconds(now: Tick) -> u64 {
    now.0 / 1_000_000_000
}

fn number(now: Tick) -> u64 {
    seconds(now) % NUMBERS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Tick {
        Tick(millis * 1_000_000)
    }

    /// Every request fails and asks for `tries` retries. Returns how many retries there were.
    fn outage(budget: &Budget, allowance: Allowance, rate: u64, seconds: u64, tries: u64) -> u64 {
        let mut retries = 0;
        for n in 0..rate * seconds {
            let now = at(n * 1000 / rate);
            budget.request(now);
            retries += (0..tries).filter(|_| budget.retry(allowance, now)).count() as u64;
        }
        retries
    }

    #[test]
    fn a_busy_service_gets_its_share_and_a_quiet_one_the_floor() {
        for (rate, seconds, most) in [(1000, 20, 4000 + 10), (50, 20, 200 + 10), (20, 20, 200), (2, 30, 180)] {
            let budget = Budget::default();
            let retries = outage(&budget, Allowance::STANDARD, rate, seconds, 3);
            assert!(retries <= most, "{retries} at {rate}/s");
            assert!(retries * 10 >= most * 9, "{retries} at {rate}/s");
            assert_eq!(budget.totals().allowed, retries);
        }
    }

    #[test]
    fn what_is_past_does_not_count() {
        let (budget, none) = (Budget::default(), Allowance { floor: 0, ..Allowance::STANDARD });
        (0..100).for_each(|_| budget.request(at(0)));
        assert!((0..20).all(|_| budget.retry(none, at(9_000))));
        assert!(!budget.retry(none, at(9_000)), "a fifth");
        (0..100).for_each(|_| budget.request(at(11_000)));
        assert!(!budget.retry(none, at(11_000)), "the retries are of the last ten seconds");
        assert!(budget.retry(none, at(20_000)));
        assert_eq!(budget.totals(), Retries { allowed: 21, refused: 2 });
    }

    #[test]
    fn another_window_looks_back_as_far_as_it_says() {
        for (window, last) in [(1, 0), (10, 9), (30, 29)] {
            let budget = Budget::default();
            (0..100).for_each(|_| budget.request(at(0)));
            let allowance = Allowance { floor: 0, window, ..Allowance::STANDARD };
            assert!(budget.retry(allowance, at(last * 1000)), "{window}");
            assert!(!budget.retry(allowance, at((last + 2) * 1000)), "{window}");
        }
    }

    #[test]
    fn nothing_is_allowed_where_nothing_is_granted() {
        let (budget, none) = (Budget::default(), Allowance { percent: 0, floor: 0, ..Allowance::STANDARD });
        assert_eq!(outage(&budget, none, 100, 3, 1), 0);
        assert_eq!(budget.totals().refused, 300);
    }

    #[test]
    fn the_numbers_of_seconds_wrap_without_a_trace() {
        let (budget, none) = (Budget::default(), Allowance { percent: 100, floor: 0, ..Allowance::STANDARD });
        let wrap = NUMBERS * 1000;
        budget.request(at(wrap - 1));
        assert!(budget.retry(none, at(wrap + 1)));
        assert!(!budget.retry(none, at(wrap + 1)));
    }

    #[test]
    fn cores_share_one_budget() {
        let budget = Budget::default();
        (0..1000).for_each(|_| budget.request(at(0)));
        let took = std::thread::scope(|scope| {
            let ask =
                || (0..1000).filter(|_| budget.retry(Allowance { floor: 0, ..Allowance::STANDARD }, at(0))).count();
            let cores = [scope.spawn(ask), scope.spawn(ask), scope.spawn(ask), scope.spawn(ask)];
            cores.map(|core| core.join().unwrap()).iter().sum::<usize>()
        });
        assert!((190..=200).contains(&took), "{took}");
    }

    proptest! {
        #[test]
        fn an_outage_is_never_multiplied_by_more_than_the_allowance(
            percent in 0_u32..100, floor in 0_u32..50, window in Allowance::WINDOWS, rate in 1_u64..300, seconds in 1_u64..25, tries in 1_u64..4,
        ) {
            let allowance = Allowance { percent, floor, window };
            let retries = outage(&Budget::default(), allowance, rate, seconds, tries);
            let granted = u64::max(u64::from(percent) * rate * seconds / 100, u64::from(floor) * seconds);
            prop_assert!(retries <= granted + u64::from(floor), "{retries} of {granted}");
        }

        #[test]
        fn at_any_rhythm_a_window_holds_no_more_than_its_share_and_its_floors(
            steps in proptest::collection::vec((0_u64..1500, any::<bool>()), 1..400),
        ) {
            let (budget, allowance) = (Budget::default(), Allowance { floor: 2, ..Allowance::STANDARD });
            let (mut now, mut requests, mut retries) = (0, vec![], vec![]);
            for (step, request) in steps {
                now += step;
                if request {
                    budget.request(at(now));
                    requests.push(now);
                } else if budget.retry(allowance, at(now)) {
                    retries.push(now);
                }
                let since = (now / 1000).saturating_sub(9) * 1000;
                let count = |list: &[u64]| list.iter().filter(|t| **t >= since).count() as f64;
                let floors = (now / 1000 - since / 1000 + 1) as f64 * 2.0;
                let before = requests.iter().filter(|t| **t + 20_000 >= now).count() as f64;
                prop_assert!(count(&retries) <= before * 0.2 + floors + 1.0);
            }
        }
    }
}
