//! The operator's side: small HTTP/1.1 APIs on listeners of their own, never on those of clients.
//!
//! * [`health`]: is the router alive, is it ready.
//! * [`history`]: what happened, and why.
//! * [`metrics`]: the counters, for Prometheus.
//! * [`table`]: who serves what, as the router sees it now; [`circuit`]: why not.
//! * [`registry`]: the API by which services register themselves.
//! * [`guard`]: keeps web pages in an operator's browser away from all of that.
//! * [`drain`]: puts an instance out.
//! * [`body`]: the body of a request, read within bounds.
//! * [`fault`]: errors, in the shape clients know from the router.
//! * [`serve`](serve()): a listener that slow clients cannot hold; `stall` is what one of them may take.

pub mod body;
pub mod circuit;
pub mod drain;
pub mod fault;
pub mod guard;
pub mod health;
pub mod history;
pub mod metrics;
pub mod registry;
mod serve;
mod stall;
pub mod table;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::{net::SocketAddr, sync::Arc};

use axum::Router;
use discovery::{Operator, TableCell, freshness::Freshness, health::Findings, history::History, status::Status};
use telemetry::{load::Loads, metrics::Registry as Metrics};
use tokio::sync::watch;

pub use fault::Fault;
pub use health::Readiness;
pub use serve::serve;

/// What the admin API shows. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Admin {
    /// The current table.
    pub table: Arc<TableCell>,
    /// What the sources are doing.
    pub status: watch::Receiver<Arc<Status>>,
    /// How long changes took to be published.
    pub freshness: Arc<Freshness>,
    /// What happened.
    pub history: Arc<History>,
    /// Puts instances out, and lets them in again.
    pub operator: Operator,
    /// What active checks find.
    pub findings: Arc<Findings>,
    /// Whether the router wants new work.
    pub readiness: Arc<Readiness>,
    /// What each core has in hand.
    pub loads: Loads,
    /// The counters of the data path.
    pub metrics: Arc<Metrics>,
}

/// The admin API for a listener at this address, with what is added to it.
pub fn app(admin: Admin, more: Router, address: SocketAddr) -> Router {
    guard::around(
        fault::closed(
            health::routes()
                .merge(table::routes())
                .merge(drain::routes())
                .merge(history::routes())
                .merge(metrics::routes())
                .with_state(admin)
                .merge(more),
        ),
        address,
    )
}
