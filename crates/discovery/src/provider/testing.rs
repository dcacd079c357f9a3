//! A source at work, for the tests of providers: what it says, one update after the other.

use std::{sync::Arc, time::Duration};

use model::{Exposure, Instance, Knowledge, Update};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};

use super::{Feed, Interest, Message, Provider};
use crate::testing::service;

/// A provider that runs; dropped, it is gone.
pub(crate) struct Source {
    pub(crate) updates: mpsc::Receiver<Message>,
    interest: watch::Sender<Arc<Interest>>,
    task: JoinHandle<()>,
}

impl Drop for Source {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Interest in services that routes name.
pub(crate) fn routed<'a>(services: impl IntoIterator<Item = &'a str>) -> Interest {
    Interest { services: services.into_iter().map(service).collect(), exposure: Exposure::Routed }
}

impl Source {
    pub(crate) fn start(mut provider: impl Provider, interest: Interest) -> Self {
        let (sender, updates) = mpsc::channel(64);
        let (interest, interested) = watch::channel(Arc::new(interest));
        let feed = Feed::to_reconciler(0, sender, interested);
        let task = tokio::spawn(async move { drop(provider.watch(&feed).await) });
        Self { updates, interest, task }
    }

    pub(crate) fn wants(&self, interest: Interest) {
        self.interest.send_replace(Arc::new(interest));
    }

    pub(crate) async fn next(&mut self) -> Message {
        timeout(Duration::from_secs(20), self.updates.recv()).await.expect("an update in time").expect("a source")
    }

    /// The next update in short: what `name` says of each instance, or the reason for not knowing.
    pub(crate) async fn said(&mut self, name: impl Fn(&Instance) -> String) -> String {
        let names = |list: &[Arc<Instance>]| list.iter().map(|instance| name(instance)).collect::<Vec<_>>().join(" ");
        match self.next().await.update {
            Update::Service { knowledge: Knowledge::Known(list), .. } => names(&list),
            Update::Service { knowledge: Knowledge::Part(list), .. } => format!("part: {}", names(&list)),
            Update::Service { knowledge: Knowledge::KnownEmpty, .. } => "empty".into(),
            Update::Service { knowledge: Knowledge::Unknown(error), .. } => format!("unknown: {}", error.reason()),
            Update::Unreachable(error) => format!("unreachable: {}", error.reason()),
            Update::Skipped { reason, .. } => format!("skipped: {reason}"),
            Update::Everything(_) => "everything".into(),
            Update::Forgotten(service) => format!("forgotten {service}"),
            Update::Catalogue(services) => format!("catalogue of {}", services.len()),
        }
    }
}

/// As `host:port`.
pub(crate) fn address(instance: &Instance) -> String {
    instance.endpoint.address.to_string()
}
