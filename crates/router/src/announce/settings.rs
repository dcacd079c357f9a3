//! The section `announce:`, and what the arguments of `pointsman register` become.

use std::time::Duration;

use discovery::provider::{embedded::default_id, etcd, zookeeper::Ensemble};
use model::{InstanceId, Protocol, ServiceId, Tag};
use serde::Deserialize;
use settings::{Entries, OneOrMany, SecretSource, Span};
use transport::client::{Client, ClientSettings, TlsSettings};

use super::{Record, zookeeper};

/// What is announced, and where.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The service.
    pub service: String,
    /// The registry.
    pub to: To,
    /// The address others reach it by. Without: the environment's `STATUS_HOST_IP`, else the one the registry is reached
    /// from.
    #[serde(default)]
    pub address: Option<String>,
    /// Its port. A router's: that of its first listener.
    #[serde(default)]
    pub port: Option<u16>,
    /// Its name within the service; `service-address-port` without.
    #[serde(default)]
    pub id: Option<String>,
    /// What it speaks, if that shall be said.
    #[serde(default)]
    pub protocol: Option<String>,
    /// The environment it is in.
    #[serde(default)]
    pub environment: Option<Tag>,
    /// Its zone.
    #[serde(default)]
    pub zone: Option<String>,
    /// Its version.
    #[serde(default)]
    pub version: Option<String>,
    /// Tags.
    #[serde(default)]
    pub tags: OneOrMany<Tag>,
    /// Its share of the traffic.
    #[serde(default = "one")]
    pub weight: u16,
    /// Whatever else shall be known.
    #[serde(default)]
    pub metadata: Entries<String>,
    /// How long the registry keeps it without a heartbeat; three are sent in that time.
    #[serde(default = "half_a_minute")]
    pub ttl: Span,
}

/// The registry.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum To {
    /// The embedded registry of a router.
    Embedded(Access),
    /// A Consul agent.
    Consul(Access),
    /// An etcd cluster.
    Etcd(Etcd),
    /// A ZooKeeper ensemble.
    Zookeeper(Ensemble),
}

/// How to reach it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Access {
    /// `http://host:port` or `https://host:port`.
    pub url: String,
    /// What it wants to be shown. A file is read again at each registration.
    #[serde(default)]
    pub token: Option<SecretSource>,
    /// Whom to trust and who we are, over TLS.
    #[serde(rename = "$part", default)]
    pub tls: TlsSettings,
}

/// How to reach etcd, and where records stand there.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Etcd {
    /// `http://host:port` or `https://host:port` of the members' JSON gateways, which are those of their clients: one, or a
    /// list. One is used at a time; if it fails, the next.
    pub endpoints: OneOrMany<String>,
    /// Who we are, and whom to trust.
    #[serde(rename = "$part", default)]
    pub access: etcd::Access,
    /// Records stand under `PREFIX/SERVICE/ID`.
    #[serde(default = "prefix")]
    pub prefix: String,
}

/// Shortest and longest lease that every registry takes.
const TTLS: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);

fn one() -> u16 {
    1
}

fn half_a_minute() -> Span {
    Span::from_secs(30)
}

fn prefix() -> String {
    "/services".to_owned()
}

impl Settings {
    /// Settings with every default.
    #[must_use]
    pub fn new(service: impl Into<String>, to: To) -> Self {
        Self {
            service: service.into(),
            to,
            address: None,
            port: None,
            id: None,
            protocol: None,
            environment: None,
            zone: None,
            version: None,
            tags: OneOrMany::default(),
            weight: one(),
            metadata: Entries::default(),
            ttl: half_a_minute(),
        }
    }

    /// Whether these settings can work, as far as can be told without using them.
    ///
    /// # Errors
    /// What is wrong, and what to write instead.
    pub fn check(&self) -> Result<(), String> {
        let record = self.record("127.0.0.1", self.port.unwrap_or(1), None)?;
        if let Some(address) = &self.address {
            self.record(address, 1, None).map(drop)?;
        }
        let clients = match &self.to {
            To::Embedded(access) | To::Consul(access) => vec![access.client()],
            To::Etcd(etcd) => etcd.clients()?,
            To::Zookeeper(ensemble) => return zookeeper::check(ensemble, &record, self.id.is_some()),
        };
        clients.into_iter().try_for_each(|settings| Client::new(settings).map(drop).map_err(|e| e.to_string()))
    }

    /// The record of an instance at this place.
    pub(super) fn record(&self, address: &str, port: u16, health: Option<&str>) -> Result<Record, String> {
        let conventional = matches!(self.to, To::Embedded(_));
        let service = if conventional { ServiceId::conventional(&self.service) } else { ServiceId::new(&self.service) };
        let service = service.map_err(|e| e.to_string())?;
        let id = match &self.id {
            Some(id) => InstanceId::new(id).map_err(|e| e.to_string())?,
            None => default_id(&service, address, port)?,
        };
        if self.port == Some(0) || port == 0 {
            return Err("port 0 cannot be connected to; give the port that is listened on".to_owned());
        }
        if address.is_empty() || matches!(model::Host::parse(address), model::Host::Ip(ip) if ip.is_unspecified()) {
            return Err(format!("address {address:?} is nobody's; give the one that others connect to"));
        }
        if self.weight == 0 && matches!(self.to, To::Consul(_)) {
            return Err("weight 0 is more than Consul can say: its least is 1; to take it out, end it".to_owned());
        }
        let ttl = self.ttl.get();
        if !TTLS.contains(&ttl) {
            return Err(format!("ttl {} must be from 1s to 24h", self.ttl));
        }
        let unknown = |word: &String| format!("protocol {word:?} is not known; write http, h2c or https");
        let protocol = self.protocol.as_ref().map(|word| Protocol::parse(word).ok_or_else(|| unknown(word)));
        Ok(Record {
            service,
            id,
            address: address.to_owned(),
            port,
            protocol: protocol.transpose()?,
            environment: self.environment.clone(),
            zone: self.zone.clone(),
            version: self.version.clone(),
            health: health.map(str::to_owned),
            tags: self.tags.0.clone(),
            weight: self.weight,
            metadata: self.metadata.iter().map(|(name, value)| (name.to_string(), value.clone())).collect(),
            ttl,
        })
    }
}

impl To {
    /// The registry's address, as it was written; of an etcd cluster that of its first member.
    #[must_use]
    pub fn url(&self) -> &str {
        match self {
            Self::Embedded(access) | Self::Consul(access) => &access.url,
            Self::Etcd(etcd) => etcd.endpoints.0.first().map_or("", String::as_str),
            Self::Zookeeper(ensemble) => &ensemble.servers,
        }
    }

    /// One server of it, as a URL or an authority.
    pub(super) fn server(&self) -> &str {
        match self {
            Self::Zookeeper(ensemble) => zookeeper::first(ensemble),
            other => other.url(),
        }
    }
}

impl Access {
    /// The client's settings, without credentials.
    pub(super) fn client(&self) -> ClientSettings {
        ClientSettings { tls: self.tls.clone(), ..ClientSettings::new(&*self.url) }
    }
}

impl Etcd {
    /// The settings of a client of each member, without credentials; of one at least.
    pub(super) fn clients(&self) -> Result<Vec<ClientSettings>, String> {
        self.access.check()?;
        if self.endpoints.0.is_empty() {
            return Err("endpoints: write at least one, such as \"http://127.0.0.1:2379\"".to_owned());
        }
        let prefix = &self.prefix;
        if !prefix.starts_with('/') || prefix.ends_with('/') {
            return Err(format!("prefix {prefix:?} must begin with / and not end with it"));
        }
        Ok(self.endpoints.0.iter().map(|endpoint| self.access.client(endpoint)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> Settings {
        settings::parse(yaml, std::path::Path::new("router.yml"), &|_| None).unwrap()
    }

    #[test]
    fn service_and_registry_are_enough() {
        let read = read("{ service: edge, to: { consul: { url: 'http://127.0.0.1:8500' } } }");
        assert_eq!(read.check(), Ok(()));
        let record = read.record("10.0.0.1", 8443, Some("/health")).unwrap();
        assert_eq!((record.id.as_str(), record.weight, record.ttl.as_secs()), ("edge-10.0.0.1-8443", 1, 30));
    }

    #[test]
    fn mistakes_are_found_before_anything_runs() {
        for (more, part) in [
            ("port: 0", "port 0"),
            ("address: 0.0.0.0", "nobody's"),
            ("ttl: 500ms", "1s to 24h"),
            ("protocol: gopher", "http, h2c"),
        ] {
            let yaml = format!("{{ service: edge, to: {{ embedded: {{ url: 'http://127.0.0.1:8400' }} }}, {more} }}");
            let error = read(&yaml).check().unwrap_err();
            assert!(error.contains(part), "{more}: {error}");
        }
        for (yaml, part) in [
            ("{ service: Edge, to: { embedded: { url: 'http://a:1' } } }", "lowercase"),
            ("{ service: edge, to: { embedded: { url: 'a:1' } } }", "http://host:port"),
            ("{ service: edge, to: { etcd: { endpoints: 'http://a:1', user: x } } }", "belong together"),
            ("{ service: edge, to: { etcd: { endpoints: 'http://a:1', prefix: x } } }", "begin with /"),
            ("{ service: edge, to: { etcd: { endpoints: [] } } }", "at least one"),
            ("{ service: edge, to: { etcd: { endpoints: [ 'http://a:1', 'b:1' ] } } }", "http://host:port"),
            ("{ service: edge, weight: 0, to: { consul: { url: 'http://a:1' } } }", "its least is 1"),
            ("{ service: edge, to: { zookeeper: { servers: 'http://a' } } }", "without a scheme"),
            ("{ service: edge, ttl: 10m, to: { zookeeper: { servers: a } } }", "5m at most"),
            ("{ service: edge, id: x, to: { zookeeper: { servers: a, layout: light_4j } } }", "leave it out"),
            ("{ service: edge, id: a/b, to: { zookeeper: { servers: a } } }", "name of a node"),
        ] {
            let error = read(yaml).check().unwrap_err();
            assert!(error.contains(part), "{yaml}: {error}");
        }
    }
}
