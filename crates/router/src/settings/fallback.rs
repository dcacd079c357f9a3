//! `routes[].fallback:`

use std::path::PathBuf;

use serde::Deserialize;
use settings::{Located, OneOrMany};

/// What a client gets when the route's service cannot take the request: the answer of another service, or this one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fallback {
    /// The other service.
    pub service: Option<Located<String>>,
    /// The status of a fixed answer.
    pub status: Option<u16>,
    /// Its body.
    pub body: Option<String>,
    /// A file with its body, read when the configuration is.
    pub file: Option<PathBuf>,
    /// The media type of its body.
    pub content_type: Option<Located<String>>,
    /// Statuses that mean the same, whether the router or an instance answers so.
    pub on_status: OneOrMany<u16>,
}
