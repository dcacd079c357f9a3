//! The kinds of sources: the registration point of this crate.

use std::fmt;

use model::{Address, ServiceId};
use tokio::task::JoinHandle;

use super::{
    Feed, Kind, Provider, consul, dns, docker,
    embedded::{self, Embedded, Registry},
    etcd, file,
    fixed::{self, Fixed},
    supervise, zookeeper,
};

/// One entry of `registries:`; its key says the kind.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Settings {
    /// Lists in the file.
    Static(fixed::Settings),
    /// Lists in files beside it.
    File(file::Settings),
    /// Our own registry.
    Embedded(embedded::Settings),
    /// A Consul agent.
    Consul(consul::Settings),
    /// An ensemble of ZooKeeper servers.
    #[serde(rename = "zookeeper")]
    ZooKeeper(zookeeper::Settings),
    /// A Kubernetes cluster.
    Kubernetes(KubernetesSettings),
    /// Names in the DNS.
    Dns(dns::Settings),
    /// A container engine.
    Docker(docker::Settings),
    /// An etcd cluster.
    Etcd(etcd::Settings),
}

#[cfg(feature = "kubernetes")]
type KubernetesSettings = super::kubernetes::Settings;
#[cfg(not(feature = "kubernetes"))]
type KubernetesSettings = LeftOut;

/// The settings of a kind of source that this build does without: anything is read, and refused by its check.
#[cfg(not(feature = "kubernetes"))]
pub type LeftOut = serde::de::IgnoredAny;

/// Says how to get what this build does without.
#[cfg(not(feature = "kubernetes"))]
fn left_out(kind: &str) -> String {
    format!("this build was made without {kind}; build with `--features {kind}`, or with the default features")
}

/// A provider that is built and does not run yet.
pub(crate) struct Launch {
    run: Box<dyn FnOnce(Feed) -> JoinHandle<()> + Send>,
    /// For the HTTP API, if it is our own registry.
    pub(crate) registry: Option<Registry>,
}

impl Settings {
    /// The kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Static(_) => Kind::Static,
            Self::File(_) => Kind::File,
            Self::Embedded(_) => Kind::Embedded,
            Self::Consul(_) => Kind::Consul,
            Self::ZooKeeper(_) => Kind::ZooKeeper,
            Self::Kubernetes(_) => Kind::Kubernetes,
            Self::Dns(_) => Kind::Dns,
            Self::Docker(_) => Kind::Docker,
            Self::Etcd(_) => Kind::Etcd,
        }
    }

    /// Whether a source of these settings is asked service by service, so that each service costs the registry something.
    #[must_use]
    pub fn is_asked_by_name(&self) -> bool {
        self.kind().is_asked_by_name()
    }

    /// All services a source of these settings will ever tell of, if the file alone says it.
    #[must_use]
    pub fn foreseen(&self) -> Option<impl Iterator<Item = &ServiceId>> {
        match self {
            Self::Static(settings) => Some(settings.lists().keys()),
            _ => None,
        }
    }

    /// Instances that the file lists twice for a service, where once would do.
    #[must_use]
    pub fn repeated(&self) -> &[(ServiceId, Address)] {
        match self {
            Self::Static(settings) => settings.repeated(),
            _ => &[],
        }
    }

    /// Whether these settings can work, as far as can be told without using them.
    ///
    /// # Errors
    /// What is wrong, and what to write instead.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::Static(_) => Ok(()),
            Self::File(settings) => settings.check(),
            Self::Embedded(settings) => settings.check().and_then(|()| settings.check_files()),
            Self::Consul(settings) => consul::Consul::new(settings.clone()).map(drop),
            Self::ZooKeeper(settings) => zookeeper::ZooKeeper::new(settings.clone()).map(drop),
            #[cfg(feature = "kubernetes")]
            Self::Kubernetes(settings) => super::kubernetes::Kubernetes::new(settings.clone()).map(drop),
            #[cfg(not(feature = "kubernetes"))]
            Self::Kubernetes(_) => Err(left_out("kubernetes")),
            Self::Dns(settings) => dns::Dns::new(settings.clone()).map(drop),
            Self::Docker(settings) => docker::Docker::new(settings.clone()).map(drop),
            Self::Etcd(settings) => etcd::Etcd::new(settings.clone()).map(drop),
        }
    }

    /// Whether a running source of these settings can go on under the other ones. Our own registry can as long as its
    /// directory stays: all else it follows as it goes.
    pub(crate) fn same_source(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Embedded(one), Self::Embedded(other)) => one.directory == other.directory,
            _ => self == other,
        }
    }

    /// Builds the provider: whatever can be wrong with the settings is found here, before anything runs.
    pub(crate) fn build(&self) -> Result<Launch, String> {
        self.check()?;
        Ok(match self {
            Self::Static(settings) => Launch::new(Fixed::new(settings)),
            Self::File(settings) => Launch::new(file::Source::new(settings.clone())),
            Self::Embedded(settings) => {
                let registry = match &settings.directory {
                    Some(directory) => Registry::open(directory)?,
                    None => Registry::in_memory(),
                };
                Launch { registry: Some(registry.clone()), ..Launch::new(Embedded::new(registry)) }
            }
            Self::Consul(settings) => Launch::new(consul::Consul::new(settings.clone())?),
            Self::ZooKeeper(settings) => Launch::new(zookeeper::ZooKeeper::new(settings.clone())?),
            #[cfg(feature = "kubernetes")]
            Self::Kubernetes(settings) => Launch::new(super::kubernetes::Kubernetes::new(settings.clone())?),
            #[cfg(not(feature = "kubernetes"))]
            Self::Kubernetes(_) => return Err(left_out("kubernetes")),
            Self::Dns(settings) => Launch::new(dns::Dns::new(settings.clone())?),
            Self::Docker(settings) => Launch::new(docker::Docker::new(settings.clone())?),
            Self::Etcd(settings) => Launch::new(etcd::Etcd::new(settings.clone())?),
        })
    }
}

impl Launch {
    fn new(provider: impl Provider) -> Self {
        Self { run: Box::new(|feed| tokio::spawn(supervise::run(provider, feed))), registry: None }
    }

    /// Starts it on the current runtime.
    pub(crate) fn start(self, feed: Feed) -> JoinHandle<()> {
        (self.run)(feed)
    }
}

impl fmt::Debug for Launch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Launch")
    }
}
