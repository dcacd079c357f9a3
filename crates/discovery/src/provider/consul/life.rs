//! One life of the source, from a canary that sings to the first failure of the agent as a whole.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use model::{Knowledge, ProviderError, ServiceId, Update};
use tokio::{
    sync::watch,
    task::{AbortHandle, JoinSet},
};

use super::{
    agent::Agent,
    catalogue::{self, Names},
    settings::Settings,
    sweep,
    watch::{Voice, service},
};
use crate::provider::Feed;

/// Blocking queries at once where each takes a connection: half of the 200 that an agent allows one client, because
/// this machine may run others, and during a reload two of us.
pub(super) const CONNECTIONS: usize = 100;

/// How a life ended.
#[derive(Debug)]
pub(super) enum End {
    /// Nobody listens any more.
    Closed,
    /// The agent cannot be used at present.
    Failed {
        error: ProviderError,
        /// Whether the canary was answered, so that the outage is a new one.
        reached: bool,
    },
}

/// Lives once.
pub(super) async fn run(settings: &Settings, feed: &Feed) -> End {
    let agent = match Agent::new(settings) {
        Ok(agent) => agent,
        Err(failure) => return End::Failed { error: failure.into_error(), reached: false },
    };
    if let Err(failure) = agent.canary().await {
        return End::Failed { error: failure.into_error(), reached: false };
    }
    tracing::info!(url = settings.url, multiplexed = agent.multiplexes(), "consul answers");
    match Watches::new(agent, feed.clone()).run().await {
        ProviderError::Closed => End::Closed,
        error => End::Failed { error, reached: true },
    }
}

/// The tasks of one life. Dropping it ends them all.
struct Watches {
    agent: Arc<Agent>,
    feed: Feed,
    /// Watches end only with the error that concerns them all.
    tasks: JoinSet<ProviderError>,
    services: HashMap<ServiceId, Watch>,
    /// Set once there were too many services for one connection each; then these are re-read on changes.
    sweep: Option<watch::Sender<BTreeSet<ServiceId>>>,
    /// The catalogue's task, if exposure needs it.
    catalogue: Option<AbortHandle>,
}

struct Watch {
    task: AbortHandle,
    empty: Arc<AtomicBool>,
}

impl Watches {
    fn new(agent: Arc<Agent>, feed: Feed) -> Self {
        let (tasks, services) = (JoinSet::new(), HashMap::new());
        Self { agent, feed, tasks, services, sweep: None, catalogue: None }
    }

    async fn run(mut self) -> ProviderError {
        let mut interests = self.feed.interest();
        let (names, mut catalogue) = watch::channel(None);
        let mut reloaded = false;
        let mut told = false;
        loop {
            let interest = Arc::clone(&interests.borrow_and_update());
            self.look_at_catalogue(interest.exposure.needs_catalog(), &names);
            let found = catalogue.borrow_and_update().clone();
            let wanted = catalogue::wanted(&interest, found.as_ref().unwrap_or(&Names::new()));
            if found.is_some() && (reloaded || !told) {
                told = true;
                if let Err(closed) = self.feed.publish(Update::Catalogue(wanted.clone())).await {
                    return closed;
                }
            }
            if let Err(closed) = self.hold(wanted, reloaded).await {
                return closed;
            }
            reloaded = false;
            tokio::select! {
                changed = interests.changed() => match changed {
                    Ok(()) => reloaded = true,
                    Err(_) => return ProviderError::Closed,
                },
                _ = catalogue.changed() => {}
                Some(ended) = self.tasks.join_next() => match ended {
                    Ok(error) => return error,
                    Err(ended) if ended.is_cancelled() => {}
                    Err(panic) => return ProviderError::Failed(format!("a watch panicked: {panic}")),
                },
            }
        }
    }

    fn look_at_catalogue(&mut self, needed: bool, names: &watch::Sender<Option<Names>>) {
        match (&self.catalogue, needed) {
            (None, true) => {
                let watch = catalogue::watch(Arc::clone(&self.agent), self.feed.clone(), names.clone());
                self.catalogue = Some(self.tasks.spawn(watch));
            }
            (Some(task), false) => {
                task.abort();
                self.catalogue = None;
                names.send_replace(None);
            }
            _ => {}
        }
    }

    /// Starts and ends watches so that the wanted services are watched.
    async fn hold(&mut self, wanted: BTreeSet<ServiceId>, reloaded: bool) -> Result<(), ProviderError> {
        if let Some(sweep) = &self.sweep {
            sweep.send_if_modified(|held| std::mem::replace(held, wanted.clone()) != wanted);
            return Ok(());
        }
        if wanted.len() >= CONNECTIONS && !self.agent.multiplexes() {
            tracing::warn!(
                services = wanted.len(),
                "more services than connections an agent allows: re-reading on changes; an https url avoids this"
            );
            for (_, watch) in self.services.drain() {
                watch.task.abort();
            }
            let (sender, held) = watch::channel(wanted);
            self.sweep = Some(sender);
            self.tasks.spawn(sweep::run(Arc::clone(&self.agent), self.feed.clone(), held));
            return Ok(());
        }
        self.end_unwanted(&wanted, reloaded).await?;
        for name in wanted {
            if !self.services.contains_key(&name) {
                let voice = Voice::new(name.clone(), self.feed.clone());
                let empty = voice.empty();
                let task = self.tasks.spawn(service(Arc::clone(&self.agent), voice));
                self.services.insert(name, Watch { task, empty });
            }
        }
        Ok(())
    }

    /// A service that a reload no longer names is let go. One that only left the catalogue is watched until it said
    /// itself that it is empty: the catalogue of a token that lost a right looks like one whose services are gone.
    async fn end_unwanted(&mut self, wanted: &BTreeSet<ServiceId>, reloaded: bool) -> Result<(), ProviderError> {
        let ended: Vec<ServiceId> = self
            .services
            .iter()
            .filter(|(name, watch)| !wanted.contains(*name) && (reloaded || watch.empty.load(Ordering::Relaxed)))
            .map(|(name, _)| name.clone())
            .collect();
        for service in ended {
            if let Some(watch) = self.services.remove(&service) {
                watch.task.abort();
            }
            if reloaded {
                let knowledge = Knowledge::KnownEmpty;
                self.feed.publish(Update::Service { service, knowledge, deregistered: Vec::new() }).await?;
            }
        }
        Ok(())
    }
}
