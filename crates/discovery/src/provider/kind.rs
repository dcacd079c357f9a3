//! What is particular to each kind of source. Without a default: who adds a kind is asked.

use std::fmt;

/// A kind of source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Lists in the configuration.
    Static,
    /// Lists in files beside it.
    File,
    /// Our own registry.
    Embedded,
    /// A Consul agent.
    Consul,
    /// An ensemble of ZooKeeper servers.
    ZooKeeper,
    /// A Kubernetes cluster.
    Kubernetes,
    /// Names in the DNS.
    Dns,
    /// A container engine.
    Docker,
    /// An etcd cluster.
    Etcd,
}

impl Kind {
    /// As the configuration names it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::File => "file",
            Self::Embedded => "embedded",
            Self::Consul => "consul",
            Self::ZooKeeper => "zookeeper",
            Self::Kubernetes => "kubernetes",
            Self::Dns => "dns",
            Self::Docker => "docker",
            Self::Etcd => "etcd",
        }
    }

    /// Whether sources of this kind say of their instances how they are, so that one they name needs no further proof. A
    /// container without a check of its own counts as soon as it runs, so Docker's do not.
    pub(crate) fn reports_health(self) -> bool {
        match self {
            Self::Embedded | Self::Consul | Self::Kubernetes => true,
            Self::Static | Self::File | Self::ZooKeeper | Self::Dns | Self::Docker | Self::Etcd => false,
        }
    }

    /// Whether a source of this kind is asked service by service, so that each service costs the registry something. The
    /// others follow all they hold by one watch, or hold it themselves.
    pub(crate) fn is_asked_by_name(self) -> bool {
        match self {
            Self::Consul | Self::ZooKeeper | Self::Dns => true,
            Self::Static | Self::File | Self::Embedded | Self::Kubernetes | Self::Docker | Self::Etcd => false,
        }
    }

    /// Whether sources of this kind are remembered on disk. Lists in the configuration and our own registry keep themselves.
    pub(crate) fn is_remembered(self) -> bool {
        match self {
            Self::Static | Self::Embedded => false,
            Self::File | Self::Consul | Self::ZooKeeper | Self::Kubernetes | Self::Dns | Self::Docker | Self::Etcd => {
                true
            }
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
