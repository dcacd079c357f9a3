//! `services.NAME.concurrency:`

use serde::Deserialize;
use settings::{OrOff, Span};

/// How much of one service may be in hand at once. What it leaves out `"*"` says, key by key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Concurrency {
    /// Requests in hand, over all instances. Half of what the cores together may have.
    pub requests: Option<OrOff<u32>>,
    /// Requests in flight to one instance. Off.
    pub per_instance: Option<OrOff<u32>>,
    /// Requests that wait for a place besides. 128.
    pub queue: Option<u32>,
    /// How long each of them waits. 1 s.
    pub wait: Option<Span>,
}
