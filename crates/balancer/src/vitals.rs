//! What we learned of one instance: atomics written by leases, read by balancers.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use model::{Outcome, Tick};

/// Live state of one instance. Survives table swaps and reloads.
#[derive(Debug, Default)]
pub struct Vitals {
    in_flight: AtomicU32,
}

impl Vitals {
    /// A request begins.
    pub fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// A request that began is over. `elapsed` is the time to the response head, or to giving up.
    pub fn end(&self, _outcome: Outcome, _elapsed: Duration, _now: Tick) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// Requests in flight.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Whether new requests may be sent there.
    pub fn admits(&self, _now: Tick) -> bool {
        true
    }
}
