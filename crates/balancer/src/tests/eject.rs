//! What puts one instance out among its peers, and what brings it back.

use std::time::Duration;

use super::*;
use crate::{Admission, Cause, Eject};

const S: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn at(millis: u64) -> Tick {
    Tick(millis * 1_000_000)
}

/// Instances of one service, counted by these rules.
fn service(rules: &Eject, count: usize) -> (Peers, Vec<Vitals>) {
    let peers = Peers::default();
    peers.follow(rules);
    let all: Vec<_> = (0..count).map(|_| Vitals::default()).collect();
    peers.recount(rules, all.iter());
    (peers, all)
}

/// One request that took a millisecond.
fn ask(vitals: &Vitals, outcome: Outcome, now: Tick, peers: &Peers) {
    if !enters(vitals, now) {
        vitals.begin();
    }
    vitals.end(outcome, now, MS, now.after(MS), peers);
}

fn is_out(vitals: &Vitals, now: Tick) -> Option<(Cause, u8)> {
    match vitals.state(now) {
        Admission::Out { cause, row, .. } => Some((cause, row)),
        _ => None,
    }
}

#[test]
fn five_failures_in_a_row_and_not_four() {
    for outcome in
        [Outcome::Answered(503), Outcome::Answered(502), Outcome::Reset, Outcome::Protocol, Outcome::TimedOut]
    {
        let (peers, all) = service(&Eject::default(), 4);
        (0..4).for_each(|_| ask(&all[0], outcome, at(1), &peers));
        ask(&all[0], Outcome::Answered(200), at(1), &peers);
        (0..4).for_each(|_| ask(&all[0], outcome, at(1), &peers));
        assert_eq!(is_out(&all[0], at(1)), None, "{outcome:?}");
        ask(&all[0], outcome, at(1), &peers);
        assert_eq!(is_out(&all[0], at(10)), Some((Cause::Consecutive, 1)), "{outcome:?}");
    }
}

#[test]
fn what_is_not_its_fault_never_does() {
    let (peers, all) = service(&Eject::default(), 4);
    for outcome in [Outcome::Abandoned, Outcome::Refused, Outcome::Answered(500), Outcome::Answered(404)] {
        (0..1000).for_each(|_| ask(&all[0], outcome, at(1), &peers));
        assert_eq!(is_out(&all[0], at(1)), None, "{outcome:?}");
    }
}

#[test]
fn no_more_than_half_and_never_the_last() {
    for (count, most) in [(1, 0), (2, 1), (3, 1), (10, 5)] {
        let (peers, all) = service(&Eject::default(), count);
        for _ in 0..100 {
            all.iter().for_each(|v| ask(v, Outcome::Reset, at(1), &peers));
        }
        assert_eq!(all.iter().filter(|v| is_out(v, at(2)).is_some()).count(), most, "of {count}");
        // Counting again gives no more room, and one that is back gives room for one.
        peers.recount(&Eject::default(), all.iter());
        all.iter().for_each(|v| ask(v, Outcome::Reset, at(1), &peers));
        assert_eq!(all.iter().filter(|v| is_out(v, at(2)).is_some()).count(), most, "of {count}");
    }
}

#[test]
fn old_answers_do_not_bring_it_back_and_the_probe_does() {
    let (peers, all) = service(&Eject::default(), 4);
    let it = &all[0];
    (0..5).for_each(|_| ask(it, Outcome::Answered(503), at(1), &peers));
    it.begin();
    it.end(Outcome::Answered(200), at(0), MS, at(100), &peers);
    assert!(!it.admits(at(101)), "the answer to a request from before");
    // A stream that began before and ends while it is probed says nothing either.
    assert!(enters(it, at(2000)));
    it.begin();
    it.end(Outcome::Answered(200), at(0), MS, at(2001), &peers);
    assert!(matches!(it.state(at(2001)), Admission::Probing { cause: Cause::Consecutive, row: 1, .. }));
    it.end(Outcome::Answered(200), at(2000), MS, at(2002), &peers);
    assert_eq!(it.state(at(2002)), Admission::In);
}

#[test]
fn a_probe_that_fails_makes_the_rest_longer() {
    let (peers, all) = service(&Eject::default(), 4);
    (0..5).for_each(|_| ask(&all[0], Outcome::Answered(503), at(0), &peers));
    let mut now = at(0);
    for row in 1..9_u8 {
        let Admission::Out { until, row: found, .. } = all[0].state(now) else { panic!("row {row}") };
        assert_eq!(found, row);
        // When it went out is known to a tenth of a second.
        let least = (now.since(at(0)) / 8).max(if row == 1 { S } else { 2 * S });
        assert!((least..=least * 5 / 4 + 100 * MS).contains(&until.since(now)), "row {row}: {:?}", until.since(now));
        ask(&all[0], Outcome::Reset, until, &peers);
        now = until.after(MS);
    }
}

#[test]
fn what_is_back_is_taken_for_typical_and_not_for_what_it_was() {
    let (peers, all) = service(&Eject::default(), 4);
    for outcome in [Outcome::ConnectFailed, Outcome::Reset] {
        let it = &all[0];
        ask(it, Outcome::Answered(200), at(0), &peers);
        // It was slow before, and what was sent then ends while it is out.
        it.begin();
        it.end(Outcome::Abandoned, at(0), 20 * S, at(1), &peers);
        it.begin();
        peers.recount(&Eject::default(), all.iter());
        (0..5).for_each(|_| ask(it, outcome, at(1), &peers));
        it.end(Outcome::Abandoned, at(0), 20 * S, at(2), &peers);
        for second in [10, 20] {
            assert_eq!(it.latency(), None, "{outcome:?}: it is out, and that is enough");
            ask(it, outcome, at(second * 1000), &peers);
        }
        ask(it, Outcome::Answered(200), at(60_000), &peers);
        assert_eq!((it.state(at(60_001)), it.latency()), (Admission::In, Some(MS)), "{outcome:?}");
        assert!(it.hold(crate::Hold::Check, at(60_002)) && it.release(crate::Hold::Check));
        assert_eq!(it.latency(), None);
    }
}

#[test]
fn an_instance_that_comes_and_goes_rests_longer_each_time_until_that_is_forgotten() {
    let (peers, all) = service(&Eject::default(), 4);
    let mut now = at(0);
    let eject = |now: &mut Tick| {
        peers.recount(&Eject::default(), all.iter());
        (0..5).for_each(|_| ask(&all[0], Outcome::Reset, *now, &peers));
        let Admission::Out { until, .. } = all[0].state(*now) else { panic!("is in") };
        let rest = until.since(*now);
        ask(&all[0], Outcome::Answered(200), until, &peers);
        *now = until.after(S);
        rest
    };
    let rests: Vec<_> = (0..4).map(|_| eject(&mut now)).collect();
    assert!(rests.is_sorted() && rests[3] >= 8 * S, "{rests:?}");
    // A probe that fails goes on from there, and does not begin anew.
    peers.recount(&Eject::default(), all.iter());
    (0..5).for_each(|_| ask(&all[0], Outcome::Reset, now, &peers));
    let Admission::Out { until, row: 5, .. } = all[0].state(now) else { panic!("{:?}", all[0].state(now)) };
    ask(&all[0], Outcome::Reset, until, &peers);
    let Admission::Out { until: next, .. } = all[0].state(until) else { panic!("is in") };
    assert!(next.since(until) >= 30 * S);
    now = next;
    ask(&all[0], Outcome::Answered(200), now, &peers);
    while all[0].forget() {}
    assert!(eject(&mut now) <= S * 5 / 4 + MS);
}

#[test]
fn in_a_panic_those_out_for_their_answers_come_back_and_no_others() {
    let (peers, all) = service(&Eject::default(), 10);
    (0..5).for_each(|_| ask(&all[0], Outcome::Reset, at(1), &peers));
    all[1..8].iter().for_each(|v| ask(v, Outcome::ConnectFailed, at(1), &peers));
    all[8].hold(crate::Hold::Check, at(1));
    let (count, margin) = peers.recount(&Eject::default(), all.iter());
    assert_eq!((count.whole, count.ejected, margin.panic), (1, 1, true));
    assert_eq!(all[0].state(at(2)), Admission::In);
    assert!(all[1..9].iter().all(|v| !v.admits(at(2))));
    (0..100).for_each(|_| ask(&all[0], Outcome::Reset, at(1), &peers));
    assert_eq!(all[0].state(at(2)), Admission::In, "out again at once");
}

#[test]
fn one_that_can_be_connected_to_again_and_fails_counts_among_the_half() {
    let (peers, all) = service(&Eject::default(), 2);
    all.iter().for_each(|v| ask(v, Outcome::ConnectFailed, at(0), &peers));
    assert!(all.iter().all(|v| !v.admits(at(1))), "that nobody can be connected to is a fact");
    peers.recount(&Eject::default(), all.iter());
    all.iter().for_each(|v| ask(v, Outcome::Answered(503), at(2000), &peers));
    assert!(all.iter().all(|v| v.state(at(2001)) == Admission::In), "503 is better than no answer");
}

#[test]
fn outliers_rest_for_the_longest_from_the_first_on() {
    let (peers, all) = service(&Eject::default(), 10);
    assert!(all[0].eject(Cause::Latency, at(0), &peers));
    assert!(!all[0].eject(Cause::Latency, at(0), &peers), "twice");
    let mut now = at(0);
    for row in 1..4 {
        let Admission::Out { until, row: found, .. } = all[0].state(now) else { panic!("is in") };
        assert!(found == row && until.since(now) >= 30 * S - MS);
        ask(&all[0], Outcome::Reset, until, &peers);
        now = until.after(MS);
    }
    assert!((1..9).filter(|n| all[*n].eject(Cause::SuccessRate, at(0), &peers)).count() == 4, "half, with the first");
}

#[test]
fn off_is_off() {
    let (peers, all) = service(&Eject::off(), 4);
    (0..1000).for_each(|_| ask(&all[0], Outcome::Reset, at(1), &peers));
    assert_eq!(all[0].state(at(1)), Admission::In);
}

#[test]
fn what_is_compared_is_what_happened_since() {
    let (peers, all) = service(&Eject::off(), 1);
    ask(&all[0], Outcome::Answered(500), at(1), &peers);
    let marks = all[0].marks();
    for outcome in [Outcome::Answered(200), Outcome::Answered(500), Outcome::Reset, Outcome::Abandoned] {
        all[0].begin();
        all[0].end(outcome, at(1), 8 * MS, at(9), &peers);
    }
    let sample = all[0].since(marks).unwrap();
    assert_eq!((sample.requests, sample.errors, sample.latency), (4, 2, 8 * MS));
    all[0].hold(crate::Hold::Check, at(9));
    assert_eq!(all[0].since(marks), None);
}

#[test]
fn a_failure_whose_cause_is_not_known_counts_only_once_it_is() {
    let (peers, all) = service(&Eject::default(), 4);
    let it = &all[0];
    let marks = it.marks();
    let suspect = |now: Tick| {
        assert!(enters(it, now));
        it.suspect(MS, now.after(MS), &peers);
        assert_eq!(it.in_flight(), 0);
    };
    for _ in 0..100 {
        suspect(at(1));
        it.acquit(at(1), at(3));
    }
    assert_eq!(it.since(marks).map(|sample| (sample.requests, sample.errors)), Some((100, 0)));
    for _ in 0..5 {
        suspect(at(1));
        it.convict(at(1), at(3), &peers);
    }
    let Some((Cause::Consecutive, 1)) = is_out(it, at(3)) else { panic!("{:?}", it.state(at(3))) };
    // As a probe it is one that said nothing, until it is convicted.
    suspect(at(2000));
    assert!(!it.admits(at(2001)));
    it.acquit(at(2000), at(2001));
    assert!(matches!(it.state(at(2001)), Admission::Out { row: 1, .. }) && it.admits(at(3000)));
    suspect(at(3000));
    it.convict(at(3000), at(3001), &peers);
    assert!(matches!(it.state(at(3001)), Admission::Out { row: 2, .. }));
}
