//! When what is known of a service becomes older than its policy allows. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use model::{ServiceId, Tick};

use crate::{
    Policies,
    claims::{Claims, SourceId, TooOld},
    status::{Source, Status},
};

/// The services whose words grow old, by the time they are too old.
#[derive(Debug, Default)]
pub(super) struct Overdue {
    deadlines: BTreeSet<(Tick, SourceId, ServiceId)>,
    /// The one deadline of each: a source that comes and goes all the time does not add to them.
    of: BTreeMap<(SourceId, ServiceId), Tick>,
}

impl Overdue {
    /// Looks at what a source said: of what grows old the deadline is noted. Costs nothing if no policy asks for it.
    pub(super) fn watch(&mut self, source: &Source, claims: &Claims, policies: &Policies, now: Tick) {
        if !policies.limits_age() {
            return;
        }
        for service in claims.services_of(source.id) {
            self.watch_one(source, &service, policies, now);
        }
    }

    /// The same for one service.
    pub(super) fn watch_one(&mut self, source: &Source, service: &ServiceId, policies: &Policies, now: Tick) {
        if let (Some((after, _)), Some(age)) = (rule(policies, service), source.age(service, now)) {
            let at = now.after(after.saturating_sub(age));
            if let Some(before) = self.of.insert((source.id, service.clone()), at) {
                self.deadlines.remove(&(before, source.id, service.clone()));
            }
            self.deadlines.insert((at, source.id, service.clone()));
        }
    }

    /// The services that are due: they may be too old now, or have been renewed.
    pub(super) fn due(&mut self, now: Tick) -> Vec<ServiceId> {
        let mut due = Vec::new();
        while let Some((at, ..)) = self.deadlines.first()
            && *at <= now
            && let Some((_, source, service)) = self.deadlines.pop_first()
        {
            self.of.remove(&(source, service.clone()));
            due.push(service);
        }
        due
    }

    /// When [`due`](Self::due) has something next.
    pub(super) fn next(&self) -> Option<Tick> {
        self.deadlines.first().map(|(at, ..)| *at)
    }
}

/// The services that have to be looked at again because a source answers: those that may have been too old.
pub(super) fn renewed(source: SourceId, claims: &Claims, policies: &Policies) -> Vec<ServiceId> {
    if !policies.limits_age() {
        return Vec::new();
    }
    claims.services_of(source).into_iter().filter(|service| rule(policies, service).is_some()).collect()
}

/// What becomes of a source's word of a service, if it is too old.
pub(super) fn too_old(
    status: &Status,
    source: SourceId,
    service: &ServiceId,
    policies: &Policies,
    now: Tick,
) -> Option<TooOld> {
    let (after, what) = rule(policies, service)?;
    (status.source(source)?.age(service, now)? >= after).then_some(what)
}

/// The policy of a service, if it has one that does anything.
fn rule(policies: &Policies, service: &ServiceId) -> Option<(Duration, TooOld)> {
    policies.of(service).rules.max_stale.filter(|(_, what)| *what != TooOld::Serve)
}
