//! New instances under every algorithm.

use super::*;

const SECOND: u64 = 1_000_000_000;

/// Parts of a thousand picks that each candidate gets at this second.
fn shares(algorithm: &Algorithm, candidates: &[Candidate], second: u64) -> Vec<u32> {
    let balance = Balance { slow_start: Some(SlowStart::default()), ..algorithm.clone().into() };
    let balancer = balance.of(candidates.to_vec(), &Place::default());
    let mut tally = vec![0; candidates.len()];
    for number in 0..20_000 {
        let ask = Ask { hash: Some(client(number)), tried: &[], now: Tick(second * SECOND) };
        tally[balancer.pick(&ask).unwrap()] += 1;
    }
    tally.into_iter().map(|had: u32| had / 20).collect()
}

fn seen_at(seconds: &[u64]) -> Vec<Candidate> {
    let seen = |(number, second): (u32, &u64)| Candidate { since: Tick(second * SECOND), ..candidate(number, 1) };
    (0..).zip(seconds).map(seen).collect()
}

/// Envoy 11050, Caddy 7966, linkerd 7277.
#[test]
fn a_new_one_gets_its_share_little_by_little() {
    for algorithm in algorithms() {
        let all = seen_at(&[0, 0, 0, 100]);
        // A tenth, then a half of what the others have; hashing owns arcs of different length.
        for (second, expected) in [(101, 32), (105, 143), (110, 250), (1000, 250)] {
            let had = shares(&algorithm, &all, second);
            let within = expected * if algorithm.hash_key().is_some() { 30 } else { 20 } / 100;
            assert!(had[3].abs_diff(expected) <= within, "{algorithm:?} at {second}: {had:?}");
        }
    }
}

#[test]
fn if_all_are_new_all_are_equal() {
    for algorithm in algorithms() {
        for had in shares(&algorithm, &seen_at(&[100; 4]), 101) {
            assert!(had.abs_diff(250) <= 50, "{algorithm:?}: {had}");
        }
    }
}

#[test]
fn what_was_there_when_the_router_started_is_not_new() {
    for algorithm in algorithms() {
        for had in shares(&algorithm, &seen_at(&[0, 3, 6, 9]), 10) {
            assert!(had.abs_diff(250) <= 50, "{algorithm:?}: {had}");
        }
    }
}

#[test]
fn a_key_moves_to_a_new_one_once_for_all() {
    for scheme in [Scheme::Maglev, Scheme::Ring] {
        let balance = Balance { slow_start: Some(SlowStart::default()), ..hashing(scheme).into() };
        let balancer = balance.of(seen_at(&[0, 0, 0, 100]), &Place::default());
        for number in 0..500 {
            let at = |second| {
                let now = Tick(second * SECOND);
                balancer.pick(&Ask { hash: Some(client(number)), tried: &[], now }).unwrap() == 3
            };
            let moves: Vec<bool> = (100..135).map(at).collect();
            assert!(moves.is_sorted(), "{scheme:?}: to and fro: {moves:?}");
        }
    }
}
