//! A ZooKeeper ensemble: an ephemeral node, in a session that lives by our beats.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::settings::Span;
use discovery::provider::zookeeper::{Ensemble, LayoutKind, Presence, Settings};
use model::{Address, Endpoint, Host, Instance, ProviderError, Tag};

use super::{Failure, Record, Registrar};

/// Above, servers would keep the dead for too long. Shorter than any other registry's, because a server must remember.
const LONGEST: Duration = Duration::from_secs(300);

/// Whether this record can stand there; `named` says that its id was given, not made.
pub(super) fn check(ensemble: &Ensemble, record: &Record, named: bool) -> Result<(), String> {
    if record.ttl > LONGEST {
        return Err("ttl: ZooKeeper's sessions last 5m at most".to_owned());
    }
    if named && ensemble.layout == LayoutKind::Light4j {
        return Err("id: light_4j names instances by host and port; leave it out".to_owned());
    }
    Presence::check(&session(ensemble.clone(), record.ttl), &record.service, &instance(record))
}

/// The first server, or the whole text if it has none.
pub(super) fn first(ensemble: &Ensemble) -> &str {
    ensemble.servers.split([',', '/']).next().unwrap_or_default().trim()
}

pub(super) fn registrar(ensemble: Ensemble, ttl: Duration) -> impl Registrar {
    Node(Presence::new(session(ensemble, ttl)))
}

/// A node lives as long as its session: the timeout of that is how long the registry keeps it without a heartbeat.
fn session(ensemble: Ensemble, ttl: Duration) -> Settings {
    Settings { ensemble, session_timeout: Span::from_millis(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)) }
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
