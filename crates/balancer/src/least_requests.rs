//! hot path
//!
//! The less busy of two.

use crate::{Ask, Balancer, draws::Draws, roster::Roster};

/// Power of two choices: draws two candidates at random, in proportion to their weights, and takes the one with fewer
/// requests in flight for its weight; of equals the one drawn first.
///
/// Looking at two instead of one makes the longest queue exponentially shorter, and looking at all would make many routers
/// run after the same idle instance at once. As the first draw alone decides among equals, shares follow the weights also
/// while nothing is in flight.
///
/// Source: M. Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", IEEE TPDS 12(10), 2001.
#[derive(Debug)]
pub(crate) struct LeastRequests(Draws);

impl LeastRequests {
    pub(crate) fn new(draws: Draws) -> Self {
        Self(draws)
    }

    pub(crate) fn roster(&self) -> &Roster {
        self.0.roster()
    }
}

impl Balancer for LeastRequests {
    fn reaches(&self, at: usize, ask: &Ask<'_>) -> bool {
        self.roster().is_wanted(at, ask)
    }

    fn pick(&self, ask: &Ask<'_>) -> Option<usize> {
        let (one, other) = self.0.two(ask)?;
        let Some(other) = other else { return Some(one) };
        let load = |at| self.roster().load(at, ask.now);
        Some(if load(other) < load(one) { other } else { one })
    }
}
