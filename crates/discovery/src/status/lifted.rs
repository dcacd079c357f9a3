//! Doubts that were taken back a moment ago.

use std::{collections::BTreeMap, time::Duration};

use model::{ServiceId, Tick};

/// A doubt that follows this soon is as old as the one that was taken back, be it for another reason: of a list of which a
/// part is known only, what is known is said first, and then that it is not all. Others may be spoken of in between.
const AT_ONCE: Duration = Duration::from_secs(1);

/// The services that a source was certain of again. At most all of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Lifted {
    /// Since when each had not been certain, and when it was.
    services: BTreeMap<ServiceId, (Tick, Tick)>,
    last: Tick,
}

impl Lifted {
    /// It is certain of this service now, and had not been since then.
    pub(super) fn note(&mut self, service: ServiceId, since: Tick, now: Tick) {
        if now.since(self.last) >= AT_ONCE {
            self.services.clear();
        }
        self.last = now;
        self.services.insert(service, (since, now));
    }

    /// It doubts this service; since when it has, if it never was certain for long.
    pub(super) fn take(&mut self, service: &ServiceId, now: Tick) -> Option<Tick> {
        let (since, at) = self.services.remove(service)?;
        (now.since(at) < AT_ONCE).then_some(since)
    }
}
