//! Instances from the labels of containers: Docker, and Podman by its compatible API.
//!
//! The source lives from one full reading to the next, a minute by default. A life begins with a new stream of events,
//! then reads all containers, so that nothing between the two is lost; then it follows the events. Whoever ended is out by
//! that event alone; one that says less costs a question. Because no life lasts longer, a stream that fell silent without
//! a word is found within one. What the operator did (stop, kill, pause) is remembered over lives, and so is what was said.
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
//! | `signal` | which signals tell a container to end |
//! | `contents` | all containers: what is new, and who left on an operator's word |
//! | `engine` | questions, and what failures mean |

mod container;
mod contents;
mod engine;
mod event;
mod labels;
mod settings;
mod signal;

use std::{collections::BTreeSet, convert::Infallible, sync::Arc, time::Duration};

use ::settings::Aside;
use model::{Knowledge, ProviderError, Update};
use tokio::{sync::Semaphore, task::JoinSet, time::Instant};
use transport::{
    client::{ClientError, Streaming},
    clock::tick,
};

use self::{
    contents::Contents,
    engine::{Engine, Found},
    event::{Event, Pieces},
};
use super::{
    Feed, Provider,
    pace::Pace,
    retry::{Retry, Stay},
};

pub use settings::{Address, Settings};

/// Inspections at once; and if so many get no answer before any does, the engine itself is in trouble.
const AT_ONCE: usize = 8;
/// Everything is read anew this soon after a container could not be asked for.
const AGAIN: Duration = Duration::from_secs(5);
/// Pieces of the stream that are gathered at most before what they say is acted on.
const PIECES: usize = 256;

/// A container engine as a source of instances.
#[derive(Debug)]
pub struct Docker {
    settings: Settings,
    contents: Contents,
    /// Whether the engine was heard, and has not failed since.
    live: bool,
    /// Whether a list of it was whole once: from then on all that was ever said is known here.
    whole: bool,
    /// Where certificates are read.
    aside: Aside,
}

/// What came of asking for containers.
#[derive(Default)]
struct Asked {
    /// What is wrong with some of them.
    odd: Vec<String>,
    /// Those that could be read, or are gone.
    read: usize,
    /// The last failure to get an answer at all, and how many there were.
    failed: Option<ProviderError>,
    failures: usize,
}

impl Docker {
    /// A source with these settings. Certificates are read at the beginning of each life, and once here to find
    /// mistakes.
    ///
    /// # Errors
    /// What cannot work in the settings, and what to write instead.
    pub fn new(settings: Settings) -> Result<Self, String> {
        settings.check()?;
        Ok(Self { settings, contents: Contents::default(), live: false, whole: false, aside: Aside::default() })
    }

    /// Lives once; returns when it is time to read everything anew.
    async fn live(&mut self, feed: &Feed) -> Result<(), ProviderError> {
        let engine = Engine::open(&self.settings, &self.aside, feed.questions()).await?;
        // Spread, so that many routers do not come at once.
        let end = Instant::now() + self.settings.resync.get().mul_f64(1.0 - fastrand::f64() / 8.0);
        let mut events = engine.events().await?;
        let (mut ids, odd) = engine.list().await?;
        let seen = Instant::now();
        let (doubt, was_whole) = (odd.first().cloned(), self.whole);
        if odd.is_empty() {
            self.whole = true;
            self.contents.retain(&ids);
        } else {
            // One that cannot be read may be any of those that are not in the list: they are asked for by id.
            ids.extend(self.contents.ids().cloned());
        }
        skip(feed, odd, seen).await?;
        self.read_all(&engine, ids, feed, seen).await?;
        if self.live {
            self.tell(feed, seen).await?;
        } else {
            self.contents.forget_words();
        }
        match doubt.filter(|_| !self.whole) {
            Some(doubt) => self.say_part(doubt, feed, seen).await?,
            None if self.live && was_whole => {}
            None => feed.publish_seen(self.contents.everything(tick()), seen).await?,
        }
        self.live = true;
        feed.read();
        self.follow(&engine, &mut events, feed, end).await
    }

    /// Follows the events, until then at the latest.
    async fn follow(
        &mut self,
        engine: &Engine,
        events: &mut Streaming<'_>,
        feed: &Feed,
        mut end: Instant,
    ) -> Result<(), ProviderError> {
        let (mut pieces, mut pace) = (Pieces::default(), Pace::new(tick()));
        while let Some((mut heard, seen)) = next(events, &mut pieces, end).await? {
            feed.heard();
            heard.retain(|event| event.labelled || self.contents.has(&event.container));
            if !heard.is_empty() {
                heard.iter().for_each(|event| self.contents.hear(event, tick()));
                // What events say by themselves counts before any question.
                self.tell(feed, seen).await?;
                heard.retain(|event| self.contents.leaves_open(event));
            }
            if !heard.is_empty() {
                let ids: BTreeSet<String> = heard.into_iter().map(|event| event.container).collect();
                let count = ids.len();
                let asked = self.read(engine, ids).await?;
                // One that began may be told of by nothing else.
                if asked.read < count {
                    end = end.min(Instant::now() + AGAIN);
                }
                skip(feed, asked.odd, seen).await?;
                self.tell(feed, seen).await?;
                tokio::time::sleep(pace.wait(tick())).await;
            }
            // Also of a stream that always has something to say.
            if Instant::now() >= end {
                break;
            }
        }
        Ok(())
    }

    /// What can be read of a first list, of which something cannot: what else is there is not known.
    async fn say_part(&mut self, doubt: String, feed: &Feed, seen: Instant) -> Result<(), ProviderError> {
        self.tell(feed, seen).await?;
        let interest = Arc::clone(&feed.interest().borrow());
        let mut services: BTreeSet<_> = self.contents.services().cloned().collect();
        for service in interest.services.iter().filter(|service| !services.contains(*service)).cloned() {
            let knowledge = Knowledge::Unknown(ProviderError::Malformed(doubt.clone()));
            feed.publish_seen(Update::Service { service, knowledge, deregistered: Vec::new() }, seen).await?;
        }
        services.extend(interest.services.iter().cloned());
        feed.publish_seen(Update::Catalogue(services), seen).await
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
        let asked = self.read(engine, ids).await?;
        match (asked.failed, asked.odd.first()) {
            _ if asked.read > 0 || count == 0 => skip(feed, asked.odd, seen).await,
            (Some(error), _) => Err(error),
            (None, reason) => {
                let reason = reason.map_or("", String::as_str);
                Err(ProviderError::Malformed(format!("no container can be read: {reason}")))
            }
        }
    }

    /// Asks for these containers. One that cannot be read stays as it was known.
    ///
    /// # Errors
    /// If many of them get no answer, and none gets one.
    async fn read(&mut self, engine: &Engine, ids: BTreeSet<String>) -> Result<Asked, ProviderError> {
        let permits = Arc::new(Semaphore::new(AT_ONCE));
        let mut tasks = JoinSet::new();
        for id in ids {
            let (engine, permits) = (engine.clone(), Arc::clone(&permits));
            tasks.spawn(async move {
                // Never closed, so this only ever waits.
                let _permit = permits.acquire().await;
                let found = engine.inspect(&id).await;
                (id, found)
            });
        }
        let mut asked = Asked::default();
        while let Some(done) = tasks.join_next().await {
            let (id, found) = done.map_err(|e| ProviderError::Failed(e.to_string()))?;
            match found {
                Ok(Found::Gone) => self.contents.remove(&id),
                Ok(Found::Odd(reason)) => {
                    asked.odd.push(reason);
                    continue;
                }
                Ok(Found::Body(body)) => match container::read(&body, &self.settings) {
                    Ok(container) => asked.odd.extend(self.contents.set(&id, container)),
                    Err(error) => {
                        asked.odd.push(format!("container {id}: {error}"));
                        continue;
                    }
                },
                Err(error) => {
                    asked.failures += 1;
                    if asked.failures >= AT_ONCE && asked.read == 0 {
                        return Err(error);
                    }
                    asked.odd.push(format!("container {id}: {error}"));
                    asked.failed = Some(error);
                    continue;
                }
            }
            asked.read += 1;
        }
        Ok(asked)
    }

    async fn tell(&mut self, feed: &Feed, seen: Instant) -> Result<(), ProviderError> {
        for update in self.contents.news(tick()) {
            feed.publish_seen(update, seen).await?;
        }
        Ok(())
    }
}

/// The next events, with all others that are there already, so that each container is asked for once, and when the
/// first was at hand; `None` at the end.
async fn next(
    stream: &mut Streaming<'_>,
    pieces: &mut Pieces,
    end: Instant,
) -> Result<Option<(Vec<Event>, Instant)>, ProviderError> {
    let mut heard: Option<(Vec<Event>, Instant)> = None;
    for _ in 0..PIECES {
        let until = if heard.is_some() { Instant::now() } else { end };
        match stream.next(until).await {
            Ok(Some(piece)) => {
                let (events, _) = heard.get_or_insert_with(|| (Vec::new(), Instant::now()));
                events.append(&mut pieces.take(&piece)?);
            }
            Err(ClientError::TimedOut { .. }) => return Ok(heard),
            Ok(None) => return Err(ProviderError::Unreachable("the engine: it ended its stream of events".into())),
            Err(error) => return Err(engine::failed(error)),
        }
    }
    Ok(heard)
}

async fn skip(feed: &Feed, reasons: Vec<String>, seen: Instant) -> Result<(), ProviderError> {
    for reason in reasons {
        feed.publish_seen(Update::Skipped { service: None, reason }, seen).await?;
    }
    Ok(())
}

impl Provider for Docker {
    async fn watch(&mut self, feed: &Feed) -> Result<Infallible, ProviderError> {
        let (mut retry, mut begun) = (Retry::new(), Instant::now());
        loop {
            let Err(error) = self.live(feed).await else { continue };
            if error == ProviderError::Closed {
                return Err(error);
            }
            // One that answers and then fails was asked for everything, and is not asked so at once.
            let stay = Stay::ended(&error, std::mem::take(&mut self.live), begun.elapsed());
            feed.publish(Update::Unreachable(error)).await?;
            tokio::time::sleep(retry.after(stay, fastrand::f64())).await;
            begun = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests;
