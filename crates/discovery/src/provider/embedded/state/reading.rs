//! What is asked of the registry: listings, and what changed.

use std::{collections::BTreeMap, sync::Arc};

use model::{Instance, ServiceId};

use super::{super::Registration, Changes, Held, Key, Listed, Listing, State};

impl State {
    /// All services: name, index and how many instances.
    pub(in crate::provider::embedded) fn services(&self) -> Vec<(ServiceId, u64, usize)> {
        self.services.iter().map(|(name, e)| (name.clone(), e.index, e.instances.len())).collect()
    }

    /// All registrations, by service and id.
    pub(in crate::provider::embedded) fn registrations(&self) -> impl Iterator<Item = &Arc<Registration>> {
        self.services.values().flat_map(|entry| entry.instances.values().map(|held| &held.registration))
    }

    /// Those that serve or drain: all but the ones whose checks keep them out.
    pub(super) fn instances(&self, name: &str) -> Vec<Arc<Instance>> {
        let Some(entry) = self.services.get(name) else { return Vec::new() };
        let ready = entry.instances.values().filter(|held| held.health.serves(&held.registration.checks));
        ready.map(|held| held.instance.clone()).collect()
    }

    pub(in crate::provider::embedded) fn listing(&self, name: &str) -> Listing {
        let Some(entry) = self.services.get(name) else {
            return Listing { index: self.vanished, instances: Vec::new() };
        };
        Listing { index: entry.index, instances: entry.instances.values().map(|held| self.listed(held)).collect() }
    }

    /// One instance, if it is registered.
    pub(in crate::provider::embedded) fn instance(&self, (name, id): &Key) -> Option<Listed> {
        self.held(name, id).map(|held| self.listed(held))
    }

    fn listed(&self, held: &Held) -> Listed {
        let r = &held.registration;
        Listed {
            registration: r.clone(),
            end: self.leases.get(&(r.name.clone(), r.id.clone())),
            ready: held.health.serves(&r.checks),
            verdicts: held.health.verdicts().to_vec(),
        }
    }

    /// This index, if what changed after it is known.
    pub(in crate::provider::embedded) fn since(&self, after: Option<u64>) -> Option<u64> {
        after.filter(|after| (self.forgotten..=self.index).contains(after))
    }

    /// What changed after this index; everything if there is none, or if that is not known any more.
    pub(in crate::provider::embedded) fn changes(&self, after: Option<u64>) -> Changes {
        let known = self.since(after);
        let since = known.unwrap_or_default();
        // Newest first, down to what was known.
        let changed = self.by_index.iter().rev().take_while(|(index, _)| known.is_none() || *index > since);
        let mut services: Vec<_> = changed.map(|(_, name)| (name.clone(), self.listing(name.as_str()))).collect();
        services.sort_by(|one, other| one.0.cmp(&other.0));
        if known.is_some() {
            let gone = self.gone.iter().filter(|gone| gone.index > since && !self.services.contains_key(&gone.service));
            let left: BTreeMap<&ServiceId, u64> = gone.map(|gone| (&gone.service, gone.index)).collect();
            services
                .extend(left.into_iter().map(|(name, index)| (name.clone(), Listing { index, instances: Vec::new() })));
        }
        Changes { index: self.index, complete: known.is_none(), services }
    }
}
