//! The registries under measurement, as others see them: one who registers, and one who watches.
//!
//! A further one is a file here and a line in `bin/freshness`.

mod config_map;
mod consul;
mod docker;
mod embedded;
mod etcd;
mod file;
mod kubernetes;
pub mod server;
mod zookeeper;

use std::net::SocketAddr;

use tokio::time::Instant;

pub use config_map::Mounted;
pub use consul::Consul;
pub use docker::Docker;
pub use embedded::Embedded;
pub use etcd::Etcd;
pub use file::File;
pub use kubernetes::Kubernetes;
pub use zookeeper::ZooKeeper;

/// The service that is measured.
pub const SERVICE: &str = "freshness";
/// The instance that is always there, so that the service never is without one.
pub const HOST: &str = "host";
/// The instance that comes and goes, and its environment: a request that names it reaches that instance or nobody.
pub const GUEST: &str = "guest";

/// When something was asked of a registry, and when the registry told of it.
#[derive(Debug, Clone, Copy)]
pub struct Told {
    /// Before the change was sent.
    pub asked: Instant,
    /// When the registry told others, see each registry.
    pub told: Instant,
}

/// A registry, and how to change what it holds. All of it panics if the registry does not do what it is asked.
pub trait Registry {
    /// What the rows of its figures begin with.
    const NAME: &'static str;

    /// Its section in the router's configuration.
    fn section(&self) -> String;

    /// Registers an instance at this address.
    fn register(&self, id: &'static str, address: SocketAddr) -> impl Future<Output = Told>;

    /// Takes an instance out.
    fn deregister(&self, id: &'static str) -> impl Future<Output = Told>;
}

/// A registry that takes many services at once.
pub trait Many: Registry + Clone + Send + Sync + 'static {
    /// Registers so many services, named by [`name`], with so many instances each, at addresses where nobody is.
    fn fill(&self, services: usize, instances: usize) -> impl Future<Output = ()> + Send;

    /// Gives one of those instances another weight.
    fn alter(&self, service: usize, instance: usize, weight: usize) -> impl Future<Output = ()> + Send;
}

/// The name of one of many services.
#[must_use]
pub fn name(service: usize) -> String {
    format!("many-{service}")
}

/// The port of one of many instances.
fn port(instance: usize) -> usize {
    10_000 + instance
}
