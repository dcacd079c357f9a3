//! One running copy of a service, and how to talk to it.

use std::{fmt, net::IpAddr, sync::Arc};

use arcstr::ArcStr;

use crate::{InstanceId, Tag};

/// Where a socket is opened to: an address, or a name that is resolved when the connection is made.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// A literal IPv4 or IPv6 address.
    Ip(IpAddr),
    /// A host name.
    Name(Arc<str>),
}

impl Host {
    /// An IP literal (brackets around IPv6 allowed), else a host name.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
        bare.parse().map_or_else(|_| Self::Name(text.into()), Self::Ip)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Self::Ip(ip) => write!(f, "{ip}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// Host and port of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// Host or IP address.
    pub host: Host,
    /// TCP port, never 0.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// What is spoken to an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/1.1 in clear text.
    Http,
    /// HTTP/2 in clear text by prior knowledge.
    H2c,
    /// TLS; HTTP/2 or HTTP/1.1 as the instance chooses by ALPN.
    Https,
}

impl Protocol {
    /// The word used in URLs, registries and configuration: `http`, `h2c`, `https`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::H2c => "h2c",
            Self::Https => "https",
        }
    }

    /// Reads that word; also `h2`, `grpcs` (TLS) and `grpc` (clear-text HTTP/2), as registrars write them.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "http" => Some(Self::Http),
            "h2c" | "grpc" => Some(Self::H2c),
            "https" | "h2" | "grpcs" => Some(Self::Https),
            _ => None,
        }
    }

    /// The port a URL of this scheme means when it names none.
    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http | Self::H2c => 80,
            Self::Https => 443,
        }
    }
}

/// How to reach an instance. Part of its identity: a changed endpoint is another instance.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Where to connect.
    pub address: Address,
    /// What the registry says it speaks; `None` leaves it to the service's configuration, then to `http`.
    pub protocol: Option<Protocol>,
}

/// What a registry says about the use of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Standing {
    /// Takes requests.
    #[default]
    Serving,
    /// Finishes what it has and gets no new requests unless nobody else is there.
    Draining,
}

/// One running copy of a service, as a registry describes it. Equality compares everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its name within the service.
    pub id: InstanceId,
    /// How to reach it.
    pub endpoint: Endpoint,
    /// Share of the traffic relative to the others; 0 is used only when nothing else is left.
    pub weight: u16,
    /// Zone (availability zone, rack), for local-first balancing.
    pub zone: Option<ArcStr>,
    /// Serving or draining.
    pub standing: Standing,
    /// Environments a client can narrow to by `env_tag`. Sorted, without doubles.
    pub environments: Box<[Tag]>,
    /// Reached only by a request that names one of its environments (static keys such as `petstore|test`).
    pub environment_only: bool,
    /// Tags, for exposure and display. Sorted, without doubles.
    pub tags: Box<[Tag]>,
    /// Everything else the registry knows (version, region, metadata). Sorted by name.
    pub labels: Box<[(Arc<str>, Arc<str>)]>,
}

impl Instance {
    /// An instance of weight 1 with no attributes.
    #[must_use]
    pub fn new(id: InstanceId, endpoint: Endpoint) -> Self {
        Self {
            id,
            endpoint,
            weight: 1,
            zone: None,
            standing: Standing::Serving,
            environments: Box::default(),
            environment_only: false,
            tags: Box::default(),
            labels: Box::default(),
        }
    }

    /// The value of a label.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&str> {
        let at = self.labels.binary_search_by(|(n, _)| (**n).cmp(name)).ok()?;
        Some(&self.labels[at].1)
    }

    /// Whether a request for this environment may reach it.
    #[must_use]
    pub fn is_in(&self, environment: &str) -> bool {
        self.environments.binary_search_by(|t| t.as_str().cmp(environment)).is_ok()
    }

    /// Sorts attribute lists and removes doubles, as the fields' documentation demands.
    #[must_use]
    pub fn normalised(mut self) -> Self {
        self.normalise();
        self
    }

    /// The same in place.
    pub fn normalise(&mut self) {
        fn tidy<T: Ord>(list: Box<[T]>) -> Box<[T]> {
            let mut list = list.into_vec();
            list.sort();
            list.dedup();
            list.into_boxed_slice()
        }
        self.environments = tidy(std::mem::take(&mut self.environments));
        self.tags = tidy(std::mem::take(&mut self.tags));
        let mut labels = std::mem::take(&mut self.labels).into_vec();
        labels.sort();
        labels.dedup_by(|a, b| a.0 == b.0);
        self.labels = labels.into_boxed_slice();
    }
}

/// Names one upstream for as long as the process runs; never used again for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UpstreamKey(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_that_many_hold_has_two_cache_lines_with_its_counts() {
        assert!(size_of::<Instance>() + 2 * size_of::<usize>() <= 128);
    }

    #[test]
    fn hosts_are_told_from_addresses() {
        assert_eq!(Host::parse("10.0.0.1"), Host::Ip("10.0.0.1".parse().unwrap()));
        assert_eq!(Host::parse("[::1]"), Host::Ip("::1".parse().unwrap()));
        assert_eq!(Host::parse("::1").to_string(), "[::1]");
        assert_eq!(Host::parse("pets.internal"), Host::Name("pets.internal".into()));
    }

    #[test]
    fn labels_and_environments_are_found_after_normalising() {
        let endpoint =
            Endpoint { address: Address { host: Host::parse("10.0.0.1"), port: 80 }, protocol: Some(Protocol::Http) };
        let mut instance = Instance::new(InstanceId::new("a").unwrap(), endpoint);
        instance.labels = vec![("version".into(), "2".into()), ("az".into(), "x".into())].into();
        instance.environments =
            vec![Tag::new("test").unwrap(), Tag::new("dev").unwrap(), Tag::new("test").unwrap()].into();
        let instance = instance.normalised();
        assert_eq!(instance.label("version"), Some("2"));
        assert_eq!(instance.label("none"), None);
        assert_eq!(instance.environments.len(), 2);
        assert!(instance.is_in("dev") && !instance.is_in("prod"));
    }
}
