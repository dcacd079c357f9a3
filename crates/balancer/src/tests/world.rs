//! Instances in virtual time: each request begins, takes as long as its instance takes, and ends.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use super::*;

pub(super) const MS: u64 = 1_000_000;
pub(super) const SECOND: u64 = 1000 * MS;

/// What an instance makes of a request that comes at this time: when it answers (never, if `None`), and how.
pub(super) type Behaviour = Box<dyn Fn(u64) -> (Option<u64>, Outcome)>;

/// Requests at a steady rate, to these instances.
pub(super) struct World {
    pub(super) candidates: Vec<Candidate>,
    pub(super) behaviours: Vec<Behaviour>,
    pub(super) balance: Balance,
    /// Nanoseconds between two requests.
    pub(super) gap: u64,
    now: u64,
    /// When which request ends: end, begin, instance, outcome.
    ends: BinaryHeap<Reverse<(u64, u64, usize, bool)>>,
}

/// Always this many milliseconds.
pub(super) fn steady(ms: u64) -> Behaviour {
    Box::new(move |_| (Some(ms * MS), Outcome::Answered(200)))
}

impl World {
    pub(super) fn new(balance: impl Into<Balance>, per_second: u64, behaviours: Vec<Behaviour>) -> Self {
        fastrand::seed(7);
        let candidates = candidates(&vec![1; behaviours.len()]);
        let (now, ends) = (SECOND, BinaryHeap::new());
        Self { candidates, behaviours, balance: balance.into(), gap: SECOND / per_second, now, ends }
    }

    pub(super) fn now(&self) -> u64 {
        self.now
    }

    /// How many requests each instance gets in so many seconds. A new balancer each time, as after a change of the table.
    pub(super) fn run(&mut self, seconds: u64) -> Vec<u32> {
        let balancer = self.balance.of(self.candidates.clone(), &Place::default());
        let mut tally = vec![0; self.candidates.len()];
        let until = self.now + seconds * SECOND;
        while self.now < until {
            self.end_due();
            let at = balancer.pick(&Ask { hash: None, tried: &[], now: Tick(self.now) }).unwrap();
            tally[at] += 1;
            if !enters(&self.candidates[at].vitals, Tick(self.now)) {
                self.candidates[at].vitals.begin();
            }
            let (takes, outcome) = (self.behaviours[at])(self.now);
            if let Some(takes) = takes {
                let fails = outcome != Outcome::Answered(200);
                self.ends.push(Reverse((self.now + takes, self.now, at, fails)));
            }
            self.now += self.gap;
        }
        tally
    }

    fn end_due(&mut self) {
        while let Some(Reverse((end, began, at, fails))) = self.ends.peek().copied().filter(|e| e.0.0 <= self.now) {
            self.ends.pop();
            let outcome = Outcome::Answered(if fails { 500 } else { 200 });
            super::end(&self.candidates[at].vitals, outcome, Duration::from_nanos(end - began), Tick(end));
        }
    }
}
