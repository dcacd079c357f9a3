//! A ZooKeeper ensemble: an ephemeral node, in a session that lives by our beats.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::settings::{SecretSource, Span};
use discovery::provider::zookeeper::{self, LayoutKind, Presence};
use model::{Address, Endpoint, Host, Instance, ProviderError, Tag};
use serde::Deserialize;
use transport::client::TlsSettings;

use super::{Failure, Record, Registrar};

/// How to reach an ensemble, and in whose layout to write: the keys of a source, whose `session_timeout` is `ttl` here.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZooKeeper {
    /// The connection string: `host:port` of each server, separated by commas, and perhaps a chroot.
    pub servers: String,
    /// `curator` (default) or `light_4j`.
    #[serde(default)]
    pub layout: LayoutKind,
    /// The node under which services stand: `/services` for `curator`, `/light` for `light_4j`.
    #[serde(default)]
    pub path: Option<String>,
    /// The group of `light_4j`'s services, the node below `path`; `default` without it.
    #[serde(default)]
    pub group: Option<String>,
    /// `user:password` for digest authentication. What we make then only the same user may change.
    #[serde(default)]
    pub auth: Option<SecretSource>,
    /// Whether to connect by TLS.
    #[serde(default)]
    pub tls: bool,
    /// Whom to trust and who we are, if so.
    #[serde(rename = "$part", default)]
    pub certificates: TlsSettings,
}

/// Above, servers would keep the dead for too long. Shorter than any other registry's, because a server must remember.
const LONGEST: Duration = Duration::from_secs(300);

impl ZooKeeper {
    /// Whether this record can stand there; `named` says that its id was given, not made.
    pub(super) fn check(&self, record: &Record, named: bool) -> Result<(), String> {
        if record.ttl > LONGEST {
            return Err("ttl: ZooKeeper's sessions last 5m at most".to_owned());
        }
        if named && self.layout == LayoutKind::Light4j {
            return Err("id: light_4j names instances by host and port; leave it out".to_owned());
        }
        Presence::check(&self.ensemble(record.ttl), &record.service, &instance(record))
    }

    /// The first server, or the whole text if it has none.
    pub(super) fn first(&self) -> &str {
        self.servers.split([',', '/']).next().unwrap_or_default().trim()
    }

    pub(super) fn registrar(self, ttl: Duration) -> impl Registrar {
        Node(Presence::new(self.ensemble(ttl)))
    }

    fn ensemble(&self, ttl: Duration) -> zookeeper::Settings {
        let Self { servers, layout, path, group, auth, tls, certificates } = self.clone();
        let session_timeout = Span::from_millis(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        zookeeper::Settings { servers, layout, path, group, auth, tls, certificates, session_timeout }
    }
}

/// Our node.
struct Node(Presence);

impl Registrar for Node {
    async fn register(&mut self, record: &Record) -> Result<(), Failure> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let now_ms = u64::try_from(now).unwrap_or(u64::MAX);
        self.0.appear(&record.service, &instance(record), now_ms).await.map_err(failure)
    }

    async fn beat(&mut self, _: &Record) -> Result<(), Failure> {
        if self.0.persists().await.map_err(failure)? { Ok(()) } else { Err(Failure::Forgotten) }
    }

    async fn deregister(&mut self, _: &Record) -> Result<(), Failure> {
        self.0.vanish().await.map_err(failure)
    }

    fn lease(&self) -> Option<Duration> {
        self.0.lease()
    }
}

fn failure(error: ProviderError) -> Failure {
    match error {
        ProviderError::Denied(why) => Failure::Refused(why),
        error => Failure::Away(error.to_string()),
    }
}

fn instance(record: &Record) -> Instance {
    let address = Address { host: Host::parse(&record.address), port: record.port };
    let endpoint = Endpoint { address, protocol: record.protocol };
    let more = [("version", &record.version), ("health", &record.health)];
    let more = more.into_iter().filter_map(|(name, value)| Some((name.into(), value.as_deref()?.into())));
    let metadata = record.metadata.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into()));
    Instance {
        weight: record.weight,
        zone: record.zone.as_deref().map(Into::into),
        environments: record.environment.iter().cloned().collect::<Vec<Tag>>().into(),
        tags: record.tags.clone().into(),
        // What was said twice counts as the field, as elsewhere.
        labels: more.chain(metadata).collect(),
        ..Instance::new(record.id.clone(), endpoint)
    }
    .normalised()
}
