use proptest::prelude::*;

use super::*;

fn check(path: &str, expected: &str) {
    assert_eq!(normalise(path).as_deref(), Ok(expected), "{path}");
}

fn refused(path: &str, word: &str) {
    match normalise(path) {
        Err(Refusal::BadRequest(text)) => assert!(text.contains(word), "{path}: {text}"),
        other => panic!("{path}: {other:?}"),
    }
}

#[test]
fn equal_paths_have_one_form() {
    check("/", "/");
    check("*", "*");
    check("/%41%7e%2D", "/A~-");
    check("/caf%c3%a9", "/caf%C3%A9");
    check("/café", "/caf%C3%A9");
    check("/a|b\"{c}", "/a%7Cb%22%7Bc%7D");
    check("/a%3bb;c", "/a%3Bb;c");
    check("/.well-known/..x/...", "/.well-known/..x/...");
    check("/100%25", "/100%25");
}

#[test]
fn no_form_of_a_path_escapes_its_prefix() {
    for path in ["/a/../b", "/a/%2e%2e/b", "/a/.%2E/b", "//b", "/./b", "/a//../b", "/x/../a/../b", "///b"] {
        check(path, "/b");
    }
    check("/a/b/..", "/a/");
    check("/a/b/.", "/a/b/");
    check("/a//", "/a/");
    check("/a/..", "/");
}

#[test]
fn what_no_reading_makes_safe_is_refused() {
    for path in ["/a%2fb", "/a%2Fb"] {
        refused(path, "slash");
    }
    for path in ["/a\\b", "/a%5cb", "/..%5C.."] {
        refused(path, "backslash");
    }
    for path in ["/a%00", "/a%0d%0aHost:x", "/a%7F", "/a\u{1}"] {
        refused(path, "control");
    }
    for path in ["/%", "/%4", "/%zz", "/%4g", "/%%32e", "/%+1"] {
        refused(path, "hexadecimal");
    }
    for path in ["/%252e%252e/b", "/%25%32%65", "/a%252Fb", "/%25252e"] {
        refused(path, "twice");
    }
    for path in ["/..", "/../a", "/a/../../b", "/%2e%2e"] {
        refused(path, "above");
    }
    for path in ["/a/..;/b", "/a/..;x=1", "/a/.;/b", "/a/%2e%2e%3b/b"] {
        refused(path, "parameter");
    }
    for path in ["/a#b", "/a?b", "/a b"] {
        refused(path, "not encoded");
    }
    for path in ["", "a", "http:", "**"] {
        refused(path, "begin");
    }
}

/// Octets of each segment, by decoding everything first: nothing of the product's way of doing it.
fn model(path: &str) -> Option<Vec<Vec<u8>>> {
    let mut stack: Vec<Vec<u8>> = Vec::new();
    let mut trailing = false;
    for segment in path.strip_prefix('/')?.split('/') {
        let octets: Vec<u8> = percent_decoded(segment)?;
        trailing = octets.is_empty() || octets == b"." || octets == b"..";
        match octets.as_slice() {
            b"" | b"." => {}
            b".." => drop(stack.pop()?),
            _ => stack.push(octets),
        }
    }
    if trailing {
        stack.push(Vec::new());
    }
    Some(stack)
}

fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            out.push(u8::from_str_radix(std::str::from_utf8(tail.get(..2)?).ok()?, 16).ok()?);
            rest = &tail[2..];
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    Some(out)
}

proptest! {
    #[test]
    fn a_normal_path_is_stable_and_holds_nothing_dangerous(path in "(/(\\.|%2[eE]|%2[fF5]|%41|[a-c%;|é\\\\]){0,4}){1,5}") {
        if let Ok(normal) = normalise(&path) {
            prop_assert!(matches!(normalise(&normal), Ok(Cow::Borrowed(same)) if same == normal), "{}", normal);
            prop_assert!(!segments(&normal).any(|s| s == "." || s == ".."));
            prop_assert!(!normal.contains("//") && !normal.to_ascii_lowercase().contains("%2f") && !normal.contains('\\'));
            prop_assert!(normal.is_ascii());
        }
    }

    #[test]
    fn it_means_what_the_model_says(path in "(/(\\.|%2[eE]|%41|%7[cC]|[a-c|é=]){0,3}){1,6}") {
        let ours = normalise(&path).ok().map(|n| segments(&n).map(|s| percent_decoded(s).unwrap()).collect::<Vec<_>>());
        prop_assert_eq!(ours, model(&path));
    }

    #[test]
    fn plain_paths_are_borrowed(path in "(/[a-zA-Z0-9_~!$&'()*+,=:@-]{1,5}(%[CE][0-9A-F])?(\\.[a-z])?){1,4}/?") {
        prop_assert!(matches!(normalise(&path), Ok(Cow::Borrowed(_))), "{}", path);
    }
}
