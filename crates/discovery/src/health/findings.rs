//! What the operator sees of checks.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use balancer::Vitals;
use model::Tick;

use super::{Role, check::What, probe::Found, state::Standing, subject::Subject};

/// What one check knows of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which of [`What::KINDS`] it is.
    pub kind: usize,
    /// What its failure means.
    pub role: Role,
    /// Whether it passes; `None` before the first verdict.
    pub passes: Option<bool>,
    /// Since when that is so.
    pub since: Tick,
    /// What the last look saw, for people.
    pub saw: Arc<str>,
    /// When the next look begins.
    pub next: Option<Tick>,
}

/// Counts for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Looks so far, by [`What::KINDS`].
    pub looks: [u64; What::KINDS.len()],
    /// Those that failed.
    pub failures: [u64; What::KINDS.len()],
    /// Instances under watch.
    pub watched: u64,
    /// Those that are out because a check fails.
    pub down: u64,
    /// Those that have not proven themselves yet.
    pub unproven: u64,
}

/// All that is found by checks. Written by the monitor, read by the operator's side; no request touches it.
#[derive(Debug, Default)]
pub struct Findings {
    subjects: Mutex<HashMap<Identity, Arc<Subject>>>,
    looks: [AtomicU64; What::KINDS.len()],
    failures: [AtomicU64; What::KINDS.len()],
}

/// Names an instance as long as somebody holds its vitals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Identity(usize);

impl Identity {
    pub(super) fn of(vitals: &Arc<Vitals>) -> Self {
        Self(Arc::as_ptr(vitals) as usize)
    }
}

impl Findings {
    /// What is known of the instance with these vitals, one for each check of its service, in the order of the file.
    #[must_use]
    pub fn of(&self, vitals: &Arc<Vitals>) -> Vec<Finding> {
        let subject = self.lock().get(&Identity::of(vitals)).cloned();
        subject.map(|subject| subject.findings()).unwrap_or_default()
    }

    /// The counts.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let load = |counts: &[AtomicU64; What::KINDS.len()]| counts.each_ref().map(|count| count.load(Relaxed));
        let mut totals = Totals { looks: load(&self.looks), failures: load(&self.failures), ..Totals::default() };
        let subjects: Vec<_> = self.lock().values().cloned().collect();
        for subject in subjects {
            totals.watched += 1;
            match subject.standing() {
                Standing::Up => {}
                Standing::Unproven => totals.unproven += 1,
                Standing::Down | Standing::Dead => totals.down += 1,
            }
        }
        totals
    }

    pub(super) fn count(&self, kind: usize, found: &Found) {
        self.looks[kind].fetch_add(1, Relaxed);
        if matches!(found, Found::Failed(_)) {
            self.failures[kind].fetch_add(1, Relaxed);
        }
    }

    pub(super) fn add(&self, subject: &Arc<Subject>) {
        self.lock().insert(Identity::of(&subject.target().upstream.vitals), Arc::clone(subject));
    }

    pub(super) fn remove(&self, identity: Identity) {
        self.lock().remove(&identity);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Identity, Arc<Subject>>> {
        self.subjects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
