//! hot path
//!
//! The right to be in hand: every request takes a place at its service before an instance is chosen, and keeps it until
//! its answer is complete.

use std::sync::Arc;

use balancer::{
    ServiceVitals,
    queue::{Line, Ticket},
};
use discovery::Service;
use model::{Refusal, UpstreamKey};

use super::Turn;
use crate::exchange::Exchange;

/// One request's place at its service, given back when dropped: then whoever has waited longest is handed it.
#[derive(Debug)]
pub struct Place {
    vitals: Arc<ServiceVitals>,
    offered: bool,
}

/// Takes a place for this request, unless it has one. Whoever waits for what this one needs was there before: for a place,
/// or for the instances it may reach besides those that were tried.
///
/// # Errors
/// [`Refusal::ServiceFull`]. If it has a place then, it is the instances that others wait for.
pub fn enter(
    exchange: &Exchange,
    service: &Service,
    environment: Option<&str>,
    tried: &[UpstreamKey],
    turn: &Turn,
) -> Result<(), Refusal> {
    let ServiceVitals { occupancy, queue, .. } = &*service.vitals;
    let (place, waiting) = (exchange.place.get(), queue.lines());
    if place.is_some_and(|place| !place.is_at(&service.vitals)) {
        // Of a service that was forgotten and came back since: it waits anew, without it.
        return Err(Refusal::ServiceFull);
    }
    let (had_place, ticket) = (place.is_some(), turn.ticket(&service.vitals));
    if !had_place {
        let is_next = !waiting.may_have(Line::PLACE) || queue.is_next(Line::PLACE, ticket);
        let most = service.policy.bounds.requests;
        let enters = || match waiting.is_empty() {
            true => occupancy.try_enter(most),
            false => occupancy.try_enter_in_turn(most),
        };
        if !(is_next && enters()) {
            return Err(Refusal::ServiceFull);
        }
        // There is none, as was just seen.
        exchange.place.set(Place::of(&service.vitals)).ok();
    }
    // One that does not wait and has a place was sent to an instance before.
    if waiting.is_empty() || had_place && ticket.is_none() {
        return Ok(());
    }
    let line = service.line(environment).besides(tried);
    let is_next = !waiting.may_have(line) || queue.is_next(line, ticket);
    if is_next { Ok(()) } else { Err(Refusal::ServiceFull) }
}

impl Place {
    /// A place that is counted already.
    pub(super) fn of(vitals: &Arc<ServiceVitals>) -> Self {
        Self { vitals: Arc::clone(vitals), offered: true }
    }

    /// Whether it is one at this service. A service that was forgotten and came back is another one.
    pub(super) fn is_at(&self, vitals: &Arc<ServiceVitals>) -> bool {
        Arc::ptr_eq(&self.vitals, vitals)
    }

    /// Gives it back unused. Whoever came before has no use for it either, so that it is the turn of those who came after.
    pub(super) fn pass_on(self, after: &Ticket) {
        let vitals = Arc::clone(&self.vitals);
        self.forgo();
        vitals.queue.offer(&vitals.occupancy, Some(after));
    }

    /// Gives it back unused, and nobody is handed it: all that wait were before this one, and had no use for it.
    pub(super) fn forgo(mut self) {
        self.offered = false;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let ServiceVitals { occupancy, queue, .. } = &*self.vitals;
        occupancy.leave();
        if self.offered && !queue.is_empty() {
            queue.offer(occupancy, None);
        }
    }
}
