//! hot path
//!
//! What a request waits for before it is sent, its body unread: a place among those its service may have in hand, and
//! an instance where there is none.
//!
//! | File | |
//! |---|---|
//! | `wait.rs` | one request's turn |
//! | `wait/place.rs` | the right to be in hand |
//! | `wait/line.rs` | one request among those that wait for a place, first come first served |
//! | `wait/held.rs` | waiting for an instance |

mod held;
mod line;
mod place;

use std::{pin::pin, sync::Arc};

use balancer::{
    ServiceVitals,
    queue::{Line, Ticket},
};
use discovery::{Bounds, Service, WarmHold};
use model::{Refusal, Tick, UpstreamKey};

use crate::{attempt::Patience, exchange::Exchange, fallback};
use held::Held;
use line::Queued;

pub use place::{Place, enter};

/// One request's turn: nothing as long as it need not wait.
#[derive(Debug, Default)]
pub struct Turn(Option<Box<Waiting>>);

/// What it waits for.
#[derive(Debug)]
enum Waiting {
    /// A place among the service's requests, or at one of its instances.
    Place(Queued),
    /// An instance.
    Instance(Held),
}

/// What is needed of a service to wait for it.
#[derive(Debug)]
struct Wanted {
    vitals: Arc<ServiceVitals>,
    bounds: Bounds,
    /// Of those who wait for the same instances.
    line: Line,
    /// Since when it has lacked instances, if it has none in whatever environment, or none that can be connected to.
    lacking: Option<Tick>,
    /// It has instances, and no connection can be made to any.
    is_cut_off: bool,
}

impl Turn {
    /// Where it stands among those who wait for a place at this service, if it does.
    pub(crate) fn ticket(&self, vitals: &Arc<ServiceVitals>) -> Option<&Ticket> {
        match self.0.as_deref() {
            Some(Waiting::Place(queued)) if queued.is_at(vitals) => Some(queued.ticket()),
            _ => None,
        }
    }

    /// There is an instance for it, and its place in line is for the next one. Whoever waits for an instance does so until one
    /// is [connected to](Self::connected): this one may be another that cannot be.
    pub fn over(&mut self) {
        if matches!(self.0.as_deref(), Some(Waiting::Place(_))) {
            self.0 = None;
        }
    }

    /// An instance has it: whoever waits for one has room.
    pub fn connected(&mut self) {
        if let Some(Waiting::Instance(held)) = self.0.as_deref_mut() {
            held.leave();
        }
    }

    /// Waits until it is worth another try of what was refused so to a request of this environment that tried these instances in
    /// vain.
    ///
    /// # Errors
    /// Why it is not: the refusal itself if nothing is to be waited for, or nobody else can be let wait; else that the
    /// wait, the client or the request's deadline ended.
    pub(crate) async fn wait(
        &mut self,
        exchange: &mut Exchange,
        patience: &mut Patience,
        environment: Option<&str>,
        tried: &[UpstreamKey],
        refusal: Refusal,
    ) -> Result<(), Refusal> {
        if !matches!(refusal, Refusal::ServiceFull | Refusal::NoInstance) {
            return Err(refusal);
        }
        // Who waits has no place: places are for those who are served.
        let place = exchange.place.take();
        let wanted = exchange.with_service(|service| Wanted::of(service, environment, tried))?;
        let place = place.filter(|place| place.is_at(&wanted.vitals));
        if refusal == Refusal::ServiceFull {
            return self.queue(exchange, patience, &wanted, place).await;
        }
        drop(place);
        self.hold(exchange, patience, &wanted).await
    }

    async fn queue(
        &mut self,
        exchange: &mut Exchange,
        patience: &mut Patience,
        wanted: &Wanted,
        place: Option<Place>,
    ) -> Result<(), Refusal> {
        // Whoever has a place lacks an instance that has room.
        let line = if place.is_some() { wanted.line } else { Line::PLACE };
        let is_new = !matches!(self.0.as_deref(), Some(Waiting::Place(queued)) if queued.is_at(&wanted.vitals));
        if is_new {
            let Some(queued) = Queued::join(wanted, line) else {
                if let Some(place) = place {
                    place.forgo();
                }
                return Err(Refusal::ServiceFull);
            };
            self.0 = Some(Box::new(Waiting::Place(queued)));
        }
        let Some(Waiting::Place(queued)) = self.0.as_deref_mut() else { return Ok(()) };
        if let Some(place) = place {
            queued.pass_on(place, line);
        }
        if is_new && queued.is_first() {
            // What is left from now on is handed over; what was left before must be looked at once more.
            return Ok(());
        }
        if let Some(place) = patience.wait(exchange, pin!(queued.called())).await?? {
            // It has none: whoever waits does not.
            exchange.place.set(place).ok();
        }
        Ok(())
    }

    async fn hold(&mut self, exchange: &mut Exchange, patience: &mut Patience, wanted: &Wanted) -> Result<(), Refusal> {
        if !matches!(self.0.as_deref(), Some(Waiting::Instance(_))) {
            if wanted.is_cut_off && matches!(wanted.bounds.hold, WarmHold::Recent(_)) && fallback::stands_by(exchange) {
                // Nobody said that it is to wait, and somebody did say what its client gets now.
                return Err(Refusal::NoInstance);
            }
            let held = Held::join(&exchange.core, wanted, patience.left()).ok_or(Refusal::NoInstance)?;
            self.0 = Some(Box::new(Waiting::Instance(held)));
            if !wanted.is_cut_off {
                // What comes from now on is told; what came before must be looked at once more.
                return Ok(());
            }
        }
        let Some(Waiting::Instance(held)) = self.0.as_deref_mut() else { return Ok(()) };
        if !held.rejoin(&exchange.core, wanted) {
            return Err(Refusal::NoInstance);
        }
        match wanted.is_cut_off {
            true => patience.wait(exchange, pin!(held.again())).await?,
            false => patience.wait(exchange, pin!(held.changed())).await?,
        }
    }
}

impl Wanted {
    fn of(service: &Service, environment: Option<&str>, tried: &[UpstreamKey]) -> Self {
        let (vitals, bounds) = (Arc::clone(&service.vitals), service.policy.bounds);
        let line = service.line(environment).besides(tried);
        let vacant = service.vitals.occupancy.vacant_since().filter(|_| service.members.is_empty());
        let cut_off = service.cut_off_since(environment);
        Self { vitals, bounds, line, lacking: vacant.or(cut_off), is_cut_off: cut_off.is_some() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_ticket_and_a_place_are_of_the_service_they_were_drawn_at() {
        let bounds = Bounds { requests: 1, queue: 1, wait: Duration::from_secs(1), ..Bounds::default() };
        let wanted =
            Wanted { vitals: Arc::default(), bounds, line: Line::instances(None), lacking: None, is_cut_off: false };
        let queued = Queued::join(&wanted, Line::PLACE).unwrap();
        let turn = Turn(Some(Box::new(Waiting::Place(queued))));
        assert!(wanted.vitals.occupancy.try_enter(1));
        let place = Place::of(&wanted.vitals);
        assert!(turn.ticket(&wanted.vitals).is_some() && place.is_at(&wanted.vitals));
        let successor = Arc::default();
        assert!(turn.ticket(&successor).is_none() && !place.is_at(&successor));
    }
}
