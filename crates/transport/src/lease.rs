//! hot path
//!
//! The right to use one instance once.

use std::{rc::Rc, sync::Arc, time::Duration};

use model::{Outcome, Tick};

use crate::{Upstream, clock, upload::Tally};

/// The right to use one instance once: counts as in flight while it lives. Dropped unsettled, it counts as
/// [`Outcome::Abandoned`].
#[derive(Debug)]
pub struct Lease {
    upstream: Arc<Upstream>,
    began: Tick,
    /// The request's body, if it has one.
    upload: Option<Rc<Tally>>,
    /// How long the response head took.
    head: Option<Duration>,
    settled: bool,
    /// It is to be found out first whether a connection can be made.
    knock: bool,
}

impl Lease {
    /// Takes a lease now, whatever state the instance is in.
    #[must_use]
    pub fn take(upstream: Arc<Upstream>) -> Self {
        upstream.vitals.begin();
        Self::begun(upstream, clock::tick(), false)
    }

    /// A lease on what began at `now` already: the instance counts it as in flight. `knock`: to find out whether a connection
    /// can be made.
    #[must_use]
    pub fn begun(upstream: Arc<Upstream>, now: Tick, knock: bool) -> Self {
        Self { upstream, began: now, upload: None, head: None, settled: false, knock }
    }

    /// Whether it is to be found out first if a connection can be made: to an instance to which none could be.
    #[must_use]
    pub fn is_knock(&self) -> bool {
        self.knock
    }

    /// A connection could be made, and no request used it: the next one is to tell.
    pub fn reached(&mut self) {
        if !std::mem::replace(&mut self.settled, true) {
            self.upstream.vitals.reached(self.began, clock::tick());
        }
    }

    /// Nothing is sent: as if it had not been taken.
    pub fn forgo(mut self) {
        if !std::mem::replace(&mut self.settled, true) {
            self.upstream.vitals.forgo(self.began, clock::tick());
        }
    }

    /// The instance.
    #[must_use]
    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    /// The request has this body. How long its client takes for it is held against nobody.
    pub fn carries(&mut self, upload: Rc<Tally>) {
        self.upload = Some(upload);
    }

    /// The response head came now: what latency averages are made of.
    pub fn head(&mut self) {
        self.head = Some(self.waited(clock::tick()));
    }

    /// How long the instance has had all that came of the request.
    fn waited(&self, now: Tick) -> Duration {
        let moved = self.upload.as_ref().map_or(self.began, |upload| clock::at(upload.moved()).max(self.began));
        now.since(moved)
    }

    /// How long the instance took, or has taken so far.
    fn elapsed(&self, now: Tick) -> Duration {
        let unfinished = self.upload.as_ref().is_some_and(|upload| !upload.is_done());
        match self.head {
            Some(elapsed) => elapsed,
            // Half a request: no answer was due.
            None if unfinished => Duration::ZERO,
            None => self.waited(now),
        }
    }

    /// How it ended. Only the first call counts.
    pub fn settle(&mut self, outcome: Outcome) {
        if !self.settled {
            self.settled = true;
            let now = clock::tick();
            let Upstream { vitals, service_vitals, .. } = &*self.upstream;
            vitals.end(outcome, self.began, self.elapsed(now), now, &service_vitals.peers);
        }
    }

    /// The instance answered with a gateway failure, and it is not known yet whose fault that is. For the instance the
    /// exchange is over. `None` if it was over before.
    pub fn suspect(&mut self) -> Option<Suspect> {
        if std::mem::replace(&mut self.settled, true) {
            return None;
        }
        let now = clock::tick();
        let Upstream { vitals, service_vitals, .. } = &*self.upstream;
        vitals.suspect(self.elapsed(now), now, &service_vitals.peers);
        Some(Suspect { upstream: Arc::clone(&self.upstream), began: self.began, guilty: false })
    }
}

/// A gateway failure whose cause is not known yet. Dropped, it says nothing about its instance.
#[derive(Debug)]
pub struct Suspect {
    upstream: Arc<Upstream>,
    began: Tick,
    guilty: bool,
}

impl Suspect {
    /// It was the instance's fault: another one answered the same request.
    pub fn convict(mut self) {
        self.guilty = true;
    }
}

impl Drop for Suspect {
    fn drop(&mut self) {
        let Upstream { vitals, service_vitals, .. } = &*self.upstream;
        match self.guilty {
            true => vitals.convict(self.began, clock::tick(), &service_vitals.peers),
            false => vitals.acquit(self.began, clock::tick()),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.settle(Outcome::Abandoned);
    }
}

#[cfg(test)]
mod tests {
    use balancer::Vitals;
    use model::{Address, Host, InstanceId, Protocol, ServiceId};

    use super::*;
    use crate::Learned;

    const MINUTE: Duration = Duration::from_secs(60);

    fn upstream() -> Arc<Upstream> {
        let (service, id) = (ServiceId::new("pets").unwrap(), InstanceId::new("a").unwrap());
        let address = Address { host: Host::Ip([127, 0, 0, 1].into()), port: 80 };
        Arc::new(Upstream::new(service, id, address, Protocol::Http, None, Learned::default()))
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_a_client_takes_for_its_body_is_not_its_instance_s() {
        for waits in [false, true] {
            let upstream = upstream();
            let mut lease = Lease::take(Arc::clone(&upstream));
            if !waits {
                lease.carries(Tally::new(u64::MAX));
            }
            tokio::time::advance(MINUTE).await;
            drop(lease);
            let known = if waits { Some(MINUTE) } else { None };
            assert_eq!(upstream.vitals.latency(), known, "a complete request that is given up: {waits}");
            assert_eq!(upstream.vitals.in_flight(), 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_suspect_is_over_at_once_and_counts_once_it_is_convicted() {
        let upstream = upstream();
        let rules = balancer::Eject::default();
        upstream.service_vitals.peers.recount(&rules, [&*upstream.vitals, &Vitals::default()].into_iter());
        let suspect = || {
            let mut lease = Lease::take(Arc::clone(&upstream));
            let suspect = lease.suspect().expect("it was not settled");
            assert!(lease.suspect().is_none());
            assert_eq!(upstream.vitals.in_flight(), 0);
            suspect
        };
        (0..100).for_each(|_| drop(suspect()));
        assert!(upstream.vitals.admits(clock::tick()), "nobody said that it was its fault");
        (0..5).for_each(|_| suspect().convict());
        assert!(!upstream.vitals.admits(clock::tick()));
        assert_eq!(upstream.vitals.totals().requests, 105);
    }
}
