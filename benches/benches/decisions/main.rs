//! What single decisions cost: those a request meets, and a change of the table. README.md has the figures.
#![allow(clippy::expect_used, reason = "a measurement that cannot go on has nothing to recover")]

mod head;
mod pick;
mod route;
mod services;
mod table;

use std::time::Duration;

use criterion::{BatchSize, Criterion};

/// The router's own allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How many at once are made of what a call uses up: few enough to be in the cache, as what a request brings is.
const FEW: BatchSize = BatchSize::NumIterations(64);

fn main() {
    // Short, so that all of it takes a minute.
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(50)
        .nresamples(10_000)
        .without_plots()
        .configure_from_args();
    table::measure(&mut criterion);
    pick::measure(&mut criterion);
    route::measure(&mut criterion);
    head::measure(&mut criterion);
    criterion.final_summary();
}

/// Goes through all of so many, each far from the one before: none is in a cache when its turn comes.
fn turns(all: usize) -> impl FnMut() -> usize {
    let mut number = 0;
    move || {
        number = (number + 7919) % all;
        number
    }
}
