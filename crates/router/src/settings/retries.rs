//! `retries:` of a service or route.

use std::str::FromStr;

use serde::{Deserialize, Deserializer, de::Error};
use settings::{Located, OneOrMany, Size, Span};

use super::OrOff;

/// What is sent to another instance when one fails, or `off`.
#[derive(Debug, Clone, PartialEq)]
pub struct RetriesOrOff(pub Option<Box<Retries>>);

/// What is sent to another instance when one fails. What a route leaves out its service says, then `"*"`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retries {
    /// Instances that may be sent the request, the first among them.
    pub attempts: Option<Located<u8>>,
    /// What is retried: `connect`, `refused`, `reset`, `timeout`, `502`, `503`, `504`.
    pub on: Option<OneOrMany<Located<String>>>,
    /// Methods that bear a second time.
    pub methods: Option<OneOrMany<Located<String>>>,
    /// So does any method whose request carries an `Idempotency-Key`.
    pub idempotency_key: Option<bool>,
    /// How long one instance may take for the head of its answer.
    pub per_try: Option<OrOff>,
    /// Most of a request's body that is kept.
    pub buffer: Option<Located<Size>>,
    /// What the service may get besides its requests.
    pub budget: Budget,
    /// Waits between tries.
    pub backoff: Backoff,
}

/// What a service may get besides its requests.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    /// Retries in proportion to the requests of the last ten seconds: `20%`.
    pub share: Option<Percent>,
    /// Retries in each second whatever the share says.
    pub floor: Option<u32>,
}

/// Waits between tries.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Backoff {
    /// Longest before the second try; doubled for each one after it.
    pub base: Option<Span>,
    /// Longest of all.
    pub longest: Option<Span>,
}

/// A share, as `20%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Percent(pub u32);

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
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for RetriesOrOff {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        settings::or_off(from).map(|some| Self(some.map(Box::new)))
    }
}
