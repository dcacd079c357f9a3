//! hot path
//!
//! The right to use one instance once.

use std::sync::Arc;

use model::{Outcome, Tick};

use crate::{Upstream, clock};

/// The right to use one instance once: counts as in flight while it lives. Dropped unsettled, it counts as
/// [`Outcome::Abandoned`].
#[derive(Debug)]
pub struct Lease {
    upstream: Arc<Upstream>,
    began: Tick,
    head: Option<Tick>,
    settled: bool,
}

impl Lease {
    /// Takes a lease now, whatever state the instance is in.
    #[must_use]
    pub fn take(upstream: Arc<Upstream>) -> Self {
        upstream.vitals.begin();
        Self { upstream, began: clock::tick(), head: None, settled: false }
    }

    /// Takes a lease at `now` if the instance may be sent requests. One that was out and is due again admits a single
    /// request to find out; for all others that is a no.
    #[must_use]
    pub fn try_take(upstream: &Arc<Upstream>, now: Tick) -> Option<Self> {
        let admitted = upstream.vitals.try_begin(now);
        admitted.then(|| Self { upstream: Arc::clone(upstream), began: now, head: None, settled: false })
    }

    /// The instance.
    #[must_use]
    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    /// The response head came now: what latency averages are made of.
    pub fn head(&mut self) {
        self.head = Some(clock::tick());
    }

    /// How it ended. Only the first call counts.
    pub fn settle(&mut self, outcome: Outcome) {
        if !self.settled {
            self.settled = true;
            let now = clock::tick();
            let elapsed = self.head.unwrap_or(now).since(self.began);
            let Upstream { vitals, service_vitals, .. } = &*self.upstream;
            vitals.end(outcome, self.began, elapsed, now, &service_vitals.peers);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.settle(Outcome::Abandoned);
    }
}
