//! Real registries for tests: the shared one of this run, or one of the test's own.

use std::{
    collections::BTreeSet,
    io::Write as _,
    sync::{Mutex, PoisonError},
};

use crate::consul::rig::{registries, unique};

/// What `tests/run` says of the shared server of this kind; `None` if this run has none and needs none.
pub(crate) fn environment(registry: &'static str, name: &str) -> Option<String> {
    static SAID: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());
    let value = std::env::var(name).ok();
    if value.is_none() {
        let required = std::env::var("POINTSMAN_TESTS_REQUIRE").unwrap_or_default();
        assert!(!required.split(',').any(|r| r == registry), "{name} is not set, and {registry} is required");
        if SAID.lock().unwrap_or_else(PoisonError::into_inner).insert(registry) {
            // Past the test harness, which hides what passing tests print.
            let line = format!("skipped: tests with a real registry, {registry}; tests/run has one");
            drop(writeln!(std::io::stderr(), "{line}"));
        }
    }
    value
}

/// A server of this test's own, to be stopped and paused; it is gone at the end.
#[derive(Debug)]
pub(crate) struct Own {
    id: String,
    printed: String,
}

impl Own {
    pub(crate) async fn start(registry: &'static str) -> Self {
        let start = move || {
            let id = unique("own");
            let printed = registries("up", &[registry, "--id", &id]);
            Self { id, printed }
        };
        tokio::task::spawn_blocking(start).await.unwrap()
    }

    /// What its starter says, as `tests/run` would put it into the environment.
    pub(crate) fn variable(&self, name: &str) -> &str {
        let prefix = format!("export {name}=");
        self.printed.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or_else(|| panic!("no {name}"))
    }

    /// `stop`, `kill`, `start`, `pause` or `resume`.
    pub(crate) fn node(&self, action: &str) {
        registries("node", &[&self.id, "1", action]);
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        registries("down", &[&self.id]);
    }
}
