//! Lengths of time with their unit: `250ms`, `1m30s`.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// The name by which [`crate::de`] knows that `off` is allowed.
pub(crate) const OR_OFF: &str = "$settings::or_off";

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

/// For a limit that can be lifted: `off`, `none`, `null` or an empty value is `None`, everything else is a `T`.
///
/// ```
/// #[derive(serde::Deserialize)]
/// #[serde(deny_unknown_fields, default)]
/// struct Timeouts {
///     #[serde(deserialize_with = "settings::or_off")]
///     idle: Option<settings::Span>,
/// }
/// # impl Default for Timeouts { fn default() -> Self { Self { idle: Some(settings::Span::from_secs(60)) } } }
/// let timeouts: Timeouts = settings::parse("idle: off", "router.yml".as_ref(), &|_| None)?;
/// assert_eq!(timeouts.idle, None);
/// # Ok::<(), settings::SettingsError>(())
/// ```
///
/// # Errors
/// As `T`.
pub fn or_off<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    deserializer.deserialize_newtype_struct(OR_OFF, OrOffVisitor(PhantomData))
}

struct OrOffVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OrOffVisitor<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value or `off`")
    }

    fn visit_none<E>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<T>, D::Error> {
        T::deserialize(deserializer).map(Some)
    }

    /// From another format than ours: there `off` is not known, `null` is.
    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<T>, D::Error> {
        Option::deserialize(deserializer)
    }
}
