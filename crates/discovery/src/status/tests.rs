use model::{Knowledge, ProviderError, Update};
use proptest::prelude::*;

use super::*;
use crate::{
    claims::Holds,
    testing::{instance, service},
};

/// A source, number 7, and what it said.
struct Stage {
    status: Status,
    claims: Claims,
}

impl Stage {
    fn new() -> Self {
        let name: Arc<str> = "test".into();
        let claims = Claims::new(vec![(7, name.clone())], Holds::default());
        Self {
            status: Status {
                sources: vec![Arc::new(Source::new(7, name, Kind::Consul, at(0)))],
                first_use: None,
                ..Status::default()
            },
            claims,
        }
    }

    fn hears(&mut self, update: Update, now: Tick) -> Vec<Turn> {
        let word = Word::of(&update);
        self.claims.apply(7, update, now);
        self.status.note(7, word, 0, &self.claims, now)
    }

    fn source(&self) -> &Source {
        &self.status.sources[0]
    }

    fn age(&self, name: &str, now: u64) -> Option<u64> {
        self.source().age(&service(name), at(now)).map(|age| age.as_secs())
    }
}

fn at(second: u64) -> Tick {
    Tick::default().after(Duration::from_secs(second))
}

fn known(name: &str) -> Update {
    let knowledge = Knowledge::of([instance("one", 1)]);
    Update::Service { service: service(name), knowledge, deregistered: Vec::new() }
}

fn doubt(name: &str) -> Update {
    let knowledge = Knowledge::Unknown(ProviderError::Denied("the test".into()));
    Update::Service { service: service(name), knowledge, deregistered: Vec::new() }
}

fn down() -> Update {
    Update::Unreachable(ProviderError::Unreachable("the test".into()))
}

#[test]
fn after_an_outage_each_service_is_certain_by_its_own_word_only() {
    let mut stage = Stage::new();
    stage.hears(known("a"), at(1));
    stage.hears(known("b"), at(1));
    stage.hears(down(), at(10));
    assert_eq!((stage.age("a", 60), stage.age("b", 60)), (Some(50), Some(50)));
    assert_eq!(stage.hears(known("a"), at(60)).len(), 2, "it is live, and certain of this one");
    assert_eq!((stage.age("a", 70), stage.age("b", 70)), (None, Some(60)));
    // A refusal makes it no younger, and neither does another outage.
    stage.hears(doubt("b"), at(70));
    stage.hears(down(), at(80));
    stage.hears(Update::Catalogue([service("a"), service("b")].into()), at(90));
    assert_eq!((stage.age("a", 100), stage.age("b", 100)), (Some(20), Some(90)));
    assert_eq!(stage.hears(known("a"), at(100)), [Turn::Confirmed(service("a"))]);
    stage.hears(Update::Everything([(service("b"), Vec::new())].into()), at(100));
    assert_eq!((stage.age("a", 101), stage.age("b", 101)), (None, None));
}

#[test]
fn what_a_catalogue_leaves_out_is_asked_for_until_the_source_speaks_of_it() {
    let mut stage = Stage::new();
    for name in ["a", "b", "c"] {
        let list = vec![Arc::new(instance("one", 1))];
        assert!(stage.claims.recall(
            7,
            &service(name),
            list,
            &Interest { services: [service(name)].into(), ..Interest::default() }
        ));
    }
    let ages = ["a", "b", "c"].map(|name| (service(name), Duration::ZERO)).into();
    stage.status.recall(7, ages);
    stage.hears(Update::Catalogue([service("a")].into()), at(1));
    assert_eq!(stage.source().unlisted, [service("b"), service("c")].into());
    // Named because it is asked for, it is asked for nevertheless.
    stage.hears(Update::Catalogue(["a", "b", "c"].map(service).into()), at(2));
    stage.hears(doubt("b"), at(2));
    assert_eq!(stage.source().unlisted, [service("b"), service("c")].into());
    stage.hears(known("b"), at(3));
    assert_eq!(stage.source().unlisted, [service("c")].into());
}

#[test]
fn a_doubt_goes_with_the_service_that_the_catalogue_names_no_longer() {
    let mut stage = Stage::new();
    stage.hears(known("held"), at(1));
    for name in ["held", "named", "gone"] {
        stage.hears(doubt(name), at(1));
    }
    let turns = stage.hears(Update::Catalogue([service("named")].into()), at(3));
    assert!(turns.contains(&Turn::Certain(service("gone"), Duration::from_secs(2))), "{turns:?}");
    // Of what had instances it may have lost the right to read the name.
    let doubted: Vec<_> = stage.source().doubts.keys().map(ServiceId::as_str).collect();
    assert_eq!(doubted, ["held", "named"]);
}

#[test]
fn a_doubt_goes_with_the_route_that_goes_while_the_registry_is_away() {
    let mut stage = Stage::new();
    let routed = |names: &[&str]| {
        let interest = Interest { services: names.iter().map(|name| service(name)).collect(), ..Interest::default() };
        Interests { whole: interest.clone(), by_name: interest }
    };
    stage.hears(known("held"), at(1));
    for name in ["held", "routed", "gone"] {
        stage.hears(doubt(name), at(1));
    }
    stage.hears(down(), at(2));
    let sources = [(7, stage.source().name.clone(), Kind::Consul)];
    stage.status.arrange(&sources, &routed(&["routed"]), &stage.claims, at(3));
    // Nobody will speak of the one that is gone; the one that had instances is taken back when the registry is there again.
    let doubted: Vec<_> = stage.source().doubts.keys().map(ServiceId::as_str).collect();
    assert_eq!(doubted, ["held", "routed"]);
}

#[test]
fn a_doubt_that_stays_while_the_rest_of_a_list_changes_is_as_old_as_it_was() {
    let mut stage = Stage::new();
    stage.hears(doubt("a"), at(1));
    stage.hears(known("a"), at(50));
    stage.hears(doubt("a"), at(50));
    assert_eq!(stage.age("a", 60), Some(59));
    // Nor does another reason make it younger: of two parts that cannot be read, either may be told.
    let other = Knowledge::Unknown(ProviderError::Malformed("another part".into()));
    stage.hears(known("a"), at(55));
    stage.hears(Update::Service { service: service("a"), knowledge: other, deregistered: Vec::new() }, at(55));
    assert_eq!(stage.age("a", 60), Some(59));
    stage.hears(known("a"), at(60));
    stage.hears(doubt("a"), at(70));
    assert_eq!(stage.age("a", 80), Some(10), "it was certain for a while");
    // What is known in part only after an outage is as old as that.
    stage.hears(known("a"), at(82));
    stage.hears(down(), at(84));
    stage.hears(known("b"), at(85));
    stage.hears(known("a"), at(90));
    stage.hears(doubt("a"), at(90));
    assert_eq!(stage.age("a", 100), Some(16));
}

/// Each service has a task of its own in some sources.
#[test]
fn doubts_of_many_services_that_stay_are_as_old_as_they_were() {
    let mut stage = Stage::new();
    let names = ["a", "b", "c"];
    for name in names {
        stage.hears(doubt(name), at(1));
    }
    for word in [known as fn(&str) -> Update, doubt] {
        for name in names {
            stage.hears(word(name), at(50));
        }
    }
    assert_eq!(names.map(|name| stage.age(name, 60)), [Some(59); 3]);
}

#[test]
fn a_service_that_may_not_be_read_is_not_waited_for_for_ever() {
    let usable = |words: &[Update], seconds: u64| {
        let mut stage = Stage::new();
        let services = [service("a"), service("b")].into();
        let interest = Interest { services, ..Interest::default() };
        let sources = [(7, stage.source().name.clone(), Kind::Consul)];
        let interests = Interests { whole: interest.clone(), by_name: interest };
        stage.status.arrange(&sources, &interests, &stage.claims, at(0));
        words.iter().for_each(|word| drop(stage.hears(word.clone(), at(1))));
        assert!(!stage.source().answered);
        stage.source().is_usable(at(1 + seconds))
    };
    assert!(!usable(&[known("a"), doubt("b")], 9) && usable(&[known("a"), doubt("b")], 10));
    assert!(!usable(&[doubt("a"), doubt("b")], 59) && usable(&[doubt("a"), doubt("b")], 60));
    assert!(!usable(&[known("a")], 1000) && !usable(&[doubt("a")], 1000), "the other one is still to come");
    let fails = [known("a"), doubt("b"), down()];
    assert!(!usable(&fails, 9) && usable(&fails, 10), "a failure takes nothing back");
}

/// A name in a catalogue is nothing that could be served.
#[test]
fn a_source_that_told_of_names_only_has_told_of_nothing() {
    let mut stage = Stage::new();
    stage.hears(Update::Catalogue([service("a")].into()), at(1));
    stage.hears(doubt("a"), at(1));
    assert!(!stage.source().is_usable(at(60)) && stage.source().is_usable(at(61)));
}

#[test]
fn a_router_that_was_usable_once_stays_so() {
    let of = |names: &[&str]| {
        let interest = Interest { services: names.iter().map(|name| service(name)).collect(), ..Interest::default() };
        Interests { whole: interest.clone(), by_name: interest }
    };
    let told = |doubted_at: u64, fails_at: u64| {
        let mut stage = Stage::new();
        let sources = [(7, stage.source().name.clone(), Kind::Consul)];
        stage.status.arrange(&sources, &of(&["a"]), &stage.claims, at(0));
        stage.hears(doubt("a"), at(doubted_at));
        stage.hears(down(), at(fails_at));
        stage
    };
    let early = told(1, 60);
    assert!(!early.status.is_usable(at(60)), "the doubt was not old enough");
    let mut stage = told(1, 61);
    let sources = [(7, stage.source().name.clone(), Kind::Consul), (8, "new".into(), Kind::Consul)];
    stage.status.arrange(&sources, &of(&["a", "b"]), &stage.claims, at(62));
    assert!(!stage.status.sources.iter().any(|source| source.is_usable(at(63))));
    assert!(stage.status.is_usable(at(63)), "neither an outage nor a reload takes it out");
}

#[test]
fn what_leaves_the_catalogue_before_it_was_spoken_of_is_not_awaited() {
    let mut stage = Stage::new();
    stage.hears(Update::Catalogue([service("a"), service("b")].into()), at(1));
    stage.hears(known("a"), at(2));
    assert!(!stage.source().answered);
    stage.hears(Update::Catalogue([service("a")].into()), at(3));
    assert!(stage.source().answered);
}

#[test]
fn what_is_remembered_is_not_taken_back_by_a_source_that_cannot_see_it() {
    let mut stage = Stage::new();
    let interest = Interest { services: [service("a")].into(), ..Interest::default() };
    assert!(stage.claims.recall(7, &service("a"), vec![Arc::new(instance("one", 1))], &interest));
    stage.status.recall(7, [(service("a"), Duration::ZERO)].into());
    stage.hears(doubt("a"), at(1));
    stage.hears(Update::Forgotten(service("a")), at(2));
    assert_eq!((stage.source().unlisted.len(), stage.source().doubts.len()), (1, 1));
    assert!(stage.claims.has_instances(&service("a")));
    // Asked by name, it is not waited for: it may be refused for ever.
    stage.hears(Update::Catalogue([service("a")].into()), at(3));
    assert!(stage.source().answered);
}

#[test]
fn a_service_without_instances_leaves_nothing_unconfirmed() {
    let mut stage = Stage::new();
    let knowledge = Knowledge::KnownEmpty;
    let empty = Update::Service { service: service("b"), knowledge, deregistered: Vec::new() };
    stage.hears(known("a"), at(1));
    stage.hears(empty, at(1));
    stage.hears(down(), at(2));
    stage.hears(Update::Catalogue([service("a")].into()), at(3));
    assert_eq!(stage.source().unconfirmed.keys().map(ServiceId::as_str).collect::<Vec<_>>(), ["a"]);
}

/// A word of the source.
#[derive(Debug, Clone, Copy)]
enum Event {
    Known(usize),
    Doubt(usize),
    Down,
    Catalogue,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0_usize..2).prop_map(Event::Known),
        (0_usize..2).prop_map(Event::Doubt),
        Just(Event::Down),
        Just(Event::Catalogue),
    ]
}

proptest! {
    /// Whatever else happens: a service is as old as the first trouble after its own last word.
    #[test]
    fn a_service_is_as_old_as_the_first_trouble_after_its_own_word(events in prop::collection::vec(event(), 0..30)) {
        let (mut stage, names) = (Stage::new(), ["a", "b"]);
        let mut since: [Option<u64>; 2] = [None; 2];
        names.iter().for_each(|name| drop(stage.hears(known(name), at(0))));
        for (second, event) in (1..).zip(events) {
            let update = match event {
                Event::Known(which) => {
                    since[which] = None;
                    known(names[which])
                }
                Event::Doubt(which) => {
                    since[which].get_or_insert(second);
                    doubt(names[which])
                }
                Event::Down => {
                    since.iter_mut().for_each(|since| *since = since.or(Some(second)));
                    down()
                }
                Event::Catalogue => Update::Catalogue(names.map(service).into()),
            };
            stage.hears(update, at(second));
            for (name, since) in names.iter().zip(since) {
                prop_assert_eq!(stage.age(name, second + 5), since.map(|since| second + 5 - since));
            }
        }
    }
}
