//! Holds figures against their limits.

use std::process::ExitCode;

use crate::{
    instructions,
    ledger::Cost,
    limits::{self, INSTRUCTIONS, TEXT},
    trace::Trace,
};

/// A figure this far below its limit lets a regression pass unseen.
const LOOSE: f64 = 0.03;

/// Prints every figure, remembers those above their limit.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    broken: Vec<String>,
}

impl Judge {
    /// The calls on connections in each round, and that each was written to once.
    pub(crate) fn calls(&mut self, trace: Trace, cost: &Cost) {
        let limits = limits::of(trace);
        let per_round = |count: u64| count as f64 / f64::from(cost.rounds);
        for (what, count, limit) in [
            ("writes to the client a round", cost.client.writes, limits.client_writes),
            ("reads from the client a round", cost.client.reads, limits.client_reads),
            ("polls of the client in vain a round", cost.client.vain, limits.client_vain),
            ("writes to instances a round", cost.instances.writes, limits.instance_writes),
            ("reads from instances a round", cost.instances.reads, limits.instance_reads),
            ("polls of instances in vain a round", cost.instances.vain, limits.instance_vain),
        ] {
            self.check(trace, what, per_round(count), limit, 0.0);
        }
        self.check(trace, "writes to one connection, most a round", cost.most as f64, limits.most_writes, 0.0);
    }

    /// Allocations for each request.
    pub(crate) fn allocations(&mut self, trace: Trace, cost: &Cost) {
        let limits = limits::of(trace);
        let requests = f64::from(cost.rounds * trace.requests());
        self.check(trace, "allocations a request", cost.allocated.times as f64 / requests, limits.allocations, 0.0);
        self.check(trace, "bytes allocated a request", cost.allocated.bytes as f64 / requests, limits.bytes, TEXT);
    }

    /// Instructions for each request.
    pub(crate) fn instructions(&mut self, trace: Trace) {
        let (figure, profile) = instructions::of(trace);
        if !self.check(trace, "instructions a request", figure, limits::of(trace).instructions, INSTRUCTIONS) {
            println!("where they go: callgrind_annotate {}", profile.display());
        }
    }

    /// Whether the figure is within its limit.
    fn check(&mut self, trace: Trace, what: &str, figure: f64, limit: f64, tolerance: f64) -> bool {
        let name = trace.name();
        // Limits are written with two decimals.
        let holds = figure <= limit * (1.0 + tolerance) + 0.005;
        let remark = if !holds {
            "  TOO MUCH"
        } else if figure < limit * (1.0 - LOOSE) {
            "  the limit can be lowered"
        } else {
            ""
        };
        println!("{name:<5} {what:<38} {figure:>10.2}   limit {limit:>10.2}{remark}");
        if !holds {
            self.broken.push(format!("{name}: {what}: {figure:.2}, limit {limit:.2}"));
        }
        holds
    }

    /// Fails if anything was above its limit.
    pub(crate) fn verdict(self) -> ExitCode {
        if self.broken.is_empty() {
            return ExitCode::SUCCESS;
        }
        eprintln!(
            "\nrule:   a proxied request costs no more than tests/budget/limits.rs allows\n\
             reason: what each change makes a little dearer, all of them together make slow\n\
             remedy: mend the regression; or set the limit anew in the same commit, and say there why it is worth it\n  {}\n",
            self.broken.join("\n  ")
        );
        ExitCode::FAILURE
    }
}
