//! Judges the instances of each service against each other, and tells the operator who is put out and who comes back.
//!
//! | File | |
//! |---|---|
//! | `outliers.rs` | the task: when what is done |
//! | `outliers/watch.rs` | who went out and came back since the last look |
//! | `outliers/compare.rs` | what each instance did within the last interval |
//! | `outliers/tell.rs` | history and log |
//!
//! The rules and the judgement are `balancer::eject`. Failures in a row are acted on by the data path itself; it leaves a
//! word in the service's vitals, and counts it as news of all services: without news, and while nobody is out, a look costs one
//! load for all of them.

mod compare;
mod tell;
#[cfg(test)]
mod tests;
mod watch;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use balancer::Cause;
use tokio::time::{MissedTickBehavior, interval};
use transport::clock;

use crate::{TableCell, history::History};
use compare::Compare;
use watch::Watch;

/// How often news are looked for. Few rests are shorter, so hardly one is missed.
const LOOK: Duration = Duration::from_secs(1);

/// An interval of comparison, in looks. Envoy's ten seconds.
const INTERVAL: u32 = 10;

/// Services that are compared before others on this thread get a turn: a fraction of a millisecond.
const BATCH: usize = 256;

/// How often instances were put out since the start, and circuits of services opened.
#[derive(Debug, Default)]
pub struct Totals {
    ejections: [AtomicU64; Cause::ALL.len()],
    panics: AtomicU64,
    opened: AtomicU64,
}

impl Totals {
    /// Instances put out, by cause.
    pub fn ejections(&self) -> impl Iterator<Item = (Cause, u64)> {
        Cause::ALL.into_iter().zip(&self.ejections).map(|(cause, count)| (cause, count.load(Relaxed)))
    }

    /// Times that a service let all in because too few were left.
    #[must_use]
    pub fn panics(&self) -> u64 {
        self.panics.load(Relaxed)
    }

    /// Times that the circuit of a service opened.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.opened.load(Relaxed)
    }

    fn ejected(&self, cause: Cause) {
        if let Some(at) = Cause::ALL.iter().position(|c| *c == cause) {
            self.ejections[at].fetch_add(1, Relaxed);
        }
    }
}

/// The task's state.
pub(crate) struct Outliers {
    table: Arc<TableCell>,
    watch: Watch,
    compare: Compare,
}

impl Outliers {
    pub(crate) fn new(table: Arc<TableCell>, history: Arc<History>, totals: Arc<Totals>) -> Self {
        Self { table, watch: Watch::new(history, totals), compare: Compare::default() }
    }

    /// Runs until it is aborted.
    pub(crate) async fn run(mut self) {
        let mut tick = interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for looks in 1_u32.. {
            tick.tick().await;
            self.look();
            if looks % INTERVAL == 0 {
                self.round().await;
            }
        }
    }

    /// Finds out what the data path did. Says how many services it had to look at for that.
    fn look(&mut self) -> usize {
        let (table, now) = (self.table.load(), clock::tick());
        self.watch.look(&table, now)
    }

    /// Compares all instances.
    async fn round(&mut self) {
        let (table, now) = (self.table.load(), clock::tick());
        let mut before = self.compare.take();
        for (number, service) in table.services().enumerate() {
            if number % BATCH == BATCH - 1 {
                tokio::task::yield_now().await;
            }
            for found in self.compare.service(service, &mut before) {
                self.watch.eject(service, &found, now);
            }
        }
        self.watch.forget();
    }
}
