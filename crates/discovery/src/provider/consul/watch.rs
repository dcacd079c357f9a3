//! One service, one task: ask, compare, publish, ask again.

use std::{sync::Arc, time::Duration};

use model::{Knowledge, ProviderError, ServiceId, Update};
use tokio::time::{Instant, sleep};
use transport::{client::escaped, clock::tick};

use super::{
    agent::{Agent, Answer},
    failure::Failure,
    index::Cursor,
    records::{self, Reading},
    rhythm::Rhythm,
};
use crate::provider::{Feed, held::Held, pace::Pace};

/// What was said last about one service, so that only changes are said.
#[derive(Debug)]
pub(super) struct Voice {
    service: ServiceId,
    feed: Feed,
    said: Option<Reading>,
    /// Why it was said that this may not be so any more.
    doubt: Option<ProviderError>,
    /// When the order of nearness was taken that was said last.
    ordered: Instant,
    held: Held,
}

/// For how long the order of the same instances stands: round-trip times tremble, and near equals would take turns.
const ORDER: Duration = Duration::from_secs(600);

impl Voice {
    pub(super) fn new(service: ServiceId, held: Held, feed: Feed) -> Self {
        Self { service, held, feed, said: None, doubt: None, ordered: Instant::now() }
    }

    pub(super) fn service(&self) -> &ServiceId {
        &self.service
    }

    /// The nodes of the service, as far as is known.
    pub(super) fn nodes(&self) -> &[Arc<str>] {
        self.said.as_ref().map_or(&[], |said| &said.nodes)
    }

    /// Whether it was said last that it is not known what there is.
    pub(super) fn despairs(&self) -> bool {
        self.doubt.is_some()
    }

    /// Takes back what was said, unless that is that there is nothing.
    pub(super) async fn forget(self) -> Result<(), ProviderError> {
        if self.doubt.is_some() || self.said.is_some_and(|said| !said.instances.is_empty()) {
            self.feed.publish(Update::Forgotten(self.service)).await?;
        }
        Ok(())
    }

    /// Reads an answer and publishes what is new in it, of which the registry's first word was `seen` then.
    pub(super) async fn hear(&mut self, agent: &Agent, answer: &Answer, seen: Instant) -> Result<(), Failure> {
        let sorted = agent.settings.near.is_some();
        let mut reading = records::read(&answer.body, &agent.settings.tags, sorted)
            .map_err(|e| Failure::Question(ProviderError::Malformed(format!("health of {}: {e}", self.service))))?;
        reading.filtered = answer.filtered;
        let stands = |said: &Reading| *said == reading || (said.is_same_set(&reading) && seen < self.ordered + ORDER);
        if self.doubt.is_none() && self.said.as_ref().is_some_and(stands) {
            self.feed.heard();
            return Ok(());
        }
        let hidden = reading.filtered.then(|| FILTERED.to_owned());
        if reading.records == 0
            && let Some(lack) = agent.lacks(&self.service, answer.seen).await?.or_else(|| hidden.clone())
        {
            return Err(Failure::Question(ProviderError::Denied(lack)));
        }
        for reason in hidden.iter().chain(&reading.skipped) {
            let service = Some(self.service.clone());
            self.publish(Update::Skipped { service, reason: reason.clone() }, seen).await?;
        }
        if let (true, Some(reason)) = (reading.instances.is_empty(), reading.skipped.first()) {
            // A record that cannot be read is not one that is not there.
            return Err(Failure::Question(ProviderError::Malformed(reason.clone())));
        }
        self.held.note(&self.service, reading.instances.is_empty());
        self.say(reading.knowledge(), seen).await?;
        self.ordered = seen;
        (self.said, self.doubt) = (Some(reading), None);
        Ok(())
    }

    /// Says that we do not know, once per reason.
    pub(super) async fn despair(&mut self, error: ProviderError) -> Result<(), Failure> {
        if self.doubt.as_ref() != Some(&error) {
            self.say(Knowledge::Unknown(error.clone()), Instant::now()).await?;
            self.doubt = Some(error);
        }
        Ok(())
    }

    async fn say(&self, knowledge: Knowledge, seen: Instant) -> Result<(), Failure> {
        let service = self.service.clone();
        self.publish(Update::Service { service, knowledge, deregistered: Vec::new() }, seen).await
    }

    async fn publish(&self, update: Update, seen: Instant) -> Result<(), Failure> {
        self.feed.publish_seen(update, seen).await.map_err(Failure::Agent)
    }
}

pub(super) const FILTERED: &str = "Consul left out what the token may not read: give it service:read and node:read";

/// Path of the health of one service: all its instances with all their checks.
pub(super) fn path(service: &ServiceId) -> String {
    format!("/v1/health/service/{}", escaped(service.as_str()))
}

/// Watches one service until the agent as a whole fails.
pub(super) async fn service(agent: Arc<Agent>, mut voice: Voice) -> ProviderError {
    let path = path(voice.service());
    let (mut cursor, mut rhythm) = (Cursor::default(), Rhythm::new(Pace::new(tick())));
    loop {
        let next = match step(&agent, &mut voice, &path, cursor).await {
            Ok(next) => next,
            Err(failure) => match concern(&agent, &mut voice, failure).await {
                Ok(()) => Cursor::default(),
                Err(fatal) => return fatal,
            },
        };
        sleep(rhythm.wait(cursor, next, tick(), fastrand::f64())).await;
        cursor = next;
    }
}

async fn step(agent: &Agent, voice: &mut Voice, path: &str, cursor: Cursor) -> Result<Cursor, Failure> {
    let (next, answer) = agent.follow(path, cursor).await?;
    if let Some(answer) = answer {
        voice.hear(agent, &answer, answer.seen).await?;
    }
    Ok(next)
}

/// Says the failure if it concerns this service alone; returns it if it concerns the agent.
pub(super) async fn concern(agent: &Agent, voice: &mut Voice, failure: Failure) -> Result<(), ProviderError> {
    let error = agent.concerns_it(failure).await?;
    voice.despair(error).await.map_err(Failure::into_error)
}
