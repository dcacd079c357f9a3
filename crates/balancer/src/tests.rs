//! Laws that hold for every algorithm, and the words they are written in.

mod algorithm;
mod disruption;
mod eject;
mod laws;
mod shares;
mod vitals;

use std::{net::IpAddr, sync::Arc};

use model::{Address, Endpoint, Host, Instance, InstanceId, Outcome, Tick, UpstreamKey};

use crate::{Algorithm, Ask, Balancer, Candidate, ConsistentHash, HashKey, Peers, Place, Scheme, Vitals};

/// Every algorithm there is. The match makes the compiler ask for the next one.
fn algorithms() -> Vec<Algorithm> {
    let all = vec![
        Algorithm::RoundRobin,
        Algorithm::LeastRequests,
        Algorithm::LocalFirst,
        hashing(Scheme::Maglev),
        hashing(Scheme::Ring),
    ];
    for algorithm in &all {
        match algorithm {
            Algorithm::RoundRobin | Algorithm::LeastRequests | Algorithm::LocalFirst => (),
            Algorithm::ConsistentHash(by) => match by.scheme {
                Scheme::Maglev | Scheme::Ring => (),
            },
        }
    }
    all
}

fn hashing(scheme: Scheme) -> Algorithm {
    Algorithm::ConsistentHash(ConsistentHash { key: HashKey::ClientAddress, scheme })
}

/// Candidate `number`, at 10.0.0.0 and that number, with this weight.
fn candidate(number: u32, weight: u16) -> Candidate {
    let ip = IpAddr::from((0x0A00_0000 + number).to_be_bytes());
    let address = Address { host: Host::Ip(ip), port: 8080 };
    let id = InstanceId::new(&address.to_string()).unwrap();
    let instance = Instance { weight, ..Instance::new(id, Endpoint { address, protocol: None }) };
    Candidate { key: UpstreamKey(number.into()), instance: Arc::new(instance), vitals: Arc::new(Vitals::default()) }
}

/// Candidates 0, 1, 2, … with these weights.
fn candidates(weights: &[u16]) -> Vec<Candidate> {
    (0..).zip(weights).map(|(number, &weight)| candidate(number, weight)).collect()
}

/// Half a second after the failures of [`rest`], while all rests last.
const NOW: Tick = Tick(500_000_000);

/// A request that began so long ago is over.
fn end(vitals: &Vitals, outcome: Outcome, elapsed: std::time::Duration, now: Tick) {
    let began = Tick(now.0.saturating_sub(elapsed.as_nanos() as u64));
    vitals.end(outcome, began, elapsed, now, &Peers::default());
}

/// Puts it out by a failed connect.
fn rest(candidate: &Candidate) {
    candidate.vitals.begin();
    end(&candidate.vitals, Outcome::ConnectFailed, std::time::Duration::ZERO, Tick(0));
    assert!(!candidate.vitals.admits(NOW));
}

fn ask(hash: Option<u64>) -> Ask<'static> {
    Ask { hash, tried: &[], now: NOW }
}

/// The hash of client `number`.
fn client(number: u32) -> u64 {
    crate::hash(&number.to_be_bytes())
}

/// How often each of `count` candidates is picked by `picks` requests of as many clients.
fn tally(balancer: &dyn Balancer, count: usize, picks: u32) -> Vec<u32> {
    let mut tally = vec![0; count];
    for number in 0..picks {
        tally[balancer.pick(&ask(Some(client(number)))).unwrap()] += 1;
    }
    tally
}
