use std::time::Duration;

use proptest::prelude::*;

use super::{
    rest::{MOST, Probe, TIME_MASK},
    *,
};

const S: Duration = Duration::from_secs(1);

fn at(millis: u64) -> Tick {
    Tick(millis * 1_000_000)
}

fn safe() -> Stake {
    Stake::Nothing
}

fn risky() -> Stake {
    Stake::Request
}

fn upload() -> Stake {
    Stake::Turn
}

/// Whether the gate lets it in, to try or to knock.
fn enters(gate: &Gate, now: Tick, stake: fn() -> Stake) -> bool {
    gate.enter(now, stake) != Entry::Barred
}

/// A gate that failed at 0 and whose rest is over at 2 s.
fn failed() -> Gate {
    let gate = Gate::default();
    gate.cut_off(&Peers::default(), at(0));
    gate
}

/// A gate that was put out at 0 for what it answers; whatever is at stake may try it at 2 s.
fn ejected() -> Gate {
    let gate = Gate::default();
    assert!(gate.eject(Cause::Consecutive, 0, &Peers::default(), at(0)));
    gate
}

fn rest(gate: &Gate, now: Tick) -> Duration {
    match gate.state(now) {
        Admission::Out { until, .. } => until.since(now),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_failure_rests_the_instance_for_a_second_and_a_bit() {
    let gate = failed();
    assert!(!gate.admits(at(999)) && !enters(&gate, at(999), safe));
    assert!(gate.admits(at(1251)));
    let rest = rest(&gate, at(0));
    assert!((S..=S * 5 / 4).contains(&rest), "{rest:?}");
}

#[test]
fn one_request_probes_and_its_answer_lets_the_instance_in() {
    let gate = failed();
    assert!(enters(&gate, at(2000), safe));
    assert!(matches!(gate.state(at(2000)), Admission::Probing { cause: Cause::Connect, row: 1, .. }));
    assert!(!gate.admits(at(2001)) && !enters(&gate, at(2001), safe));
    gate.succeed(at(0));
    assert_eq!(gate.state(at(2002)), Admission::In);
    assert!(gate.admits(at(2002)) && enters(&gate, at(2002), safe));
}

#[test]
fn rests_grow_with_the_time_it_is_out_and_keep_their_beginning() {
    let gate = Gate::default();
    let mut now = at(500);
    for row in 0..40 {
        gate.cut_off(&Peers::default(), now);
        let out = now.since(at(500)) / 8;
        let expected = out.clamp(if row == 0 { S } else { 2 * S }, 30 * S);
        let rest = rest(&gate, now);
        assert!((expected..=expected * 5 / 4).contains(&rest), "rest {row} after {out:?}: {rest:?}");
        assert!(matches!(gate.state(now), Admission::Out { since, .. } if since == at(500)));
        now = now.after(rest);
        assert!(enters(&gate, now, safe), "rest {row}");
    }
    assert!(now > at(300_000), "the longest was never reached");
    gate.succeed(at(0));
    gate.cut_off(&Peers::default(), now);
    assert!(rest(&gate, now) <= S * 5 / 4, "a success did not end the row");
}

#[test]
fn one_that_could_not_be_connected_to_is_knocked_at_before_a_request_tries_it() {
    let gate = failed();
    assert_eq!(gate.enter(at(2000), safe), Entry::Knock);
    assert_eq!(gate.enter(at(2001), safe), Entry::Barred);
    gate.reached(at(1999), at(2002));
    assert_eq!(gate.enter(at(2002), safe), Entry::Barred, "that was another one");
    gate.reached(at(2000), at(2003));
    assert_eq!(gate.enter(at(2003), risky), Entry::Open, "a connection was made");
    assert_eq!(gate.enter(at(2004), safe), Entry::Barred);
    // It can be connected to and no more.
    let peers = Peers::default();
    let others = [crate::Vitals::default(), crate::Vitals::default()];
    peers.recount(&crate::Eject::default(), others.iter());
    assert!(gate.fail_again(at(2003), 0, &peers, at(2004)));
    assert!(matches!(gate.state(at(2004)), Admission::Out { cause: Cause::Consecutive, row: 2, .. }));
    // A knock in vain is a rest more, and nothing is known after one that was given up.
    let gate = failed();
    assert_eq!(gate.enter(at(2000), safe), Entry::Knock);
    gate.give_back(at(2000), at(2001));
    assert_eq!(gate.enter(at(3000), safe), Entry::Knock);
    gate.cut_off(&Peers::default(), at(4000));
    assert!(rest(&gate, at(4000)) >= 2 * S);
}

#[test]
fn a_request_that_would_be_lost_leaves_the_turn_to_others_for_a_while() {
    let gate = Gate::default();
    assert!(gate.eject(Cause::Consecutive, 0, &Peers::default(), at(0)));
    let over = at(0).after(rest(&gate, at(0)));
    assert!(!enters(&gate, over, risky) && !enters(&gate, over, upload) && gate.admits(over));
    let later = at(0).after(over.since(at(0)) * 3 / 2 + S / 1000);
    assert!(enters(&gate, later, risky));
    assert!(gate.fail_again(later, 1, &Peers::default(), later));
    assert!(enters(&gate, later.after(rest(&gate, later)), safe), "one that is not lost need not wait");
    // Without connections nobody is lost.
    let gate = failed();
    assert!(enters(&gate, at(1251), risky));
}

#[test]
fn who_could_connect_to_it_lets_a_request_try_at_once() {
    let gate = Gate::default();
    gate.seems_well(at(0));
    assert_eq!(gate.state(at(0)), Admission::In);
    let gate = failed();
    gate.seems_well(at(500));
    assert!(!gate.admits(at(499)));
    assert_eq!(gate.enter(at(600), safe), Entry::Knock);
    gate.seems_well(at(700));
    assert!(!gate.admits(at(701)), "it is tried");
    for cause in [Cause::Consecutive, Cause::Latency] {
        let gate = Gate::default();
        assert!(gate.eject(cause, 0, &Peers::default(), at(0)));
        gate.seems_well(at(500));
        assert!(!gate.admits(at(900)), "{cause:?}: a connection is no answer");
    }
}

#[test]
fn one_knocks_at_a_time_whatever_is_still_to_come_of_its_request() {
    let gate = failed();
    assert_eq!(gate.enter(at(2000), upload), Entry::Knock);
    assert_eq!(gate.enter(at(2001), safe), Entry::Barred);
    gate.reached(at(2000), at(2002));
    assert_eq!(gate.enter(at(2003), upload), Entry::Open);
    assert_eq!(gate.enter(at(2004), safe), Entry::Open, "it is known that it can be connected to");
    assert_eq!(gate.enter(at(2005), safe), Entry::Barred);
}

#[test]
fn failures_within_a_rest_are_the_same_event() {
    let gate = failed();
    let before = gate.state(at(1));
    for _ in 0..100 {
        gate.cut_off(&Peers::default(), at(1));
    }
    assert_eq!(gate.state(at(1)), before);
}

#[test]
fn a_last_resort_that_fails_after_the_rest_lengthens_it() {
    let gate = failed();
    gate.cut_off(&Peers::default(), at(2000));
    assert!(rest(&gate, at(2000)) >= 2 * S);
}

#[test]
fn a_probe_that_says_nothing_is_followed_by_one_a_second_later() {
    let gate = failed();
    assert!(enters(&gate, at(2000), safe));
    gate.give_back(at(2000), at(2100));
    assert!(matches!(gate.state(at(2100)), Admission::Out { .. }));
    assert!(!enters(&gate, at(2999), safe));
    assert!(enters(&gate, at(3000), safe));
    assert!(!enters(&gate, at(3000), safe));
}

#[test]
fn older_requests_that_end_do_not_free_the_probe() {
    let gate = failed();
    assert!(enters(&gate, at(2000), safe));
    gate.give_back(at(1999), at(2100));
    assert!(matches!(gate.state(at(2100)), Admission::Probing { .. }));
}

#[test]
fn a_probe_without_end_is_overtaken() {
    let gate = failed();
    assert!(enters(&gate, at(2000), safe));
    assert!(!enters(&gate, at(31_999), safe));
    assert!(enters(&gate, at(32_000), safe));
    assert!(!enters(&gate, at(32_001), safe));
}

#[test]
fn an_upload_probes_and_the_first_whole_request_takes_its_place() {
    let gate = ejected();
    assert!(enters(&gate, at(2000), upload));
    assert!(matches!(gate.state(at(2001)), Admission::Probing { .. }));
    assert!(!enters(&gate, at(2001), upload), "another upload is nothing better");
    assert!(gate.admits(at(2001)) && enters(&gate, at(2002), safe));
    assert!(!gate.admits(at(2003)) && !enters(&gate, at(2003), safe) && !enters(&gate, at(2003), upload));
    // The upload that is given up late takes nothing away from the probe.
    gate.give_back(at(2000), at(2004));
    assert!(matches!(gate.state(at(2004)), Admission::Probing { .. }));
}

#[test]
fn where_there_are_only_uploads_they_probe_and_bring_it_back() {
    let gate = ejected();
    assert!(enters(&gate, at(2000), upload));
    gate.succeed(at(2000));
    assert_eq!(gate.state(at(9000)), Admission::In);
    let gate = ejected();
    assert!(enters(&gate, at(2000), upload) && !enters(&gate, at(31_999), upload));
    assert!(enters(&gate, at(32_000), upload), "one without end is overtaken");
}

#[test]
fn exactly_one_of_many_threads_gets_the_probe() {
    for _ in 0..200 {
        let gate = failed();
        let entered: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| usize::from(enters(&gate, at(2000), safe)))).collect();
            threads.into_iter().map(|t| t.join().unwrap()).sum()
        });
        assert_eq!(entered, 1);
    }
}

#[test]
fn a_word_holds_every_rest() {
    for row in [0, 1, MOST] {
        for probe in [Probe::Nobody, Probe::Upload, Probe::Whole, Probe::Reached] {
            for micros in [0, 1, TIME_MASK] {
                for cause in Cause::ALL {
                    let rest = Rest { cause, row, probe, micros };
                    assert_eq!(Rest::of(rest.word() | HOLDS_MASK), Some(rest));
                }
            }
        }
    }
    assert_eq!(Rest::of(0), None);
}

#[test]
fn what_is_held_stays_out_until_all_let_go() {
    let gate = Gate::default();
    assert!(gate.hold(Hold::Check, at(100)) && gate.hold(Hold::Drained, at(900)));
    assert!(!gate.hold(Hold::Check, at(1000)), "it was held for that already");
    gate.succeed(at(0));
    assert!(!gate.admits(at(90_000_000)) && !enters(&gate, at(90_000_000), safe));
    match gate.state(at(1000)) {
        Admission::Held { by, since } => {
            assert_eq!(by.to_string(), "drained, check");
            assert_eq!(since, at(100));
        }
        other => panic!("{other:?}"),
    }
    assert!(gate.release(Hold::Check) && !gate.release(Hold::Check) && !gate.release(Hold::Unproven));
    assert!(!gate.admits(at(2000)));
    assert!(gate.release(Hold::Drained));
    assert!(gate.admits(at(2000)) && enters(&gate, at(2000), safe));
    assert_eq!(gate.state(at(2000)), Admission::In);
}

#[test]
fn a_rest_goes_on_while_it_is_held() {
    let gate = failed();
    gate.hold(Hold::Unproven, at(100));
    gate.cut_off(&Peers::default(), at(5000));
    assert!(matches!(gate.state(at(5000)), Admission::Held { .. }));
    gate.release(Hold::Unproven);
    assert!(rest(&gate, at(5000)) >= 2 * S, "the failure after the rest was not counted");
    gate.hold(Hold::Unproven, at(5001));
    gate.succeed(at(0));
    gate.release(Hold::Unproven);
    assert_eq!(gate.state(at(5001)), Admission::In);
}

#[test]
fn one_that_cannot_be_connected_to_is_not_let_in_because_others_are_few() {
    let gate = Gate::default();
    assert!(gate.eject(Cause::Consecutive, 0, &Peers::default(), at(1000)));
    gate.cut_off(&Peers::default(), at(2000));
    gate.pardon();
    assert!(matches!(gate.state(at(2001)), Admission::Out { cause: Cause::Connect, .. }), "{:?}", gate.state(at(2001)));
    assert_eq!(gate.side(), Side::Out);
}

/// What happens to an instance whose rest is over.
#[derive(Debug, Clone, Copy)]
enum Event {
    Comes { whole: bool },
    ProbeGivesUp,
    Time { millis: u64 },
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        any::<bool>().prop_map(|whole| Event::Comes { whole }),
        Just(Event::ProbeGivesUp),
        (0..40_000_u64).prop_map(|millis| Event::Time { millis }),
    ];
    proptest::collection::vec(event, 0..60)
}

proptest! {
    /// One probe at a time, but that no upload stands in the way of a whole request.
    #[test]
    fn whoever_may_try_does_and_nobody_else(events in events()) {
        let (gate, mut now, mut due, mut patience) = (ejected(), 2000, 2000, 0);
        let mut probe: Option<(bool, u64)> = None;
        for event in events {
            match event {
                Event::Comes { whole } => {
                    let may = match probe {
                        None => now >= due + if whole { 0 } else { patience },
                        Some((by_whole, since)) => now >= since + 30_000 || whole && !by_whole,
                    };
                    prop_assert_eq!(enters(&gate, at(now), if whole { safe } else { upload }), may);
                    if may {
                        probe = Some((whole, now));
                    }
                }
                Event::ProbeGivesUp => {
                    if let Some((_, since)) = probe.take() {
                        gate.give_back(at(since), at(now));
                        due = now.max(since + 1000);
                        // What would be lost waits for half of the time that it has been out; of half a millisecond a whole one.
                        patience = due.div_ceil(2).min(30_000);
                    }
                }
                Event::Time { millis } => now += millis,
            }
        }
    }
}
