//! The kinds of sources: the registration point of this crate.

use std::fmt;

use tokio::task::JoinHandle;

use super::{Feed, Provider, consul, fixed, supervise};

/// One entry of `registries:`; its key says the kind.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Settings {
    /// Lists in the file.
    Static(fixed::Settings),
    /// A Consul agent.
    Consul(consul::Settings),
}

/// A provider that is built and does not run yet.
pub(crate) struct Launch {
    run: Box<dyn FnOnce(Feed) -> JoinHandle<()> + Send>,
}

impl Settings {
    /// The kind, as the configuration names it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Static(_) => "static",
            Self::Consul(_) => "consul",
        }
    }

    /// Whether a running source of these settings can go on under the other ones.
    pub(crate) fn same_source(&self, other: &Self) -> bool {
        self == other
    }

    /// Builds the provider: whatever can be wrong with the settings is found here, before anything runs.
    pub(crate) fn build(&self) -> Result<Launch, String> {
        Ok(match self {
            Self::Static(settings) => Launch::new(fixed::Fixed::new(settings)),
            Self::Consul(settings) => Launch::new(consul::Consul::new(settings.clone())?),
        })
    }
}

impl Launch {
    fn new(provider: impl Provider) -> Self {
        Self { run: Box::new(|feed| tokio::spawn(supervise::run(provider, feed))) }
    }

    /// Starts it on the current runtime.
    pub(crate) fn start(self, feed: Feed) -> JoinHandle<()> {
        (self.run)(feed)
    }
}

impl fmt::Debug for Launch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Launch")
    }
}
