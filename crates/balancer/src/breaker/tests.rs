use super::*;

const S: Duration = Duration::from_secs(1);
const RULE: Rule = Rule { failures: 0.5, requests: 20, window: Duration::from_secs(10), open: Duration::from_secs(5) };

fn at(millis: u64) -> Tick {
    Tick(millis * 1_000_000)
}

fn breaker() -> Breaker {
    let breaker = Breaker::default();
    breaker.follow(Some(&RULE));
    breaker
}

/// A breaker that opened at 1 s.
fn opened() -> Breaker {
    let breaker = breaker();
    let opens: Vec<_> = (0..20).map(|_| breaker.observe(at(1000), true, at(1000))).collect();
    assert_eq!(opens.iter().position(|opens| *opens), Some(19));
    breaker
}

#[test]
fn without_a_rule_everything_passes() {
    let breaker = Breaker::default();
    assert!((0..1000).all(|_| !breaker.observe(at(1), true, at(1)) && breaker.admit(at(1)).is_ok()));
    assert_eq!(breaker.circuit(), Circuit::Off);
}

#[test]
fn it_opens_at_the_share_and_not_below_the_number() {
    let below = breaker();
    for number in 0..1000 {
        assert!(!below.observe(at(1), number % 5 < 2, at(1)), "{number}");
    }
    let few = breaker();
    assert!((0..19).all(|_| !few.observe(at(1), true, at(1))));
    assert!(few.observe(at(1), true, at(1)));
    assert_eq!(few.opened(), 1);
}

#[test]
fn it_sees_a_service_fail_that_answered_as_many_requests_as_can_be_counted() {
    let breaker = breaker();
    assert!((0..200_000).all(|_| !breaker.observe(at(1), false, at(1))));
    assert!((0..70_000).any(|_| breaker.observe(at(2), true, at(2))), "it is blind");
}

#[test]
fn what_is_older_than_the_window_is_forgotten() {
    let breaker = breaker();
    assert!((0..19).all(|_| !breaker.observe(at(0), true, at(0))));
    assert!(!breaker.observe(at(10_000), true, at(10_000)));
    assert_eq!(breaker.circuit(), Circuit::Closed);
}

#[test]
fn open_refuses_then_one_tries_and_its_success_closes() {
    let breaker = opened();
    assert_eq!(breaker.admit(at(2000)), Err(4 * S));
    assert_eq!(breaker.circuit(), Circuit::Open { until: at(6000) });
    assert_eq!(breaker.admit(at(6000)), Ok(()));
    assert!(breaker.admit(at(6001)).is_err());
    assert_eq!(breaker.circuit(), Circuit::HalfOpen);
    assert!(!breaker.observe(at(500), false, at(6002)), "an old request");
    assert_eq!(breaker.circuit(), Circuit::HalfOpen);
    assert!(!breaker.observe(at(6000), false, at(6100)));
    assert_eq!((breaker.circuit(), breaker.admit(at(6100))), (Circuit::Closed, Ok(())));
    assert!(!breaker.observe(at(6100), true, at(6100)), "what came before it opened does not count");
}

#[test]
fn a_failure_of_the_one_that_tries_opens_it_again() {
    let breaker = opened();
    assert_eq!(breaker.admit(at(6000)), Ok(()));
    assert!(breaker.observe(at(6000), true, at(6500)));
    assert_eq!(breaker.circuit(), Circuit::Open { until: at(11_500) });
    assert_eq!(breaker.opened(), 2);
}

#[test]
fn one_that_tries_and_does_not_end_is_overtaken() {
    let breaker = opened();
    assert_eq!(breaker.admit(at(6000)), Ok(()));
    assert_eq!(breaker.admit(at(10_999)), Err(Duration::from_millis(1)));
    assert_eq!(breaker.admit(at(11_000)), Ok(()));
    assert!(breaker.admit(at(11_001)).is_err());
}

#[test]
fn a_rule_that_is_taken_away_closes_it() {
    let breaker = opened();
    breaker.follow(None);
    assert_eq!((breaker.circuit(), breaker.admit(at(2000))), (Circuit::Off, Ok(())));
    breaker.follow(Some(&RULE));
    assert_eq!(breaker.circuit(), Circuit::Closed);
    assert!(!breaker.observe(at(1000), true, at(2000)), "what it was opened for does not open it again");
    assert_eq!(breaker.opened(), 1);
    breaker.follow(Some(&RULE));
    assert!((0..18).all(|_| !breaker.observe(at(1000), true, at(2000))));
    assert!(breaker.observe(at(1000), true, at(2000)), "a rule that stays forgets nothing");
}

#[test]
fn very_many_requests_in_a_window_do_not_overflow() {
    let breaker = breaker();
    for number in 0..200_000 {
        assert!(!breaker.observe(at(1), number % 3 == 0, at(1)));
    }
}

#[test]
fn exactly_one_of_many_threads_tries() {
    for _ in 0..100 {
        let breaker = opened();
        let admitted: usize = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..4).map(|_| scope.spawn(|| usize::from(breaker.admit(at(6000)).is_ok()))).collect();
            threads.into_iter().map(|t| t.join().unwrap()).sum()
        });
        assert_eq!(admitted, 1);
    }
}

#[test]
fn who_tries_it_and_says_nothing_leaves_that_to_the_next() {
    let breaker = opened();
    assert_eq!(breaker.admit(at(6000)), Ok(()));
    assert!(breaker.admit(at(6001)).is_err());
    breaker.give_back(at(5000));
    assert_eq!(breaker.circuit(), Circuit::HalfOpen, "not his");
    breaker.give_back(at(6000));
    assert_eq!(breaker.admit(at(6002)), Ok(()));
    assert!(!breaker.observe(at(6002), false, at(6003)));
    assert_eq!(breaker.circuit(), Circuit::Closed);
    breaker.give_back(at(6002));
    assert_eq!(breaker.circuit(), Circuit::Closed);
}

#[test]
fn what_it_would_say_is_what_it_says_and_takes_no_turn() {
    let off = Breaker::default();
    assert_eq!(off.would_admit(at(0)), Ok(()));
    let breaker = opened();
    assert_eq!(breaker.would_admit(at(5999)), Err(Duration::from_millis(1)));
    assert_eq!((breaker.would_admit(at(6000)), breaker.would_admit(at(6000))), (Ok(()), Ok(())));
    assert_eq!(breaker.admit(at(6000)), Ok(()));
    assert_eq!(breaker.circuit(), Circuit::HalfOpen);
    for now in [6000, 7000, 10_999] {
        assert_eq!(breaker.would_admit(at(now)), breaker.admit(at(now)));
        assert!(breaker.would_admit(at(now)).is_err(), "another one tries it");
    }
    assert_eq!(breaker.would_admit(at(11_000)), Ok(()), "the one that tries it is overtaken");
}
