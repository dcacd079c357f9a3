//! What a source says, as far as it concerns the source itself; and what is new about it then.

use std::{collections::BTreeSet, time::Duration};

use model::{Knowledge, ProviderError, ServiceId, Update};

/// What is new about a source.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Turn {
    /// It answers, after having been down for so long.
    Live(Duration),
    /// It cannot be reached.
    Down(ProviderError),
    /// It does not know about one service.
    Doubt(ServiceId, ProviderError),
    /// It knows about that again, after so long.
    Certain(ServiceId, Duration),
    /// It stands by its word of one service again, after an outage.
    Confirmed(ServiceId),
    /// A record could not be used.
    Skipped(String),
}

/// The part of an update that concerns the status of its source.
#[derive(Debug)]
pub(crate) enum Word {
    Everything,
    Catalogue(BTreeSet<ServiceId>),
    Service(ServiceId),
    Forgotten(ServiceId),
    Doubt(ServiceId, ProviderError),
    Unreachable(ProviderError),
    Skipped(String),
}

impl Word {
    pub(crate) fn of(update: &Update) -> Self {
        match update {
            Update::Everything(_) => Self::Everything,
            Update::Catalogue(services) => Self::Catalogue(services.clone()),
            Update::Service { service, knowledge: Knowledge::Unknown(error), .. } => {
                Self::Doubt(service.clone(), error.clone())
            }
            Update::Service { service, .. } => Self::Service(service.clone()),
            Update::Forgotten(service) => Self::Forgotten(service.clone()),
            Update::Unreachable(error) => Self::Unreachable(error.clone()),
            Update::Skipped { service: None, reason } => Self::Skipped(reason.clone()),
            Update::Skipped { service: Some(service), reason } => Self::Skipped(format!("{service}: {reason}")),
        }
    }
}
