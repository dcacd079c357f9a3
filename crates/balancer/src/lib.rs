//! Decides which instance gets a request. Pure: no I/O, no allocation in `pick`, no locks but that of a [`queue`], and time
//! is an argument.
//!
//! * [`balance`]: how a service is balanced: an algorithm, weights ([`weighing`]), [`slow_start`], and `tiers` of instances
//!   that take over for each other, of which [`usage`] is kept.
//! * [`algorithm`]: what the configuration can name; the registration point.
//! * [`vitals`]: what we learned of one instance, made of [`admission`] (may it get requests) and `ewma` (how fast it is).
//! * [`eject`]: who is put out for what he answers, and for how long; never too many.
//! * [`service_vitals`]: what we learned of one service, made of its retry [`budget`], a [`quantile`] of its latency, what its
//!   instances share in [`eject`], its [`breaker`], its [`occupancy`] and the [`queue`] before it.
//! * `roster`: the candidates as balancers keep them, and the order in which they are fallen back on; `draws` of them by
//!   chance.
//! * `random`, `round_robin`, `least_requests`, `peak_ewma`, `local_first`: one algorithm each.
//! * `hashed`: consistent hashing over `maglev` or `ring`, by the stable function of [`hash`](mod@hash), with a `bound`.
//! * [`news`]: whether there was any since somebody last asked.
//! * `due`: what is worked out anew from time to time.
//!
//! A new algorithm is one file, one variant of [`Algorithm`] and one arm in [`Algorithm::build`]; the laws in `tests`
//! run over every variant.

pub mod admission;
pub mod algorithm;
pub mod balance;
mod bound;
pub mod breaker;
pub mod budget;
mod draws;
mod due;
pub mod eject;
mod ewma;
pub mod hash;
mod hashed;
mod least_requests;
mod local_first;
mod maglev;
pub mod news;
pub mod occupancy;
mod peak_ewma;
pub mod quantile;
pub mod queue;
mod random;
mod ring;
mod roster;
mod round_robin;
pub mod service_vitals;
pub mod slow_start;
mod streak;
mod tally;
#[cfg(test)]
mod tests;
mod tiers;
pub mod usage;
pub mod vitals;
pub mod weighing;

use std::{fmt::Debug, net::IpAddr, sync::Arc};

use model::{ArcStr, Instance, Tick, UpstreamKey};

pub use admission::{Admission, Cause, Entry, Hold, Holds, Stake};
pub use algorithm::{Algorithm, ConsistentHash, Decay, HashKey, Scheme};
pub use balance::{Balance, Contender};
pub use breaker::{Breaker, Rule};
pub use budget::{Allowance, Budget};
pub use eject::{Eject, Peers, Sample, Verdict, judge};
pub use hash::hash;
pub use occupancy::Occupancy;
pub use quantile::P95;
pub use queue::Queue;
pub use service_vitals::ServiceVitals;
pub use slow_start::SlowStart;
pub use usage::{Groups, Usage};
pub use vitals::{Marks, Totals, Vitals};
pub use weighing::Weighing;

/// One instance a balancer may choose, with its live state.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Names the upstream, so that one tried before can be left out.
    pub key: UpstreamKey,
    /// What the registry says of it.
    pub instance: Arc<Instance>,
    /// Its share of the traffic relative to the others; 0 is used only when nothing else is left.
    pub weight: u16,
    /// What we learned of it.
    pub vitals: Arc<Vitals>,
    /// When we saw it first.
    pub since: Tick,
}

/// What is known of the request that asks.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// [`hash()`] of the affinity key, if the service hashes and the request has the key.
    pub hash: Option<u64>,
    /// Instances this request was already sent to.
    pub tried: &'a [UpstreamKey],
    /// Now.
    pub now: Tick,
}

/// A choice among the candidates it was built from.
pub trait Balancer: Send + Sync + Debug + 'static {
    /// Index of the chosen candidate, or `None` if every one was tried. Must not block, allocate or take a lock.
    ///
    /// Candidates that [`Vitals::admits`] refuses are used only if no other is left, and among equals one of weight 0
    /// only after the others: the last instance is never rested.
    fn pick(&self, ask: &Ask<'_>) -> Option<usize>;

    /// Whether this candidate is one that such requests go to now, whether or not it would be picked: it takes requests,
    /// has a weight, and is no group's that only stands by. Must not block, allocate or take a lock, and takes nobody's turn.
    fn reaches(&self, at: usize, ask: &Ask<'_>) -> bool;
}

/// Where this router runs, for local-first balancing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// Addresses of this host. Loopback addresses count without being named.
    pub addresses: Vec<IpAddr>,
    /// Our zone, if configured.
    pub zone: Option<ArcStr>,
}
