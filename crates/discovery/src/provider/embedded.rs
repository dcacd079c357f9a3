//! Our own registry: services register themselves by HTTP, keep their lease by heartbeats, are looked at by checks, and
//! are remembered on disk.
//!
//! | file | idea |
//! |---|---|
//! | `settings` | what an operator writes |
//! | `rights` | who may read and write what |
//! | `registration`, `check` | what a service says of itself, checked |
//! | `state` | who is registered, until when, what changed, and how much may be; pure |
//! | `registry` | the handle that all share; who waits is woken, what changed is stored |
//! | `lease` | what is due when |
//! | `health` | what the looks of checks add up to; pure |
//! | `probe` | one look at an instance |
//! | `watchers` | who waits for which service |
//! | `audit` | who changed what |
//! | `transfer` | all of it at once, out and in |
//! | `journal`, `writer` | the disk, and the thread that waits for it |
//!
//! **On disk.** A change is routed when it is made and answered when the disk has it (one `fdatasync` for all changes
//! that wait). If the disk fails, registrations go on from memory and the answer says `stored: false`. Heartbeats and
//! verdicts of checks are not written. After a start every lease runs anew in full, and an instance serves until its
//! checks fail; the disk knows no times.

mod audit;
mod check;
mod health;
mod journal;
mod lease;
mod probe;
mod registration;
mod registry;
mod rights;
mod settings;
mod state;
mod transfer;
mod watchers;
mod writer;

use std::{convert::Infallible, sync::Arc};

use model::{Knowledge, ProviderError, Update};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use self::state::{Look, News};
use super::{Feed, Provider};

pub use audit::{Action, By, Entry};
pub use check::{Check, Role, What};
pub use health::Verdict;
pub use probe::Probe;
pub use registration::{LONGEST, Registration, default_id};
pub use registry::{NotRegistered, Registered, Registry};
pub use rights::{Pattern, Rights, Token};
pub use settings::{Checks, Settings};
pub use state::{Changes, Listed, Listing};
pub use transfer::{Imported, Mode};
pub use watchers::Watch;

/// The registry as a source of instances: pushes changes, ends leases, and looks at what it was asked to look at.
#[derive(Debug)]
pub struct Embedded {
    registry: Registry,
}

/// One finished look.
type Looked = (Look, Arc<Registration>, Result<String, String>);

impl Embedded {
    /// A source that says what this registry holds.
    #[must_use]
    pub fn new(registry: Registry) -> Self {
        Self { registry }
    }

    /// Begins looks that are due, as many as may run at once; returns whether there is room for more.
    fn look(&self, looking: &mut JoinSet<Looked>) -> bool {
        let most = self.registry.settings().checks.concurrency;
        for (look, registration) in self.registry.due(most.saturating_sub(looking.len())) {
            let probe = self.registry.probe();
            looking.spawn(async move {
                let found = match registration.checks.get(look.1) {
                    Some(check) => probe.look(&registration, check).await,
                    None => Err("there is no such check".to_owned()),
                };
                (look, registration, found)
            });
        }
        looking.len() < most
    }
}

impl Provider for Embedded {
    async fn watch(&mut self, feed: &Feed) -> Result<Infallible, ProviderError> {
        let all = self.registry.take_everything();
        feed.publish(Update::Everything(all.into_iter().collect())).await?;
        let mut looking = JoinSet::new();
        loop {
            let room = self.look(&mut looking);
            let wake = self.registry.next(room);
            tokio::select! {
                () = self.registry.changed() => {}
                Some(Ok((look, of, found))) = looking.join_next() => self.registry.observe(&look, &of, &found),
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => self.registry.expire(),
            }
            for News { service, list, deregistered, seen } in self.registry.take_news() {
                let knowledge = Knowledge::of(list);
                feed.publish_seen(Update::Service { service, knowledge, deregistered }, seen).await?;
            }
            for service in self.registry.take_forgotten() {
                feed.publish(Update::Forgotten(service)).await?;
            }
        }
    }
}
