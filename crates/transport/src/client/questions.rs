//! How often a server is asked, so that somebody can see that it is not asked too often.

use std::sync::atomic::{AtomicU64, Ordering};

use model::Tick;

/// Counts questions to a registry. Written where they are asked, read by whoever shows it; all clones of a client, and all
/// clients of one source, share it.
#[derive(Debug, Default)]
pub struct Questions {
    count: AtomicU64,
    /// When the last one was asked; 0: none yet.
    last: AtomicU64,
}

impl Questions {
    /// Notes that a question is asked now. One that finds no connection is asked too.
    pub fn note(&self, now: Tick) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.last.store(now.0.max(1), Ordering::Relaxed);
    }

    /// How many were asked.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// When the last one was asked.
    #[must_use]
    pub fn last(&self) -> Option<Tick> {
        Some(self.last.load(Ordering::Relaxed)).filter(|at| *at > 0).map(Tick)
    }
}
