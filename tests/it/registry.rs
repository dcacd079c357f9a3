//! Real registries for tests: the shared one of this run, or one of the test's own.

use std::{
    collections::BTreeSet,
    io::Write as _,
    process::{Command, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use settings::{Secret, SecretSource};

/// What `tests/run` says of the shared server of this kind; `None` if this run has none and needs none.
pub(crate) fn environment(registry: &'static str, name: &str) -> Option<String> {
    let value = std::env::var(name).ok();
    if value.is_none() {
        skipped(registry, &format!("{name} is not set"));
    }
    value
}

/// Says once that the tests which need this are skipped, and why.
///
/// # Panics
/// If this run requires it.
pub(crate) fn skipped(what: &'static str, why: &str) {
    static SAID: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());
    let required = std::env::var("POINTSMAN_TESTS_REQUIRE").unwrap_or_default();
    assert!(!required.split(',').any(|one| one == what), "{why}, and {what} is required");
    if SAID.lock().unwrap_or_else(PoisonError::into_inner).insert(what) {
        // Past the test harness, which hides what passing tests print.
        drop(writeln!(
            std::io::stderr(),
            "skipped: tests with a real {what}: {why}; tests/run [--kubernetes] sees to it"
        ));
    }
}

/// A secret that stands in the file.
pub(crate) fn inline(text: &str) -> Option<SecretSource> {
    Some(SecretSource::Inline(Secret::from(text.to_owned())))
}

/// A name that no other test of this run or another one has.
pub(crate) fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Runs one of the scripts that start, stop and pause registries; what it prints.
fn script(name: &str, arguments: &[&str]) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/registries/").to_owned() + name;
    let output = Command::new(path).args(arguments).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A registry of this test's own, of one node or several, to be stopped and paused; it is gone at the end.
#[derive(Debug)]
pub(crate) struct Own {
    pub(crate) id: String,
    printed: String,
}

impl Own {
    /// `what`: its kind, and which variant of it.
    pub(crate) async fn start(what: &'static [&'static str]) -> Self {
        tokio::task::spawn_blocking(move || Self::start_blocking(what)).await.unwrap()
    }

    /// The same, where waiting may block.
    pub(crate) fn start_blocking(what: &[&str]) -> Self {
        let id = unique("own");
        let printed = script("up", &[what, &["--id", &id]].concat());
        Self { id, printed }
    }

    /// What its starter says, as `tests/run` would put it into the environment.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        let prefix = format!("export {name}=");
        let value = self.printed.lines().find_map(|line| line.strip_prefix(&prefix));
        // Printed for a shell, which quotes commas by a backslash at most.
        value.map(|text| text.replace('\\', ""))
    }

    /// Does this to the node of this number: `stop`, `kill`, `start`, `pause` or `resume`.
    pub(crate) fn node(&self, number: usize, action: &str) {
        script("node", &[&self.id, &number.to_string(), action]);
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        script("down", &[&self.id]);
    }
}
