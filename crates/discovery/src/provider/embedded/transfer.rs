//! The whole content at once: out, and in again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Registration, Registry,
    audit::{Action, By},
    lease::Key,
    registry::stored,
    state::State,
};

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
#[derive(Debug, Clone, PartialEq, Eq)]
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

    /// Takes in many registrations in one step, exactly as they are written. Of two for one instance the last counts.
    /// A dry run changes nothing and tells what would change.
    pub async fn import(&self, by: &By, registrations: Vec<Registration>, mode: Mode, dry: bool) -> Imported {
        let wanted: BTreeMap<Key, Registration> =
            registrations.into_iter().map(|r| ((r.name.clone(), r.id.clone()), r)).collect();
        let mut told = Vec::new();
        let mut imported = {
            let mut state = self.lock();
            let mut imported = plan(&state, &wanted, mode);
            if !dry {
                for key in &imported.removed {
                    told.extend(self.take(&mut state, key, by, (Action::Deregister, "import"), true));
                }
                // Those that are there just so as well: their lease begins anew.
                told.extend(wanted.into_values().map(|registration| self.put(&mut state, by, registration).1));
            }
            imported.index = state.index;
            imported
        };
        imported.stored = !dry;
        for told in told {
            imported.stored &= stored(told).await;
        }
        imported
    }
}

/// What an import changes. Pure.
fn plan(state: &State, wanted: &BTreeMap<Key, Registration>, mode: Mode) -> Imported {
    let mut plan = Imported { index: 0, stored: false, added: vec![], altered: vec![], removed: vec![], unchanged: 0 };
    for (key, registration) in wanted {
        match state.get(key) {
            None => plan.added.push(key.clone()),
            Some(old) if **old == *registration => plan.unchanged += 1,
            Some(_) => plan.altered.push(key.clone()),
        }
    }
    if mode == Mode::Replace {
        let there: BTreeSet<Key> = state.registrations().map(|r| (r.name.clone(), r.id.clone())).collect();
        plan.removed = there.into_iter().filter(|key| !wanted.contains_key(key)).collect();
    }
    plan
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
