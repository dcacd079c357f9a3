//! The registry as its users hold it: one state, behind a lock that is held for map operations only.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use model::{InstanceId, ServiceId};
use settings::PATIENCE;
use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, timeout, timeout_at},
};

use super::{
    Registration, Settings,
    audit::{Action, By, Entry},
    health::Effect,
    journal::{JUMP, Journal, Line, Stored, What, first_index},
    lease::Key,
    probe::Probe,
    state::{Changes, Listed, Listing, Look, News, State},
    transfer::Mode,
    watchers::{Watch, Watchers},
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
    /// Those who wait for changes.
    watchers: Arc<Watchers>,
    /// Wakes the provider.
    news: Notify,
    writer: Option<Writer>,
    /// What the operator says, as of the last reload.
    settings: Mutex<(Arc<Settings>, Arc<Probe>)>,
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

/// What the disk will say of changes under way.
pub(super) type Told = Option<oneshot::Receiver<bool>>;

impl Registry {
    /// A registry that a restart forgets.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::with(State::restored(Vec::new(), first_index(), Instant::now()), None)
    }

    /// The registry kept in this directory. Every lease begins anew, in full.
    ///
    /// # Errors
    /// If the directory cannot be written, or another router uses it. A damaged file is no error.
    pub fn open(directory: &std::path::Path) -> Result<Self, String> {
        let (journal, Stored { registrations, index }) = Journal::open(directory)?;
        let writer = Writer::start(journal).map_err(|e| format!("cannot start a thread: {e}"))?;
        Ok(Self::with(State::restored(registrations, index, Instant::now()), Some(writer)))
    }

    fn with(state: State, writer: Option<Writer>) -> Self {
        let settings = Mutex::new((Arc::new(Settings::default()), Arc::new(Probe::default())));
        let (watchers, news) = (Arc::default(), Notify::new());
        Self(Arc::new(Shared { state: Mutex::new(state), watchers, news, writer, settings }))
    }

    /// Follows other settings, from now on; where it listens and writes stays.
    pub fn follow(&self, settings: &Settings) {
        let probe = Probe::new(settings.checks.clone());
        *self.0.settings.lock().unwrap_or_else(PoisonError::into_inner) = (Arc::new(settings.clone()), Arc::new(probe));
    }

    /// What the operator says now.
    #[must_use]
    pub fn settings(&self) -> Arc<Settings> {
        self.0.settings.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// Whom checks may address and trust now.
    pub(super) fn probe(&self) -> Arc<Probe> {
        self.0.settings.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    /// Registers an instance, or changes or renews its registration. It is routed at once; this returns when the disk
    /// has it. Maintenance that an operator declared goes on, unless the registration says otherwise.
    pub async fn register(&self, by: &By, mut registration: Registration) -> Registered {
        let (index, changed, told) = {
            let mut state = self.lock();
            if registration.maintenance.is_none()
                && let Some(old) = state.get(&(registration.name.clone(), registration.id.clone()))
            {
                registration.maintenance.clone_from(&old.maintenance);
            }
            let (changed, told) = self.put(&mut state, by, registration);
            (state.index, changed, told)
        };
        Registered { index, changed, stored: stored(told).await }
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
    pub async fn deregister(&self, by: &By, name: ServiceId, id: InstanceId) -> Result<Registered, NotRegistered> {
        let key = (name, id);
        let (index, told) = {
            let mut state = self.lock();
            let Some(told) = self.take(&mut state, &key, by, (Action::Deregister, ""), true) else {
                return Err(NotRegistered { name: key.0, id: key.1 });
            };
            (state.index, told)
        };
        Ok(Registered { index, changed: true, stored: stored(told).await })
    }

    /// Begins maintenance of an instance, with a reason, or ends it.
    ///
    /// # Errors
    /// If it is not registered.
    pub async fn maintain(
        &self,
        by: &By,
        name: ServiceId,
        id: InstanceId,
        why: Option<String>,
    ) -> Result<Registered, NotRegistered> {
        let key = (name, id);
        let (index, changed, told) = {
            let mut state = self.lock();
            let Some(old) = state.get(&key) else { return Err(NotRegistered { name: key.0, id: key.1 }) };
            let registration = Registration { maintenance: why, ..(**old).clone() };
            // That an operator speaks of it is no sign of life.
            let lease = state.instance(&key).and_then(|listed| listed.end);
            let (changed, told) = self.put(&mut state, by, registration);
            state.keep_lease(&key, lease);
            (state.index, changed, told)
        };
        Ok(Registered { index, changed, stored: stored(told).await })
    }

    /// The registry's index: that of its newest change.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.lock().index
    }

    /// Whether it is known what changed after this index, so that [`changes`](Self::changes) is not all there is.
    #[must_use]
    pub fn knows_since(&self, after: Option<u64>) -> bool {
        self.lock().since(after).is_some()
    }

    /// Whether there is room for these; with [`Mode::Replace`] in place of all there is.
    ///
    /// # Errors
    /// If a service, or all of them, would have more instances than a registry keeps.
    pub fn room(&self, wanted: &[Registration], mode: Mode) -> Result<(), String> {
        self.lock().room(wanted, mode == Mode::Replace)
    }

    /// All services that have instances: name, index and how many.
    #[must_use]
    pub fn services(&self) -> (u64, Vec<(ServiceId, u64, usize)>) {
        let state = self.lock();
        (state.index, state.services())
    }

    /// One instance, if it is registered.
    #[must_use]
    pub fn instance(&self, name: ServiceId, id: InstanceId) -> Option<Listed> {
        self.lock().instance(&(name, id))
    }

    /// The instances of one service. With an index, waits until the service has a higher one, at most for `wait`.
    ///
    /// An index that was never given out is answered at once: the registry is not the one that gave it.
    pub async fn listing(&self, name: &str, after: Option<u64>, wait: Duration) -> Listing {
        let end = Instant::now() + wait;
        let watch = after.map(|_| self.watch(Some(name)));
        loop {
            let changed = watch.as_ref().map(Watch::changed);
            let (newest, listing) = {
                let state = self.lock();
                (state.index, state.listing(name))
            };
            let done = after.is_none_or(|after| after < listing.index || after > newest);
            let Some(changed) = changed.filter(|_| !done) else { return listing };
            if timeout_at(end, changed).await.is_err() {
                return listing;
            }
        }
    }

    /// The instances of one service now.
    #[must_use]
    pub fn now(&self, name: &str) -> Listing {
        self.lock().listing(name)
    }

    /// Whether the disk has every change made so far.
    pub async fn settled(&self) -> bool {
        stored(self.0.writer.as_ref().map(Writer::settled)).await
    }

    /// What changed after this index.
    #[must_use]
    pub fn changes(&self, after: Option<u64>) -> Changes {
        self.lock().changes(after)
    }

    /// Waits for changes of one service, or of any.
    #[must_use]
    pub fn watch(&self, service: Option<&str>) -> Watch {
        self.0.watchers.watch(service)
    }

    /// The last changes after this index, oldest first, and who made them.
    #[must_use]
    pub fn audit(&self, after: u64) -> Vec<Entry> {
        self.lock().audit.after(after)
    }

    /// Removes those whose lease is over.
    pub(super) fn expire(&self) {
        let mut state = self.lock();
        for key in state.over(Instant::now()) {
            tracing::info!(service = %key.0, instance = %key.1, "lease is over: no heartbeat");
            drop(self.take(&mut state, &key, &By::registry(), (Action::Expire, "no heartbeat"), false));
        }
    }

    /// Checks that are due, at most so many.
    pub(super) fn due(&self, most: usize) -> Vec<(Look, Arc<Registration>)> {
        self.lock().due(most, Instant::now())
    }

    /// Takes in what a check saw.
    pub(super) fn observe(&self, look: &Look, of: &Arc<Registration>, found: &Result<String, String>) {
        let mut state = self.lock();
        match state.observe(look, of, found, Instant::now()) {
            Effect::None => {}
            Effect::Serves(serves) => {
                let (Ok(output) | Err(output)) = found;
                tracing::info!(service = %look.0.0, instance = %look.0.1, serves, output, "a check changed its verdict");
                // Such changes are not stored, yet no index may be given out twice.
                if state.index - state.journaled > JUMP / 2 {
                    drop(self.store(&mut state, What::Format(super::journal::FORMAT)));
                }
                self.wake(&look.0.0);
            }
            Effect::Dead(why) => {
                let (Ok(output) | Err(output)) = found;
                tracing::warn!(service = %look.0.0, instance = %look.0.1, why, output, "its checks end a registration");
                let detail = format!("{why}: {output}");
                drop(self.take(&mut state, &look.0, &By::registry(), (Action::Dead, &detail), false));
            }
        }
    }

    /// When there is something to do without being spoken to; checks count if there is room for one.
    pub(super) fn next(&self, looks: bool) -> Option<Instant> {
        self.lock().next(looks)
    }

    /// Waits for a change.
    pub(super) async fn changed(&self) {
        self.0.news.notified().await;
    }

    /// What changed since this was asked last.
    pub(super) fn take_news(&self) -> Vec<News> {
        self.lock().take_news()
    }

    /// All there is; changes up to now are no news any more.
    pub(super) fn take_everything(&self) -> Vec<(ServiceId, Vec<Arc<model::Instance>>)> {
        self.lock().take_everything()
    }

    /// Names of services without instances that need not be remembered any longer.
    pub(super) fn take_forgotten(&self) -> Vec<ServiceId> {
        self.lock().take_forgotten(Instant::now())
    }

    /// Whether it changed anything, and what the disk will say.
    pub(super) fn put(&self, state: &mut State, by: &By, registration: Registration) -> (bool, Told) {
        let name = registration.name.clone();
        match state.register(registration, by, Instant::now()) {
            Some(registration) => {
                let told = self.store(state, What::Register(registration));
                self.wake(&name);
                (true, told)
            }
            // It may be known and yet not be on the disk.
            None => (false, self.0.writer.as_ref().map(Writer::settled)),
        }
    }

    /// `None` if it is not there; else what the disk will say.
    pub(super) fn take(&self, state: &mut State, key: &Key, by: &By, why: (Action, &str), meant: bool) -> Option<Told> {
        if !state.remove(key, by, why, meant, Instant::now()) {
            return None;
        }
        let told = self.store(state, What::Remove(key.clone()));
        self.wake(&key.0);
        Some(told)
    }

    /// Inside the lock: the journal must have the changes in their order.
    fn store(&self, state: &mut State, what: What) -> Told {
        state.journaled = state.index;
        self.0.writer.as_ref().map(|writer| writer.send(Line { index: state.index, what }))
    }

    fn wake(&self, service: &ServiceId) {
        self.0.watchers.wake(service.as_str());
        self.0.news.notify_one();
    }

    /// A panic in between leaves maps that are still maps, so poison is no reason to stop serving.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the disk says in the end.
pub(super) async fn stored(told: Told) -> bool {
    match told {
        // A disk may hang; what is registered is routed all the same, and its owner may not wait for ever.
        Some(told) => timeout(PATIENCE, told).await.is_ok_and(|told| told.unwrap_or(false)),
        None => false,
    }
}
