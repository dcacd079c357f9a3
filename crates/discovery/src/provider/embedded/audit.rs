//! Who changed what, from where, and when: the last changes in memory, and every one in the log under `audit`.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use model::{InstanceId, ServiceId};
use serde::Serialize;

use super::lease::Key;

/// How many changes are kept in memory.
pub(super) const KEPT: usize = 1000;

/// On whose behalf a change is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct By {
    /// The name of the token; `anonymous` without one, `registry` for what it does itself.
    pub who: Arc<str>,
    /// Where the request came from.
    pub from: Option<SocketAddr>,
}

impl By {
    /// The registry itself: a lease ended, a check failed.
    #[must_use]
    pub fn registry() -> Self {
        Self { who: Arc::from("registry"), from: None }
    }
}

/// One change.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// The registry's index after it.
    pub index: u64,
    /// Milliseconds since 1970, by this machine's clock.
    pub time_ms: u64,
    /// Whose change it was.
    pub who: Arc<str>,
    /// From which address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<SocketAddr>,
    /// What was done.
    pub action: Action,
    /// To which service.
    pub service: ServiceId,
    /// To which instance of it.
    pub instance: InstanceId,
    /// Why, or with which values.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub detail: String,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A new instance.
    Register,
    /// Another description of an instance.
    Change,
    /// An instance was taken out.
    Deregister,
    /// Maintenance began.
    Maintain,
    /// Maintenance ended.
    Resume,
    /// No heartbeat came.
    Expire,
    /// Its checks pass.
    Ready,
    /// A check fails.
    Unready,
    /// Its checks ended its registration.
    Dead,
}

/// The last changes. Bounded.
#[derive(Debug, Default)]
pub(super) struct Audit {
    entries: VecDeque<Entry>,
}

impl Audit {
    /// Notes a change, and logs it.
    pub(super) fn note(&mut self, by: &By, action: Action, (service, instance): &Key, index: u64, detail: &str) {
        let from = by.from.map(tracing::field::display);
        tracing::info!(target: "audit", who = %by.who, from, ?action, %service, %instance, index, detail, "registry changed");
        if self.entries.len() == KEPT {
            self.entries.pop_front();
        }
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.entries.push_back(Entry {
            index,
            time_ms: u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
            who: by.who.clone(),
            from: by.from,
            action,
            service: service.clone(),
            instance: instance.clone(),
            detail: detail.to_owned(),
        });
    }

    /// The changes after this index, oldest first.
    pub(super) fn after(&self, index: u64) -> Vec<Entry> {
        self.entries.iter().filter(|entry| entry.index > index).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trail_is_bounded_and_keeps_the_newest() {
        let key = (ServiceId::new("pets").unwrap(), InstanceId::new("a").unwrap());
        let mut audit = Audit::default();
        for index in 1..=KEPT as u64 + 5 {
            audit.note(&By::registry(), Action::Change, &key, index, "");
        }
        let all = audit.after(0);
        assert_eq!((all.len(), all[0].index), (KEPT, 6));
        assert_eq!(audit.after(KEPT as u64 + 4).len(), 1);
    }
}
