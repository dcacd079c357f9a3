//! What every source says of every service, and how that is joined into one list. Pure: time is an argument.
//!
//! | File | |
//! |---|---|
//! | `claims.rs` | who said what of which service |
//! | `claims/claim.rs` | one source's word of one service, and what a new one changes in it |
//! | `claims/holds.rs` | how long suspects stay |
//! | `claims/join.rs` | how the words of several sources become one list |
//! | `claims/vacant.rs` | when a service nobody serves is forgotten |
//!
//! Additions act at once. A withdrawal looks like a fault of the registry when nothing remains, or when fewer than half
//! remain and nothing was added; such *suspects* leave the first choice at once and stay as last resort for a while, and with
//! them those that had left shortly before. Whoever is missing in a list of which the source says that it is a part is one too.

mod claim;
mod holds;
pub mod join;
#[cfg(test)]
mod tests;
mod vacant;

use std::{
    cmp::Ordering,
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use claim::{Claim, Heard};
use hashbrown::hash_map::Entry;
use join::Said;
use model::{Address, Exposure, Instance, InstanceId, Knowledge, ServiceId, Tick, Update};
use vacant::Vacant;

use crate::provider::Interest;

pub use claim::Diff;
pub use holds::Holds;
pub use join::{Merge, TooOld};

/// Names one running source; never used again for another, so that a late word of a removed source is not misread.
pub type SourceId = usize;

/// One instance as it stands in the joined list.
#[derive(Debug, Clone, PartialEq)]
pub struct Claimed {
    /// What the source says of it.
    pub instance: Arc<Instance>,
    /// The name of that source.
    pub source: Arc<str>,
    /// Withdrawn under suspicion, or of a word that is too old: to be used only if no other instance admits requests.
    pub resort: bool,
}

/// A source's word of one service differs from the one before.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The service.
    pub service: ServiceId,
    /// Who spoke.
    pub source: SourceId,
    /// In what.
    pub diff: Diff,
}

/// What all sources say. Written by the reconciler only.
#[derive(Debug)]
pub struct Claims {
    sources: Vec<(SourceId, Arc<str>)>,
    services: hashbrown::HashMap<ServiceId, Vec<Claim>>,
    holds: Holds,
    /// When suspects run out, and who may become one. May name services that have none any more, never misses one that has.
    deadlines: BTreeSet<(Tick, ServiceId)>,
    /// What the file means.
    interest: Interest,
    vacant: Vacant,
}

impl Claims {
    /// No claims, from these sources in order of precedence; everything is of interest.
    #[must_use]
    pub fn new(sources: Vec<(SourceId, Arc<str>)>, holds: Holds) -> Self {
        let interest = Interest { exposure: Exposure::Everything, ..Interest::default() };
        let (services, deadlines) = (hashbrown::HashMap::new(), BTreeSet::new());
        Self { sources, services, holds, deadlines, interest, vacant: Vacant::default() }
    }

    /// Takes in what a source says; returns what that changes in its word. Also a change that leaves the joined list as it
    /// was is one.
    ///
    /// An unknown answer changes no list, and neither does a source that was removed.
    pub fn apply(&mut self, source: SourceId, update: Update, now: Tick) -> Vec<Change> {
        let mut changes = Vec::new();
        if !self.sources.iter().any(|(id, _)| *id == source) {
            return changes;
        }
        match update {
            Update::Everything(lists) => {
                for service in self.services_of(source) {
                    if !lists.contains_key(&service) {
                        changes.extend(self.withdraw(source, &service, now));
                    }
                }
                for (service, list) in lists {
                    let heard = Heard { list, named: true, ..Heard::default() };
                    changes.extend(self.take(source, &service, heard, now));
                }
            }
            Update::Service { service, knowledge, deregistered: left } => {
                let (list, part) = match knowledge {
                    Knowledge::Known(list) => (list, false),
                    Knowledge::Part(list) => (list, true),
                    Knowledge::KnownEmpty => (Vec::new(), false),
                    Knowledge::Unknown(_) => return changes,
                };
                changes.extend(self.take(source, &service, Heard { list, left, named: true, part }, now));
            }
            // What it said before this process began, or before the reload, is not its to take back: it may not see it.
            Update::Forgotten(service) if self.is_inherited(source, &service) && self.interest.may_mean(&service) => {}
            Update::Forgotten(service) => changes.extend(self.forget(source, &service, now)),
            Update::Catalogue(_) | Update::Unreachable(_) | Update::Skipped { .. } => {}
        }
        changes
    }

    /// Sets which sources count, and in which order. One that goes on keeps its word, be it under another name. A new one
    /// takes over from the one of its name what that said of services of interest, until it speaks itself; what removed
    /// ones said is forgotten at once: the operator wants it so.
    pub fn arrange(&mut self, sources: Vec<(SourceId, Arc<str>)>, holds: Holds, interest: &Interest, now: Tick) {
        let is_new = |id: &SourceId| !self.sources.iter().any(|(old, _)| old == id);
        let heir = |(old, name): &(SourceId, Arc<str>)| {
            let itself = sources.iter().find(|(id, _)| id == old);
            let heir = itself.or_else(|| sources.iter().find(|(id, new)| new == name && is_new(id)))?;
            Some((*old, heir.0))
        };
        let heirs: HashMap<SourceId, SourceId> = self.sources.iter().filter_map(heir).collect();
        self.services.retain(|service, claims| {
            let wanted = is_wanted(interest, service);
            claims.retain_mut(|claim| {
                let Some(heir) = heirs.get(&claim.source) else { return false };
                claim.inherited |= *heir != claim.source;
                claim.recalled &= *heir == claim.source;
                claim.source = *heir;
                wanted || !claim.inherited
            });
            !claims.is_empty()
        });
        self.sources = sources;
        self.holds = holds;
        self.interest = interest.clone();
        // What the file named before may be forgotten now, and the other way round.
        for service in self.services.keys().cloned().collect::<Vec<_>>() {
            self.weigh(&service, now);
        }
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
        if !is_wanted(interest, service) || list.is_empty() || self.speaks_of(source, service) {
            return false;
        }
        let claim = Claim { inherited: true, recalled: true, ..Claim::new(source, list, true) };
        self.services.entry(service.clone()).or_default().push(claim);
        self.vacant.note(service, false, Tick::default());
        true
    }

    /// What is worth remembering of a source's word: its list, and who left it under suspicion, until that is settled.
    /// `None` if it has not spoken itself: then what was remembered stands.
    pub(crate) fn memorable(&self, source: SourceId, service: &ServiceId) -> Option<Vec<Arc<Instance>>> {
        let claim = self.claim(source, service).filter(|claim| !claim.inherited)?;
        Some(claim.instances.iter().chain(claim.suspects.iter().map(|s| &s.instance)).cloned().collect())
    }

    /// The list of a source, or its predecessor.
    pub(crate) fn list(&self, source: SourceId, service: &ServiceId) -> &[Arc<Instance>] {
        self.claim(source, service).map_or(&[], |claim| &claim.instances)
    }

    /// Takes what a source says of a service out, without suspicion: the router asks no longer. What the source said itself
    /// and did not take back stays, because the source may go on with it.
    pub(crate) fn let_go(&mut self, source: SourceId, service: &ServiceId, now: Tick) {
        if let Some(claims) = self.services.get_mut(service) {
            claims.retain(|c| c.source != source || !(c.inherited || c.is_empty()));
        }
        self.forget_unnamed(service, now);
    }

    /// Whether any source speaks of the service.
    pub(crate) fn knows(&self, service: &ServiceId) -> bool {
        self.services.contains_key(service)
    }

    /// Whether any source names an instance of the service, be it as last resort.
    pub(crate) fn has_instances(&self, service: &ServiceId) -> bool {
        self.services.get(service).is_some_and(|claims| !claims.iter().all(Claim::is_empty))
    }

    /// Ends the time of suspects that are due.
    pub fn expire(&mut self, now: Tick) -> Vec<Change> {
        let mut changes = Vec::new();
        while let Some((due, _)) = self.deadlines.first()
            && *due <= now
            && let Some((_, service)) = self.deadlines.pop_first()
        {
            changes.extend(self.settle(&service, now, |suspect| suspect.until <= now));
        }
        changes
    }

    /// A suspect could not be connected to, so its withdrawal was true.
    pub fn connect_failed(&mut self, service: &ServiceId, address: &Address, now: Tick) -> Vec<Change> {
        self.settle(service, now, |suspect| suspect.instance.endpoint.address == *address)
    }

    /// Forgets services that have had no instance for long and are not named by the file: whoever names services, in
    /// whatever registry, fills no memory with names of the past. Returns them.
    pub fn forget_vacant(&mut self, now: Tick) -> Vec<ServiceId> {
        let forgotten: Vec<_> = std::iter::from_fn(|| self.vacant.pop(now)).collect();
        for service in &forgotten {
            self.services.remove(service);
        }
        forgotten
    }

    /// When [`expire`](Self::expire) or [`forget_vacant`](Self::forget_vacant) has work next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Tick> {
        let suspect = self.deadlines.first().map(|(due, _)| *due);
        suspect.into_iter().chain(self.vacant.next()).min()
    }

    /// The joined list, sorted by id and address; `None` if no source speaks of the service. `too_old` says of each source
    /// whether its word is, and what becomes of it then.
    #[must_use]
    pub fn joined(
        &self,
        service: &ServiceId,
        merge: &Merge,
        too_old: impl Fn(SourceId) -> Option<TooOld>,
    ) -> Option<Vec<Claimed>> {
        let claims = self.services.get(service)?;
        let said = |(id, source): &'_ (SourceId, Arc<str>)| {
            let claim = claims.iter().find(|c| c.source == *id)?;
            Some((claim, *id, source.clone()))
        };
        let ordered: Vec<_> = self.sources.iter().filter_map(said).collect();
        let words = ordered.iter().map(|(claim, id, source)| {
            let present = claim.instances.iter().collect();
            let said = Said { source, present, suspects: claim.suspects.iter().map(|s| &s.instance).collect() };
            said.aged(too_old(*id).unwrap_or(TooOld::Serve))
        });
        Some(join::join(&words.collect::<Vec<_>>(), merge))
    }

    /// Every service any source speaks of.
    pub fn services(&self) -> impl Iterator<Item = &ServiceId> {
        self.services.keys()
    }

    /// Whether this source has said anything certain of the service, or its predecessor has.
    #[must_use]
    pub fn speaks_of(&self, source: SourceId, service: &ServiceId) -> bool {
        self.claim(source, service).is_some()
    }

    /// Whether what stands for this source is the word of its predecessor still, or was remembered.
    #[must_use]
    pub fn is_inherited(&self, source: SourceId, service: &ServiceId) -> bool {
        self.claim(source, service).is_some_and(|claim| claim.inherited)
    }

    /// Whether this source, or its predecessor, names an instance of the service.
    pub(crate) fn is_claimed(&self, source: SourceId, service: &ServiceId) -> bool {
        !self.list(source, service).is_empty()
    }

    /// The services this source, or its predecessor, has said anything certain of.
    pub(crate) fn services_of(&self, source: SourceId) -> Vec<ServiceId> {
        let mine = self.services.iter().filter(|(_, claims)| claims.iter().any(|c| c.source == source));
        mine.map(|(service, _)| service.clone()).collect()
    }

    fn claim(&self, source: SourceId, service: &ServiceId) -> Option<&Claim> {
        self.services.get(service)?.iter().find(|claim| claim.source == source)
    }

    /// Nobody asks a source about a service any longer, or it held no instance for long: no fault, so no new suspicion.
    pub(crate) fn forget(&mut self, source: SourceId, service: &ServiceId, now: Tick) -> Option<Change> {
        let left = self.claim(source, service)?.instances.iter().map(|i| i.id.clone()).collect();
        self.take(source, service, Heard { left, ..Heard::default() }, now)
    }

    /// A source does not speak of a service any more; what that changes.
    fn withdraw(&mut self, source: SourceId, service: &ServiceId, now: Tick) -> Option<Change> {
        self.take(source, service, Heard::default(), now)
    }

    /// Takes one word into its claim; what that changes.
    fn take(&mut self, source: SourceId, service: &ServiceId, heard: Heard, now: Tick) -> Option<Change> {
        let name = self.sources.iter().find(|(id, _)| *id == source).map_or("", |(_, name)| name);
        let until = now.after(self.holds.of(name, service));
        let claims = self.services.entry(service.clone()).or_default();
        let mut remembers = false;
        let (diff, other) = match claims.iter_mut().find(|c| c.source == source) {
            Some(claim) => {
                let other = claim.named != heard.named;
                let diff = claim.hear(heard, until);
                remembers = claim.remembers() && !diff.removed.is_empty();
                (diff, other)
            }
            None => {
                let claim = Claim::new(source, heard.list, heard.named);
                let diff = Diff { added: claim.instances.clone(), ..Diff::default() };
                // Nearly all have one, and a list that grows begins with room for four.
                claims.reserve_exact(1);
                claims.push(claim);
                (diff, true)
            }
        };
        if remembers || !diff.suspected.is_empty() {
            self.deadlines.insert((until, service.clone()));
        }
        self.forget_unnamed(service, now);
        (other || !diff.is_empty()).then(|| Change { service: service.clone(), source, diff })
    }

    fn settle(&mut self, service: &ServiceId, now: Tick, gone: impl Fn(&claim::Suspect) -> bool) -> Vec<Change> {
        let Some(claims) = self.services.get_mut(service) else { return Vec::new() };
        let mut changes = Vec::new();
        for claim in claims {
            let settled = claim.settle(&gone);
            if !settled.is_empty() {
                let diff = Diff { settled, ..Diff::default() };
                changes.push(Change { service: service.clone(), source: claim.source, diff });
            }
        }
        self.forget_unnamed(service, now);
        changes
    }

    fn forget_unnamed(&mut self, service: &ServiceId, now: Tick) {
        if let Entry::Occupied(mut claims) = self.services.entry(service.clone()) {
            claims.get_mut().retain(|c| c.named || !c.suspects.is_empty());
            if claims.get().is_empty() {
                claims.remove();
            }
        }
        self.weigh(service, now);
    }

    /// Notes whether a service is one to be forgotten.
    fn weigh(&mut self, service: &ServiceId, now: Tick) {
        let claims = self.services.get(service).filter(|_| !self.interest.services.contains(service));
        let vacant = claims.is_some_and(|claims| claims.iter().all(Claim::is_empty));
        self.vacant.note(service, vacant, now);
    }
}

/// Whether there is any use for what a source says of the service.
fn is_wanted(interest: &Interest, service: &ServiceId) -> bool {
    interest.exposure.needs_catalog() || interest.services.contains(service)
}

/// What makes two descriptions speak of the same instance, and the order of lists.
fn rank(instance: &Instance) -> (&InstanceId, &Address) {
    (&instance.id, &instance.endpoint.address)
}

/// The order of lists. Most of what two lists have is the same piece of memory.
pub(crate) fn order(one: &Arc<Instance>, other: &Arc<Instance>) -> Ordering {
    if Arc::ptr_eq(one, other) { Ordering::Equal } else { rank(one).cmp(&rank(other)) }
}
