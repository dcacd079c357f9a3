//! The cost budget: allocations, I/O calls and instructions for each proxied request, on fixed traces in memory. What
//! costs more than [`limits`] say fails the build. `benches/README.md` says more.
//!
//! `budget` checks everything; `budget run TRACE ROUNDS` only runs a trace, for profilers.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints its measurement")]
#![allow(clippy::expect_used, reason = "what cannot be measured fails")]

mod alloc;
mod h1;
mod h2;
mod instructions;
mod judge;
mod ledger;
mod limits;
mod peer;
mod trace;

use std::{env, process::ExitCode};

use judge::Judge;
use trace::Trace;

/// Rounds until nothing grows any more: pools are connected, tables and buffers have their size.
const WARM_UP: u32 = 50;
/// Rounds that count.
const ROUNDS: u32 = 100;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [run, name, rounds] = &arguments[..]
        && run == "run"
    {
        let trace = Trace::ALL.into_iter().find(|trace| trace.name() == name).expect("a trace: h2, post or h1");
        trace.run(WARM_UP, rounds.parse().expect("a number of rounds"));
        return ExitCode::SUCCESS;
    }
    // `cargo test WORD` means tests with that word in their name.
    let mut words = arguments.iter().filter(|argument| !argument.starts_with('-')).peekable();
    if words.peek().is_some() && !words.any(|word| "budget".contains(word.as_str())) {
        return ExitCode::SUCCESS;
    }
    let mut judge = Judge::default();
    for trace in Trace::ALL {
        let cost = trace.run(WARM_UP, ROUNDS);
        judge.calls(trace, &cost);
        // Unoptimised code allocates and computes what nobody pays in life.
        if !cfg!(debug_assertions) {
            judge.allocations(trace, &cost);
        }
    }
    if cfg!(debug_assertions) {
        eprintln!("skipped: allocations and instructions; cargo test --release -p tests --test budget");
    } else if instructions::is_there().is_ok() {
        for trace in Trace::ALL {
            judge.instructions(trace);
        }
    } else {
        let required = env::var("POINTSMAN_TESTS_REQUIRE").unwrap_or_default();
        assert!(!required.split(',').any(|word| word == "valgrind"), "valgrind does not run, and is required");
        eprintln!("skipped: instructions, for want of valgrind; tests/run installs it");
    }
    judge.verdict()
}
