//! Numbers of bytes: `64KiB`, `10MB`, `512`.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// Units from the largest. KB is 1000 bytes, KiB is 1024 (IEC 80000-13).
const UNITS: [(&str, u64); 8] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("KB", 1000),
];

const EXAMPLES: &str = "a size, such as 512 (bytes), 64KiB or 10MB";

/// A number of bytes, written `512`, `64KiB` (1024 each) or `10MB` (1,000,000 each).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(u64);

impl Size {
    /// A size of so many bytes, for defaults.
    #[must_use]
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The number of bytes.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// As it would be written in a file: in the largest unit that divides it.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|(_, bytes)| self.0 > 0 && self.0.is_multiple_of(*bytes)) {
            Some((unit, bytes)) => write!(f, "{}{unit}", self.0 / bytes),
            None => write!(f, "{}", self.0),
        }
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        if number.is_empty() {
            return Err(format!("found {text:?}, expected {EXAMPLES}"));
        }
        let factor = match UNITS.iter().find(|(name, _)| *name == unit) {
            Some((_, bytes)) => *bytes,
            None if unit.is_empty() || unit == "B" => 1,
            None => return Err(unknown_unit(number, unit)),
        };
        let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
        bytes.map(Self).ok_or_else(|| format!("{text:?} is more than {} bytes", u64::MAX))
    }
}

fn unknown_unit(number: &str, unit: &str) -> String {
    let letter = unit.trim_start().chars().next().map(|c| c.to_ascii_uppercase());
    match letter.filter(|c| "KMGT".contains(*c)) {
        Some(c) => {
            format!("unknown unit {unit:?}; write {number}{c}iB for powers of 1024 or {number}{c}B for powers of 1000")
        }
        None => format!("unknown unit {unit:?}, expected {EXAMPLES}"),
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(SizeVisitor)
    }
}

struct SizeVisitor;

impl Visitor<'_> for SizeVisitor {
    type Value = Size;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXAMPLES)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Size, E> {
        text.parse().map_err(E::custom)
    }

    /// From formats whose numbers are no text.
    fn visit_u64<E>(self, bytes: u64) -> Result<Size, E> {
        Ok(Size(bytes))
    }
}
