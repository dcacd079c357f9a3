//! `discovery:`

use std::path::PathBuf;

use serde::Deserialize;

/// What is made of what registries say.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Discovery {
    /// Where the last known good is kept, for a start at which no registry answers; `None`: nowhere.
    pub directory: Option<PathBuf>,
}

impl Default for Discovery {
    fn default() -> Self {
        Self { directory: Some("data".into()) }
    }
}
