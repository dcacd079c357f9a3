//! Consistent hashing with bounded loads.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn bounded(scheme: Scheme, percent: u32) -> Algorithm {
    Algorithm::ConsistentHash(ConsistentHash { key: HashKey::ClientAddress, scheme, bound: Some(percent) })
}

const SCHEMES: [Scheme; 2] = [Scheme::Maglev, Scheme::Ring];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// No instance has more than the factor times its fair part, and one more, however requests come and go.
    #[test]
    fn no_instance_has_more_than_its_bound(
        weights in prop::collection::vec(1_u16..5, 1..12),
        percent in 101_u32..300,
        steps in prop::collection::vec((0_u32..6, any::<bool>()), 1..200),
    ) {
        for scheme in SCHEMES {
            let all = candidates(&weights);
            let balancer = bounded(scheme, percent).build(all.clone(), &Place::default());
            let sum: f64 = weights.iter().map(|w| f64::from(*w)).sum();
            let mut running = Vec::new();
            for &(key, ends) in &steps {
                if ends && !running.is_empty() {
                    let at: usize = running.remove(0);
                    end(&all[at].vitals, Outcome::Answered(200), Duration::ZERO, NOW);
                }
                let at = balancer.pick(&ask(Some(client(key)))).unwrap();
                all[at].vitals.begin();
                running.push(at);
                let fair = running.len() as f64 * f64::from(weights[at]) / sum;
                let most = f64::from(percent) / 100.0 * fair + 1.0;
                prop_assert!(f64::from(all[at].vitals.in_flight()) <= most, "{scheme:?}: above {most}");
            }
        }
    }
}

#[test]
fn a_bound_moves_no_key_while_nobody_is_busy() {
    for scheme in SCHEMES {
        let all = candidates(&[1; 10]);
        let [free, bounded] = [hashing(scheme), bounded(scheme, 125)].map(|a| a.build(all.clone(), &Place::default()));
        for number in 0..2000 {
            let ask = ask(Some(client(number)));
            assert_eq!(free.pick(&ask), bounded.pick(&ask), "{scheme:?}");
        }
    }
}

#[test]
fn only_keys_of_the_busy_one_move_and_go_where_they_went_without_it() {
    for scheme in SCHEMES {
        let all = candidates(&[1; 10]);
        let [free, bounded] = [hashing(scheme), bounded(scheme, 125)].map(|a| a.build(all.clone(), &Place::default()));
        (0..50).for_each(|_| all[4].vitals.begin());
        let mut moved = 0;
        for number in 0..2000 {
            let home = free.pick(&ask(Some(client(number)))).unwrap();
            let tried = [all[4].key];
            let next = free.pick(&Ask { tried: &tried, ..ask(Some(client(number))) });
            let expected = if home == 4 { next } else { Some(home) };
            assert_eq!(bounded.pick(&ask(Some(client(number)))), expected, "{scheme:?}");
            moved += usize::from(home == 4);
        }
        assert!(moved > 100, "{moved}");
    }
}

#[test]
fn very_many_instances_are_bounded_by_a_recent_look() {
    let all = candidates(&[1; 200]);
    let balancer = bounded(Scheme::Maglev, 125).build(all.clone(), &Place::default());
    // All requests have one key; a millisecond between two.
    for number in 0..2000_u64 {
        let at = balancer.pick(&Ask { now: Tick(NOW.0 + number * 1_000_000), ..ask(Some(client(1))) }).unwrap();
        all[at].vitals.begin();
    }
    let most = all.iter().map(|c| c.vitals.in_flight()).max().unwrap();
    assert!(most <= 14, "{most} of 2000 on one of 200");
}
