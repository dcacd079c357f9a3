//! How many clients may come in, in all and of one address. Above the first limit nobody is accepted, so that they wait in
//! the kernel; above the second one a client is sent away, because it would keep others waiting there.

use std::{net::SocketAddr, time::Duration};

use socket2::SockRef;
use telemetry::{
    complaints::Complaints,
    metrics::{Closed, Metrics},
};
use tokio::{net::TcpStream, sync::watch};
use transport::{
    clock,
    crowd::{Crowd, Place},
};

use crate::plan::Connections;

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
    /// Of clients that were sent away.
    complaints: Complaints,
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
        if let Some(times) = self.complaints.add(1, clock::tick()) {
            tracing::warn!(
                address = %peer.ip(), times, most = most.of_address,
                "a client has as many connections as limits.connections_per_address lets it have; if it is a proxy, name it in headers.trusted_proxies"
            );
        }
        None
    }
}
