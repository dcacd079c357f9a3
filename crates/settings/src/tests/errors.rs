//! Each kind of mistake, with the message it must get.

use super::{refuse, refuse_as};
use crate::{Located, Place, SettingsError};

#[test]
fn unknown_keys_name_the_nearest_and_the_allowed() {
    refuse(
        "services:\n  petstore:\n    balnce: round_robin",
        "3:5: services.petstore.balnce: unknown key \"balnce\"; did you mean \"balance\"? (allowed: balance, tls)",
    );
    refuse(
        "services:\n  \"a.b\":\n    tls: { verify: true, colour: 1 }",
        "3:26: services.\"a.b\".tls.colour: unknown key \"colour\" (allowed: ca_file, verify)",
    );
    refuse(
        "registries:\n  dc1:\n    consul:\n      url: x\n      tokken: y",
        "5:7: registries.dc1.consul.tokken: unknown key \"tokken\"; did you mean \"token\"? (allowed: url, token)",
    );
    refuse(
        "registries: { local: { embedded: { directory: a, dir: b } } }",
        "1:50: registries.local.embedded.dir: unknown key \"dir\" (allowed: directory)",
    );
}

#[test]
fn missing_keys_point_at_the_map() {
    refuse("routes:\n  - service: a", "2:5: routes[0]: missing key \"prefix\"; add `prefix: ...` here");
    refuse("listeners: [ {} ]", "1:14: listeners[0]: missing key \"address\"; add `address: ...` here");
    refuse(
        "registries:\n  dc1:\n    consul: {}\n",
        "3:13: registries.dc1.consul: missing key \"url\"; add `url: ...` here",
    );
    refuse_as::<super::Tls>("- a", "1:1: found a list, expected a map with keys among: ca_file, verify");
    refuse_as::<super::Consul>("", "1:1: missing key \"url\"; add `url: ...` here");
}

#[test]
fn wrong_types_say_what_was_found_and_what_is_expected() {
    refuse("threads: many", "1:10: threads: found \"many\", expected a whole number from 0 to 65535");
    refuse("threads: 70000", "1:10: threads: found the number 70000, expected a whole number from 0 to 65535");
    refuse("threads: -1", "1:10: threads: found the number -1, expected a whole number from 0 to 65535");
    refuse("threads: 1.5", "1:10: threads: found the number 1.5, expected a whole number from 0 to 65535");
    refuse("threads: \"4\"", "1:10: threads: found \"4\", expected a whole number from 0 to 65535; remove the quotes");
    refuse("threads:", "1:8: threads: found nothing, expected a whole number from 0 to 65535");
    refuse("ratio: high", "1:8: ratio: found \"high\", expected a number, such as 0.5, without quotes");
    refuse("routes: all", "1:9: routes: found \"all\", expected a list, such as `[ a, b ]`");
    refuse("services: [ a ]", "1:11: services: found a list, expected a map, such as `{ key: value }`");
    refuse(
        "services: { a: { tls: { verify: yes } } }",
        "1:33: services.a.tls.verify: found \"yes\", expected `true` or `false`, without quotes",
    );
    refuse("routes:\n  - prefix: [ /a ]\n    service: a", "2:13: routes[0].prefix: found a list, expected a string");
    refuse(
        "admin: localhost",
        "1:8: admin: found \"localhost\", expected an address and a port, such as 127.0.0.1:8443 or \"[::1]:8443\"",
    );
    refuse(
        "trusted:\n  - 10.0.0.1\n  - 10.0.0",
        "3:5: trusted[1]: found \"10.0.0\", expected an IP address, such as 127.0.0.1 or \"::1\"",
    );
    refuse_as::<(u8, u8)>("[ 1 ]", "1:1: found a list of 1 items, expected one of 2");
    refuse_as::<char>("ab", "1:1: found \"ab\", expected a single character");
    refuse_as::<()>("ab", "1:1: found \"ab\", expected nothing");
    refuse_as::<std::num::NonZeroU16>("0", "1:1: found the number 0, expected a nonzero u16");
}

#[test]
fn enums_are_exact_inside_variants() {
    refuse(
        "services: { a: { balance: least_request } }",
        concat!(
            "1:27: services.a.balance: unknown value \"least_request\"; did you mean \"least_requests\"? ",
            "(allowed: least_requests, round_robin, consistent_hash)"
        ),
    );
    refuse(
        "registries:\n  dc1:\n    konsul: {}",
        concat!(
            "3:5: registries.dc1.konsul: unknown key \"konsul\"; did you mean \"consul\"? ",
            "(allowed: consul, embedded, pair, none)"
        ),
    );
    refuse(
        "services:\n  a:\n    balance:\n      consistent_hash: { heder: x }",
        concat!(
            "4:26: services.a.balance.consistent_hash.heder: unknown key \"heder\"; did you mean \"header\"? ",
            "(allowed: header, client_address)"
        ),
    );
    refuse(
        "services: { a: { balance: consistent_hash } }",
        concat!(
            "1:27: services.a.balance: \"consistent_hash\" needs settings; ",
            "write `consistent_hash: ...` instead of `consistent_hash`"
        ),
    );
    refuse(
        "services: { a: { balance: { round_robin: 5 } } }",
        "1:42: services.a.balance.round_robin: \"round_robin\" takes no settings; write `round_robin` alone",
    );
    refuse(
        "registries:\n  dc1:\n    consul: { url: x }\n    embedded: { directory: y }",
        concat!(
            "4:5: registries.dc1.embedded: \"embedded\" beside \"consul\", ",
            "expected one of: consul, embedded, pair, none; keep one of them"
        ),
    );
    refuse(
        "registries: { dc1: {} }",
        "1:20: registries.dc1: found an empty map, expected one of: consul, embedded, pair, none",
    );
    refuse(
        "registries: { dc1: [ consul ] }",
        "1:20: registries.dc1: found a list, expected one of: consul, embedded, pair, none",
    );
    refuse(
        "registries: { dc1: { pair: [ 1, 300 ] } }",
        "1:33: registries.dc1.pair[1]: found the number 300, expected a whole number from 0 to 255",
    );
}

#[test]
fn units_and_secrets_teach_their_notation() {
    refuse(
        "routes: [ { prefix: /a, service: a, timeout: 5 } ]",
        "1:46: routes[0].timeout: 5 has no unit; write 5s for seconds or 5ms for milliseconds",
    );
    refuse(
        "routes: [ { prefix: /a, service: a, timeout: soon } ]",
        concat!(
            "1:46: routes[0].timeout: found \"soon\", ",
            "expected a time with its unit, such as 250ms, 5s, 2m or 1h30m"
        ),
    );
    refuse(
        "listeners: [ { address: \"127.0.0.1:1\", head_limit: 64K } ]",
        concat!(
            "1:52: listeners[0].head_limit: unknown unit \"K\"; ",
            "write 64KiB for powers of 1024 or 64KB for powers of 1000"
        ),
    );
    refuse(
        "registries: { dc1: { consul: { url: x, token: { fil: y } } } }",
        "1:49: registries.dc1.consul.token.fil: unknown key \"fil\"; did you mean \"file\"? (allowed: file)",
    );
    refuse(
        "registries: { dc1: { consul: { url: x, token: [ y ] } } }",
        concat!(
            "1:47: registries.dc1.consul.token: found a list, ",
            "expected the secret itself, such as \"${TOKEN}\", or `{ file: PATH }`"
        ),
    );
}

#[test]
fn later_checks_point_at_the_value() {
    let routes: Vec<super::Route> =
        super::read("- prefix: /a\n  service: a\n- service: b\n  prefix: b").expect("two routes");
    let error = SettingsError::at(&routes[1].prefix, "a prefix begins with \"/\"").remedy("write `/b`");
    assert_eq!(error.to_string(), "r.yml:4:11: [1].prefix: a prefix begins with \"/\"; write `/b`");
    assert_eq!((error.place().line, error.place().column), (4, 11));

    let unread = SettingsError::at(&Located::from("x"), "no such file");
    assert_eq!(unread.to_string(), "default value: no such file");
    let whole = SettingsError::new(Place::file("r.yml".as_ref()), "no listeners");
    assert_eq!(whole.to_string(), "r.yml: no listeners");
}

#[test]
fn long_values_are_cut_and_stay_on_one_line() {
    let error = super::read::<u16>(&format!("\"a\\n{}\"", "é".repeat(5000))).expect_err("no number").to_string();
    assert!(error.starts_with("r.yml:1:1: found \"a\\né"), "{error}");
    assert!(error.len() < 300 && !error.contains('\n'), "{error}");
}

#[test]
fn files_that_cannot_be_read_say_why() {
    let directory = tempfile::tempdir().expect("a directory");
    let check = |path: &std::path::Path, expected: &[&str]| {
        let error = crate::load::<super::Router>(path).expect_err("unreadable").to_string();
        for part in expected {
            assert!(error.contains(part), "{error} lacks {part}");
        }
    };
    check(&directory.path().join("none.yml"), &["none.yml: cannot read the file", "check the path"]);
    check("none.yml".as_ref(), &["none.yml: cannot read the file", "which is relative to /"]);
    check(directory.path(), &["directory", "name a file"]);
    let file = directory.path().join("r.yml");
    std::fs::write(&file, b"threads: 1\nadmin: \xff").expect("a file");
    check(&file, &["r.yml:2:8: not UTF-8"]);
    std::fs::write(&file, vec![b'#'; 1024 * 1024 + 1]).expect("a file");
    check(&file, &["r.yml: the file is larger than 1 MiB"]);
    for lost in ["", " \n\n"] {
        std::fs::write(&file, lost).expect("a file");
        check(&file, &["r.yml: the file is empty", "write its content again", "begins with #"]);
    }
    std::fs::write(&file, "# nothing\n").expect("a file");
    assert!(crate::load::<std::collections::BTreeMap<String, String>>(&file).is_ok_and(|map| map.is_empty()));
    std::fs::write(&file, "threads: 3").expect("a file");
    assert_eq!(crate::load::<super::Router>(&file).map(|router| router.threads), Ok(3));
}
