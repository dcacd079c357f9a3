use std::cell::Cell;

use proptest::prelude::*;

use super::*;

const FACTS: Facts = Facts {
    fault: Fault::Unavailable,
    tries: 1,
    sent: 1,
    next: Next::Ready,
    repeatable: true,
    replayable: true,
    left: None,
    random: 1.0,
};

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[track_caller]
fn check(facts: &Facts, expected: Verdict) {
    assert_eq!(decide(&Retries::STANDARD, facts, || true), expected, "{facts:?}");
}

#[test]
fn what_was_not_sent_goes_elsewhere_at_once_and_free_of_charge() {
    for fault in [Fault::Connect, Fault::Refused] {
        let facts = Facts { fault, sent: 0, repeatable: false, ..FACTS };
        let verdict = decide(&Retries::STANDARD, &facts, || unreachable!("nothing is paid"));
        assert_eq!(verdict, Verdict::Again(Duration::ZERO));
    }
}

#[test]
fn what_may_have_been_done_is_repeated_only_if_that_does_no_harm() {
    for fault in Fault::ALL.into_iter().filter(|fault| !fault.is_unsent()) {
        check(&Facts { fault, ..FACTS }, Verdict::Again(millis(25)));
        check(&Facts { fault, repeatable: false, ..FACTS }, Verdict::Enough(Withheld::Method));
    }
}

#[test]
fn waits_double_up_to_the_longest_and_are_random_in_their_whole_range() {
    let policy = Retries { attempts: 9, ..Retries::STANDARD };
    let wait = |tries, random| match decide(&policy, &Facts { tries, sent: tries, random, ..FACTS }, || true) {
        Verdict::Again(wait) => wait,
        Verdict::Enough(why) => panic!("{why:?}"),
    };
    let waits: Vec<_> = (1..=6).map(|tries| wait(tries, 1.0)).collect();
    assert_eq!(waits, [25, 50, 100, 200, 250, 250].map(millis));
    assert_eq!((wait(2, 0.0), wait(2, 0.5)), (Duration::ZERO, millis(25)));
}

#[test]
fn the_same_instance_is_asked_again_only_after_a_wait() {
    for fault in [Fault::Refused, Fault::Reset] {
        check(&Facts { fault, next: Next::Same, ..FACTS }, Verdict::Again(millis(25)));
    }
}

#[test]
fn there_is_an_end() {
    let unsent = Facts { fault: Fault::Connect, sent: 0, ..FACTS };
    check(&Facts { tries: 15, ..unsent }, Verdict::Again(Duration::ZERO));
    for facts in [
        Facts { tries: 16, ..unsent },
        Facts { tries: 4, next: Next::Resting, ..unsent },
        Facts { tries: 4, next: Next::Same, fault: Fault::Refused, ..unsent },
        Facts { sent: 3, ..FACTS },
    ] {
        check(&facts, Verdict::Enough(Withheld::Attempts));
    }
    check(&Facts { next: Next::Nobody, ..FACTS }, Verdict::Enough(Withheld::NoInstance));
    check(&Facts { tries: 5, next: Next::Nobody, ..unsent }, Verdict::Enough(Withheld::NoInstance));
    check(&Facts { replayable: false, ..FACTS }, Verdict::Enough(Withheld::Body));
    check(&Facts { left: Some(millis(25)), ..FACTS }, Verdict::Enough(Withheld::Deadline));
    check(&Facts { left: Some(millis(26)), ..FACTS }, Verdict::Again(millis(25)));
    assert_eq!(decide(&Retries::STANDARD, &FACTS, || false), Verdict::Enough(Withheld::Budget));
}

#[test]
fn off_is_off_for_every_fault() {
    for fault in Fault::ALL {
        let verdict = decide(&Retries::OFF, &Facts { fault, ..FACTS }, || unreachable!());
        assert_eq!(verdict, Verdict::Enough(Withheld::Off));
    }
}

#[test]
fn sets_hold_what_was_put_in() {
    for fault in Fault::ALL {
        let only: Faults = [fault].into_iter().collect();
        assert!(Fault::ALL.into_iter().all(|other| only.has(other) == (other == fault)));
        assert!(Retries::STANDARD.on.has(fault));
    }
    for method in METHODS {
        let only: Methods = [method.clone()].into_iter().collect();
        assert!(METHODS.iter().all(|other| only.has(other) == (*other == method)));
        assert_eq!(Retries::STANDARD.methods.has(&method), method.is_idempotent(), "{method}");
    }
    assert!(!Retries::STANDARD.methods.has(&Method::from_bytes(b"PURGE").unwrap()));
}

fn facts() -> impl Strategy<Value = Facts> {
    let next = prop::sample::select(vec![Next::Ready, Next::Resting, Next::Same, Next::Nobody]);
    let left = prop::option::of((0_u64..400).prop_map(millis));
    let bits = (any::<bool>(), any::<bool>());
    (prop::sample::select(Fault::ALL.to_vec()), 1_u8..20, 0_u8..20, next, bits, left, 0.0..1.0_f64).prop_map(
        |(fault, tries, sent, next, (repeatable, replayable), left, random)| Facts {
            fault,
            tries,
            sent: sent.min(tries),
            next,
            repeatable,
            replayable,
            left,
            random,
        },
    )
}

#[test]
fn a_gateway_failure_is_an_instance_s_own_if_another_one_did_better_or_nobody_else_was_asked() {
    for sent in 1..5 {
        assert!(is_their_fault(true, sent), "answered elsewhere, after {sent}");
    }
    assert!(is_their_fault(false, 1), "the only word there is");
    assert!(!is_their_fault(false, 2) && !is_their_fault(false, 3), "the request is what they have in common");
}

proptest! {
    #[test]
    fn no_request_is_ever_tried_where_it_must_not_be(
        facts in facts(), attempts in 1_u8..9, on in 0_u8..128, pays in any::<bool>(),
    ) {
        let policy = Retries { attempts, on: Faults(on), ..Retries::STANDARD };
        let paid = Cell::new(0);
        let verdict = decide(&policy, &facts, || { paid.set(paid.get() + 1); pays });
        let unsent = facts.fault.is_unsent();
        if let Verdict::Again(wait) = verdict {
            prop_assert!(policy.on.has(facts.fault) && facts.replayable && facts.next != Next::Nobody);
            prop_assert!(facts.tries < MOST && (unsent || facts.sent < attempts && facts.repeatable));
            prop_assert!(wait <= policy.backoff.longest && facts.left.is_none_or(|left| left > wait));
            prop_assert_eq!(paid.get(), u8::from(!unsent), "exactly what may cost is paid");
        } else {
            prop_assert!(paid.get() == 0 || verdict == Verdict::Enough(Withheld::Budget) && !pays);
        }
    }

    #[test]
    fn where_all_may_be_full_few_are_asked_and_not_at_once(facts in facts()) {
        let facts = Facts { fault: Fault::Refused, next: Next::Ready, replayable: true, left: None, ..facts };
        let verdict = decide(&Retries::STANDARD, &facts, || false);
        if facts.tries >= FEW {
            prop_assert_eq!(verdict, Verdict::Enough(Withheld::Attempts));
        } else if facts.tries < 2 {
            prop_assert_eq!(verdict, Verdict::Again(Duration::ZERO));
        } else {
            prop_assert!(matches!(verdict, Verdict::Again(wait) if wait <= Retries::STANDARD.backoff.longest));
        }
    }

    #[test]
    fn what_was_not_sent_finds_whoever_takes_requests(facts in facts()) {
        let facts = Facts { fault: Fault::Connect, next: Next::Ready, replayable: true, left: None, ..facts };
        if facts.tries < MOST {
            prop_assert_eq!(decide(&Retries::STANDARD, &facts, || false), Verdict::Again(Duration::ZERO));
        }
    }
}
