//! `expose:`

use std::collections::BTreeSet;

use model::{Exposure, ServiceId, Tag};
use serde::Deserialize;
use settings::{Located, Mistakes, OneOrMany, SettingsError};

/// What a `service_id` may reach. By default nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expose {
    /// Every registered service.
    pub all: bool,
    /// Services with an instance that carries one of these tags.
    pub tag: OneOrMany<Tag>,
    /// Services of these names; `com.example.*` for all that begin so.
    pub service: OneOrMany<Located<String>>,
}

impl Expose {
    /// The compiled form. `mistakes` receives names that are none.
    #[must_use]
    pub fn compile(&self, mistakes: &mut Mistakes) -> Exposure {
        if self.all {
            return Exposure::Everything;
        }
        let mut services = BTreeSet::new();
        let mut prefixes = Vec::new();
        for pattern in &self.service.0 {
            if let Some(prefix) = pattern.strip_suffix('*') {
                prefixes.push(prefix.to_owned());
            } else {
                let id = ServiceId::new(pattern).map_err(|e| SettingsError::at(pattern, e.to_string()));
                services.extend(mistakes.keep(id));
            }
        }
        if services.is_empty() && prefixes.is_empty() && self.tag.0.is_empty() {
            return Exposure::Routed;
        }
        Exposure::Matching { services, prefixes, tags: self.tag.0.iter().cloned().collect() }
    }
}
