//! What follows a try that failed.
//!
//! | The newest try came to | What follows | What the client gets then |
//! |---|---|---|
//! | an answer below 500 | [the end](super::tried::Tried::answered) | it |
//! | no stream: the connection at hand is going away | [the next connection](History::next_step); it was no try | |
//! | an end that is no [`fault`] of the instance, such as the deadline | the end | it |
//! | a fault, and [`retry::decide`] says yes | another instance, or the same one if it only broke off | |
//! | one unsent, and the service has no instance any more | the wait for one, as of a new request | |
//! | a fault, and it says no | [the end](History::last_word) | this answer; else the last one held back; else the failure that says most |
//!
//! Before another try an answer of 5xx is [held back](History::hold_back), and its instance is a suspect until the end says
//! [whose fault](retry::is_their_fault) that was.

use std::ops::ControlFlow;

use http::header::EXPECT;
use model::{Fault, Refusal, UpstreamKey, Withheld};
use transport::{Suspect, upload::Upload};

use super::{
    Answer, End, Outbound,
    patience::Patience,
    tried::{admits, fault, is_deserted, may_repeat, pay},
};
use crate::{
    exchange::Exchange,
    retry::{self, Facts, Next, Verdict},
};

/// Connections that took no new stream, at most: as many as one core keeps to one instance.
const STALE: usize = 32;

/// The tries of one request that failed.
#[derive(Debug, Default)]
pub(super) struct History {
    /// Not to be asked again.
    pub(super) keys: Vec<UpstreamKey>,
    /// Those of them that broke a connection: asked again if nobody else is there.
    broke: Vec<UpstreamKey>,
    tries: u8,
    /// Tries whose instance may have done its work.
    pub(super) sent: u8,
    stale: usize,
    /// The last answer of an instance, held back.
    pub(super) answer: Option<Box<Answer>>,
    /// Instances that answered with a gateway failure, until it is known whose fault that is.
    suspects: Vec<Suspect>,
    pub(super) refusal: Option<Refusal>,
    /// It waits since the last try, or did.
    pub(super) postponed: bool,
    /// It has to wait before anybody is asked again.
    pub(super) waits: bool,
    /// It did, because nobody could be reached: what it tries from then on is sent nowhere, but perhaps once.
    waited: bool,
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
    pub(super) fn answered_elsewhere(&mut self) {
        self.discard();
        self.judge_suspects(true);
    }

    fn discard(&mut self) {
        if let Some(answer) = self.answer.take() {
            answer.source.discard();
        }
    }

    /// There is no other try: says whose fault the failures were.
    pub(super) fn judge_suspects(&mut self, answered: bool) {
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
            left: patience.time_for_another(),
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

#[cfg(test)]
mod tests {
    use model::Outcome;
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
}
