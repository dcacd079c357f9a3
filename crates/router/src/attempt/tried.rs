//! What was tried for one request, and who may be asked next; what follows a try that failed is [`History`]'s.

use std::time::Duration;

use balancer::Stake;
use discovery::Service;
use http::HeaderName;
use model::{Fault, Outcome, Refusal, UpstreamKey};
use transport::{Lease, clock};

use super::{Answer, End, Outbound, choice::Affinity, history::History, knock, lease, with_service};
use crate::{exchange::Exchange, retry::Retries};

/// What was tried so far. Nothing for a request that succeeds at once, whose state stays small.
#[derive(Debug, Default)]
pub(super) struct Tried(Option<Box<History>>);

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
pub(super) fn admits(exchange: &Exchange, out: &Outbound, tried: &[UpstreamKey]) -> Option<bool> {
    let ask = balancer::Ask { hash: None, tried, now: clock::tick() };
    with_service(exchange, out, |service, environment| Ok(service.admits(environment, &ask))).ok().flatten()
}

/// Whether the service has no instance in the newest table, in whatever environment, or none that can be connected to.
pub(super) fn is_deserted(exchange: &Exchange, out: &Outbound) -> bool {
    let is_deserted = |service: &Service, environment: Option<&str>| {
        Ok(service.members.is_empty() || service.cut_off_since(environment).is_some())
    };
    with_service(exchange, out, is_deserted).unwrap_or(false)
}

static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_instance_failed_at_says_more_than_that_nobody_else_came() {
        let failed = || {
            let mut tried = Tried::default();
            tried.history().refusal = Some(Refusal::Connect);
            tried
        };
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
