//! `hedge:` of a service or route.

use serde::{Deserialize, Deserializer, de::Error};
use settings::Span;

/// When a second instance is asked while the first is silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hedge {
    /// After this time without a head.
    pub after: After,
}

/// `p95`, or a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// As long as 95 of 100 answers of the service take.
    P95,
    /// Always this long.
    Fixed(Span),
}

impl<'de> Deserialize<'de> for After {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        match text.as_str() {
            "p95" => Ok(Self::P95),
            time => time.parse().map(Self::Fixed).map_err(|error: String| D::Error::custom(format!("{error}, or p95"))),
        }
    }
}
