//! Who holds how many connections, so that one machine cannot hold them all.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Connections of one machine at once: three quarters of all, so that others get in, and more than the watchers there
/// may be, so that behind one proxy or on one machine heartbeats get in beside them.
pub(crate) const MOST: usize = 768;

/// The connections there are, by machine.
#[derive(Debug, Clone)]
pub(crate) struct Peers {
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
    most: usize,
}

/// One counted connection; counted until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    peers: Peers,
    machine: IpAddr,
}

impl Peers {
    /// Nobody yet, and so many of each machine at most.
    pub(crate) fn new(most: usize) -> Self {
        Self { counts: Arc::default(), most }
    }

    /// Counts a connection; `None` if its machine has all it may have.
    pub(crate) fn enter(&self, peer: IpAddr) -> Option<Place> {
        let machine = machine(peer);
        let mut counts = self.lock();
        let count = counts.entry(machine).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Place { peers: self.clone(), machine })
    }

    /// A count is right whenever the lock is free, so poison is no reason to stop.
    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.peers.lock();
        if let Some(count) = counts.get_mut(&self.machine) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.machine);
            }
        }
    }
}

/// What counts as one machine: an IPv4 address, or the 64 bits of an IPv6 network, in which one machine can take any
/// address. Pure.
fn machine(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_machine_gets_so_many_and_others_still_get_in() {
        let peers = Peers::new(3);
        let enter = |ip: &str| peers.enter(ip.parse().unwrap());
        let mut places: Vec<_> = (0..3).map(|n| enter(&format!("2001:db8::{n:x}")).unwrap()).collect();
        assert!(enter("2001:db8::ffff:1").is_none());
        assert!(enter("2001:db8:0:1::1").is_some() && enter("10.0.0.1").is_some());
        places.pop();
        assert!(enter("2001:db8::1").is_some());
        drop(places);
        assert!(peers.lock().is_empty());
    }

    #[test]
    fn an_ipv4_address_is_the_same_however_it_is_written() {
        assert_eq!(machine("::ffff:10.0.0.1".parse().unwrap()), "10.0.0.1".parse::<IpAddr>().unwrap());
    }
}
