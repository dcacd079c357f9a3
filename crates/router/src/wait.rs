//! hot path
//!
//! What a request waits for before it is sent, its body unread: a place among those its service may have in hand, and
//! an instance where there is none.
//!
//! | File | |
//! |---|---|
//! | `wait.rs` | one request's turn |
//! | `wait/place.rs` | the right to be in hand, and to be in flight to one instance |
//! | `wait/line.rs` | who waits for a place on this core, first come first served |
//! | `wait/held.rs` | waiting for an instance |

mod held;
mod line;
mod place;

use std::{pin::pin, sync::Arc};

use balancer::ServiceVitals;
use discovery::{Bounds, Service};
use model::Refusal;
use tokio::time::Instant;

use crate::{attempt::Patience, exchange::Exchange};
use held::Held;
use line::Queued;

pub use line::Lines;
pub use place::{Place, enter, lease_within};

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
    /// No instance, in whatever environment.
    is_vacant: bool,
}

impl Turn {
    /// Whether it waits for a place, and nobody on its core came before.
    #[must_use]
    pub fn is_first(&self) -> bool {
        matches!(self.0.as_deref(), Some(Waiting::Place(queued)) if queued.is_first())
    }

    /// It got what it waited for.
    pub fn over(&mut self) {
        self.0 = None;
    }

    /// Waits until it is worth another try of what was refused so.
    ///
    /// # Errors
    /// Why it is not: the refusal itself if nothing is to be waited for, or nobody else can be let wait; else that the
    /// wait, the client or the request's deadline ended.
    pub(crate) async fn wait(
        &mut self,
        exchange: &mut Exchange,
        patience: &mut Patience,
        refusal: Refusal,
    ) -> Result<(), Refusal> {
        if !matches!(refusal, Refusal::ServiceFull | Refusal::NoInstance) {
            return Err(refusal);
        }
        // Who waits has no place: places are for those who are served.
        if let Some(place) = exchange.place.take() {
            place.forgo();
        }
        let name = exchange.asked().ok_or(Refusal::NoRoute)?;
        let wanted = exchange.core.table(|table| table.exposed(name).map(|service| Wanted::of(service)));
        let wanted = wanted.ok_or(Refusal::UnknownService)?;
        match refusal {
            Refusal::ServiceFull => self.queue(exchange, patience, &wanted).await,
            _ => self.hold(exchange, patience, &wanted).await,
        }
    }

    async fn queue(
        &mut self,
        exchange: &mut Exchange,
        patience: &mut Patience,
        wanted: &Wanted,
    ) -> Result<(), Refusal> {
        if !matches!(self.0.as_deref(), Some(Waiting::Place(_))) {
            let until = Instant::now() + wanted.bounds.wait;
            let queued = Queued::join(&exchange.core.lines, &wanted.vitals, wanted.bounds.queue, until);
            self.0 = Some(Box::new(Waiting::Place(queued.ok_or(Refusal::ServiceFull)?)));
        }
        let Some(Waiting::Place(queued)) = self.0.as_deref_mut() else { return Ok(()) };
        patience.wait(exchange, pin!(queued.called())).await?
    }

    async fn hold(&mut self, exchange: &mut Exchange, patience: &mut Patience, wanted: &Wanted) -> Result<(), Refusal> {
        let Some(Waiting::Instance(held)) = self.0.as_deref_mut() else {
            let held = Held::join(&exchange.core, wanted).ok_or(Refusal::NoInstance)?;
            self.0 = Some(Box::new(Waiting::Instance(held)));
            // What comes from now on is told; what came before must be looked at once more.
            return Ok(());
        };
        patience.wait(exchange, pin!(held.changed())).await?
    }
}

impl Wanted {
    fn of(service: &Service) -> Self {
        let (vitals, bounds) = (Arc::clone(&service.vitals), service.policy.bounds);
        Self { vitals, bounds, is_vacant: service.members.is_empty() }
    }
}
