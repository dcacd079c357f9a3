//! What a proxied request may cost. Set by hand; a new limit says its reason in the commit that sets it.

use crate::trace::Trace;

/// Limits of one trace. Allocations and calls are exact.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Allocations for each request.
    pub(crate) allocations: f64,
    /// Bytes asked for by them, within [`TEXT`].
    pub(crate) bytes: f64,
    /// Writes to the client in each round.
    pub(crate) client_writes: f64,
    /// Reads from it that gave bytes.
    pub(crate) client_reads: f64,
    /// Polls that found none. With a socket only the first after some bytes is a system call: tokio remembers it.
    pub(crate) client_vain: f64,
    /// Writes to all instances in each round.
    pub(crate) instance_writes: f64,
    /// Reads from them that gave bytes.
    pub(crate) instance_reads: f64,
    /// Polls that found none.
    pub(crate) instance_vain: f64,
    /// Most writes to one connection in any round: 1 is one flush per wake-up.
    pub(crate) most_writes: f64,
    /// Instructions for each request, the peers' few among them, within [`INSTRUCTIONS`].
    pub(crate) instructions: f64,
}

/// What instructions may be above their limit: another compiler, processor or C library moves them a little.
pub(crate) const INSTRUCTIONS: f64 = 0.03;
/// What bytes may be above theirs: a correlation id is as long in HTTP/2 as its random digits make it.
pub(crate) const TEXT: f64 = 0.01;

/// What a request may cost, by trace.
pub(crate) fn of(trace: Trace) -> Limits {
    match trace {
        Trace::H2 => Limits {
            allocations: 18.0,
            bytes: 9_985.0,
            client_writes: 1.0,
            client_reads: 1.0,
            // One more than the reads need: requests are driven by the connection's task, which their answers wake.
            client_vain: 3.0,
            instance_writes: 4.0,
            instance_reads: 4.0,
            instance_vain: 8.0,
            most_writes: 1.0,
            instructions: 35_190.0,
        },
        Trace::Post => Limits {
            allocations: 23.0,
            bytes: 12_375.0,
            client_writes: 1.0,
            client_reads: 1.0,
            // One more than the reads need: requests are driven by the connection's task, which their answers wake.
            client_vain: 3.0,
            instance_writes: 4.0,
            instance_reads: 4.0,
            instance_vain: 8.0,
            most_writes: 1.0,
            instructions: 39_810.0,
        },
        // hyper takes a new buffer of 8 KiB for the reads of each message.
        Trace::H1 => Limits {
            allocations: 14.04,
            bytes: 20_455.0,
            client_writes: 1.0,
            client_reads: 1.0,
            client_vain: 2.0,
            instance_writes: 1.0,
            instance_reads: 1.0,
            instance_vain: 5.0,
            most_writes: 1.0,
            instructions: 48_660.0,
        },
    }
}
