//! Laws that hold for every algorithm, and the words they are written in.

mod algorithm;
mod bound;
mod disruption;
mod eject;
mod laws;
mod peak_ewma;
mod shares;
mod slow_start;
mod tiers;
mod vitals;
mod world;

use std::{net::IpAddr, sync::Arc};

use model::{Address, Endpoint, Host, Instance, InstanceId, Outcome, Tag, Tick, UpstreamKey};

use crate::{
    Algorithm, Ask, Balance, Balancer, Candidate, ConsistentHash, Decay, Entry, HashKey, Peers, Place, Scheme,
    SlowStart, Stake, Vitals,
};

/// Every algorithm there is. The match makes the compiler ask for the next one.
fn algorithms() -> Vec<Algorithm> {
    let all = vec![
        Algorithm::default(),
        Algorithm::RoundRobin,
        Algorithm::LeastRequests,
        Algorithm::Random,
        Algorithm::LocalFirst,
        hashing(Scheme::Maglev),
        hashing(Scheme::Ring),
    ];
    for algorithm in &all {
        match algorithm {
            Algorithm::PeakEwma(_)
            | Algorithm::RoundRobin
            | Algorithm::LeastRequests
            | Algorithm::Random
            | Algorithm::LocalFirst => (),
            Algorithm::ConsistentHash(by) => match by.scheme {
                Scheme::Maglev | Scheme::Ring => (),
            },
        }
    }
    all
}

fn hashing(scheme: Scheme) -> Algorithm {
    Algorithm::ConsistentHash(ConsistentHash { key: HashKey::ClientAddress, scheme, bound: None })
}

/// Each algorithm alone, and each with everything around it that there is.
fn balances() -> Vec<Balance> {
    let full = |algorithm| Balance {
        algorithm,
        prefer_zone: true,
        slow_start: Some(SlowStart::default()),
        ..Balance::default()
    };
    algorithms().into_iter().flat_map(|algorithm| [algorithm.clone().into(), full(algorithm)]).collect()
}

/// Candidate `number`, at 10.0.0.0 and that number, with this weight.
pub(crate) fn candidate(number: u32, weight: u16) -> Candidate {
    let ip = IpAddr::from((0x0A00_0000 + number).to_be_bytes());
    let address = Address { host: Host::Ip(ip), port: 8080 };
    let id = InstanceId::new(&address.to_string()).unwrap();
    let instance = Instance { weight, ..Instance::new(id, Endpoint { address, protocol: None }) };
    let (instance, vitals) = (Arc::new(instance), Arc::new(Vitals::default()));
    Candidate { key: UpstreamKey(number.into()), instance, weight, vitals, since: Tick::default() }
}

/// Candidates 0, 1, 2, … with these weights.
fn candidates(weights: &[u16]) -> Vec<Candidate> {
    (0..).zip(weights).map(|(number, &weight)| candidate(number, weight)).collect()
}

/// The same with more in it.
fn with(candidate: Candidate, change: impl FnOnce(&mut Instance)) -> Candidate {
    let mut instance = (*candidate.instance).clone();
    change(&mut instance);
    Candidate { instance: Arc::new(instance.normalised()), ..candidate }
}

/// Half a second after the failures of [`rest`], while all rests last.
const NOW: Tick = Tick(500_000_000);

/// A request that began so long ago is over.
fn end(vitals: &Vitals, outcome: Outcome, elapsed: std::time::Duration, now: Tick) {
    let began = Tick(now.0.saturating_sub(elapsed.as_nanos() as u64));
    vitals.end(outcome, began, elapsed, now, &Peers::default());
}

/// A request, or a knock, begins if the instance lets it.
fn enters(vitals: &Vitals, now: Tick) -> bool {
    vitals.try_begin(u32::MAX, now, || Stake::Nothing) != Entry::Barred
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
