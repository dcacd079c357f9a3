//! How one service is balanced: an algorithm, and what it works on.

use std::{collections::HashSet, sync::Arc};

use model::{Instance, Tag, Tick, UpstreamKey};

use crate::{
    Algorithm, Balancer, Candidate, Groups, Place, SlowStart, Vitals, Weighing,
    tiers::{Rule, Tiers},
};

/// Metadata that says which group an instance is in.
pub const PRIORITY: &str = "priority";

/// How one service is balanced. From the outside in: groups that take over for each other, zones, an algorithm.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Balance {
    /// How one of equals is chosen.
    pub algorithm: Algorithm,
    /// What counts as weight besides what the registry says.
    pub weighing: Weighing,
    /// How new instances begin; `None`: with their whole share.
    pub slow_start: Option<SlowStart>,
    /// Instances of this zone first, as long as there are enough of them.
    pub prefer_zone: bool,
    /// Instances with the first of these tags first, then those with the next; last those with none. If empty, the
    /// metadata `priority` says it, the least number first; without it is 0.
    pub failover: Box<[Tag]>,
}

/// An instance to be balanced, before it is weighed.
#[derive(Debug)]
pub struct Contender<'a> {
    /// Names the upstream.
    pub key: UpstreamKey,
    /// What the registry says of it.
    pub instance: &'a Arc<Instance>,
    /// What we learned of it.
    pub vitals: &'a Arc<Vitals>,
    /// When we saw it first.
    pub since: Tick,
}

impl From<Algorithm> for Balance {
    /// Whole shares from the start, all zones alike.
    fn from(algorithm: Algorithm) -> Self {
        Self { algorithm, ..Self::default() }
    }
}

impl Balance {
    /// Builds the balancer for these instances, of which there is at least one. All tables and schedules are computed here,
    /// off the request path. What `groups` knows of the list before goes on.
    #[must_use]
    pub fn build<'a>(
        &self,
        contenders: impl Iterator<Item = Contender<'a>>,
        place: &Place,
        groups: Option<Groups<'_>>,
    ) -> Box<dyn Balancer> {
        let contenders: Vec<_> = contenders.collect();
        let weights = self.weighing.weigh(contenders.iter().map(|c| &**c.instance));
        let candidate = |(c, weight): (&Contender<'a>, u16)| Candidate {
            key: c.key,
            instance: Arc::clone(c.instance),
            weight,
            vitals: Arc::clone(c.vitals),
            since: c.since,
        };
        self.grouped(contenders.iter().zip(weights).map(candidate).collect(), place, groups)
    }

    /// The same for candidates whose weights are settled, and of whose groups nothing is known.
    pub(crate) fn of(&self, candidates: Vec<Candidate>, place: &Place) -> Box<dyn Balancer> {
        self.grouped(candidates, place, None)
    }

    pub(crate) fn grouped(
        &self,
        candidates: Vec<Candidate>,
        place: &Place,
        known: Option<Groups<'_>>,
    ) -> Box<dyn Balancer> {
        let group = |candidate: &Candidate| self.group(&candidate.instance);
        if let Some(known) = known {
            known.follow(candidates.iter().map(group));
        }
        if is_one(candidates.iter().map(group)) {
            return self.zoned(candidates, place);
        }
        let used = |group| known.map_or_else(Arc::default, |known| known.used(group));
        Box::new(Tiers::new(candidates, Rule::Spill, group, used, |within| self.zoned(within, place)))
    }

    fn zoned(&self, candidates: Vec<Candidate>, place: &Place) -> Box<dyn Balancer> {
        let beyond = |candidate: &Candidate| usize::from(candidate.instance.zone != place.zone);
        if !self.prefer_zone || place.zone.is_none() || is_one(candidates.iter().map(beyond)) {
            return self.algorithm.over(candidates, place, self.slow_start);
        }
        let zones: HashSet<_> = candidates.iter().map(|c| c.instance.zone.as_deref()).collect();
        let zones = u16::try_from(zones.len()).unwrap_or(u16::MAX);
        Box::new(Tiers::new(
            candidates,
            Rule::Zone(zones),
            beyond,
            |_| Arc::default(),
            |within| self.algorithm.over(within, place, self.slow_start),
        ))
    }

    /// Which group an instance is in, the first being 0.
    #[must_use]
    pub fn group(&self, instance: &Instance) -> usize {
        if self.failover.is_empty() {
            return instance
                .label(PRIORITY)
                .and_then(|text| text.trim().parse::<u16>().ok())
                .unwrap_or_default()
                .into();
        }
        self.failover.iter().position(|tag| instance.tags.contains(tag)).unwrap_or(self.failover.len())
    }
}

/// Whether there is at most one value.
fn is_one(mut values: impl Iterator<Item = usize>) -> bool {
    let first = values.next();
    values.all(|value| Some(value) == first)
}
