//! What every source says of every service, and how that is joined into one list. Pure: time is an argument.
//!
//! Sources are joined as a union in the order of the configuration: an instance (same address and port) that two
//! sources name counts once, as the first of them describes it.
//!
//! Additions act at once. A withdrawal looks like a fault of the registry when nothing remains, or when fewer than half
//! remain and nothing was added; such *suspects* leave the first choice at once and stay as last resort for a while.

use std::{
    collections::{BTreeSet, HashMap, HashSet, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use crate::provider::Interest;
use model::{Address, Instance, InstanceId, Knowledge, ServiceId, Tick, Update};

#[cfg(test)]
mod tests;

/// Names one running source; never used again for another, so that a late word of a removed source is not misread.
pub type SourceId = usize;

/// One instance as it stands in the joined list.
#[derive(Debug, Clone, PartialEq)]
pub struct Claimed {
    /// What the source says of it.
    pub instance: Arc<Instance>,
    /// The name of that source.
    pub source: Arc<str>,
    /// Withdrawn under suspicion: to be used only if no other instance admits requests.
    pub resort: bool,
}

/// What all sources say. Written by the reconciler only.
#[derive(Debug)]
pub struct Claims {
    sources: Vec<(SourceId, Arc<str>)>,
    services: HashMap<ServiceId, Vec<Claim>>,
    hold: Duration,
    /// When suspects run out. May name services that have none any more, never misses one that has.
    deadlines: BTreeSet<(Tick, ServiceId)>,
}

/// What one source says of one service.
#[derive(Debug)]
struct Claim {
    source: SourceId,
    /// Sorted by id and address, so that equal lists compare equal in whatever order they came.
    instances: Vec<Arc<Instance>>,
    suspects: Vec<Suspect>,
    /// Whether the source still speaks of the service; if not, the claim goes with its last suspect.
    named: bool,
    /// The word of the source's predecessor, or what was remembered, until the source speaks itself.
    inherited: bool,
}

#[derive(Debug)]
struct Suspect {
    instance: Arc<Instance>,
    until: Tick,
}

impl Claims {
    /// No claims, from these sources in order of precedence. Suspects stay for `hold`.
    #[must_use]
    pub fn new(sources: Vec<(SourceId, Arc<str>)>, hold: Duration) -> Self {
        Self { sources, services: HashMap::new(), hold, deadlines: BTreeSet::new() }
    }

    /// Takes in what a source says; returns the services whose joined list may have changed.
    ///
    /// An unknown answer changes no list, and neither does a source that was removed.
    pub fn apply(&mut self, source: SourceId, update: Update, now: Tick) -> BTreeSet<ServiceId> {
        let mut touched = BTreeSet::new();
        if !self.sources.iter().any(|(id, _)| *id == source) {
            return touched;
        }
        match update {
            Update::Everything(lists) => {
                for service in self.services_of(source) {
                    if !lists.contains_key(&service) && self.replace(source, &service, Vec::new(), &[], false, now) {
                        touched.insert(service);
                    }
                }
                for (service, list) in lists {
                    if self.replace(source, &service, list, &[], true, now) {
                        touched.insert(service);
                    }
                }
            }
            Update::Service { service, knowledge, deregistered } => {
                let list = match knowledge {
                    Knowledge::Known(list) => list,
                    Knowledge::KnownEmpty => Vec::new(),
                    Knowledge::Unknown(_) => return touched,
                };
                if self.replace(source, &service, list, &deregistered, true, now) {
                    touched.insert(service);
                }
            }
            Update::Catalogue(services) => {
                for service in self.services_of(source) {
                    let inherited = self.is_inherited(source, &service) && !services.contains(&service);
                    if inherited && self.replace(source, &service, Vec::new(), &[], false, now) {
                        touched.insert(service);
                    }
                }
            }
            Update::Unreachable(_) | Update::Skipped { .. } => {}
        }
        touched
    }

    /// Sets which sources count, and in which order. A source takes over from the one of its name what that said of
    /// services of interest, until it speaks itself; what removed ones said is forgotten at once: the operator wants it
    /// so.
    pub fn arrange(&mut self, sources: Vec<(SourceId, Arc<str>)>, hold: Duration, interest: &Interest) {
        let heir = |(old, name): &(SourceId, Arc<str>)| Some((*old, sources.iter().find(|(_, n)| n == name)?.0));
        let heirs: HashMap<SourceId, SourceId> = self.sources.iter().filter_map(heir).collect();
        self.services.retain(|service, claims| {
            let wanted = interest.exposure.needs_catalog() || interest.services.contains(service);
            claims.retain_mut(|claim| {
                let Some(heir) = heirs.get(&claim.source) else { return false };
                claim.inherited |= *heir != claim.source;
                claim.source = *heir;
                wanted || !claim.inherited
            });
            !claims.is_empty()
        });
        self.sources = sources;
        self.hold = hold;
    }

    /// Takes in what a source is remembered to have said, until it speaks itself; only of services of interest. Returns
    /// whether it counts.
    pub(crate) fn recall(
        &mut self,
        source: SourceId,
        service: &ServiceId,
        list: Vec<Arc<Instance>>,
        interest: &Interest,
    ) -> bool {
        let wanted = interest.exposure.needs_catalog() || interest.services.contains(service);
        if !wanted || list.is_empty() || self.speaks_of(source, service) {
            return false;
        }
        let claim = Claim { source, instances: sorted(list), suspects: Vec::new(), named: true, inherited: true };
        self.services.entry(service.clone()).or_default().push(claim);
        true
    }

    /// What is worth remembering of a source's word: its list, and who left it under suspicion, until that is settled.
    /// `None` if it has not spoken itself: then what was remembered stands.
    pub(crate) fn memorable(&self, source: SourceId, service: &ServiceId) -> Option<Vec<Arc<Instance>>> {
        let claims = self.services.get(service).map_or(&[][..], Vec::as_slice);
        match claims.iter().find(|c| c.source == source) {
            Some(claim) if claim.inherited => None,
            Some(claim) => {
                Some(claim.instances.iter().chain(claim.suspects.iter().map(|s| &s.instance)).cloned().collect())
            }
            None => Some(Vec::new()),
        }
    }

    /// Ends the time of suspects that are due; returns the services touched.
    pub fn expire(&mut self, now: Tick) -> BTreeSet<ServiceId> {
        let mut touched = BTreeSet::new();
        while let Some((due, _)) = self.deadlines.first()
            && *due <= now
            && let Some((_, service)) = self.deadlines.pop_first()
        {
            if self.drop_suspects(&service, |s| s.until <= now) {
                touched.insert(service);
            }
        }
        touched
    }

    /// A suspect could not be connected to, so its withdrawal was true. Returns whether the list changed.
    pub fn connect_failed(&mut self, service: &ServiceId, address: &Address) -> bool {
        self.drop_suspects(service, |s| s.instance.endpoint.address == *address)
    }

    /// When [`expire`](Self::expire) has work next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Tick> {
        self.deadlines.first().map(|(due, _)| *due)
    }

    /// The joined list, sorted by id and address; `None` if no source speaks of the service.
    #[must_use]
    pub fn joined(&self, service: &ServiceId) -> Option<Vec<Claimed>> {
        let claims = self.services.get(service)?;
        let ordered =
            || self.sources.iter().filter_map(|(id, name)| claims.iter().find(|c| c.source == *id).map(|c| (c, name)));
        let claimed = |instance: &Arc<Instance>, source: &Arc<str>, resort| Claimed {
            instance: instance.clone(),
            source: source.clone(),
            resort,
        };
        // What an earlier source has at an address counts; within one source each instance stands for itself.
        let mut seen: HashSet<&Address> = HashSet::new();
        let mut list: Vec<Claimed> = Vec::new();
        for (claim, name) in ordered() {
            let own = claim.instances.iter().filter(|i| !seen.contains(&i.endpoint.address));
            list.extend(own.map(|instance| claimed(instance, name, false)));
            seen.extend(claim.instances.iter().map(|i| &i.endpoint.address));
        }
        for (claim, name) in ordered() {
            let own = claim.suspects.iter().map(|s| &s.instance).filter(|i| !seen.contains(&i.endpoint.address));
            list.extend(own.map(|instance| claimed(instance, name, true)));
            seen.extend(claim.suspects.iter().map(|s| &s.instance.endpoint.address));
        }
        list.sort_by(|a, b| rank(&a.instance).cmp(&rank(&b.instance)));
        Some(list)
    }

    /// Every service any source speaks of.
    pub fn services(&self) -> impl Iterator<Item = &ServiceId> {
        self.services.keys()
    }

    /// Whether this source has said anything certain of the service, or its predecessor has.
    #[must_use]
    pub fn speaks_of(&self, source: SourceId, service: &ServiceId) -> bool {
        self.services.get(service).is_some_and(|claims| claims.iter().any(|c| c.source == source))
    }

    /// Whether what stands for this source is the word of its predecessor still, or was remembered.
    #[must_use]
    pub fn is_inherited(&self, source: SourceId, service: &ServiceId) -> bool {
        self.services.get(service).is_some_and(|claims| claims.iter().any(|c| c.source == source && c.inherited))
    }

    /// The services this source, or its predecessor, has said anything certain of.
    pub(crate) fn services_of(&self, source: SourceId) -> Vec<ServiceId> {
        let mine = self.services.iter().filter(|(_, claims)| claims.iter().any(|c| c.source == source));
        mine.map(|(service, _)| service.clone()).collect()
    }

    /// Replaces the list of one claim; returns whether anything changed.
    fn replace(
        &mut self,
        source: SourceId,
        service: &ServiceId,
        list: Vec<Arc<Instance>>,
        deregistered: &[InstanceId],
        named: bool,
        now: Tick,
    ) -> bool {
        let claims = self.services.entry(service.clone()).or_default();
        let until = now.after(self.hold);
        let (changed, suspects) = match claims.iter_mut().find(|c| c.source == source) {
            Some(claim) => {
                let changed = claim.replace(sorted(list), deregistered, until) || claim.named != named;
                claim.named = named;
                (changed, claim.suspects.iter().any(|s| s.until == until))
            }
            None => {
                claims.push(Claim { source, instances: sorted(list), suspects: Vec::new(), named, inherited: false });
                (true, false)
            }
        };
        if suspects {
            self.deadlines.insert((until, service.clone()));
        }
        self.forget_unnamed(service);
        changed
    }

    fn drop_suspects(&mut self, service: &ServiceId, mut gone: impl FnMut(&Suspect) -> bool) -> bool {
        let Some(claims) = self.services.get_mut(service) else { return false };
        let mut changed = false;
        for claim in claims {
            let before = claim.suspects.len();
            claim.suspects.retain(|s| !gone(s));
            changed |= claim.suspects.len() != before;
        }
        self.forget_unnamed(service);
        changed
    }

    fn forget_unnamed(&mut self, service: &ServiceId) {
        if let Entry::Occupied(mut claims) = self.services.entry(service.clone()) {
            claims.get_mut().retain(|c| c.named || !c.suspects.is_empty());
            if claims.get().is_empty() {
                claims.remove();
            }
        }
    }
}

impl Claim {
    fn replace(&mut self, list: Vec<Arc<Instance>>, deregistered: &[InstanceId], until: Tick) -> bool {
        let suspects = self.suspects.len();
        self.suspects
            .retain(|s| !deregistered.contains(&s.instance.id) && !list.iter().any(|i| rank(i) == rank(&s.instance)));
        let ended = self.suspects.len() != suspects;
        // Another list because of other settings is no fault of a registry.
        let inherited = std::mem::take(&mut self.inherited);
        if self.instances == list {
            return ended || inherited;
        }
        let old: HashSet<_> = self.instances.iter().map(|i| rank(i)).collect();
        let new: HashSet<_> = list.iter().map(|i| rank(i)).collect();
        let added = !new.is_subset(&old);
        let unsaid = |i: &&Arc<Instance>| !deregistered.contains(&i.id);
        let left = self.instances.iter().filter(|i| !new.contains(&rank(i))).filter(unsaid);
        if !inherited && is_suspect(self.instances.iter().filter(unsaid).count(), list.len(), added) {
            self.suspects.extend(left.map(|i| Suspect { instance: i.clone(), until }));
        }
        self.instances = list;
        true
    }
}

/// Whether a withdrawal that leaves `remaining` of `before` instances looks like a fault of the registry.
fn is_suspect(before: usize, remaining: usize, added: bool) -> bool {
    remaining == 0 || (remaining * 2 < before && !added)
}

/// What makes two descriptions speak of the same instance, and the order of lists.
fn rank(instance: &Instance) -> (&InstanceId, &Address) {
    (&instance.id, &instance.endpoint.address)
}

fn sorted(mut list: Vec<Arc<Instance>>) -> Vec<Arc<Instance>> {
    list.sort_by(|a, b| rank(a).cmp(&rank(b)));
    list
}
