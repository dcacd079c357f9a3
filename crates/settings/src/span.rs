//! Lengths of time with their unit: `250ms`, `1m30s`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// Longest span: a year. Beyond it nobody means a timeout, and clock plus span can never overflow.
const MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// Units from the largest, in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

const EXAMPLES: &str = "a time with its unit, such as 250ms, 5s, 2m or 1h30m";

/// A length of time in whole milliseconds, written with its unit: `250ms`, `5s`, `2m`, `1h`, `7d`, `1m30s`. At most a
/// year (365d).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(Duration);

impl Span {
    /// A span of so many milliseconds, for defaults.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// A span of so many seconds, for defaults.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// The duration.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        span.0
    }
}

/// As it would be written in a file; the units fall, so that it reads back the same.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, millis) in UNITS {
            if rest >= millis {
                write!(f, "{}{unit}", rest / millis)?;
                rest %= millis;
            }
        }
        Ok(())
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unreadable = || format!("found {text:?}, expected {EXAMPLES}");
        let mut rest = text;
        let mut total = Duration::ZERO;
        // Only smaller units may follow, so "1s1m" and "1s1s" are refused.
        let mut allowed = &UNITS[..];
        while !rest.is_empty() || rest.len() == text.len() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (number, after) = rest.split_at(digits);
            let number: u64 = number.parse().map_err(|_| unreadable())?;
            let letters = after.len() - after.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
            let (unit, after) = after.split_at(letters);
            if unit.is_empty() && after.is_empty() && rest.len() == text.len() {
                return Err(format!(
                    "{number} has no unit; write {number}s for seconds or {number}ms for milliseconds"
                ));
            }
            let index = allowed.iter().position(|(name, _)| *name == unit).ok_or_else(unreadable)?;
            let part = number.checked_mul(allowed[index].1).map(Duration::from_millis);
            total = part
                .and_then(|part| total.checked_add(part))
                .filter(|sum| *sum <= MAX)
                .ok_or_else(|| format!("{text:?} is longer than a year (365d)"))?;
            allowed = &allowed[index + 1..];
            rest = after;
        }
        Ok(Self(total))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Text, so that the message for a bare number shows it as it was typed.
        deserializer.deserialize_str(SpanVisitor)
    }
}

struct SpanVisitor;

impl Visitor<'_> for SpanVisitor {
    type Value = Span;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXAMPLES)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Span, E> {
        text.parse().map_err(E::custom)
    }
}
