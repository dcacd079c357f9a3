//! hot path
//!
//! How long one request may wait for its answer: the deadline over all tries, and the limits of each.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{HeaderMap, Response};
use model::Refusal;
use tokio::time::{Instant, sleep};
use transport::{
    Body, BodyError, clock,
    farewell::{Ending, Long},
    relay::Relay,
    timer::{Expired, Timer},
    upload::Tally,
};

use super::{Answer, Outbound, deadline::Deadline, tried};
use crate::{exchange::Exchange, rewrite, wait::Turn};

/// While a body comes in, it is not looked more often whether it is over.
const SOON: Duration = Duration::from_millis(1);

/// Fewer octets of a body than these for each `clients.stall` are next to nothing; so they are of an answer.
const TRICKLE: f64 = 1024.0;

/// With so little time left nobody is asked. Instances are told whole milliseconds, and none is nothing to work in.
const TOO_SHORT: Duration = Duration::from_millis(1);

/// The limits of one request and what moved last.
#[derive(Debug)]
pub(crate) struct Patience {
    timer: Timer,
    /// What the client said of its deadline.
    said: Deadline,
    head: Option<Duration>,
    idle: Option<Duration>,
    /// `head` of a try that may be given up for another one.
    per_try: Option<Duration>,
    /// The budget has paid for the next try.
    paid: bool,
    tally: Option<Rc<Tally>>,
    /// When the head of this try was sent, if it was.
    sent: Option<Instant>,
    /// How long earlier tries have waited in vain for the head of an answer.
    waited: Duration,
    grpc: bool,
    /// What it waits for before it is sent.
    pub(super) turn: Turn,
    /// The instance does not take the body that is at hand.
    pub(super) blocked: bool,
    /// Much of the body has to be there before anything is sent.
    gathering: bool,
}

impl Patience {
    pub(super) fn new(exchange: &Exchange, out: &Outbound) -> Self {
        let limits = exchange.limits();
        let said = Deadline::of(&out.head.headers, exchange.fields, exchange.grpc);
        let total = match (limits.total, said.total()) {
            (limit, None) => limit,
            (Some(limit), Some(own)) if limit <= own => Some(limit),
            (_, own) => {
                exchange.record.own_deadline.set(true);
                own
            }
        };
        let (head, idle) =
            if exchange.grpc { (limits.grpc_head, limits.grpc_idle) } else { (limits.head, limits.idle) };
        let deadline = total.map(|total| exchange.record.began + total);
        // A client that takes nothing is given up after the idle time, also where silence is allowed.
        let timer = Timer::new(None, limits.idle, deadline);
        let tally = exchange.record.upload.clone();
        Self {
            timer,
            said,
            head,
            idle,
            per_try: None,
            paid: false,
            tally,
            sent: None,
            waited: Duration::ZERO,
            grpc: exchange.grpc,
            turn: Turn::default(),
            blocked: false,
            gathering: false,
        }
    }

    /// A try begins, if there is time for it.
    pub(super) fn begin(&mut self) -> Result<(), Refusal> {
        self.waited = self.silence();
        self.sent = None;
        self.blocked = false;
        self.per_try = None;
        self.timer.set_idle(None);
        if self.left().is_some_and(|left| left <= TOO_SHORT) { Err(Refusal::Deadline) } else { Ok(()) }
    }

    /// The fields of a head with what is left of the deadline now; `None` if the client named none.
    pub(super) fn told(&self, headers: &HeaderMap) -> Option<HeaderMap> {
        self.said.total()?;
        let mut headers = headers.clone();
        self.said.tell(self.left()?, &mut headers);
        Some(headers)
    }

    /// Gives this try a limit of its own, at which it is given up for another one, if time is left for that.
    pub(super) fn limit_try(&mut self, limit: Option<Duration>) {
        self.per_try = limit.filter(|limit| self.head_left().is_none_or(|left| *limit < left));
    }

    /// A second try at the same time, after the first one has waited so long.
    pub(super) fn of_second(exchange: &Exchange, out: &Outbound, waited: Duration) -> Self {
        Self { waited, ..Self::new(exchange, out) }
    }

    /// Whether the try had so little time, because others before it took the rest, that its silence says nothing about its
    /// instance.
    pub(super) fn was_hurried(&self) -> bool {
        let given = |head: Duration| self.per_try.map_or(head, |limit| limit.min(head));
        self.head.is_some_and(|head| given(room(head, self.waited)) < given(head) / 2)
    }

    /// How long the request may wait for another try to succeed, if there is a limit.
    pub(super) fn time_for_another(&self) -> Option<Duration> {
        match (self.left(), self.head_left()) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// What is left until the deadline, if there is one.
    pub(crate) fn left(&self) -> Option<Duration> {
        self.timer.deadline().map(|deadline| deadline.saturating_duration_since(clock::now()))
    }

    /// Whether the try that was given up has paid for the next one. Says so once.
    pub(super) fn has_paid(&mut self) -> bool {
        std::mem::take(&mut self.paid)
    }

    /// Waits between two tries.
    pub(super) async fn pause(&mut self, exchange: &Exchange, wait: Duration) -> Result<(), Refusal> {
        if wait.is_zero() {
            return Ok(());
        }
        self.timer.set_idle(None);
        self.wait(exchange, pin!(sleep(wait))).await
    }

    /// Waits for what must come before anything is sent.
    pub(crate) async fn wait<T>(
        &mut self,
        exchange: &Exchange,
        mut future: Pin<&mut impl Future<Output = T>>,
    ) -> Result<T, Refusal> {
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Ok(value)),
            Poll::Pending => self.poll_over(exchange, cx).map(Err),
        })
        .await
    }

    /// Waits for an answer's head.
    pub(super) async fn wait_for_head<T>(
        &mut self,
        exchange: &Exchange,
        out: &Outbound,
        mut future: Pin<&mut impl Future<Output = T>>,
    ) -> Result<T, Refusal> {
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Ok(value)),
            Poll::Pending => self.poll_end(exchange, out, cx).map(Err),
        })
        .await
    }

    /// Waits until the body is there, or much of it, for as long as a client may be silent. Nothing is sent meanwhile.
    pub(super) async fn wait_for_body(
        &mut self,
        exchange: &Exchange,
        out: &Outbound,
    ) -> Result<Result<(), BodyError>, Refusal> {
        self.sent();
        let gathered = poll_fn(|cx| out.body.as_ref().map_or(Poll::Ready(Ok(())), |body| body.poll_gathered(cx)));
        self.gathering = true;
        let gathered = self.wait_for_head(exchange, out, pin!(gathered)).await;
        self.gathering = false;
        self.timer.set_idle(None);
        gathered
    }

    /// Ready when the request must end before anything was sent.
    fn poll_over(&mut self, exchange: &Exchange, cx: &mut Context<'_>) -> Poll<Refusal> {
        exchange.poll_end(&mut self.timer, cx).map(|ended| ended.map_or_else(|gone| gone, |_| Refusal::Deadline))
    }

    /// The head was sent; the answer's limits hold from now on.
    pub(super) fn sent(&mut self) {
        self.sent = Some(clock::now());
        self.timer.set_idle(self.next(self.idle));
    }

    /// Ready when the request must end without an answer.
    pub(super) fn poll_end(&mut self, exchange: &Exchange, out: &Outbound, cx: &mut Context<'_>) -> Poll<Refusal> {
        loop {
            match ready!(exchange.poll_end(&mut self.timer, cx)) {
                Err(refusal) => return Poll::Ready(refusal),
                Ok(Expired::Deadline) => return Poll::Ready(Refusal::Deadline),
                Ok(Expired::Idle) => {
                    if let Some(refusal) = self.overdue(exchange, out) {
                        return Poll::Ready(refusal);
                    }
                }
            }
        }
    }

    /// The alarm rang: it was set when the head was sent, and the body may have moved since. While the body comes in
    /// it is the idle limit that counts; the head's begins when the body is over.
    fn overdue(&mut self, exchange: &Exchange, out: &Outbound) -> Option<Refusal> {
        let (mut left, refusal) = self.remains();
        if left == Some(Duration::ZERO) && self.is_uploaded() && self.try_limit().is_some() {
            // A try is given up for another one. If the budget does not pay for that, this one goes on.
            self.paid = tried::pay(exchange, out);
            if !self.paid {
                self.per_try = None;
                left = self.remains().0;
            }
        }
        if left == Some(Duration::ZERO) {
            return Some(refusal);
        }
        if self.is_trickle(exchange) {
            return Some(Refusal::ClientTimeout);
        }
        self.timer.set_idle(self.next(left));
        None
    }

    /// Whether the body comes so slowly that its client is as good as silent, on a connection that others want. All that came
    /// counts, so that one who sent much may pause for long.
    fn is_trickle(&self, exchange: &Exchange) -> bool {
        let (Some(sent), Some(tally), false) =
            (self.sent, &self.tally, self.is_uploaded() || self.blocked || self.gathering)
        else {
            return false;
        };
        let rounds = clock::now().saturating_duration_since(sent).div_duration_f64(exchange.plan.patience.http1.stall);
        (tally.bytes() as f64) < rounds.floor() * TRICKLE
            && exchange.record.upstream.as_ref().is_some_and(|upstream| exchange.core.pools.is_reserved(upstream.key))
    }

    /// What is left of the limit that holds now, and what it means if nothing is.
    fn remains(&self) -> (Option<Duration>, Refusal) {
        let (limit, refusal) = match self.is_uploaded() {
            true => self.wait_limit(),
            false if self.blocked => (self.idle, Refusal::HeadTimeout),
            false => (self.idle, Refusal::ClientTimeout),
        };
        (limit.map(|limit| limit.saturating_sub(self.still())), refusal)
    }

    /// For how long nothing has moved since the try was sent.
    fn still(&self) -> Duration {
        let Some(sent) = self.sent else { return Duration::ZERO };
        let moved = self.tally.as_ref().map_or(sent, |tally| tally.moved().max(sent));
        clock::now().saturating_duration_since(moved)
    }

    /// How long the complete request has waited for the head of an answer, over all its tries.
    fn silence(&self) -> Duration {
        if self.is_uploaded() { self.waited + self.still() } else { self.waited }
    }

    /// What is left of the limit for the head.
    fn head_left(&self) -> Option<Duration> {
        self.head.map(|head| room(head, self.silence()))
    }

    /// How long a complete request may wait for its answer, and what it means if it does. Where there is no limit for the
    /// head of a gRPC stream, it may be as silent before it as after it: that is no fault of its instance.
    fn wait_limit(&self) -> (Option<Duration>, Refusal) {
        match (self.try_limit(), self.head.map(|head| room(head, self.waited))) {
            (None, None) if self.grpc => (self.idle, Refusal::IdleTimeout),
            (Some(a), Some(b)) => (Some(a.min(b)), Refusal::HeadTimeout),
            (a, b) => (a.or(b), Refusal::HeadTimeout),
        }
    }

    /// None once so much of the body is gone that there can be no other try.
    fn try_limit(&self) -> Option<Duration> {
        self.per_try.filter(|_| self.tally.as_ref().is_none_or(|tally| !tally.is_lost()))
    }

    /// When to look again. While the body comes in nobody tells that it is over, so never later than the head's limit:
    /// the alarm then rings when that limit is over, counted from the body's end.
    fn next(&self, idle: Option<Duration>) -> Option<Duration> {
        match (self.is_uploaded(), idle, self.wait_limit().0) {
            (true, Some(left), Some(head)) if left < head => Some(left),
            (true, _, head) => head,
            (false, Some(idle), Some(head)) => Some(idle.min(head).max(SOON)),
            (false, idle, head) => idle.or(head).map(|soon| soon.max(SOON)),
        }
    }

    fn is_uploaded(&self) -> bool {
        self.tally.as_ref().is_none_or(|tally| tally.is_done())
    }

    /// The answer's head is there: what is left is relayed under the limits for bodies.
    pub(super) fn relay(self, Answer { status, head, source, lease }: Answer, exchange: &Exchange) -> Response<Body> {
        let long = Ending::of(&head.headers);
        let mut timer = self.timer;
        timer.set_idle(match long {
            // Server-sent events may be silent for as long as nothing happens.
            Some(Ending::Events) => None,
            // Its client says that it is gRPC, its instance does not.
            None if self.grpc => exchange.limits().idle,
            _ => self.idle,
        });
        if self.grpc
            && long == Some(Ending::Grpc)
            && let Some(tally) = &self.tally
        {
            tally.admit(exchange.limits().grpc_body);
        }
        let farewell = long.and_then(|ending| {
            let farewell = exchange.core.pools.farewell(lease.upstream().key)?;
            Some(Long::new(farewell, ending, exchange.limits().stream_age))
        });
        let is_call = long == Some(Ending::Grpc) && exchange.is_call();
        let relay = Relay::new(source, timer, lease, status, rewrite::clean_trailers).of_call(is_call);
        let body = relay.until(farewell).into_body();
        let mut response = Response::from_parts(head, body);
        *response.version_mut() = http::Version::HTTP_11;
        response
    }
}

/// What a request that has waited so long has left of its limit for the head, which holds over all tries: a client does not
/// wait for three that are silent as for each. One that waited for all of it in vain gets half of it once more: whoever hangs
/// must not cost an answer that another instance would give.
fn room(head: Duration, waited: Duration) -> Duration {
    let limit = if waited < head { head } else { head + head / 2 };
    limit.saturating_sub(waited)
}
