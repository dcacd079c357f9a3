//! What the configuration says about services, compiled. Replaced as a whole by a reload.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use balancer::{Balance, Place};
use model::{Exposure, Protocol, ServiceId, Tag};
use transport::ClientTls;

use crate::{
    Sticky,
    claims::{Holds, Merge, TooOld},
    provider::Interest,
};

/// How the instances of one service are chosen and spoken to.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// How instances are balanced.
    pub balance: Balance,
    /// Whether clients stay with their instance, and how.
    pub sticky: Option<Arc<Sticky>>,
    /// What to speak where the registry does not say; `http` if this is `None` too.
    pub protocol: Option<Protocol>,
    /// TLS to `https` instances.
    pub tls: Arc<ClientTls>,
    /// What is made of what registries say of it.
    pub rules: Rules,
}

impl Policy {
    /// The defaults, with this TLS to `https` instances.
    #[must_use]
    pub fn new(tls: Arc<ClientTls>) -> Self {
        Self { balance: Balance::default(), sticky: None, protocol: None, tls, rules: Rules::default() }
    }
}

/// What is made of what registries say of one service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    /// How the words of several sources are joined.
    pub merge: Merge,
    /// How long a suspect withdrawal stays as last resort, if not as its source says.
    pub hold: Option<Duration>,
    /// From which age on a word is too old, and what becomes of it then; `None`: never.
    pub max_stale: Option<(Duration, TooOld)>,
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
    /// The same, of single sources.
    pub holds: HashMap<Arc<str>, Duration>,
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

    /// Whether any service has words that can be too old.
    pub(crate) fn limits_age(&self) -> bool {
        std::iter::once(&self.default).chain(self.services.values()).any(|policy| policy.rules.max_stale.is_some())
    }

    /// How long suspects stay.
    pub(crate) fn holds(&self) -> Holds {
        let own = |(service, policy): (&ServiceId, &Arc<Policy>)| Some((service.clone(), policy.rules.hold?));
        Holds {
            all: self.hold,
            sources: self.holds.clone(),
            services: self.services.iter().filter_map(own).collect(),
            others: self.default.rules.hold,
        }
    }

    /// Whether the same requests reach the same instances of an unchanged service: what [`Policy`] does not hold.
    pub(crate) fn same_views(&self, other: &Self) -> bool {
        self.environment == other.environment && self.place == other.place
    }
}
