//! hot path
//!
//! Consistent hashing: what Maglev and the ring have in common.

use std::fmt::Debug;

use crate::{
    Ask, Balancer, Candidate,
    bound::Bound,
    draws::Draws,
    least_requests::LeastRequests,
    roster::{Roster, WALK, around},
    slow_start::SlowStart,
};

/// A fixed map from hashes to members.
pub(crate) trait Lookup: Send + Sync + Debug + 'static {
    /// The member a hash belongs to, then those that take over for it, in an order that depends on nothing but the hash and
    /// the members. May repeat members and name some never; may be empty.
    fn owners(&self, hash: u64) -> impl Iterator<Item = usize>;
}

/// What a [`Lookup`] is made of. Members come sorted by id, so that the order of registration does not matter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Member<'a> {
    pub(crate) id: &'a str,
    pub(crate) weight: u16,
}

/// The owner of the request's hash, the next if that one cannot be used. A request without a hash goes by least requests.
#[derive(Debug)]
pub(crate) struct Hashed<L> {
    lookup: L,
    /// Candidate of each member.
    members: Box<[usize]>,
    least: LeastRequests,
    bound: Option<Bound>,
}

impl<L: Lookup> Hashed<L> {
    pub(crate) fn new(
        candidates: Vec<Candidate>,
        slow_start: Option<SlowStart>,
        bound: Option<Bound>,
        lookup: impl FnOnce(&[Member<'_>]) -> L,
    ) -> Self {
        let instances: Vec<_> = candidates.iter().map(|c| c.instance.clone()).collect();
        let roster = Roster::new(candidates, slow_start);
        let mut sorted: Vec<_> = instances
            .iter()
            .zip(roster.weights())
            .map(|(i, weight)| Member { id: i.id.as_str(), weight })
            .enumerate()
            .collect();
        sorted.sort_by_key(|(_, member)| member.id);
        let (members, sorted): (Vec<_>, Vec<_>) = sorted.into_iter().unzip();
        let least = LeastRequests::new(Draws::new(roster));
        Self { lookup: lookup(&sorted), members: members.into(), least, bound }
    }

    /// The least busy of all that are wanted: it has no more than its fair part.
    fn least_busy(&self, ask: &Ask<'_>) -> Option<usize> {
        let roster = self.least.roster();
        (0..roster.len()).filter(|&at| roster.is_wanted(at, ask)).min_by_key(|&at| roster.load(at, ask.now))
    }
}

impl<L: Lookup> Balancer for Hashed<L> {
    fn reaches(&self, at: usize, ask: &Ask<'_>) -> bool {
        self.least.reaches(at, ask)
    }

    fn pick(&self, ask: &Ask<'_>) -> Option<usize> {
        let Some(hash) = ask.hash else { return self.least.pick(ask) };
        let roster = self.least.roster();
        let mut load = None;
        let mut owners = self.lookup.owners(hash).take(WALK).map(|member| self.members[member]);
        let found = owners.find(|&at| {
            roster.is_ready(at, ask, || fraction(hash))
                && self.bound.as_ref().is_none_or(|bound| bound.allows(roster, at, &mut load, ask.now))
        });
        found.or_else(|| self.bound.as_ref().and_then(|_| self.least_busy(ask))).or_else(|| {
            let owner = self.lookup.owners(hash).next().unwrap_or_default();
            roster.best(ask, around(self.members.len(), owner).map(|member| self.members[member]))
        })
    }
}

/// From 0 to 1, by other bits than those that find the owner: a key goes to a new instance once for all during its slow start.
fn fraction(hash: u64) -> f64 {
    (remix(hash) >> 11) as f64 / (1_u64 << 53) as f64
}

/// For a second choice by the same hash, by other bits: its upper ones, after a multiplication by 2^64 over the golden ratio.
pub(crate) fn remix(hash: u64) -> u64 {
    hash.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
