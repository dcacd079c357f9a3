//! What an operator sees of the router. Nothing here is global but the `tracing` subscriber, and nothing here makes a
//! request wait.
//!
//! * [`log`]: what the router says of itself.
//! * [`ids`]: by what a request is found again: correlation, traceability and trace ids.
//! * [`access`]: one line for each request.
//! * [`complaints`]: what the log is not to repeat.
//! * [`load`]: what each core has in hand.
//! * [`metrics`]: counters, resolved before the first request.

pub mod access;
pub mod complaints;
pub mod ids;
mod latency;
pub mod load;
pub mod log;
pub mod metrics;
mod process;
