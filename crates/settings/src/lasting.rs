//! Times that leave something time.

use serde::{Deserialize, Deserializer, de::Error as _};

use crate::{OrOff, Span};

/// Reads a time for something to happen, which zero is not: everything would be late. For `deserialize_with`.
///
/// # Errors
/// What the time's own reading says, or that it is zero.
pub fn lasting<'de, D: Deserializer<'de>, T: Deserialize<'de> + Time>(deserializer: D) -> Result<T, D::Error> {
    let time = T::deserialize(deserializer)?;
    if time.is_zero() { Err(D::Error::custom("0 leaves no time at all; write at least 1ms")) } else { Ok(time) }
}

/// What is a time, or may be one.
pub trait Time {
    /// Whether it is one, and none.
    fn is_zero(&self) -> bool;
}

impl Time for Span {
    fn is_zero(&self) -> bool {
        self.get().is_zero()
    }
}

impl<T: Time> Time for Option<T> {
    fn is_zero(&self) -> bool {
        self.as_ref().is_some_and(T::is_zero)
    }
}

impl<T: Time> Time for OrOff<T> {
    fn is_zero(&self) -> bool {
        self.0.is_zero()
    }
}
