//! Who holds how many connections to us, so that one machine cannot hold them all.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The connections there are, by machine. Clones are the same crowd.
#[derive(Debug, Clone, Default)]
pub struct Crowd(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One counted connection; counted until it is dropped.
#[derive(Debug)]
pub struct Place {
    crowd: Crowd,
    machine: IpAddr,
}

impl Crowd {
    /// Counts a connection; `None` if its machine has `most` already.
    #[must_use]
    pub fn enter(&self, peer: IpAddr, most: usize) -> Option<Place> {
        let machine = machine(peer);
        let mut counts = self.lock();
        let count = counts.get(&machine).copied().unwrap_or_default();
        if count >= most {
            return None;
        }
        counts.insert(machine, count + 1);
        Some(Place { crowd: self.clone(), machine })
    }

    /// A count is right whenever the lock is free, so poison is no reason to stop.
    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.crowd.lock();
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
        let crowd = Crowd::default();
        let enter = |ip: &str| crowd.enter(ip.parse().unwrap(), 3);
        let mut places: Vec<_> = (0..3).map(|n| enter(&format!("2001:db8::{n:x}")).unwrap()).collect();
        assert!(enter("2001:db8::ffff:1").is_none());
        assert!(enter("2001:db8:0:1::1").is_some() && enter("10.0.0.1").is_some());
        places.pop();
        assert!(enter("2001:db8::1").is_some());
        drop(places);
        assert!(crowd.lock().is_empty());
        assert!(crowd.enter("10.0.0.1".parse().unwrap(), 0).is_none());
        assert!(crowd.lock().is_empty(), "who is refused leaves nothing behind");
    }

    #[test]
    fn an_ipv4_address_is_the_same_however_it_is_written() {
        assert_eq!(machine("::ffff:10.0.0.1".parse().unwrap()), "10.0.0.1".parse::<IpAddr>().unwrap());
    }
}
