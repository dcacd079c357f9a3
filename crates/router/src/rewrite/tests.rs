use http::{Request, StatusCode, Version};

use super::*;

fn map(fields: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
    }
    map
}

fn sent(fields: &[(&str, &str)], rules: &Rewriting) -> (HeaderMap, Option<HeaderValue>) {
    let mut head = Request::builder().uri("/").version(Version::HTTP_11).body(()).unwrap().into_parts().0;
    head.headers = map(fields);
    let from = Connection::new("10.0.0.9:5000".parse().unwrap(), "10.0.0.1:8443".parse().unwrap(), true, rules);
    let fields = Fields::of(&head.headers);
    let host = outbound(&mut head, fields, &from, rules);
    (head.headers, host)
}

/// All values of a field, with `|` between.
fn values(headers: &HeaderMap, name: &str) -> String {
    headers.get_all(name).iter().map(|v| v.to_str().unwrap()).collect::<Vec<_>>().join("|")
}

fn trusting(network: &str) -> Rewriting {
    Rewriting { trusted: [network.parse::<Network>().unwrap()].into_iter().collect(), ..Rewriting::default() }
}

#[test]
fn fields_about_one_connection_end_here() {
    let fields = [
        ("connection", "close, X-Hop"),
        ("connection", "x-other ,,"),
        ("x-hop", "1"),
        ("x-other", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("http2-settings", "AAMAAABk"),
        ("proxy-authorization", "Basic x"),
        ("te", "gzip, Trailers"),
        ("trailer", "x-sum"),
        ("x-stays", "1"),
    ];
    let mut response = map(&fields);
    inbound(StatusCode::OK, &mut response);
    let mut left: Vec<&str> = response.keys().map(HeaderName::as_str).collect();
    left.sort_unstable();
    assert_eq!(left, ["te", "trailer", "x-stays"]);
    assert_eq!(values(&response, "te"), "trailers");
    let mut gzip = map(&[("te", "gzip"), ("te", "deflate;q=0.5")]);
    inbound(StatusCode::OK, &mut gzip);
    assert!(gzip.is_empty());
}

#[test]
fn connection_cannot_take_out_what_an_instance_relies_on() {
    let kept =
        ["Host", "Authorization", "Cookie", "Content-Length", "X-Correlation-Id", "X-Forwarded-For", "Forwarded"];
    let nominated = kept.join(", ");
    let mut fields: Vec<(&str, &str)> = kept.iter().map(|name| (*name, "1")).collect();
    fields.push(("Connection", &nominated));
    let (headers, host) = sent(&fields, &trusting("10.0.0.0/8"));
    assert_eq!(host.unwrap(), "1");
    assert_eq!(values(&headers, "authorization"), "1");
    assert_eq!(values(&headers, "cookie"), "1");
    assert_eq!(values(&headers, "content-length"), "1");
    assert_eq!(values(&headers, "x-correlation-id"), "1");
    assert_eq!(values(&headers, "x-forwarded-for"), "1, 10.0.0.9");
    assert_eq!(values(&headers, "forwarded"), "1");
    assert!(!headers.contains_key("connection"));
}

#[test]
fn what_speaks_to_the_router_ends_here() {
    let fields =
        [("service_id", "a"), ("service_id", "b"), ("x-service-id", "a"), ("service_url", "u"), ("env_tag", "t")];
    let (headers, _) = sent(&fields, &Rewriting::default());
    assert!(["service_id", "x-service-id", "service_url"].iter().all(|name| !headers.contains_key(*name)));
    assert_eq!(values(&headers, "env_tag"), "t");
}

const CLAIMS: [(&str, &str); 9] = [
    ("host", "api.example:8443"),
    ("x-forwarded-for", "1.1.1.1"),
    ("x-forwarded-for", "2.2.2.2"),
    ("x-forwarded-proto", "ftp"),
    ("x-forwarded-host", "evil"),
    ("x-forwarded-port", "1"),
    ("x-forwarded-server", "evil"),
    ("x-real-ip", "1.1.1.1"),
    ("forwarded", "for=1.1.1.1"),
];

#[test]
fn claims_of_strangers_are_replaced() {
    let (headers, _) = sent(&CLAIMS, &Rewriting { forwarded: true, via: true, ..Rewriting::default() });
    assert_eq!(values(&headers, "x-forwarded-for"), "10.0.0.9");
    assert_eq!(values(&headers, "x-forwarded-proto"), "https");
    assert_eq!(values(&headers, "x-forwarded-host"), "api.example:8443");
    assert_eq!(values(&headers, "x-forwarded-port"), "8443");
    assert_eq!(values(&headers, "forwarded"), "for=10.0.0.9;proto=https;host=\"api.example:8443\"");
    assert_eq!(values(&headers, "via"), "1.1 pointsman");
    assert!(!headers.contains_key("x-forwarded-server") && !headers.contains_key("x-real-ip"));
    assert!(!sent(&CLAIMS, &Rewriting::default()).0.contains_key("forwarded"));
}

#[test]
fn claims_of_trusted_proxies_stay_and_ours_is_added() {
    let (headers, _) = sent(&CLAIMS, &Rewriting { forwarded: true, ..trusting("10.0.0.8/31") });
    assert_eq!(values(&headers, "x-forwarded-for"), "1.1.1.1, 2.2.2.2, 10.0.0.9");
    assert_eq!(values(&headers, "x-forwarded-proto"), "ftp");
    assert_eq!(values(&headers, "x-forwarded-host"), "evil");
    assert_eq!(values(&headers, "x-forwarded-server"), "evil");
    assert_eq!(values(&headers, "forwarded"), "for=1.1.1.1, for=10.0.0.9;proto=https;host=\"api.example:8443\"");
    let (headers, _) = sent(&[], &trusting("10.0.0.9"));
    assert_eq!(values(&headers, "x-forwarded-for"), "10.0.0.9");
    assert_eq!(values(&headers, "x-forwarded-proto"), "https");
}

#[test]
fn addresses_are_shown_in_their_plain_form() {
    let rules = Rewriting { forwarded: true, ..Rewriting::default() };
    for (peer, plain, node) in
        [("[::ffff:1.2.3.4]:1", "1.2.3.4", "for=1.2.3.4;proto=http"), ("[::1]:1", "::1", "for=\"[::1]\";proto=http")]
    {
        let from = Connection::new(peer.parse().unwrap(), "[::]:80".parse().unwrap(), false, &rules);
        let mut headers = HeaderMap::new();
        from.tell(&mut headers, None, &rules);
        assert_eq!(
            (values(&headers, "x-forwarded-for").as_str(), values(&headers, "forwarded").as_str()),
            (plain, node)
        );
    }
}

#[test]
fn the_host_is_chosen_by_policy() {
    let (client, instance) = (HeaderValue::from_static("client"), HeaderValue::from_static("instance:1"));
    assert_eq!(HostPolicy::Instance.choose(Some(&client), &instance), "instance:1");
    assert_eq!(HostPolicy::Preserve.choose(Some(&client), &instance), "client");
    assert_eq!(HostPolicy::Preserve.choose(None, &instance), "instance:1");
    assert_eq!(HostPolicy::Fixed(HeaderValue::from_static("x")).choose(Some(&client), &instance), "x");
}

#[test]
fn the_authority_of_http_2_counts_as_the_host() {
    let rules = Rewriting::default();
    let from = Connection::new("10.0.0.9:5000".parse().unwrap(), "10.0.0.1:443".parse().unwrap(), true, &rules);
    let mut head =
        Request::builder().uri("https://A.example:8443/").version(Version::HTTP_2).body(()).unwrap().into_parts().0;
    assert_eq!(outbound(&mut head, Fields::default(), &from, &rules).unwrap(), "A.example:8443");
    assert_eq!(values(&head.headers, "x-forwarded-host"), "A.example:8443");
}

#[test]
fn trailers_carry_no_framing_and_no_credentials() {
    let mut trailers = map(&[
        ("grpc-status", "0"),
        ("x-sum", "1"),
        ("host", "a"),
        ("content-length", "1"),
        ("transfer-encoding", "chunked"),
        ("authorization", "x"),
        ("set-cookie", "a=b"),
        ("set-cookie", "c=d"),
        ("x-forwarded-for", "1"),
        ("connection", "x-sum2"),
        ("x-sum2", "2"),
        ("te", "trailers"),
    ]);
    clean_trailers(&mut trailers);
    let mut left: Vec<&str> = trailers.keys().map(HeaderName::as_str).collect();
    left.sort_unstable();
    assert_eq!(left, ["grpc-status", "x-sum"]);
}

#[test]
fn cookie_crumbs_become_one_cookie() {
    let mut headers = map(&[("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")]);
    join_cookies(&mut headers);
    assert_eq!(values(&headers, "cookie"), "a=1; b=2; c=3");
    join_cookies(&mut headers);
    assert_eq!(values(&headers, "cookie"), "a=1; b=2; c=3");
}

#[test]
fn a_length_beside_chunks_does_not_reach_the_client() {
    let mut headers =
        map(&[("content-length", "10"), ("transfer-encoding", "chunked"), ("x-pointsman-reason", "fake")]);
    inbound(StatusCode::OK, &mut headers);
    assert!(headers.is_empty(), "{headers:?}");
    let mut headers = map(&[("content-length", "10")]);
    inbound(StatusCode::OK, &mut headers);
    assert_eq!(headers["content-length"], "10");
}

#[test]
fn an_answer_that_has_no_body_by_its_status_has_no_length() {
    for (status, stays) in [(200, true), (304, true), (204, false), (103, false)] {
        let mut headers = map(&[("content-length", "10")]);
        inbound(StatusCode::from_u16(status).unwrap(), &mut headers);
        assert_eq!(headers.contains_key("content-length"), stays, "{status}");
    }
}

#[test]
fn a_twin_with_underscores_is_the_same_claim() {
    for name in ["x_forwarded_for", "X-Forwarded_Proto", "x_real_ip", "forwarded"] {
        assert!(forwarded::is_forwarded(name), "{name}");
    }
    for name in ["x-forwarder", "forward", "x-real-ips", "x_forward_for"] {
        assert!(!forwarded::is_forwarded(name), "{name}");
    }
}
