//! The choice of an instance, by each algorithm.

use std::hint::black_box;

use balancer::{Algorithm, Ask, ConsistentHash, HashKey, algorithm::Scheme};
use criterion::Criterion;
use discovery::Service;
use model::{Tick, UpstreamKey};

use crate::{
    services::{self, SERVICES},
    turns,
};

pub(crate) fn measure(criterion: &mut Criterion) {
    let hashed =
        |scheme| Algorithm::ConsistentHash(ConsistentHash { key: HashKey::ClientAddress, scheme, bound: None });
    let algorithms = [
        ("peak_ewma", Algorithm::default()),
        ("round_robin", Algorithm::RoundRobin),
        ("least_requests", Algorithm::LeastRequests),
        ("random", Algorithm::Random),
        ("local_first", Algorithm::LocalFirst),
        ("consistent_hash, maglev", hashed(Scheme::Maglev)),
        ("consistent_hash, ring", hashed(Scheme::Ring)),
    ];
    let mut group = criterion.benchmark_group("pick of 10");
    let mut hash = 0_u64;
    for (name, algorithm) in algorithms {
        let table = services::table(1, &services::policies(algorithm));
        let service = table.exposed(&services::name(0)).expect("it is there");
        group.bench_function(name, |b| b.iter(|| pick(black_box(service), &mut hash)));
    }
    let bounded = ConsistentHash { key: HashKey::ClientAddress, scheme: Scheme::Maglev, bound: Some(125) };
    let table = services::table(1, &services::policies(Algorithm::ConsistentHash(bounded)));
    let service = table.exposed(&services::name(0)).expect("it is there");
    // The one a key belongs to is always busy, so all are looked at.
    service.members.iter().for_each(|member| member.upstream.vitals.begin());
    group.bench_function("consistent_hash, maglev, bounded and busy", |b| b.iter(|| pick(service, &mut hash)));
    let table = services::table(SERVICES, &services::policies(Algorithm::LeastRequests));
    let services: Vec<&Service> = table.services().map(AsRef::as_ref).collect();
    let mut turn = turns(services.len());
    group.bench_function("least_requests, one of all services", |b| b.iter(|| pick(services[turn()], &mut hash)));
    group.finish();
}

/// As each request does it: another client every time.
fn pick(service: &Service, hash: &mut u64) -> Option<UpstreamKey> {
    *hash = hash.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let ask = Ask { hash: Some(*hash), tried: &[], now: Tick(1) };
    service.pick(None, &ask).map(|member| member.upstream.key).ok()
}
