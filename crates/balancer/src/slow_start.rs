//! hot path
//!
//! Instances that are new get their share little by little: caches are cold, and code is not compiled yet.

use std::time::Duration;

use model::Tick;

/// How the share of a new instance grows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SlowStart {
    /// How long until it has all of it.
    pub window: Duration,
    /// 1: the share grows evenly. Above: quickly at first; below: slowly at first. After part `t` of the window it is
    /// `t` to the power of `1 / aggression`.
    pub aggression: f64,
    /// The share it begins with, a part of 1.
    pub least: f64,
}

impl Default for SlowStart {
    /// Over 10 s, evenly, from a tenth.
    fn default() -> Self {
        Self { window: Duration::from_secs(10), aggression: 1.0, least: 0.1 }
    }
}

impl SlowStart {
    /// The part of its share that an instance seen first at `since` has now, if it was the only new one.
    ///
    /// What was there in the first window of the process counts as there from the start: who starts anew knows of nobody
    /// how old it is.
    #[must_use]
    pub fn reached(&self, since: Tick, now: Tick) -> f64 {
        let age = now.since(since);
        if self.is_old(since) || age >= self.window {
            return 1.0;
        }
        let part = age.as_secs_f64() / self.window.as_secs_f64();
        let part = if self.aggression == 1.0 { part } else { part.powf(1.0 / self.aggression) };
        part.max(self.least)
    }

    fn is_old(&self, since: Tick) -> bool {
        since <= Tick::default().after(self.window)
    }
}

/// The slow start of some candidates, relative to the oldest of them: if all are new, all get their whole shares.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Warming {
    rule: SlowStart,
    oldest: Tick,
    /// When the newest has its whole share. In the past nearly always, so it is all a pick looks at.
    over: Tick,
}

impl Warming {
    /// Of candidates first seen at these times; off without a rule.
    pub(crate) fn new(rule: Option<SlowStart>, since: impl Iterator<Item = Tick> + Clone) -> Self {
        let (Some(rule), Some(newest)) = (rule, since.clone().max()) else { return Self::default() };
        if rule.is_old(newest) {
            return Self::default();
        }
        Self { rule, oldest: since.min().unwrap_or_default(), over: newest.after(rule.window) }
    }

    pub(crate) fn is_over(&self, now: Tick) -> bool {
        now >= self.over
    }

    /// The part of its share that a candidate first seen at `since` has now.
    pub(crate) fn part(&self, since: Tick, now: Tick) -> f64 {
        if self.is_over(now) {
            return 1.0;
        }
        // Not above 1: nobody is older than the oldest.
        self.rule.reached(since, now) / self.rule.reached(self.oldest, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: SlowStart = SlowStart { window: Duration::from_secs(10), aggression: 1.0, least: 0.1 };

    fn at(seconds: u64) -> Tick {
        Tick(seconds * 1_000_000_000)
    }

    #[test]
    fn a_share_grows_from_the_least_to_the_whole() {
        let grown = |rule: SlowStart| [100, 101, 105, 109, 110, 999].map(|now| rule.reached(at(100), at(now)));
        assert_eq!(grown(RULE), [0.1, 0.1, 0.5, 0.9, 1.0, 1.0]);
        let quick = grown(SlowStart { aggression: 2.0, ..RULE });
        assert!(quick[2] > 0.7 && quick[1] > 0.3, "{quick:?}");
        let late = grown(SlowStart { aggression: 0.5, ..RULE });
        assert_eq!(late[2], 0.25);
    }

    #[test]
    fn what_was_there_at_the_start_is_not_new() {
        assert_eq!(RULE.reached(at(9), at(10)), 1.0);
        assert_eq!(RULE.reached(at(11), at(12)), 0.1);
    }

    #[test]
    fn new_ones_are_held_back_only_beside_older_ones() {
        let beside = Warming::new(Some(RULE), [at(20), at(100)].into_iter());
        assert_eq!((beside.part(at(20), at(102)), beside.part(at(100), at(102))), (1.0, 0.2));
        let alone = Warming::new(Some(RULE), [at(100), at(100)].into_iter());
        assert_eq!(alone.part(at(100), at(100)), 1.0);
        let both_new = Warming::new(Some(RULE), [at(100), at(102)].into_iter());
        assert_eq!((both_new.part(at(100), at(104)), both_new.part(at(102), at(104))), (1.0, 0.5));
        assert!(beside.is_over(at(110)) && !beside.is_over(at(109)));
        assert!(Warming::new(None, [at(100)].into_iter()).is_over(at(100)), "off");
        assert!(Warming::new(Some(RULE), [].into_iter()).is_over(at(0)), "nobody");
    }
}
