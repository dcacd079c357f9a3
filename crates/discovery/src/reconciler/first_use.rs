//! Services that clients name and the file does not: what a request wants becomes a question to the registries that are
//! asked by name, and what they answer becomes one to the request. What is asked, and for how long, decides
//! [`Subscriptions`]; this carries it out.
//!
//! A name that is let go leaves by the word of its sources ([`Update::Forgotten`]): a source that did not look at its
//! interest meanwhile goes on with the service as if nothing had been, and what it said must still be known then.
//!
//! | File | |
//! |---|---|
//! | `first_use.rs` | what is wanted, asked and answered |
//! | `first_use/usage.rs` | what is in use, and what is let go |

mod usage;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use model::{Knowledge, ServiceId, Tick, Update};
use tokio::sync::{mpsc, oneshot, watch};
use transport::clock;

use super::{Reconciler, story::Cause};
use crate::{
    claims::SourceId,
    history::{About, What},
    provider::{Interest, Kind},
    sources::Interests,
    status::{self, State},
    subscriptions::{Subscriptions, Verdict},
};

/// How many names wait to be looked at; more are dropped.
pub(crate) const WANTS: usize = 256;
/// Between two looks at them: however many names come in, this thread has time for other things.
const LOOK: Duration = Duration::from_millis(10);
/// How many requests wait for an answer at once, for all names together.
const WAITING: usize = 1024;

/// A request named a service that the table does not have.
#[derive(Debug)]
pub(crate) struct Want {
    pub(crate) service: ServiceId,
    /// A hash of the client's address.
    pub(crate) asker: u64,
    pub(crate) answer: oneshot::Sender<Answer>,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The table has what there is to know: look again.
    Look,
    /// No registry has answered, or none was asked because too many new names came in.
    Unanswered,
}

/// What the reconciler keeps for it.
#[derive(Debug, Default)]
pub(super) struct FirstUse {
    subscriptions: Subscriptions,
    /// The sources that are asked by name.
    sources: HashSet<SourceId>,
    waiting: HashMap<ServiceId, Vec<oneshot::Sender<Answer>>>,
    /// Services that are asked about and were spoken of since the last look.
    spoken_of: BTreeSet<ServiceId>,
    /// How many requests services had when they were looked at last.
    requests: HashMap<ServiceId, u64>,
    /// When use is looked at next.
    look: Tick,
    /// From when on wants are looked at.
    open: Tick,
}

impl FirstUse {
    /// Whether wants may be looked at now.
    pub(super) fn is_open(&self) -> bool {
        self.open <= clock::tick()
    }

    /// When there is something to do.
    pub(super) fn next(&self, now: Tick) -> Option<Tick> {
        let open = (self.open > now).then_some(self.open);
        self.subscriptions.interval().map(|_| self.look).into_iter().chain(open).min()
    }

    /// Notes that a source spoke of a service, if somebody waits for that.
    pub(super) fn heard(&mut self, update: &Update) {
        match update {
            Update::Service { service, .. } if self.subscriptions.is_asked(service) => {
                self.spoken_of.insert(service.clone());
            }
            // Of those it does not name too.
            Update::Everything(_) => self.spoken_of.extend(self.waiting.keys().cloned()),
            _ => {}
        }
    }

    /// Lets a request wait for the answer about a service; it is answered at once if too many wait.
    fn wait(&mut self, service: ServiceId, answer: oneshot::Sender<Answer>) {
        let waiting = |all: &HashMap<ServiceId, Vec<_>>| all.values().map(Vec::len).sum::<usize>();
        if waiting(&self.waiting) >= WAITING {
            for answers in self.waiting.values_mut() {
                answers.retain(|answer| !answer.is_closed());
            }
        }
        if waiting(&self.waiting) < WAITING {
            self.waiting.entry(service).or_default().push(answer);
        } else {
            tell(answer, Answer::Unanswered);
        }
    }

    fn answer(&mut self, service: &ServiceId, answer: Answer) {
        for waiting in self.waiting.remove(service).into_iter().flatten() {
            tell(waiting, answer);
        }
    }
}

impl Reconciler {
    /// Looks at what requests want, as much as there is of it.
    pub(super) fn attend(&mut self, first: Want, wants: &mut mpsc::Receiver<Want>) {
        let now = clock::tick();
        let mut news = self.ask(first, now);
        for want in std::iter::from_fn(|| wants.try_recv().ok()).take(WANTS) {
            news |= self.ask(want, now);
        }
        self.first_use.open = now.after(LOOK);
        if news {
            self.tell_interests();
            self.show();
        }
    }

    /// One of them; whether something new is subscribed to.
    fn ask(&mut self, Want { service, asker, answer }: Want, now: Tick) -> bool {
        let askable = !self.first_use.sources.is_empty() && self.policies.may_subscribe(&service);
        // It may have come while the request was on its way.
        if !askable || self.is_served(&service) {
            tell(answer, Answer::Look);
            return false;
        }
        match self.first_use.subscriptions.want_by(&service, Some(asker), now) {
            Verdict::Ask(way) => {
                self.release(way.as_slice(), now);
                self.keep_waiting(service, answer);
                return true;
            }
            Verdict::Asking => self.keep_waiting(service, answer),
            Verdict::Held | Verdict::Unknown => tell(answer, Answer::Look),
            Verdict::Busy => tell(answer, Answer::Unanswered),
        }
        false
    }

    /// Lets a request wait, unless nobody is there to answer.
    fn keep_waiting(&mut self, service: ServiceId, answer: oneshot::Sender<Answer>) {
        if self.by_name(|source| matches!(source.state, State::Down(_))) {
            tell(answer, Answer::Unanswered);
        } else {
            self.first_use.wait(service, answer);
        }
    }

    /// Whether this is true of all sources that are asked by name.
    fn by_name(&self, is: impl Fn(&status::Source) -> bool) -> bool {
        let status = self.out.status.borrow();
        status.sources.iter().filter(|source| self.first_use.sources.contains(&source.id)).all(|source| is(source))
    }

    /// Answers those who wait for services that were spoken of.
    pub(super) fn settle(&mut self) {
        if self.first_use.spoken_of.is_empty() {
            return;
        }
        let now = clock::tick();
        let mut news = false;
        for service in std::mem::take(&mut self.first_use.spoken_of) {
            if self.claims.has_instances(&service) && self.touched.contains_key(&service) {
                // Published in a moment.
                self.first_use.spoken_of.insert(service);
            } else if let Some(there) = self.is_there(&service) {
                news = true;
                self.conclude(&service, there, now);
            }
        }
        if news {
            self.tell_interests();
            self.show();
        }
    }

    /// Whether there is such a service for clients; `None` while not all who may know it have answered.
    fn is_there(&self, service: &ServiceId) -> Option<bool> {
        if self.is_served(service) {
            return Some(true);
        }
        let answered = |source: &status::Source| {
            self.claims.speaks_of(source.id, service) && !self.claims.is_inherited(source.id, service)
        };
        self.by_name(answered).then_some(false)
    }

    /// Whether clients reach an instance of the service.
    fn is_served(&self, service: &ServiceId) -> bool {
        self.out.cell.with(|table| table.exposed(service.as_str()).is_some_and(|service| !service.members.is_empty()))
    }

    fn conclude(&mut self, service: &ServiceId, there: bool, now: Tick) {
        let unknown = self.first_use.subscriptions.answered(service, there, now);
        self.first_use.answer(service, Answer::Look);
        if unknown {
            self.release(std::slice::from_ref(service), now);
        } else if there {
            self.out.history.record(What::Subscribed, About { service: Some(service), ..About::default() }, &[]);
        }
    }

    /// Nobody asks about these any longer. What their sources said stays until they take it back.
    fn release(&mut self, services: &[ServiceId], now: Tick) {
        for service in services {
            for source in &self.first_use.sources {
                self.claims.let_go(*source, service, now);
            }
            self.first_use.answer(service, Answer::Unanswered);
            self.first_use.spoken_of.remove(service);
            // A name that nobody ever knew makes no new table.
            if self.claims.knows(service) || self.out.cell.with(|table| table.service(service.as_str()).is_some()) {
                self.touched.insert(service.clone(), Cause::NotUsed);
            } else {
                self.touched.remove(service);
            }
        }
        if !services.is_empty() {
            self.out.status.send_modify(|status| {
                let status = Arc::make_mut(status);
                services.iter().for_each(|service| status.let_go(service));
            });
        }
    }

    /// Whether a word is not to be heard: it comes too late, of a service that nobody asks about any longer (what takes it
    /// back is followed, without suspicion); or it says that nothing can be said of a name that nobody knows yet, which
    /// clients may make up as they like.
    pub(super) fn is_late(&mut self, source: SourceId, update: &Update, now: Tick) -> bool {
        let (Update::Service { service, .. } | Update::Forgotten(service)) = update else { return false };
        if self.first_use.subscriptions.rules().is_none() || !self.first_use.sources.contains(&source) {
            return false;
        }
        if self.out.interests.by_name.borrow().services.contains(service) {
            let doubt = matches!(update, Update::Service { knowledge: Knowledge::Unknown(_), .. });
            return doubt && self.first_use.subscriptions.is_asked(service);
        }
        if let Update::Service { knowledge: Knowledge::Known(_) | Knowledge::Part(_), .. } = update {
            // It has not looked at its interest yet, and takes this back when it does.
            return !self.claims.speaks_of(source, service);
        }
        if matches!(update, Update::Forgotten(_) | Update::Service { knowledge: Knowledge::KnownEmpty, .. }) {
            self.claims.forget(source, service, now);
            self.touched.insert(service.clone(), Cause::NotUsed);
        }
        true
    }

    /// Follows other policies and sources.
    pub(super) fn permit(&mut self, sources: &[(SourceId, Arc<str>, Kind)], now: Tick) {
        let by_name = sources.iter().filter(|(_, _, kind)| kind.is_asked_by_name());
        self.first_use.sources = by_name.map(|(id, ..)| *id).collect();
        let policies = Arc::clone(&self.policies);
        let permitted = |service: &ServiceId| policies.may_subscribe(service);
        let gone = self.first_use.subscriptions.follow(policies.first_use.clone(), permitted);
        self.release(&gone, now);
        self.first_use.look = now;
    }

    /// Goes on with what was in use before the start, or before the reload that began this; as far as there is room.
    pub(super) fn resume(&mut self, now: Tick) {
        if self.first_use.subscriptions.rules().is_none() {
            return;
        }
        for source in self.first_use.sources.clone() {
            for service in self.claims.services_of(source) {
                if self.policies.may_subscribe(&service) {
                    self.first_use.subscriptions.recall(&service, now);
                }
                if !self.first_use.subscriptions.holds(&service) && !self.policies.names(&service) {
                    self.release(&[service], now);
                }
            }
        }
    }

    /// What the file and those who ask mean: for this a source is waited for.
    pub(super) fn meant(&self) -> Interests<Interest> {
        let by_name = self.policies.interest_by_name(self.first_use.subscriptions.services());
        Interests { whole: self.policies.interest(), by_name }
    }

    /// What sources are to watch now: beyond that, what one of them has to be asked about by name.
    fn interests(&self) -> Interests<Interest> {
        let mut interests = self.meant();
        for source in &self.out.status.borrow().sources {
            interests.of_mut(source.kind).services.extend(source.unlisted.iter().cloned());
        }
        interests
    }

    pub(super) fn tell_interests(&self) {
        let Interests { whole, by_name } = self.interests();
        let say = |to: &watch::Sender<Arc<Interest>>, interest: Interest| {
            to.send_if_modified(|old| {
                let changed = **old != interest;
                if changed {
                    *old = Arc::new(interest);
                }
                changed
            });
        };
        say(&self.out.interests.whole, whole);
        say(&self.out.interests.by_name, by_name);
    }

    /// Shows it to the operator.
    pub(super) fn show(&self) {
        let (services, unanswered) = self.first_use.subscriptions.numbers();
        let shown = self.first_use.subscriptions.rules().map(|rules| status::FirstUse {
            at_most: rules.at_most,
            services,
            unanswered,
            counts: self.first_use.subscriptions.counts(),
            dropped: self.out.dropped.load(Ordering::Relaxed),
        });
        self.out.status.send_if_modified(|status| {
            let changed = status.first_use != shown;
            if changed {
                Arc::make_mut(status).first_use = shown;
            }
            changed
        });
    }
}

/// The request may have given up waiting.
fn tell(waiting: oneshot::Sender<Answer>, answer: Answer) {
    let _gone = waiting.send(answer);
}
