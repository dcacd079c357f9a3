//! What we learned of one service as a whole: atomics shared by all cores.

use crate::{Breaker, Budget, Occupancy, P95, Peers, Queue, Usage};

/// Live state of one service. Survives table swaps and reloads for as long as the table has the service.
///
/// Written and read by the requests of all cores. Every field stands alone and guards no other memory.
#[derive(Debug, Default)]
pub struct ServiceVitals {
    /// Requests and their retries. Written by each request once, and by each retry.
    pub budget: Budget,
    /// Requests in hand, and those that wait for an instance. Written by each request at its beginning and its end.
    pub occupancy: Occupancy,
    /// Requests that wait for a place. Written by them; read by each request at its beginning and its end.
    pub queue: Queue,
    /// What its instances share about putting one of them out. Read by requests that fail.
    pub peers: Peers,
    /// Whether the service gets requests at all. Off unless configured.
    pub breaker: Breaker,
    /// How long nearly all of its answers take. Written by each answer, if the service hedges by it.
    pub p95: P95,
    /// Which groups that take over for each other were in use lately. Read and written as the list of instances changes.
    pub usage: Usage,
}
