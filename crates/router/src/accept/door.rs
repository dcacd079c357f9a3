//! How many clients may come in, in all and of one address. Above the first limit nobody is accepted, so that they wait in
//! the kernel; above the second one a client is sent away, because it would keep others waiting there.

use std::{net::SocketAddr, time::Duration};

use socket2::SockRef;
use telemetry::metrics::{Closed, Metrics};
use tokio::{net::TcpStream, sync::watch, time::Instant};
use transport::crowd::{Crowd, Place};

use crate::plan::Connections;

/// How often the log says that clients were sent away, at most.
const SPACING: Duration = Duration::from_secs(60);

/// The limits that all acceptors follow, and the clients they let in.
#[derive(Debug)]
pub struct Doors {
    most: watch::Sender<Connections>,
    crowd: Crowd,
}

/// What one acceptor asks of each client.
#[derive(Debug)]
pub struct Door {
    most: watch::Receiver<Connections>,
    /// Those that are in, by address; of all acceptors.
    crowd: Crowd,
    pub(super) metrics: Metrics,
    complaints: Complaints,
}

/// Clients that were sent away since the log last said so.
#[derive(Debug, Default)]
struct Complaints {
    untold: u64,
    told: Option<Instant>,
}

impl Doors {
    /// Nobody is in, and so many may come.
    #[must_use]
    pub fn new(most: Connections) -> Self {
        Self { most: watch::Sender::new(most), crowd: Crowd::default() }
    }

    /// From now on so many may come.
    pub fn follow(&self, most: Connections) {
        self.most.send_replace(most);
    }

    /// One for another acceptor.
    #[must_use]
    pub fn open(&self, metrics: Metrics) -> Door {
        let (most, crowd) = (self.most.subscribe(), self.crowd.clone());
        Door { most, crowd, metrics, complaints: Complaints::default() }
    }
}

impl Door {
    /// Whether so many are all that may be in.
    pub(super) fn is_full(&self, connections: usize) -> bool {
        connections >= self.most.borrow().all
    }

    /// Lets a client in, or sends it away. `Place` is what it takes of its address's share; trusted proxies have none.
    pub(super) fn admit(&mut self, stream: TcpStream, peer: SocketAddr) -> Option<(TcpStream, Option<Place>)> {
        let most = self.most.borrow();
        if most.exempt.contains(peer.ip()) {
            return Some((stream, None));
        }
        if let Some(place) = self.crowd.enter(peer.ip(), most.of_address) {
            return Some((stream, Some(place)));
        }
        // A reset, so that nothing of it is left in the kernel. If it fails the client is gone already.
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).ok();
        self.metrics.accepted();
        self.metrics.closed(Closed::Limit);
        if let Some(times) = self.complaints.add(Instant::now()) {
            tracing::warn!(
                address = %peer.ip(), times, most = most.of_address,
                "a client has as many connections as limits.connections_per_address lets it have; if it is a proxy, name it in headers.trusted_proxies"
            );
        }
        None
    }
}

impl Complaints {
    /// One more. `Some` if the log is to say so: how many there were since it last did.
    fn add(&mut self, now: Instant) -> Option<u64> {
        self.untold += 1;
        if self.told.is_some_and(|told| now < told + SPACING) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_hears_of_it_once_a_minute_and_of_all() {
        let (mut complaints, start) = (Complaints::default(), Instant::now());
        assert_eq!(complaints.add(start), Some(1));
        for second in 1..60 {
            assert_eq!(complaints.add(start + Duration::from_secs(second)), None);
        }
        assert_eq!(complaints.add(start + SPACING), Some(60));
        assert_eq!(complaints.add(start + SPACING), None);
    }
}
