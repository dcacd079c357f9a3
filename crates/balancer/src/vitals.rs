//! hot path
//!
//! What we learned of one instance: atomics written by leases, read by balancers.

use std::{
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

use model::{Outcome, Tick};

use crate::{
    Admission, Cause, Entry, Hold, Peers, Sample, Stake,
    admission::{Gate, Side},
    ewma::Ewma,
    streak::Streak,
    tally::{Reading, Tally},
};

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
    /// Failures in a row. Written by `end` of a request that failed, and of the first that succeeds after it.
    streak: Streak,
    /// Written by `end`, by a `try_begin` that takes the probe, and by `hold` and `release`; read by balancers at each pick.
    gate: Gate,
    /// Written by `end`; read by the admin page, and by balancers that go by latency.
    latency: Ewma,
    /// Written by `end`; read by the admin page, and by whoever judges instances against each other.
    ended: Tally,
    /// What [`Totals`] calls failures, modulo 2^32. Written by `end` of a request that failed, read by the admin page.
    failures: AtomicU32,
    /// What counts against it when it is judged against others, modulo 2^32. Written by `end` of a request that failed.
    errors: AtomicU32,
}

/// What became of all attempts so far, for the admin page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Attempts that are over, however they ended.
    pub requests: u64,
    /// Those the instance failed, modulo 2^32: no connection, refused, reset, timed out, protocol broken. An answer is none, whatever
    /// its status, and neither is an attempt that we or the client gave up.
    pub failures: u64,
}

/// What an instance had done at one time, to be compared with what it did later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marks {
    ended: Reading,
    errors: u32,
}

impl Vitals {
    /// A request begins, whatever the state of the instance.
    pub fn begin(&self) {
        self.in_flight.fetch_add(1, Relaxed);
    }

    /// A request begins if the instance takes requests and fewer than `most` are in flight: always while it is in, and exactly
    /// one when a rest is over, as its probe; or a knock, which is no request. On [`Entry::Barred`] nothing began: pick another,
    /// or [`begin`](Self::begin) if there is none.
    ///
    /// `stake` tells what is lost if the probe fails. One whose body is still to come may be the probe too, but the first one
    /// that is whole takes its place: nobody can keep an instance out by sending slowly.
    #[must_use]
    pub fn try_begin(&self, most: u32, now: Tick, stake: impl FnOnce() -> Stake) -> Entry {
        let room = self.in_flight.fetch_add(1, Relaxed) < most;
        let entry = if room { self.gate.enter(now, stake) } else { Entry::Barred };
        if entry == Entry::Barred {
            self.in_flight.fetch_sub(1, Relaxed);
        }
        entry
    }

    /// A request begins, whatever the state of the instance, if fewer than `most` are in flight. On `false` nothing began.
    #[must_use]
    pub fn begin_within(&self, most: u32) -> bool {
        self.in_flight.fetch_update(Relaxed, Relaxed, |count| (count < most).then_some(count + 1)).is_ok()
    }

    /// A request that began then is over. `elapsed` is the time to the response head, or to giving up; `now` is the time
    /// of the call. `peers` are the other instances of the service, whose rules say when a failure puts it out.
    pub fn end(&self, outcome: Outcome, began: Tick, elapsed: Duration, now: Tick, peers: &Peers) {
        self.ended.add(elapsed);
        match outcome {
            Outcome::Answered(status) => {
                if status < 500 {
                    self.streak.succeed();
                    if self.gate.succeed(began) {
                        self.latency.observe(elapsed, now, peers.decay());
                    }
                } else {
                    // A server's error that comes fast is no quick answer.
                    self.slowed(elapsed, now, peers);
                    self.answered_error(status, began, now, peers);
                }
            }
            Outcome::ConnectFailed => {
                self.failures.fetch_add(1, Relaxed);
                self.cut_off(now, peers);
            }
            // It took at least this long: without that, a hung instance behind impatient clients looks quick for ever.
            Outcome::Abandoned => {
                self.silent(elapsed, now);
                self.gate.give_back(began, now);
            }
            // A polite no: it closes, or is full.
            Outcome::Refused => {
                self.failures.fetch_add(1, Relaxed);
                self.slowed(elapsed, now, peers);
                self.gate.give_back(began, now);
            }
            Outcome::Reset | Outcome::TimedOut | Outcome::Protocol => {
                if outcome == Outcome::TimedOut {
                    self.silent(elapsed, now);
                } else {
                    self.slowed(elapsed, now, peers);
                }
                self.failures.fetch_add(1, Relaxed);
                self.errors.fetch_add(1, Relaxed);
                self.fail(began, now, peers);
            }
        }
        self.leave();
    }

    /// A request ended with a gateway failure, and another instance is asked the same: whose fault it was, that one's
    /// answer will tell. [`convict`](Self::convict) or [`acquit`](Self::acquit) is to follow.
    pub fn suspect(&self, elapsed: Duration, now: Tick, peers: &Peers) {
        self.ended.add(elapsed);
        self.slowed(elapsed, now, peers);
        self.leave();
    }

    /// Another instance answered what this one failed at: the fault of a request that began then was its own.
    pub fn convict(&self, began: Tick, now: Tick, peers: &Peers) {
        self.errors.fetch_add(1, Relaxed);
        self.fail(began, now, peers);
    }

    /// The failure of a request that began then says nothing about the instance.
    pub fn acquit(&self, began: Tick, now: Tick) {
        self.gate.give_back(began, now);
    }

    /// A connection could be made to find out whether that is so, and the request that began then for this is over: the next
    /// one may tell more.
    pub fn reached(&self, began: Tick, now: Tick) {
        self.gate.reached(began, now);
        self.leave();
    }

    /// What began then is not sent: it counts nowhere, and whoever comes next has the turn that it took.
    pub fn forgo(&self, began: Tick, now: Tick) {
        self.gate.forgo(began, now);
        self.leave();
    }

    /// Somebody who knows of it by other ways than requests says that it is well: a rest that lasts is over, and one request
    /// tries it. Outliers rest on.
    pub fn seems_well(&self, now: Tick) {
        self.gate.seems_well(now);
    }

    /// A request failed. Who is out is out for what he did, and comes back as one of whom nothing is known: what he fails
    /// meanwhile makes him no slower.
    fn slowed(&self, elapsed: Duration, now: Tick, peers: &Peers) {
        if !self.gate.rests() {
            self.latency.failed(elapsed, now, peers.decay());
        }
    }

    /// A request was given up.
    fn silent(&self, elapsed: Duration, now: Tick) {
        if !self.gate.rests() {
            self.latency.at_least(elapsed, now);
        }
    }

    /// The last of an end, so that who sees the request gone sees what it left. Saturating: an `end` too many must not
    /// make the instance look like the busiest of all for as long as the process runs.
    fn leave(&self) {
        let _ = self.in_flight.fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1));
    }

    /// No connection can be made, says somebody who tried. Where nobody waits for that answer any more it must not be lost.
    /// True if the instance took requests until now.
    pub fn cut_off(&self, now: Tick, peers: &Peers) -> bool {
        let first = self.gate.cut_off(peers, now);
        if first {
            self.latency.forget();
            peers.stir();
        }
        first
    }

    /// Puts the instance out for a judgement on its answers, for the longest rest, if its peers have room for that. What
    /// rests already is left as it is. True if it was put out.
    pub fn eject(&self, cause: Cause, now: Tick, peers: &Peers) -> bool {
        peers.claim() && self.eject_claimed(cause, 0, now, peers)
    }

    /// Undoes what was judged of its answers.
    pub fn pardon(&self) {
        self.gate.pardon();
    }

    /// Some time went by without an ejection: the next one is shorter. True if there is more to forget.
    pub fn forget(&self) -> bool {
        self.streak.forget()
    }

    /// 502, 503 and 504 say that it cannot do its work; other errors that one request went wrong, which matters only if
    /// its peers have fewer of them.
    fn answered_error(&self, status: u16, began: Tick, now: Tick, peers: &Peers) {
        self.errors.fetch_add(1, Relaxed);
        if matches!(status, 502..=504) {
            self.fail(began, now, peers);
        } else {
            self.streak.succeed();
            self.gate.succeed(began);
        }
    }

    fn fail(&self, began: Tick, now: Tick, peers: &Peers) {
        let row = self.streak.fail();
        if !self.gate.fail_again(began, self.streak.ejections(), peers, now) && peers.is_too_many(row) && peers.claim()
        {
            self.eject_claimed(Cause::Consecutive, self.streak.eject(), now, peers);
        }
    }

    fn eject_claimed(&self, cause: Cause, before: u8, now: Tick, peers: &Peers) -> bool {
        let done = self.gate.eject(cause, before, peers, now);
        if done {
            self.latency.forget();
            peers.stir();
        } else {
            peers.unclaim();
        }
        done
    }

    /// Keeps the instance out for this cause until [`release`](Self::release), whatever its answers: it becomes last choice
    /// and gets no probes. What is under way goes on. For those who know of instances by other ways than requests. True if
    /// this cause did not hold it before.
    pub fn hold(&self, cause: Hold, now: Tick) -> bool {
        self.gate.hold(cause, now)
    }

    /// This cause keeps it out no longer; others may. True if it did. How fast it was before says little of what is now.
    pub fn release(&self, cause: Hold) -> bool {
        let released = self.gate.release(cause);
        if released {
            self.latency.forget();
        }
        released
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

    /// Why and since when it rests or is probed, whoever holds it besides.
    #[must_use]
    pub fn rest(&self) -> Option<(Cause, Tick)> {
        self.gate.rest()
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
        let failures = self.failures.load(Relaxed).into();
        Totals { requests: self.ended.read().requests(), failures }
    }

    /// Where it is now, for [`since`](Self::since).
    #[must_use]
    pub fn marks(&self) -> Marks {
        Marks { errors: self.errors.load(Relaxed), ended: self.ended.read() }
    }

    /// What it did since then, without strikes; `None` if it takes no requests now.
    #[must_use]
    pub fn since(&self, earlier: Marks) -> Option<Sample> {
        if self.gate.side() != Side::In {
            return None;
        }
        let Marks { ended, errors } = self.marks();
        let (requests, together) = ended.since(earlier.ended);
        let requests = u32::try_from(requests).unwrap_or(u32::MAX);
        let errors = errors.wrapping_sub(earlier.errors).min(requests);
        Some(Sample { requests, errors, latency: together / requests.max(1), strikes: 0 })
    }

    pub(crate) fn side(&self) -> Side {
        self.gate.side()
    }
}
