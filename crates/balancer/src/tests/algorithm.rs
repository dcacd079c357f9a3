//! What the configuration may say.

use super::*;

fn read(yaml: &str) -> Result<Algorithm, String> {
    settings::parse(yaml, std::path::Path::new("x.yml"), &|_| None).map_err(|e| e.to_string())
}

fn by(key: HashKey, scheme: Scheme) -> Algorithm {
    Algorithm::ConsistentHash(ConsistentHash { key, scheme, bound: None })
}

#[test]
fn names_and_maps_are_read() {
    for (json, expected) in [
        (r#""round_robin""#, Algorithm::RoundRobin),
        (r#""least_requests""#, Algorithm::LeastRequests),
        (r#""random""#, Algorithm::Random),
        (r#""peak_ewma""#, Algorithm::PeakEwma(Decay::STANDARD)),
        (r#"{"peak_ewma": {}}"#, Algorithm::default()),
        (r#"{"peak_ewma": {"decay": 10s}}"#, Algorithm::default()),
        (r#"{"peak_ewma": {"decay": 1m}}"#, Algorithm::PeakEwma(Decay::from_millis(60_000))),
        (r#""local_first""#, Algorithm::LocalFirst),
        (r#"{"consistent_hash": {"header": "X-User"}}"#, by(HashKey::Header("x-user".into()), Scheme::Maglev)),
        (
            r#"{"consistent_hash": {"cookie": "SID", "algorithm": "ring"}}"#,
            by(HashKey::Cookie("SID".into()), Scheme::Ring),
        ),
        (r#"{"consistent_hash": {"query": "user"}}"#, by(HashKey::Query("user".into()), Scheme::Maglev)),
        (r#"{"consistent_hash": "client_address"}"#, by(HashKey::ClientAddress, Scheme::Maglev)),
        (
            r#"{"consistent_hash": {"client_address": true, "algorithm": "ring"}}"#,
            by(HashKey::ClientAddress, Scheme::Ring),
        ),
    ] {
        assert_eq!(read(json), Ok(expected), "{json}");
    }
    let Ok(Algorithm::ConsistentHash(bounded)) =
        read(r#"{"consistent_hash": {"client_address": true, "bounded_load": 1.25}}"#)
    else {
        panic!("not read")
    };
    assert_eq!(bounded.bound, Some(125));
}

#[test]
fn errors_say_what_is_allowed() {
    for (json, expected) in [
        (r#""least_request""#, "least_requests"),
        (r#"{"consistent_hash": {}}"#, "exactly one of"),
        (r#"{"consistent_hash": {"client_address": false}}"#, "exactly one of"),
        (r#"{"consistent_hash": {"header": "a", "cookie": "b"}}"#, "exactly one of"),
        (r#"{"consistent_hash": {"query": "a", "client_address": true}}"#, "exactly one of"),
        (r#"{"consistent_hash": {"query": ""}}"#, "exactly one of"),
        (r#"{"consistent_hash": {"query": "a", "bounded_load": 1}}"#, "write 1.25"),
        (r#"{"consistent_hash": {"heder": "a"}}"#, "unknown key \"heder\"; did you mean \"header\"?"),
        (r#"{"consistent_hash": {"header": "a b"}}"#, "cannot be the name of a header"),
        (r#"{"consistent_hash": {"cookie": ""}}"#, "cannot be the name of a cookie"),
        (r#"{"consistent_hash": {"header": "a", "algorithm": "rong"}}"#, "(allowed: maglev, ring)"),
        (r#"{"consistent_hash": "client"}"#, "client_address"),
        (r#"{"consistent_hash": 5}"#, "`client_address` or a map"),
        ("consistent_hash", "\"consistent_hash\" needs settings"),
        (r#"{"peak_ewma": {"decay": 500ms}}"#, "500ms is not between 1s and 10m"),
        (r#"{"peak_ewma": {"decay": 11m}}"#, "11m is not between 1s and 10m"),
        (r#"{"peak_ewma": {"deca": 10s}}"#, "unknown key \"deca\""),
        (r#"{"peak_ewma": 10s}"#, "a map with `decay`"),
    ] {
        let error = read(json).unwrap_err();
        assert!(error.contains(expected), "{json}: {error}");
    }
}

#[test]
fn algorithms_are_called_by_the_words_they_are_configured_by() {
    for algorithm in algorithms().into_iter().filter(|a| a.hash_key().is_none()) {
        assert_eq!(read(&format!("{:?}", algorithm.name())), Ok(algorithm));
    }
}

#[test]
fn only_hashing_looks_at_a_key() {
    let keys = algorithms().iter().filter(|a| a.hash_key().is_some()).count();
    assert_eq!(keys, 2);
    assert_eq!(hashing(Scheme::Ring).hash_key(), Some(&HashKey::ClientAddress));
}

#[test]
fn local_comes_before_zone_before_the_rest() {
    let zoned = |number, zone: &str| {
        let mut candidate = candidate(number, 1);
        let zone = Some(zone.into());
        candidate.instance = Arc::new(Instance { zone, ..(*candidate.instance).clone() });
        candidate
    };
    let all = vec![zoned(0, "b"), zoned(1, "a"), zoned(2, "b"), zoned(3, "a")];
    let here = IpAddr::from((0x0A00_0002_u32).to_be_bytes());
    let place = Place { addresses: vec![here], zone: Some("a".into()) };
    let balancer = Algorithm::LocalFirst.build(all.clone(), &place);
    let picks = |tried: &[u64]| {
        let tried: Vec<_> = tried.iter().copied().map(UpstreamKey).collect();
        let pick = |_| balancer.pick(&Ask { tried: &tried, ..ask(None) }).unwrap();
        (0..100).map(pick).collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(picks(&[]), [2].into());
    assert_eq!(picks(&[2]), [1, 3].into());
    assert_eq!(picks(&[2, 3]), [1].into());
    assert_eq!(picks(&[1, 2, 3]), [0].into());
    let nowhere = Algorithm::LocalFirst.build(all, &Place::default());
    assert_eq!(tally(&*nowhere, 4, 1000).iter().filter(|n| **n > 0).count(), 4);
}
