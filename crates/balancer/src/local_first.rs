//! hot path
//!
//! Near instances before far ones.

use std::net::IpAddr;

use model::{Host, Instance};

use crate::{
    Ask, Balancer, Candidate, Place,
    least_requests::LeastRequests,
    roster::{Rank, Roster},
};

/// Instances on this host as long as one is usable, then those of this zone, then the rest; among them by least requests.
///
/// Distance gives way to use: a far instance that takes requests comes before a near one that rests or has weight 0.
#[derive(Debug)]
pub(crate) struct LocalFirst {
    /// Nearest first; no circle is empty.
    circles: Box<[Circle]>,
}

/// Instances at one distance.
#[derive(Debug)]
struct Circle {
    least: LeastRequests,
    /// Where its candidates are among all.
    places: Box<[usize]>,
}

impl LocalFirst {
    pub(crate) fn new(candidates: Vec<Candidate>, place: &Place) -> Self {
        let unweighted = Roster::is_unweighted(&candidates);
        let mut circles: [(Vec<usize>, Vec<Candidate>); 3] = Default::default();
        for (at, candidate) in candidates.into_iter().enumerate() {
            let (places, within) = &mut circles[Distance::of(&candidate.instance, place) as usize];
            places.push(at);
            within.push(candidate);
        }
        let circle = |(places, within): (Vec<usize>, _)| Circle {
            least: LeastRequests::new(Roster::part(within, unweighted)),
            places: places.into(),
        };
        Self { circles: circles.into_iter().filter(|(places, _)| !places.is_empty()).map(circle).collect() }
    }
}

impl Balancer for LocalFirst {
    fn pick(&self, ask: &Ask<'_>) -> Option<usize> {
        let mut best: Option<(Rank, usize)> = None;
        for circle in &self.circles {
            let Some(at) = circle.least.pick(ask) else { continue };
            let Some(rank) = circle.least.roster().rank(at, ask) else { continue };
            if best.is_none_or(|(found, _)| rank < found) {
                best = Some((rank, circle.places[at]));
            }
            if rank == Rank::Wanted {
                break;
            }
        }
        best.map(|(_, at)| at)
    }
}

/// Circles in this order.
enum Distance {
    Host = 0,
    Zone = 1,
    Beyond = 2,
}

impl Distance {
    /// An instance registered under a host name is on no known host; its zone can still be ours.
    fn of(instance: &Instance, place: &Place) -> Self {
        let here = |ip: IpAddr| ip.is_loopback() || place.addresses.iter().any(|a| a.to_canonical() == ip);
        match instance.endpoint.address.host {
            Host::Ip(ip) if here(ip.to_canonical()) => Self::Host,
            _ if place.zone.is_some() && instance.zone == place.zone => Self::Zone,
            _ => Self::Beyond,
        }
    }
}
