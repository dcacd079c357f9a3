//! The registry itself: who is registered, until when, and what changed.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use model::{Instance, InstanceId, ServiceId};
use tokio::{
    sync::{Notify, oneshot, watch},
    time::{Instant, timeout_at},
};

use super::{
    Registration,
    journal::{Journal, Line, Stored, What},
    lease::{Key, Leases},
    writer::Writer,
};

#[cfg(test)]
mod tests;

/// A handle to one registry; clones are the same registry.
#[derive(Debug, Clone)]
pub struct Registry(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Held for map operations only, never over an await or a disk access.
    state: Mutex<State>,
    /// The index of the newest change, for those who wait for one.
    index: watch::Sender<u64>,
    /// Wakes the provider.
    news: Notify,
    writer: Option<Writer>,
}

/// Written by the calls of the API and by expiry; read by the API and the provider.
#[derive(Debug, Default)]
struct State {
    services: BTreeMap<ServiceId, Entry>,
    leases: Leases,
    /// Counts changes; never goes back, also over restarts.
    index: u64,
    /// The index at which a service last lost its last instance: the index of all services that have none.
    vanished: u64,
    /// Services that changed since the provider looked, and who left them on its own word.
    news: BTreeMap<ServiceId, Vec<InstanceId>>,
}

#[derive(Debug, Default)]
struct Entry {
    index: u64,
    instances: BTreeMap<InstanceId, Held>,
}

/// One registration, and what the table gets of it: made once, so that news of one instance makes nothing anew of the
/// others of its service.
#[derive(Debug)]
struct Held {
    registration: Arc<Registration>,
    instance: Arc<Instance>,
}

/// The answer to a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registered {
    /// The registry's index after it.
    pub index: u64,
    /// Whether it changed anything; a repeated registration only renews the lease.
    pub changed: bool,
    /// Whether a restart will remember it. Not so without a directory, or while the disk fails.
    pub stored: bool,
}

/// An instance that is not registered was spoken of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("instance {id:?} of service {name:?} is not registered; register it first")]
pub struct NotRegistered {
    /// The service.
    pub name: ServiceId,
    /// The instance.
    pub id: InstanceId,
}

/// The instances of one service at one index.
#[derive(Debug, Clone, PartialEq)]
pub struct Listing {
    /// Grows with every change of this service.
    pub index: u64,
    /// What is registered, and when each lease ends.
    pub instances: Vec<(Arc<Registration>, Option<Instant>)>,
}

/// One changed service: its instances now, and who left on its own word.
pub(super) type News = (ServiceId, Vec<Arc<Instance>>, Vec<InstanceId>);

impl Registry {
    /// A registry that a restart forgets.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::with(State::default(), None)
    }

    /// The registry kept in this directory. Every lease begins anew, in full.
    ///
    /// # Errors
    /// If the directory cannot be written, or another router uses it. A damaged file is no error.
    pub fn open(directory: &std::path::Path) -> Result<Self, String> {
        let (journal, Stored { registrations, index }) = Journal::open(directory)?;
        let writer = Writer::start(journal).map_err(|e| format!("cannot start a thread: {e}"))?;
        let mut state = State { index, vanished: index, ..State::default() };
        let now = Instant::now();
        for registration in registrations {
            state.put(registration, index, now);
        }
        Ok(Self::with(state, Some(writer)))
    }

    fn with(state: State, writer: Option<Writer>) -> Self {
        let index = watch::Sender::new(state.index);
        Self(Arc::new(Shared { state: Mutex::new(state), index, news: Notify::new(), writer }))
    }

    /// Registers an instance, or changes or renews its registration. It is routed at once; this returns when the disk
    /// has it.
    pub async fn register(&self, registration: Registration) -> Registered {
        let key = (registration.name.clone(), registration.id.clone());
        let (index, told) = {
            let mut state = self.lock();
            let now = Instant::now();
            if state.get(&key) == Some(&registration) {
                state.renew(&key, registration.ttl, now);
                return Registered { index: state.index, changed: false, stored: self.0.writer.is_some() };
            }
            state.index += 1;
            let index = state.index;
            // Whoever is back did not leave.
            state.news.entry(key.0.clone()).or_default().retain(|gone| *gone != key.1);
            let registration = Arc::new(registration);
            state.put(registration.clone(), index, now);
            // Inside the lock: the journal must have the changes in their order.
            (index, self.store(index, What::Register(registration)))
        };
        self.announce(index);
        Registered { index, changed: true, stored: stored(told).await }
    }

    /// Renews the lease of an instance; tells for how long, `None` if it has no lease.
    ///
    /// # Errors
    /// If it is not registered: it must register, with all it has to say.
    pub fn heartbeat(&self, name: ServiceId, id: InstanceId) -> Result<Option<Duration>, NotRegistered> {
        let mut state = self.lock();
        let key = (name, id);
        let Some(ttl) = state.get(&key).map(|r| r.ttl) else {
            return Err(NotRegistered { name: key.0, id: key.1 });
        };
        state.renew(&key, ttl, Instant::now());
        Ok(ttl)
    }

    /// Takes an instance out, on its own word. It is routed no more at once; this returns when the disk has it.
    ///
    /// # Errors
    /// If it is not registered.
    pub async fn deregister(&self, name: ServiceId, id: InstanceId) -> Result<Registered, NotRegistered> {
        let key = (name, id);
        let (index, told) = {
            let mut state = self.lock();
            if state.get(&key).is_none() {
                return Err(NotRegistered { name: key.0, id: key.1 });
            }
            let index = state.take(&key);
            state.news.entry(key.0.clone()).or_default().push(key.1.clone());
            (index, self.store(index, What::Remove(key)))
        };
        self.announce(index);
        Ok(Registered { index, changed: true, stored: stored(told).await })
    }

    /// All services that have instances: name, index and how many.
    #[must_use]
    pub fn services(&self) -> (u64, Vec<(ServiceId, u64, usize)>) {
        let state = self.lock();
        let services = state.services.iter().map(|(name, e)| (name.clone(), e.index, e.instances.len()));
        (state.index, services.collect())
    }

    /// The instances of one service. With an index, waits until the service has a higher one, at most for `wait`.
    ///
    /// An index that was never given out is answered at once: the registry is not the one that gave it.
    pub async fn listing(&self, name: &str, after: Option<u64>, wait: Duration) -> Listing {
        let end = Instant::now() + wait;
        let mut changes = self.0.index.subscribe();
        loop {
            let newest = *changes.borrow_and_update();
            let listing = self.lock().listing(name);
            let done = after.is_none_or(|after| after < listing.index || after > newest);
            if done || timeout_at(end, changes.changed()).await.is_err() {
                return listing;
            }
        }
    }

    /// Removes those whose lease is over.
    pub(super) fn expire(&self) {
        let mut state = self.lock();
        for key in state.leases.take_over(Instant::now()) {
            tracing::info!(service = %key.0, instance = %key.1, "lease is over: no heartbeat");
            let index = state.take(&key);
            state.news.entry(key.0.clone()).or_default();
            drop(self.store(index, What::Remove(key)));
        }
        let index = state.index;
        drop(state);
        self.announce(index);
    }

    /// When [`expire`](Self::expire) has work next.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.lock().leases.next()
    }

    /// Waits for a change.
    pub(super) async fn changed(&self) {
        self.0.news.notified().await;
    }

    /// What changed since this was asked last.
    pub(super) fn take_news(&self) -> Vec<News> {
        let mut state = self.lock();
        let news = std::mem::take(&mut state.news);
        news.into_iter().map(|(name, gone)| (name.clone(), state.instances(name.as_str()), gone)).collect()
    }

    /// All there is; changes up to now are no news any more.
    pub(super) fn take_everything(&self) -> Vec<(ServiceId, Vec<Arc<Instance>>)> {
        let mut state = self.lock();
        state.news.clear();
        state.services.keys().map(|name| (name.clone(), state.instances(name.as_str()))).collect()
    }

    fn store(&self, index: u64, what: What) -> Option<oneshot::Receiver<bool>> {
        self.0.writer.as_ref().map(|writer| writer.send(Line { index, what }))
    }

    fn announce(&self, index: u64) {
        // Two changes may get here in the other order; the index must not go back.
        self.0.index.send_if_modified(|newest| {
            let newer = index > *newest;
            *newest = index.max(*newest);
            newer
        });
        self.0.news.notify_one();
    }

    /// A panic in between leaves maps that are still maps, so poison is no reason to stop serving.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn get(&self, (name, id): &Key) -> Option<&Registration> {
        self.services.get(name)?.instances.get(id).map(|held| &*held.registration)
    }

    fn put(&mut self, registration: Arc<Registration>, index: u64, now: Instant) {
        let key = (registration.name.clone(), registration.id.clone());
        self.renew(&key, registration.ttl, now);
        let entry = self.services.entry(key.0).or_default();
        entry.index = index;
        let instance = Arc::new(registration.instance());
        entry.instances.insert(key.1, Held { registration, instance });
    }

    fn renew(&mut self, key: &Key, ttl: Option<Duration>, now: Instant) {
        match ttl {
            Some(ttl) => self.leases.renew(key, now + ttl),
            None => self.leases.end(key),
        }
    }

    /// Takes out an instance that is there; returns the index after that.
    fn take(&mut self, key: &Key) -> u64 {
        self.index += 1;
        self.leases.end(key);
        if let Some(entry) = self.services.get_mut(&key.0) {
            entry.index = self.index;
            entry.instances.remove(&key.1);
            if entry.instances.is_empty() {
                self.services.remove(&key.0);
                self.vanished = self.index;
            }
        }
        self.index
    }

    fn instances(&self, name: &str) -> Vec<Arc<Instance>> {
        self.services.get(name).map(|e| e.instances.values().map(|h| h.instance.clone()).collect()).unwrap_or_default()
    }

    fn listing(&self, name: &str) -> Listing {
        let Some(entry) = self.services.get(name) else {
            return Listing { index: self.vanished, instances: Vec::new() };
        };
        let end = |r: &Registration| self.leases.end_of(&(r.name.clone(), r.id.clone()));
        let instances = entry.instances.values().map(|h| (h.registration.clone(), end(&h.registration))).collect();
        Listing { index: entry.index, instances }
    }
}

async fn stored(told: Option<oneshot::Receiver<bool>>) -> bool {
    match told {
        Some(told) => told.await.unwrap_or(false),
        None => false,
    }
}
