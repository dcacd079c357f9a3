//! The control thread.

use std::{
    collections::HashSet,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, mpsc as blocking},
    thread::JoinHandle,
    time::Duration,
};

use admin::{Admin, Readiness, metrics::DiscoveryMetrics};
use discovery::{Discovery, Memory, provider::embedded};
use model::UpstreamKey;
use settings::watch::Files;
use telemetry::{access::AccessLog, metrics::Metrics};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep, sleep_until},
};
use transport::tls::{Tickets, TlsError};

use super::{
    Addresses, Command, Origin, Start, StartError,
    announced::Announced,
    apis::{Apis, Opened, Wanted},
    cores::Seat,
    identity::Ephemeral,
    memory,
};
use crate::{
    accept::{Acceptor, Desk, bind},
    core::{Order, Parts},
    plan::{Compiled, Listener, Made, Operations, compile},
    settings::Settings,
};

/// How long requests on a retired upstream may go on: what a rolling deploy gives its instances to end.
const RETIRE: Duration = Duration::from_secs(30);
/// How often the end of the last connection is looked for while draining.
const LOOK: Duration = Duration::from_millis(20);

/// A running router's parts.
struct Running {
    start: Start,
    made: Made,
    pem: Arc<str>,
    desks: Arc<[Desk]>,
    cores: Vec<JoinHandle<()>>,
    acceptors: Vec<Acceptor>,
    most: watch::Sender<usize>,
    discovery: Discovery,
    apis: Apis,
    announced: Announced,
    readiness: Arc<Readiness>,
    metrics: Metrics,
    registry: Arc<telemetry::metrics::Registry>,
    operations: Operations,
    files: Files,
    /// Dropping it writes its last lines.
    access: AccessLog,
}

/// Where a listener of new settings accepts from.
enum Socket {
    /// The acceptor of this number goes on.
    Open(usize),
    /// There was none at its address.
    New(std::net::TcpListener),
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
    loop {
        tokio::select! {
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
                tracing::info!(?changed, "files changed");
                // What is wrong was logged; the old plan stays.
                running.reload().await.ok();
            }
        }
    }
    Box::pin(running.end()).await;
}

impl Running {
    async fn start(start: Start) -> Result<Self, StartError> {
        // The watch begins before the files are read, so that no change falls between.
        let mut files = Files::new(start.origin.file().cloned(), settings::watch::POLL);
        let settings = start.origin.load(&start.overrides)?;
        let (made, pem) = make()?;
        let compiled = compile(&settings, &made, &mut Vec::new())?;
        warn(&compiled.warnings);
        files.set_paths(watched(&start.origin, &compiled.operations));

        let sockets: Vec<_> = compiled
            .plan
            .listeners
            .iter()
            .map(|listener| open(listener).map(|socket| (socket, Arc::clone(listener))))
            .collect::<Result<_, _>>()?;
        let (metrics, mut registry) = Metrics::new();
        let access = AccessLog::open(settings.access_log.clone(), metrics.access_lines_dropped.clone())
            .map_err(|error| StartError::Io(format!("access log: {error}")))?;
        let threads = settings.threads.unwrap_or_else(available).max(1);
        let seats: Vec<Seat> = (0..threads).map(|_| Seat::new()).collect();
        let desks: Arc<[Desk]> = seats.iter().map(|seat| seat.desk.clone()).collect();
        let retire = retire(Arc::clone(&desks));
        let memory = compiled.operations.fixed.directory.as_deref().map(Memory::open);
        let discovery = Discovery::start(compiled.sources, compiled.policies, memory, retire).await?;
        tokio::spawn(memory::give_back(discovery.table().generations()));
        registry.register_collector(Box::new(DiscoveryMetrics {
            table: discovery.table(),
            status: discovery.status(),
            freshness: discovery.freshness(),
        }));
        let mut cores = Vec::new();
        for (number, seat) in seats.into_iter().enumerate() {
            let parts = Parts {
                plan: Arc::clone(&compiled.plan),
                table: discovery.table().reader(),
                reporter: discovery.reporter(),
                metrics: metrics.clone(),
                access: access.pen(),
                load: Arc::clone(&seat.desk.load),
            };
            cores.push(seat.start(number, parts).map_err(|e| StartError::Io(e.to_string()))?);
        }
        let mut running = Self {
            start,
            made,
            pem,
            desks,
            cores,
            acceptors: Vec::new(),
            most: watch::Sender::new(compiled.plan.connections),
            discovery,
            apis: Apis::default(),
            announced: Announced::default(),
            readiness: Arc::default(),
            metrics,
            registry: Arc::new(registry),
            operations: compiled.operations,
            files,
            access,
        };
        running.arrange_apis(Vec::new()).await?;
        for (socket, listener) in sockets {
            running.accept(socket, listener)?;
        }
        running.announce().await;
        Ok(running)
    }

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

    /// Reads the settings anew and follows them. If anything is wrong with them, nothing changes and the log says what.
    async fn reload(&mut self) -> Result<(), StartError> {
        let result = Box::pin(self.try_reload()).await;
        match &result {
            Ok(()) => tracing::info!("configuration reloaded"),
            Err(error) => tracing::error!(%error, "configuration not reloaded, the old one goes on"),
        }
        result
    }

    async fn try_reload(&mut self) -> Result<(), StartError> {
        let settings: Settings = self.start.origin.load(&self.start.overrides)?;
        let mut named = Vec::new();
        let compiled = compile(&settings, &self.made, &mut named);
        // Watched from now on whatever comes of it: a certificate may arrive after the file that names it.
        named.extend(self.operations.files.iter().cloned());
        self.files.set_paths(self.start.origin.file().cloned().into_iter().chain(named));
        let compiled = compiled?;
        warn(&compiled.warnings);
        if let Some(log) = &self.start.log {
            log.set_level(&settings.log.level).map_err(|error| StartError::Io(error.to_string()))?;
        }
        let arranged = self.open_new(&compiled.plan.listeners)?;
        let opened = self.apis.open_new(&api_addresses(&compiled)).await?;
        // Policies first: a new route never meets a service without its policy.
        self.discovery.reload(compiled.sources, compiled.policies).await?;
        for desk in self.desks.iter() {
            desk.orders.send(Order::Plan(Arc::clone(&compiled.plan))).ok();
        }
        self.most.send_replace(compiled.plan.connections);
        // What no listener wants any more closes here.
        let mut open: Vec<Option<Acceptor>> = std::mem::take(&mut self.acceptors).into_iter().map(Some).collect();
        for (socket, listener) in arranged {
            match socket {
                Socket::New(socket) => self.accept(socket, listener)?,
                Socket::Open(at) => {
                    self.acceptors.extend(open[at].take().inspect(|acceptor| acceptor.change(listener)))
                }
            }
        }
        self.files.set_paths(watched(&self.start.origin, &compiled.operations));
        if compiled.operations.fixed != self.operations.fixed {
            tracing::warn!(
                "threads, access_log, log.format and discovery.directory are followed by a start only: restart to change them"
            );
        }
        let fixed = self.operations.fixed.clone();
        self.operations = Operations { fixed, ..compiled.operations };
        self.arrange_apis(opened).await?;
        self.announce().await;
        Ok(())
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

    /// Opens the listeners that are new, so that an address that cannot be had is known before anything changes. Several
    /// listeners may have port 0: they go on in their order.
    fn open_new(&self, listeners: &[Arc<Listener>]) -> Result<Vec<(Socket, Arc<Listener>)>, StartError> {
        let mut taken = HashSet::new();
        let mut socket = |listener: &Listener| {
            let mut same = (0..self.acceptors.len()).filter(|at| self.acceptors[*at].configured == listener.address);
            match same.find(|at| taken.insert(*at)) {
                Some(at) => Ok(Socket::Open(at)),
                None => open(listener).map(Socket::New),
            }
        };
        listeners.iter().map(|listener| Ok((socket(listener)?, Arc::clone(listener)))).collect()
    }

    fn accept(&mut self, socket: std::net::TcpListener, listener: Arc<Listener>) -> Result<(), StartError> {
        let desks = Arc::clone(&self.desks);
        let acceptor = Acceptor::start(socket, listener, desks, self.most.subscribe(), self.metrics.clone());
        self.acceptors.push(acceptor.map_err(|error| StartError::Io(error.to_string()))?);
        Ok(())
    }

    async fn arrange_apis(&mut self, opened: Opened) -> Result<(), StartError> {
        let address = self.operations.admin;
        let mut wanted =
            vec![Wanted { name: ADMIN.to_owned(), address, directory: None, app: admin::app(self.admin(), address) }];
        for (name, embedded::Settings { address, directory, .. }, registry) in self.discovery.registries().await {
            let app = admin::registry::app(registry, address);
            wanted.push(Wanted { name: name.to_string(), address, directory, app });
        }
        self.apis.arrange(wanted, opened).await
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
            readiness: Arc::clone(&self.readiness),
            metrics: Arc::clone(&self.registry),
        }
    }

    async fn drain(&mut self) {
        let Operations { drain_delay, drain_deadline, .. } = self.operations;
        tracing::info!(?drain_delay, ?drain_deadline, "draining: readiness fails, service goes on");
        self.readiness.drain();
        // Those who find routers by a registry look elsewhere first, if it answers.
        tokio::join!(self.announced.leave(), sleep(drain_delay));
        self.acceptors.clear();
        let deadline = Instant::now() + drain_deadline;
        self.desks.iter().for_each(|desk| drop(desk.orders.send(Order::Drain)));
        let open = || self.desks.iter().map(|desk| desk.load.connections()).sum::<usize>();
        let over = async {
            while open() > 0 {
                sleep(LOOK).await;
            }
        };
        tokio::select! {
            () = over => tracing::info!("drained"),
            () = sleep_until(deadline) => tracing::warn!(connections = open(), "drain deadline: closing what is left"),
        }
    }

    async fn end(mut self) {
        self.announced.leave().await;
        let Self { acceptors, discovery, desks, cores, .. } = self;
        drop(acceptors);
        discovery.shutdown().await;
        // Discovery's way to the cores went with it, so this ends them.
        drop(desks);
        for core in cores {
            tokio::task::spawn_blocking(|| core.join().ok()).await.ok();
        }
    }
}

/// What is made once for the process; the certificate also as PEM.
pub(super) fn make() -> Result<(Made, Arc<str>), StartError> {
    let failed = |error: TlsError| StartError::Io(error.to_string());
    let Ephemeral { identity, pem } = Ephemeral::new().map_err(failed)?;
    Ok((Made { tickets: Tickets::new().map_err(failed)?, identity }, pem))
}

/// The name under which the admin API runs. No registry can have it: it is no YAML key anybody writes.
const ADMIN: &str = "admin listener";

fn open(listener: &Listener) -> Result<std::net::TcpListener, StartError> {
    bind(listener.address).map_err(|error| StartError::bind("listener", listener.address, &error))
}

/// Where the operator's APIs will listen.
fn api_addresses(compiled: &Compiled) -> Vec<(String, SocketAddr)> {
    let embedded = compiled.sources.iter().filter_map(|(name, source)| match source {
        discovery::Settings::Embedded(settings) => Some((name.clone(), settings.address)),
        _ => None,
    });
    std::iter::once((ADMIN.to_owned(), compiled.operations.admin)).chain(embedded).collect()
}

fn retire(desks: Arc<[Desk]>) -> impl Fn(Vec<UpstreamKey>) + Send + 'static {
    move |keys| {
        let deadline = Instant::now() + RETIRE;
        for desk in desks.iter() {
            desk.orders.send(Order::Retire(keys.clone(), deadline)).ok();
        }
    }
}

fn watched(origin: &Origin, operations: &Operations) -> Vec<PathBuf> {
    origin.file().cloned().into_iter().chain(operations.files.iter().cloned()).collect()
}

fn available() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn warn(warnings: &[String]) {
    for warning in warnings {
        tracing::warn!("{warning}");
    }
}
