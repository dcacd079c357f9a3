//! What every algorithm promises, whatever it chooses by.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

/// One candidate of the tests below, as proptest invents it.
#[derive(Debug, Clone, Copy)]
struct State {
    weight: u16,
    rests: bool,
    tried: bool,
    in_flight: u8,
}

impl State {
    /// What the documentation of [`Balancer`] demands, smallest first; `None`: never.
    fn rank(self, weighted: bool) -> Option<(bool, bool)> {
        (!self.tried).then_some((self.rests, weighted && self.weight == 0))
    }
}

fn states() -> impl Strategy<Value = Vec<State>> {
    let weight = prop_oneof![2 => Just(1_u16), 1 => Just(0), 2 => 0_u16..=1000, 1 => Just(u16::MAX)];
    let state = (weight, any::<bool>(), any::<bool>(), any::<u8>())
        .prop_map(|(weight, rests, tried, in_flight)| State { weight, rests, tried, in_flight });
    prop::collection::vec(state, 0..12)
}

fn set_up(states: &[State]) -> Vec<Candidate> {
    let weights: Vec<_> = states.iter().map(|s| s.weight).collect();
    let candidates: Vec<_> = (0..).zip(&weights).map(|(number, &weight)| placed(number, weight)).collect();
    for (candidate, state) in candidates.iter().zip(states) {
        if state.rests {
            rest(candidate);
        }
        (0..state.in_flight).for_each(|_| candidate.vitals.begin());
    }
    candidates
}

/// Candidate `number` in one of three groups, in one of two zones, and new if it is even.
fn placed(number: u32, weight: u16) -> Candidate {
    let placed = with(candidate(number, weight), |instance| {
        instance.zone = (number % 4 != 3).then(|| if number.is_multiple_of(2) { "a" } else { "b" }.into());
        instance.labels = [("priority".into(), (number % 3).to_string().into())].into();
    });
    let since = if number.is_multiple_of(2) { Tick(0) } else { NOW };
    Candidate { since, ..placed }
}

proptest! {
    /// Untried always, admitted first, weighted before weight 0; `None` only if all were tried.
    #[test]
    fn the_choice_is_of_the_best_rank_there_is(
        states in states(),
        hash in any::<Option<u64>>(),
        near in 0_u32..12,
    ) {
        let candidates = set_up(&states);
        let tried: Vec<_> =
            candidates.iter().zip(&states).filter(|(_, s)| s.tried).map(|(c, _)| c.key).collect();
        let weighted = states.iter().any(|s| s.weight > 0);
        let best = states.iter().filter_map(|s| s.rank(weighted)).min();
        for algorithm in balances() {
            let balancer = algorithm.of(candidates.clone(), &place_of(near));
            for _ in 0..20 {
                let picked = balancer.pick(&Ask { hash, tried: &tried, now: NOW });
                let rank = picked.and_then(|at| states[at].rank(weighted));
                prop_assert_eq!(picked.is_some(), best.is_some(), "{:?}", algorithm);
                prop_assert_eq!(rank, best, "{:?}", algorithm);
            }
        }
    }

    /// Retrying with what was tried reaches every candidate exactly once, then ends.
    #[test]
    fn retries_reach_everyone_once(states in states(), hash in any::<Option<u64>>()) {
        let candidates = set_up(&states);
        for algorithm in balances() {
            let balancer = algorithm.of(candidates.clone(), &place_of(0));
            let mut tried = Vec::new();
            while let Some(at) = balancer.pick(&Ask { hash, tried: &tried, now: NOW }) {
                tried.push(candidates[at].key);
                prop_assert!(tried.len() <= candidates.len(), "{:?} repeats", algorithm);
            }
            prop_assert_eq!(tried.iter().collect::<HashSet<_>>().len(), candidates.len(), "{:?}", algorithm);
        }
    }

    /// Distance decides among the best rank.
    #[test]
    fn the_near_one_is_chosen_if_none_is_of_better_rank(states in states(), near in 0_u32..12) {
        let balancer = Algorithm::LocalFirst.over(set_up(&states), &place_of(near), None);
        let weighted = states.iter().any(|s| s.weight > 0);
        let states: Vec<_> = states.iter().map(|s| State { tried: false, ..*s }).collect();
        let best = states.iter().filter_map(|s| s.rank(weighted)).min();
        if let Some(local) = states.get(near as usize).filter(|s| s.rank(weighted) == best) {
            prop_assert_eq!(balancer.pick(&ask(None)), Some(near as usize), "{:?}", local);
        }
    }
}

/// The place of candidate `number`.
fn place_of(number: u32) -> Place {
    Place { addresses: vec![IpAddr::from((0x0A00_0000 + number).to_be_bytes())], zone: Some("a".into()) }
}

#[test]
fn none_of_none_and_one_of_one() {
    for algorithm in balances() {
        for hash in [None, Some(0), Some(u64::MAX)] {
            let none = algorithm.of(Vec::new(), &Place::default());
            assert_eq!(none.pick(&ask(hash)), None, "{algorithm:?}");
            let one = candidates(&[0]);
            rest(&one[0]);
            let one = algorithm.of(one, &Place::default());
            assert_eq!(one.pick(&ask(hash)), Some(0), "{algorithm:?}");
            let tried = Ask { tried: &[UpstreamKey(0)], ..ask(hash) };
            assert_eq!(one.pick(&tried), None, "{algorithm:?}");
        }
    }
}

#[test]
fn the_only_usable_one_of_very_many_is_found() {
    let candidates: Vec<_> = (0..1000).map(|number| placed(number, 1)).collect();
    candidates.iter().filter(|c| c.key != UpstreamKey(777)).for_each(rest);
    for algorithm in balances() {
        let balancer = algorithm.of(candidates.clone(), &place_of(0));
        for number in 0..50 {
            assert_eq!(balancer.pick(&ask(Some(client(number)))), Some(777), "{algorithm:?}");
        }
    }
}
