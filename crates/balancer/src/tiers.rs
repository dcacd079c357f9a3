//! hot path
//!
//! Instances before others: groups that take over for each other.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use model::Tick;

use crate::{
    Ask, Balancer, Candidate,
    due::Due,
    hashed::remix,
    roster::{Rank, Roster},
    usage::Used,
};

/// How old the shares may be, in milliseconds. A group whose instances rest is passed over at once; this is about its fair part.
const PERIOD: u32 = 100;

/// A group stands in for its full share while it has this part of its instances: Envoy's overprovisioning factor 1.4, hence
/// 71 %. What is missing below that goes to the next.
const OVERPROVISIONED: f64 = 1.4;

/// What a group of candidates takes before the next one gets any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Everything, as long as one of it is usable.
    Strict,
    /// As much as it has healthy instances for, see [`OVERPROVISIONED`].
    Spill,
    /// The first of two groups is one of so many zones, and takes what its part of all instances is good for: all of this
    /// router's requests if it has its even share of them, as all routers together ask for all of them.
    Zone(u16),
}

/// Groups of candidates, each with a balancer of its own.
///
/// Which of them a request goes to is by chance, or by its hash if it has one, so that a key stays where it is. Within the
/// choice, use goes before order: a usable instance of any group comes before one that rests or has weight 0.
#[derive(Debug)]
pub(crate) struct Tiers {
    /// All candidates.
    roster: Roster,
    /// Nearest first; none is empty.
    tiers: Box<[Tier]>,
    rule: Rule,
    due: Due,
}

#[derive(Debug)]
struct Tier {
    balancer: Box<dyn Balancer>,
    /// Where its candidates are among all.
    places: Box<[usize]>,
    /// Requests go to it or one before it up to this point, in 2^16ths.
    upto: AtomicU32,
    used: Arc<Used>,
}

const ALL: u32 = 1 << 16;

impl Tiers {
    /// Groups by the number that `tier` gives each candidate, the least first.
    pub(crate) fn new(
        candidates: Vec<Candidate>,
        rule: Rule,
        tier: impl Fn(&Candidate) -> usize,
        used: impl Fn(usize) -> Arc<Used>,
        build: impl Fn(Vec<Candidate>) -> Box<dyn Balancer>,
    ) -> Self {
        let mut groups = BTreeMap::<usize, (Vec<usize>, Vec<Candidate>)>::new();
        for (at, candidate) in candidates.iter().enumerate() {
            let (places, within) = groups.entry(tier(candidate)).or_default();
            places.push(at);
            within.push(candidate.clone());
        }
        let make = |(tier, (places, within)): (usize, (Vec<usize>, _))| Tier {
            balancer: build(within),
            places: places.into(),
            upto: AtomicU32::new(ALL),
            used: used(tier),
        };
        let tiers = groups.into_iter().map(make).collect();
        Self { roster: Roster::new(candidates, None), tiers, rule, due: Due::default() }
    }

    /// The group a request belongs to.
    fn home(&self, ask: &Ask<'_>) -> usize {
        if self.rule == Rule::Strict {
            return 0;
        }
        if self.due.claim(PERIOD, ask.now) {
            self.share_out(ask.now);
        }
        let point = match ask.hash {
            // Other bits than those that choose within the group.
            Some(hash) => (remix(hash) >> 48) as u32,
            None => fastrand::u32(..ALL),
        };
        self.tiers.iter().position(|tier| point < tier.upto.load(Relaxed)).unwrap_or_default()
    }

    /// Whether requests go to the group of this candidate: it has a share, or those that have one can serve none. Clients that
    /// came to it meanwhile may stay for a while after its last share: they would be sent back and forth otherwise, where the
    /// group before it is just about well enough.
    fn is_in_use(&self, at: usize, ask: &Ask<'_>) -> bool {
        if self.due.claim(PERIOD, ask.now) {
            self.share_out(ask.now);
        }
        let ends = self.tiers.iter().map(|tier| tier.upto.load(Relaxed));
        let begins = std::iter::once(0).chain(ends.clone());
        let has_share = begins.zip(ends).map(|(begin, end)| begin < end);
        let mut used = self.tiers.iter().zip(has_share).filter(|(_, has_share)| *has_share).map(|(tier, _)| tier);
        self.tiers.iter().any(|tier| tier.used.lingers(ask.now) && tier.places.contains(&at))
            || used.clone().any(|tier| tier.places.contains(&at))
            || !used.any(|tier| tier.places.iter().any(|&at| self.roster.is_wanted(at, ask)))
    }

    fn share_out(&self, now: Tick) {
        let sum: f64 = self.parts(now).sum();
        let mut upto = 0.0;
        for (tier, part) in self.tiers.iter().zip(self.parts(now)) {
            upto += part;
            // Where all together are not well enough, each gets its part of what there is.
            let point = if sum > 0.0 { upto / sum * f64::from(ALL) } else { f64::from(ALL) };
            tier.used.look(part > 0.0, now);
            tier.upto.store(point.round() as u32, Relaxed);
        }
    }

    /// What each group takes of all requests; together 1 at most.
    fn parts(&self, now: Tick) -> impl Iterator<Item = f64> {
        let all: u64 = self.roster.weights().map(u64::from).sum();
        self.tiers.iter().scan(1.0, move |left, tier| {
            let (healthy, own) = self.health(tier, now);
            let part = match self.rule {
                Rule::Zone(zones) => healthy as f64 * f64::from(zones) / all.max(1) as f64,
                Rule::Strict | Rule::Spill => healthy as f64 / own.max(1) as f64,
            };
            let part = (part * OVERPROVISIONED).min(*left);
            *left -= part;
            Some(part)
        })
    }

    /// The weight that takes requests, and all of it.
    fn health(&self, tier: &Tier, now: Tick) -> (u64, u64) {
        tier.places.iter().fold((0, 0), |(healthy, all), &at| {
            let weight = u64::from(self.roster.weight(at));
            (healthy + if self.roster.vitals(at).admits(now) { weight } else { 0 }, all + weight)
        })
    }
}

impl Balancer for Tiers {
    fn reaches(&self, at: usize, ask: &Ask<'_>) -> bool {
        // Distance is what is preferred; only a group stands by for another one.
        self.roster.is_wanted(at, ask) && (self.rule != Rule::Spill || self.is_in_use(at, ask))
    }

    fn pick(&self, ask: &Ask<'_>) -> Option<usize> {
        let home = self.home(ask);
        let others = (0..self.tiers.len()).filter(|other| *other != home);
        let mut best: Option<(Rank, usize)> = None;
        for tier in std::iter::once(home).chain(others) {
            let Some(tier) = self.tiers.get(tier) else { continue };
            let Some(at) = tier.balancer.pick(ask).map(|at| tier.places[at]) else { continue };
            let Some(rank) = self.roster.rank(at, ask) else { continue };
            if best.is_none_or(|(found, _)| rank < found) {
                best = Some((rank, at));
            }
            if rank == Rank::Wanted {
                break;
            }
        }
        best.map(|(_, at)| at)
    }
}
