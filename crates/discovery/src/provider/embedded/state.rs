//! Who is registered, until when, and what changed. Pure: time and chance are arguments.

mod reading;
mod room;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use model::{Instance, InstanceId, ServiceId};
use tokio::time::Instant;

use super::{
    Registration,
    audit::{Action, Audit, By},
    health::{Effect, Health, Verdict},
    lease::{Deadlines, Key},
};

/// How long the router remembers the name of a service that lost its last instance, so that it says "no instance" and
/// not "no such service"; and a watcher that was away can resume.
const REMEMBERED: Duration = Duration::from_secs(600);
/// And how many such names at most, or names without end would fill the memory.
const MOST_REMEMBERED: usize = 1024;
/// Within this time a new instance is first looked at. Its registration is waited for, so not its whole interval.
const SOON: Duration = Duration::from_millis(500);

/// Written by the calls of the API, by expiry and by checks; read by the API and the provider.
#[derive(Debug, Default)]
pub(super) struct State {
    services: BTreeMap<ServiceId, Entry>,
    /// The same services by their index, so that what changed last is found without looking at all.
    by_index: BTreeSet<(u64, ServiceId)>,
    /// How many instances they have.
    count: usize,
    leases: Deadlines<Key>,
    /// When which check looks next.
    looks: Deadlines<Look>,
    /// Counts changes; never goes back, also over restarts.
    pub(super) index: u64,
    /// The newest index the journal was given.
    pub(super) journaled: u64,
    /// The index at which a service last lost its last instance: the index of all services that have none.
    vanished: u64,
    /// Services that lost their last instance, oldest first.
    gone: VecDeque<Gone>,
    /// What vanished up to this index is not in `gone` any more.
    forgotten: u64,
    /// Services that changed since the provider looked, and who left them on its own word.
    news: BTreeMap<ServiceId, Pending>,
    pub(super) audit: Audit,
}

/// One check of one instance, by its place in the registration.
pub(super) type Look = (Key, usize);

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
    health: Health,
}

#[derive(Debug)]
struct Gone {
    service: ServiceId,
    index: u64,
    at: Instant,
}

/// One instance as a listing shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// What it said.
    pub registration: Arc<Registration>,
    /// When its lease ends, if it has one.
    pub end: Option<Instant>,
    /// Whether its checks let it serve.
    pub ready: bool,
    /// What each of its checks found.
    pub verdicts: Vec<Verdict>,
}

/// The instances of one service at one index.
#[derive(Debug, Clone, PartialEq)]
pub struct Listing {
    /// Grows with every change of this service.
    pub index: u64,
    /// What is registered.
    pub instances: Vec<Listed>,
}

/// What changed after some index.
#[derive(Debug, Clone, PartialEq)]
pub struct Changes {
    /// The registry's index.
    pub index: u64,
    /// These are all services there are, because what changed since is not known.
    pub complete: bool,
    /// The changed services as they are now; one without instances has left.
    pub services: Vec<(ServiceId, Listing)>,
}

/// One changed service.
#[derive(Debug)]
pub(super) struct News {
    pub(super) service: ServiceId,
    /// Its instances now.
    pub(super) list: Vec<Arc<Instance>>,
    /// Who left on its own word.
    pub(super) deregistered: Vec<InstanceId>,
    /// When it changed first since it was asked for.
    pub(super) seen: Instant,
}

/// What changed of one service, to be asked for.
#[derive(Debug)]
struct Pending {
    left: Vec<InstanceId>,
    since: Instant,
}

impl Pending {
    fn new(since: Instant) -> Self {
        Self { left: Vec::new(), since }
    }
}

impl State {
    /// What a disk gave back, at this index. Every lease begins anew, and all checks are trusted until they fail.
    pub(super) fn restored(registrations: Vec<Arc<Registration>>, index: u64, now: Instant) -> Self {
        let mut state = Self { index, journaled: index, vanished: index, forgotten: index, ..Self::default() };
        for registration in registrations {
            let health = Health::trusted(&registration.checks, now);
            // Spread over the whole interval: a start looks at nobody's instances all at once.
            state.put(registration, health, now, None);
        }
        state
    }

    pub(super) fn get(&self, (name, id): &Key) -> Option<&Arc<Registration>> {
        self.held(name, id).map(|held| &held.registration)
    }

    fn held(&self, name: &ServiceId, id: &InstanceId) -> Option<&Held> {
        self.services.get(name)?.instances.get(id)
    }

    /// Takes in a registration. `None`: it says what was known, and only its lease is renewed.
    pub(super) fn register(&mut self, registration: Registration, by: &By, now: Instant) -> Option<Arc<Registration>> {
        let key = (registration.name.clone(), registration.id.clone());
        let old = self.held(&key.0, &key.1);
        if old.is_some_and(|held| *held.registration == registration) {
            self.renew(&key, registration.ttl, now);
            return None;
        }
        let known = old.map(|held| (held.registration.clone(), held.health.clone()));
        let looked_at = |r: &Registration| (r.ip.clone(), r.port, r.protocol, r.checks.clone());
        let same = known.as_ref().filter(|(old, _)| looked_at(old) == looked_at(&registration));
        let health = same.map_or_else(|| Health::unknown(&registration.checks, now), |(_, health)| health.clone());
        let action = match &known {
            None => Action::Register,
            Some((old, _)) => match (&old.maintenance, &registration.maintenance) {
                (None, Some(_)) => Action::Maintain,
                (Some(_), None) => Action::Resume,
                _ => Action::Change,
            },
        };
        self.index += 1;
        let detail = format!(
            "{}:{} {}",
            registration.ip,
            registration.port,
            registration.maintenance.as_deref().unwrap_or_default()
        );
        self.audit.note(by, action, &key, self.index, detail.trim_end());
        // Whoever is back did not leave.
        self.news.entry(key.0).or_insert_with(|| Pending::new(now)).left.retain(|gone| *gone != key.1);
        let registration = Arc::new(registration);
        self.put(registration.clone(), health, now, Some(SOON));
        Some(registration)
    }

    fn put(&mut self, registration: Arc<Registration>, health: Health, now: Instant, soon: Option<Duration>) {
        let key = (registration.name.clone(), registration.id.clone());
        self.renew(&key, registration.ttl, now);
        if let Some(old) = self.held(&key.0, &key.1) {
            for number in 0..old.registration.checks.len() {
                self.looks.remove(&(key.clone(), number));
            }
        }
        for (number, check) in registration.checks.iter().enumerate() {
            let within = soon.map_or(check.interval, |soon| check.interval.min(soon));
            self.looks.set(&(key.clone(), number), now + within.mul_f64(fastrand::f64()));
        }
        let instance = Arc::new(registration.instance());
        let entry = self.services.entry(key.0.clone()).or_default();
        let old = entry.instances.insert(key.1, Held { registration, instance, health });
        self.count += usize::from(old.is_none());
        self.touch(&key.0);
    }

    /// Notes that a service changed just now.
    fn touch(&mut self, name: &ServiceId) {
        let Some(entry) = self.services.get_mut(name) else { return };
        self.by_index.remove(&(entry.index, name.clone()));
        entry.index = self.index;
        self.by_index.insert((self.index, name.clone()));
    }

    /// Begins the lease of an instance anew.
    pub(super) fn renew(&mut self, key: &Key, ttl: Option<Duration>, now: Instant) {
        match ttl {
            Some(ttl) => self.leases.set(key, now + ttl),
            None => self.leases.remove(key),
        }
    }

    /// Gives a lease back the end it had.
    pub(super) fn keep_lease(&mut self, key: &Key, end: Option<Instant>) {
        if let Some(end) = end {
            self.leases.set(key, end);
        }
    }

    /// Takes out an instance, if it is there. `meant`: on its own or its operator's word, so that nobody takes it for a
    /// fault.
    pub(super) fn remove(
        &mut self,
        key: &Key,
        by: &By,
        (action, detail): (Action, &str),
        meant: bool,
        now: Instant,
    ) -> bool {
        let Some(held) = self.services.get_mut(&key.0).and_then(|entry| entry.instances.remove(&key.1)) else {
            return false;
        };
        self.index += 1;
        self.leases.remove(key);
        for number in 0..held.registration.checks.len() {
            self.looks.remove(&(key.clone(), number));
        }
        let news = self.news.entry(key.0.clone()).or_insert_with(|| Pending::new(now));
        if meant {
            news.left.push(key.1.clone());
        }
        self.count -= 1;
        self.touch(&key.0);
        if self.services.get(&key.0).is_some_and(|entry| entry.instances.is_empty()) {
            self.services.remove(&key.0);
            self.by_index.remove(&(self.index, key.0.clone()));
            self.vanished = self.index;
            self.gone.push_back(Gone { service: key.0.clone(), index: self.index, at: now });
        }
        self.audit.note(by, action, key, self.index, detail);
        true
    }

    /// Instances whose lease is over.
    pub(super) fn over(&mut self, now: Instant) -> Vec<Key> {
        self.leases.take_due(now, usize::MAX)
    }

    /// Checks that are due, at most so many; each is due again after its interval, whatever becomes of this look.
    pub(super) fn due(&mut self, most: usize, now: Instant) -> Vec<(Look, Arc<Registration>)> {
        let mut due = Vec::new();
        for look in self.looks.take_due(now, most) {
            let Some(registration) = self.get(&look.0).cloned() else { continue };
            let Some(check) = registration.checks.get(look.1) else { continue };
            // A tenth of chance, or all that began together would go on together.
            let next = now + check.timeout + check.interval.mul_f64(0.95 + fastrand::f64() / 10.0);
            self.looks.set(&look, next);
            due.push((look, registration));
        }
        due
    }

    /// Takes in what a check saw; returns whether anything changed that must be stored or told.
    pub(super) fn observe(
        &mut self,
        look: &Look,
        of: &Arc<Registration>,
        found: &Result<String, String>,
        now: Instant,
    ) -> Effect {
        let (key, number) = look;
        let entry = self.services.get_mut(&key.0);
        let held = entry.and_then(|entry| entry.instances.get_mut(&key.1));
        // Another registration since then: this was not about it.
        let Some(held) = held.filter(|held| Arc::ptr_eq(&held.registration, of)) else { return Effect::None };
        let effect = held.health.observe(&of.checks, *number, found, of.deregister_after, now);
        if let Some(check) = of.checks.get(*number) {
            self.looks.set(look, now + check.interval.mul_f64(0.95 + fastrand::f64() / 10.0));
        }
        if let Effect::Serves(serves) = effect {
            self.index += 1;
            self.touch(&key.0);
            self.news.entry(key.0.clone()).or_insert_with(|| Pending::new(now));
            let (Ok(output) | Err(output)) = found;
            let action = if serves { Action::Ready } else { Action::Unready };
            self.audit.note(&By::registry(), action, key, self.index, output);
        }
        effect
    }

    /// When a lease ends, a name is forgotten, or (if asked for) a check is due.
    pub(super) fn next(&self, looks: bool) -> Option<Instant> {
        let forget = self.gone.front().map(|gone| gone.at + REMEMBERED);
        let look = looks.then(|| self.looks.next()).flatten();
        [self.leases.next(), forget, look].into_iter().flatten().min()
    }

    /// What changed since this was asked last.
    pub(super) fn take_news(&mut self) -> Vec<News> {
        let news = std::mem::take(&mut self.news);
        let told = |(service, Pending { left, since }): (ServiceId, _)| {
            let list = self.instances(service.as_str());
            News { service, list, deregistered: left, seen: since }
        };
        news.into_iter().map(told).collect()
    }

    /// All there is; changes up to now are no news any more.
    pub(super) fn take_everything(&mut self) -> Vec<(ServiceId, Vec<Arc<Instance>>)> {
        self.news.clear();
        self.services.keys().map(|name| (name.clone(), self.instances(name.as_str()))).collect()
    }

    /// Names of services without instances that need not be remembered any longer.
    pub(super) fn take_forgotten(&mut self, now: Instant) -> Vec<ServiceId> {
        let mut forgotten = Vec::new();
        while self.gone.len() > MOST_REMEMBERED || self.gone.front().is_some_and(|gone| gone.at + REMEMBERED <= now) {
            let Some(gone) = self.gone.pop_front() else { break };
            self.forgotten = gone.index;
            let lives = self.services.contains_key(&gone.service);
            if !lives && !self.gone.iter().any(|later| later.service == gone.service) {
                forgotten.push(gone.service);
            }
        }
        forgotten
    }
}
