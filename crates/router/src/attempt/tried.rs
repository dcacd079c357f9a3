//! What was tried for one request, and what follows a try that failed.
//!
//! | The newest try came to | What follows | What the client gets then |
//! |---|---|---|
//! | an answer below 500 | [the end](Tried::answered) | it |
//! | no stream: the connection at hand is going away | [the next connection](History::next_step); it was no try | |
//! | an end that is no [`fault`] of the instance, such as the deadline | the end | it |
//! | a fault, and [`retry::decide`] says yes | another instance, or the same one if it only broke off | |
//! | one unsent, and the service has no instance any more | the wait for one, as of a new request | |
//! | a fault, and it says no | [the end](History::last_word) | this answer; else the last one held back; else the failure that says most |
//!
//! Before another try an answer of 5xx is [held back](History::hold_back), and its instance is a suspect until the end says
//! [whose fault](retry::is_their_fault) that was.

use std::{ops::ControlFlow, time::Duration};

use balancer::Stake;
use discovery::Service;
use http::{HeaderName, header::EXPECT};
use model::{Fault, Outcome, Refusal, UpstreamKey, Withheld};
use transport::{Lease, Suspect, clock, upload::Upload};

use super::{Answer, End, Outbound, choice::Affinity, knock, lease, patience::Patience, with_service};
use crate::{
    exchange::Exchange,
    retry::{self, Facts, Next, Retries, Verdict},
};

/// Connections that took no new stream, at most: as many as one core keeps to one instance.
const STALE: usize = 32;

/// What was tried so far. Nothing for a request that succeeds at once, whose state stays small.
#[derive(Debug, Default)]
pub(super) struct Tried(Option<Box<History>>);

#[derive(Debug, Default)]
pub(super) struct History {
    /// Not to be asked again.
    keys: Vec<UpstreamKey>,
    /// Those of them that broke a connection: asked again if nobody else is there.
    broke: Vec<UpstreamKey>,
    tries: u8,
    /// Tries whose instance may have done its work.
    sent: u8,
    stale: usize,
    /// The last answer of an instance, held back.
    answer: Option<Box<Answer>>,
    /// Instances that answered with a gateway failure, until it is known whose fault that is.
    suspects: Vec<Suspect>,
    refusal: Option<Refusal>,
    /// It waits since the last try, or did.
    postponed: bool,
    /// It has to wait before anybody is asked again.
    waits: bool,
    /// It did, because nobody could be reached: what it tries from then on is sent nowhere, but perhaps once.
    waited: bool,
}

impl Tried {
    /// Whether nothing was tried yet.
    pub(super) fn is_first(&self) -> bool {
        self.0.is_none()
    }

    /// Whether the circuit of the service has to let it go: before the first try, and after a wait.
    pub(super) fn needs_admission(&self) -> bool {
        self.0.as_ref().is_none_or(|history| history.postponed)
    }

    /// Begins with the first try that fails, or the first wait.
    pub(super) fn history(&mut self) -> &mut History {
        self.0.get_or_insert_default()
    }

    /// Whether a request that is refused so may wait for what it lacks: nothing of it was sent. For an instance only if none
    /// can be reached; those that failed it otherwise are no reason to wait.
    pub(super) fn may_wait(&self, exchange: &Exchange, out: &Outbound, refusal: &Refusal) -> bool {
        let Some(history) = &self.0 else { return true };
        history.sent == 0 && (*refusal != Refusal::NoInstance || is_deserted(exchange, out))
    }

    /// Whether nobody is to be asked before it has waited, because nobody can be reached. Says so once.
    pub(super) fn has_to_wait(&mut self, exchange: &Exchange, out: &Outbound) -> bool {
        self.0.as_mut().is_some_and(|history| std::mem::take(&mut history.waits)) && is_deserted(exchange, out)
    }

    /// Who is not to be asked again.
    pub(super) fn keys(&self) -> &[UpstreamKey] {
        self.0.as_ref().map_or(&[], |history| &history.keys)
    }

    /// A second instance to ask while this one is silent, and its token, if one takes requests and the budget pays for it.
    pub(super) fn another(
        &self,
        exchange: &Exchange,
        out: &Outbound,
        key: UpstreamKey,
    ) -> Option<(Lease, Option<u64>)> {
        let tried = [self.keys(), &[key]].concat();
        let ready = self.is_first() && admits(exchange, out, &tried) == Some(true);
        let choose =
            |service: &Service, env: Option<&str>| lease(service, env, Affinity::default(), &tried, || Stake::Nothing);
        let chosen = ready.then(|| knock::first(exchange, out, || with_service(exchange, out, choose)))?.ok()?;
        // Last: what is not sent costs nothing.
        if pay(exchange, out) {
            return Some(chosen);
        }
        chosen.0.forgo();
        None
    }

    /// There is an answer to pass on.
    pub(super) fn answered(&mut self) {
        if let Some(history) = &mut self.0 {
            history.answered_elsewhere();
        }
    }

    /// Nobody else is there: the last answer an instance gave, else what it failed at, else this.
    pub(super) fn end(self, refusal: Refusal) -> Result<Answer, Refusal> {
        let mut history = self.0.unwrap_or_default();
        history.judge_suspects(false);
        match history.answer {
            Some(answer) => Ok(*answer),
            None => Err(history.refusal.unwrap_or(refusal)),
        }
    }

    /// What was refused so waited no longer, because of this. If there was nothing to wait for, or registries had nothing to
    /// say, an instance that was asked before says more.
    pub(super) fn end_of_wait(self, refusal: &Refusal, why: Refusal) -> Result<Answer, Refusal> {
        if why == *refusal || why == Refusal::Unanswered { self.end(why) } else { Err(why) }
    }

    /// The limit of the next try for the head of its answer, if the request may then go to yet another instance.
    pub(super) fn per_try(&self, exchange: &Exchange, out: &Outbound, key: UpstreamKey) -> Option<Duration> {
        let policy = &exchange.limits().retries;
        let limit = policy.per_try.filter(|_| policy.on.has(Fault::Timeout) && self.sent() + 1 < policy.attempts)?;
        let tried = [self.keys(), &[key]].concat();
        let elsewhere = may_repeat(policy, exchange, out) && admits(exchange, out, &tried).is_some();
        elsewhere.then_some(limit)
    }

    /// Tries whose instance may have done its work.
    pub(super) fn sent(&self) -> u8 {
        self.0.as_ref().map_or(0, |history| history.sent)
    }
}

impl History {
    /// It waits before the next try.
    pub(super) fn postpone(&mut self) {
        self.postponed = true;
    }

    /// Nothing was sent, and nobody is left who can be reached: it waits, and then begins anew.
    fn wait(&mut self) {
        self.keys.clear();
        self.broke.clear();
        self.tries = 0;
        (self.waits, self.waited) = (true, true);
    }

    /// One of two tries at the same time failed; the other one goes on.
    pub(super) fn lose(&mut self, key: UpstreamKey, fault: Fault, end: End) {
        self.note(key, fault, &end);
        self.hold_back(end);
    }

    /// Notes a try of this instance that came to this.
    fn note(&mut self, key: UpstreamKey, fault: Fault, end: &End) {
        self.keys.push(key);
        self.postponed = false;
        let ours = matches!(end, Err(failure) if failure.ours);
        if matches!(fault, Fault::Refused | Fault::Reset) && !ours {
            self.broke.push(key);
        }
        self.tries = self.tries.saturating_add(1);
        self.sent = self.sent.saturating_add(u8::from(!fault.is_unsent()));
    }

    /// Another answer is the better one: what others failed at was their own fault.
    fn answered_elsewhere(&mut self) {
        self.discard();
        self.judge_suspects(true);
    }

    fn discard(&mut self) {
        if let Some(answer) = self.answer.take() {
            answer.source.discard();
        }
    }

    /// There is no other try: says whose fault the failures were.
    fn judge_suspects(&mut self, answered: bool) {
        let guilty = retry::is_their_fault(answered, self.sent);
        self.suspects.drain(..).filter(|_| guilty).for_each(Suspect::convict);
    }

    /// What follows the newest try, which ended like this. Waits if another try is due later; `Break` is the end.
    pub(super) async fn next_step(
        &mut self,
        exchange: &Exchange,
        out: &mut Outbound,
        patience: &mut Patience,
        end: Box<End>,
    ) -> ControlFlow<Result<Answer, Refusal>> {
        let end = *end;
        if out.body.as_ref().is_some_and(Upload::has_begun) {
            // The client did not wait for it, or was told to go on.
            out.head.headers.remove(EXPECT);
        }
        if matches!(&end, Err(failure) if failure.stale) && self.stale < STALE {
            self.stale += 1;
            return ControlFlow::Continue(());
        }
        let Some(fault) = fault(&end) else {
            if end.is_ok() {
                self.answered_elsewhere();
            }
            return ControlFlow::Break(end.map_err(|failure| match failure.refusal {
                // What was waited for in vain is what is wrong, not how long that took.
                Refusal::Deadline if self.waited && self.sent == 0 && exchange.record.connected.get().is_none() => {
                    self.refusal.take().unwrap_or(Refusal::Deadline)
                }
                refusal => refusal,
            }));
        };
        if let Some(upstream) = &exchange.record.upstream {
            self.note(upstream.key, fault, &end);
        }
        let policy = &exchange.limits().retries;
        let next = Next::of(admits(exchange, out, &self.keys), !self.broke.is_empty());
        let facts = self.facts(exchange, out, patience, fault, next);
        let wait = match retry::decide(policy, &facts, || patience.has_paid() || pay(exchange, out)) {
            Verdict::Again(wait) => wait,
            Verdict::Enough(Withheld::NoInstance | Withheld::Attempts)
                if self.sent == 0 && is_deserted(exchange, out) =>
            {
                self.hold_back(end);
                self.wait();
                return ControlFlow::Continue(());
            }
            Verdict::Enough(why) => {
                tracing::debug!(fault = fault.as_str(), why = why.as_str(), "not tried again");
                exchange.core.metrics.withheld(why);
                return ControlFlow::Break(self.last_word(end));
            }
        };
        if !self.waited {
            exchange.core.metrics.retried(fault);
        }
        self.hold_back(end);
        if next == Next::Same {
            self.keys.retain(|key| !self.broke.contains(key));
            self.broke.clear();
        }
        match patience.pause(exchange, wait).await {
            Ok(()) => ControlFlow::Continue(()),
            Err(refusal) => ControlFlow::Break(Err(refusal)),
        }
    }

    fn facts(&self, exchange: &Exchange, out: &Outbound, patience: &Patience, fault: Fault, next: Next) -> Facts {
        Facts {
            fault,
            tries: self.tries,
            sent: self.sent,
            next,
            repeatable: may_repeat(&exchange.limits().retries, exchange, out),
            replayable: exchange.record.upload.as_ref().is_none_or(|tally| !tally.is_lost()),
            left: patience.left(),
            random: fastrand::f64(),
        }
    }

    /// The end after this: an answer goes to the client, be it an earlier one.
    fn last_word(&mut self, mut end: End) -> Result<Answer, Refusal> {
        if let Ok(answer) = &mut end
            && !retry::is_their_fault(false, self.sent)
        {
            self.suspects.extend(answer.lease.suspect());
        }
        self.judge_suspects(false);
        match (end, self.answer.take()) {
            (Ok(answer), before) => {
                self.answer = before;
                self.discard();
                Ok(answer)
            }
            (Err(_), Some(answer)) => Ok(*answer),
            // What may have done something says more than that nobody else could be asked.
            (Err(failure), None) if failure.outcome.is_unsent() && self.sent > 0 => {
                Err(self.refusal.take().unwrap_or(failure.refusal))
            }
            (Err(failure), None) => Err(failure.refusal),
        }
    }

    /// Holds an answer back until there is a better one. For its instance the exchange is over.
    fn hold_back(&mut self, end: End) {
        match end {
            Ok(mut answer) => {
                self.suspects.extend(answer.lease.suspect());
                answer.source.part();
                self.discard();
                self.answer = Some(Box::new(answer));
            }
            Err(failure) if failure.outcome.is_unsent() && self.sent > 0 => {}
            Err(failure) => self.refusal = Some(failure.refusal),
        }
    }
}

/// What of it may be worth another try.
pub(super) fn fault(end: &End) -> Option<Fault> {
    Fault::of(match end {
        Ok(answer) => Outcome::Answered(answer.status),
        Err(failure) => failure.outcome,
    })
}

/// Whether the request bears a second time.
pub(super) fn may_repeat(policy: &Retries, exchange: &Exchange, out: &Outbound) -> bool {
    policy.methods.has(&out.head.method)
        || policy.idempotency_key
            && exchange.fields.may_have(&IDEMPOTENCY_KEY)
            && out.head.headers.contains_key(&IDEMPOTENCY_KEY)
}

/// Takes a retry from the budget of the service.
pub(super) fn pay(exchange: &Exchange, out: &Outbound) -> bool {
    let budget = exchange.limits().retries.budget;
    with_service(exchange, out, |service, _| Ok(service.vitals.budget.retry(budget, clock::tick()))).unwrap_or(false)
}

/// Whether there is an instance besides these, and whether it takes requests.
fn admits(exchange: &Exchange, out: &Outbound, tried: &[UpstreamKey]) -> Option<bool> {
    let ask = balancer::Ask { hash: None, tried, now: clock::tick() };
    with_service(exchange, out, |service, environment| Ok(service.admits(environment, &ask))).ok().flatten()
}

/// Whether the service has no instance in the newest table, in whatever environment, or none that can be connected to.
fn is_deserted(exchange: &Exchange, out: &Outbound) -> bool {
    let is_deserted = |service: &Service, environment: Option<&str>| {
        Ok(service.members.is_empty() || service.cut_off_since(environment).is_some())
    };
    with_service(exchange, out, is_deserted).unwrap_or(false)
}

static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

#[cfg(test)]
mod tests {
    use transport::dial::DialError;

    use super::{super::Failure, *};

    #[test]
    fn the_same_instance_is_asked_again_if_it_broke_off_but_not_for_what_we_lack() {
        let asked_again = |failure| {
            let (mut history, end) = (History::default(), Err(failure));
            let fault = fault(&end).expect("a fault");
            history.note(UpstreamKey(1), fault, &end);
            assert_eq!((&*history.keys, history.sent), (&[UpstreamKey(1)][..], 0));
            !history.broke.is_empty()
        };
        assert!(asked_again(Failure::new(Refusal::Reset, Outcome::Refused)));
        for (error, refusal) in [
            (DialError::Full, Refusal::Overloaded),
            (DialError::Local("no descriptor".into()), Refusal::Overloaded),
            (DialError::Resolver("silent".into()), Refusal::Unresolved),
        ] {
            let failure = Failure::unconnected(&error);
            assert_eq!(failure.refusal, refusal);
            assert!(!asked_again(failure), "{error}");
        }
    }

    #[test]
    fn what_an_instance_failed_at_says_more_than_that_nobody_else_came() {
        let failed = || Tried(Some(Box::new(History { refusal: Some(Refusal::Connect), ..History::default() })));
        let end = |tried: Tried, why| tried.end_of_wait(&Refusal::NoInstance, why).err();
        for why in [Refusal::NoInstance, Refusal::Unanswered] {
            assert_eq!(end(failed(), why.clone()), Some(Refusal::Connect));
            assert_eq!(end(Tried::default(), why.clone()), Some(why));
        }
        for why in [Refusal::HoldTimeout, Refusal::Deadline, Refusal::ClientGone] {
            assert_eq!(end(failed(), why.clone()), Some(why), "the wait itself ended");
        }
    }
}
