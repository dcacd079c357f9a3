//! What we learned of one service as a whole: atomics shared by all cores.

use crate::Budget;

/// Live state of one service. Survives table swaps and reloads for as long as the table has the service.
///
/// Written and read by the requests of all cores. Every field stands alone and guards no other memory.
#[derive(Debug, Default)]
pub struct ServiceVitals {
    /// Requests and their retries. Written by each request once, and by each retry.
    pub budget: Budget,
}
