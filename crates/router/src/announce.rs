//! Tells a registry of an instance, for as long as it lives: of this router (`announce:`), or of a service that cannot
//! do it itself (`pointsman register`).
//!
//! | file | idea |
//! |---|---|
//! | `settings` | what is announced, and where |
//! | `place` | the address others reach it by |
//! | `keep` | the life of a registration: register, beat, register anew, leave |
//! | `pulse` | what to do next, and when; pure |
//! | `access` | a client with the token as it is now |
//! | `embedded`, `consul`, `etcd`, `zookeeper` | the registries |

mod access;
mod consul;
mod embedded;
mod etcd;
mod keep;
mod place;
mod pulse;
mod settings;
mod zookeeper;

use std::{collections::BTreeMap, time::Duration};

use model::{InstanceId, Protocol, ServiceId, Tag};

pub use keep::{Announcing, Standing};
pub use settings::{Access, Etcd, Settings, To};

/// What a registry is told of an instance. Checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The service.
    pub service: ServiceId,
    /// The instance's name within it.
    pub id: InstanceId,
    /// IP address or host name.
    pub address: String,
    /// TCP port.
    pub port: u16,
    /// What it speaks, if that shall be said.
    pub protocol: Option<Protocol>,
    /// The environment it is in.
    pub environment: Option<Tag>,
    /// Its zone.
    pub zone: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// The path of its health check, for people.
    pub health: Option<String>,
    /// Tags.
    pub tags: Vec<Tag>,
    /// Its share of the traffic.
    pub weight: u16,
    /// Whatever else shall be known.
    pub metadata: BTreeMap<String, String>,
    /// How long the registry keeps it without a heartbeat.
    pub ttl: Duration,
}

/// A registry that instances are announced to.
pub(crate) trait Registrar: Send + 'static {
    /// Registers, in place of what may be known under this id.
    fn register(&mut self, record: &Record) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Renews the lease.
    fn beat(&mut self, record: &Record) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Takes it out. That it is not there is no failure.
    fn deregister(&mut self, record: &Record) -> impl Future<Output = Result<(), Failure>> + Send;

    /// How long it keeps what it was told, if it grants less than was asked for.
    fn lease(&self) -> Option<Duration> {
        None
    }
}

/// Why a registry did not do as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// It knows nothing of the instance: register anew.
    #[error("the registry has forgotten the registration")]
    Forgotten,
    /// It cannot be reached, or is in trouble; later it may work.
    #[error("{0}")]
    Away(String),
    /// It does not want this; the operator must change something.
    #[error("{0}")]
    Refused(String),
}
