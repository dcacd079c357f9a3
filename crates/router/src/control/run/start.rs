//! From settings to a running router.

use std::sync::Arc;

use admin::metrics::DiscoveryMetrics;
use discovery::{Discovery, Leave, Memory};
use settings::{Aside, Mistakes, watch::Files};
use telemetry::{access::AccessLog, load::Loads, log::Log, metrics::Metrics};
use tokio::sync::watch;
use transport::tls::{Tickets, TlsError};

use super::{
    super::{
        Start, StartError, announced::Announced, apis::Apis, cores::Seat, identity::Ephemeral, memory, unwritable,
    },
    Running, open, places, tell, warn, watched,
};
use crate::{
    accept::{Desk, Doors},
    core::{Order, Parts},
    plan::{Made, compile},
};

impl Running {
    pub(super) async fn start(start: Start) -> Result<Self, StartError> {
        // The watch begins before the files are read, so that no change falls between.
        let mut files = Files::new(start.origin.file().cloned(), settings::watch::POLL).await;
        let settings = start.origin.load(&start.overrides)?;
        let (made, pem) = make()?;
        let compiled = settings::told_if_slow(waits, || compile(&settings, &made, &mut Vec::new()))?;
        warn(&compiled.warnings);
        files.set_paths(watched(&start.origin, &compiled.operations)).await;

        let sockets: Vec<_> = compiled
            .plan
            .listeners
            .iter()
            .map(|listener| open(listener).map(|socket| (socket, Arc::clone(listener))))
            .collect::<Result<_, _>>()?;
        let (metrics, mut registry) = Metrics::new();
        let access = AccessLog::open((*settings.access_log).clone(), metrics.access_lines_dropped.clone())
            .map_err(|error| Mistakes::from(unwritable(&settings.access_log, &error)))?;
        let help = "Lines of the router's own log dropped because writing did not keep up";
        registry.register("log_lines_dropped", help, start.log.as_ref().map(Log::dropped).unwrap_or_default());
        let seats: Vec<Seat> = (0..settings.cores()).map(|_| Seat::new()).collect();
        let desks: Arc<[Desk]> = seats.iter().map(|seat| seat.desk.clone()).collect();
        let memory = compiled.operations.fixed.directory.as_deref().map(Memory::open);
        let places = places(&compiled);
        let discovery = Discovery::start(compiled.sources, compiled.policies, memory, retire(desks.clone())).await?;
        tokio::spawn(memory::give_back(discovery.table().generations()));
        registry.register_collector(Box::new(metrics_of(&discovery)));
        let loads = Loads(desks.iter().map(|desk| Arc::clone(&desk.load)).collect());
        registry.register_collector(Box::new(loads.clone()));
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
            cores.push(seat.start(number, parts)?);
        }
        let mut running = Self {
            start,
            plan: watch::Sender::new(Arc::clone(&compiled.plan)),
            made: Arc::new(made),
            pem,
            desks,
            cores,
            acceptors: Vec::new(),
            doors: Doors::new(compiled.plan.connections.clone()),
            discovery,
            apis: Apis::default(),
            announced: Announced::default(),
            readiness: Arc::default(),
            loads,
            metrics,
            registry: Arc::new(registry),
            operations: compiled.operations,
            files,
            aside: Aside::default(),
            access,
        };
        let prepared = running.apis.prepare(places).await?;
        running.arrange_apis(prepared).await;
        running.acceptors = sockets.into_iter().map(|(socket, listener)| running.accept(socket, listener)).collect();
        running.announce().await;
        tell(&running.metrics, &compiled.plan, false);
        Ok(running)
    }
}

fn waits() {
    tracing::warn!("still reading certificates, keys and what registries keep: does their file system answer?");
}

fn metrics_of(discovery: &Discovery) -> DiscoveryMetrics {
    DiscoveryMetrics {
        table: discovery.table(),
        status: discovery.status(),
        freshness: discovery.freshness(),
        findings: discovery.findings(),
        ejections: discovery.ejections(),
    }
}

/// What is made once for the process; the certificate also as PEM.
pub(in crate::control) fn make() -> Result<(Made, Arc<str>), StartError> {
    let failed = |error: TlsError| StartError::Io(error.to_string());
    let Ephemeral { identity, pem } = Ephemeral::new().map_err(failed)?;
    Ok((Made { tickets: Tickets::new().map_err(failed)?, identity }, pem))
}

fn retire(desks: Arc<[Desk]>) -> impl Fn(Vec<Leave>) + Send + Sync + 'static {
    move |leaving| {
        let leaving: Arc<[Leave]> = leaving.into();
        for desk in desks.iter() {
            desk.orders.send(Order::Leave(Arc::clone(&leaving))).ok();
        }
    }
}
