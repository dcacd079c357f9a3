//! Names that are remembered until a time, in bounded number. Pure.

use std::collections::{BTreeSet, HashMap};

use model::{ServiceId, Tick};

/// How many names are remembered; of more, those go first that would lapse first.
pub(super) const MOST: usize = 10_000;

/// Names with the time each lapses.
#[derive(Debug, Default)]
pub(super) struct Lapsing {
    until: HashMap<ServiceId, Tick>,
    /// The same, by time.
    order: BTreeSet<(Tick, ServiceId)>,
}

impl Lapsing {
    /// Remembers a name until then.
    pub(super) fn insert(&mut self, service: ServiceId, until: Tick, now: Tick) {
        self.lapse(now);
        if let Some(before) = self.until.insert(service.clone(), until) {
            self.order.remove(&(before, service.clone()));
        }
        self.order.insert((until, service));
        if self.until.len() > MOST {
            self.drop_first();
        }
    }

    /// Whether a name is remembered now.
    pub(super) fn holds(&mut self, service: &ServiceId, now: Tick) -> bool {
        self.lapse(now);
        self.until.contains_key(service)
    }

    fn lapse(&mut self, now: Tick) {
        while self.order.first().is_some_and(|(until, _)| *until <= now) {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        if let Some((_, service)) = self.order.pop_first() {
            self.until.remove(&service);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::service;

    #[test]
    fn a_name_lapses_at_its_time_and_may_be_renewed() {
        let mut names = Lapsing::default();
        names.insert(service("a"), Tick(10), Tick(0));
        names.insert(service("a"), Tick(20), Tick(5));
        assert!(names.holds(&service("a"), Tick(15)));
        assert!(!names.holds(&service("a"), Tick(20)));
        assert!(names.until.is_empty() && names.order.is_empty());
    }

    #[test]
    fn no_more_than_so_many_are_remembered() {
        let mut names = Lapsing::default();
        for n in 0..=MOST as u64 {
            names.insert(service(&format!("s{n}")), Tick(1_000_000 + n), Tick(0));
        }
        assert_eq!((names.until.len(), names.order.len()), (MOST, MOST));
        assert!(!names.holds(&service("s0"), Tick(0)) && names.holds(&service("s1"), Tick(0)));
    }
}
