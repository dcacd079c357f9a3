//! The whole content at once: out, and in again.

use std::{collections::BTreeMap, sync::Arc};

use tokio::task::yield_now;

use super::{
    Registration, Registry,
    audit::{Action, By},
    lease::Key,
    registry::{Told, stored},
};

/// Instances in one step: a fraction of a millisecond's work.
const STEP: usize = 128;

/// What becomes of instances that an import does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// They stay.
    Merge,
    /// They leave.
    Replace,
}

/// What an import did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Imported {
    /// The registry's index after it.
    pub index: u64,
    /// Whether the disk has all of it.
    pub stored: bool,
    /// Instances that were not there.
    pub added: Vec<Key>,
    /// Instances that are described otherwise.
    pub altered: Vec<Key>,
    /// Instances that left.
    pub removed: Vec<Key>,
    /// Instances that were there just so.
    pub unchanged: usize,
}

impl Registry {
    /// All registrations, and the index at which they were so.
    #[must_use]
    pub fn export(&self) -> (u64, Vec<Arc<Registration>>) {
        let state = self.lock();
        (state.index, state.registrations().cloned().collect())
    }

    /// Takes in many registrations, exactly as they are written. Of two for one instance the last counts. A dry run
    /// changes nothing and tells what would change.
    ///
    /// It goes in small steps, so that heartbeats and registrations come between. Newcomers come before others leave, so
    /// no service is without instances that has some before and after. Whoever registers while it goes on stays.
    pub async fn import(&self, by: &By, registrations: Vec<Registration>, mode: Mode, dry: bool) -> Imported {
        let wanted = by_key(registrations).await;
        let leaving = if mode == Mode::Replace { self.unnamed(&wanted).await } else { Vec::new() };
        let mut import = Import { registry: self, by, dry, imported: Imported::default(), told: Vec::new() };
        let mut wanted = wanted.into_iter().peekable();
        while wanted.peek().is_some() {
            import.put(wanted.by_ref().take(STEP));
            yield_now().await;
        }
        for some in leaving.chunks(STEP) {
            import.take(some);
            yield_now().await;
        }
        let Import { mut imported, told, .. } = import;
        (imported.index, imported.stored) = (self.index(), !dry);
        for told in told {
            // Where one waited in vain, all would.
            imported.stored = imported.stored && stored(told).await;
        }
        imported
    }

    /// Whoever is registered and not among these.
    async fn unnamed(&self, wanted: &BTreeMap<Key, Registration>) -> Vec<Arc<Registration>> {
        let mut unnamed = Vec::new();
        for (number, registration) in self.export().1.into_iter().enumerate() {
            if number % STEP == STEP - 1 {
                yield_now().await;
            }
            if !wanted.contains_key(&key(&registration)) {
                unnamed.push(registration);
            }
        }
        unnamed
    }
}

/// An import that goes on step by step.
struct Import<'a> {
    registry: &'a Registry,
    by: &'a By,
    dry: bool,
    imported: Imported,
    told: Vec<Told>,
}

impl Import<'_> {
    fn put(&mut self, wanted: impl Iterator<Item = (Key, Registration)>) {
        let mut state = self.registry.lock();
        for (key, registration) in wanted {
            match state.get(&key) {
                None => self.imported.added.push(key),
                Some(old) if **old == registration => self.imported.unchanged += 1,
                Some(_) => self.imported.altered.push(key),
            }
            if !self.dry {
                // Those that are there just so as well: their lease begins anew.
                self.told.push(self.registry.put(&mut state, self.by, registration).1);
            }
        }
    }

    /// Takes out those who are registered as they were at the beginning.
    fn take(&mut self, leaving: &[Arc<Registration>]) {
        let mut state = self.registry.lock();
        for registration in leaving {
            let key = key(registration);
            if state.get(&key).is_none_or(|now| !Arc::ptr_eq(now, registration)) {
                continue;
            }
            if !self.dry {
                let why = (Action::Deregister, "import");
                self.told.extend(self.registry.take(&mut state, &key, self.by, why, true));
            }
            self.imported.removed.push(key);
        }
    }
}

async fn by_key(registrations: Vec<Registration>) -> BTreeMap<Key, Registration> {
    let mut all = BTreeMap::new();
    for (number, registration) in registrations.into_iter().enumerate() {
        if number % STEP == STEP - 1 {
            yield_now().await;
        }
        all.insert(key(&registration), registration);
    }
    all
}

fn key(registration: &Registration) -> Key {
    (registration.name.clone(), registration.id.clone())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn registration(id: u8, port: u16) -> Registration {
        serde_json::from_str(&format!(r#"{{"name":"pets","id":"{id}","ip":"10.0.0.1","port":{port},"ttl":"none"}}"#))
            .unwrap()
    }

    /// A registry with these, by id and port.
    async fn filled(content: &[(u8, u16)]) -> Registry {
        let registry = Registry::in_memory();
        for (id, port) in content {
            registry.register(&By::registry(), registration(*id, *port)).await;
        }
        registry
    }

    fn content(registry: &Registry) -> Vec<Registration> {
        registry.export().1.iter().map(|r| (**r).clone()).collect()
    }

    /// Polls the import, then looks, in turns, until it is done; how often it looked.
    async fn looking(import: impl Future<Output = Imported>, mut look: impl FnMut()) -> (Imported, usize) {
        let mut looks = 0;
        let looking = async {
            loop {
                look();
                looks += 1;
                yield_now().await;
            }
        };
        let imported = tokio::select! {
            biased;
            imported = import => imported,
            _ = looking => unreachable!("it has no end"),
        };
        (imported, looks)
    }

    #[tokio::test]
    async fn heartbeats_go_on_during_an_import_and_no_service_is_empty_in_between() {
        let registry = filled(&[(1, 1), (2, 1)]).await;
        let other = r#"{"name":"other","id":"1","ip":"10.0.0.1","port":1,"ttl":"30s"}"#;
        registry.register(&By::registry(), serde_json::from_str(other).unwrap()).await;
        let named = |number: usize| {
            let json = format!(r#"{{"name":"pets","id":"n{number}","ip":"10.0.0.1","port":1,"ttl":"none"}}"#);
            serde_json::from_str::<Registration>(&json).unwrap()
        };
        let mut wanted: Vec<_> = (0..20 * STEP).map(named).collect();
        wanted.push(serde_json::from_str(other).unwrap());
        let (name, id) = (model::ServiceId::new("other").unwrap(), model::InstanceId::new("1").unwrap());
        let by = By::registry();
        let (imported, looks) = looking(registry.import(&by, wanted, Mode::Replace, false), || {
            assert!(registry.heartbeat(name.clone(), id.clone()).is_ok());
            assert!(!registry.now("pets").instances.is_empty());
        })
        .await;
        assert_eq!((imported.added.len(), imported.removed.len(), imported.unchanged), (20 * STEP, 2, 1));
        // Once for each step of sorting, and of taking in.
        assert!(looks >= 40, "{looks} looks while {} were taken in", 20 * STEP);
    }

    #[tokio::test]
    async fn whoever_registers_while_an_import_goes_on_stays() {
        let registry = filled(&[(1, 1)]).await;
        let (by, mut newcomer) = (By::registry(), Some(registration(7, 1)));
        let (imported, _) = looking(registry.import(&by, vec![registration(2, 1)], Mode::Replace, false), || {
            if let Some(newcomer) = newcomer.take() {
                drop(registry.put(&mut registry.lock(), &By::registry(), newcomer));
            }
        })
        .await;
        let ids: Vec<_> = content(&registry).iter().map(|r| r.id.to_string()).collect();
        assert_eq!((ids, imported.removed.len()), (vec!["2".to_owned(), "7".to_owned()], 1));
    }

    proptest! {
        /// A dry run tells exactly what the import then does, and doing it twice changes nothing more.
        #[test]
        fn an_import_does_what_its_dry_run_said(
            before in prop::collection::vec((0_u8..6, 1_u16..3), 0..8),
            wanted in prop::collection::vec((0_u8..6, 1_u16..3), 0..8),
            replace in any::<bool>(),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let (registry, by) = (filled(&before).await, By::registry());
                let mode = if replace { Mode::Replace } else { Mode::Merge };
                let list = || wanted.iter().map(|(id, port)| registration(*id, *port)).collect::<Vec<_>>();
                let untouched = registry.export();
                let said = registry.import(&by, list(), mode, true).await;
                assert_eq!(registry.export(), untouched);
                let done = registry.import(&by, list(), mode, false).await;
                assert_eq!((&said.added, &said.altered, &said.removed), (&done.added, &done.altered, &done.removed));
                let changes = done.added.len() + done.altered.len() + done.removed.len();
                assert_eq!(done.index, untouched.0 + changes as u64);
                let again = registry.import(&by, list(), mode, false).await;
                assert_eq!(again.index, done.index);
                if replace {
                    assert_eq!(content(&registry), content(&filled(&wanted).await));
                }
                // What comes out goes in again.
                let copy = Registry::in_memory();
                copy.import(&by, content(&registry), Mode::Replace, false).await;
                assert_eq!(content(&copy), content(&registry));
            });
        }
    }
}
