//! Services without any instance that the file does not name: kept for a while, so that clients who ask while one is
//! deployed anew are told to come again, then forgotten, so that names that come and go cost nothing for ever. Pure.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use model::{ServiceId, Tick};

/// How long a service may have no instance before it is forgotten: longer than a deployment takes to begin anew.
const KEPT: Duration = Duration::from_secs(600);
/// How many such services are kept; of more, those go first that are empty for longest.
pub(super) const MOST: usize = 10_000;

/// Since when services are empty.
#[derive(Debug, Default)]
pub(super) struct Vacant {
    since: HashMap<ServiceId, Tick>,
    /// The same, by time.
    order: BTreeSet<(Tick, ServiceId)>,
}

impl Vacant {
    /// Notes whether a service is empty now. The time of one that was empty before goes on.
    pub(super) fn note(&mut self, service: &ServiceId, vacant: bool, now: Tick) {
        if vacant && !self.since.contains_key(service) {
            self.since.insert(service.clone(), now);
            self.order.insert((now, service.clone()));
        } else if !vacant && let Some(since) = self.since.remove(service) {
            self.order.remove(&(since, service.clone()));
        }
    }

    /// Takes out a service that is to be forgotten.
    pub(super) fn pop(&mut self, now: Tick) -> Option<ServiceId> {
        let due = self.next().is_some_and(|next| next <= now) || self.since.len() > MOST;
        let (_, service) = if due { self.order.pop_first() } else { None }?;
        self.since.remove(&service);
        Some(service)
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Tick> {
        self.order.first().map(|(since, _)| since.after(KEPT))
    }
}
