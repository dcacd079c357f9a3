//! What must hold: at each choice, at each begin and end of an attempt, and when all is over.
//!
//! The laws keep books of their own, of what the registry said and of what is under way, and never ask the code that they
//! judge.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use balancer::Admission;
use discovery::{Member, Service, Table};
use model::{Knowledge, Outcome, Tick, Update, UpstreamKey};
use transport::Upstream;

use crate::{
    choice::{Attempt, Request, TRIES},
    cut_off::CutOff,
    script::{SERVICE, SETTLED, Script, number},
};

/// How long a suspect stays as last resort, by default.
const HOLD: Duration = Duration::from_secs(30);
/// How long a new instance gets less than its share (`slow_start`).
const SLOW_START: Duration = Duration::from_secs(10);
/// The retry budget: a fifth of the requests within this time, or so many a second.
const WINDOW: Duration = Duration::from_secs(10);
const FLOOR_OF_RETRIES: usize = 10;
/// The least part of its fair share that an instance may get once all are well again. Latencies are within a factor of two.
const FLOOR: f64 = 0.2;

/// The books.
#[derive(Debug, Default)]
pub(crate) struct Laws {
    named: HashSet<u16>,
    withdrawn: HashMap<u16, Tick>,
    deregistered: HashSet<u16>,
    departed: HashMap<UpstreamKey, u64>,
    under_way: HashMap<UpstreamKey, UnderWay>,
    shares: BTreeMap<u16, u32>,
    /// When an instance was looked at first.
    seen: HashMap<UpstreamKey, Tick>,
    /// Requests, and retries that may have made an instance work twice, of late.
    requests: VecDeque<Tick>,
    retries: VecDeque<Tick>,
}

#[derive(Debug)]
struct UnderWay {
    upstream: Arc<Upstream>,
    count: u32,
    cut_off: CutOff,
}

impl Laws {
    /// The registry said something.
    pub(crate) fn hears(&mut self, word: &Update, now: Tick) {
        let (list, deregistered) = match word {
            Update::Service { knowledge: Knowledge::Known(list), deregistered, .. } => (&list[..], &deregistered[..]),
            Update::Service { knowledge: Knowledge::KnownEmpty, deregistered, .. } => (&[][..], &deregistered[..]),
            Update::Everything(_) => (&[][..], &[][..]),
            _ => return,
        };
        let listed: HashSet<u16> = list.iter().map(|i| number(i)).collect();
        for gone in self.named.difference(&listed) {
            self.withdrawn.insert(*gone, now);
        }
        self.deregistered.extend(deregistered.iter().filter_map(|id| id.as_str()[1..].parse::<u16>().ok()));
        for there in &listed {
            self.withdrawn.remove(there);
            self.deregistered.remove(there);
        }
        self.named = listed;
    }

    /// A table is published.
    pub(crate) fn published(&mut self, generation: u64, departed: &[Arc<Upstream>]) {
        self.departed.extend(departed.iter().map(|u| (u.key, generation)));
    }

    /// An instance is chosen.
    pub(crate) fn picked(
        &self,
        service: &Service,
        chosen: &Member,
        tried: &[UpstreamKey],
        now: Tick,
    ) -> Result<(), String> {
        let who = number(&chosen.instance);
        let say = |what: String| Err(format!("{now:?}: i{who} is chosen, which {what}"));
        if tried.contains(&chosen.upstream.key) {
            return say("was tried".to_owned());
        }
        if let Some(generation) = self.departed.get(&chosen.upstream.key) {
            return say(format!("was removed with table {generation}"));
        }
        if self.deregistered.contains(&who) {
            return say("was removed by its own word".to_owned());
        }
        let better = self.better(service, chosen, tried, now);
        if let Some(since) = self.withdrawn.get(&who) {
            if now.since(*since) > HOLD {
                return say(format!("is withdrawn since {since:?}"));
            }
            if let Some(better) = better {
                return say(format!("is withdrawn, and i{} is there", number(&better.instance)));
            }
        }
        match better {
            Some(better) if !chosen.upstream.vitals.admits(now) => say(format!(
                "is out ({:?}), and i{} is in",
                chosen.upstream.vitals.state(now),
                number(&better.instance)
            )),
            _ => Ok(()),
        }
    }

    /// One that is named, in, and not tried, beside the chosen one.
    pub(crate) fn better<'a>(
        &self,
        service: &'a Service,
        chosen: &Member,
        tried: &[UpstreamKey],
        now: Tick,
    ) -> Option<&'a Member> {
        service.members.iter().find(|m| {
            let other = m.upstream.key != chosen.upstream.key && !tried.contains(&m.upstream.key);
            other && self.named.contains(&number(&m.instance)) && m.upstream.vitals.admits(now)
        })
    }

    /// An attempt began; the vitals count it already.
    pub(crate) fn begins(&mut self, attempt: &Attempt, now: Tick) -> Result<(), String> {
        if now >= SETTLED {
            *self.shares.entry(attempt.who).or_default() += 1;
        }
        let books = self.books(attempt);
        books.count += 1;
        let cut_off = books.cut_off.asked(attempt.spare, now);
        books.say(cut_off, now)?;
        books.agree(now)
    }

    /// Somebody knocks instead; the vitals count it already.
    pub(crate) fn knocks(&mut self, attempt: &Attempt, now: Tick) -> Result<(), String> {
        let books = self.books(attempt);
        books.count += 1;
        let cut_off = books.cut_off.knocks(attempt.spare, now);
        books.say(cut_off, now)?;
        books.agree(now)
    }

    /// A knock is over; the vitals know it already.
    pub(crate) fn knocked(&mut self, attempt: &Attempt, reached: bool, now: Tick) -> Result<(), String> {
        let books = self.books(attempt);
        books.count = books.count.checked_sub(1).ok_or("a knock ends twice")?;
        books.cut_off.knocked(reached, now);
        books.agree(now)
    }

    /// A check could connect to an instance.
    pub(crate) fn checked(&mut self, key: UpstreamKey, now: Tick) {
        if let Some(books) = self.under_way.get_mut(&key) {
            books.cut_off.checked(now);
        }
    }

    /// Time goes by for those that are there; `requests` came until now.
    pub(crate) fn look(&mut self, service: &Service, script: &Script, requests: u64, now: Tick) -> Result<(), String> {
        for member in service.members.iter().filter(|m| !m.resort) {
            let joined = *self.seen.entry(member.upstream.key).or_insert(now);
            if let Some(books) = self.under_way.get_mut(&member.upstream.key) {
                let life = &script.lives[&number(&member.instance)];
                let cut_off = books.cut_off.look(life, joined.after(SLOW_START), requests, now);
                books.say(cut_off, now)?;
            }
        }
        Ok(())
    }

    fn books(&mut self, attempt: &Attempt) -> &mut UnderWay {
        let fresh = || UnderWay { upstream: attempt.upstream.clone(), count: 0, cut_off: CutOff::default() };
        self.under_way.entry(attempt.upstream.key).or_insert_with(fresh)
    }

    /// An attempt ended; the vitals know it already.
    pub(crate) fn ends(&mut self, attempt: &Attempt, outcome: Outcome, now: Tick) -> Result<(), String> {
        let books = self.under_way.get_mut(&attempt.upstream.key).ok_or("an attempt ends that never began")?;
        books.count = books.count.checked_sub(1).ok_or("an attempt ends twice")?;
        books.cut_off.answered(outcome, now);
        books.agree(now)
    }

    /// A request comes.
    pub(crate) fn comes(&mut self, now: Tick) {
        self.requests.push_back(now);
        // Twice the budget's window: where it begins is its own affair.
        while self.requests.front().is_some_and(|at| now.since(*at) > 2 * WINDOW) {
            self.requests.pop_front();
        }
    }

    /// A request is sent again that an instance may have worked on.
    pub(crate) fn repeats(&mut self, now: Tick) -> Result<(), String> {
        self.retries.push_back(now);
        while self.retries.front().is_some_and(|at| now.since(*at) > WINDOW) {
            self.retries.pop_front();
        }
        // The share may be spent at once, and the floor in each second after that.
        let most = self.requests.len() / 5 + FLOOR_OF_RETRIES * (WINDOW.as_secs() as usize + 1);
        let (retries, requests) = (self.retries.len(), self.requests.len());
        if retries <= most {
            return Ok(());
        }
        Err(format!(
            "{now:?}: over the budget: {retries} retries within {WINDOW:?}, {requests} requests within twice that"
        ))
    }

    /// Instances that are out for what they answer, and all that are there.
    pub(crate) fn ejected(table: &Table, now: Tick) -> (usize, usize) {
        let serving = || table.service(SERVICE).into_iter().flat_map(|s| s.members.iter()).filter(|m| !m.resort);
        let judged = |m: &&Member| match m.upstream.vitals.state(now) {
            Admission::Out { cause, .. } | Admission::Probing { cause, .. } => cause.is_judged(),
            _ => false,
        };
        (serving().filter(judged).count(), serving().count())
    }

    /// An attempt ended: it may have put one more out, but never more than half nor the last.
    pub(crate) fn ejects(table: &Table, before: (usize, usize), now: Tick) -> Result<(), String> {
        let (out, all) = Self::ejected(table, now);
        let most = (all / 2).min(all.saturating_sub(1));
        if out > before.0 && out > most {
            return Err(format!("{now:?}: {out} of {all} are ejected, which is more than may be"));
        }
        Ok(())
    }

    /// A request ends without an answer, although nothing of it was done anywhere.
    pub(crate) fn gives_up(&self, request: &Request, service: &Service, now: Tick) -> Result<(), String> {
        let left = service.members.iter().find(|m| !request.was_sent_to(m.upstream.key));
        match left {
            Some(left) if request.count < TRIES => Err(format!(
                "{now:?}: a router-made error after {} tries, and {} was not asked",
                request.count, left.instance.id
            )),
            _ => Ok(()),
        }
    }

    /// A request that began when all was well long since got no good answer.
    pub(crate) fn fails_in_calm(request: &Request, what: &str) -> Result<(), String> {
        let late = request.began >= SETTLED;
        if late { Err(format!("{:?}: {what} long after all was well", request.began)) } else { Ok(()) }
    }

    /// All is over.
    pub(crate) fn end(&self, script: &Script) -> Result<(), String> {
        for books in self.under_way.values() {
            books.agree(Tick(u64::MAX))?;
            if books.count != 0 {
                return Err(format!("{} in flight to {} at the end", books.count, books.upstream.id));
            }
        }
        let remaining = script.remaining();
        let fair = f64::from(self.shares.values().sum::<u32>()) / remaining.len() as f64;
        // Less three standard deviations: of few requests chance has its part.
        let least = (FLOOR * fair - 3.0 * (FLOOR * fair).sqrt()).max(1.0);
        for who in remaining {
            let share = self.shares.get(&who).copied().unwrap_or(0);
            if f64::from(share) < least {
                return Err(format!(
                    "i{who} starves: {share} requests, its fair share is {fair:.0} ({})",
                    script.algorithm
                ));
            }
        }
        Ok(())
    }
}

impl UnderWay {
    fn say(&self, law: Result<(), String>, now: Tick) -> Result<(), String> {
        law.map_err(|broken| format!("{now:?}: {} {broken}", self.upstream.id))
    }

    fn agree(&self, now: Tick) -> Result<(), String> {
        let counted = self.upstream.vitals.in_flight();
        if counted == self.count {
            return Ok(());
        }
        Err(format!("{now:?}: {counted} in flight to {} by its vitals, {} in truth", self.upstream.id, self.count))
    }
}
