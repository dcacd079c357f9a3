//! hot path
//!
//! Dice.

use crate::{Ask, Balancer, draws::Draws};

/// One at random, in proportion to the weights. Knows nothing of what goes on, so its shares are what the weights say, and
/// many routers never fall into step.
#[derive(Debug)]
pub(crate) struct Random(Draws);

impl Random {
    pub(crate) fn new(draws: Draws) -> Self {
        Self(draws)
    }
}

impl Balancer for Random {
    fn reaches(&self, at: usize, ask: &Ask<'_>) -> bool {
        self.0.roster().is_wanted(at, ask)
    }

    fn pick(&self, ask: &Ask<'_>) -> Option<usize> {
        self.0.one(ask)
    }
}
