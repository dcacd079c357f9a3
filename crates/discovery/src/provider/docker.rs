//! Instances from the labels of containers: Docker, and Podman by its compatible API.
//!
//! The source lives from one full reading to the next, a minute by default. A life begins with a new stream of events,
//! then reads all containers, so that nothing between the two is lost; then it follows the events, each of which costs
//! one question. Because no life lasts longer, a stream that fell silent without a word is found within one. What the
//! operator did (stop, kill, pause) is remembered over lives, and so is what was said.
//!
//! The API is read by ourselves and not by `bollard`: its types are strict, so that one container in a state it does
//! not know, as Podman has some, would make the whole list unreadable; and it brings thirty crates for three questions.
//!
//! | module | idea |
//! |---|---|
//! | `settings` | what an operator writes |
//! | `labels` | labels to services |
//! | `container` | what the engine says of a container, to instances |
//! | `event` | the stream of events |
//! | `contents` | all containers: what is new, and who left on an operator's word |
//! | `engine` | questions, and what failures mean |

mod container;
mod contents;
mod engine;
mod event;
mod labels;
mod settings;

use std::{collections::BTreeSet, convert::Infallible, sync::Arc, time::Duration};

use model::{ProviderError, Update};
use tokio::{sync::Semaphore, task::JoinSet, time::Instant};
use transport::{
    client::{ClientError, Streaming},
    clock::tick,
};

use self::{
    contents::Contents,
    engine::{Engine, Found},
    event::{Event, Lines},
};
use super::{
    Feed, Provider,
    pace::{Backoff, Pace},
};

pub use settings::{Address, Settings};

/// Inspections at once.
const AT_ONCE: usize = 8;

/// A container engine as a source of instances.
#[derive(Debug)]
pub struct Docker {
    settings: Settings,
    contents: Contents,
    /// Whether the engine was heard, and has not failed since.
    live: bool,
}

impl Docker {
    /// A source with these settings. Certificates are read at the beginning of each life, and once here to find
    /// mistakes.
    ///
    /// # Errors
    /// What cannot work in the settings, and what to write instead.
    pub fn new(settings: Settings) -> Result<Self, String> {
        settings.check()?;
        Ok(Self { settings, contents: Contents::default(), live: false })
    }

    /// Lives once; returns when it is time to read everything anew.
    async fn live(&mut self, feed: &Feed) -> Result<(), ProviderError> {
        let engine = Engine::new(&self.settings)?;
        // Spread, so that many routers do not come at once.
        let end = Instant::now() + self.settings.resync.get().mul_f64(1.0 - fastrand::f64() / 8.0);
        let mut events = engine.events().await?;
        let (ids, odd) = engine.list().await?;
        let seen = Instant::now();
        self.contents.retain(&ids);
        skip(feed, odd, seen).await?;
        self.read_all(&engine, ids, feed, seen).await?;
        if !self.live {
            feed.publish_seen(self.contents.everything(tick()), seen).await?;
            self.live = true;
        }
        self.tell(feed, seen).await?;
        feed.read();
        let (mut lines, mut pace) = (Lines::default(), Pace::new(tick()));
        while let Some((heard, seen)) = next(&mut events, &mut lines, end).await? {
            feed.heard();
            let heard: Vec<Event> =
                heard.into_iter().filter(|event| event.labelled || self.contents.has(&event.container)).collect();
            if heard.is_empty() {
                continue;
            }
            heard.iter().for_each(|event| self.contents.hear(event, tick()));
            // What an operator said counts before the container is asked: an engine answers when it has stopped it.
            self.tell(feed, seen).await?;
            let ids = heard.into_iter().map(|event| event.container).collect();
            skip(feed, self.read(&engine, ids).await?, seen).await?;
            self.tell(feed, seen).await?;
            tokio::time::sleep(pace.wait(tick())).await;
        }
        Ok(())
    }

    /// Asks for all containers. If none of them can be read, nothing is known.
    async fn read_all(
        &mut self,
        engine: &Engine,
        ids: BTreeSet<String>,
        feed: &Feed,
        seen: Instant,
    ) -> Result<(), ProviderError> {
        let count = ids.len();
        let odd = self.read(engine, ids).await?;
        match odd.first() {
            Some(reason) if odd.len() >= count => {
                Err(ProviderError::Malformed(format!("no container can be read: {reason}")))
            }
            _ => skip(feed, odd, seen).await,
        }
    }

    /// Asks for these containers. One that cannot be read stays as it was known; returns what is wrong with them.
    async fn read(&mut self, engine: &Engine, ids: BTreeSet<String>) -> Result<Vec<String>, ProviderError> {
        let permits = Arc::new(Semaphore::new(AT_ONCE));
        let mut asked = JoinSet::new();
        for id in ids {
            let (engine, permits) = (engine.clone(), Arc::clone(&permits));
            asked.spawn(async move {
                // Never closed, so this only ever waits.
                let _permit = permits.acquire().await;
                let found = engine.inspect(&id).await;
                (id, found)
            });
        }
        let mut odd = Vec::new();
        while let Some(done) = asked.join_next().await {
            let (id, found) = done.map_err(|e| ProviderError::Failed(e.to_string()))?;
            match found? {
                Found::Gone => self.contents.remove(&id),
                Found::Odd(reason) => odd.push(reason),
                Found::Body(body) => match container::read(&body, &self.settings) {
                    Ok(container) => odd.extend(self.contents.set(&id, container)),
                    Err(error) => odd.push(format!("container {id}: {error}")),
                },
            }
        }
        Ok(odd)
    }

    async fn tell(&mut self, feed: &Feed, seen: Instant) -> Result<(), ProviderError> {
        for update in self.contents.news(tick()) {
            feed.publish_seen(update, seen).await?;
        }
        Ok(())
    }

    /// Between lives that fail: an engine on this machine is asked again soon.
    fn backoff(&self) -> Backoff {
        let longest = if self.settings.is_local() { 500 } else { 5000 };
        Backoff::new(Duration::from_millis(250), Duration::from_millis(longest))
    }
}

/// The next events, with all others that are there already, so that each container is asked for once, and when the
/// first was at hand; `None` at the end.
async fn next(
    stream: &mut Streaming<'_>,
    lines: &mut Lines,
    end: Instant,
) -> Result<Option<(Vec<Event>, Instant)>, ProviderError> {
    let mut heard: Option<(Vec<Event>, Instant)> = None;
    loop {
        let until = if heard.is_some() { Instant::now() } else { end };
        match stream.next(until).await {
            Ok(Some(piece)) => {
                let (events, _) = heard.get_or_insert_with(|| (Vec::new(), Instant::now()));
                events.append(&mut lines.take(&piece)?);
            }
            Err(ClientError::TimedOut { .. }) => return Ok(heard),
            Ok(None) => return Err(ProviderError::Unreachable("the engine: it ended its stream of events".into())),
            Err(error) => return Err(engine::failed(error)),
        }
    }
}

async fn skip(feed: &Feed, reasons: Vec<String>, seen: Instant) -> Result<(), ProviderError> {
    for reason in reasons {
        feed.publish_seen(Update::Skipped { service: None, reason }, seen).await?;
    }
    Ok(())
}

impl Provider for Docker {
    async fn watch(&mut self, feed: &Feed) -> Result<Infallible, ProviderError> {
        let mut backoff = self.backoff();
        loop {
            let Err(error) = self.live(feed).await else { continue };
            if error == ProviderError::Closed {
                return Err(error);
            }
            if self.live {
                backoff = self.backoff();
            }
            self.live = false;
            feed.publish(Update::Unreachable(error)).await?;
            tokio::time::sleep(backoff.next(fastrand::f64())).await;
        }
    }
}

#[cfg(test)]
mod tests;
