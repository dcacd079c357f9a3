//! Instances from the EndpointSlices of a Kubernetes cluster, by list and watch.
//!
//! Each *scope* (a namespace, or all of them) has one task that lists and then watches, for all services at once. What it
//! hears goes into a *mirror* of all slices, which an outage leaves as it is; and what changed there about services in use
//! is said to the reconciler. Credentials are those of the `kube` crate; connections, listing and watching are our own,
//! because one record that cannot be read must not cost the others, and a watch that died must be noticed.
//!
//! | module | idea |
//! |---|---|
//! | `settings` | what an operator writes |
//! | `cluster` | credentials, raw answers |
//! | `connect` | connections |
//! | `failure` | what a refusal means |
//! | `wire` | pages of a list and events of a watch |
//! | `slice` | one EndpointSlice; bad parts are skipped one by one |
//! | `ports` | which port, and what is spoken there |
//! | `cursor` | what to ask next: the rules of list, watch and 410 |
//! | `scope` | one scope, one task |
//! | `mirror` | all slices, and which service each belongs to |
//! | `join` | the slices of one service, joined |
//! | `voice` | what is said, and what was |

mod cluster;
mod connect;
mod cursor;
mod failure;
mod join;
mod mirror;
mod ports;
mod scope;
mod settings;
mod slice;
mod voice;
mod wire;

use std::{collections::BTreeSet, convert::Infallible, sync::Arc};

use model::ProviderError;
use tokio::{sync::mpsc, task::JoinSet, time::Instant};

use self::{
    mirror::Mirror,
    scope::{News, Watcher, What},
    voice::Voice,
    wire::Event,
};
use super::{Feed, Provider, held::Held};

pub use ports::PortChoice;
pub use settings::Settings;

/// News that are taken at once: a deployment's burst of changes is said once for each service.
const BATCH: usize = 64;

/// A Kubernetes cluster as a source of instances.
#[derive(Debug)]
pub struct Kubernetes {
    settings: Arc<Settings>,
    held: Held,
}

impl Kubernetes {
    /// A source with these settings. A kubeconfig file is read here once to find mistakes, and at each (re)connect.
    ///
    /// # Errors
    /// What cannot work in the settings, and what to write instead.
    pub fn new(settings: Settings) -> Result<Self, String> {
        settings.check()?;
        Ok(Self { settings: Arc::new(settings), held: Held::default() })
    }
}

impl Provider for Kubernetes {
    async fn watch(&mut self, feed: &Feed) -> Result<Infallible, ProviderError> {
        let scopes = self.settings.scopes();
        let mut mirror = Mirror::new(scopes.len());
        let (sender, mut news) = mpsc::channel(BATCH);
        // Dropped with this future, and so ended.
        let mut tasks = JoinSet::new();
        for (scope, namespace) in scopes.into_iter().enumerate() {
            let (settings, questions) = (Arc::clone(&self.settings), feed.questions());
            tasks.spawn(Watcher::new(scope, namespace, settings, sender.clone(), questions).run());
        }
        let mut interests = feed.interest();
        let interest = Arc::clone(&interests.borrow_and_update());
        let mut voice = Voice::new(feed.clone(), self.settings.port.clone(), interest, self.held.clone());
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                _ = news.recv_many(&mut batch, BATCH) => {
                    // All that comes at once counts from the oldest of it.
                    voice.seen = batch.iter().map(|news| news.seen).min().unwrap_or_else(Instant::now);
                    hear(&mut mirror, &mut voice, batch.drain(..)).await?;
                }
                changed = interests.changed() => match changed {
                    Ok(()) => {
                        let interest = Arc::clone(&interests.borrow_and_update());
                        voice.seen = Instant::now();
                        voice.attend(interest, &mirror).await?;
                    }
                    Err(_) => return Err(ProviderError::Closed),
                },
                Some(ended) = tasks.join_next() => {
                    let why = ended.err().map_or_else(|| "it ended".to_owned(), |panic| panic.to_string());
                    return Err(ProviderError::Failed(format!("a watch stopped: {why}")));
                }
            }
        }
    }
}

/// Takes the news in, then says what came of them.
async fn hear(mirror: &mut Mirror, voice: &mut Voice, batch: impl Iterator<Item = News>) -> Result<(), ProviderError> {
    let (mut touched, mut heard, mut read, mut failed) = (BTreeSet::new(), false, false, None);
    for News { scope, what, .. } in batch {
        match what {
            What::Listed(records, nameless) => {
                touched.append(&mut mirror.list(scope, records, !nameless.is_empty()));
                (heard, read) = (true, true);
                for reason in nameless {
                    voice.skip(reason).await?;
                }
            }
            What::Changed(Event::Nameless(reason)) => voice.skip(reason).await?,
            What::Changed(event) => touched.append(&mut mirror.event(scope, event)),
            What::Recovered => {
                mirror.recover(scope);
                heard = true;
            }
            What::Failed(error) => {
                mirror.fail(scope, error.clone());
                failed = Some(error);
            }
        }
    }
    let deaf = mirror.is_deaf();
    voice.tell(touched, mirror).await?;
    if heard || (failed.is_some() && !deaf) {
        voice.tell_all(mirror).await?;
    }
    match failed {
        None if read && mirror.is_whole() => voice.feed().read(),
        None => voice.feed().heard(),
        _ => {}
    }
    match failed {
        Some(error) if deaf => voice.despair(error).await,
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
