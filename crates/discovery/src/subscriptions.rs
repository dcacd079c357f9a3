//! Which services registries are asked about because a client named them, and for how long. Pure: time is an argument.
//!
//! A name that a client makes up must cost little. So every new name takes from a bucket of names (`rate`), one that no
//! registry knows is not asked for again for a while (`unknown`), and no more than `at_most` names are held at once. What
//! once proved to be a service is exempt from the first: it may come back at any time after it was let go. And a client that
//! brings up names all the time leaves room for those that do it seldom: a reserve that is only theirs.
//!
//! | File | |
//! |---|---|
//! | `subscriptions.rs` | who is asked for, and who is let go |
//! | `subscriptions/bucket.rs` | how many new names in a time |
//! | `subscriptions/lapsing.rs` | names that are remembered for a while |

mod bucket;
mod lapsing;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, time::Duration};

use model::{ServiceId, Tick};

use bucket::{Askers, Bucket};
use lapsing::Lapsing;

/// How long a name may be held without any registry's answer. Not longer: names nobody can tell about must leave room.
const ANSWER: Duration = Duration::from_secs(10);
/// The part of the rate that is there besides, for clients that seldom bring up a name.
const RESERVE: u32 = 4;
/// How long a service must be out of use to give way to another one when there is no room.
const QUIET: Duration = Duration::from_secs(60);
/// How long a name that proved to be a service is exempt from the rate after it was let go.
const PROVEN: Duration = Duration::from_secs(24 * 60 * 60);

/// The rules of subscription on first use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnFirstUse {
    /// Services at once, of those that the file does not name.
    pub at_most: usize,
    /// After how long without a request one is let go.
    pub idle: Duration,
    /// New names in a second, and as many at once after a second without any. Besides, a quarter of that for clients that
    /// bring up few.
    pub rate: u32,
    /// For how long a name that no registry knows is not asked for again.
    pub unknown: Duration,
    /// How long the request that asks first waits for an answer.
    pub wait: Duration,
}

/// What becomes of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Registries are to be asked from now on; one that was out of use may have to be let go for it.
    Ask(Option<ServiceId>),
    /// They are being asked, and have not answered yet.
    Asking,
    /// It is subscribed to, and they have answered: what there is to know is in the table.
    Held,
    /// No registry knew it a short while ago.
    Unknown,
    /// Too many new names, or no room.
    Busy,
}

/// What was done so far, for the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Names that registries were asked about.
    pub asked: u64,
    /// Names that were not asked about, because there were too many new ones.
    pub limited: u64,
    /// Names that were not asked about, because `at_most` are in use.
    pub full: u64,
    /// Names no registry knew.
    pub unknown: u64,
    /// Names no registry answered for in time.
    pub unanswered: u64,
    /// Services let go because they were not used, or gave way to others.
    pub idle: u64,
}

/// What is subscribed to beyond what the file names.
#[derive(Debug, Default)]
pub struct Subscriptions {
    rules: Option<OnFirstUse>,
    held: HashMap<ServiceId, Subscription>,
    /// Names no registry knew.
    unknown: Lapsing,
    /// Services that were let go.
    proven: Lapsing,
    bucket: Bucket,
    reserve: Bucket,
    askers: Askers,
    counts: Counts,
}

#[derive(Debug, Clone, Copy)]
struct Subscription {
    since: Tick,
    used: Tick,
    /// Whether a registry has answered with instances.
    there: bool,
}

impl Subscriptions {
    /// Follows other rules. Returns what is let go because they do not permit it any more.
    pub fn follow(&mut self, rules: Option<OnFirstUse>, permitted: impl Fn(&ServiceId) -> bool) -> Vec<ServiceId> {
        let forbidden = |service: &ServiceId, _: &mut Subscription| rules.is_none() || !permitted(service);
        let mut gone: Vec<_> = self.held.extract_if(forbidden).map(|(service, _)| service).collect();
        let most = rules.as_ref().map_or(0, |rules| rules.at_most);
        while self.held.len() > most
            && let Some(service) = self.longest_unused().map(|(service, _)| service.clone())
        {
            self.held.remove(&service);
            gone.push(service);
        }
        // Other registries, or other names that may be asked for.
        self.unknown = Lapsing::default();
        self.rules = rules;
        gone
    }

    /// Somebody wants this service, which `expose` permits and the file does not name.
    pub fn want(&mut self, service: &ServiceId, now: Tick) -> Verdict {
        self.want_by(service, None, now)
    }

    /// The same of a client, by a hash of its address.
    pub fn want_by(&mut self, service: &ServiceId, asker: Option<u64>, now: Tick) -> Verdict {
        let Some(rules) = &self.rules else { return Verdict::Unknown };
        if let Some(held) = self.held.get_mut(service) {
            held.used = now;
            return if held.there { Verdict::Held } else { Verdict::Asking };
        }
        if self.unknown.holds(service, now) {
            return Verdict::Unknown;
        }
        let room = self.held.len() < rules.at_most;
        let way =
            if room { None } else { self.longest_unused().filter(|(_, s)| s.there && now.since(s.used) >= QUIET) };
        let way = way.map(|(service, _)| service.clone());
        if !room && way.is_none() {
            self.counts.full += 1;
            return Verdict::Busy;
        }
        let seldom = asker.is_some_and(|asker| self.askers.is_seldom(asker, now));
        let reserve = rules.rate.div_ceil(RESERVE);
        let free = self.proven.holds(service, now) || self.bucket.take(rules.rate, now);
        if !(free || seldom && self.reserve.take(reserve, now)) {
            self.counts.limited += 1;
            return Verdict::Busy;
        }
        if let Some(way) = &way {
            self.let_go(way, now);
        }
        self.counts.asked += 1;
        self.held.insert(service.clone(), Subscription { since: now, used: now, there: false });
        Verdict::Ask(way)
    }

    /// Somebody serves this, so it is no name that a client made up: it is exempt from the rate.
    pub fn vouch(&mut self, service: &ServiceId, now: Tick) {
        self.proven.insert(service.clone(), now.after(PROVEN), now);
    }

    /// What was in use before the start is so again, as far as there is room.
    pub fn recall(&mut self, service: &ServiceId, now: Tick) {
        if self.rules.as_ref().is_some_and(|rules| self.held.len() < rules.at_most) {
            self.held.entry(service.clone()).or_insert(Subscription { since: now, used: now, there: true });
        }
    }

    /// Registries have answered whether there is such a service for clients. Returns whether the name is let go, which it
    /// is if they never knew it. A service that loses all its instances later stays until it is out of use.
    pub fn answered(&mut self, service: &ServiceId, there: bool, now: Tick) -> bool {
        let Some(held) = self.held.get_mut(service) else { return false };
        held.there |= there;
        if held.there {
            return false;
        }
        self.held.remove(service);
        self.counts.unknown += 1;
        let unknown = self.rules.as_ref().map_or(Duration::ZERO, |rules| rules.unknown);
        self.unknown.insert(service.clone(), now.after(unknown), now);
        true
    }

    /// The service had requests.
    pub fn used(&mut self, service: &ServiceId, now: Tick) {
        if let Some(held) = self.held.get_mut(service) {
            held.used = now;
        }
    }

    /// Lets go of what was not used for long, and of what no registry answered for in time. Returns what that is.
    pub fn due(&mut self, now: Tick) -> Vec<ServiceId> {
        let Some(rules) = &self.rules else { return Vec::new() };
        let over = |s: &Subscription| {
            if s.there { now.since(s.used) >= rules.idle } else { now.since(s.since) >= ANSWER }
        };
        let over: Vec<_> = self.held.iter().filter(|(_, s)| over(s)).map(|(service, _)| service.clone()).collect();
        for service in &over {
            self.let_go(service, now);
        }
        over
    }

    /// How often [`due`](Self::due) and use are to be looked at; `None` if nothing is subscribed to on first use.
    #[must_use]
    pub fn interval(&self) -> Option<Duration> {
        let idle = self.rules.as_ref()?.idle;
        Some((idle / 20).clamp(Duration::from_millis(50), Duration::from_secs(5)))
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> Option<&OnFirstUse> {
        self.rules.as_ref()
    }

    /// All that is subscribed to.
    pub fn services(&self) -> impl Iterator<Item = &ServiceId> {
        self.held.keys()
    }

    /// Whether the service is subscribed to.
    #[must_use]
    pub fn holds(&self, service: &ServiceId) -> bool {
        self.held.contains_key(service)
    }

    /// Whether registries are being asked about it and have not answered.
    #[must_use]
    pub fn is_asked(&self, service: &ServiceId) -> bool {
        self.held.get(service).is_some_and(|held| !held.there)
    }

    /// How many are subscribed to, and of how many of them registries have not answered.
    #[must_use]
    pub fn numbers(&self) -> (usize, usize) {
        (self.held.len(), self.held.values().filter(|held| !held.there).count())
    }

    /// What was done so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn let_go(&mut self, service: &ServiceId, now: Tick) {
        match self.held.remove(service) {
            Some(held) if held.there => {
                self.counts.idle += 1;
                self.proven.insert(service.clone(), now.after(PROVEN), now);
            }
            Some(_) => self.counts.unanswered += 1,
            None => {}
        }
    }

    fn longest_unused(&self) -> Option<(&ServiceId, &Subscription)> {
        self.held.iter().min_by_key(|(service, held)| (held.used, *service))
    }
}
