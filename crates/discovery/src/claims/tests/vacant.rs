//! Names that come and go are forgotten.

use super::*;
use crate::claims::vacant::MOST;

/// The services the file names: `r` alone.
fn named() -> Interest {
    Interest { services: [service("r")].into(), exposure: Exposure::Everything }
}

fn arranged() -> Claims {
    let mut claims = claims(2);
    claims.arrange(vec![(0, "s0".into()), (1, "s1".into())], holds(), &named(), at(0));
    claims
}

/// A source says of a service that it has this many instances, and that those before left on their own word.
fn word(claims: &mut Claims, source: SourceId, name: &str, instances: u8, now: Tick) {
    let list = (0..instances).map(|n| instance(&n.to_string(), n));
    let deregistered = (0..9).map(|n: u8| InstanceId::new(&n.to_string()).unwrap()).collect();
    claims.apply(source, Update::Service { service: service(name), knowledge: Knowledge::of(list), deregistered }, now);
}

#[test]
fn a_service_without_instances_is_forgotten_in_its_time_and_one_the_file_names_never() {
    let mut claims = arranged();
    word(&mut claims, 0, "a", 1, at(0));
    for name in ["a", "b", "r"] {
        word(&mut claims, 0, name, 0, at(5));
    }
    word(&mut claims, 1, "b", 1, at(6));
    assert_eq!(claims.next_deadline(), Some(at(605)));
    assert_eq!(claims.forget_vacant(at(604)), []);
    assert_eq!(claims.forget_vacant(at(605)), [service("a")]);
    assert_eq!(claims.services().cloned().collect::<BTreeSet<_>>(), [service("b"), service("r")].into());
    // What the file does not name any more is as all others.
    let interest = Interest { services: BTreeSet::new(), ..named() };
    claims.arrange(vec![(0, "s0".into()), (1, "s1".into())], holds(), &interest, at(700));
    assert_eq!(claims.forget_vacant(at(1300)), [service("r")]);
}

#[test]
fn suspects_keep_their_service() {
    let mut claims = claims(1);
    claims.apply(0, says("a"), at(0));
    claims.apply(0, says(""), at(0));
    assert_eq!(claims.forget_vacant(at(10_000)), []);
    claims.expire(at(10_000));
    assert_eq!(claims.forget_vacant(at(10_600)), [service("petstore")]);
}

#[test]
fn of_too_many_those_go_first_that_are_empty_for_longest() {
    let mut claims = arranged();
    for n in 0..=MOST as u64 + 1 {
        word(&mut claims, 0, &format!("s{n}"), 0, at(n / 100));
    }
    assert_eq!(claims.forget_vacant(at(200)).len(), 2);
    assert_eq!((claims.services().count(), claims.speaks_of(0, &service(&format!("s{}", MOST + 1)))), (MOST, true));
}

proptest! {
    /// Whatever two sources say when: forgotten is exactly what has had no instance for ten minutes and is not named.
    #[test]
    fn a_service_is_forgotten_if_and_only_if_it_was_empty_for_the_whole_time(
        words in proptest::collection::vec((0_usize..2, "[ab r]", 0_u8..2, 0_u64..400), 0..40),
    ) {
        let mut claims = arranged();
        // Of each service: what each source said last, and since when all say that it is empty.
        let mut model: HashMap<String, ([Option<u8>; 2], Option<u64>)> = HashMap::new();
        let mut now = 0;
        for (source, name, instances, later) in words.into_iter().filter(|(_, name, _, _)| name != " ") {
            now += later;
            let mut expected: BTreeSet<String> = BTreeSet::new();
            model.retain(|name, (_, since)| {
                let over = name != "r" && since.is_some_and(|since| since + 600 <= now);
                if over {
                    expected.insert(name.clone());
                }
                !over
            });
            let forgotten = claims.forget_vacant(at(now));
            prop_assert_eq!(forgotten.iter().map(ToString::to_string).collect::<BTreeSet<_>>(), expected);
            word(&mut claims, source, &name, instances, at(now));
            let (said, since) = model.entry(name).or_default();
            said[source] = Some(instances);
            let empty = said.iter().flatten().all(|n| *n == 0);
            *since = if empty { since.or(Some(now)) } else { None };
            for name in model.keys() {
                prop_assert!(claims.services().any(|s| s.as_str() == name));
            }
            prop_assert_eq!(claims.services().count(), model.len());
        }
    }
}
