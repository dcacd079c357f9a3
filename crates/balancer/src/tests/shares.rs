//! How much each instance gets.

use std::time::Duration;

use super::*;

/// Checks that no tally is further from its weight's share than this part of that share.
fn check(tally: &[u32], weights: &[u16], within: f64, what: &str) {
    let (picks, sum) = (tally.iter().sum::<u32>(), weights.iter().map(|w| f64::from(*w)).sum::<f64>());
    for (&tally, &weight) in tally.iter().zip(weights) {
        let exact = f64::from(picks) * f64::from(weight) / sum;
        let off = (f64::from(tally) - exact).abs();
        assert!(off <= within * exact, "{what}: {tally} for weight {weight} of {weights:?}, expected {exact}");
    }
}

#[test]
fn round_robin_is_exact_over_a_round() {
    for weights in [vec![1; 7], vec![5, 1, 1], vec![100, 200, 300, 0], vec![3; 256]] {
        let least = weights.iter().copied().filter(|w| *w > 0).min().unwrap();
        let round: u32 = weights.iter().map(|w| u32::from(w / least)).sum();
        let balancer = Algorithm::RoundRobin.build(candidates(&weights), &Place::default());
        for _ in 0..3 {
            check(&tally(&*balancer, weights.len(), round), &weights, 0.0, "round robin");
        }
    }
}

#[test]
fn the_turns_of_one_that_rests_go_to_all_others() {
    let all = candidates(&[1; 4]);
    rest(&all[1]);
    let balancer = Algorithm::RoundRobin.build(all, &Place::default());
    let tally = tally(&*balancer, 4, 3000);
    check(&[tally[0], tally[2], tally[3]], &[1; 3], 0.01, "one rests");
}

/// Those that draw.
const DRAWING: [Algorithm; 3] = [Algorithm::LeastRequests, Algorithm::PeakEwma(Decay::STANDARD), Algorithm::Random];

#[test]
fn equal_instances_get_equal_shares() {
    for (algorithm, count) in DRAWING.iter().flat_map(|a| [2, 3, 10, 50].map(|count| (a, count))) {
        let weights = vec![1; count];
        let balancer = algorithm.build(candidates(&weights), &Place::default());
        check(&tally(&*balancer, count, 100_000), &weights, 0.1, algorithm.name());
    }
}

#[test]
fn weights_are_shares_also_when_idle() {
    for algorithm in &DRAWING {
        for weights in [vec![9, 1], vec![1, 2, 3, 4], vec![100, 100, 10]] {
            let balancer = algorithm.build(candidates(&weights), &Place::default());
            check(&tally(&*balancer, weights.len(), 100_000), &weights, 0.1, algorithm.name());
        }
    }
}

#[test]
fn resting_ones_share_too_when_all_rest() {
    let weights = [1, 2, 3];
    let all = candidates(&weights);
    all.iter().for_each(rest);
    let balancer = Algorithm::LeastRequests.build(all, &Place::default());
    check(&tally(&*balancer, 3, 50_000), &weights, 0.05, "all rest");
}

/// A simulation: each pick begins a request, and the oldest of `open` ends.
#[test]
fn weights_are_shares_under_load() {
    let cases = [(vec![1; 10], 100), (vec![1, 2, 3, 4], 200), (vec![4, 1], 50)];
    for (algorithm, (weights, open)) in DRAWING.iter().flat_map(|a| cases.iter().map(move |case| (a, case))) {
        let candidates = candidates(weights);
        let balancer = algorithm.build(candidates.clone(), &Place::default());
        let mut tally = vec![0; weights.len()];
        let mut running = std::collections::VecDeque::new();
        for _ in 0..100_000 {
            let at = balancer.pick(&ask(None)).unwrap();
            tally[at] += 1;
            candidates[at].vitals.begin();
            running.push_back(at);
            if running.len() > *open {
                let over = running.pop_front().unwrap();
                end(&candidates[over].vitals, Outcome::Answered(200), Duration::from_millis(10), NOW);
            }
        }
        check(&tally, weights, 0.1, algorithm.name());
    }
}

#[test]
fn the_busier_of_two_is_never_chosen() {
    let candidates = candidates(&[1, 1]);
    candidates[0].vitals.begin();
    let balancer = Algorithm::LeastRequests.build(candidates, &Place::default());
    assert_eq!(tally(&*balancer, 2, 1000), [0, 1000]);
}

#[test]
fn load_is_counted_by_weight() {
    let candidates = candidates(&[10, 1]);
    (0..5).for_each(|_| candidates[0].vitals.begin());
    candidates[1].vitals.begin();
    let balancer = Algorithm::LeastRequests.build(candidates, &Place::default());
    assert_eq!(tally(&*balancer, 2, 1000), [1000, 0]);
}

#[test]
fn usable_ones_share_evenly_when_most_rest() {
    let all = candidates(&[1; 10]);
    all.iter().filter(|c| ![3, 4].contains(&c.key.0)).for_each(rest);
    let balancer = Algorithm::LeastRequests.build(all, &Place::default());
    let tally = tally(&*balancer, 10, 20_000);
    check(&tally[3..5], &[1, 1], 0.05, "most rest");
}

/// Shares of keys, where `maglev` and `ring` test shares of the table: chance is in it.
#[test]
fn hashed_keys_spread_as_widely_as_promised() {
    for (scheme, count, within) in [(Scheme::Maglev, 10, 0.04), (Scheme::Ring, 10, 0.15), (Scheme::Ring, 50, 0.15)] {
        let weights = vec![1; count];
        let balancer = hashing(scheme).build(candidates(&weights), &Place::default());
        check(&tally(&*balancer, count, 200_000), &weights, within, &format!("{scheme:?} {count}"));
    }
}

#[test]
fn hashed_weights_are_shares() {
    let weights = [1, 2, 3, 4];
    for (scheme, within) in [(Scheme::Maglev, 0.04), (Scheme::Ring, 0.15)] {
        let balancer = hashing(scheme).build(candidates(&weights), &Place::default());
        check(&tally(&*balancer, weights.len(), 200_000), &weights, within, &format!("{scheme:?}"));
    }
}

#[test]
fn requests_without_a_key_go_by_least_requests() {
    let candidates = candidates(&[1, 1]);
    candidates[1].vitals.begin();
    for scheme in [Scheme::Maglev, Scheme::Ring] {
        let balancer = hashing(scheme).build(candidates.clone(), &Place::default());
        assert!((0..100).all(|_| balancer.pick(&ask(None)) == Some(0)), "{scheme:?}");
    }
}

#[test]
fn a_retry_takes_no_turn() {
    let all = candidates(&[1, 1]);
    let balancer = Algorithm::RoundRobin.build(all.clone(), &Place::default());
    let mut firsts = [0; 2];
    for _ in 0..100 {
        let first = balancer.pick(&ask(None)).unwrap();
        firsts[first] += 1;
        // One of them fails, and its requests go to the other.
        if first == 0 {
            assert_eq!(balancer.pick(&Ask { tried: &[all[0].key], ..ask(None) }), Some(1));
        }
    }
    assert_eq!(firsts, [50, 50]);
}
