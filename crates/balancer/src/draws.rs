//! hot path
//!
//! Candidates drawn by chance, in proportion to their weights.

use crate::{Ask, roster::Roster};

/// Draws before giving up on chance and looking at all candidates. With half of them unusable, 1 pick in 256 does that.
const DRAWS: usize = 8;

/// Candidates to draw from.
#[derive(Debug)]
pub(crate) struct Draws {
    roster: Roster,
    /// Sum of the weights up to and with each candidate; empty if all are equal.
    sums: Box<[u64]>,
}

impl Draws {
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

    /// One of the best rank.
    pub(crate) fn one(&self, ask: &Ask<'_>) -> Option<usize> {
        if self.roster.len() < 2 {
            return self.roster.best(ask, 0..self.roster.len());
        }
        self.drawn(ask, None)
    }

    /// One of the best rank, and another one of that rank if there is one.
    pub(crate) fn two(&self, ask: &Ask<'_>) -> Option<(usize, Option<usize>)> {
        let one = self.one(ask)?;
        if self.roster.len() < 2 {
            return Some((one, None));
        }
        let rank = self.roster.rank(one, ask);
        Some((one, self.drawn(ask, Some(one)).filter(|&other| self.roster.rank(other, ask) == rank)))
    }

    fn drawn(&self, ask: &Ask<'_>, but: Option<usize>) -> Option<usize> {
        self.draw_wanted(ask, but).or_else(|| self.survey(ask, but))
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
        let fits = |at: &usize| Some(*at) != but && self.roster.is_ready(*at, ask, fastrand::f64);
        (0..DRAWS).map(|_| self.draw()).find(fits)
    }

    /// One of the best rank other than `but`, still in proportion to the weights: each replaces the one kept with the
    /// probability of its weight among those seen (reservoir sampling).
    fn survey(&self, ask: &Ask<'_>, but: Option<usize>) -> Option<usize> {
        let mut kept = None;
        let mut sum = 0;
        for at in (0..self.roster.len()).filter(|at| Some(*at) != but) {
            let Some(rank) = self.roster.rank(at, ask) else { continue };
            match kept {
                Some((best, _)) if rank > best => continue,
                Some((best, _)) if rank == best => {}
                _ => sum = 0,
            }
            let share = self.roster.share(at, ask.now);
            sum += share;
            if fastrand::u64(..sum) < share {
                kept = Some((rank, at));
            }
        }
        kept.map(|(_, at)| at)
    }
}
