//! The table: which services there are and who serves them, as one immutable snapshot.
//!
//! Requests read it without a lock; the reconciler alone makes successors by [`Table::next`] and publishes them in the
//! [`TableCell`]. It is kept in groups of shards, so that a successor copies what changed and shares the rest.

pub mod cell;
mod next;
mod reach;
pub mod service;
mod view;

use std::{hash::BuildHasher, sync::Arc};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use model::ServiceId;

pub use cell::{TableCell, TableReader};
pub use next::{Next, Touched};
pub use reach::Reach;
pub use service::{Member, Service};

use crate::Policies;

#[cfg(test)]
mod tests;

/// How many groups of shards, and how many shards in each: a successor takes hold of every group, of every shard in one of
/// them, and of every service in one of those, and lets go of as many when the table before ends. Each is a cache line,
/// and a cold one at rest: with 10,000 services 68 of them, where 128 shards alone would make 206.
const GROUPS: usize = 16;
const SHARDS: usize = 32;

type Group = [Arc<Shard>; SHARDS];

/// The services whose names hash into one shard.
type Shard = HashTable<Arc<Service>>;

/// All services and their members at one moment.
#[derive(Debug)]
pub struct Table {
    /// Counts the tables of this process.
    pub generation: u64,
    /// The policies it was made with.
    pub policies: Arc<Policies>,
    groups: [Arc<Group>; GROUPS],
    hasher: RandomState,
    digest: u64,
    services: usize,
}

impl Table {
    /// The table before any source has spoken: generation 0, and no services.
    #[must_use]
    pub fn empty(policies: Arc<Policies>) -> Self {
        let shard = Arc::new(Shard::new());
        let group = Arc::new(std::array::from_fn(|_| shard.clone()));
        Self {
            generation: 0,
            policies,
            groups: std::array::from_fn(|_| group.clone()),
            hasher: RandomState::default(),
            digest: 0,
            services: 0,
        }
    }

    /// The service of this name, exposed or not. Costs one hash, found or not.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&Arc<Service>> {
        let hash = self.hasher.hash_one(name);
        let (group, shard) = place_of(hash);
        self.groups[group][shard].find(hash, |s| s.id.as_str() == name)
    }

    /// The service of this name if clients may name it.
    #[must_use]
    pub fn exposed(&self, name: &str) -> Option<&Arc<Service>> {
        self.service(name).filter(|s| s.exposed)
    }

    /// All services, in no order.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.groups.iter().flat_map(|group| group.iter()).flat_map(|shard| shard.iter())
    }

    /// How many services there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.services
    }

    /// Whether there is no service at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.services == 0
    }

    /// A number for the content (services, instances, endpoints, weights, attributes) that is equal on two routers
    /// whose sources say the same, in whatever order they said it. Suspects do not count: they are our own memory.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// Puts a service in, or with `None` takes it out; returns the one before.
    fn set(&mut self, name: &ServiceId, service: Option<Arc<Service>>) -> Option<Arc<Service>> {
        let hash = self.hasher.hash_one(name.as_str());
        let rehash = |s: &Arc<Service>| self.hasher.hash_one(s.id.as_str());
        let (group, shard) = place_of(hash);
        let shard = Arc::make_mut(&mut Arc::make_mut(&mut self.groups[group])[shard]);
        let old = match shard.find_entry(hash, |s| s.id == *name) {
            Ok(entry) => Some(entry.remove().0),
            Err(_) => None,
        };
        let digest = |s: &Option<Arc<Service>>| s.as_ref().map_or(0, |s| s.digest());
        self.digest = self.digest.wrapping_sub(digest(&old)).wrapping_add(digest(&service));
        self.services -= usize::from(old.is_some());
        if let Some(service) = service {
            self.services += 1;
            shard.insert_unique(hash, service, rehash);
        }
        old
    }
}

/// The group of a hash and the shard in it, from bits that the hash table inside the shard does not look at first.
fn place_of(hash: u64) -> (usize, usize) {
    let bits = (hash >> 32) as usize;
    (bits / SHARDS % GROUPS, bits % SHARDS)
}
