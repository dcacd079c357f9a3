use proptest::prelude::*;

use super::*;

const S: Duration = Duration::from_secs(1);

fn at(millis: u64) -> Tick {
    Tick(millis * 1_000_000)
}

fn whole() -> bool {
    true
}

fn upload() -> bool {
    false
}

/// A gate that failed at 0 and whose rest is over at 2 s.
fn failed() -> Gate {
    let gate = Gate::default();
    gate.cut_off(&Peers::default(), at(0));
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
    assert!(!gate.admits(at(999)) && !gate.enter(at(999), whole));
    assert!(gate.admits(at(1251)));
    let rest = rest(&gate, at(0));
    assert!((S..=S * 5 / 4).contains(&rest), "{rest:?}");
}

#[test]
fn one_request_probes_and_its_answer_lets_the_instance_in() {
    let gate = failed();
    assert!(gate.enter(at(2000), whole));
    assert!(matches!(gate.state(at(2000)), Admission::Probing { cause: Cause::Connect, row: 1, .. }));
    assert!(!gate.admits(at(2001)) && !gate.enter(at(2001), whole));
    gate.succeed(at(0));
    assert_eq!(gate.state(at(2002)), Admission::In);
    assert!(gate.admits(at(2002)) && gate.enter(at(2002), whole));
}

#[test]
fn rests_double_up_to_thirty_seconds_and_keep_their_beginning() {
    let gate = Gate::default();
    let mut now = at(500);
    for row in 0..40 {
        gate.cut_off(&Peers::default(), now);
        let expected = (S * 2_u32.pow(row.min(10))).min(30 * S);
        let rest = rest(&gate, now);
        assert!((expected..=expected * 5 / 4).contains(&rest), "rest {row}: {rest:?}");
        assert!(matches!(gate.state(now), Admission::Out { since, .. } if since == at(500)));
        now = now.after(rest);
        assert!(gate.enter(now, whole), "rest {row}");
    }
    gate.succeed(at(0));
    gate.cut_off(&Peers::default(), now);
    assert!(rest(&gate, now) <= S * 5 / 4, "a success did not end the row");
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
    assert!(gate.enter(at(2000), whole));
    gate.give_back(at(2000), at(2100));
    assert!(matches!(gate.state(at(2100)), Admission::Out { .. }));
    assert!(!gate.enter(at(2999), whole));
    assert!(gate.enter(at(3000), whole));
    assert!(!gate.enter(at(3000), whole));
}

#[test]
fn older_requests_that_end_do_not_free_the_probe() {
    let gate = failed();
    assert!(gate.enter(at(2000), whole));
    gate.give_back(at(1999), at(2100));
    assert!(matches!(gate.state(at(2100)), Admission::Probing { .. }));
}

#[test]
fn a_probe_without_end_is_overtaken() {
    let gate = failed();
    assert!(gate.enter(at(2000), whole));
    assert!(!gate.enter(at(31_999), whole));
    assert!(gate.enter(at(32_000), whole));
    assert!(!gate.enter(at(32_001), whole));
}

#[test]
fn an_upload_probes_and_the_first_whole_request_takes_its_place() {
    let gate = failed();
    assert!(gate.enter(at(2000), upload));
    assert!(matches!(gate.state(at(2001)), Admission::Probing { .. }));
    assert!(!gate.enter(at(2001), upload), "another upload is nothing better");
    assert!(gate.admits(at(2001)) && gate.enter(at(2002), whole));
    assert!(!gate.admits(at(2003)) && !gate.enter(at(2003), whole) && !gate.enter(at(2003), upload));
    // The upload that is given up late takes nothing away from the probe.
    gate.give_back(at(2000), at(2004));
    assert!(matches!(gate.state(at(2004)), Admission::Probing { .. }));
}

#[test]
fn where_there_are_only_uploads_they_probe_and_bring_it_back() {
    let gate = Gate::default();
    assert!(gate.eject(Cause::Consecutive, 0, &Peers::default(), at(0)));
    assert!(gate.enter(at(2000), upload));
    gate.succeed(at(2000));
    assert_eq!(gate.state(at(9000)), Admission::In);
    let gate = failed();
    assert!(gate.enter(at(2000), upload) && !gate.enter(at(31_999), upload));
    assert!(gate.enter(at(32_000), upload), "one without end is overtaken");
}

#[test]
fn exactly_one_of_many_threads_gets_the_probe() {
    for _ in 0..200 {
        let gate = failed();
        let entered: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| usize::from(gate.enter(at(2000), whole)))).collect();
            threads.into_iter().map(|t| t.join().unwrap()).sum()
        });
        assert_eq!(entered, 1);
    }
}

#[test]
fn a_word_holds_every_rest() {
    for row in [0, 1, MOST] {
        for probe in [Probe::Nobody, Probe::Upload, Probe::Whole] {
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
    assert!(!gate.admits(at(90_000_000)) && !gate.enter(at(90_000_000), whole));
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
    assert!(gate.admits(at(2000)) && gate.enter(at(2000), whole));
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
        let (gate, mut now, mut due) = (failed(), 2000, 2000);
        let mut probe: Option<(bool, u64)> = None;
        for event in events {
            match event {
                Event::Comes { whole } => {
                    let may = match probe {
                        None => now >= due,
                        Some((by_whole, since)) => now >= since + 30_000 || whole && !by_whole,
                    };
                    prop_assert_eq!(gate.enter(at(now), || whole), may);
                    if may {
                        probe = Some((whole, now));
                    }
                }
                Event::ProbeGivesUp => {
                    if let Some((_, since)) = probe.take() {
                        gate.give_back(at(since), at(now));
                        due = now.max(since + 1000);
                    }
                }
                Event::Time { millis } => now += millis,
            }
        }
    }
}
