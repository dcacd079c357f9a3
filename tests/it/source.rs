//! A provider at work: what it says, one update after the other.

use std::{sync::Arc, time::Duration};

use discovery::provider::{Feed, Interest, Provider};
use model::{Exposure, Instance, Knowledge, ProviderError, ServiceId, Update};
use testkit::PATIENCE;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, timeout, timeout_at},
};

pub(crate) struct Source {
    updates: mpsc::Receiver<(usize, Update)>,
    pub(crate) interest: watch::Sender<Arc<Interest>>,
    task: JoinHandle<()>,
}

impl Drop for Source {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) fn named(services: &[&str]) -> Interest {
    Interest { services: services.iter().map(|s| ServiceId::new(s).unwrap()).collect(), exposure: Exposure::Routed }
}

/// Any provider, running.
pub(crate) fn running(mut provider: impl Provider, interest: Interest) -> Source {
    let (sender, updates) = mpsc::channel(64);
    let (interest, interested) = watch::channel(Arc::new(interest));
    let feed = Feed::new(0, sender, interested);
    let task = tokio::spawn(async move { drop(provider.watch(&feed).await) });
    Source { updates, interest, task }
}

impl Source {
    /// The next update that this function accepts; all before it are passed over.
    pub(crate) async fn until<T>(&mut self, what: &str, mut accept: impl FnMut(Update) -> Option<T>) -> T {
        let mut seen = Vec::new();
        let found = timeout(PATIENCE, async {
            loop {
                let (_, update) = self.updates.recv().await.expect("the source ended");
                seen.push(format!("{update:?}"));
                if let Some(found) = accept(update) {
                    return found;
                }
            }
        })
        .await;
        found.unwrap_or_else(|_| panic!("no {what}; seen: {seen:#?}"))
    }

    pub(crate) async fn knowledge(&mut self, name: &str, accept: impl Fn(&Knowledge) -> bool) -> Knowledge {
        self.until(name, |update| match update {
            Update::Service { service, knowledge, .. } if service.as_str() == name && accept(&knowledge) => {
                Some(knowledge)
            }
            _ => None,
        })
        .await
    }

    /// Waits for a list of this many instances.
    pub(crate) async fn known(&mut self, name: &str, count: usize) -> Vec<Arc<Instance>> {
        match self.knowledge(name, |k| matches!(k, Knowledge::Known(list) if list.len() == count)).await {
            Knowledge::Known(list) => list,
            other => unreachable!("{other:?}"),
        }
    }

    pub(crate) async fn empty(&mut self, name: &str) {
        self.knowledge(name, |k| *k == Knowledge::KnownEmpty).await;
    }

    pub(crate) async fn forgotten(&mut self, name: &str) {
        self.until(name, |update| (update == Update::Forgotten(ServiceId::new(name).unwrap())).then_some(())).await;
    }

    pub(crate) async fn denied(&mut self, name: &str) -> String {
        let denied = |k: &Knowledge| matches!(k, Knowledge::Unknown(ProviderError::Denied(_)));
        format!("{:?}", self.knowledge(name, denied).await)
    }

    /// Nothing is said of this service for half a second.
    pub(crate) async fn silent_on(&mut self, name: &str) {
        let end = Instant::now() + Duration::from_millis(500);
        while let Ok(Some((_, update))) = timeout_at(end, self.updates.recv()).await {
            let said = matches!(&update, Update::Service { service, .. } if service.as_str() == name);
            assert!(!said, "{update:?}");
        }
    }

    /// Nothing is said for half a second.
    pub(crate) async fn silent(&mut self) {
        let said = timeout(Duration::from_millis(500), self.updates.recv()).await;
        assert!(said.is_err(), "{said:?}");
    }
}
