//! hot path
//!
//! The less busy of two.

use crate::{Ask, Balancer, roster::Roster};

/// Draws before giving up on chance and looking at all candidates. With half of them unusable, 1 pick in 256 does that.
const DRAWS: usize = 8;

/// Power of two choices: draws two candidates at random, in proportion to their weights, and takes the one with fewer
/// requests in flight for its weight; of equals the one drawn first.
///
/// Looking at two instead of one makes the longest queue exponentially shorter, and looking at all would make many routers
/// run after the same idle instance at once. As the first draw alone decides among equals, shares follow the weights also
/// while nothing is in flight.
///
/// Source: M. Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", IEEE TPDS 12(10), 2001.
#[derive(Debug)]
pub(crate) struct LeastRequests {
    roster: Roster,
    /// Sum of the weights up to and with each candidate; empty if all are equal.
    sums: Box<[u64]>,
}

impl LeastRequests {
    pub(crate) fn new(roster: Roster) -> Self {
        let first = roster.weights().next();
        let equal = roster.weights().all(|w| Some(w) == first);
        let sum = |sum: &mut u64, weight: u16| {
            *sum += u64::from(weight);
            Some(*sum)
        };
        let sums = if equal { Box::default() } else { roster.weights().scan(0, sum).collect() };
        Self { roster, sums }
    }

    pub(crate) fn roster(&self) -> &Roster {
        &self.roster
    }

    /// One candidate in proportion to its weight. There is one, and not all weights are 0.
    fn draw(&self) -> usize {
        match self.sums.last() {
            None => fastrand::usize(..self.roster.len()),
            Some(&total) => {
                let point = fastrand::u64(..total);
                self.sums.partition_point(|&sum| sum <= point)
            }
        }
    }

    /// A wanted candidate other than `but`, if chance finds one.
    fn draw_wanted(&self, ask: &Ask<'_>, but: Option<usize>) -> Option<usize> {
        (0..DRAWS).map(|_| self.draw()).find(|&at| Some(at) != but && self.roster.is_wanted(at, ask))
    }

    /// One of the best rank other than `but`, still in proportion to the weights: each replaces the one kept with the
    /// probability of its weight among those seen (reservoir sampling).
    fn survey(&self, ask: &Ask<'_>, but: Option<usize>) -> Option<usize> {
        let mut kept = None;
        let mut sum = 0;
        for (at, weight) in self.roster.weights().enumerate().filter(|(at, _)| Some(*at) != but) {
            let Some(rank) = self.roster.rank(at, ask) else { continue };
            match kept {
                Some((best, _)) if rank > best => continue,
                Some((best, _)) if rank == best => {}
                _ => sum = 0,
            }
            let weight = u64::from(weight.max(1));
            sum += weight;
            if fastrand::u64(..sum) < weight {
                kept = Some((rank, at));
            }
        }
        kept.map(|(_, at)| at)
    }
}

impl Balancer for LeastRequests {
    fn pick(&self, ask: &Ask<'_>) -> Option<usize> {
        let roster = &self.roster;
        if roster.len() < 2 {
            return roster.best(ask, 0..roster.len());
        }
        let draw = |but| self.draw_wanted(ask, but).or_else(|| self.survey(ask, but));
        let one = draw(None)?;
        let Some(other) = draw(Some(one)) else { return Some(one) };
        let less_busy = roster.rank(other, ask) == roster.rank(one, ask) && roster.load(other) < roster.load(one);
        Some(if less_busy { other } else { one })
    }
}
