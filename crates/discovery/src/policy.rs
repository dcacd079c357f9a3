//! What the configuration says about services, compiled. Replaced as a whole by a reload.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use balancer::{Algorithm, Place};
use model::{Exposure, Protocol, ServiceId, Tag};
use transport::ClientTls;

use crate::provider::Interest;

/// How the instances of one service are chosen and spoken to.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// The balancing algorithm.
    pub balance: Algorithm,
    /// What to speak where the registry does not say; `http` if this is `None` too.
    pub protocol: Option<Protocol>,
    /// TLS to `https` instances.
    pub tls: Arc<ClientTls>,
}

/// All policies, and which services clients may reach.
#[derive(Debug, Clone)]
pub struct Policies {
    /// For services without an entry of their own (`services: "*"`).
    pub default: Arc<Policy>,
    /// By service.
    pub services: HashMap<ServiceId, Arc<Policy>>,
    /// Services that routes name: always exposed, always watched.
    pub routed: HashSet<ServiceId>,
    /// What a client may name besides.
    pub exposure: Exposure,
    /// The environment a request without `env_tag` reaches; `None`: all but `environment_only` instances.
    pub environment: Option<Tag>,
    /// Where this router runs.
    pub place: Place,
    /// How long a suspect withdrawal stays as last resort.
    pub hold: Duration,
}

impl Policies {
    /// The policy of one service: its own, else the default.
    #[must_use]
    pub fn of(&self, service: &ServiceId) -> &Arc<Policy> {
        self.services.get(service).unwrap_or(&self.default)
    }

    /// Whether clients may reach this service, whose instances carry these tags.
    #[must_use]
    pub fn exposes<'a>(&self, service: &ServiceId, tags: impl Iterator<Item = &'a str>) -> bool {
        self.routed.contains(service) || self.exposure.exposes(service, tags)
    }

    /// Which services sources should watch.
    #[must_use]
    pub fn interest(&self) -> Interest {
        let mut services: BTreeSet<_> = self.routed.iter().cloned().collect();
        if let Exposure::Matching { services: named, .. } = &self.exposure {
            services.extend(named.iter().cloned());
        }
        Interest { services, exposure: self.exposure.clone() }
    }

    /// Whether the same requests reach the same instances of an unchanged service: what [`Policy`] does not hold.
    pub(crate) fn same_views(&self, other: &Self) -> bool {
        self.environment == other.environment && self.place == other.place
    }
}
