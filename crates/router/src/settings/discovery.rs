//! `discovery:`

use std::path::PathBuf;

use serde::Deserialize;
use settings::{Entries, Span};

/// What is made of what registries say.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Discovery {
    /// Where the last known good is kept, for a start at which no registry answers; `None`: nowhere.
    pub directory: Option<PathBuf>,
    /// How long suspects of single registries stay as last resort; `hold` for the others.
    pub hold: Entries<Span>,
}

impl Default for Discovery {
    fn default() -> Self {
        Self { directory: Some("data".into()), hold: Entries::default() }
    }
}
