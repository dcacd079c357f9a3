//! The services that have instances by their own last word. Kept over outages and reloads: each is watched until it says
//! itself that it is empty, because a catalogue that no longer names it may be that of an agent that came back without
//! it, or of a token that lost a right.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use model::ServiceId;

use crate::provider::Interest;

/// Shared by the source and its watches.
#[derive(Debug, Clone, Default)]
pub(super) struct Held(Arc<Mutex<BTreeSet<ServiceId>>>);

impl Held {
    /// The service said whether it has instances.
    pub(super) fn note(&self, service: &ServiceId, empty: bool) {
        if empty {
            self.lock().remove(service);
        } else {
            self.lock().insert(service.clone());
        }
    }

    /// Whether it has.
    #[cfg(feature = "kubernetes")]
    pub(super) fn holds(&self, service: &ServiceId) -> bool {
        self.lock().contains(service)
    }

    /// All of them.
    pub(super) fn all(&self) -> BTreeSet<ServiceId> {
        self.lock().clone()
    }

    /// Lets go of what the file can no longer mean, and says what that is.
    pub(super) fn let_go(&self, interest: &Interest) -> Vec<ServiceId> {
        self.lock().extract_if(.., |service| !interest.may_mean(service)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<ServiceId>> {
        // The set is whole between any two statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use model::Exposure;

    use super::*;

    #[test]
    fn a_service_is_held_until_it_says_that_it_is_empty_or_nobody_can_mean_it() {
        let name = |text| ServiceId::new(text).unwrap();
        let held = Held::default();
        for service in ["a", "b", "com.x"] {
            held.note(&name(service), false);
        }
        held.note(&name("b"), true);
        let prefix =
            Exposure::Matching { services: BTreeSet::new(), prefixes: vec!["com.".into()], tags: BTreeSet::new() };
        let interest = Interest { services: [name("a")].into(), exposure: prefix };
        assert_eq!(held.let_go(&interest), []);
        assert_eq!(held.all(), [name("a"), name("com.x")].into());
        assert_eq!(held.let_go(&Interest { services: [name("a")].into(), ..Interest::default() }), [name("com.x")]);
        assert_eq!(held.all(), [name("a")].into());
    }
}
