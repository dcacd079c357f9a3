use std::cmp::Reverse;

use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;
use crate::path;
use pattern::Segment;

fn route(when: When) -> Route<()> {
    Route { when, service: ServiceId::new("s").unwrap(), rewrite: Rewrite::Keep, data: () }
}

fn when(method: &str, host: &str, path: &str) -> When {
    let text = |t: &str| (!t.is_empty()).then(|| t.to_owned());
    let (prefix, path) = match path.strip_suffix("...") {
        Some(prefix) => (text(prefix), None),
        None => (None, text(path)),
    };
    let methods = method.split(',').filter(|m| !m.is_empty()).map(|m| m.parse().unwrap()).collect();
    When { host: text(host), prefix, path, methods, ..When::default() }
}

fn routes(list: &[(&str, &str, &str)]) -> Routes<()> {
    Routes::new(list.iter().map(|(m, h, p)| route(when(m, h, p))).collect()).unwrap()
}

fn check(routes: &Routes<()>, method: &Method, host: &str, path: &str, expected: Option<usize>) {
    let headers = HeaderMap::new();
    let ask = Ask { host: (!host.is_empty()).then_some(host), method, path, query: None, headers: &headers };
    assert_eq!(routes.find(&ask).map(|f| f.index), expected, "{method} {host} {path}");
}

#[test]
fn rules_with_the_path_of_a_request_are_passed_over_for_a_reason() {
    let routes = routes(&[
        ("GET", "", "/v1/pets..."),
        ("POST", "*.example.com", "/v1/pets/7"),
        ("", "", "/v1..."),
        ("", "", "/v2..."),
    ]);
    let headers = HeaderMap::new();
    let over = |method: &Method, path| {
        let ask = Ask { host: Some("example.com"), method, path, query: None, headers: &headers };
        routes.passed_over(&ask, 2).0.into_iter().map(|over| (over.route, over.why)).collect::<Vec<_>>()
    };
    let unmet = |parts: &[&str]| Why::Unmet(parts.iter().map(|part| (*part).to_owned()).collect());
    let other = "host *.example.com";
    assert_eq!(over(&Method::GET, "/v1/pets/7"), [(1, unmet(&[other, "method POST"])), (2, Why::Later)]);
    assert_eq!(over(&Method::POST, "/v1/pets/7"), [(0, unmet(&["method GET"])), (1, unmet(&[other]))]);
    assert_eq!(over(&Method::GET, "/v3"), []);
    let ask = Ask { host: None, method: &Method::PUT, path: "/v1/pets/7", query: None, headers: &headers };
    let (first, more) = routes.passed_over(&ask, 1);
    assert_eq!((first[0].route, more), (0, 1), "the rule /v1... is followed");
}

#[test]
fn prefixes_end_on_segment_borders_and_the_longest_wins() {
    let routes = routes(&[
        ("", "", "/v1/pets..."),
        ("", "", "/v1..."),
        ("", "", "/v1/pets/7/toys/..."),
        ("", "", "/v1/{x}/cats..."),
    ]);
    for (path, expected) in [
        ("/v1/pets", Some(0)),
        ("/v1/pets/", Some(0)),
        ("/v1/pets/7", Some(0)),
        ("/v1/petsx", Some(1)),
        ("/v1/pets/7/toys", Some(2)),
        ("/v1/pets/7/toys/1", Some(2)),
        ("/v1/pets/cats", Some(0)),
        ("/v1/dogs/cats/1", Some(3)),
        ("/v1//cats", Some(1)),
        ("/v2", None),
        ("/", None),
        ("*", None),
    ] {
        check(&routes, &Method::GET, "", path, expected);
    }
}

#[test]
fn an_exact_path_comes_before_a_prefix_and_a_host_before_none() {
    let routes = routes(&[
        ("", "", "..."),
        ("GET", "", "/v1/orders/{id}"),
        ("", "", "/v1/orders/..."),
        ("", "", "/v1/orders/new"),
        ("POST", "", "/{version}/orders/{name}"),
        ("", "a.example.com", "/v1/orders/..."),
        ("", "*.example.com", "..."),
        ("", "*.b.example.com", "..."),
    ]);
    check(&routes, &Method::GET, "", "/v1/orders/7", Some(1));
    check(&routes, &Method::GET, "", "/v1/orders/new", Some(3));
    check(&routes, &Method::POST, "", "/v1/orders/7", Some(4));
    check(&routes, &Method::PUT, "", "/v1/orders/7", Some(2));
    check(&routes, &Method::GET, "", "/v1/orders/", Some(2));
    check(&routes, &Method::PUT, "a.example.com", "/v1/orders/7", Some(5));
    check(&routes, &Method::GET, "a.example.com", "/v1/orders/7", Some(1));
    check(&routes, &Method::GET, "a.example.com", "/x", Some(6));
    check(&routes, &Method::GET, "c.b.example.com", "/x", Some(7));
    check(&routes, &Method::GET, "example.com", "/x", Some(0));
    check(&routes, &Method::GET, "anexample.com", "/x", Some(0));
    check(&routes, &Method::OPTIONS, "", "*", Some(0));
}

#[test]
fn the_path_is_rewritten_behind_what_matched() {
    for (pattern, rewrite, asked, expected) in [
        ("/v1/pets...", Rewrite::Keep, "/v1/pets/7", "/v1/pets/7"),
        ("/v1/pets...", Rewrite::Strip, "/v1/pets/7", "/7"),
        ("/v1/pets...", Rewrite::Strip, "/v1/pets", "/"),
        ("/v1/pets/...", Rewrite::Strip, "/v1/pets/", "/"),
        ("/{v}/pets...", Rewrite::Strip, "/v1/pets/7/", "/7/"),
        ("/v1/pets...", Rewrite::Replace("/new".into()), "/v1/pets/7", "/new/7"),
        ("/v1/pets...", Rewrite::Replace("/new/".into()), "/v1/pets", "/new"),
        ("/v1/pets...", Rewrite::Replace("/".into()), "/v1/pets/7", "/7"),
        ("...", Rewrite::Replace("/new".into()), "/a", "/new/a"),
        ("...", Rewrite::Strip, "/a", "/a"),
        ("...", Rewrite::Strip, "*", "*"),
        ("/v1/orders/{id}", Rewrite::Replace("/order".into()), "/v1/orders/7", "/order"),
        ("/v1/orders/{id}", Rewrite::Strip, "/v1/orders/7", "/"),
    ] {
        let routes = Routes::new(vec![Route { rewrite, ..route(when("", "", pattern)) }]).unwrap();
        let headers = HeaderMap::new();
        let ask = Ask { host: None, method: &Method::GET, path: asked, query: None, headers: &headers };
        assert_eq!(routes.find(&ask).unwrap().outbound_path(asked), expected, "{pattern} {asked}");
    }
}

#[test]
fn a_rule_that_cannot_work_is_an_error_that_says_why() {
    for (when, word) in [
        (when("", "", "v1"), "begin with a slash"),
        (when("", "", "/v1/{}"), "needs a name"),
        (when("", "", "/v1/{a b}"), "letters, digits"),
        (when("", "", "/v1/{rest...}/x"), "use prefix"),
        (when("", "", "/v1/{*rest}"), "use prefix"),
        (when("", "", "/v1/*"), "use prefix"),
        (when("", "", "/v1/a{id}"), "whole segment"),
        (when("", "", "/v1//a"), "write \"/v1/a\""),
        (when("", "", "/v1/%41..."), "write \"/v1/A\""),
        (when("", "", "/v1/%2F"), "encoded slash"),
        (when("", "a:80", "/"), "names a port"),
        (when("", "a.*.b", "/"), "no host name"),
        (When { prefix: Some("/a".into()), path: Some("/b".into()), ..When::default() }, "exclude each other"),
    ] {
        let error = Routes::new(vec![route(when.clone())]).unwrap_err()[0].to_string();
        assert!(error.starts_with("route 0: ") && error.contains(word), "{when}: {error}");
    }
}

#[test]
fn doubles_are_errors_and_unreachable_rules_are_reported() {
    let double = [route(when("GET", "", "/a/{id}")), route(when("GET", "", "/a/{name}"))];
    let error = &Routes::new(double.into()).unwrap_err()[0];
    assert!(error.route == 1 && error.problem.contains("route 0 once more"), "{error}");
    assert!(Routes::new(vec![route(when("", "", "...")), route(when("", "", "/..."))]).is_err());

    let list = [("GET,POST", "", "/a"), ("POST", "", "/a"), ("PUT", "", "/a"), ("", "", "/a"), ("POST", "h", "/a")];
    let routes = routes(&list);
    let [shadowed] = routes.shadowed() else { panic!("{:?}", routes.shadowed()) };
    assert_eq!((shadowed.route, shadowed.by), (1, 0));
    assert!(shadowed.to_string().contains("route 1 (POST /a) is never reached: route 0 (GET,POST /a)"), "{shadowed}");
}

// === the model: every rule looked at, then sorted by the documented order ===

fn matches(rule: &When, pattern: &Pattern, ask: &Ask<'_>) -> bool {
    let host = match rule.host.as_deref() {
        None => true,
        Some(host) => ask.host.is_some_and(|asked| match host.strip_prefix('*') {
            Some(suffix) => asked.ends_with(suffix),
            None => asked == host,
        }),
    };
    let segments: Vec<&str> = path::segments(ask.path).collect();
    let length = if pattern.whole { segments.len() == pattern.segments.len() } else { true };
    let each = segments.len() >= pattern.segments.len()
        && pattern.segments.iter().zip(&segments).all(|(wanted, segment)| match wanted {
            Segment::Literal(text) => **text == **segment,
            Segment::Parameter => !segment.is_empty(),
        });
    host && length && each && rule.allows(ask)
}

/// Sorts like the documentation: `Literal < Parameter < end of the pattern`.
fn rank(index: usize, rule: &When, pattern: &Pattern) -> impl Ord + use<> {
    let shape: Vec<u8> = pattern.segments.iter().map(|s| u8::from(*s == Segment::Parameter)).chain([u8::MAX]).collect();
    let host = rule.host.as_deref().map_or((2, 0), |h| (u8::from(h.starts_with('*')), usize::MAX - h.len()));
    (Reverse(pattern.whole), shape, host, Reverse(rule.count()), index)
}

fn any_rule() -> impl Strategy<Value = When> {
    let path = proptest::collection::vec(prop_oneof!["[ab]", Just("{x}".to_owned())], 0..4);
    let host = prop_oneof![Just(None), Just(Some("a.b.c")), Just(Some("*.b.c")), Just(Some("*.c"))];
    let methods = proptest::sample::subsequence(vec![Method::GET, Method::POST], 0..2);
    let headers = proptest::option::of(proptest::option::of("[12]"));
    let query = proptest::option::of(proptest::option::of("[12]"));
    (path, any::<bool>(), host, methods, headers, query).prop_map(|(path, whole, host, methods, headers, query)| {
        let path = format!("/{}", path.join("/"));
        let header = |v: Option<String>| (HeaderName::from_static("x"), v.map(|v| HeaderValue::try_from(v).unwrap()));
        When {
            host: host.map(str::to_owned),
            prefix: (!whole).then(|| path.clone()),
            path: whole.then_some(path),
            methods,
            headers: headers.into_iter().map(header).collect(),
            query: query.into_iter().map(|v| ("q".to_owned(), v)).collect(),
        }
    })
}

/// Doubles left out, one by one, until the rest compiles.
fn without_doubles(mut rules: Vec<When>) -> (Vec<When>, Routes<()>) {
    loop {
        match Routes::new(rules.iter().cloned().map(route).collect()) {
            Ok(routes) => return (rules, routes),
            Err(errors) => drop(rules.remove(errors[0].route)),
        }
    }
}

proptest! {
    #[test]
    fn the_tree_finds_what_the_model_finds(
        rules in proptest::collection::vec(any_rule(), 1..12),
        requests in proptest::collection::vec(
            ("(/[abc]){0,4}/?", any::<bool>(), prop_oneof!["", "a\\.b\\.c", "x\\.b\\.c", "y\\.x\\.c", "c"], "[123]?", "[123]?"),
            1..20,
        ),
    ) {
        let (rules, routes) = without_doubles(rules);
        let patterns: Vec<Pattern> = rules.iter().map(|rule| Pattern::of(rule).unwrap()).collect();
        for (path, get, host, header, q) in requests {
            let path = if path.is_empty() { "/".to_owned() } else { path };
            let mut headers = HeaderMap::new();
            if !header.is_empty() {
                headers.insert("x", HeaderValue::try_from(header).unwrap());
            }
            let q = format!("q={q}");
            let ask = Ask {
                host: (!host.is_empty()).then_some(host.as_str()),
                method: if get { &Method::GET } else { &Method::POST },
                path: &path,
                query: (q.len() > 2).then_some(q.as_str()),
                headers: &headers,
            };
            let expected = (0..rules.len())
                .filter(|&i| matches(&rules[i], &patterns[i], &ask))
                .min_by_key(|&i| rank(i, &rules[i], &patterns[i]));
            let found = routes.find(&ask).map(|f| f.index);
            prop_assert_eq!(found, expected, "{:?}", ask);
            prop_assert!(!routes.shadowed().iter().any(|s| Some(s.route) == found), "shadowed yet found");
        }
    }
}
