//! Groups that take over for each other, and zones.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{Hold, Usage};

/// Percent of picks in each of the groups that `group` tells.
fn percent(balance: &Balance, candidates: &[Candidate], place: &Place, group: impl Fn(usize) -> usize) -> Vec<u32> {
    let balancer = balance.of(candidates.to_vec(), place);
    let mut tally = vec![0; 3];
    for number in 0..20_000 {
        tally[group(balancer.pick(&ask(Some(client(number)))).unwrap())] += 1;
    }
    tally.into_iter().map(|had: u32| (had + 100) / 200).collect()
}

fn check(found: &[u32], expected: [u32; 3], what: &str) {
    let near = found.iter().zip(expected).all(|(found, expected)| found.abs_diff(expected) <= 3);
    assert!(near, "{what}: {found:?}, expected {expected:?}");
}

/// Thirty, ten in each group of the metadata `priority`: the first ten have none.
fn thirty() -> Vec<Candidate> {
    let priority = |number: u32| {
        with(candidate(number, 1), |instance| {
            if number >= 10 {
                instance.labels = [("priority".into(), (number / 10 * 5).to_string().into())].into();
            }
            instance.tags = [Tag::new(["blue", "green", "red"][number as usize / 10]).unwrap()].into();
        })
    };
    (0..30).map(priority).collect()
}

#[test]
fn a_group_spills_into_the_next_what_it_is_not_well_enough_for() {
    for algorithm in algorithms() {
        for (resting, expected) in [
            (&[][..], [100, 0, 0]),
            (&[0, 1], [100, 0, 0]),
            (&[0, 1, 2, 3, 4], [70, 30, 0]),
            (&[0, 1, 2, 3, 4, 5, 6, 7], [28, 72, 0]),
            (&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [0, 100, 0]),
            (&[0, 1, 2, 3, 4, 10, 11, 12, 13, 14, 15, 16, 17, 18], [70, 14, 16]),
        ] {
            let all = thirty();
            resting.iter().for_each(|&at: &usize| rest(&all[at]));
            let found = percent(&algorithm.clone().into(), &all, &Place::default(), |at| at / 10);
            check(&found, expected, &format!("{algorithm:?} without {resting:?}"));
        }
    }
}

#[test]
fn where_nobody_is_well_enough_each_gets_what_it_can_bear() {
    let all = thirty();
    all.iter().filter(|c| c.key.0 % 10 != 0).for_each(rest);
    let found = percent(&Algorithm::default().into(), &all, &Place::default(), |at| at / 10);
    check(&found, [33, 33, 33], "one of ten in each");
    rest(&all[0]);
    let found = percent(&Algorithm::default().into(), &all, &Place::default(), |at| at / 10);
    check(&found, [0, 50, 50], "none in the first");
}

#[test]
fn tags_that_the_service_lists_go_before_metadata() {
    let tag = |name| Tag::new(name).unwrap();
    let balance = Balance { failover: [tag("green"), tag("blue")].into(), ..Balance::default() };
    let all = thirty();
    check(&percent(&balance, &all, &Place::default(), |at| at / 10), [0, 100, 0], "green");
    all[10..20].iter().for_each(rest);
    check(&percent(&balance, &all, &Place::default(), |at| at / 10), [100, 0, 0], "blue");
    all[..10].iter().for_each(rest);
    check(&percent(&balance, &all, &Place::default(), |at| at / 10), [0, 0, 100], "the others");
}

/// As many in zones a, b and c.
fn zones(counts: [u32; 3]) -> (Vec<Candidate>, Place) {
    let names = ["a", "b", "c"].iter().zip(counts).flat_map(|(zone, count)| (0..count).map(move |_| *zone));
    let zoned = |(number, zone): (u32, &str)| with(candidate(number, 1), |i| i.zone = Some(zone.into()));
    ((0..).zip(names).map(zoned).collect(), Place { addresses: Vec::new(), zone: Some("a".into()) })
}

#[test]
fn a_zone_serves_its_own_as_long_as_it_is_large_and_well_enough() {
    let balance = Balance { prefer_zone: true, ..Balance::default() };
    for (counts, resting, expected) in [
        ([10, 10, 10], 0, [100, 0, 0]),
        ([10, 10, 10], 2, [100, 0, 0]),
        ([10, 10, 10], 5, [70, 15, 15]),
        ([10, 10, 10], 10, [0, 50, 50]),
        // A tenth of all instances cannot bear a third of all requests: 1.4 * 3 / 10.
        ([2, 9, 9], 0, [42, 29, 29]),
        ([2, 2, 2], 1, [70, 15, 15]),
        ([5, 0, 0], 2, [100, 0, 0]),
    ] {
        let (all, place) = zones(counts);
        all[..resting].iter().for_each(rest);
        let zone =
            |at: usize| usize::from(at >= counts[0] as usize) + usize::from(at >= (counts[0] + counts[1]) as usize);
        check(&percent(&balance, &all, &place, zone), expected, &format!("{counts:?} without {resting}"));
    }
    let (all, _) = zones([10, 10, 10]);
    check(&percent(&balance, &all, &Place::default(), |at| at / 10), [33, 33, 33], "no zone of our own");
    let off = Balance::default();
    let (all, place) = zones([10, 10, 10]);
    check(&percent(&off, &all, &place, |at| at / 10), [33, 33, 33], "off");
}

#[test]
fn zones_are_looked_at_within_a_group() {
    let balance = Balance { prefer_zone: true, ..Balance::default() };
    let (all, place) = zones([10, 10, 0]);
    // Those of our zone are for later.
    let later = |at: usize, c: Candidate| {
        if at < 10 { with(c, |i| i.labels = [("priority".into(), "1".into())].into()) } else { c }
    };
    let all: Vec<_> = all.into_iter().enumerate().map(|(at, c)| later(at, c)).collect();
    check(&percent(&balance, &all, &place, |at| at / 10), [0, 100, 0], "group before zone");
}

#[test]
fn a_key_keeps_its_instance_while_a_group_spills() {
    for scheme in [Scheme::Maglev, Scheme::Ring] {
        let all = thirty();
        all[..5].iter().for_each(rest);
        let balancer = hashing(scheme).build(all, &Place::default());
        for number in 0..200 {
            let pick = || balancer.pick(&ask(Some(client(number))));
            assert_eq!(pick(), pick(), "{scheme:?}");
        }
    }
}

#[test]
fn what_has_no_weight_or_stands_by_is_not_reached() {
    for algorithm in algorithms() {
        let mut all = thirty();
        all[9].weight = 0;
        let later = Tick(NOW.0 + 200_000_000);
        let balancer = Balance::from(algorithm.clone()).of(all.clone(), &Place::default());
        let reached = |now| (0..30).filter(|at| balancer.reaches(*at, &Ask { now, ..ask(None) })).collect::<Vec<_>>();
        assert_eq!(reached(NOW), (0..9).collect::<Vec<_>>(), "{algorithm:?}");
        all[..4].iter().for_each(rest);
        assert_eq!(reached(later), (4..9).chain(10..20).collect::<Vec<_>>(), "{algorithm:?}: the first group spills");
        all[4..10].iter().for_each(rest);
        assert_eq!(reached(later), (10..20).collect::<Vec<_>>(), "{algorithm:?}");
    }
}

/// Holds so many of the first group out, and lets the others of it in.
fn hold(all: &[Candidate], count: usize, now: Tick) {
    for (at, candidate) in all[..10].iter().enumerate() {
        if at < count {
            candidate.vitals.hold(Hold::Drained, now);
        } else {
            candidate.vitals.release(Hold::Drained);
        }
    }
}

proptest! {
    /// However the first group comes and goes around the border: the second is in use while it has a share and for ten seconds
    /// after it, also if the list changes, so it opens and closes at most once in ten seconds. What it gets of other requests is
    /// another matter.
    #[test]
    fn a_group_that_took_over_does_not_flap(
        steps in prop::collection::vec((100_u64..4000, 0_usize..=10, any::<bool>()), 1..100)
    ) {
        let (all, usage) = (thirty(), Usage::default());
        let built = || Balance::default().grouped(all.clone(), &Place::default(), Some(usage.of(None)));
        let mut balancer = built();
        let (mut now, mut shared, mut closed, mut was) = (Tick(1_000_000_000), None, Vec::new(), false);
        for (millis, out, changes) in steps {
            now = now.after(Duration::from_millis(millis));
            hold(&all, out, now);
            if changes {
                balancer = built();
            }
            // 71 % of ten suffice.
            let has_share = out > 2;
            if has_share {
                shared = Some(now);
            }
            let is = balancer.reaches(15, &Ask { now, ..ask(None) });
            prop_assert_eq!(is, shared.is_some_and(|at| now.since(at) <= Duration::from_secs(10)), "{} out", out);
            if was && !is {
                closed.push(now);
            }
            was = is;
            let picked = (0..20).any(|_| balancer.pick(&Ask { now, ..ask(None) }).unwrap() >= 10);
            prop_assert!(has_share || !picked, "no share, and yet it gets requests");
        }
        prop_assert!(closed.windows(2).all(|pair| pair[1].since(pair[0]) > Duration::from_secs(10)));
    }
}

#[test]
fn a_group_that_was_alone_has_had_all_requests() {
    let (all, usage) = (thirty(), Usage::default());
    let tag = Tag::new("blue").unwrap();
    let reaches = |list: &[Candidate], at: usize, environment: Option<&Tag>, seconds: u64| {
        let balancer = Balance::default().grouped(list.to_vec(), &Place::default(), Some(usage.of(environment)));
        balancer.reaches(at, &Ask { now: NOW.after(Duration::from_secs(seconds)), ..ask(None) })
    };
    assert!(reaches(&all[10..20], 5, None, 0), "alone");
    assert!(reaches(&all, 15, None, 60), "a first group came: clients stay for a while");
    assert!(reaches(&all, 15, None, 69) && !reaches(&all, 15, None, 71));
    assert!(!reaches(&all, 15, Some(&tag), 60), "another environment knows nothing of it");
    assert!(reaches(&all[10..20], 5, Some(&tag), 80));
    usage.keep(&[]);
    assert!(!reaches(&all, 15, Some(&tag), 81), "it was forgotten meanwhile");
}

/// A zone or a host that is preferred closes the others to nobody: a client may stay there.
#[test]
fn distance_keeps_nobody_out() {
    let (all, place) = zones([10, 10, 10]);
    for balance in [Balance { prefer_zone: true, ..Balance::default() }, Algorithm::LocalFirst.into()] {
        let balancer = balance.of(all.clone(), &place);
        assert!((0..30).all(|at| balancer.reaches(at, &ask(None))), "{balance:?}");
    }
}
