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

/// The part of what is left of a request's deadline that it waits for, at most. The rest is for whoever comes to answer it, or
/// for a fallback.
const OF_DEADLINE: f64 = 0.75;

/// A request that waits for an instance.
#[derive(Debug)]
pub(super) struct Held {
    /// Its place among those who wait; none while one that was connected to has the request.
    place: Option<HeldPlace>,
    tables: watch::Receiver<u64>,
    until: Instant,
}

/// A place among those who wait.
#[derive(Debug)]
struct HeldPlace {
    core: Rc<Core>,
    vitals: Arc<ServiceVitals>,
}

impl Held {
    /// Joins those who wait, if that may help and there is room. `left`: until the request's deadline.
    pub(super) fn join(core: &Rc<Core>, wanted: &Wanted, left: Option<Duration>) -> Option<Self> {
        let now = clock::tick();
        let wait = wanted.bounds.hold.patience(wanted.lacking.map(|since| now.since(since)))?;
        let wait = left.map_or(wait, |left| wait.min(left.mul_f64(OF_DEADLINE)));
        let place = HeldPlace::take(core, wanted)?;
        Some(Self { place: Some(place), tables: core.tables(), until: Instant::now() + wait })
    }

    /// One that waited before waits again, for as long as was left. False if there is no room any more.
    pub(super) fn rejoin(&mut self, core: &Rc<Core>, wanted: &Wanted) -> bool {
        self.place = self.place.take().or_else(|| HeldPlace::take(core, wanted));
        self.place.is_some()
    }

    /// An instance that can be connected to has the request: others may wait.
    pub(super) fn leave(&mut self) {
        self.place = None;
    }

    /// Ready when there is a table that was not seen yet.
    pub(super) async fn changed(&mut self) -> Result<(), Refusal> {
        match timeout_at(self.until, self.tables.changed()).await {
            Ok(Ok(())) => Ok(()),
            // Without discovery no table comes any more.
            _ => Err(Refusal::HoldTimeout),
        }
    }

    /// Ready when it is time to try once more whoever could not be connected to, the last time when the wait is over. In the end
    /// that is what is wrong: an instance is there.
    pub(super) async fn again(&mut self) -> Result<(), Refusal> {
        let now = Instant::now();
        if now >= self.until {
            return Err(Refusal::NoInstance);
        }
        sleep_until(self.until.min(now + AGAIN)).await;
        Ok(())
    }
}

impl HeldPlace {
    fn take(core: &Rc<Core>, wanted: &Wanted) -> Option<Self> {
        let held = core.held.get();
        if held >= OF_A_CORE || !wanted.vitals.occupancy.try_hold(OF_A_SERVICE) {
            return None;
        }
        core.held.set(held + 1);
        Some(Self { core: Rc::clone(core), vitals: Arc::clone(&wanted.vitals) })
    }
}

impl Drop for HeldPlace {
    fn drop(&mut self) {
        self.vitals.occupancy.release();
        self.core.held.set(self.core.held.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of one whose wait is shorter than the time between two tries there is one try still.
    #[tokio::test(start_paused = true)]
    async fn the_last_try_is_when_the_wait_is_over() {
        let start = Instant::now();
        for (wait, tries) in [(150, 1), (200, 1), (500, 3)] {
            let until = Instant::now() + Duration::from_millis(wait);
            let mut held = Held { place: None, tables: watch::channel(0).1, until };
            for _ in 0..tries {
                assert_eq!(held.again().await, Ok(()), "{wait} ms");
            }
            assert_eq!(Instant::now(), until);
            assert_eq!(held.again().await, Err(Refusal::NoInstance), "{wait} ms");
            assert_eq!(Instant::now(), until);
        }
        assert_eq!(start.elapsed(), Duration::from_millis(850));
    }
}
