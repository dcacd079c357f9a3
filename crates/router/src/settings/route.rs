//! `routes:`

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor, value},
};
use settings::{Entries, Located, Size};

use super::{OrOff, Timeouts};

/// One rule. Its conditions are all required.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The service it leads to.
    pub service: Located<String>,
    /// The host, or `*.example.com`.
    #[serde(default)]
    pub host: Option<String>,
    /// This path and all below it.
    #[serde(default)]
    pub prefix: Option<String>,
    /// This whole path; `{name}` stands for one segment.
    #[serde(default)]
    pub path: Option<String>,
    /// One of these methods.
    #[serde(default)]
    pub method: OneOrMany<Located<String>>,
    /// Headers with this value; `"*"` for any.
    #[serde(default)]
    pub header: Entries<Located<String>>,
    /// Query parameters with this value; `"*"` for any.
    #[serde(default)]
    pub query: Entries<Located<String>>,
    /// Takes the matched part off the path.
    #[serde(default)]
    pub strip_prefix: bool,
    /// Puts this in its place.
    #[serde(default)]
    pub rewrite: Option<String>,
    /// Short for `timeouts: { total: ... }`.
    #[serde(default)]
    pub timeout: Option<OrOff>,
    /// Limits of its own.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// Its own limit for request bodies.
    #[serde(default)]
    pub max_body: Option<Size>,
    /// What the access log calls it; its conditions if absent.
    #[serde(default)]
    pub name: Option<String>,
}

impl Route {
    /// A rule without conditions that leads to this service.
    #[must_use]
    pub fn to(service: &str) -> Self {
        Self {
            service: service.to_owned().into(),
            host: None,
            prefix: None,
            path: None,
            method: OneOrMany::default(),
            header: Entries::default(),
            query: Entries::default(),
            strip_prefix: false,
            rewrite: None,
            timeout: None,
            timeouts: Timeouts::default(),
            max_body: None,
            name: None,
        }
    }
}

/// One value, or a list of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneOrMany<T>(pub Vec<T>);

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = OneOrMany<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("one value or a list of them")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                T::deserialize(value::StrDeserializer::new(text)).map(|one| OneOrMany(vec![one]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut all = Vec::new();
                while let Some(one) = list.next_element()? {
                    all.push(one);
                }
                Ok(OneOrMany(all))
            }

            fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
                Err(serde::de::Error::invalid_type(serde::de::Unexpected::Map, &self))
            }
        }
        from.deserialize_str(Either(PhantomData))
    }
}
