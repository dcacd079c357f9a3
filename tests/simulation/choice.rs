//! What a core of the router does with one request: it reads its table, asks the balancer, and takes a lease.

use std::{sync::Arc, time::Duration};

use balancer::{Ask, Stake};
use discovery::{Member, Service, Table, TableReader};
use model::{Fault, Outcome, Tick, UpstreamKey};
use router::retry::{Facts, Next, Retries, Verdict, decide};
use transport::Upstream;

use crate::{
    laws::Laws,
    sabotage::Sabotage,
    script::{SERVICE, number},
};

/// Tries that send nothing, at least, before a request is given up while somebody was not asked.
pub(crate) const TRIES: usize = 4;

/// One request on its way.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) core: usize,
    pub(crate) began: Tick,
    /// When its client goes away.
    pub(crate) patience: Option<Tick>,
    hash: Option<u64>,
    /// Not to be chosen again.
    tried: Vec<UpstreamKey>,
    /// Those of them that broke a connection.
    broke: Vec<UpstreamKey>,
    pub(crate) count: usize,
    /// Attempts whose instance may have done its work.
    sent: u8,
    /// It bears a second time.
    repeatable: bool,
}

/// One attempt that was begun, and counts as in flight.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) who: u16,
    pub(crate) began: Tick,
    pub(crate) resort: bool,
    /// Another one was in, and could have had it.
    pub(crate) spare: bool,
}

/// One core's view of the world.
#[derive(Debug)]
pub(crate) struct Core {
    reader: TableReader,
    /// For a sabotage: the table it reads instead, and since when.
    old: Option<(Tick, Arc<Table>)>,
}

impl Request {
    pub(crate) fn new(core: usize, began: Tick, patience: Option<Tick>, hash: u64, repeatable: bool) -> Self {
        let (tried, broke) = (Vec::new(), Vec::new());
        Self { core, began, patience, hash: Some(hash), tried, broke, count: 0, sent: 0, repeatable }
    }

    /// When it is sent to another instance after this, if it is: as the router decides it.
    pub(crate) fn again(
        &mut self,
        outcome: Outcome,
        service: &Service,
        sabotage: Sabotage,
        now: Tick,
    ) -> Option<Duration> {
        let fault = Fault::of(outcome)?;
        self.sent += u8::from(!fault.is_unsent());
        if matches!(fault, Fault::Refused | Fault::Reset) {
            self.broke.extend(self.tried.last());
        }
        let left = self.patience.map(|leaves| leaves.since(now));
        let ask = Ask { hash: None, tried: &self.tried, now };
        let next = Next::of(service.admits(None, &ask), !self.broke.is_empty());
        let (tries, sent, random) = (self.count as u8, self.sent, fastrand::f64());
        let facts = Facts { fault, tries, sent, next, repeatable: self.repeatable, replayable: true, left, random };
        let policy = Retries::STANDARD;
        let Verdict::Again(wait) = decide(&policy, &facts, || {
            sabotage == Sabotage::Spendthrift || service.vitals.budget.retry(policy.budget, now)
        }) else {
            return None;
        };
        if next == Next::Same {
            self.tried.retain(|key| !self.broke.contains(key));
            self.broke.clear();
        }
        Some(wait)
    }

    fn stake(&self) -> Stake {
        if self.repeatable { Stake::Nothing } else { Stake::Request }
    }

    pub(crate) fn was_sent_to(&self, key: UpstreamKey) -> bool {
        self.tried.contains(&key)
    }
}

impl Attempt {
    /// Tells the instance's vitals how it ended.
    pub(crate) fn end(&self, outcome: Outcome, now: Tick) {
        let Upstream { vitals, service_vitals, .. } = &*self.upstream;
        vitals.end(outcome, self.began, now.since(self.began), now, &service_vitals.peers);
    }
}

impl Core {
    pub(crate) fn new(reader: TableReader) -> Self {
        Self { reader, old: None }
    }

    /// Begins an attempt; `None` if there is nobody left to ask.
    pub(crate) fn attempt(
        &mut self,
        request: &mut Request,
        laws: &mut Laws,
        sabotage: Sabotage,
        now: Tick,
    ) -> Result<Option<Attempt>, String> {
        let table = self.table(sabotage, now);
        let Some(service) = table.exposed(SERVICE) else { return Ok(None) };
        if request.count == 0 {
            service.vitals.budget.request(now);
        }
        let attempt = lease(service, request, laws, sabotage, now)?;
        if let Some(attempt) = &attempt {
            request.tried.push(attempt.upstream.key);
            request.count += 1;
        }
        Ok(attempt)
    }

    fn table(&mut self, sabotage: Sabotage, now: Tick) -> Arc<Table> {
        let newest = self.reader.load().clone();
        if sabotage != Sabotage::StaleTable {
            return newest;
        }
        let stale = self.old.take().filter(|(since, _)| now.since(*since).as_secs() < 5);
        self.old.insert(stale.unwrap_or((now, newest))).1.clone()
    }
}

/// The balancer's choice, or the next one if that one's single probe was given away meanwhile; if all are so, the last in
/// spite of it.
fn lease(
    service: &Service,
    request: &Request,
    laws: &mut Laws,
    sabotage: Sabotage,
    now: Tick,
) -> Result<Option<Attempt>, String> {
    let mut passed = request.tried.clone();
    let mut last: Option<Attempt> = None;
    loop {
        let ask = Ask { hash: request.hash, tried: &passed, now };
        let Some(member) = pick(service, &ask, sabotage) else {
            if let Some(last) = &last {
                last.upstream.vitals.begin();
                laws.begins(last, now)?;
            }
            return Ok(last);
        };
        laws.picked(service, member, &passed, now)?;
        let attempt = Attempt {
            upstream: member.upstream.clone(),
            who: number(&member.instance),
            began: now,
            resort: member.resort,
            spare: laws.better(service, member, &passed, now).is_some(),
        };
        if member.upstream.vitals.try_begin(now, || request.stake()) || sabotage == Sabotage::Blind {
            if sabotage == Sabotage::Blind && member.upstream.vitals.in_flight() == laws.in_flight(&attempt) {
                member.upstream.vitals.begin();
            }
            laws.begins(&attempt, now)?;
            return Ok(Some(attempt));
        }
        passed.push(attempt.upstream.key);
        last = Some(attempt);
    }
}

fn pick<'a>(service: &'a Service, ask: &Ask<'_>, sabotage: Sabotage) -> Option<&'a Member> {
    let mut present = service.members.iter().filter(|m| !m.resort && !ask.tried.contains(&m.upstream.key));
    let instead = match sabotage {
        Sabotage::Blind => present.next(),
        Sabotage::Hoarding => present.find(|m| m.upstream.vitals.admits(ask.now)),
        _ => None,
    };
    instead.or_else(|| service.pick(None, ask).ok())
}
