//! When registrations end. Pure: time is an argument.

use std::collections::{BTreeSet, HashMap};

use model::{InstanceId, ServiceId};
use tokio::time::Instant;

/// Names one registration.
pub(super) type Key = (ServiceId, InstanceId);

/// All running leases, by their end. Registrations without a lease are not in it.
#[derive(Debug, Default)]
pub(super) struct Leases {
    ends: HashMap<Key, Instant>,
    order: BTreeSet<(Instant, Key)>,
}

impl Leases {
    /// The lease of this registration now ends then.
    pub(super) fn renew(&mut self, key: &Key, end: Instant) {
        self.end(key);
        self.ends.insert(key.clone(), end);
        self.order.insert((end, key.clone()));
    }

    /// The registration has no lease any more.
    pub(super) fn end(&mut self, key: &Key) {
        if let Some(end) = self.ends.remove(key) {
            self.order.remove(&(end, key.clone()));
        }
    }

    /// Takes out those that are over.
    pub(super) fn take_over(&mut self, now: Instant) -> Vec<Key> {
        let mut over = Vec::new();
        while self.order.first().is_some_and(|(end, _)| *end <= now)
            && let Some((_, key)) = self.order.pop_first()
        {
            self.ends.remove(&key);
            over.push(key);
        }
        over
    }

    /// When the next one is over.
    pub(super) fn next(&self) -> Option<Instant> {
        self.order.first().map(|(end, _)| *end)
    }

    /// When this one is over.
    pub(super) fn end_of(&self, key: &Key) -> Option<Instant> {
        self.ends.get(key).copied()
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
    fn leases_end_in_order_and_renewed_ones_later() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut leases = Leases::default();
        for (id, end) in [("x", 10), ("y", 20), ("z", 30), ("x", 25)] {
            leases.renew(&key(id), at(end));
        }
        leases.end(&key("z"));
        assert_eq!(leases.next(), Some(at(20)));
        assert_eq!(leases.take_over(at(19)), []);
        assert_eq!(leases.take_over(at(20)), [key("y")]);
        assert_eq!(leases.end_of(&key("x")), Some(at(25)));
        assert_eq!(leases.take_over(at(99)), [key("x")]);
        assert_eq!((leases.next(), leases.end_of(&key("x"))), (None, None));
    }
}
