use http::Request;

use super::*;

fn head(method: &str, uri: &str, version: Version, fields: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri(uri).version(version);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn h1(fields: &[(&str, &str)]) -> Result<Option<String>, Refusal> {
    checked(&head("GET", "/", Version::HTTP_11, fields))
}

fn h2(uri: &str, fields: &[(&str, &str)]) -> Result<Option<String>, Refusal> {
    checked(&head("GET", uri, Version::HTTP_2, fields))
}

fn checked(head: &Parts) -> Result<Option<String>, Refusal> {
    check(head, Fields::of(&head.headers)).map(|authority| authority.map(|a| a.host.into_owned()))
}

fn refused(result: Result<Option<String>, Refusal>, word: &str) {
    match result {
        Err(Refusal::BadRequest(text)) => assert!(text.contains(word), "{text} has no {word}"),
        other => panic!("{word}: {other:?}"),
    }
}

#[test]
fn a_plain_request_passes_in_any_version() {
    let host = Ok(Some("a.example".to_owned()));
    assert_eq!(h1(&[("host", "A.example:80"), ("service_id", "pets"), ("content-length", "3")]), host);
    assert_eq!(h1(&[("host", "a.example"), ("transfer-encoding", "Chunked")]), host);
    assert_eq!(h2("https://a.example/", &[("te", "trailers"), ("content-length", "0")]), host);
    assert_eq!(h2("https://a.example/", &[("host", "a.example")]), host);
    assert_eq!(h2("/", &[("host", "a.example")]), host);
    assert_eq!(checked(&head("GET", "/", Version::HTTP_10, &[])), Ok(None));
    assert_eq!(checked(&head("OPTIONS", "*", Version::HTTP_11, &[("host", "a.example")])), host);
}

#[test]
fn requests_are_of_http_by_scheme_and_method() {
    assert!(h2("HTTP://a/", &[]).is_ok());
    refused(h2("ftp://a/", &[]), "scheme");
    refused(h2("httpx://a/", &[]), "scheme");
    refused(checked(&head("GET", "gopher://a/", Version::HTTP_11, &[("host", "a")])), "scheme");
    refused(checked(&head("PRI", "/", Version::HTTP_11, &[("host", "a")])), "PRI");
}

#[test]
fn the_host_is_named_once_and_well() {
    refused(h1(&[]), "no host");
    refused(h2("/", &[]), "no host");
    refused(h1(&[("host", "a"), ("host", "a")]), "twice");
    refused(h1(&[("host", "a,b")]), "malformed");
    refused(h1(&[("host", "é")]), "malformed");
    refused(h1(&[("host", "")]), "malformed");
    refused(checked(&head("GET", "http://a/", Version::HTTP_11, &[("host", "b")])), "not the one");
    refused(checked(&head("GET", "http://a/", Version::HTTP_11, &[("host", "a:81")])), "not the one");
    refused(checked(&head("GET", "http://a/", Version::HTTP_11, &[])), "no host");
    refused(checked(&head("GET", "http://u@a/", Version::HTTP_11, &[("host", "a")])), "malformed");
    refused(h2("https://a/", &[("host", "b")]), "not the one");
    refused(h2("https://u:p@a/", &[]), "malformed");
    refused(checked(&head("GET", "*", Version::HTTP_11, &[("host", "a")])), "OPTIONS");
}

#[test]
fn the_length_of_the_body_has_one_reading() {
    for codings in [vec!["gzip, chunked"], vec!["chunked", "chunked"], vec!["identity"], vec!["xchunked"], vec![""]] {
        let fields: Vec<_> = codings.iter().map(|c| ("transfer-encoding", *c)).chain([("host", "a")]).collect();
        refused(h1(&fields), "exactly chunked");
    }
    refused(h1(&[("host", "a"), ("transfer-encoding", "chunked"), ("content-length", "3")]), "exclude");
    refused(checked(&head("POST", "/", Version::HTTP_10, &[("transfer-encoding", "chunked")])), "before HTTP/1.1");
    for lengths in [vec!["3", "3"], vec!["3", "4"], vec!["+3"], vec!["3,3"], vec![""], vec!["0x3"]] {
        let fields: Vec<_> = lengths.iter().map(|l| ("content-length", *l)).chain([("host", "a")]).collect();
        refused(h1(&fields), "one number");
        refused(h2("/", &fields), "one number");
    }
}

#[test]
fn http_2_has_no_connection_fields() {
    for name in ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"] {
        refused(h2("https://a/", &[(name, "x")]), "connection-specific");
    }
    refused(h2("https://a/", &[("te", "gzip")]), "trailers");
    refused(h2("https://a/", &[("te", "trailers"), ("te", "trailers, gzip")]), "trailers");
}

#[test]
fn tunnels_are_refused_and_the_offer_of_h2c_is_not() {
    assert_eq!(checked(&head("TRACE", "/", Version::HTTP_11, &[("host", "a")])), Err(Refusal::MethodNotAllowed));
    assert_eq!(checked(&head("CONNECT", "a:443", Version::HTTP_2, &[])), Err(Refusal::MethodNotAllowed));
    for offer in ["websocket", "h2c, websocket", "h2", "TLS/1.0", ""] {
        let fields = [("host", "a"), ("connection", "upgrade"), ("upgrade", offer)];
        assert_eq!(h1(&fields), Err(Refusal::UpgradeRefused), "{offer}");
    }
    assert!(h1(&[("host", "a"), ("connection", "Upgrade, HTTP2-Settings"), ("upgrade", "H2C")]).is_ok());
}

#[test]
fn every_field_costs_at_least_32_octets() {
    let head = head("GET", "/abc?d", Version::HTTP_11, &[("a", ""), ("bc", "def")]);
    assert_eq!(head_size(&head), 3 + 6 + (1 + 32) + (2 + 3 + 32));
}
