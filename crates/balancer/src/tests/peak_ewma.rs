//! Choosing by latency: nobody is starved, nobody who fails is taken for quick. In virtual time.

use proptest::prelude::*;

use super::{
    world::{Behaviour, MS, SECOND, World, steady},
    *,
};

fn world(per_second: u64, behaviours: Vec<Behaviour>) -> World {
    World::new(Algorithm::default(), per_second, behaviours)
}

/// The fair share of one of these in a tally.
fn fair(tally: &[u32]) -> f64 {
    f64::from(tally.iter().sum::<u32>()) / tally.len() as f64
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The bound that is promised: below three times the median latency nobody falls under a fifth of its fair share in a
    /// minute, however slow or quick the others are and however many requests there are.
    /// Traefik 12306, 11840.
    #[test]
    fn no_instance_is_starved(
        latencies in prop::collection::vec(prop_oneof![1_u64..10, 20_u64..60, 1_u64..2000], 2..12),
        per_second in prop_oneof![Just(100_u64), Just(500)],
    ) {
        let mut world = world(per_second, latencies.iter().map(|ms| steady(*ms)).collect());
        world.run(10);
        let tally = world.run(60);
        let mut sorted = latencies.clone();
        sorted.sort_unstable();
        let median = sorted[(sorted.len() - 1) / 2];
        for (&ms, &had) in latencies.iter().zip(&tally) {
            if ms < 3 * median {
                prop_assert!(f64::from(had) >= 0.2 * fair(&tally), "{had} for {ms} ms of {latencies:?}: {tally:?}");
            } else {
                prop_assert!(had >= 4, "not one request in 15 s for {ms} ms of {latencies:?}: {tally:?}");
            }
        }
    }
}

/// linkerd 11043.
#[test]
fn what_is_slow_for_everybody_is_held_against_nobody() {
    // One of so many takes so many times as long, at whatever instance; else 5 to 15 ms.
    let varying = |one_of: u32, times: u64| -> Behaviour {
        Box::new(move |_| {
            let ms = fastrand::u64(5..15) * if fastrand::u32(..one_of) == 0 { times } else { 1 };
            (Some(ms * MS), Outcome::Answered(200))
        })
    };
    // Not more seldom than once a minute for each: what one had and no other is not for everybody.
    for (one_of, times, per_second) in
        [(100, 50, 20), (100, 50, 200), (100, 50, 2000), (1000, 500, 200), (1000, 500, 2000)]
    {
        let mut world = world(per_second, (0..10).map(|_| varying(one_of, times)).collect());
        world.run(10);
        let tally = world.run(60);
        let least = f64::from(*tally.iter().min().unwrap()) / fair(&tally);
        assert!(least >= 0.2, "1 of {one_of} {times} times as long at {per_second}/s: {least} {tally:?}");
    }
}

#[test]
fn a_slow_one_is_probed_and_no_more_and_comes_back() {
    // About one in 5 s; a hundredth of its fair share; one a second. Less what each of them takes.
    for (per_second, least, most) in [(100, 8, 13), (500, 20, 31), (2000, 30, 61)] {
        let slow: Behaviour = Box::new(|now| {
            let ms = if now < 100 * SECOND { 500 } else { 10 };
            (Some(ms * MS), Outcome::Answered(200))
        });
        let mut world = world(per_second, (0..9).map(|_| steady(10)).chain([slow]).collect());
        world.run(20);
        let tally = world.run(60);
        assert!((least..=most).contains(&tally[9]), "{per_second}/s: {tally:?}");
        // Well from 100 s on: the next one that goes to see finds out, and another one makes sure.
        world.run(25);
        assert_eq!(world.now() / SECOND, 106);
        let tally = world.run(10);
        assert!(f64::from(tally[9]) > 0.7 * fair(&tally), "{per_second}/s: {tally:?}");
    }
}

#[test]
fn one_that_fails_fast_does_not_look_quick() {
    for (per_second, most) in [(100, 13), (1000, 61), (5000, 61)] {
        let fails: Behaviour = Box::new(|_| (Some(MS), Outcome::Answered(500)));
        let mut world = world(per_second, (0..4).map(|_| steady(20)).chain([fails]).collect());
        let began = world.run(5);
        assert!(f64::from(began[4]) < 0.3 * fair(&began), "{per_second}/s, at first: {began:?}");
        let tally = world.run(60);
        assert!(tally[4] <= most, "{per_second}/s: it is asked now and then: {tally:?}");
    }
}

#[test]
fn one_that_begins_to_fail_loses_its_share_within_seconds() {
    let fails: Behaviour = Box::new(|now| {
        if now < 20 * SECOND { (Some(20 * MS), Outcome::Answered(200)) } else { (Some(MS), Outcome::Answered(503)) }
    });
    let mut world = world(1000, (0..4).map(|_| steady(20)).chain([fails]).collect());
    world.run(19);
    let tally = world.run(5);
    assert!(f64::from(tally[4]) < 0.4 * fair(&tally), "{tally:?}");
    let tally = world.run(10);
    assert!(tally[4] <= 11, "one a second: {tally:?}");
}

#[test]
fn one_that_hangs_gets_few_also_before_anything_timed_out() {
    let hangs: Behaviour =
        Box::new(|now| (if now < 20 * SECOND { Some(20 * MS) } else { None }, Outcome::Answered(200)));
    let mut world = world(1000, (0..4).map(|_| steady(20)).chain([hangs]).collect());
    world.run(19);
    let tally = world.run(10);
    assert!(tally[4] < 40, "{tally:?}");
}

#[test]
fn a_new_one_is_taken_for_typical() {
    // It needs a second for its first answers: nobody has told us that it is slow, and it must not get a flood for it.
    let mut world = world(1000, (0..9).map(|_| steady(50)).collect());
    world.run(10);
    world.candidates.push(candidate(9, 1));
    world.behaviours.push(steady(1000));
    let tally = world.run(1);
    assert!((4..=20).contains(&tally[9]), "{tally:?}");
}

#[test]
fn what_was_learned_survives_a_new_balancer() {
    let mut world = world(500, (0..4).map(|_| steady(10)).chain([steady(500)]).collect());
    world.run(20);
    // Sixty new tables in a minute.
    let had: u32 = (0..60).map(|_| world.run(1)[4]).sum();
    assert!((8..=13).contains(&had), "{had}");
}
