//! What reads, and as what.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Balance, Key, Registry, Router, Tls, check, read};
use crate::{Entries, Located, OrOff, Secret, SecretSource, Size, Span};

#[test]
fn the_reference_shape_reads() {
    let router: Router = read(
        r#"
listeners:
  - address: 0.0.0.0:${PORT:8443}
    tls: { ca_file: certs/ca.pem, verify: true }
    head_limit: 64KiB
  - { address: "[::1]:80" }
admin: ~
registries:
  z: { consul: { url: "https://${HOST:localhost}:8501", token: "${TOKEN:}" } }
  a: { embedded: { directory: data } }
  m: none
  p: { pair: [ 1, 0x10 ] }
routes:
  - { prefix: /v1, service: pets, timeout: 1m30s }
  - { prefix: /v2, service: pets, timeout: off }
services:
  "*": { balance: least_requests }
  pets: { balance: { consistent_hash: { header: x-user } }, tls: }
  dogs: { balance: { consistent_hash: client_address } }
ratio: 1
trusted: [ 10.0.0.1, "::1" ]
"#,
    )
    .expect("reads");
    assert_eq!(router.listeners[0].address.port(), 9443);
    assert_eq!(router.listeners[0].head_limit, Size::from_bytes(65536));
    assert!(router.listeners[0].tls.as_ref().is_some_and(|tls| tls.verify));
    assert_eq!((router.admin, &router.listeners[1].tls), (None, &None));
    let names: Vec<&str> = router.registries.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["z", "a", "m", "p"]);
    let Some(Registry::Consul(consul)) = router.registries.get("z") else { panic!("no consul") };
    assert_eq!(*consul.url, "https://localhost:8501");
    assert_eq!(consul.token, Some(SecretSource::Inline(Secret::default())));
    assert_eq!(router.registries.get("p"), Some(&Registry::Pair(1, 16)));
    assert_eq!(router.routes[0].timeout, Some(OrOff(Some(Span::from_secs(90)))));
    assert_eq!(router.routes[1].timeout, Some(OrOff(None)));
    assert_eq!(router.services["pets"].balance, Balance::ConsistentHash(Key::Header("x-user".into())));
    assert_eq!(router.services["pets"].tls, Tls::default());
    assert_eq!(router.services["dogs"].balance, Balance::ConsistentHash(Key::ClientAddress));
    assert_eq!((router.ratio, router.trusted.len()), (1.0, 2));
}

#[test]
fn nothing_is_empty() {
    check("", Router::default());
    check("# only a comment\n", Router::default());
    check("routes:\nservices: ~\nregistries: null\n", Router::default());
    check::<Option<String>>("~", None);
    check::<Option<Located<u8>>>("", None);
    check::<Option<String>>("''", Some(String::new()));
}

#[test]
fn scalars_follow_the_wanted_type() {
    check("1.10", "1.10".to_owned());
    check("007", "007".to_owned());
    check("true", "true".to_owned());
    check("0x1F", 31u8);
    check("0o17", 15u64);
    check("-5", -5i64);
    check("1e3", 1000.0);
    check("5", 5.0f32);
    check(".inf", f64::INFINITY);
    check("x", 'x');
    check("18446744073709551615", u64::MAX);
    check("{ 80: a, 443: b }", BTreeMap::from([(80u16, 'a'), (443, 'b')]));
    check("{ a: [ 1, x ] }", HashMap::from([("a".to_owned(), (1u8, "x".to_owned()))]));
    check("|\n  two\n  lines\n", "two\nlines\n".to_owned());
}

/// What `deserialize_any` gives, by way of a format that keeps it apart.
#[test]
fn any_is_typed_by_the_core_schema() {
    let text = "[ 1, -1, 1.5, true, ~, yes, off, \"1\", inf, { a: [ ] }, 1_000, 99999999999999999999 ]";
    let expected = r#"[1,-1,1.5,true,null,"yes","off","1","inf",{"a":[]},"1_000","#;
    let found = read::<Vec<serde_json::Value>>(&text.replace(", 99999999999999999999", "")).expect("reads");
    assert_eq!(serde_json::to_string(&found).expect("writes"), expected.trim_end_matches(',').to_owned() + "]");
    read::<IgnoredAny>(text).expect("anything is ignored");
}

#[test]
fn a_word_or_a_map_by_untagged_and_flatten_still_reads() {
    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    #[derive(Debug, PartialEq, Deserialize)]
    struct Outer {
        a: u8,
        #[serde(flatten)]
        rest: BTreeMap<String, OneOrMany>,
    }
    let rest = BTreeMap::from([
        ("b".to_owned(), OneOrMany::One("x".into())),
        ("c".to_owned(), OneOrMany::Many(vec!["y".into()])),
    ]);
    check("{ a: 1, b: x, c: [ y ] }", Outer { a: 1, rest });
}

#[test]
fn aliases_of_keys_are_no_unknown_keys() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Renamed {
        #[serde(rename = "caFile", alias = "ca_file")]
        ca: String,
    }
    check("ca_file: x", Renamed { ca: "x".into() });
    check("caFile: x", Renamed { ca: "x".into() });
    super::refuse_as::<Renamed>("caFile: x\nca_file: y", "1:1: duplicate key \"caFile\"; keep one of the two");
}

#[test]
fn places_do_not_count_in_comparison_and_are_optional() {
    let here: Located<u8> = read("\n\n7").expect("reads");
    assert_eq!((here.place().line, here.place().column, *here), (3, 1, 7));
    assert_eq!(here, Located::from(7));
    assert_eq!(here.map(|n| n + 1).place().line, 3);
    let json: Located<u8> = serde_json::from_str("7").expect("reads");
    assert_eq!(json.place(), &crate::Place::default());
    let keys: Entries<u8> = read("a: 1\nb: 2").expect("reads");
    assert_eq!((keys[1].0.place().line, keys[1].0.place().path.as_str()), (2, "b"));
    serde_json::from_str::<Entries<u8>>(r#"{"a":1,"a":2}"#).expect_err("a duplicate");
}

#[test]
fn secrets_are_not_shown() {
    let source: SecretSource = read("007").expect("reads");
    let secret = source.read().expect("inline");
    assert_eq!(secret.expose(), "007");
    assert_eq!(format!("{source:?} {secret}"), "Inline(Secret(***)) ***");
    assert!(secret.matches(b"007") && !secret.matches(b"008") && !secret.matches(b"0070") && !secret.matches(b""));
}

#[test]
fn secret_files_are_read_anew() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("token");
    let source: SecretSource = read(&format!("file: {}", file.display())).expect("reads");
    assert_eq!(source.file(), Some(file.as_path()));
    let missing = source.read().expect_err("no file yet").to_string();
    assert!(missing.contains("token: "), "{missing}");
    for (content, secret) in [("one\n", "one"), (" two \r\n\n", " two "), ("", "")] {
        std::fs::write(&file, content).expect("written");
        assert_eq!(source.read().expect("reads").expose(), secret);
    }
}

#[test]
fn a_word_alone_will_do_for_a_variant_that_may_have_settings() {
    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Start {
        Slow(Option<Span>),
    }
    check("slow", Start::Slow(None));
    check("slow: ", Start::Slow(None));
    check("slow: 5s", Start::Slow(Some(Span::from_secs(5))));
}
