//! What is below the prefix, as far as we know. Pure.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use model::{Instance, InstanceId, Knowledge, ProviderError, ServiceId};

use super::{
    gateway::List,
    records,
    wire::{Event, Header, Record},
};

/// All records, kept over outages.
#[derive(Debug)]
pub(super) struct Contents {
    /// The prefix with its slash.
    stem: Vec<u8>,
    /// Whose contents these are, and the last revision they hold.
    header: Header,
    services: HashMap<ServiceId, BTreeMap<InstanceId, Entry>>,
}

#[derive(Debug)]
struct Entry {
    revision: u64,
    /// As the last value that could be read describes it; nothing if none ever could.
    instance: Option<Arc<Instance>>,
    /// What is wrong with the present value.
    trouble: Option<String>,
}

/// What came of a list or of events.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// Services whose instances may be others now.
    pub(super) services: BTreeSet<ServiceId>,
    /// Records that cannot be used, and why.
    pub(super) skipped: Vec<(Option<ServiceId>, String)>,
    pub(super) left: Vec<Departure>,
}

/// A deleted record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Departure {
    pub(super) service: ServiceId,
    pub(super) instance: InstanceId,
    /// The lease it was bound to, 0 for none; `None` if etcd does not know any more.
    pub(super) lease: Option<u64>,
}

impl Contents {
    /// Nothing, below this prefix.
    pub(super) fn new(stem: Vec<u8>) -> Self {
        Self { stem, header: Header::default(), services: HashMap::new() }
    }

    /// The last revision that these contents hold.
    pub(super) fn revision(&self) -> u64 {
        self.header.revision
    }

    /// Whether this answer is of another history than ours: another cluster, or one that was restored or emptied.
    pub(super) fn is_other(&self, header: Header) -> bool {
        let ours = self.header;
        ours.revision > 0 && (header.cluster_id != ours.cluster_id || header.revision < ours.revision)
    }

    /// Puts a list in place of all there was. What did not change is not read again.
    pub(super) fn replace(&mut self, list: List) -> Change {
        if self.is_other(list.header) {
            // Revisions say nothing about each other here, so every record is read as if it were new.
            let entries = self.services.values_mut().flat_map(BTreeMap::values_mut);
            entries.for_each(|entry| entry.revision = 0);
            self.header.revision = 0;
        }
        let mut change = Change::default();
        let mut old = std::mem::take(&mut self.services);
        for record in list.records {
            self.put(&record, &mut |service, instance| old.get_mut(service)?.remove(instance), &mut change);
        }
        self.header = list.header;
        change
    }

    /// Takes in changes, in their order.
    pub(super) fn apply(&mut self, events: Vec<Event>) -> Change {
        let mut change = Change::default();
        for event in events {
            let revision = event.kv.mod_revision;
            if event.is_delete() {
                self.delete(&event, &mut change);
            } else {
                self.put(&event.kv, &mut |_, _| None, &mut change);
            }
            self.header.revision = self.header.revision.max(revision);
        }
        change
    }

    /// What is known of a service. One that has only records which cannot be read is not empty.
    pub(super) fn knowledge(&self, service: &ServiceId) -> Knowledge {
        let entries = self.services.get(service).into_iter().flat_map(BTreeMap::values);
        let known = Knowledge::of(entries.clone().filter_map(|entry| entry.instance.clone()));
        match entries.clone().find_map(|entry| entry.trouble.clone()) {
            Some(trouble) if known == Knowledge::KnownEmpty => Knowledge::Unknown(ProviderError::Malformed(trouble)),
            _ => known,
        }
    }

    /// Why what is known of a service may not hold any more: a record of it was rewritten and cannot be read.
    pub(super) fn outdated(&self, service: &ServiceId) -> Option<ProviderError> {
        let mut entries = self.services.get(service)?.values();
        let trouble = entries.find_map(|entry| entry.trouble.as_ref().filter(|_| entry.instance.is_some()))?;
        Some(ProviderError::Malformed(trouble.clone()))
    }

    /// All services that have records.
    pub(super) fn services(&self) -> impl Iterator<Item = &ServiceId> {
        self.services.keys()
    }

    /// Takes in one record; `earlier` gives what an older list said of it.
    fn put(
        &mut self,
        record: &Record,
        earlier: &mut dyn FnMut(&ServiceId, &InstanceId) -> Option<Entry>,
        change: &mut Change,
    ) {
        let (service, instance) = match records::place(&self.stem, &record.key) {
            Ok(place) => place,
            Err(reason) => {
                // Said once, not with every list.
                if record.mod_revision > self.header.revision {
                    change.skipped.push((None, reason));
                }
                return;
            }
        };
        let entries = self.services.entry(service.clone()).or_default();
        let known = entries.remove(&instance).or_else(|| earlier(&service, &instance));
        let entry = match known {
            Some(known) if known.revision == record.mod_revision => known,
            known => {
                let entry = read(&instance, record, known.as_ref());
                change.skipped.extend(entry.trouble.clone().map(|reason| (Some(service.clone()), reason)));
                // Some services write their record again and again to show that they are there.
                if known.is_none_or(|known| known.instance != entry.instance || known.trouble != entry.trouble) {
                    change.services.insert(service);
                }
                entry
            }
        };
        entries.insert(instance, entry);
    }

    fn delete(&mut self, event: &Event, change: &mut Change) {
        let Ok((service, instance)) = records::place(&self.stem, &event.kv.key) else { return };
        if let Some(entries) = self.services.get_mut(&service) {
            entries.remove(&instance);
            if entries.is_empty() {
                self.services.remove(&service);
            }
        }
        change.services.insert(service.clone());
        change.left.push(Departure { service, instance, lease: event.prev_kv.as_ref().map(|kv| kv.lease) });
    }
}

/// A record as an entry. If it cannot be read, the instance stays as its last good value described it.
fn read(id: &InstanceId, record: &Record, before: Option<&Entry>) -> Entry {
    let revision = record.mod_revision;
    match records::instance(id.clone(), &record.value) {
        Ok(instance) => Entry { revision, instance: Some(Arc::new(instance)), trouble: None },
        Err(reason) => Entry {
            revision,
            instance: before.and_then(|before| before.instance.clone()),
            trouble: Some(format!("key {:?}: {reason}", String::from_utf8_lossy(&record.key))),
        },
    }
}

#[cfg(test)]
mod tests;
