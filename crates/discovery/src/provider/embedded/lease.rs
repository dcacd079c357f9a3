//! What is due when: the ends of leases, the next looks of checks. Pure: time is an argument.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
};

use model::{InstanceId, ServiceId};
use tokio::time::Instant;

/// Names one registration.
pub(super) type Key = (ServiceId, InstanceId);

/// One time for each key, at most.
#[derive(Debug)]
pub(super) struct Deadlines<K> {
    times: HashMap<K, Instant>,
    order: BTreeSet<(Instant, K)>,
}

impl<K> Default for Deadlines<K> {
    fn default() -> Self {
        Self { times: HashMap::new(), order: BTreeSet::new() }
    }
}

impl<K: Clone + Ord + Hash> Deadlines<K> {
    /// This one is now due then.
    pub(super) fn set(&mut self, key: &K, time: Instant) {
        self.remove(key);
        self.times.insert(key.clone(), time);
        self.order.insert((time, key.clone()));
    }

    /// This one is due no more.
    pub(super) fn remove(&mut self, key: &K) {
        if let Some(time) = self.times.remove(key) {
            self.order.remove(&(time, key.clone()));
        }
    }

    /// Takes out those that are due, at most so many.
    pub(super) fn take_due(&mut self, now: Instant, most: usize) -> Vec<K> {
        let mut due = Vec::new();
        while due.len() < most
            && self.order.first().is_some_and(|(time, _)| *time <= now)
            && let Some((_, key)) = self.order.pop_first()
        {
            self.times.remove(&key);
            due.push(key);
        }
        due
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.order.first().map(|(time, _)| *time)
    }

    /// When this one is due.
    pub(super) fn get(&self, key: &K) -> Option<Instant> {
        self.times.get(key).copied()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn key(id: &str) -> Key {
        (ServiceId::new("a").unwrap(), InstanceId::new(id).unwrap())
    }

    #[test]
    fn they_are_due_in_order_and_renewed_ones_later() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut leases = Deadlines::default();
        for (id, end) in [("x", 10), ("y", 20), ("z", 30), ("x", 25)] {
            leases.set(&key(id), at(end));
        }
        leases.remove(&key("z"));
        assert_eq!(leases.next(), Some(at(20)));
        assert_eq!(leases.take_due(at(19), 9), []);
        assert_eq!(leases.take_due(at(25), 1), [key("y")]);
        assert_eq!(leases.get(&key("x")), Some(at(25)));
        assert_eq!(leases.take_due(at(99), 9), [key("x")]);
        assert_eq!((leases.next(), leases.get(&key("x"))), (None, None));
    }
}
