//! Several sources, and words that are too old.

use model::Standing;

use super::*;

/// What a source says: letters are instances, each at the address of its letter; capitals do not serve (draining).
fn claimed_by(words: &[&str], merge: &Merge, too_old: &[Option<TooOld>]) -> Vec<Claimed> {
    let mut claims = claims(words.len());
    for (source, letters) in words.iter().enumerate() {
        let list = letters.bytes().map(|letter| {
            let mut instance = instance(&(letter as char).to_string(), letter);
            if letter.is_ascii_uppercase() {
                instance.standing = Standing::Draining;
            }
            instance
        });
        let knowledge = Knowledge::of(list);
        claims.apply(source, Update::Service { service: service("petstore"), knowledge, deregistered: vec![] }, at(0));
    }
    let too_old = |source: SourceId| too_old.get(source).copied().flatten();
    claims.joined(&service("petstore"), merge, too_old).unwrap_or_default()
}

/// Letters of the first choice, then of the last resort, each with its source's number.
fn shown(list: &[Claimed]) -> String {
    let one = |c: &Claimed| format!("{}{}", c.instance.id, &c.source[1..]);
    let part = |resort| list.iter().filter(move |c| c.resort == resort).map(one).collect::<String>();
    format!("{}/{}", part(false), part(true))
}

#[test]
fn first_takes_the_next_source_only_if_the_earlier_ones_have_nobody_to_serve() {
    let first = |words: &[&str]| shown(&claimed_by(words, &Merge::First, &[]));
    assert_eq!(first(&["ab", "bc", "d"]), "a0b0/");
    assert_eq!(first(&["", "bc", "d"]), "b1c1/");
    assert_eq!(first(&["", "", ""]), "/");
    // One that ends what it has is not served to, and keeps its connections.
    assert_eq!(first(&["A", "bc", "d"]), "A0b1c1/");
    assert_eq!(first(&["A", "B", ""]), "A0B1/");
}

#[test]
fn first_goes_on_with_suspects_behind_the_next_source() {
    let mut claims = claims(2);
    claims.apply(0, says("ab"), at(0));
    claims.apply(1, says("xy"), at(0));
    let joined = |claims: &Claims| shown(&claims.joined(&service("petstore"), &Merge::First, |_| None).unwrap());
    assert_eq!(joined(&claims), "a0b0/");
    claims.apply(0, says(""), at(1));
    assert_eq!(joined(&claims), "x1y1/a0b0");
    claims.apply(0, says("a"), at(2));
    assert_eq!(joined(&claims), "a0/b0");
}

#[test]
fn a_word_that_is_too_old_is_used_as_the_policy_says() {
    let old = |what, merge: &Merge| shown(&claimed_by(&["ab", "bc"], merge, &[Some(what)]));
    assert_eq!(old(TooOld::Serve, &Merge::Union), "a0b0c1/");
    assert_eq!(old(TooOld::LastResort, &Merge::Union), "b1c1/a0");
    assert_eq!(old(TooOld::Refuse, &Merge::Union), "b1c1/");
    assert_eq!(old(TooOld::LastResort, &Merge::First), "b1c1/a0");
    assert_eq!(shown(&claimed_by(&["ab"], &Merge::Union, &[Some(TooOld::Refuse)])), "/");
}

#[test]
fn weights_give_each_source_its_share() {
    let weights = |words: &[&str], shares: &[(&str, u16)]| {
        let merge = Merge::Weighted(shares.iter().map(|(name, n)| ((*name).into(), *n)).collect());
        claimed_by(words, &merge, &[]).iter().map(|c| c.instance.weight).collect::<Vec<_>>()
    };
    assert_eq!(weights(&["ab", "cdef"], &[("s0", 50), ("s1", 50)]), [10_000, 10_000, 5000, 5000, 5000, 5000]);
    assert_eq!(weights(&["a", "b"], &[("s0", 90), ("s1", 10)]), [10_000, 1111]);
    assert_eq!(weights(&["a", "b"], &[("s0", 1)]), [10_000, 0], "who is not named gets the rest, and that is nothing");
    assert_eq!(weights(&["", "bc"], &[("s0", 1)]), [1, 1], "unless nobody else is there");
    assert_eq!(weights(&["a", "ab"], &[("s0", 1), ("s1", 1)]), [10_000, 10_000], "a counts where it is named first");
}

proptest! {
    /// Whatever is said, by whom, and however old it is: an address is there once; a union is everybody; the others choose
    /// among those; and present is before last resort.
    #[test]
    fn an_instance_is_there_once(
        words in proptest::collection::vec("[a-eA-C]{0,5}", 1..4),
        old in proptest::collection::vec(proptest::option::of(0_usize..3), 3),
        numbers in proptest::collection::vec(0_u16..100, 3),
    ) {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let what = [TooOld::Serve, TooOld::LastResort, TooOld::Refuse];
        let old: Vec<Option<TooOld>> = old.iter().map(|o| o.map(|o| what[o])).collect();
        let shares = Merge::Weighted(numbers.iter().enumerate().map(|(n, w)| (format!("s{n}").into(), *w)).collect());
        let union = claimed_by(&words, &Merge::Union, &old);
        let ids = |list: &[Claimed], resort| {
            list.iter().filter(|c| c.resort == resort).map(|c| c.instance.id.to_string()).collect::<BTreeSet<_>>()
        };
        for merge in [&Merge::Union, &Merge::First, &shares] {
            let list = claimed_by(&words, merge, &old);
            let mut addresses: Vec<_> = list.iter().map(|c| c.instance.endpoint.address.clone()).collect();
            let (count, expected) = (addresses.len(), ids(&list, false).len() + ids(&list, true).len());
            addresses.sort();
            addresses.dedup();
            // A source may list one address twice in one word.
            prop_assert!(addresses.len() == expected && expected <= count);
            prop_assert!(ids(&list, false).is_subset(&ids(&union, false)));
            prop_assert!(ids(&list, false).is_disjoint(&ids(&list, true)));
            prop_assert_eq!(ids(&list, false).is_empty(), ids(&union, false).is_empty());
        }
        let weighted = claimed_by(&words, &shares, &old);
        prop_assert_eq!((ids(&weighted, false), ids(&weighted, true)), (ids(&union, false), ids(&union, true)));
    }

    /// Of what all sources with a number get together, each gets its share, to a thousandth and what rounding costs.
    #[test]
    fn shares_are_kept_whatever_the_weights(
        weights in proptest::collection::vec(proptest::collection::vec(1_u16..1000, 1..8), 1..4),
        numbers in proptest::collection::vec(1_u16..100, 3),
    ) {
        let mut claims = claims(weights.len());
        for (source, weights) in weights.iter().enumerate() {
            let list = (0_u8..).zip(weights).map(|(n, weight)| {
                let number = u8::try_from(source).unwrap() * 10 + n;
                Instance { weight: *weight, ..instance(&number.to_string(), number) }
            });
            let knowledge = Knowledge::of(list);
            claims.apply(source, Update::Service { service: service("petstore"), knowledge, deregistered: vec![] }, at(0));
        }
        let shares: Vec<_> = weights.iter().zip(&numbers).enumerate().map(|(n, (_, w))| (format!("s{n}").into(), *w)).collect();
        let list = claims.joined(&service("petstore"), &Merge::Weighted(shares.clone()), |_| None).unwrap();
        let of = |name: &str| list.iter().filter(|c| &*c.source == name).map(|c| f64::from(c.instance.weight)).sum::<f64>();
        let (all, wanted) = (list.iter().map(|c| f64::from(c.instance.weight)).sum::<f64>(), shares.iter().map(|(_, n)| f64::from(*n)).sum::<f64>());
        for (name, number) in &shares {
            let (got, due) = (of(name) / all, f64::from(*number) / wanted);
            // Each of up to 24 instances is rounded by half, and is 1 at least.
            prop_assert!((got - due).abs() < 0.001 + 24.0 / all, "{name}: {got} for {due}");
        }
        prop_assert!(list.iter().all(|c| c.instance.weight > 0));
    }
}
