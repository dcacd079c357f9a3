//! `routes:`

use serde::Deserialize;
use settings::{Entries, Located, OneOrMany, OrOff, Size};

use super::{Fallback, Hedge, Retries, Timeouts};

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
    /// What is sent to another instance when one fails.
    #[serde(default)]
    pub retries: Option<OrOff<Box<Retries>>>,
    /// When a second instance is asked while the first is silent.
    #[serde(default)]
    pub hedge: Option<OrOff<Hedge>>,
    /// What a client gets when the service cannot take the request.
    #[serde(default)]
    pub fallback: Option<Located<Fallback>>,
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
            retries: None,
            hedge: None,
            fallback: None,
            name: None,
        }
    }
}
