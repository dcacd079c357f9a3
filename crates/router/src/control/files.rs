//! Where settings come from, at the start and at each reload.

use std::{net::SocketAddr, path::PathBuf};

use discovery::provider::embedded;
use model::Exposure;
use settings::{Entries, Mistakes};

use crate::settings::{Expose, Listener, Settings};

/// Where the settings come from.
#[derive(Debug, Clone)]
pub enum Origin {
    /// This file; it is watched.
    File(PathBuf),
    /// These, for tests and embedding.
    Given(Box<Settings>),
    /// None: loopback, a certificate made on the spot, the embedded registry, every registered service exposed.
    Nothing,
}

/// What the command line says over the file.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// Listen here instead of the file's listeners, in the manner of its first one.
    pub listen: Option<SocketAddr>,
    /// The admin listener's address.
    pub admin: Option<SocketAddr>,
    /// The address of the registry that runs without a file.
    pub registry: Option<SocketAddr>,
}

impl Origin {
    /// Reads the settings.
    ///
    /// # Errors
    /// All that is wrong with the file, and where.
    pub fn load(&self, overrides: &Overrides) -> Result<Settings, Mistakes> {
        let mut settings = match self {
            Self::File(path) => settings::load::<Settings>(path)?,
            Self::Given(settings) => (**settings).clone(),
            Self::Nothing => without_file(overrides.registry),
        };
        if let Some(address) = overrides.listen {
            let first = settings.listeners.into_iter().next().unwrap_or_default();
            settings.listeners = vec![Listener { address: address.into(), ..first }];
        }
        if let Some(address) = overrides.admin {
            settings.admin.address = address.into();
        }
        Ok(settings)
    }

    /// The file, if it is one.
    #[must_use]
    pub fn file(&self) -> Option<&PathBuf> {
        match self {
            Self::File(path) => Some(path),
            _ => None,
        }
    }
}

fn without_file(registry: Option<SocketAddr>) -> Settings {
    let default = embedded::Settings::default();
    let embedded = embedded::Settings { address: registry.unwrap_or(default.address), ..default };
    let embedded = discovery::Settings::Embedded(embedded);
    let settings = Settings {
        registries: Entries::from_iter([("local".to_owned(), embedded)]),
        expose: Expose { all: true, ..Expose::default() },
        ..Settings::default()
    };
    debug_assert!(settings.expose.compile(&mut Mistakes::default()) == Exposure::Everything);
    settings
}
