//! How the instances of one service are balanced, beside the algorithm.

use std::fmt;

use balancer as pure;
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, value::MapAccessDeserializer},
};
use settings::{Located, SecretSource, Span};

/// Metadata that counts as weight.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WeighBy {
    /// The name of the metadata that says how much an instance can take.
    pub capacity: Option<String>,
    /// The name of the metadata that says how much of that is in use.
    pub load: Option<String>,
}

/// `slow_start: 30s`, or a map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SlowStart(pub pure::SlowStart);

/// `slow_start` as a map.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    window: Option<Span>,
    aggression: Option<f64>,
    least: Option<f64>,
}

impl Written {
    fn check(self) -> Result<SlowStart, String> {
        let default = pure::SlowStart::default();
        let aggression = self.aggression.unwrap_or(default.aggression);
        let least = self.least.unwrap_or(default.least);
        if !(0.1..=10.0).contains(&aggression) {
            return Err(format!("aggression: {aggression} is not between 0.1 and 10; write 1 for an even growth"));
        }
        if !(0.01..=1.0).contains(&least) {
            return Err(format!("least: {least} is not between 0.01 and 1; write 0.1 for a tenth of the share"));
        }
        Ok(SlowStart(pure::SlowStart { window: self.window.map_or(default.window, Span::get), aggression, least }))
    }
}

impl<'de> Deserialize<'de> for SlowStart {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Visitor)
    }
}

struct Visitor;

impl<'de> de::Visitor<'de> for Visitor {
    type Value = SlowStart;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time such as 30s, `off`, or a map with `window`, `aggression` or `least`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<SlowStart, E> {
        let window = text.parse::<Span>().map_err(E::custom)?.get();
        Ok(SlowStart(pure::SlowStart { window, ..pure::SlowStart::default() }))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SlowStart, A::Error> {
        Written::deserialize(MapAccessDeserializer::new(map))?.check().map_err(de::Error::custom)
    }
}

/// Clients that stay with the instance that answered them first.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sticky {
    /// The cookie they carry, which the router sets.
    pub cookie: Option<String>,
    /// The header they carry instead, which they learn from the answer.
    pub header: Option<Located<String>>,
    /// How long the cookie lasts; as long as the client runs if absent.
    pub ttl: Option<Span>,
    /// Where it is sent.
    pub path: String,
    /// Whether it is sent with requests that other sites cause.
    pub same_site: SameSite,
    /// Whether it is sent over TLS only; if the client came by TLS, if absent.
    pub secure: Option<bool>,
    /// Whether scripts cannot read it.
    pub http_only: bool,
    /// What makes the value unguessable for those who know the ids of instances.
    pub secret: Option<SecretSource>,
}

impl Default for Sticky {
    fn default() -> Self {
        Self {
            cookie: None,
            header: None,
            ttl: None,
            path: "/".to_owned(),
            same_site: SameSite::default(),
            secure: None,
            http_only: true,
            secret: None,
        }
    }
}

/// Whether a cookie is sent with requests that other sites cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SameSite {
    /// Never.
    Strict,
    /// When a link is followed.
    #[default]
    Lax,
    /// Always. Browsers want it to be `secure` then.
    None,
}
