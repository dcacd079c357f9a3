//! When a watch asks again. Pure: time and chance are arguments.

use std::time::Duration;

use model::Tick;

use super::index::Cursor;
use crate::provider::pace::{Backoff, Pace};

/// Answers follow each other at a pace; beginnings back off from each other, whatever made the watch begin anew.
#[derive(Debug)]
pub(super) struct Rhythm {
    pace: Pace,
    backoff: Backoff,
}

impl Rhythm {
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace, backoff: calm() }
    }

    /// How long to wait before the next question, after one that took the watch `from` one place to the `next`.
    ///
    /// Only a query that blocked shows that all is well: where each of them fails and each plain one succeeds, the watch
    /// becomes one that asks every few seconds.
    pub(super) fn wait(&mut self, from: Cursor, next: Cursor, now: Tick, chance: f64) -> Duration {
        if next.index().is_none() {
            return self.backoff.next(chance);
        }
        if from.index().is_some() {
            self.backoff = calm();
        }
        self.pace.wait(now)
    }
}

fn calm() -> Backoff {
    Backoff::new(Duration::from_millis(250), Duration::from_secs(10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocking_queries_that_always_fail_are_asked_ever_more_seldom() {
        let now = Tick(0);
        let mut rhythm = Rhythm::new(Pace::new(now));
        let (start, (blocked, _)) = (Cursor::default(), Cursor::default().after(Some(7)));
        let anew = |rhythm: &mut Rhythm| {
            assert_eq!(rhythm.wait(start, blocked, now, 1.0), Duration::ZERO, "the plain one succeeds");
            rhythm.wait(blocked, start, now, 1.0).as_millis()
        };
        assert_eq!([(); 7].map(|()| anew(&mut rhythm)), [250, 500, 1000, 2000, 4000, 8000, 10_000]);
        assert_eq!(rhythm.wait(blocked, blocked, now, 1.0), Duration::ZERO);
        assert_eq!(anew(&mut rhythm), 250, "one that blocked was answered");
    }
}
