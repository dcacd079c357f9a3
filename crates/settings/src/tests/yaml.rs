//! The borders of the YAML we accept.

use super::{Router, check, read, refuse, refuse_as};

#[test]
fn syntax_errors_have_a_place() {
    for (text, line) in [
        ("a: [1, 2", 1),
        ("a: {b: 1", 1),
        ("a: 1\n b: 2", 2),
        ("a: \"x", 1),
        ("a:\n\t- b", 2),
        ("a: *x", 1),
        ("a: &x [ *x ]", 1),
    ] {
        let mistakes = read::<Router>(text).expect_err("no YAML");
        let error = mistakes.into_iter().next().expect("one");
        assert!(error.place().line >= line && error.place().column >= 1, "{error}");
    }
    let error = read::<Router>("listeners: [ { address: ${PORT:1} } ]").expect_err("braces").to_string();
    assert!(error.starts_with("r.yml:1:") && error.ends_with("or write them on lines of their own"), "{error}");
    refuse(
        "services:\n  *: {}",
        concat!(
            "2:3: services: not valid YAML: while parsing node, found unknown anchor; ",
            "quote a text that begins with `*` or `&`, such as \"*\""
        ),
    );
    refuse("threads: [ 1", "1:10: threads: not valid YAML: unclosed bracket '['; close it");
    for (text, end) in [
        ("admin: @x", "quote a text that begins with this character"),
        ("admin: a: b", "check the indentation, or quote a text that holds `: `"),
        ("routes:\n  - prefix: /a\n   service: b", "check the indentation of this line and the one before"),
    ] {
        let error = read::<Router>(text).expect_err("no YAML").to_string();
        assert!(error.ends_with(end), "{error}");
    }
    let error = read::<Router>("threads:\n\t4").expect_err("a tab").to_string();
    assert!(error.ends_with("indent with spaces, not tabs"), "{error}");
}

#[test]
fn duplicates_are_refused() {
    refuse("threads: 1\nratio: 2\nthreads: 3", "3:1: threads: duplicate key \"threads\"; keep one of the two");
    refuse("services:\n  a: {}\n  \"a\": {}", "3:3: services.a: duplicate key \"a\"; keep one of the two");
}

#[test]
fn what_we_do_not_support_says_so() {
    refuse(
        "threads: 1\n---\nthreads: 2",
        "2:1: a second document begins here; keep one document in a file: remove `---`",
    );
    check("---\nthreads: 1\n...\n", Router { threads: 1, ..Router::default() });
    check("\u{feff}threads: 1", Router { threads: 1, ..Router::default() });
    refuse(
        "threads: !!int 1",
        "1:16: threads: the YAML tag `!!int` is not supported; remove it; quote a value that shall be text",
    );
    refuse(
        "services:\n  a: &a {}\n  b: { <<: *a }",
        "3:8: services.b: merge keys (`<<`) are not supported; repeat the keys",
    );
    refuse("[ a ]: b", "1:1: a key must be plain text; write `key: value`");
}

#[test]
fn aliases_copy_and_are_bounded() {
    let router: Router = read("services:\n  a: &a { tls: { verify: true } }\n  b: *a").expect("reads");
    assert_eq!(router.services["a"], router.services["b"]);
    // The mistake is where it is written; the path says by which use it was met.
    refuse(
        "services: { a: &a [ 1 ], b: *a }",
        "1:19: services.a: found a list, expected a map with keys among: balance, tls",
    );

    let mut laughs = "a0: &a0 [ x, x ]\n".to_owned();
    for level in 1..30 {
        laughs += &format!("a{level}: &a{level} [ *a{0}, *a{0} ]\n", level - 1);
    }
    let error = read::<serde::de::IgnoredAny>(&laughs).expect_err("a bomb").to_string();
    assert!(error.contains("repeat more than 10000 values"), "{error}");
}

#[test]
fn depth_and_size_are_bounded() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    read::<serde::de::IgnoredAny>(&nested(64)).expect("64 levels");
    let column = "1:65: ".to_owned() + &"[0]".repeat(64);
    refuse_as::<serde::de::IgnoredAny>(
        &nested(65),
        &format!("{column}: nested deeper than 64 levels; check the brackets"),
    );
    read::<serde::de::IgnoredAny>(&nested(100_000)).expect_err("too deep");
    let error = read::<Router>(&"#".repeat(1024 * 1024 + 1)).expect_err("too large").to_string();
    assert!(error.starts_with("r.yml: the file is larger than 1 MiB"), "{error}");
}
