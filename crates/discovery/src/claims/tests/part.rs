//! Lists of which the source says that they are a part.

use super::*;

/// An answer for `petstore` that names these, and says that others may be there.
fn names(letters: &str) -> Update {
    let list = letters.bytes().map(|b| Arc::new(instance(&(b as char).to_string(), b))).collect();
    Update::Service { service: service("petstore"), knowledge: Knowledge::Part(list), deregistered: Vec::new() }
}

#[test]
fn who_is_missing_in_a_part_is_a_suspect_however_few_they_are() {
    check(&after(&[says("abcd"), names("abc")]), "abc/d");
    check(&after(&[says("abcd"), names("abce")]), "abce/d");
    check(&after(&[says("abcd"), names("")]), "/abcd");
    check(&after(&[names("abc"), names("ab"), says("ab")]), "ab/c");
    check(&after(&[names("abc"), names("ab"), names("abc")]), "abc/");
    // Nothing else is kept: a list that is whole is judged as ever.
    check(&after(&[names("abc"), says("ab")]), "ab/");
}

/// As when each deployment takes new names, and one node may not be read, ever.
#[test]
fn parts_that_follow_each_other_do_not_add_up() {
    let mut claims = after(&[says("a")]);
    for (seconds, letters, expected) in [(10, "b", "b/a"), (20, "c", "c/ab"), (45, "d", "d/bc"), (50, "d", "d/c")] {
        claims.expire(at(seconds));
        claims.apply(0, names(letters), at(seconds));
        check(&claims, expected);
    }
    claims.expire(at(75));
    check(&claims, "d/");
    assert_eq!(claims.next_deadline(), None);
}

#[test]
fn who_is_missing_in_a_part_goes_when_it_cannot_be_connected_to() {
    let mut claims = after(&[says("abc"), names("ab")]);
    let c = instance("c", b'c').endpoint.address;
    assert_eq!(claims.connect_failed(&service("petstore"), &c, at(1)).len(), 1);
    check(&claims, "ab/");
}

/// The token is read anew when the agent is, and after a reload: then it is the first word that is a part.
#[test]
fn the_first_word_of_another_life_may_be_a_part() {
    let mut reloaded = after(&[says("abc")]);
    reloaded.arrange(vec![(7, "s0".into())], holds(), &everything(), at(1));
    reloaded.apply(7, names("ab"), at(1));
    check(&reloaded, "ab/c");

    let mut remembered = claims(1);
    let list = ["a", "b", "c"].map(|name| Arc::new(instance(name, name.as_bytes()[0])));
    assert!(remembered.recall(0, &service("petstore"), list.to_vec(), &everything()));
    remembered.apply(0, names("ab"), at(1));
    check(&remembered, "ab/c");
    let kept = |claims: &Claims| claims.memorable(0, &service("petstore")).unwrap().len();
    assert_eq!(kept(&remembered), 3, "it is not forgotten before that is settled");
    assert_eq!(remembered.expire(at(31)).len(), 1);
    assert_eq!(kept(&remembered), 2);
}

proptest! {
    /// Whatever is named whole or in part: the first choice is exactly who was named last; who is last resort was named
    /// before, and not longer ago than the hold; and what is remembered is both.
    #[test]
    fn nobody_outlives_its_hold(words in proptest::collection::vec((any::<bool>(), "[a-e]{0,5}", 0_u64..20), 1..30)) {
        let (mut claims, mut now) = (claims(1), 0);
        let mut last: HashMap<char, u64> = HashMap::new();
        let mut before = BTreeSet::new();
        for (part, letters, pause) in words {
            now += pause;
            let named: BTreeSet<char> = letters.chars().collect();
            let letters: String = named.iter().collect();
            // Who is not named any more was there until now.
            last.extend(before.difference(&named).map(|gone| (*gone, now)));
            claims.expire(at(now));
            claims.apply(0, if part { names(&letters) } else { says(&letters) }, at(now));
            let joined = union(&claims).unwrap();
            let who = |resort| -> BTreeSet<char> {
                let some = joined.iter().filter(|c| c.resort == resort);
                some.map(|c| c.instance.id.as_str().chars().next().unwrap()).collect()
            };
            prop_assert_eq!(&who(false), &named);
            for suspect in who(true) {
                prop_assert!(now - last[&suspect] < HOLD.as_secs(), "{} at {}", suspect, now);
            }
            if part {
                prop_assert!(before.difference(&named).all(|missing| who(true).contains(missing)));
            }
            prop_assert_eq!(claims.memorable(0, &service("petstore")).unwrap().len(), joined.len());
            before = named;
        }
        claims.expire(at(now).after(HOLD));
        prop_assert!(union(&claims).unwrap().iter().all(|c| !c.resort));
    }
}
