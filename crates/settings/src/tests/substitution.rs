//! `${NAME:default}`.

use std::borrow::Cow;

use super::{Router, check, read, refuse, refuse_as};
use crate::substitute::substitute;

#[test]
fn replaces_and_keeps() {
    let env = |name: &str| (name == "A").then(|| "${B}".to_owned());
    let check = |text: &str, expected: &str| assert_eq!(substitute(text, &env).as_deref(), Ok(expected), "{text}");
    check("plain $A $ {A}", "plain $A $ {A}");
    check("${A}", "${B}");
    check("<${A}${A:x}${C:}${C:a:b}>", "<${B}${B}a:b>");
    check("$${A} $$${A}", "${A} $${A}");
    check("${C:https://x:1/}", "https://x:1/");
    assert!(matches!(substitute("untouched", &env), Ok(Cow::Borrowed(_))));
}

#[test]
fn unquoted_values_are_typed_afterwards() {
    check("${PORT}", 9443u16);
    check("${NONE:8443}", 8443u16);
    check("${PORT}", "9443".to_owned());
    check("1${PORT}", 19443u16);
    check("${YES}", true);
    check("${NONE:~}", None::<String>);
    refuse_as::<u16>("'${PORT}'", "1:1: found \"9443\", expected a whole number from 0 to 65535; remove the quotes");
}

#[test]
fn empty_is_the_empty_string() {
    for text in ["${EMPTY}", "${NONE:}", "\"${NONE:}\"", "${EMPTY:x}"] {
        check(text, Some(String::new()));
    }
}

#[test]
fn values_cannot_inject() {
    let router: Router = read("services: { a: { tls: { ca_file: \"${EVIL}\" } } }").expect("reads");
    assert_eq!(router.admin, None);
    let file = router.services["a"].tls.ca_file.as_deref().map(String::as_str);
    assert_eq!(file, Some("x\nadmin: 0.0.0.0:1 # ${PORT}"));
}

#[test]
fn mistakes_name_place_and_remedy() {
    refuse(
        "routes:\n  - { prefix: /a, service: \"x${NAME}\" }",
        concat!(
            "2:28: routes[0].service: environment variable \"NAME\" is not set; ",
            "set it, or give a default: `${NAME:default}`"
        ),
    );
    refuse("threads: ${PORT", "1:10: threads: `${` without `}`; close it, or write `$${` for a literal `${`");
    refuse(
        "threads: ${A B}",
        concat!(
            "1:10: threads: \"A B\" in `${...}` is not the name of an environment variable; ",
            "use letters, digits and `_`, or write `$${` for a literal `${`"
        ),
    );
    refuse(
        "threads: ${A:-4}",
        "1:10: threads: `${A:-...}` is the notation of shells; write `${A:default}` without `-`",
    );
    refuse(
        "threads: ${A:${B:4}}",
        "1:10: threads: the default of `${A}` holds another `${`; defaults are literal text",
    );
    refuse(
        "services:\n  ${A}: {}",
        concat!(
            "2:3: services: `${...}` is not substituted in keys; ",
            "write the key itself, and `${...}` in values only"
        ),
    );
}
