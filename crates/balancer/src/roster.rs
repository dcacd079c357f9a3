//! hot path
//!
//! The candidates as balancers keep them, and the order in which they are fallen back on.

use std::sync::Arc;

use model::{Tick, UpstreamKey};

use crate::{Ask, Candidate, SlowStart, Vitals, slow_start::Warming};

/// How far a balancer follows its own order past candidates that cannot be used, before it looks at all of them once. Orders
/// repeat candidates; among ten of equal weight, 64 steps that miss the only usable one are 1 in 850.
pub(crate) const WALK: usize = 64;

/// What a pick looks at, of all candidates side by side.
#[derive(Debug)]
pub(crate) struct Roster {
    seats: Box<[Seat]>,
    warming: Warming,
}

#[derive(Debug)]
struct Seat {
    key: UpstreamKey,
    weight: u16,
    vitals: Arc<Vitals>,
    since: Tick,
}

/// How much a candidate that was not tried yet is wanted; the least is the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// It takes requests.
    Wanted,
    /// It takes requests and has weight 0.
    Spare,
    /// It rests.
    Resting,
    /// It rests and has weight 0.
    RestingSpare,
}

impl Roster {
    /// All weights 0 say as much as all weights 1.
    pub(crate) fn new(candidates: Vec<Candidate>, slow_start: Option<SlowStart>) -> Self {
        let unweighted = candidates.iter().all(|c| c.weight == 0);
        let warming = Warming::new(slow_start, candidates.iter().map(|c| c.since));
        let seat = |c: Candidate| Seat {
            key: c.key,
            weight: if unweighted { 1 } else { c.weight },
            vitals: c.vitals,
            since: c.since,
        };
        Self { seats: candidates.into_iter().map(seat).collect(), warming }
    }

    pub(crate) fn len(&self) -> usize {
        self.seats.len()
    }

    pub(crate) fn weights(&self) -> impl Iterator<Item = u16> {
        self.seats.iter().map(|s| s.weight)
    }

    pub(crate) fn weight(&self, at: usize) -> u16 {
        self.seats[at].weight
    }

    pub(crate) fn vitals(&self, at: usize) -> &Vitals {
        &self.seats[at].vitals
    }

    /// `None` if it was tried.
    pub(crate) fn rank(&self, at: usize, ask: &Ask<'_>) -> Option<Rank> {
        let seat = &self.seats[at];
        if ask.tried.contains(&seat.key) {
            return None;
        }
        Some(match (seat.vitals.admits(ask.now), seat.weight > 0) {
            (true, true) => Rank::Wanted,
            (true, false) => Rank::Spare,
            (false, true) => Rank::Resting,
            (false, false) => Rank::RestingSpare,
        })
    }

    pub(crate) fn is_wanted(&self, at: usize, ask: &Ask<'_>) -> bool {
        self.rank(at, ask) == Some(Rank::Wanted)
    }

    /// Whether it is wanted, and takes this request as far as its slow start goes. `point` is a number from 0 to 1 that says
    /// how early in it a candidate takes the request; it is asked for seldom.
    pub(crate) fn is_ready(&self, at: usize, ask: &Ask<'_>, point: impl FnOnce() -> f64) -> bool {
        self.is_wanted(at, ask)
            && (self.warming.is_over(ask.now) || point() < self.warming.part(self.seats[at].since, ask.now))
    }

    /// Its weight in 2^16ths, less what a slow start takes from it; at least 1.
    pub(crate) fn share(&self, at: usize, now: Tick) -> u64 {
        let seat = &self.seats[at];
        let whole = u64::from(seat.weight.max(1)) << 16;
        if self.warming.is_over(now) {
            return whole;
        }
        // At most `whole`, so it fits.
        ((whole as f64 * self.warming.part(seat.since, now)) as u64).max(1)
    }

    /// Requests in flight for its share, in 2^16ths.
    pub(crate) fn load(&self, at: usize, now: Tick) -> u64 {
        (u64::from(self.seats[at].vitals.in_flight()) << 32) / self.share(at, now)
    }

    /// The best candidate that was not tried, the first in this order if there are several.
    pub(crate) fn best(&self, ask: &Ask<'_>, order: impl Iterator<Item = usize>) -> Option<usize> {
        order.filter_map(|at| Some((self.rank(at, ask)?, at))).min_by_key(|(rank, _)| *rank).map(|(_, at)| at)
    }
}

/// All numbers below `len`, from `start` around to before it.
pub(crate) fn around(len: usize, start: usize) -> impl Iterator<Item = usize> + Clone {
    (start..len).chain(0..start)
}
