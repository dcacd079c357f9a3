//! Instances from the DNS: names that are looked up again whenever what they said is no longer true.
//!
//! Each service in use has a task. It looks the name up, publishes what changed, and waits for the time to live of the
//! records. No such name, and no such records, are known to be empty; a server that fails, refuses or is silent leaves
//! everything as it was, and so does a part of an answer that is missing. Nothing is cached: what a look-up says is what
//! the servers said.
//!
//! | module | idea |
//! |---|---|
//! | `settings` | what an operator writes, and which services are wanted |
//! | `wire` | messages: a question to bytes, bytes to what they say |
//! | `ask` | one question to one server, over UDP and TCP |
//! | `servers` | which server is asked, and what it means if none answers |
//! | `lookup` | one look-up of one service, targets of `SRV` records included |
//! | `records` | records to instances: priority, weight, identity |
//! | `ttl` | when a name is looked up again |
//! | `watch` | one service, one task |

mod ask;
mod lookup;
mod records;
mod servers;
mod settings;
mod ttl;
mod watch;
mod wire;

use std::{collections::HashMap, convert::Infallible, sync::Arc};

use ::settings::Aside;
use model::{Knowledge, ProviderError, ServiceId, Update};
use tokio::{
    sync::watch::Receiver,
    task::{AbortHandle, JoinSet},
};

use self::{servers::Servers, settings::Meaning};
use super::{Feed, Interest, Provider};

pub use settings::{Kind, Lookup, Server, Settings};

/// Names in the DNS as a source of instances.
#[derive(Debug)]
pub struct Dns {
    settings: Settings,
    /// Where the system's list of servers is read.
    aside: Aside,
}

impl Dns {
    /// A source with these settings.
    ///
    /// # Errors
    /// What cannot work in the settings, and what to write instead.
    pub fn new(settings: Settings) -> Result<Self, String> {
        settings.check()?;
        Ok(Self { settings, aside: Aside::default() })
    }
}

impl Provider for Dns {
    async fn watch(&mut self, feed: &Feed) -> Result<Infallible, ProviderError> {
        let servers = Arc::new(Servers::open(&self.settings, &self.aside, feed.questions()).await?);
        let mut interests = feed.interest();
        let mut watches: HashMap<ServiceId, Option<AbortHandle>> = HashMap::new();
        let mut tasks = JoinSet::new();
        loop {
            let interest = Arc::clone(&interests.borrow_and_update());
            let wanted = self.settings.wanted(&interest);
            for (service, watch) in watches.extract_if(|service, _| !wanted.contains_key(service)) {
                if let Some(watch) = watch {
                    watch.abort();
                }
                feed.publish(Update::Forgotten(service)).await?;
            }
            let mut unheard = interest.exposure.needs_catalog();
            if unheard {
                feed.publish(Update::Catalogue(wanted.keys().cloned().collect())).await?;
            }
            for (service, meaning) in wanted {
                if watches.contains_key(&service) {
                    continue;
                }
                unheard |= !matches!(meaning, Meaning::LookUp(_));
                let watch = match meaning {
                    Meaning::LookUp(target) => {
                        let (settings, feed) = (self.settings.clone(), feed.clone());
                        let watch = watch::service(service.clone(), target, Arc::clone(&servers), settings, feed);
                        Some(tasks.spawn(watch))
                    }
                    Meaning::Unlisted => {
                        empty(feed, service.clone()).await?;
                        None
                    }
                    Meaning::Unnameable(reason) => {
                        feed.publish(Update::Skipped { service: Some(service.clone()), reason }).await?;
                        empty(feed, service.clone()).await?;
                        None
                    }
                };
                watches.insert(service, watch);
            }
            if unheard {
                // No server said so: if they are silent, that is to be told again.
                servers.report_again();
            }
            changed(&mut interests, &mut tasks).await?;
        }
    }
}

/// Waits for another interest, or a watch that ends of itself.
async fn changed(
    interests: &mut Receiver<Arc<Interest>>,
    tasks: &mut JoinSet<ProviderError>,
) -> Result<(), ProviderError> {
    loop {
        tokio::select! {
            changed = interests.changed() => return changed.map_err(|_| ProviderError::Closed),
            Some(ended) = tasks.join_next() => match ended {
                Ok(error) => return Err(error),
                Err(ended) if ended.is_cancelled() => {}
                Err(panic) => return Err(ProviderError::Failed(format!("a watch panicked: {panic}"))),
            },
        }
    }
}

/// Nothing is looked up for this service: it is empty here.
async fn empty(feed: &Feed, service: ServiceId) -> Result<(), ProviderError> {
    let knowledge = Knowledge::KnownEmpty;
    feed.publish(Update::Service { service, knowledge, deregistered: Vec::new() }).await
}

#[cfg(test)]
mod tests;
