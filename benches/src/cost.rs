//! What one call costs.

use std::{hint::black_box, time::Duration};

use tokio::time::Instant;

/// Batches, of which the median counts: an interrupt spoils a few of them and not the figure.
const BATCHES: usize = 31;
/// Long enough for the clock not to matter, short enough to fall between two interrupts.
const BATCH: Duration = Duration::from_millis(10);

/// Nanoseconds one call takes: the median over batches, caches warm.
pub fn nanos<T>(mut call: impl FnMut() -> T) -> f64 {
    let mut batch = |calls: u32| {
        let start = Instant::now();
        for _ in 0..calls {
            black_box(call());
        }
        start.elapsed()
    };
    let mut calls = 1;
    while batch(calls) < BATCH {
        calls *= 2;
    }
    let mut costs: Vec<f64> = (0..BATCHES).map(|_| batch(calls).as_nanos() as f64 / f64::from(calls)).collect();
    costs.sort_by(f64::total_cmp);
    costs[BATCHES / 2]
}
