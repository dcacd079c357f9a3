//! Who is out, service by service, so that every change is told once.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use balancer::{Cause, Vitals, breaker::Circuit};
use model::{ServiceId, Tick, UpstreamKey};

use super::{Totals, compare::Found, tell};
use crate::{Member, Service, Table, history::History};

/// What was known at the last look.
pub(super) struct Watch {
    history: Arc<History>,
    totals: Arc<Totals>,
    services: HashMap<ServiceId, Watched>,
    /// The count of all news at the last look.
    news: Option<u64>,
}

/// A service that had news of late.
#[derive(Debug, Default)]
struct Watched {
    /// Instances that rest or are probed, and since when.
    out: HashMap<UpstreamKey, (Cause, Tick)>,
    /// Those whose next rest would be longer for what was before.
    remember: HashMap<UpstreamKey, Arc<Vitals>>,
    /// Its circuit is not closed.
    open: bool,
    /// How often that opened.
    opened: u32,
}

impl Watch {
    pub(super) fn new(history: Arc<History>, totals: Arc<Totals>) -> Self {
        Self { history, totals, services: HashMap::new(), news: None }
    }

    /// Looks at every service that has news, or had; says at how many services that was.
    pub(super) fn look(&mut self, table: &Table, now: Tick) -> usize {
        // Before anything is looked at: what comes meanwhile is found next time, if not now.
        let news = Some(balancer::news::count());
        let known = std::mem::take(&mut self.services);
        let mut looked = known.len();
        for (name, watched) in known {
            if let Some(service) = table.service(name.as_str()) {
                service.vitals.peers.was_stirred();
                self.service(service, watched, now);
            }
        }
        if std::mem::replace(&mut self.news, news) != news {
            for service in table.services() {
                looked += 1;
                if self.has_news(service) {
                    let watched = self.services.remove(&service.id).unwrap_or_default();
                    self.service(service, watched, now);
                }
            }
        }
        looked
    }

    /// Two loads, for nearly all.
    fn has_news(&self, service: &Service) -> bool {
        let opened = service.vitals.breaker.opened();
        service.vitals.peers.was_stirred()
            || opened > 0 && self.services.get(&service.id).is_none_or(|known| known.opened != opened)
    }

    fn service(&mut self, service: &Service, mut watched: Watched, now: Tick) {
        self.instances(service, &mut watched, now);
        self.circuit(service, &mut watched);
        // What was counted once stays known, also while there is no rule.
        if watched.is_news() || watched.opened > 0 {
            self.services.insert(service.id.clone(), watched);
        }
    }

    /// Puts an instance out that is worse than the others, and tells why.
    pub(super) fn eject(&mut self, service: &Service, found: &Found, now: Tick) {
        let vitals = &found.upstream.vitals;
        if !vitals.eject(found.cause, now, &service.vitals.peers) {
            return;
        }
        self.totals.ejected(found.cause);
        tell::outlier(&self.history, service, found);
        let since = vitals.rest().map_or(now, |(_, since)| since);
        let watched = self.services.entry(service.id.clone()).or_default();
        watched.out.insert(found.upstream.key, (found.cause, since));
    }

    /// An interval is over: those that are in are trusted a little more.
    pub(super) fn forget(&mut self) {
        for watched in self.services.values_mut() {
            let out = &watched.out;
            watched.remember.retain(|key, vitals| out.contains_key(key) || vitals.forget());
        }
    }

    fn instances(&self, service: &Service, watched: &mut Watched, now: Tick) {
        let mut out = HashMap::new();
        for member in &service.members {
            let (key, vitals) = (member.upstream.key, &member.upstream.vitals);
            let (before, rest) = (watched.out.get(&key).copied(), vitals.rest());
            if let Some((cause, since)) = rest {
                out.insert(key, (cause, since));
                watched.remember.entry(key).or_insert_with(|| Arc::clone(vitals));
            }
            // Of another time: it came back and went out between two looks.
            let same = |a: (Cause, Tick), b: (Cause, Tick)| a.1 == b.1;
            match (before, rest) {
                (None, Some((cause, _))) => self.went_out(service, member, cause),
                (Some(old), Some(new)) if !same(old, new) => self.went_out(service, member, new.0),
                (Some((cause, since)), None) => tell::returned(&self.history, service, member, cause, now.since(since)),
                _ => {}
            }
        }
        watched.out = out;
        let (count, margin) = service.recount();
        if margin.panic {
            self.totals.panics.fetch_add(1, Relaxed);
            tell::panicked(&self.history, service, count);
            watched.out.retain(|_, (cause, _)| !cause.is_judged());
        }
    }

    fn went_out(&self, service: &Service, member: &Member, cause: Cause) {
        self.totals.ejected(cause);
        tell::ejected(&self.history, service, member, cause);
    }

    fn circuit(&self, service: &Service, watched: &mut Watched) {
        let breaker = &service.vitals.breaker;
        let circuit = breaker.circuit();
        let open = matches!(circuit, Circuit::Open { .. } | Circuit::HalfOpen);
        let opened = breaker.opened();
        if opened != watched.opened {
            // Fewer than before: the service was forgotten and came back.
            let more = opened.checked_sub(watched.opened).unwrap_or(opened);
            self.totals.opened.fetch_add(more.into(), Relaxed);
        }
        if opened != watched.opened && !watched.open {
            tell::opened(&self.history, service);
            watched.open = true;
        }
        if watched.open && !open {
            tell::closed(&self.history, service, circuit);
        }
        (watched.open, watched.opened) = (open, opened);
    }
}

impl Watched {
    fn is_news(&self) -> bool {
        self.open || !self.out.is_empty() || !self.remember.is_empty()
    }
}
