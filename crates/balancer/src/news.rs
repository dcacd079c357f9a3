//! Whether anything was put out, let in or opened since somebody last asked, of all services together. Where nothing was,
//! nobody needs to ask each of ten thousand.
//!
//! Written when something of the kind happens, never by a request that succeeds. One count for the process: a second router in it
//! has the first one look in vain at most.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Release},
};

static COUNT: AtomicU64 = AtomicU64::new(0);

/// There is news, which whoever sees this count can see too.
pub(crate) fn add() {
    COUNT.fetch_add(1, Release);
}

/// How often there was news.
#[must_use]
pub fn count() -> u64 {
    COUNT.load(Acquire)
}
