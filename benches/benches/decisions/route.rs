//! The route of a request, among 10,000: one half by prefix, the other by path with a parameter.

use std::hint::black_box;

use criterion::Criterion;
use http::{HeaderMap, Method};
use router::route::{Ask, Rewrite, Route, Routes, When};

use crate::{services, turns};

const ROUTES: u32 = 10_000;

pub(crate) fn measure(criterion: &mut Criterion) {
    let routes = Routes::new((0..ROUTES).map(route).collect()).expect("valid routes");
    let headers = HeaderMap::new();
    let find = |path: &str| {
        let ask = Ask { host: Some("example.com"), method: &Method::GET, path, query: None, headers: &headers };
        routes.find(&ask).map(|found| found.index)
    };
    let paths: Vec<_> = (0..ROUTES).map(|n| format!("{}/items/{}", base(n), n * 3)).collect();
    assert!(paths.iter().enumerate().all(|(at, path)| find(path) == Some(at)), "every path finds its route");
    let mut group = criterion.benchmark_group("route of 10,000");
    let mut turn = turns(paths.len());
    group.bench_function("one of all paths", |b| b.iter(|| find(&paths[turn()])));
    group.bench_function("always the same path", |b| b.iter(|| find(black_box(&paths[1]))));
    group.bench_function("no route", |b| b.iter(|| find(black_box("/v2/nowhere"))));
    group.finish();
}

fn route(number: u32) -> Route<()> {
    let when = if number.is_multiple_of(2) {
        When { prefix: Some(base(number)), ..When::default() }
    } else {
        When { path: Some(format!("{}/items/{{id}}", base(number))), ..When::default() }
    };
    Route { when, service: services::id(number), rewrite: Rewrite::Keep, data: () }
}

fn base(number: u32) -> String {
    format!("/v1/team{}/service{number}", number % 100)
}
