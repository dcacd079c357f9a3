//! hot path
//!
//! Each in its turn.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::{
    Ask, Balancer,
    roster::{Roster, WALK, around},
};

/// Steps of a schedule of up to [`COMMON`] candidates: shares are exact to 0.4 %.
const STEPS: usize = 256;

/// Above this many candidates a schedule has eight steps for each, lest their weights all become 1.
const COMMON: usize = STEPS / 8;

/// Smooth weighted round robin: in proportion to the weights, and each candidate's turns evenly spread over the round.
///
/// That is what NGINX's balancer of this name does step by step; here the round is laid out beforehand, so that a step is
/// one addition to a shared counter instead of a pass over all candidates under a lock.
///
/// Source of the property: <https://github.com/nginx/nginx/commit/52327e0627f49dbda1e8db695e63a4b0af4448b1>
#[derive(Debug)]
pub(crate) struct RoundRobin {
    roster: Roster,
    round: Box<[u32]>,
    /// Written and read by every pick. Starts anywhere, so that new tables and many routers do not all begin with the
    /// same instance.
    next: AtomicUsize,
}

impl RoundRobin {
    pub(crate) fn new(roster: Roster) -> Self {
        let round = round(&turns(roster.weights().collect()));
        let next = AtomicUsize::new(fastrand::usize(..round.len().max(1)));
        Self { roster, round, next }
    }
}

impl Balancer for RoundRobin {
    fn reaches(&self, at: usize, ask: &Ask<'_>) -> bool {
        self.roster.is_wanted(at, ask)
    }

    fn pick(&self, ask: &Ask<'_>) -> Option<usize> {
        let steps = self.round.len();
        // The turn of one that cannot take it is used up: its neighbour in the round would have it each time otherwise. A
        // request that was tried elsewhere has had its turn and takes none from others, or of two instances the one that
        // fails would be the first to be asked each time; it begins anywhere.
        let mut own = if ask.tried.is_empty() { 0 } else { fastrand::usize(..steps.max(1)) };
        let turns = std::iter::repeat_with(|| match ask.tried.is_empty() {
            true => self.next.fetch_add(1, Relaxed).checked_rem(steps),
            false => {
                own = own.wrapping_add(1);
                own.wrapping_sub(1).checked_rem(steps)
            }
        });
        let turns = turns.map_while(|step| Some(self.round[step?] as usize)).take(WALK);
        let ready = |at: &usize| self.roster.is_ready(*at, ask, fastrand::f64);
        let len = self.roster.len();
        // Of those that nobody wants any one: the turns of a whole walk bring it back to where it began.
        turns.into_iter().find(ready).or_else(|| self.roster.best(ask, around(len, fastrand::usize(..len.max(1)))))
    }
}

/// Turns of each candidate in a round: the weights divided by what they have in common, and scaled down if the round would
/// be too long. Whoever has a weight has a turn.
fn turns(mut weights: Vec<u16>) -> Vec<u16> {
    let common = weights.iter().copied().fold(0, greatest_common_divisor).max(1);
    for weight in &mut weights {
        *weight /= common;
    }
    let limit = if weights.len() > COMMON { 8 * weights.len() } else { STEPS };
    let sum: usize = weights.iter().map(|w| usize::from(*w)).sum();
    if sum > limit {
        // One step for each is kept back for those that would have none. The cast fits: no weight grows.
        let room = limit - weights.len();
        for weight in weights.iter_mut().filter(|w| **w > 0) {
            *weight = (usize::from(*weight) * room / sum).max(1) as u16;
        }
    }
    weights
}

fn greatest_common_divisor(a: u16, b: u16) -> u16 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// Turn `k` of candidate `i` of `n` with `t` turns comes at `(k + (i + 1/2) / n) / t` of the round. The shift by `i` keeps
/// candidates of equal weight from having their turns at one moment.
fn round(turns: &[u16]) -> Box<[u32]> {
    // Moments as fractions (`2n` times the numerator above, over `t`): in floating point, equal ones would come out unequal.
    let count = turns.len() as u64;
    let mut moments: Vec<(u64, u64, u32)> = Vec::new();
    for (at, turns) in (0_u32..).zip(turns.iter().copied().map(u64::from)) {
        moments.extend((0..turns).map(|turn| (2 * (turn * count + u64::from(at)) + 1, turns, at)));
    }
    moments.sort_unstable_by(|a, b| (a.0 * b.1).cmp(&(b.0 * a.1)).then(a.2.cmp(&b.2)));
    moments.into_iter().map(|(.., at)| at).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_heavy_one_is_interrupted_evenly() {
        assert_eq!(*round(&[5, 1, 1]), [0, 0, 0, 1, 0, 0, 2]);
        assert_eq!(*round(&[1, 1, 1]), [0, 1, 2]);
        assert_eq!(*round(&[0, 2, 1]), [1, 1, 2]);
        assert!(round(&[]).is_empty());
    }

    #[test]
    fn weights_are_reduced_to_few_turns() {
        assert_eq!(turns(vec![100, 200, 0]), [1, 2, 0]);
        assert_eq!(turns(vec![65_535, 1]), [253, 1]);
        assert_eq!(turns(vec![300, 301]), [126, 127]);
    }

    proptest! {
        #[test]
        fn a_round_is_short_and_true_to_the_weights(weights in prop::collection::vec(0_u16..=1000, 1..300)) {
            let turns = turns(weights.clone());
            let steps: usize = turns.iter().map(|t| usize::from(*t)).sum();
            let limit = STEPS.max(8 * weights.len());
            prop_assert!(steps <= limit);
            let common = weights.iter().copied().fold(0, greatest_common_divisor).max(1);
            let sum: f64 = weights.iter().map(|w| f64::from(*w / common)).sum();
            for (&weight, &turns) in weights.iter().zip(&turns) {
                prop_assert_eq!(weight == 0, turns == 0);
                if weight > 0 && sum > limit as f64 {
                    let exact = f64::from(weight / common) * (limit - weights.len()) as f64 / sum;
                    prop_assert!(f64::from(turns) <= exact.max(1.0) && f64::from(turns) > exact - 1.0 - 1e-9);
                }
            }
        }

        /// Between two turns of one candidate, no other has more turns than its share of that time, rounded up.
        #[test]
        fn turns_are_spread_evenly(turns in prop::collection::vec(1_u16..=20, 1..12)) {
            let round = round(&turns);
            for (at, &own) in turns.iter().enumerate() {
                let steps: Vec<usize> = (0..round.len()).filter(|&s| round[s] as usize == at).collect();
                prop_assert_eq!(steps.len(), usize::from(own));
                for (k, &step) in steps.iter().enumerate() {
                    let next = steps.get(k + 1).copied().unwrap_or(steps[0] + round.len());
                    let others = turns.iter().enumerate().filter(|(other, _)| *other != at);
                    let most: usize = others.map(|(_, t)| usize::from(t.div_ceil(own))).sum();
                    prop_assert!(next - step - 1 <= most, "{turns:?} {round:?} {at}");
                }
            }
        }
    }
}
