//! One service, one task: look up, compare, publish, wait for as long as the answer is true.

use std::{sync::Arc, time::Duration};

use model::{Knowledge, ProviderError, ServiceId, Update};
use tokio::time::{Instant, sleep};

use super::{
    lookup::{Memory, Reading, Target},
    servers::Servers,
    settings::Settings,
    ttl,
};
use crate::provider::{Feed, pace::Backoff};

/// Between look-ups that fail, or do not find all they should; the others serve meanwhile.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(5);

/// Watches one service until nobody listens any more.
pub(super) async fn service(
    service: ServiceId,
    target: Target,
    servers: Arc<Servers>,
    settings: Settings,
    feed: Feed,
) -> ProviderError {
    let mut voice = Voice { service, feed, said: None, doubt: None, silences: 0 };
    let mut memory = Memory::new();
    let mut backoff = Backoff::new(FIRST, LONGEST);
    loop {
        let heard = servers.heard();
        let found = target.look_up(&servers, &mut memory).await;
        let seen = Instant::now();
        let (told, wait) = match found {
            Ok(reading) => {
                let (min, max) = (settings.min_ttl.get(), settings.max_ttl.get());
                let mut wait = ttl::wait(reading.ttl, min, max, fastrand::f64());
                if reading.lacking {
                    wait = wait.min(backoff.next(fastrand::f64()));
                } else {
                    backoff = Backoff::new(FIRST, LONGEST);
                }
                (voice.hear(reading, servers.silences(), seen).await, wait)
            }
            Err(error) => (voice.despair(error, servers.fell_silent(heard).await).await, backoff.next(fastrand::f64())),
        };
        if let Err(closed) = told {
            return closed;
        }
        sleep(wait).await;
    }
}

/// What was said last about the service, so that only changes are said.
struct Voice {
    service: ServiceId,
    feed: Feed,
    said: Option<Reading>,
    /// Why it was said that this may not be so any more.
    doubt: Option<ProviderError>,
    /// How often all servers had been silent by then.
    silences: u64,
}

impl Voice {
    /// Says what is new; after a silence all of it, because the silence made it doubtful.
    async fn hear(&mut self, mut reading: Reading, silences: u64, seen: Instant) -> Result<(), ProviderError> {
        self.feed.heard();
        let outdated = reading.outdated.take();
        let last = self.said.as_ref();
        let silent = std::mem::replace(&mut self.silences, silences) != silences;
        let certain = self.doubt.is_some() && outdated.is_none();
        let news = silent || certain || last.is_none_or(|last| last.instances != reading.instances);
        for reason in reading.skipped.iter().filter(|reason| !last.is_some_and(|last| last.skipped.contains(reason))) {
            let service = Some(self.service.clone());
            self.feed.publish_seen(Update::Skipped { service, reason: reason.clone() }, seen).await?;
        }
        if news {
            self.doubt = None;
            self.say(Knowledge::of(reading.instances.clone()), seen).await?;
        }
        self.said = Some(reading);
        match outdated {
            Some(error) => self.despair(error, false).await,
            None => Ok(()),
        }
    }

    /// Says that we do not know, once per reason; and if no server at all is heard, that too.
    async fn despair(&mut self, error: ProviderError, silence: bool) -> Result<(), ProviderError> {
        if silence {
            self.feed.publish(Update::Unreachable(error.clone())).await?;
        }
        if self.doubt.as_ref() != Some(&error) {
            self.say(Knowledge::Unknown(error.clone()), Instant::now()).await?;
            self.doubt = Some(error);
        }
        Ok(())
    }

    async fn say(&self, knowledge: Knowledge, seen: Instant) -> Result<(), ProviderError> {
        let service = self.service.clone();
        self.feed.publish_seen(Update::Service { service, knowledge, deregistered: Vec::new() }, seen).await
    }
}
