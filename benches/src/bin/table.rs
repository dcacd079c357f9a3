//! What decisions cost with 10,000 services of 10 instances and 10,000 routes: a change of the table, a look-up, a
//! choice by each algorithm, a route.
#![allow(clippy::expect_used, clippy::print_stdout, reason = "a program that prints its measurement or ends")]

use std::{collections::HashMap, hint::black_box, sync::Arc, time::Duration};

use balancer::{Algorithm, Ask, ConsistentHash, HashKey, Place, algorithm::Scheme};
use benches::nanos;
use discovery::{
    Policies, Policy, Table,
    claims::Claimed,
    table::{Next, Touched},
};
use http::{HeaderMap, Method};
use model::{Address, Endpoint, Exposure, Host, Instance, InstanceId, ServiceId, Tick};
use router::route::{self, Rewrite, Route, Routes, When};
use transport::{ClientTls, tls::Trust};

/// The router's own allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SERVICES: u32 = 10_000;
const INSTANCES: u8 = 10;
const ROUTES: u32 = 10_000;

fn main() {
    println!("{SERVICES} services of {INSTANCES} instances, {ROUTES} routes; median of batches");
    changes();
    picks();
    routes();
}

fn print(what: &str, nanos: f64) {
    println!("{what:<52} {nanos:>10.0} ns");
}

fn changes() {
    let policies = Arc::new(policies(Algorithm::LeastRequests));
    let all = (0..SERVICES).map(|number| touched(number, INSTANCES));
    let Next { table, .. } = Table::empty(policies.clone()).next(all, &policies).expect("it is not empty");
    // Every time another service, as in life: its shard is in no cache.
    let mut number = 0;
    let mut different = move || {
        number = (number + 7919) % SERVICES;
        number
    };
    let fewer: Vec<_> = (0..SERVICES).map(|number| touched(number, INSTANCES - 1)).collect();
    let clone = nanos(|| fewer[different() as usize].clone());
    let next = nanos(|| table.next([fewer[different() as usize].clone()], &policies));
    print("Table::next, one of 10 instances leaves one service", next - clone);
    let same: Vec<_> = (0..SERVICES).map(|number| touched(number, INSTANCES)).collect();
    let unchanged = nanos(|| table.next([same[different() as usize].clone()], &policies));
    print("Table::next, nothing changed", unchanged - clone);
    let names: Vec<String> = (0..SERVICES).map(name).collect();
    print("Table::exposed, one of all names", nanos(|| table.exposed(&names[different() as usize]).is_some()));
    print("Table::exposed, always the same name", nanos(|| table.exposed(&names[0]).is_some()));
}

fn picks() {
    let hashed = |scheme| Algorithm::ConsistentHash(ConsistentHash { key: HashKey::ClientAddress, scheme });
    let algorithms = [
        ("round_robin", Algorithm::RoundRobin),
        ("least_requests", Algorithm::LeastRequests),
        ("local_first", Algorithm::LocalFirst),
        ("consistent_hash, maglev", hashed(Scheme::Maglev)),
        ("consistent_hash, ring", hashed(Scheme::Ring)),
    ];
    for (name, algorithm) in algorithms {
        let policies = Arc::new(policies(algorithm));
        let one = [touched(0, INSTANCES)];
        let Next { table, .. } = Table::empty(policies.clone()).next(one, &policies).expect("it is not empty");
        let service = table.exposed(&self::name(0)).expect("it is there");
        let mut hash = 0_u64;
        let cost = nanos(|| {
            hash = hash.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let ask = Ask { hash: Some(hash), tried: &[], now: Tick(1) };
            service.pick(None, &ask).map(|member| member.upstream.key).ok()
        });
        print(&format!("pick of {INSTANCES}, {name}"), cost);
    }
}

fn routes() {
    let route = |number: u32| {
        let path = format!("/v1/team{}/service{number}", number % 100);
        let when = if number.is_multiple_of(2) {
            When { prefix: Some(path), ..When::default() }
        } else {
            When { path: Some(format!("{path}/items/{{id}}")), ..When::default() }
        };
        Route { when, service: id(number), rewrite: Rewrite::Keep, data: () }
    };
    let routes = Routes::new((0..ROUTES).map(route).collect()).expect("valid routes");
    let headers = HeaderMap::new();
    let paths: Vec<_> = (0..ROUTES).map(|n| format!("/v1/team{}/service{n}/items/{}", n % 100, n * 3)).collect();
    let find = |path: &str| {
        let ask = route::Ask { host: Some("example.com"), method: &Method::GET, path, query: None, headers: &headers };
        routes.find(&ask).map(|found| found.index)
    };
    assert!(paths.iter().enumerate().all(|(at, path)| find(path) == Some(at)), "every path finds its route");
    let mut number = 0;
    let cost = nanos(|| {
        number = (number + 7919) % ROUTES;
        find(&paths[number as usize])
    });
    print("route of 10,000, one of all paths", cost);
    print("route of 10,000, always the same path", nanos(|| find(black_box(&paths[1]))));
    print("route of 10,000, no route", nanos(|| find(black_box("/v2/nowhere"))));
}

fn name(number: u32) -> String {
    format!("com.example.service-{number}")
}

fn id(number: u32) -> ServiceId {
    ServiceId::new(&name(number)).expect("a service name")
}

fn touched(number: u32, instances: u8) -> Touched {
    let [_, b, c, d] = number.to_be_bytes();
    let claim = |last: u8| {
        let address = Address { host: Host::Ip([10, b, c, d].into()), port: 8000 + u16::from(last) };
        let id = InstanceId::new(&format!("instance-{number}-{last}")).expect("an instance name");
        let instance = Instance::new(id, Endpoint { address, protocol: None });
        Claimed { instance: Arc::new(instance.normalised()), source: "bench".into(), resort: false }
    };
    (id(number), Some((0..instances).map(claim).collect()))
}

fn policies(balance: Algorithm) -> Policies {
    let trust = Trust { verify: false, ..Trust::default() };
    let tls = Arc::new(ClientTls::new(&trust).expect("no files to read"));
    Policies {
        default: Arc::new(Policy { balance, protocol: None, tls }),
        services: HashMap::new(),
        routed: [].into(),
        exposure: Exposure::Everything,
        environment: None,
        place: Place::default(),
        hold: Duration::from_secs(30),
    }
}
