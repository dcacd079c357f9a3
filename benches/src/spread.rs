//! Many durations, and what they say together.

use std::{fmt, time::Duration};

/// Durations, gathered one by one.
#[derive(Debug, Default)]
pub struct Spread(Vec<Duration>);

impl Spread {
    /// Takes one more.
    pub fn add(&mut self, one: Duration) {
        self.0.push(one);
    }

    /// The smallest duration that at least this share of all do not exceed (nearest rank); zero if there is none.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }
}

/// `n=300  p50 0.31 ms  p99 0.88 ms  max 1.20 ms`
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |share| self.quantile(share).as_secs_f64() * 1e3;
        let [half, most, all] = [0.5, 0.99, 1.0].map(millis);
        write!(f, "n={:<5} p50 {half:6.2} ms  p99 {most:6.2} ms  max {all:6.2} ms", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_seen() {
        let mut spread = Spread::default();
        assert_eq!(spread.quantile(0.5), Duration::ZERO);
        for ms in (1..=100).rev() {
            spread.add(Duration::from_millis(ms));
        }
        let found = [0.0, 0.5, 0.99, 1.0].map(|share| spread.quantile(share).as_millis());
        assert_eq!(found, [1, 50, 99, 100]);
    }
}
