//! The provider seam: what a source of instances must do, and nothing more. One file per kind of source.

mod aside;
pub mod consul;
pub mod dns;
pub mod docker;
pub mod embedded;
pub mod etcd;
pub mod file;
pub mod fixed;
mod held;
mod host;
mod kind;
#[cfg(feature = "kubernetes")]
pub mod kubernetes;
mod pace;
mod pulse;
mod retry;
pub mod settings;
mod single_flight;
mod supervise;
#[cfg(test)]
mod testing;
pub mod zookeeper;

use std::{
    collections::BTreeSet,
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use model::{Exposure, Knowledge, ProviderError, ServiceId, Update};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use transport::{client::Questions, clock};

pub use kind::Kind;
pub use pace::Backoff;
pub use pulse::Pulse;
pub use settings::Settings;

/// A source of instances. Speaks of instances only, never of policy.
pub trait Provider: Send + 'static {
    /// Publishes what it knows until it fails. Never returns `Ok`; the supervisor backs off and calls again.
    ///
    /// It should answer for every service of interest, or say `Update::Everything`, be it empty; if its catalogue is of
    /// interest and it does not push everything, it says `Update::Catalogue` too. Until then the router does not call
    /// itself ready.
    ///
    /// A source that follows changes reads everything again from time to time (`pace::resync`) and notes it by
    /// [`Feed::read`]; answers without news it notes by [`Feed::heard`].
    fn watch(&mut self, feed: &Feed) -> impl Future<Output = Result<Infallible, ProviderError>> + Send;
}

/// Which services are in use, so that a source watches no others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Interest {
    /// Services named by routes, or exposed by exact name; and those that have to be asked about by name because they are
    /// remembered and no catalogue names them.
    pub services: BTreeSet<ServiceId>,
    /// What else is exposed; if it [`Exposure::needs_catalog`], the source looks at its whole catalogue for matches.
    pub exposure: Exposure,
}

impl Interest {
    /// Whether no service at all is in use, so that a source has nothing to say.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.services.is_empty() && !self.exposure.needs_catalog()
    }

    /// Whether the service is of interest, or could be: which tags its instances carry is not looked at.
    pub(crate) fn may_mean(&self, service: &ServiceId) -> bool {
        self.services.contains(service) || self.exposure.may_expose(service)
    }
}

/// One update on its way to the reconciler.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) source: usize,
    pub(crate) update: Update,
    /// When the provider saw the change first, see [`Feed::publish_seen`].
    pub(crate) seen: Instant,
    pub(crate) pulse: Arc<Pulse>,
}

/// Where a feed leads.
#[derive(Debug, Clone)]
enum Outlet {
    Reconciler(mpsc::Sender<Message>),
    /// For whoever listens to a provider alone.
    Bare(mpsc::Sender<(usize, Update)>),
}

/// A provider's way to the reconciler: bounded, so that a storm waits in the provider and never in a request.
#[derive(Debug, Clone)]
pub struct Feed {
    source: usize,
    outlet: Outlet,
    interest: watch::Receiver<Arc<Interest>>,
    /// Answers given, for the supervisor to tell a source that works from one that does not.
    answers: Arc<AtomicU64>,
    pulse: Arc<Pulse>,
}

impl Feed {
    /// A feed for the source with this index, which ends here instead of at the reconciler: to use a provider alone.
    #[must_use]
    pub fn new(
        source: usize,
        updates: mpsc::Sender<(usize, Update)>,
        interest: watch::Receiver<Arc<Interest>>,
    ) -> Self {
        Self { source, outlet: Outlet::Bare(updates), interest, answers: Arc::default(), pulse: Arc::default() }
    }

    pub(crate) fn to_reconciler(
        source: usize,
        updates: mpsc::Sender<Message>,
        interest: watch::Receiver<Arc<Interest>>,
    ) -> Self {
        let outlet = Outlet::Reconciler(updates);
        Self { source, outlet, interest, answers: Arc::default(), pulse: Arc::default() }
    }

    /// Hands one update to the reconciler; waits while 64 are queued.
    ///
    /// # Errors
    /// [`ProviderError::Closed`] if the reconciler is gone.
    pub async fn publish(&self, update: Update) -> Result<(), ProviderError> {
        self.publish_seen(update, Instant::now()).await
    }

    /// The same, of a change that was `seen` at this time: when the registry's first word of it was at hand, whole (an
    /// answer, or an event of a stream), before anything in it was looked at. Where that word only says that something
    /// changed and an answer says what, it is the word that counts; what is read in pages counts from the first. The
    /// freshness of the source is measured from there, so that reading, asking, comparing and waiting count, and the
    /// registry's own time and the network's do not.
    ///
    /// # Errors
    /// [`ProviderError::Closed`] if the reconciler is gone.
    pub async fn publish_seen(&self, update: Update, seen: Instant) -> Result<(), ProviderError> {
        let answer = is_answer(&update);
        match &update {
            Update::Everything(_) => self.read(),
            Update::Unreachable(_) => self.pulse.note_failure(clock::tick()),
            Update::Service { knowledge: Knowledge::Unknown(_), .. } => self.pulse.note_doubt(),
            _ if answer => self.heard(),
            _ => {}
        }
        let sent = match &self.outlet {
            Outlet::Reconciler(to) => {
                let pulse = Arc::clone(&self.pulse);
                to.send(Message { source: self.source, update, seen, pulse }).await.is_ok()
            }
            Outlet::Bare(to) => to.send((self.source, update)).await.is_ok(),
        };
        if !sent {
            return Err(ProviderError::Closed);
        }
        self.answers.fetch_add(u64::from(answer), Ordering::Relaxed);
        Ok(())
    }

    /// Notes that the source answered, also if nothing is new: it is seen to be watched. An update does so by itself.
    pub fn heard(&self) {
        self.pulse.note_heard(clock::tick());
    }

    /// Notes that all the source holds was read and said, as far as it is new: changes that it did not tell of are known
    /// now. [`Update::Everything`] does so by itself.
    pub fn read(&self) {
        self.pulse.note_read(clock::tick());
    }

    /// Where the source counts what it asks; [`transport::client::Client`] does it by itself.
    #[must_use]
    pub fn questions(&self) -> Arc<Questions> {
        Arc::clone(self.pulse.questions())
    }

    /// Which services are in use; changes with a reload.
    #[must_use]
    pub fn interest(&self) -> watch::Receiver<Arc<Interest>> {
        self.interest.clone()
    }

    fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }
}

/// Whether an update tells of instances, as against of trouble.
pub(crate) fn is_answer(update: &Update) -> bool {
    match update {
        Update::Everything(_) | Update::Catalogue(_) | Update::Forgotten(_) => true,
        Update::Service { knowledge, .. } => !matches!(knowledge, Knowledge::Unknown(_)),
        Update::Unreachable(_) | Update::Skipped { .. } => false,
    }
}
