//! What a core of the router does with one request: it reads its table and chooses, as the router does.

use std::{cell::RefCell, collections::HashMap, sync::Arc, time::Duration};

use balancer::{Ask, Stake};
use discovery::{Member, Service, Table, TableReader};
use model::{Fault, Outcome, Refusal, Tick, UpstreamKey};
use router::{
    attempt::choice::{Begun, KNOCKS, first, take},
    retry::{Facts, Next, Retries, Verdict, decide},
};
use transport::Upstream;

use crate::{
    laws::Laws,
    network::Life,
    sabotage::Sabotage,
    script::{SERVICE, Script, number},
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
    /// What is lost if an instance fails it.
    stake: Stake,
}

/// One attempt that was begun, and counts as in flight; or a knock.
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
    /// Connections, and since when they are open.
    connections: HashMap<UpstreamKey, Tick>,
    /// For a sabotage: the table it reads instead, and since when.
    old: Option<(Tick, Arc<Table>)>,
}

/// What a request came to.
#[derive(Debug)]
pub(crate) struct Begins {
    /// `None` if there is nobody left to ask.
    pub(crate) attempt: Option<Attempt>,
    /// Who is knocked at meanwhile.
    pub(crate) knocks: Vec<Attempt>,
}

impl Request {
    pub(crate) fn new(core: usize, began: Tick, patience: Option<Tick>, hash: u64, stake: Stake) -> Self {
        let (tried, broke) = (Vec::new(), Vec::new());
        Self { core, began, patience, hash: Some(hash), tried, broke, count: 0, sent: 0, stake }
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
        let repeatable = self.stake == Stake::Nothing;
        let facts = Facts { fault, tries, sent, next, repeatable, replayable: true, left, random };
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

    pub(crate) fn was_sent_to(&self, key: UpstreamKey) -> bool {
        self.tried.contains(&key)
    }
}

impl Attempt {
    fn new(laws: &Laws, service: &Service, begun: &Begun<'_>, tried: &[UpstreamKey], now: Tick) -> Self {
        let member = begun.member;
        Self {
            upstream: member.upstream.clone(),
            who: number(&member.instance),
            began: now,
            resort: member.resort,
            spare: laws.better(service, member, tried, now).is_some(),
        }
    }

    /// Tells the instance's vitals how it ended.
    pub(crate) fn end(&self, outcome: Outcome, now: Tick) {
        let Upstream { vitals, service_vitals, .. } = &*self.upstream;
        if outcome == Outcome::ConnectFailed {
            // The pool says so first.
            vitals.cut_off(now, &service_vitals.peers);
        }
        vitals.end(outcome, self.began, now.since(self.began), now, &service_vitals.peers);
    }

    /// A knock found that a connection can be made.
    pub(crate) fn reached(&self, sabotage: Sabotage, now: Tick) {
        match sabotage {
            Sabotage::Deaf => self.end(Outcome::Abandoned, now),
            _ => self.upstream.vitals.reached(self.began, now),
        }
    }
}

impl Core {
    pub(crate) fn new(reader: TableReader) -> Self {
        Self { reader, connections: HashMap::new(), old: None }
    }

    /// Begins an attempt.
    pub(crate) fn attempt(
        &mut self,
        request: &mut Request,
        laws: &mut Laws,
        script: &Script,
        sabotage: Sabotage,
        now: Tick,
    ) -> Result<Begins, String> {
        let table = self.table(sabotage, now);
        let Some(service) = table.exposed(SERVICE) else { return Ok(Begins { attempt: None, knocks: Vec::new() }) };
        if request.count == 0 {
            service.vitals.budget.request(now);
        }
        let begins = self.choose(service, request, laws, script, sabotage, now)?;
        if let Some(attempt) = &begins.attempt {
            request.tried.push(attempt.upstream.key);
            request.count += 1;
        }
        Ok(begins)
    }

    /// Somebody of this core has, or has no longer, a connection to an instance.
    pub(crate) fn connected(&mut self, attempt: &Attempt, open: bool, now: Tick) {
        match open {
            true => drop(self.connections.insert(attempt.upstream.key, now)),
            false => drop(self.connections.remove(&attempt.upstream.key)),
        }
    }

    fn is_connected(&self, attempt: &Attempt, life: &Life, now: Tick) -> bool {
        let opened = self.connections.get(&attempt.upstream.key);
        opened.is_some_and(|opened| life.reachable_since(now).is_some_and(|since| since <= *opened))
    }

    /// The router's own choice, with an eye on each step.
    fn choose<'a>(
        &self,
        service: &'a Service,
        request: &Request,
        laws: &mut Laws,
        script: &Script,
        sabotage: Sabotage,
        now: Tick,
    ) -> Result<Begins, String> {
        let (laws, broken, passed) = (RefCell::new(laws), RefCell::new(Ok(())), RefCell::new(Vec::new()));
        let note = |law: Result<(), String>| {
            let mut broken = broken.borrow_mut();
            *broken = std::mem::replace(&mut *broken, Ok(())).and(law);
        };
        let choice = |tried: &[UpstreamKey]| {
            passed.replace(tried.to_vec());
            let member = pick(service, &Ask { hash: request.hash, tried, now }, sabotage)?;
            note(laws.borrow().picked(service, member, tried, now));
            Ok(member)
        };
        let attempt = |begun: &Begun<'_>| Attempt::new(&laws.borrow(), service, begun, &passed.borrow(), now);
        let (mut knocks, mut turns) = (Vec::new(), 0);
        let knock = |begun: Begun<'a>| {
            if !begun.knock || sabotage == Sabotage::OpenDoor {
                return Some(begun);
            }
            turns += 1;
            let attempt = attempt(&begun);
            note(laws.borrow_mut().knocks(&attempt, now));
            if self.is_connected(&attempt, &script.lives[&attempt.who], now) {
                attempt.reached(sabotage, now);
                note(laws.borrow_mut().knocked(&attempt, true, now));
                return None;
            }
            if sabotage == Sabotage::Crowd {
                attempt.upstream.vitals.begin();
                note(laws.borrow_mut().knocks(&attempt, now));
            }
            knocks.push(attempt);
            None
        };
        let begun = first(|| take(choice, &request.tried, u32::MAX, now, || request.stake), knock);
        let mut attempt = begun.ok().as_ref().map(attempt);
        if let Some(attempt) = &mut attempt {
            // Where so many are cut off, the next request may wait for a connection.
            attempt.spare &= turns < KNOCKS;
            note(laws.borrow_mut().begins(attempt, now));
        }
        broken.into_inner().map(|()| Begins { attempt, knocks })
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

fn pick<'a>(service: &'a Service, ask: &Ask<'_>, sabotage: Sabotage) -> Result<&'a Member, Refusal> {
    let mut present = service.members.iter().filter(|m| !m.resort && !ask.tried.contains(&m.upstream.key));
    let instead = match sabotage {
        Sabotage::Blind => present.next(),
        Sabotage::Hoarding => present.find(|m| m.upstream.vitals.admits(ask.now)),
        _ => None,
    };
    instead.map_or_else(|| service.pick(None, ask), Ok)
}
