//! Live state under outcomes and under threads.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use super::*;
use crate::{Admission, Totals};

const MS: Duration = Duration::from_millis(1);

fn ended(outcome: Outcome) -> Vitals {
    let vitals = Vitals::default();
    vitals.begin();
    end(&vitals, outcome, 10 * MS, NOW);
    vitals
}

#[test]
fn each_outcome_counts_as_what_it_is() {
    // Nothing but a failure known: as slow as that.
    let failed = Some(1000 * MS);
    for (outcome, failures, admits, latency) in [
        (Outcome::Answered(200), 0, true, Some(10 * MS)),
        (Outcome::Answered(404), 0, true, Some(10 * MS)),
        (Outcome::Answered(500), 0, true, failed),
        (Outcome::ConnectFailed, 1, false, None),
        (Outcome::Refused, 1, true, failed),
        (Outcome::Reset, 1, true, failed),
        (Outcome::TimedOut, 1, true, Some(10 * MS)),
        (Outcome::Protocol, 1, true, failed),
        (Outcome::Abandoned, 0, true, Some(10 * MS)),
    ] {
        let vitals = ended(outcome);
        assert_eq!(vitals.totals(), Totals { requests: 1, failures }, "{outcome:?}");
        assert_eq!(vitals.admits(NOW), admits, "{outcome:?}");
        assert_eq!(vitals.latency(), latency, "{outcome:?}");
        assert_eq!(vitals.in_flight(), 0, "{outcome:?}");
    }
}

#[test]
fn an_abandoned_attempt_never_lowers_the_average() {
    let vitals = ended(Outcome::Answered(200));
    for (age, expected) in [(MS, 10 * MS), (900 * MS, 900 * MS)] {
        vitals.begin();
        end(&vitals, Outcome::Abandoned, age, Tick(NOW.0 * 100));
        assert_eq!(vitals.latency(), Some(expected));
    }
}

#[test]
fn a_probe_is_one_request_and_every_end_of_it_is_an_end() {
    let later = NOW.after(Duration::from_secs(2));
    for outcome in [Outcome::Abandoned, Outcome::Refused] {
        let vitals = ended(Outcome::ConnectFailed);
        assert!(!enters(&vitals, NOW));
        assert!(enters(&vitals, later));
        assert!(matches!(vitals.state(later), Admission::Probing { .. }));
        assert_eq!(vitals.in_flight(), 1);
        assert!(!enters(&vitals, later));
        end(&vitals, outcome, 5 * MS, later.after(5 * MS));
        assert_eq!(vitals.in_flight(), 0);
        let next = later.after(Duration::from_secs(1));
        assert!(!enters(&vitals, later.after(6 * MS)) && enters(&vitals, next), "{outcome:?}");
        end(&vitals, Outcome::Answered(200), MS, next.after(MS));
        assert_eq!(vitals.state(next), Admission::In);
    }
}

#[test]
fn an_end_too_many_does_not_wrap() {
    let vitals = ended(Outcome::Answered(200));
    end(&vitals, Outcome::Answered(200), MS, NOW);
    assert_eq!(vitals.in_flight(), 0);
}

#[test]
fn in_flight_is_exact_under_threads_and_never_more_than_there_are() {
    const THREADS: u32 = 4;
    let vitals = Vitals::default();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS)
            .map(|worker| {
                let vitals = &vitals;
                scope.spawn(move || {
                    for number in 0..20_000_u32 {
                        let now = Tick(u64::from(number) * 1_000_000);
                        if !enters(vitals, now) {
                            vitals.begin();
                        }
                        let outcome = match (number + worker) % 5 {
                            0 => Outcome::ConnectFailed,
                            1 => Outcome::Abandoned,
                            _ => Outcome::Answered(200),
                        };
                        end(vitals, outcome, MS, now);
                    }
                })
            })
            .collect();
        // A wrapped counter would be read as about four thousand million.
        let reader = scope.spawn(|| {
            let mut highest = 0;
            while !over.load(Ordering::Relaxed) {
                highest = highest.max(vitals.in_flight());
            }
            highest
        });
        workers.into_iter().for_each(|w| w.join().unwrap());
        over.store(true, Ordering::Relaxed);
        assert!(reader.join().unwrap() <= THREADS);
    });
    assert_eq!(vitals.in_flight(), 0);
    assert_eq!(vitals.totals(), Totals { requests: 80_000, failures: 16_000 });
}

#[test]
fn with_the_counts_of_its_arc_it_fills_one_cache_line() {
    assert_eq!(size_of::<Vitals>() + 2 * size_of::<usize>(), 64);
}

#[test]
fn what_is_not_sent_counts_nowhere_and_its_turn_is_the_next_one_s() {
    let vitals = ended(Outcome::ConnectFailed);
    let later = NOW.after(Duration::from_secs(2));
    let before = vitals.totals();
    for _ in 0..3 {
        assert_ne!(vitals.try_begin(1, later, || Stake::Nothing), Entry::Barred);
        assert_eq!(vitals.try_begin(2, later, || Stake::Nothing), Entry::Barred, "one tries it");
        vitals.forgo(later, later);
    }
    assert_eq!((vitals.totals(), vitals.in_flight()), (before, 0));
}
