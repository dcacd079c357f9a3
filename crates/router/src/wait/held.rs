//! Waiting for an instance where there is none: a deploy that starts after the old instances are gone, a service that
//! was scaled to zero, the first seconds after our own start. Or where none can be connected to: the only one restarts.

use std::{rc::Rc, sync::Arc, time::Duration};

use balancer::ServiceVitals;
use model::Refusal;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout_at},
};
use transport::clock;

use super::Wanted;
use crate::core::Core;

/// Requests that wait for one service, over all cores: enough for a page's worth from some clients, and what its first
/// instance can take at once.
const OF_A_SERVICE: u32 = 64;
/// Requests that wait on one core, whatever for.
const OF_A_CORE: u32 = 1024;

/// How often each tries again to connect to an instance where that was not possible. With all that may wait for one service
/// that is some three hundred connections a second, to a port that refuses them.
const AGAIN: Duration = Duration::from_millis(200);

/// A request that waits for an instance.
#[derive(Debug)]
pub(super) struct Held {
    core: Rc<Core>,
    vitals: Arc<ServiceVitals>,
    tables: watch::Receiver<u64>,
    until: Instant,
}

impl Held {
    /// Joins those who wait, if that may help and there is room.
    pub(super) fn join(core: &Rc<Core>, wanted: &Wanted) -> Option<Self> {
        let now = clock::tick();
        let wait = wanted.bounds.hold.patience(wanted.lacking.map(|since| now.since(since)))?;
        let held = core.held.get();
        if held >= OF_A_CORE || !wanted.vitals.occupancy.try_hold(OF_A_SERVICE) {
            return None;
        }
        core.held.set(held + 1);
        let (vitals, until) = (Arc::clone(&wanted.vitals), Instant::now() + wait);
        Some(Self { core: Rc::clone(core), vitals, tables: core.tables(), until })
    }

    /// Ready when there is a table that was not seen yet.
    pub(super) async fn changed(&mut self) -> Result<(), Refusal> {
        match timeout_at(self.until, self.tables.changed()).await {
            Ok(Ok(())) => Ok(()),
            // Without discovery no table comes any more.
            _ => Err(Refusal::HoldTimeout),
        }
    }

    /// Ready when it is time to try once more whoever could not be connected to. In the end that is what is wrong: an instance is
    /// there.
    pub(super) async fn again(&mut self) -> Result<(), Refusal> {
        let next = Instant::now() + AGAIN;
        sleep_until(next.min(self.until)).await;
        if next < self.until { Ok(()) } else { Err(Refusal::NoInstance) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.vitals.occupancy.release();
        self.core.held.set(self.core.held.get() - 1);
    }
}
