//! The control thread.
//!
//! | File | |
//! |---|---|
//! | `run.rs` | what runs, and whose commands it follows |
//! | `run/start.rs` | from settings to what runs |
//! | `run/reload.rs` | other settings, without a stop |
//! | `run/drain.rs` | the end |

mod drain;
mod reload;
mod start;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, mpsc as blocking},
    thread::JoinHandle,
    time::{Duration, SystemTime},
};

use admin::{Admin, Readiness};
use discovery::{Discovery, provider::embedded};
use settings::{Aside, watch::Files};
use telemetry::{access::AccessLog, load::Loads, metrics::Metrics};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, interval_at},
};

use super::{
    Addresses, Command, Origin, Start, StartError,
    announced::Announced,
    apis::{Apis, Place, Prepared},
};
use crate::{
    accept::{Acceptor, Bound, Desk, Doors, bind},
    explain,
    plan::{Compiled, Listener, Made, Operations, Plan},
};

pub(super) use start::make;

/// The name under which the admin API runs. No registry can have it: it is no YAML key anybody writes.
const ADMIN: &str = "admin listener";

/// How often certificates are looked at that nobody changes.
const DAY: Duration = Duration::from_secs(86_400);

/// A running router's parts.
struct Running {
    start: Start,
    made: Arc<Made>,
    pem: Arc<str>,
    /// The plan that holds, for who asks.
    plan: watch::Sender<Arc<Plan>>,
    desks: Arc<[Desk]>,
    cores: Vec<JoinHandle<()>>,
    acceptors: Vec<Acceptor>,
    doors: Doors,
    discovery: Discovery,
    apis: Apis,
    announced: Announced,
    readiness: Arc<Readiness>,
    loads: Loads,
    metrics: Metrics,
    registry: Arc<telemetry::metrics::Registry>,
    operations: Operations,
    files: Files,
    /// Where the settings are read, and what they name.
    aside: Aside,
    /// Dropping it writes its last lines.
    access: AccessLog,
}

pub(super) async fn run(
    start: Start,
    mut inbox: mpsc::UnboundedReceiver<Command>,
    told: blocking::Sender<Result<Addresses, StartError>>,
) {
    let mut running = match Box::pin(Running::start(start)).await {
        Ok(running) => running,
        Err(error) => {
            told.send(Err(error)).ok();
            return;
        }
    };
    told.send(Ok(running.addresses())).ok();
    let mut days = interval_at(Instant::now() + DAY, DAY);
    loop {
        tokio::select! {
            _ = days.tick() => warn(&crate::plan::expiring(&running.plan.borrow().certificates, SystemTime::now())),
            command = inbox.recv() => match command {
                None => break,
                Some(Command::Drain(done)) => {
                    tokio::select! {
                        () = running.drain() => drop(done.send(())),
                        // Whoever asked has lost patience: end now.
                        () = async { while inbox.recv().await.is_some() {} } => {}
                    }
                    break;
                }
                Some(command) => running.obey(command).await,
            },
            changed = running.files.changed() => {
                // Files that hang are as they were, and the log says which.
                if let Ok(changed) = changed {
                    tracing::info!(?changed, "files changed");
                    // What is wrong was logged; the old plan stays.
                    running.reload().await.ok();
                }
            }
        }
    }
    Box::pin(running.end()).await;
}

impl Running {
    async fn obey(&mut self, command: Command) {
        match command {
            Command::Reload(done) => {
                self.access.reopen();
                drop(done.send(self.reload().await));
            }
            Command::Replace(settings, done) => {
                let old = std::mem::replace(&mut self.start.origin, Origin::Given(settings));
                let result = self.reload().await;
                if result.is_err() {
                    self.start.origin = old;
                }
                drop(done.send(result));
            }
            Command::Addresses(reply) => drop(reply.send(self.addresses())),
            Command::Readiness(reply) => drop(reply.send(self.ready())),
            Command::Drain(done) => drop::<oneshot::Sender<()>>(done),
        }
    }

    /// Announces the router as the settings say: by default its first listener.
    async fn announce(&mut self) {
        let mut wanted = self.operations.announce.clone();
        if let (Some(wanted), Some(first)) = (&mut wanted, self.acceptors.first()) {
            wanted.port.get_or_insert_with(|| first.address.port());
            let word = if first.speaks_tls() { "https" } else { "http" };
            wanted.protocol.get_or_insert_with(|| word.to_owned());
        }
        self.announced.follow(wanted, self.admin()).await;
    }

    fn accept(&self, socket: Bound, listener: Arc<Listener>) -> Acceptor {
        Acceptor::start(socket, listener, Arc::clone(&self.desks), self.doors.open(self.metrics.clone()))
    }

    async fn arrange_apis(&mut self, prepared: Prepared) {
        let more =
            explain::api::routes(explain::api::Sources { plan: self.plan.subscribe(), table: self.discovery.table() });
        let app = admin::app(self.admin(), more, self.operations.admin);
        let mut apps = HashMap::from([(ADMIN.to_owned(), app)]);
        for (name, embedded::Settings { address, .. }, registry) in self.discovery.registries().await {
            apps.insert(name.to_string(), admin::registry::app(registry, address));
        }
        self.apis.arrange(prepared, apps).await;
    }

    fn addresses(&self) -> Addresses {
        let tls = |acceptor: &Acceptor| (acceptor.address, acceptor.speaks_tls());
        let registries = self.apis.addresses().into_iter().filter(|(name, _)| name != ADMIN).collect();
        Addresses {
            clients: self.acceptors.iter().map(tls).collect(),
            admin: self.apis.address(ADMIN),
            registries,
            certificate: Some(Arc::clone(&self.pem)),
        }
    }

    fn ready(&self) -> Result<(), String> {
        let reasons = admin::health::reasons(&self.admin());
        if reasons.is_empty() { Ok(()) } else { Err(reasons.join("; ")) }
    }

    fn admin(&self) -> Admin {
        Admin {
            table: self.discovery.table(),
            status: self.discovery.status(),
            freshness: self.discovery.freshness(),
            history: self.discovery.history(),
            operator: self.discovery.operator(),
            findings: self.discovery.findings(),
            readiness: Arc::clone(&self.readiness),
            loads: self.loads.clone(),
            metrics: Arc::clone(&self.registry),
        }
    }
}

/// What the log and the metrics tell of settings that are followed from now on.
fn tell(metrics: &Metrics, plan: &Plan, reload: bool) {
    let now = SystemTime::now();
    warn(&crate::plan::expiring(&plan.certificates, now));
    metrics.followed(reload, now);
    metrics.certificates(plan.certificates.iter().map(|certificate| (&*certificate.file, certificate.expires)));
}

fn open(listener: &Listener) -> Result<Bound, StartError> {
    bind(listener.address).map_err(|error| StartError::bind("listener", listener.address, &error))
}

/// The operator's APIs that shall run.
fn places(compiled: &Compiled) -> Vec<Place> {
    let embedded = compiled.sources.iter().filter_map(|(name, source)| match source {
        discovery::Settings::Embedded(embedded::Settings { address, directory, .. }) => {
            Some(Place { name: name.clone(), address: *address, directory: directory.clone() })
        }
        _ => None,
    });
    let admin = Place { name: ADMIN.to_owned(), address: compiled.operations.admin, directory: None };
    std::iter::once(admin).chain(embedded).collect()
}

fn watched(origin: &Origin, operations: &Operations) -> Vec<PathBuf> {
    origin.file().cloned().into_iter().chain(operations.files.iter().cloned()).collect()
}

fn warn(warnings: &[String]) {
    for warning in warnings {
        tracing::warn!("{warning}");
    }
}
