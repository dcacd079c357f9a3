//! What the configuration says about services, compiled. Replaced as a whole by a reload.

mod bounds;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use balancer::{Balance, Eject, Place, Rule};
use model::{Exposure, Protocol, ServiceId, Tag};
use transport::ClientTls;

use crate::{
    Sticky,
    claims::{Holds, Merge, TooOld},
    health::Check,
    provider::Interest,
    subscriptions::OnFirstUse,
};
pub use bounds::{Bounds, RECENT, WarmHold};

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
    /// How much of it may be in hand at once, and how long its requests wait.
    pub bounds: Bounds,
    /// How the router looks after its instances by itself.
    pub checks: Arc<[Check]>,
    /// When requests are kept from its instances, or from all of it.
    pub guard: Guard,
}

impl Policy {
    /// The defaults, with this TLS to `https` instances.
    #[must_use]
    pub fn new(tls: Arc<ClientTls>) -> Self {
        Self {
            balance: Balance::default(),
            sticky: None,
            protocol: None,
            tls,
            rules: Rules::default(),
            bounds: Bounds::default(),
            checks: Arc::default(),
            guard: Guard::default(),
        }
    }
}

/// When requests are kept from instances of a service that fail, or from the whole service.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Guard {
    /// Instances that are put out for what they answer.
    pub eject: Eject,
    /// The circuit breaker of the service; `None`: off.
    pub breaker: Option<Rule>,
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
    /// Services that routes name: always watched, and reached by their routes.
    pub routed: HashSet<ServiceId>,
    /// What a client may name.
    pub exposure: Exposure,
    /// How services that `exposure` matches are subscribed to once a client names them, where registries are asked by
    /// name; `None`: all are, as registries' catalogues list them.
    pub first_use: Option<OnFirstUse>,
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

    /// Whether clients may name this service, whose instances carry these tags. That a route leads to it is no leave to pass
    /// by what the route demands.
    #[must_use]
    pub fn exposes<'a>(&self, service: &ServiceId, tags: impl Iterator<Item = &'a str>) -> bool {
        self.exposure.exposes(service, tags)
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

    /// The same for sources that are asked by name, if these services are subscribed to: no catalogue, if there is a
    /// first use to wait for.
    #[must_use]
    pub(crate) fn interest_by_name<'a>(&self, subscribed: impl Iterator<Item = &'a ServiceId>) -> Interest {
        let mut interest = self.interest();
        if self.first_use.is_some() {
            interest.services.extend(subscribed.cloned());
            interest.exposure = Exposure::Routed;
        }
        interest
    }

    /// Whether clients may name this service though the file does not, so that it is subscribed to on first use.
    #[must_use]
    pub fn may_subscribe(&self, service: &ServiceId) -> bool {
        self.first_use.is_some() && self.exposure.may_expose(service) && !self.names(service)
    }

    /// Whether a route or `expose` has exactly this name.
    pub(crate) fn names(&self, service: &ServiceId) -> bool {
        let exactly = matches!(&self.exposure, Exposure::Matching { services, .. } if services.contains(service));
        exactly || self.routed.contains(service)
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

    /// Whether clients may bring up the same services by name, on the same terms: what requests read of policies before
    /// there is a service.
    pub(crate) fn same_first_use(&self, other: &Self) -> bool {
        self.first_use == other.first_use && self.exposure == other.exposure && self.routed == other.routed
    }

    /// Whether the same requests reach the same instances of an unchanged service: what [`Policy`] does not hold.
    pub(crate) fn same_views(&self, other: &Self) -> bool {
        self.environment == other.environment && self.place == other.place
    }
}
