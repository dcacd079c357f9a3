use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::testing::service;

const SECOND: u64 = 1_000_000_000;

fn rules() -> OnFirstUse {
    OnFirstUse {
        at_most: 3,
        idle: Duration::from_secs(600),
        rate: 2,
        unknown: Duration::from_secs(60),
        wait: Duration::from_secs(1),
    }
}

fn at(seconds: u64) -> Tick {
    Tick(seconds * SECOND)
}

fn made(rules: OnFirstUse) -> Subscriptions {
    let mut made = Subscriptions::default();
    made.follow(Some(rules), |_| true);
    made
}

/// Asks for a service, which is there.
fn use_first(all: &mut Subscriptions, name: &str, now: Tick) {
    assert!(matches!(all.want(&service(name), now), Verdict::Ask(_)), "{name}");
    assert!(!all.answered(&service(name), true, now));
}

#[test]
fn without_rules_nothing_is_asked_for() {
    let mut off = Subscriptions::default();
    assert_eq!(off.want(&service("a"), at(1)), Verdict::Unknown);
    assert_eq!((off.interval(), off.numbers(), off.due(at(9_999)).len()), (None, (0, 0), 0));
}

#[test]
fn a_service_is_asked_for_once_and_held_while_it_is_used() {
    let mut all = made(rules());
    assert_eq!(all.want(&service("a"), at(1)), Verdict::Ask(None));
    assert_eq!(all.want(&service("a"), at(1)), Verdict::Asking);
    assert!(all.is_asked(&service("a")));
    assert!(!all.answered(&service("a"), true, at(2)));
    assert_eq!(all.want(&service("a"), at(3)), Verdict::Held);
    all.used(&service("a"), at(500));
    assert_eq!(all.due(at(1_099)), []);
    assert_eq!(all.due(at(1_100)), [service("a")]);
    assert!(!all.holds(&service("a")));
}

#[test]
fn a_name_nobody_knows_is_let_go_at_once_and_not_asked_for_again_for_a_while() {
    let mut all = made(rules());
    assert_eq!(all.want(&service("a"), at(1)), Verdict::Ask(None));
    assert!(all.answered(&service("a"), false, at(1)));
    assert_eq!(all.want(&service("a"), at(60)), Verdict::Unknown);
    assert_eq!(all.want(&service("a"), at(61)), Verdict::Ask(None));
    // Other registries may know it.
    assert!(all.answered(&service("a"), false, at(61)));
    all.follow(Some(rules()), |_| true);
    assert_eq!(all.want(&service("a"), at(62)), Verdict::Ask(None));
}

#[test]
fn a_service_that_loses_its_last_instance_stays_until_it_is_out_of_use() {
    let mut all = made(rules());
    use_first(&mut all, "a", at(1));
    assert!(!all.answered(&service("a"), false, at(2)));
    assert_eq!(all.due(at(601)), [service("a")]);
}

#[test]
fn a_name_without_answer_gives_its_place_back_and_may_be_asked_for_again() {
    let mut all = made(rules());
    assert_eq!(all.want(&service("a"), at(1)), Verdict::Ask(None));
    assert_eq!(all.want(&service("a"), at(9)), Verdict::Asking);
    assert_eq!(all.due(at(11)), [service("a")], "however often it is asked for");
    assert_eq!(all.want(&service("a"), at(12)), Verdict::Ask(None));
    assert_eq!(all.counts().unanswered, 1);
}

#[test]
fn when_there_is_no_room_the_one_unused_for_longest_gives_way_if_it_is_quiet() {
    let mut all = made(rules());
    for (name, now) in [("a", 1), ("b", 2), ("c", 3)] {
        use_first(&mut all, name, at(now));
    }
    all.used(&service("a"), at(40));
    assert_eq!(all.want(&service("d"), at(61)), Verdict::Busy, "all were used within a minute");
    assert_eq!(all.want(&service("d"), at(62)), Verdict::Ask(Some(service("b"))));
    assert_eq!((all.numbers(), all.counts().full, all.counts().idle), ((3, 1), 1, 1));
}

#[test]
fn what_proved_to_be_a_service_comes_back_whatever_the_flood_of_names() {
    let mut all = made(rules());
    use_first(&mut all, "a", at(1));
    assert_eq!(all.due(at(601)), [service("a")]);
    for n in 0..10 {
        all.want(&service(&format!("x{n}")), at(602));
    }
    assert_eq!(all.want(&service("y"), at(602)), Verdict::Busy);
    assert_eq!(all.want(&service("a"), at(602)), Verdict::Ask(None));
}

#[test]
fn a_client_that_seldom_brings_up_a_name_is_heard_beside_a_flood() {
    let mut all = made(OnFirstUse { at_most: 1000, rate: 8, ..rules() });
    let asked = |verdict| matches!(verdict, Verdict::Ask(_));
    for second in 1..10 {
        let flood = (0..500).filter(|n| asked(all.want_by(&service(&format!("x{second}.{n}")), Some(1), at(second))));
        let flood = flood.count();
        // In its first second it is not known for one yet.
        assert!(flood <= 8 || second == 1 && flood <= 10, "{flood} in second {second}");
        if second > 1 {
            assert!(asked(all.want_by(&service(&format!("real{second}")), Some(2), at(second))), "in second {second}");
            let others =
                (0..500).filter(|n| asked(all.want_by(&service(&format!("y{second}.{n}")), Some(*n), at(second))));
            assert!(others.count() <= 1, "the reserve has an end too");
        }
    }
}

#[test]
fn other_rules_keep_what_they_permit() {
    let mut all = made(rules());
    for (name, now) in [("a", 1), ("b", 2), ("c", 3)] {
        use_first(&mut all, name, at(now));
    }
    assert_eq!(all.follow(Some(rules()), |_| true), []);
    assert_eq!(all.follow(Some(rules()), |name| *name != service("c")), [service("c")]);
    assert_eq!(all.follow(Some(OnFirstUse { at_most: 1, ..rules() }), |_| true), [service("a")]);
    assert_eq!(all.services().collect::<Vec<_>>(), [&service("b")], "what was used last");
    assert_eq!(all.follow(None, |_| true), [service("b")]);
    assert_eq!(all.numbers(), (0, 0));
}

#[test]
fn what_was_in_use_before_the_start_is_held_as_far_as_there_is_room() {
    let mut all = made(rules());
    for name in ["a", "b", "c", "d"] {
        all.recall(&service(name), at(1));
    }
    assert_eq!(all.numbers(), (3, 0));
    assert_eq!(all.want(&service("a"), at(2)), Verdict::Held);
}

/// What happens to subscriptions in a run.
#[derive(Debug, Clone)]
enum Event {
    Want(u8),
    Answered(u8, bool),
    Used(u8),
    Later(u64),
    Due,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => any::<u8>().prop_map(Event::Want),
        2 => (any::<u8>(), any::<bool>()).prop_map(|(name, there)| Event::Answered(name, there)),
        1 => any::<u8>().prop_map(Event::Used),
        3 => (0..20_000_u64).prop_map(Event::Later),
        1 => Just(Event::Due),
    ]
}

/// What is true of a run, kept in the simplest way.
#[derive(Default)]
struct Model {
    /// When each held name was used last.
    used: HashMap<ServiceId, Tick>,
    /// Held or once held, and there.
    proven: HashSet<ServiceId>,
    unknown: HashMap<ServiceId, Tick>,
    /// When names were asked for that never proved to be a service.
    asked: Vec<Tick>,
}

proptest! {
    /// Whatever clients name and registries answer: the number held is bounded, new names are asked for no faster than
    /// the rate, what nobody knew is not asked for again in its time, and what was used is not let go before its time.
    #[test]
    fn whatever_is_named_the_bounds_hold(events in proptest::collection::vec(event(), 0..400), at_most in 0..20_usize) {
        let rules = OnFirstUse { at_most, ..rules() };
        let mut all = made(rules.clone());
        let mut now = at(1);
        let mut model = Model::default();
        for event in events {
            let name = |name: u8| service(&name.to_string());
            match event {
                Event::Want(number) => match all.want(&name(number), now) {
                    Verdict::Ask(way) => {
                        if !model.proven.contains(&name(number)) {
                            model.asked.push(now);
                        }
                        let known = model.unknown.get(&name(number)).is_some_and(|at| now.since(*at) < rules.unknown);
                        prop_assert!(!known, "{number} was asked for again");
                        if let Some(way) = way {
                            prop_assert!(model.proven.contains(&way) && now.since(model.used[&way]) >= QUIET);
                            model.used.remove(&way);
                        }
                        model.used.insert(name(number), now);
                    }
                    Verdict::Asking | Verdict::Held => drop(model.used.insert(name(number), now)),
                    Verdict::Unknown | Verdict::Busy => prop_assert!(!all.holds(&name(number))),
                },
                Event::Answered(number, there) => {
                    let held = all.holds(&name(number));
                    if all.answered(&name(number), there, now) {
                        prop_assert!(!there);
                        model.unknown.insert(name(number), now);
                        model.used.remove(&name(number));
                    } else if held && there {
                        model.proven.insert(name(number));
                    }
                }
                Event::Used(number) => {
                    all.used(&name(number), now);
                    model.used.entry(name(number)).and_modify(|at| *at = now);
                }
                Event::Later(millis) => now = now.after(Duration::from_millis(millis)),
                Event::Due => {
                    let asked: HashSet<_> = all.services().filter(|name| all.is_asked(name)).cloned().collect();
                    for gone in all.due(now) {
                        let used = model.used.remove(&gone).expect("it was held");
                        prop_assert!(asked.contains(&gone) || now.since(used) >= rules.idle);
                    }
                }
            }
            prop_assert!(all.numbers().0 <= at_most);
            prop_assert_eq!(all.numbers().0, model.used.len());
        }
        for (first, at) in model.asked.iter().enumerate() {
            let within = model.asked[first..].iter().filter(|other| other.since(*at) < Duration::from_secs(1)).count();
            prop_assert!(within <= 2 * rules.rate as usize, "{within} new names in a second");
        }
    }
}
