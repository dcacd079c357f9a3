//! Instances that are to leave: told to the data path, which lets what is under way end; and the operator's way to say
//! so.

use std::time::Duration;

use model::UpstreamKey;
use tokio::sync::{mpsc, oneshot};

use crate::reconciler::Command;

/// What becomes of what is under way at one instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leave {
    /// The instance.
    pub key: UpstreamKey,
    /// How it leaves.
    pub how: How,
    /// How long what is under way may go on.
    pub drain: Duration,
}

/// How an instance leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It is in the table no more: its connections end.
    Gone,
    /// It gets no new requests unless nobody else is there: its long streams end.
    Draining,
    /// It stays after all.
    Stays,
}

/// The operator's way to put instances out and let them in again. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Operator(pub(crate) mpsc::Sender<Command>);

impl Operator {
    /// Lets an instance finish what it has and get nothing new, or ends that. Kept in memory: an instance that moves to
    /// another address, and a router that starts anew, know nothing of it.
    ///
    /// Answers whether that changed anything; `None` if no instance of the service has this name.
    pub async fn drain(&self, service: &str, instance: &str, on: bool) -> Option<bool> {
        let (done, changed) = oneshot::channel();
        let command = Command::Drain { service: service.to_owned(), instance: instance.to_owned(), on, done };
        // Both fail only if discovery has ended, and then there is nothing to drain.
        self.0.send(command).await.ok()?;
        changed.await.ok()?
    }
}
