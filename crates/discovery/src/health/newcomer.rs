//! Who proves itself before it is used. Pure.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use model::ServiceId;

/// The sources of the router's own start that have not told yet who is there, each with the services it has told of.
/// Whoever they name first is not new: it may have served for days, and a router that restarts must not doubt everybody.
#[derive(Debug, Default)]
pub(crate) struct Newcomers {
    starting: BTreeMap<Arc<str>, HashSet<ServiceId>>,
    arranged: bool,
}

impl Newcomers {
    /// These are the sources from now on. Those of the first time are there at the start.
    pub(crate) fn arrange<'a>(&mut self, names: impl Iterator<Item = &'a Arc<str>>) {
        let names: BTreeSet<_> = names.cloned().collect();
        if std::mem::replace(&mut self.arranged, true) {
            self.starting.retain(|name, _| names.contains(name));
        } else {
            self.starting = names.into_iter().map(|name| (name, HashSet::new())).collect();
        }
    }

    /// Whether anything is still to be heard from this source for the first time.
    pub(crate) fn awaits(&self, source: &str) -> bool {
        self.starting.contains_key(source)
    }

    /// All that this source knows is in the table.
    pub(crate) fn told_all(&mut self, source: &str) {
        self.starting.remove(source);
    }

    /// What this source knows of a service is in the table.
    pub(crate) fn told(&mut self, source: &str, service: &ServiceId) {
        if let Some(services) = self.starting.get_mut(source) {
            services.insert(service.clone());
        }
    }

    /// Whether an instance of this service that the table did not have is new.
    pub(crate) fn are_of(&self, source: &str, service: &ServiceId) -> bool {
        self.starting.get(source).is_none_or(|told| told.contains(service))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::service;

    #[test]
    fn who_is_named_first_at_the_start_is_not_new_and_everybody_later_is() {
        let (a, b, c): (Arc<str>, Arc<str>, Arc<str>) = ("a".into(), "b".into(), "c".into());
        let (pets, orders) = (service("pets"), service("orders"));
        let mut newcomers = Newcomers::default();
        newcomers.arrange([&a, &b].into_iter());
        assert!(!newcomers.are_of("a", &pets) && !newcomers.are_of("b", &pets) && newcomers.awaits("a"));
        newcomers.told_all("a");
        assert!(newcomers.are_of("a", &pets) && !newcomers.awaits("a"));
        // Of a source that cannot tell of one service the others are told of all the same.
        newcomers.told("b", &pets);
        assert!(newcomers.are_of("b", &pets) && !newcomers.are_of("b", &orders));
        // A reload: `a` is another source of that name now, `c` is added.
        newcomers.arrange([&a, &b, &c].into_iter());
        assert!(newcomers.are_of("a", &pets) && newcomers.are_of("c", &pets) && !newcomers.are_of("b", &orders));
        newcomers.told_all("b");
        newcomers.told("c", &pets);
        assert!(newcomers.are_of("b", &orders) && !newcomers.awaits("c"));
    }
}
