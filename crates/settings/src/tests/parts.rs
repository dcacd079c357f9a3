//! Parts of structs, which stand in the same map as the keys around them.

use serde::Deserialize;

use super::{check, read, refuse_as};
use crate::{Located, Span};

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    url: String,
    #[serde(rename = "$part")]
    access: Access,
    #[serde(default)]
    wait: Span,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Access {
    user: Option<String>,
    #[serde(rename = "$part")]
    tls: Tls,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Tls {
    ca: Option<Located<String>>,
    port: u16,
}

#[test]
fn their_keys_stand_among_those_of_the_whole() {
    let tls = Tls { ca: Some("a.pem".to_owned().into()), port: 9443 };
    let expected =
        Source { url: "x".into(), access: Access { user: Some("me".into()), tls }, wait: Span::from_secs(5) };
    check("{ ca: a.pem, wait: 5s, user: me, url: x, port: 9443 }", expected);
    let bare = Source { url: "x".into(), access: Access::default(), wait: Span::default() };
    check("url: x", bare);
    check("", Access::default());
    let read: Source = read("url: x\nwait: 1s\nca: a.pem").unwrap();
    let place = read.access.tls.ca.unwrap().place().clone();
    assert_eq!((place.line, place.column, place.path.as_str()), (3, 5, "ca"));
}

#[test]
fn mistakes_are_told_as_if_the_keys_were_of_one_struct() {
    for (text, expected) in [
        (
            "{ url: x, usser: a }",
            "1:11: usser: unknown key \"usser\"; did you mean \"user\"? (allowed: url, wait, user, ca, port)",
        ),
        ("{ $part: x }", "1:3: $part: unknown key \"$part\" (allowed: url, wait, user, ca, port)"),
        ("[ x ]", "1:1: found a list, expected a map with keys among: url, wait, user, ca, port"),
        ("user: a", "1:1: missing key \"url\"; add `url: ...` here"),
        ("{ url: x, port: many }", "1:17: port: found \"many\", expected a whole number from 0 to 65535"),
        ("{ url: x, wait: 5 }", "1:17: wait: 5 has no unit; write 5s for seconds or 5ms for milliseconds"),
    ] {
        refuse_as::<Source>(text, expected);
    }
    refuse_as::<Tls>("user: a", "1:1: user: unknown key \"user\" (allowed: ca, port)");
}
