//! All slices of all scopes, and which service each belongs to. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use model::{ProviderError, ServiceId};

use super::{
    join::{Reading, join},
    ports::PortChoice,
    slice::{Key, Record, Slice},
    wire::Event,
};

/// Names one scope: a namespace, or all of them.
pub(super) type Scope = usize;

/// The slices as they were last heard of. Lives as long as the source: an outage changes nothing here.
#[derive(Debug, Default)]
pub(super) struct Mirror {
    slices: BTreeMap<Key, Held>,
    services: HashMap<ServiceId, BTreeSet<Key>>,
    scopes: Vec<Hearing>,
}

#[derive(Debug)]
struct Held {
    scope: Scope,
    service: Option<ServiceId>,
    content: Result<Slice, String>,
}

/// How well a scope is heard.
#[derive(Debug, Clone, Default)]
struct Hearing {
    listed: bool,
    failed: Option<ProviderError>,
}

impl Mirror {
    /// Knows nothing of so many scopes.
    pub(super) fn new(scopes: usize) -> Self {
        Self { scopes: vec![Hearing::default(); scopes], ..Self::default() }
    }

    /// The whole list of a scope was read. Returns the services that may have changed.
    ///
    /// If some records could not be named, slices that the list does not name may be among them: they stay.
    pub(super) fn list(&mut self, scope: Scope, records: Vec<Record>, nameless: bool) -> BTreeSet<ServiceId> {
        let mut touched = BTreeSet::new();
        let mut left: BTreeSet<Key> =
            self.slices.iter().filter(|(_, held)| held.scope == scope).map(|(key, _)| key.clone()).collect();
        for record in records {
            left.remove(&record.key);
            self.apply(scope, record, &mut touched);
        }
        for key in left.into_iter().filter(|_| !nameless) {
            self.remove(&key, &mut touched);
        }
        self.scopes[scope] = Hearing { listed: true, failed: None };
        touched
    }

    /// A watch told this. Returns the services that may have changed.
    pub(super) fn event(&mut self, scope: Scope, event: Event) -> BTreeSet<ServiceId> {
        let mut touched = BTreeSet::new();
        match event {
            Event::Applied(record) => self.apply(scope, record, &mut touched),
            Event::Deleted(key) => self.remove(&key, &mut touched),
            Event::Bookmark | Event::Nameless(_) => {}
        }
        touched
    }

    /// The scope cannot be heard at present; what it said stands.
    pub(super) fn fail(&mut self, scope: Scope, error: ProviderError) {
        self.scopes[scope].failed = Some(error);
    }

    /// The scope is heard again, and nothing was missed.
    pub(super) fn recover(&mut self, scope: Scope) {
        self.scopes[scope].failed = None;
    }

    /// Whether no scope can be heard.
    pub(super) fn is_deaf(&self) -> bool {
        self.scopes.iter().all(|scope| scope.failed.is_some())
    }

    /// Whether every scope was read once, so that what is not here is not there.
    pub(super) fn is_whole(&self) -> bool {
        self.scopes.iter().all(|scope| scope.listed)
    }

    /// Why nothing certain can be said of a service now: a scope it lies in, or may lie in, cannot be heard.
    pub(super) fn doubt(&self, service: &ServiceId) -> Option<&ProviderError> {
        let keys = self.services.get(service);
        let lies_in = |scope: Scope| keys.into_iter().flatten().any(|key| self.slices[key].scope == scope);
        let mut failed = (0..).zip(&self.scopes).filter_map(|(at, scope)| Some((at, scope, scope.failed.as_ref()?)));
        failed.find(|(at, scope, _)| lies_in(*at) || (keys.is_none() && !scope.listed)).map(|(_, _, error)| error)
    }

    /// What the slices of a service say.
    pub(super) fn read(&self, service: &ServiceId, port: Option<&PortChoice>) -> Reading {
        let keys = self.services.get(service).into_iter().flatten();
        join(keys.map(|key| (key, &self.slices[key].content)), port)
    }

    /// Whether any slice is of this service.
    pub(super) fn holds(&self, service: &ServiceId) -> bool {
        self.services.contains_key(service)
    }

    /// All services there are.
    pub(super) fn services(&self) -> impl Iterator<Item = &ServiceId> {
        self.services.keys()
    }

    /// The tags of a service's slices.
    pub(super) fn tags(&self, service: &ServiceId) -> Vec<&str> {
        let keys = self.services.get(service).into_iter().flatten();
        let slices = keys.filter_map(|key| self.slices[key].content.as_ref().ok());
        slices.flat_map(|slice| &slice.marks.tags).map(model::Tag::as_str).collect()
    }

    fn apply(&mut self, scope: Scope, record: Record, touched: &mut BTreeSet<ServiceId>) {
        let Record { key, mut service, content } = record;
        let old = self.slices.remove(&key);
        // What cannot be read is not what is no longer there: the last good content stays, with the reason in it, and is
        // told as uncertain.
        let content = match (content, old) {
            (Err(reason), Some(Held { content: Ok(mut slice), service: before, .. })) => {
                service = service.or_else(|| before.clone());
                self.unlink(before.as_ref(), &key, touched);
                slice.skipped = vec![reason];
                slice.outdated = true;
                Ok(slice)
            }
            (content, old) => {
                self.unlink(old.and_then(|held| held.service).as_ref(), &key, touched);
                content
            }
        };
        if let Some(service) = &service {
            self.services.entry(service.clone()).or_default().insert(key.clone());
            touched.insert(service.clone());
        }
        self.slices.insert(key, Held { scope, service, content });
    }

    fn remove(&mut self, key: &Key, touched: &mut BTreeSet<ServiceId>) {
        if let Some(held) = self.slices.remove(key) {
            self.unlink(held.service.as_ref(), key, touched);
        }
    }

    fn unlink(&mut self, service: Option<&ServiceId>, key: &Key, touched: &mut BTreeSet<ServiceId>) {
        let Some(service) = service else { return };
        touched.insert(service.clone());
        if let Some(keys) = self.services.get_mut(service) {
            keys.remove(key);
            if keys.is_empty() {
                self.services.remove(service);
            }
        }
    }
}

#[cfg(test)]
mod tests;
