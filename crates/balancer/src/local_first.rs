//! Near instances before far ones.

use std::{net::IpAddr, sync::Arc};

use model::{Host, Instance};

use crate::{
    Candidate, Place,
    draws::Draws,
    least_requests::LeastRequests,
    roster::Roster,
    slow_start::SlowStart,
    tiers::{Rule, Tiers},
};

/// Instances on this host as long as one is usable, then those of this zone, then the rest; among them by least requests.
///
/// Distance gives way to use: a far instance that takes requests comes before a near one that rests or has weight 0.
pub(crate) fn local_first(candidates: Vec<Candidate>, place: &Place, slow_start: Option<SlowStart>) -> Tiers {
    let distance = |candidate: &Candidate| Distance::of(&candidate.instance, place) as usize;
    let least = |within| Box::new(LeastRequests::new(Draws::new(Roster::new(within, slow_start)))) as _;
    Tiers::new(candidates, Rule::Strict, distance, |_| Arc::default(), least)
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
