use std::time::Duration;

use proptest::prelude::*;

mod merge;
mod part;
mod vacant;

use super::*;
use crate::testing::{instance, service};

const HOLD: Duration = Duration::from_secs(30);

fn claims(sources: usize) -> Claims {
    Claims::new((0..sources).map(|id| (id, format!("s{id}").into())).collect(), holds())
}

fn holds() -> Holds {
    Holds { all: HOLD, ..Holds::default() }
}

/// The services that changes concern.
fn of(changes: &[Change]) -> BTreeSet<ServiceId> {
    changes.iter().map(|change| change.service.clone()).collect()
}

fn union(claims: &Claims) -> Option<Vec<Claimed>> {
    claims.joined(&service("petstore"), &Merge::Union, |_| None)
}

fn at(seconds: u64) -> Tick {
    Tick::default().after(Duration::from_secs(seconds))
}

/// An answer for `petstore`: instances named by a letter, at an address of the same number.
fn says(letters: &str) -> Update {
    says_without(letters, "")
}

fn says_without(letters: &str, deregistered: &str) -> Update {
    let list = letters.bytes().map(|b| instance(&(b as char).to_string(), b));
    let deregistered = deregistered.chars().map(|c| InstanceId::new(&c.to_string()).unwrap()).collect();
    Update::Service { service: service("petstore"), knowledge: Knowledge::of(list), deregistered }
}

/// The joined list of `petstore`: letters of the first choice, then of the last resort. `-` if nobody claims it.
fn check(claims: &Claims, expected: &str) {
    let shown = union(claims).map(|list| {
        let letters = |resort| list.iter().filter(move |c| c.resort == resort).map(|c| c.instance.id.as_str());
        format!("{}/{}", letters(false).collect::<String>(), letters(true).collect::<String>())
    });
    assert_eq!(shown.as_deref().unwrap_or("-"), expected);
}

fn after(updates: &[Update]) -> Claims {
    let mut claims = claims(2);
    for update in updates {
        claims.apply(0, update.clone(), at(0));
    }
    claims
}

#[test]
fn a_withdrawal_is_suspect_only_if_too_much_leaves_and_nothing_comes() {
    check(&after(&[says("abcd"), says("abc")]), "abc/");
    check(&after(&[says("abcd"), says("ab")]), "ab/");
    check(&after(&[says("abcd"), says("a")]), "a/bcd");
    check(&after(&[says("abcd"), says("e")]), "e/");
    check(&after(&[says("abcd"), says("")]), "/abcd");
    check(&after(&[says("a"), says("")]), "/a");
}

/// As when an agent comes back and its checks fail one after the other.
#[test]
fn who_left_shortly_before_a_suspect_is_one_too() {
    check(&after(&[says("abc"), says("bc"), says("c")]), "c/");
    check(&after(&[says("abc"), says("bc"), says("c"), says("")]), "/abc");
    check(&after(&[says("abcd"), says("bcd"), says("d")]), "d/abc");
    check(&after(&[says("abc"), says("bc"), says("c"), says(""), says("a")]), "a/bc");
    // Who came since took its place, and so did who came at the same time.
    check(&after(&[says("ab"), says("b"), says("bc"), says("")]), "/bc");
    check(&after(&[says("ab"), says("bc"), says("")]), "/bc");
    // It left on its own word, be that late.
    check(&after(&[says("ab"), says_without("b", "a"), says("")]), "/b");
    check(&after(&[says("ab"), says("b"), says_without("b", "a"), says("")]), "/b");
    // It does not answer.
    let mut claims = after(&[says("abc"), says("bc"), says("c")]);
    let b = instance("b", b'b').endpoint.address;
    assert_eq!(claims.connect_failed(&service("petstore"), &b, at(1)), []);
    claims.apply(0, says(""), at(1));
    check(&claims, "/ac");
    // That was long ago.
    let mut claims = after(&[says("ab"), says("b")]);
    assert_eq!(claims.next_deadline(), Some(at(30)));
    assert!(claims.expire(at(30)).is_empty());
    claims.apply(0, says(""), at(31));
    check(&claims, "/b");
}

/// As registries tell it that name no reason: a service scaled down to nothing is no fault but for its end.
#[test]
fn who_left_before_a_suspect_stays_no_longer_than_its_own_hold() {
    let mut claims = after(&[says("abcdefghij")]);
    for (seconds, left) in (0..).step_by(10).zip(["bcdefghij", "cdefghij", "defghij", "efghij", "fghij", "ghij"]) {
        claims.expire(at(seconds));
        claims.apply(0, says(left), at(seconds));
    }
    for (seconds, left) in [(60, "hij"), (70, "ij"), (80, "j"), (90, "")] {
        claims.expire(at(seconds));
        claims.apply(0, says(left), at(seconds));
    }
    check(&claims, "/hij");
    for (seconds, expected) in [(99, "/hij"), (100, "/ij"), (110, "/j"), (119, "/j"), (120, "/")] {
        claims.expire(at(seconds));
        check(&claims, expected);
    }
}

#[test]
fn who_leaves_on_its_own_word_is_never_suspect() {
    check(&after(&[says("a"), says_without("", "a")]), "/");
    check(&after(&[says("abcd"), says_without("a", "bc")]), "a/");
    check(&after(&[says("abcd"), says_without("", "ab")]), "/cd");
    check(&after(&[says("ab"), says(""), says_without("", "a")]), "/b");
}

#[test]
fn a_suspect_that_is_named_again_is_no_suspect() {
    check(&after(&[says("ab"), says(""), says("a")]), "a/b");
}

/// Fabio 861.
#[test]
fn an_error_changes_no_list() {
    let mut claims = after(&[says("ab")]);
    let error = || model::ProviderError::Unreachable("x".into());
    let unknown =
        Update::Service { service: service("petstore"), knowledge: Knowledge::Unknown(error()), deregistered: vec![] };
    assert!(claims.apply(0, unknown, at(1)).is_empty());
    assert!(claims.apply(0, Update::Unreachable(error()), at(1)).is_empty());
    check(&claims, "ab/");
}

#[test]
fn suspects_go_when_their_time_is_over_or_no_connection_is_made() {
    let mut claims = after(&[says("ab"), says("")]);
    let b = instance("b", b'b').endpoint.address;
    assert_eq!(claims.connect_failed(&service("petstore"), &b, at(1)).len(), 1);
    assert_eq!(claims.connect_failed(&service("petstore"), &b, at(1)), [], "only once");
    check(&claims, "/a");
    assert_eq!(claims.next_deadline(), Some(at(30)));
    assert!(claims.expire(at(29)).is_empty());
    assert_eq!(of(&claims.expire(at(30))), [service("petstore")].into());
    check(&claims, "/");
    assert_eq!(claims.next_deadline(), Some(at(630)), "when it is forgotten");
}

#[test]
fn everything_empties_what_it_does_not_name() {
    let mut claims = after(&[says("ab")]);
    assert_eq!(of(&claims.apply(0, Update::Everything(HashMap::new()), at(0))), [service("petstore")].into());
    check(&claims, "/ab");
    claims.expire(at(30));
    check(&claims, "-");
}

#[test]
fn sources_are_joined_in_their_order() {
    let mut claims = claims(2);
    claims.apply(1, says("ab"), at(0));
    claims.apply(0, says("bc"), at(0));
    check(&claims, "abc/");
    let list = union(&claims).unwrap();
    assert_eq!(list.iter().map(|c| &*c.source).collect::<Vec<_>>(), ["s1", "s0", "s0"]);
    claims.apply(0, says(""), at(0));
    check(&claims, "ab/c");
    claims.arrange(vec![(0, "s0".into())], holds(), &everything(), at(0));
    check(&claims, "/bc");
    claims.apply(1, says("x"), at(0));
    check(&claims, "/bc");
}

#[test]
fn the_same_list_in_another_order_touches_nothing() {
    let mut claims = after(&[says("abc")]);
    assert!(claims.apply(0, says("cab"), at(1)).is_empty());
    assert!(!claims.apply(0, says("abd"), at(1)).is_empty());
}

fn everything() -> Interest {
    Interest { exposure: Exposure::Everything, ..Interest::default() }
}

#[test]
fn a_source_takes_over_from_the_one_of_its_name_until_it_speaks() {
    let arranged = |interest: &Interest| {
        let mut claims = after(&[says("abc")]);
        claims.arrange(vec![(7, "s0".into())], holds(), interest, at(0));
        claims
    };
    let mut claims = arranged(&everything());
    check(&claims, "abc/");
    // No suspicion: other settings, another list.
    claims.apply(7, says("a"), at(1));
    check(&claims, "a/");
    // From then on it is judged as any other.
    claims.apply(7, says(""), at(2));
    check(&claims, "/a");

    for (update, expected) in [
        (Update::Everything(HashMap::new()), "-"),
        (Update::Catalogue(BTreeSet::new()), "abc/"),
        (Update::Forgotten(service("petstore")), "abc/"),
        (Update::Unreachable(model::ProviderError::Closed), "abc/"),
    ] {
        let mut claims = arranged(&everything());
        claims.apply(7, update, at(1));
        check(&claims, expected);
    }
    check(&arranged(&Interest::default()), "-");
}

proptest! {
    /// Whatever two sources say in whatever order: present is exactly what they said last; nothing present is also a
    /// suspect; and without suspects there is no memory of the past.
    #[test]
    fn the_joined_list_is_what_was_said_last(
        words in proptest::collection::vec((0_usize..2, "[a-e]{0,5}"), 0..20),
    ) {
        let mut claims = claims(2);
        let mut last: [Option<BTreeSet<char>>; 2] = [None, None];
        for (source, letters) in &words {
            let set: BTreeSet<char> = letters.chars().collect();
            claims.apply(*source, says(&set.iter().collect::<String>()), at(0));
            last[*source] = Some(set);
        }
        let expected = (last[0].is_some() || last[1].is_some())
            .then(|| last.iter().flatten().flatten().copied().collect::<BTreeSet<char>>());
        let joined = union(&claims);
        let present = joined.as_ref().map(|list| {
            list.iter().filter(|c| !c.resort).map(|c| c.instance.id.as_str().chars().next().unwrap()).collect()
        });
        prop_assert_eq!(&present, &expected);
        let ids: Vec<_> = joined.iter().flatten().map(|c| c.instance.id.clone()).collect();
        let mut unique = ids.clone();
        unique.dedup();
        prop_assert_eq!(ids, unique);
        claims.expire(at(30));
        let left = union(&claims).map(|list| list.len());
        prop_assert_eq!(left, expected.map(|e| e.len()));
    }

    /// The words of one source keep their order; how those of several interleave does not matter.
    #[test]
    fn interleaving_of_sources_does_not_matter(
        first in proptest::collection::vec("[a-e]{0,5}", 0..6),
        second in proptest::collection::vec("[a-e]{0,5}", 0..6),
        order in proptest::collection::vec(any::<bool>(), 12),
    ) {
        let set = |letters: &String| letters.chars().collect::<BTreeSet<char>>().iter().collect::<String>();
        let (mut one, mut other) = (claims(2), claims(2));
        for letters in &first { one.apply(0, says(&set(letters)), at(0)); }
        for letters in &second { one.apply(1, says(&set(letters)), at(0)); }
        let (mut a, mut b) = (first.iter(), second.iter());
        for pick_first in order {
            let (source, letters) = match (pick_first, a.len(), b.len()) {
                (_, 0, 0) => break,
                (true, 1.., _) | (_, _, 0) => (0, a.next()),
                _ => (1, b.next()),
            };
            other.apply(source, says(&set(letters.unwrap())), at(0));
        }
        prop_assert_eq!(union(&one), union(&other));
    }
}

#[test]
fn instances_of_one_source_stand_for_themselves_also_at_one_address() {
    let mut claims = claims(2);
    let list = vec![instance("old", 1), instance("new", 1)];
    let said = |list: Vec<Instance>| Update::Service {
        service: service("petstore"),
        knowledge: Knowledge::of(list),
        deregistered: Vec::new(),
    };
    claims.apply(0, said(list), at(0));
    claims.apply(1, said(vec![instance("other", 1), instance("far", 2)]), at(0));
    check(&claims, "farnewold/");
}

#[test]
fn a_change_says_what_became_of_each_instance() {
    let mut claims = after(&[says("abcd")]);
    let ids = |list: &[Arc<Instance>]| list.iter().map(|i| i.id.as_str()).collect::<String>();
    let mut diff = |update: Update| {
        let changes = claims.apply(0, update, at(1));
        let diff = changes.into_iter().next().map(|change| change.diff).unwrap_or_default();
        [&diff.added, &diff.removed, &diff.suspected, &diff.settled].map(|list| ids(list))
    };
    assert_eq!(diff(says("abc")), ["", "d", "", ""]);
    assert_eq!(diff(says_without("", "b")), ["", "b", "acd", ""]);
    assert_eq!(diff(says_without("ax", "c")), ["ax", "", "", "c"]);
    assert_eq!(diff(says("ax")), ["", "", "", ""]);
    let heavy = Instance { weight: 9, ..instance("a", b'a') };
    let list = [heavy, instance("x", b'x')];
    let update =
        Update::Service { service: service("petstore"), knowledge: Knowledge::of(list), deregistered: Vec::new() };
    let changes = claims.apply(0, update, at(2));
    assert_eq!((ids(&changes[0].diff.changed), changes[0].diff.changed[0].weight), ("a".to_owned(), 9));
}

/// Kong 11713.
#[test]
fn the_hold_is_that_of_the_service_then_of_the_source() {
    let seconds = Duration::from_secs;
    let mut holds = Holds { all: seconds(30), sources: [("s0".into(), seconds(60))].into(), ..Holds::default() };
    let until = |holds: &Holds, source: SourceId| {
        let mut claims = Claims::new(vec![(0, "s0".into()), (1, "s1".into())], holds.clone());
        claims.apply(source, says("a"), at(0));
        claims.apply(source, says(""), at(0));
        claims.next_deadline()
    };
    assert_eq!((until(&holds, 0), until(&holds, 1)), (Some(at(60)), Some(at(30))));
    holds.others = Some(seconds(5));
    assert_eq!(until(&holds, 0), Some(at(5)));
    holds.services = [(service("petstore"), Duration::ZERO)].into();
    assert_eq!(until(&holds, 0), Some(at(0)));
}

#[test]
fn what_nobody_asks_about_any_longer_is_no_suspect() {
    let mut claims = claims(1);
    let forgotten = || Update::Forgotten(service("petstore"));
    claims.apply(0, says("abc"), at(0));
    assert_eq!(claims.apply(0, forgotten(), at(1))[0].diff.removed.len(), 3);
    check(&claims, "-");
    assert_eq!(claims.apply(0, forgotten(), at(1)), []);
    // Who was one before keeps its time: a catalogue may forget a service because all its instances failed.
    claims.apply(0, says("abc"), at(2));
    claims.apply(0, says("a"), at(2));
    claims.apply(0, forgotten(), at(3));
    check(&claims, "/bc");
    claims.expire(at(2).after(HOLD));
    check(&claims, "-");
}
