//! What becomes of a head: of a request as `router::proxy` treats it, step by step and as a whole, and of a response.

use std::{hint::black_box, path::Path, time::SystemTime};

use criterion::{BenchmarkGroup, Criterion, measurement::WallTime};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Version, request::Parts};
use model::Fields;
use router::{
    authority::Authority,
    control::Ephemeral,
    hygiene, limits, path,
    plan::{self, Current, Made},
    rewrite::{self, Connection},
    settings::Settings,
    target,
};
use telemetry::ids::Ids;
use transport::tls::Tickets;

use crate::FEW;

pub(crate) fn measure(criterion: &mut Criterion) {
    let plan = plan();
    let client = Connection::new(
        "192.0.2.7:50123".parse().expect("an address"),
        "198.51.100.1:8443".parse().expect("an address"),
        true,
        &plan.rewriting,
    );
    let heads = [("HTTP/2", browser()), ("HTTP/1.1", program())];
    let mut group = criterion.benchmark_group("head");
    paths(&mut group);
    for (protocol, head) in &heads {
        group.bench_function(format!("hygiene and sizes, {protocol}"), |b| b.iter(|| check(black_box(head), &plan)));
        group.bench_function(format!("rewrite outbound, {protocol}"), |b| {
            let fields = Fields::of(&head.headers);
            let rewrite = |head: &mut Parts| rewrite::outbound(head, fields, &client, &plan.rewriting);
            b.iter_batched_ref(|| head.clone(), rewrite, FEW);
        });
        group.bench_function(format!("request, every step, {protocol}"), |b| {
            b.iter_batched_ref(|| head.clone(), |head| forward(head, &plan, &client), FEW);
        });
    }
    targets(&mut group, &heads[0].1, &plan);
    ids(&mut group, &heads[0].1);
    for (protocol, answer) in [("HTTP/2", answer(&[])), ("HTTP/1.1", answer(&HOP_BY_HOP))] {
        group.bench_function(format!("rewrite inbound, {protocol}"), |b| {
            b.iter_batched_ref(|| answer.clone(), |headers| rewrite::inbound(StatusCode::OK, headers), FEW);
        });
    }
    group.finish();
}

fn paths(group: &mut BenchmarkGroup<'_, WallTime>) {
    for (what, path) in [("normal already", "/v1/pets/7/photos"), ("to be resolved", "/v1/./pets//%37/x/../photos")] {
        assert!(path::normalise(path).is_ok_and(|normal| normal == "/v1/pets/7/photos"), "{path}");
        group.bench_function(format!("path, {what}"), |b| b.iter(|| path::normalise(black_box(path))));
    }
}

fn targets(group: &mut BenchmarkGroup<'_, WallTime>, head: &Parts, plan: &Current) {
    let mut named = head.clone();
    named.headers.insert("service_id", HeaderValue::from_static("petstore"));
    for (by, head) in [("route", head), ("service_id", &named)] {
        let (authority, fields) = (check(head, plan), Fields::of(&head.headers));
        group.bench_function(format!("target by {by}"), |b| {
            b.iter(|| target::find(plan, black_box(head), fields, authority.as_ref()).expect("it has one"));
        });
    }
}

fn ids(group: &mut BenchmarkGroup<'_, WallTime>, head: &Parts) {
    let headers = &head.headers;
    let (now, fields) = (SystemTime::now(), Fields::of(headers));
    group.bench_function("fields", |b| b.iter(|| Fields::of(black_box(headers))));
    group.bench_function("ids, the client's", |b| b.iter(|| Ids::of(black_box(headers), fields, now)));
    let none = HeaderMap::new();
    group.bench_function("ids, made", |b| b.iter(|| Ids::of(black_box(&none), Fields::default(), now)));
    let ids = Ids::of(headers, fields, now);
    let send = |headers: &mut HeaderMap| ids.send(headers, fields);
    group.bench_function("ids, sent", |b| b.iter_batched_ref(|| headers.clone(), send, FEW));
}

fn check<'a>(head: &'a Parts, plan: &Current) -> Option<Authority<'a>> {
    let authority = hygiene::check(head, Fields::of(&head.headers)).expect("a clean head");
    limits::check_head(&plan.limits, head).expect("a small head");
    authority
}

/// What `router::proxy` does to a head before an instance is chosen.
fn forward(head: &mut Parts, plan: &Current, client: &Connection) -> Option<HeaderValue> {
    let fields = Fields::of(&head.headers);
    let ids = Ids::of(&head.headers, fields, SystemTime::UNIX_EPOCH);
    let authority = hygiene::check(head, fields).expect("a clean head");
    limits::check_head(&plan.limits, head).expect("a small head");
    let target = target::find(plan, head, fields, authority.as_ref()).expect("it has one");
    let host = rewrite::outbound(head, fields, client, &plan.rewriting);
    head.uri = target.uri;
    ids.send(&mut head.headers, fields);
    host
}

fn plan() -> Current {
    let yaml = "{ expose: { all: true }, routes: [ { prefix: /v1/pets, service: petstore } ] }";
    let settings: Settings = settings::parse(yaml, Path::new("head.yml"), &|_| None).expect("valid settings");
    let identity = Ephemeral::new().expect("a certificate").identity;
    let made = Made { tickets: Tickets::new().expect("keys"), identity };
    Current(plan::compile(&settings, &made, &mut Vec::new()).expect("valid settings").plan)
}

/// A browser's page asks over HTTP/2.
fn browser() -> Parts {
    let mut head = head(Method::GET, "https://api.example.com/v1/pets/7/photos?limit=20&sort=age", Version::HTTP_2);
    head.headers = fields(&[
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"),
        ("accept", "application/json, text/plain, */*"),
        ("accept-language", "de-CH,de;q=0.8,en-US;q=0.5,en;q=0.3"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        (
            "authorization",
            "Bearer eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiI3IiwiZXhwIjoxNzk1Njg0MDAwfQ.c2lnbmF0dXJlLW9mLXRoZS1wYWdl",
        ),
        ("origin", "https://www.example.com"),
        ("referer", "https://www.example.com/pets"),
        ("cookie", "session=0f8fad5bd9cb469fa16570867728950e; theme=dark"),
        ("sec-fetch-dest", "empty"),
        ("sec-fetch-mode", "cors"),
        ("sec-fetch-site", "same-site"),
        ("te", "trailers"),
        ("x-correlation-id", "018f2f6e-7d0a-7c3e-9b1f-2a4c6e8f0b1d"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ]);
    head
}

/// A program posts over HTTP/1.1, through a proxy that is not trusted.
fn program() -> Parts {
    let mut head = head(Method::POST, "/v1/pets/7/photos?limit=20&sort=age", Version::HTTP_11);
    head.headers = fields(&[
        ("host", "api.example.com"),
        ("user-agent", "Java-http-client/21.0.2"),
        ("accept", "application/json"),
        ("content-type", "application/json"),
        ("content-length", "348"),
        (
            "authorization",
            "Bearer eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiI3IiwiZXhwIjoxNzk1Njg0MDAwfQ.c2lnbmF0dXJlLW9mLXRoZS1wYWdl",
        ),
        ("connection", "Upgrade, HTTP2-Settings"),
        ("upgrade", "h2c"),
        ("http2-settings", "AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA"),
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-proto", "https"),
        ("x-correlation-id", "018f2f6e-7d0a-7c3e-9b1f-2a4c6e8f0b1d"),
    ]);
    head
}

/// An instance's answer.
fn answer(more: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = fields(&[
        ("content-type", "application/json; charset=utf-8"),
        ("content-length", "1834"),
        ("date", "Thu, 26 Nov 2026 10:00:00 GMT"),
        ("server", "petstore/3.1"),
        ("cache-control", "no-cache, no-store, max-age=0, must-revalidate"),
        ("etag", "W/\"72a-Zx8pQ0m1\""),
        ("vary", "Origin, Accept-Encoding"),
        ("set-cookie", "session=0f8fad5bd9cb469fa16570867728950e; Path=/; Secure; HttpOnly"),
        ("x-content-type-options", "nosniff"),
        ("x-correlation-id", "018f2f6e-7d0a-7c3e-9b1f-2a4c6e8f0b1d"),
    ]);
    headers.extend(fields(more));
    headers
}

const HOP_BY_HOP: [(&str, &str); 2] = [("connection", "keep-alive"), ("keep-alive", "timeout=60")];

fn head(method: Method, uri: &str, version: Version) -> Parts {
    let request = Request::builder().method(method).uri(uri).version(version).body(());
    request.expect("a request").into_parts().0
}

/// Values of their own memory, as those that were received have, and not of the program's.
fn fields(fields: &[(&'static str, &str)]) -> HeaderMap {
    let field = |(name, value): &(&'static str, &str)| {
        (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a field's value"))
    };
    fields.iter().map(field).collect()
}
