//! `shedding:`

use serde::Deserialize;
use settings::{OrOff, Span};

/// When a core has too much in hand to take on more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Shedding {
    /// Requests in hand of one core; from four fifths of it on some new ones are refused, at it all are.
    pub requests: OrOff<u32>,
    /// How late a core comes to its work; from this on some new requests are refused, at four times this all are.
    pub lag: OrOff,
}

impl Default for Shedding {
    fn default() -> Self {
        Self { requests: OrOff(Some(20_000)), lag: OrOff(Some(Span::from_millis(500))) }
    }
}
