//! hot path
//!
//! The candidates as balancers keep them, and the order in which they are fallen back on.

use std::sync::Arc;

use model::UpstreamKey;

use crate::{Ask, Candidate, Vitals};

/// How far a balancer follows its own order past candidates that cannot be used, before it looks at all of them once. Orders
/// repeat candidates; among ten of equal weight, 64 steps that miss the only usable one are 1 in 850.
pub(crate) const WALK: usize = 64;

/// What a pick looks at, of all candidates side by side.
#[derive(Debug)]
pub(crate) struct Roster(Box<[Seat]>);

#[derive(Debug)]
struct Seat {
    key: UpstreamKey,
    weight: u16,
    vitals: Arc<Vitals>,
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
    pub(crate) fn new(candidates: Vec<Candidate>) -> Self {
        let unweighted = Self::is_unweighted(&candidates);
        Self::part(candidates, unweighted)
    }

    /// Of some of the candidates, where `unweighted` speaks of all.
    pub(crate) fn part(candidates: Vec<Candidate>, unweighted: bool) -> Self {
        let seat = |c: Candidate| Seat {
            key: c.key,
            weight: if unweighted { 1 } else { c.instance.weight },
            vitals: c.vitals,
        };
        Self(candidates.into_iter().map(seat).collect())
    }

    pub(crate) fn is_unweighted(candidates: &[Candidate]) -> bool {
        candidates.iter().all(|c| c.instance.weight == 0)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn weights(&self) -> impl Iterator<Item = u16> {
        self.0.iter().map(|s| s.weight)
    }

    /// `None` if it was tried.
    pub(crate) fn rank(&self, at: usize, ask: &Ask<'_>) -> Option<Rank> {
        let seat = &self.0[at];
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

    /// Requests in flight for each unit of weight, in 2^16ths.
    pub(crate) fn load(&self, at: usize) -> u64 {
        let seat = &self.0[at];
        (u64::from(seat.vitals.in_flight()) << 16) / u64::from(seat.weight.max(1))
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
