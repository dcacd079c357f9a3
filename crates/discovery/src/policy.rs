//! What the configuration says about services, compiled. Replaced as a whole by a reload.

use std::{collections::HashMap, collections::HashSet, sync::Arc, time::Duration};

use balancer::{Algorithm, Place};
use model::{Exposure, Protocol, ServiceId, Tag};
use transport::ClientTls;

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
