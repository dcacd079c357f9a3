//! How long those stay whose withdrawal looks like a fault.

use std::{collections::HashMap, sync::Arc, time::Duration};

use model::ServiceId;

/// How long suspects stay.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Holds {
    /// Where nothing else is said.
    pub all: Duration,
    /// Of single sources.
    pub sources: HashMap<Arc<str>, Duration>,
    /// Of single services: before that of the source.
    pub services: HashMap<ServiceId, Duration>,
    /// Of services without their own, before that of the source.
    pub others: Option<Duration>,
}

impl Holds {
    pub(super) fn of(&self, source: &str, service: &ServiceId) -> Duration {
        let service = self.services.get(service).copied().or(self.others);
        service.or_else(|| self.sources.get(source).copied()).unwrap_or(self.all)
    }
}
