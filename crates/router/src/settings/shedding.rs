//! `shedding:`

use serde::Deserialize;
use settings::{Span, or_off};

/// When a core has too much in hand to take on more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Shedding {
    /// Requests in hand of one core; from four fifths of it on some new ones are refused, at it all are.
    #[serde(deserialize_with = "or_off")]
    pub requests: Option<u32>,
    /// How late a core comes to its work; from this on some new requests are refused, at four times this all are.
    #[serde(deserialize_with = "or_off")]
    pub lag: Option<Span>,
}

impl Default for Shedding {
    fn default() -> Self {
        Self { requests: Some(20_000), lag: Some(Span::from_millis(500)) }
    }
}
