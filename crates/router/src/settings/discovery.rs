//! `discovery:`

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;
use settings::{Entries, Located, SettingsError, Span};

/// What is made of what registries say.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Discovery {
    /// Where the last known good is kept, for a start at which no registry answers; `None`: nowhere.
    pub directory: Option<PathBuf>,
    /// How long suspects of single registries stay as last resort; `hold` for the others.
    pub hold: Entries<Span>,
    /// How services that `expose` matches are subscribed to once a client names them; `None`: all are, as catalogues list
    /// them.
    pub on_first_use: Option<Located<OnFirstUse>>,
}

/// Subscription on first use, of registries that are asked service by service.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OnFirstUse {
    /// Services at once, of those that neither routes nor `expose` name exactly.
    pub at_most: usize,
    /// After how long without a request a service is let go.
    pub idle: Span,
    /// New names in a second that registries are asked about.
    pub rate: u32,
    /// For how long a name that no registry knows is not asked for again.
    pub unknown: Span,
    /// How long the request that asks first waits for the answer.
    pub wait: Span,
}

impl Default for OnFirstUse {
    fn default() -> Self {
        Self {
            at_most: 1000,
            idle: Span::from_secs(600),
            rate: 10,
            unknown: Span::from_secs(60),
            wait: Span::from_secs(1),
        }
    }
}

impl OnFirstUse {
    /// The compiled form.
    ///
    /// # Errors
    /// What cannot work.
    pub fn compile(settings: &Located<Self>) -> Result<::discovery::OnFirstUse, SettingsError> {
        let least = |what, why| Err(SettingsError::at(settings, format!("{what}: {why}")));
        if settings.at_most == 0 || settings.rate == 0 {
            let what = if settings.rate == 0 { "rate" } else { "at_most" };
            return least(what, "0 would let nothing through; write at least 1, or leave on_first_use out");
        }
        if settings.idle.get() < SHORTEST_IDLE {
            return least("idle", "write at least 1s: a service is let go and asked for again each time");
        }
        if settings.wait.get() > LONGEST_WAIT {
            return least("wait", "write at most 10s: by then a registry that answers at all has answered");
        }
        Ok(::discovery::OnFirstUse {
            at_most: settings.at_most,
            idle: settings.idle.get(),
            rate: settings.rate,
            unknown: settings.unknown.get(),
            wait: settings.wait.get(),
        })
    }
}

const SHORTEST_IDLE: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

impl Default for Discovery {
    fn default() -> Self {
        Self { directory: Some("data".into()), hold: Entries::default(), on_first_use: None }
    }
}
