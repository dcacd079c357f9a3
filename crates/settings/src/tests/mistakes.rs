//! All that is wrong with a file is told in one go, and nothing that is not.

use super::{Router, read};
use crate::{Located, Mistakes, SettingsError};

#[track_caller]
fn told(text: &str, expected: &[&str]) {
    let told = read::<Router>(text).expect_err(text).to_string();
    let lines: Vec<&str> = told.lines().map(|line| line.strip_prefix("r.yml:").unwrap_or(line)).collect();
    let is_as_expected = lines.iter().zip(expected).all(|(line, expected)| line.starts_with(expected));
    assert!(lines.len() == expected.len() && is_as_expected, "{text}\n{told}");
}

#[test]
fn keys_and_values_anywhere_are_told_in_the_order_of_the_file() {
    told(
        "threads: many\nlistners: []\nroutes:\n  - { prefix: /a, service: a, timout: 1s }\n  - { service: b }\n  \
         - { prefix: /c, service: c, timeout: 2 }\nratio: high\n",
        &[
            "1:10: threads: found \"many\"",
            "2:1: listners: unknown key",
            "4:31: routes[0].timout: unknown key",
            "5:5: routes[1]: missing key \"prefix\"",
            "6:40: routes[2].timeout: 2 has no unit",
            "7:8: ratio: found \"high\"",
        ],
    );
    told(
        "registries: { a: { consl: {} }, b: { consul: { url: x, tokn: y } } }",
        &["1:20: registries.a.consl: unknown key", "1:56: registries.b.consul.tokn: unknown key"],
    );
    told("trusted: [ one, 10.0.0.1, two ]", &["1:12: trusted[0]: found \"one\"", "1:27: trusted[2]: found \"two\""]);
}

#[test]
fn what_is_missing_because_it_was_wrong_is_no_mistake_of_its_own() {
    told("routes: [ { prefix: [ /a ], service: a } ]", &["1:21: routes[0].prefix: found a list"]);
    told("registries: { a: { pair: [ 1, x ] } }", &["1:31: registries.a.pair[1]: found \"x\""]);
    told("listeners: [ { address: x } ]", &["1:25: listeners[0].address: found \"x\""]);
}

#[test]
fn variables_and_keys_that_stand_twice_are_told_together() {
    told(
        "threads: ${NONE}\nratio: ${NEITHER}\nthreads: 1\n",
        &["1:10: threads: environment", "2:8: ratio: environment", "3:1: threads: duplicate key"],
    );
    // The text ends where it is no YAML, and what was found before is told too.
    told("threads: ${NONE}\nratio: [\n", &["1:10: threads: environment", "2:8: ratio: not valid YAML"]);
}

#[test]
fn what_an_alias_repeats_is_told_once() {
    told("services: { a: &a { balnce: x }, b: *a }", &["1:21: services.a.balnce: unknown key"]);
}

#[test]
fn a_screen_of_them_is_told_and_the_rest_counted() {
    let wrong = |count: usize| {
        let text = (0..count).map(|number| format!("k{number}: x\n")).collect::<String>();
        read::<Router>(&text).unwrap_err().to_string()
    };
    assert_eq!(wrong(20).lines().count(), 20);
    assert_eq!(wrong(21).lines().last(), Some("and 1 more mistake"));
    assert_eq!(wrong(50).lines().last(), Some("and 30 more mistakes"));
    assert_eq!(wrong(1000).lines().last(), Some("and 80 more mistakes"), "as many as are looked for");
}

#[test]
fn a_stand_in_never_gets_out() {
    let wrong = || SettingsError::at(&Located::from("x"), "is wrong");
    let mut mistakes = Mistakes::default();
    assert_eq!(mistakes.or(Ok(1), &0), 1);
    assert_eq!(mistakes.clone().unless("whole"), Ok("whole"));
    assert_eq!(mistakes.or(Err(wrong()), &0), 0);
    assert_eq!(mistakes.all::<_, Vec<_>>([Ok(1), Err(wrong()), Ok(2)]), [1, 2]);
    assert_eq!(mistakes.keep::<u8>(Err(wrong())), None);
    assert_eq!(mistakes.len(), 3);
    assert_eq!(mistakes.unless("whole").unwrap_err().len(), 1, "the same at the same place");
}
