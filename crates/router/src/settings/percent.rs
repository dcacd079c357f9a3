//! Shares.

use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};

/// A share from `0%` to `100%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Percent(pub u8);

impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix('%').and_then(|number| number.parse().ok());
        match number.filter(|percent| *percent <= 100) {
            Some(percent) => Ok(Self(percent)),
            None => Err(format!("found {text:?}, expected a share from 0% to 100%, such as 20%")),
        }
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}
