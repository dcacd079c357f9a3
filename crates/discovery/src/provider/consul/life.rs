//! One life of the source, from a canary that sings to the first failure of the agent as a whole.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use ::settings::Aside;
use model::{ProviderError, ServiceId, Update};
use tokio::{
    sync::watch,
    task::{AbortHandle, JoinSet},
};

use super::{
    agent::Agent,
    catalogue::{self, Names},
    settings::Settings,
    sweep,
    token::Accepted,
    watch::{Voice, service},
};
use crate::provider::{Feed, held::Held};

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
        /// Whether the canary was answered.
        reached: bool,
    },
}

/// Lives once.
pub(super) async fn run(settings: &Settings, aside: &Aside, accepted: &Accepted, held: &Held, feed: &Feed) -> End {
    let agent = match Agent::open(settings, aside, accepted, feed.questions()).await {
        Ok(agent) => agent,
        Err(failure) => return End::Failed { error: failure.into_error(), reached: false },
    };
    if let Err(failure) = agent.canary().await {
        return End::Failed { error: failure.into_error(), reached: false };
    }
    tracing::info!(url = settings.url, multiplexed = agent.multiplexes(), "consul answers");
    match Watches::new(agent, held.clone(), feed.clone()).run().await {
        ProviderError::Closed => End::Closed,
        error => End::Failed { error, reached: true },
    }
}

/// The tasks of one life. Dropping it ends them all.
struct Watches {
    agent: Arc<Agent>,
    held: Held,
    feed: Feed,
    /// Watches end only with the error that concerns them all.
    tasks: JoinSet<ProviderError>,
    services: HashMap<ServiceId, AbortHandle>,
    /// Set once there were too many services for one connection each; then these are re-read on changes.
    sweep: Option<watch::Sender<BTreeSet<ServiceId>>>,
    /// The catalogue's task, if exposure needs it.
    catalogue: Option<AbortHandle>,
}

impl Watches {
    fn new(agent: Arc<Agent>, held: Held, feed: Feed) -> Self {
        let (tasks, services) = (JoinSet::new(), HashMap::new());
        Self { agent, held, feed, tasks, services, sweep: None, catalogue: None }
    }

    async fn run(mut self) -> ProviderError {
        let mut interests = self.feed.interest();
        let (names, mut catalogue) = watch::channel(None);
        let mut told = None;
        loop {
            let interest = Arc::clone(&interests.borrow_and_update());
            let needed = interest.exposure.needs_catalog();
            self.look_at_catalogue(needed, &names);
            let found = catalogue.borrow_and_update().clone();
            let gone = self.held.let_go(&interest);
            let mut wanted = catalogue::wanted(&interest, found.as_ref().unwrap_or(&Names::new()));
            wanted.append(&mut self.held.all());
            let ended = self.hold(&wanted);
            // After the watches ended, of which this is the last word. A sweep says its own.
            let mut last: Vec<_> = gone.into_iter().map(Update::Forgotten).collect();
            let due = if needed { found.is_some() && told.as_ref() != Some(&wanted) } else { ended };
            if due {
                last.push(Update::Catalogue(wanted.clone()));
                told = Some(wanted);
            }
            for update in last {
                if let Err(closed) = self.feed.publish(update).await {
                    return closed;
                }
            }
            tokio::select! {
                changed = interests.changed() => match changed {
                    Ok(()) => told = None,
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

    /// Starts and ends watches so that the wanted services are watched; whether some ended.
    fn hold(&mut self, wanted: &BTreeSet<ServiceId>) -> bool {
        if let Some(sweep) = &self.sweep {
            sweep.send_if_modified(|held| std::mem::replace(held, wanted.clone()) != *wanted);
            return false;
        }
        if wanted.len() >= CONNECTIONS && !self.agent.multiplexes() {
            tracing::warn!(
                services = wanted.len(),
                "more services than connections an agent allows: re-reading on changes; an https url avoids this"
            );
            for (_, watch) in self.services.drain() {
                watch.abort();
            }
            let (sender, names) = watch::channel(wanted.clone());
            self.sweep = Some(sender);
            self.tasks.spawn(sweep::run(Arc::clone(&self.agent), self.held.clone(), self.feed.clone(), names));
            return false;
        }
        // What is not wanted is not held either: it said itself that it is empty, or never said anything certain.
        let ended = self.services.extract_if(|name, _| !wanted.contains(name));
        let ended = ended.map(|(_, watch)| watch.abort()).count();
        for name in wanted {
            if !self.services.contains_key(name) {
                let voice = Voice::new(name.clone(), self.held.clone(), self.feed.clone());
                let task = self.tasks.spawn(service(Arc::clone(&self.agent), voice));
                self.services.insert(name.clone(), task);
            }
        }
        ended > 0
    }
}
