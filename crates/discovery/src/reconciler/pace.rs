//! How fast tables follow each other. A lone change is published at once; a storm is gathered.

use std::time::Duration;

use model::Tick;

/// Time between two tables under a storm. Longer would make news old, shorter would have cores chase tables.
const GAP: Duration = Duration::from_millis(10);
/// Tables after a quiet time that need not keep the gap, so that a change in several services at once (each an update
/// of its own) is not held back.
const BURST: u32 = 4;

/// A leaky bucket of tables (the generic cell rate algorithm of ITU-T I.371).
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When a table would be due if they came evenly.
    due: Tick,
}

impl Pace {
    /// When the next table may be published.
    pub(super) fn next(&self) -> Tick {
        Tick(self.due.0.saturating_sub(Tick::default().after(GAP * (BURST - 1)).0))
    }

    /// Takes leave to publish one, if that is allowed now.
    pub(super) fn take(&mut self, now: Tick) -> bool {
        let allowed = now >= self.next();
        if allowed {
            self.due = self.due.max(now).after(GAP);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_gets_a_burst_and_then_one_table_per_gap() {
        let mut pace = Pace::default();
        let start = Tick::default().after(Duration::from_secs(1));
        let taken = (0..1000).filter(|ms| pace.take(start.after(Duration::from_millis(*ms)))).count();
        assert_eq!(taken, 100 + BURST as usize - 1);
    }

    #[test]
    fn after_a_quiet_time_the_first_goes_at_once() {
        let mut pace = Pace::default();
        let mut now = Tick::default();
        for _ in 0..100 {
            pace.take(now);
        }
        assert!(!pace.take(now));
        now = pace.next();
        assert!(pace.take(now));
    }
}
