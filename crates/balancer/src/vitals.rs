//! hot path
//!
//! What we learned of one instance: atomics written by leases, read by balancers.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use model::{Outcome, Tick};

use crate::{Admission, Cause, admission::Gate, ewma::Ewma};

/// Live state of one instance. Survives table swaps and reloads.
///
/// Written by the leases of all cores, and read by all. Every field stands alone and guards no other memory, so all
/// accesses are relaxed. With the counts of an [`Arc`](std::sync::Arc) it has 64 bytes, which mimalloc puts on a cache
/// line of their own: what one instance's requests write must not slow down the reading of another. Demanding the
/// alignment instead would double the size.
#[derive(Debug, Default)]
pub struct Vitals {
    /// Written by `begin`, `try_begin` and `end`; read by balancers at each pick.
    in_flight: AtomicU32,
    /// Written by `end` and by a `try_begin` that takes the probe; read by balancers at each pick.
    gate: Gate,
    /// Written by `end`; read by the admin page, and by balancers that go by latency.
    latency: Ewma,
    /// Written by `end`, read by the admin page.
    requests: AtomicU64,
    /// Written by `end`, read by the admin page.
    failures: AtomicU64,
}

/// What became of all attempts so far, for the admin page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Attempts that are over, however they ended.
    pub requests: u64,
    /// Those the instance failed: no connection, refused, reset, timed out, protocol broken. An answer is none, whatever
    /// its status, and neither is an attempt that we or the client gave up.
    pub failures: u64,
}

impl Vitals {
    /// A request begins, whatever the state of the instance.
    pub fn begin(&self) {
        self.in_flight.fetch_add(1, Relaxed);
    }

    /// A request begins if the instance takes requests: always while it is in, and exactly one when a rest is over,
    /// as its probe. On `false` nothing began: pick another, or [`begin`](Self::begin) if there is none.
    #[must_use]
    pub fn try_begin(&self, now: Tick) -> bool {
        let entered = self.gate.enter(now);
        if entered {
            self.begin();
        }
        entered
    }

    /// A request that began is over. `elapsed` is the time to the response head, or to giving up; `now` is the time of
    /// the call.
    pub fn end(&self, outcome: Outcome, elapsed: Duration, now: Tick) {
        let began = Tick(now.0.saturating_sub(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)));
        self.requests.fetch_add(1, Relaxed);
        match outcome {
            Outcome::Answered(status) => {
                // A server's error that comes fast is no quick answer.
                if status < 500 {
                    self.latency.observe(elapsed, now)
                } else {
                    self.latency.failed(elapsed, now)
                }
                self.gate.succeed();
            }
            Outcome::ConnectFailed => {
                self.failures.fetch_add(1, Relaxed);
                self.gate.fail(Cause::Connect, now);
            }
            // It took at least this long: without that, a hung instance behind impatient clients looks quick for ever.
            Outcome::Abandoned => {
                self.latency.at_least(elapsed, now);
                self.gate.give_back(began, now);
            }
            Outcome::TimedOut => {
                self.failures.fetch_add(1, Relaxed);
                self.latency.at_least(elapsed, now);
                self.gate.give_back(began, now);
            }
            Outcome::Refused | Outcome::Reset | Outcome::Protocol => {
                self.failures.fetch_add(1, Relaxed);
                self.latency.failed(elapsed, now);
                self.gate.give_back(began, now);
            }
        }
        // Last, so that who sees the request gone sees what it left. Saturating: an `end` too many must not make the
        // instance look like the busiest of all for as long as the process runs.
        let _ = self.in_flight.fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1));
    }

    /// Requests in flight.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// Whether new requests should be sent there. One load while all is well.
    #[must_use]
    pub fn admits(&self, now: Tick) -> bool {
        self.gate.admits(now)
    }

    /// Why it does or does not admit, for display.
    #[must_use]
    pub fn state(&self, now: Tick) -> Admission {
        self.gate.state(now)
    }

    /// How fast it is, for balancers.
    pub(crate) fn ewma(&self) -> &Ewma {
        &self.latency
    }

    /// Average time to the response head, leaning to the worst; failures count as slow answers. `None` before the first.
    #[must_use]
    pub fn latency(&self) -> Option<Duration> {
        self.latency.get()
    }

    /// What became of all attempts so far. The two numbers are read one after the other.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let failures = self.failures.load(Relaxed);
        Totals { requests: self.requests.load(Relaxed), failures }
    }
}
