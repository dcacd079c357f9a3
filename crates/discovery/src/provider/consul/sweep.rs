//! More services than connections: two watches, on all checks and on the catalogue, and re-reads of what changed.
//!
//! A change of a check names its service or node, and those services are read at once. A change of the catalogue
//! (addresses, weights, metadata, instances without checks) does not say where, so all are read: the first time at once,
//! then so seldom that they are a hundred a second. What was read because of a change is read once more a moment later: it
//! may have been answered by a server that did not know the change yet, and nobody would tell of it again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use model::{ProviderError, ServiceId};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};
use transport::clock::tick;

use super::{
    agent::{Agent, Answer},
    changes::Checks,
    index::Cursor,
    rhythm::Rhythm,
    watch::{Voice, concern, path},
};
use crate::provider::{
    Feed,
    held::Held,
    pace::{self, Pace},
};

/// Between two readings of everything, at least, and for each service.
const FULL: Duration = Duration::from_secs(1);
const EACH: Duration = Duration::from_millis(10);
/// From a reading because of a change to the next one: servers lag by milliseconds.
const AGAIN: Duration = Duration::from_secs(1);
/// From a reading that failed to the next one.
const RETRY: Duration = Duration::from_secs(5);

/// Keeps these services known until the agent as a whole fails.
pub(super) async fn run(
    agent: Arc<Agent>,
    held: Held,
    feed: Feed,
    mut wanted: watch::Receiver<BTreeSet<ServiceId>>,
) -> ProviderError {
    let mut watchers = JoinSet::new();
    let (checks, mut checks_seen) = watch::channel(None);
    let (catalogue, mut catalogue_seen) = watch::channel(None::<Arc<Answer>>);
    watchers.spawn(follow(Arc::clone(&agent), "/v1/health/state/any", Pace::new(tick()), checks));
    let full = FULL.max(EACH * u32::try_from(wanted.borrow().len()).unwrap_or(u32::MAX));
    watchers.spawn(follow(Arc::clone(&agent), "/v1/catalog/services", Pace::every(full, tick()), catalogue));
    let (voices, again) = (BTreeMap::new(), BTreeMap::new());
    let mut sweep = Sweep { agent, held, feed, voices, checks: Checks::default(), again };
    let mut resync = Instant::now() + pace::resync(fastrand::f64());
    loop {
        let names = wanted.borrow_and_update().clone();
        if let Err(error) = sweep.keep(&names).await {
            return error;
        }
        let again = sweep.again.values().min().copied();
        let read = tokio::select! {
            changed = wanted.changed() => match changed {
                Ok(()) => Ok(()),
                Err(_) => return ProviderError::Closed,
            },
            Ok(()) = checks_seen.changed() => {
                let answer = checks_seen.borrow_and_update().clone();
                sweep.on_checks(answer.as_deref()).await
            }
            Ok(()) = catalogue_seen.changed() => {
                let seen = catalogue_seen.borrow_and_update().as_ref().map(|answer| answer.seen);
                sweep.read_all(names, seen).await
            }
            () = sleep_until(resync) => {
                resync = Instant::now() + pace::resync(fastrand::f64());
                sweep.read_all(names, None).await
            }
            () = sleep_until(again.unwrap_or(resync)), if again.is_some() => sweep.read_again().await,
            Some(ended) = watchers.join_next() => Err(ended.unwrap_or_else(|e| ProviderError::Failed(e.to_string()))),
        };
        if let Err(error) = read {
            return error;
        }
    }
}

/// Hands on each answer of one blocking query that says something new.
async fn follow(
    agent: Arc<Agent>,
    path: &'static str,
    pace: Pace,
    answers: watch::Sender<Option<Arc<Answer>>>,
) -> ProviderError {
    let (mut cursor, mut rhythm) = (Cursor::default(), Rhythm::new(pace));
    loop {
        let next = match agent.follow(path, cursor).await {
            Ok((next, answer)) => {
                if let Some(answer) = answer.filter(|_| next != cursor) {
                    answers.send_replace(Some(Arc::new(answer)));
                }
                next
            }
            Err(failure) => match agent.concerns_it(failure).await {
                Ok(error) => {
                    tracing::warn!(path, %error, "cannot follow the changes; trying again");
                    Cursor::default()
                }
                Err(error) => return error,
            },
        };
        sleep(rhythm.wait(cursor, next, tick(), fastrand::f64())).await;
        cursor = next;
    }
}

struct Sweep {
    agent: Arc<Agent>,
    held: Held,
    feed: Feed,
    voices: BTreeMap<ServiceId, Voice>,
    checks: Checks,
    /// What is to be read once more, and when.
    again: BTreeMap<ServiceId, Instant>,
}

impl Sweep {
    /// Reads services that are new among the wanted ones, and forgets those that are not wanted. What was said of them is
    /// taken back here, because nothing is being read meanwhile that could be said afterwards.
    async fn keep(&mut self, wanted: &BTreeSet<ServiceId>) -> Result<(), ProviderError> {
        for (name, voice) in self.voices.extract_if(.., |name, _| !wanted.contains(name)) {
            self.again.remove(&name);
            voice.forget().await?;
        }
        let new = wanted.iter().filter(|name| !self.voices.contains_key(*name)).cloned().collect();
        self.read(new, None).await
    }

    async fn on_checks(&mut self, answer: Option<&Answer>) -> Result<(), ProviderError> {
        let Some(answer) = answer else { return Ok(()) };
        let checks = Checks::read(&answer.body).map_err(|e| ProviderError::Malformed(format!("checks: {e}")))?;
        let changed = checks.since(&self.checks);
        self.checks = checks;
        let concerned = |(name, voice): &(&ServiceId, &Voice)| {
            changed.services.contains(name.as_str()) || voice.nodes().iter().any(|node| changed.nodes.contains(&**node))
        };
        let names = self.voices.iter().filter(concerned).map(|(name, _)| name.clone()).collect();
        self.read(names, Some(answer.seen)).await
    }

    async fn read_all(&mut self, names: BTreeSet<ServiceId>, seen: Option<Instant>) -> Result<(), ProviderError> {
        self.read(names, seen).await?;
        self.feed.read();
        Ok(())
    }

    /// Reads those that are due once more.
    async fn read_again(&mut self) -> Result<(), ProviderError> {
        let now = Instant::now();
        let due = self.again.extract_if(.., |_, at| *at <= now).map(|(name, _)| name).collect();
        self.read(due, None).await
    }

    /// Reads these services, because of an answer that was `seen` then; the agent's permits bound how many at once.
    async fn read(&mut self, names: BTreeSet<ServiceId>, seen: Option<Instant>) -> Result<(), ProviderError> {
        let mut reads = JoinSet::new();
        for name in names {
            let voice =
                self.voices.remove(&name).unwrap_or_else(|| Voice::new(name, self.held.clone(), self.feed.clone()));
            let agent = Arc::clone(&self.agent);
            reads.spawn(async move { read(&agent, voice, seen).await });
        }
        while let Some(done) = reads.join_next().await {
            let voice = done.map_err(|e| ProviderError::Failed(e.to_string()))??;
            let again = if voice.despairs() { Some(RETRY) } else { seen.map(|_| AGAIN) };
            self.again.extend(
                again.map(|wait| (voice.service().clone(), Instant::now() + wait.mul_f64(1.0 + fastrand::f64()))),
            );
            self.voices.insert(voice.service().clone(), voice);
        }
        Ok(())
    }
}

async fn read(agent: &Agent, mut voice: Voice, seen: Option<Instant>) -> Result<Voice, ProviderError> {
    let result = match agent.ask(&path(voice.service()), Cursor::default()).await {
        // The registry's word of the change was the first answer, not the one that says what it is.
        Ok(answer) => voice.hear(agent, &answer, seen.unwrap_or(answer.seen)).await,
        Err(failure) => Err(failure),
    };
    if let Err(failure) = result {
        concern(agent, &mut voice, failure).await?;
    }
    Ok(voice)
}
