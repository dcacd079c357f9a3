//! hot path
//!
//! From a request to an answering instance: choose, connect, send; and if that fails, perhaps do so again with another
//! one.
//!
//! | | |
//! |---|---|
//! | `outbound` | the request on its way out |
//! | `h1`, `h2` | one try over either protocol |
//! | `oversize` | an answer whose head is too large |
//! | `choice` | which instance gets it |
//! | `knock` | one to which no connection could be made |
//! | `patience` | how long a request waits for its answer |
//! | `deadline` | the time its client gives it, read and passed on |
//! | `tried` | what was tried, and who may be asked next |
//! | `history` | what follows a try that failed; the decision is [`retry`](crate::retry)'s |
//! | `hedge` | two tries at the same time |
//! | `circuit` | the circuit breaker of the service |

pub mod choice;
pub(crate) mod circuit;
mod deadline;
mod first_use;
mod h1;
mod h2;
mod hedge;
mod history;
mod knock;
mod outbound;
mod oversize;
mod patience;
mod tried;

use std::{ops::ControlFlow, pin::pin, rc::Rc, sync::Arc};

use balancer::Stake;
use discovery::Service;
use http::{Response, response};
use model::{Outcome, Refusal, UpstreamKey};
use transport::{
    Body, Lease,
    dial::DialError,
    pool::{Pool, Ready},
    relay::Source,
    upload::Upload,
};

use crate::{
    affinity::{self, Stick},
    exchange::Exchange,
    refuse,
    wait::{self, Turn},
};
use choice::{Affinity, Begun};
pub use outbound::Outbound;
pub(crate) use patience::Patience;
use tried::Tried;

/// The head of an instance's answer, and what is to come.
#[derive(Debug)]
struct Answer {
    /// What is learned of its instance: of a gRPC answer without messages what the head says in gRPC's words.
    status: u16,
    head: response::Parts,
    source: Source,
    lease: Lease,
}

/// How one try ended.
type End = Result<Answer, Failure>;

/// Why one attempt gave no answer.
#[derive(Debug)]
struct Failure {
    refusal: Refusal,
    outcome: Outcome,
    /// The connection at hand takes no new streams (it was told to go away): no try of the instance.
    stale: bool,
    /// It broke with its connection, and another request has told of that: one failure of the instance, not two.
    shared: bool,
    /// We lack what it takes, or the instance has no connection left for us: asking the same one again is no help.
    ours: bool,
}

impl Failure {
    fn new(refusal: Refusal, outcome: Outcome) -> Self {
        Self { refusal, outcome, stale: false, shared: false, ours: false }
    }

    /// No stream could be opened, so nothing was sent.
    fn stale() -> Self {
        Self { stale: true, ..Self::new(Refusal::Reset, Outcome::Refused) }
    }

    /// No connection for it, which is not the instance's fault, so that it was sent nowhere.
    fn unconnected(error: &DialError) -> Self {
        let refusal = if matches!(error, DialError::Resolver(_)) { Refusal::Unresolved } else { Refusal::Overloaded };
        Self { ours: true, ..Self::new(refusal, Outcome::Refused) }
    }

    /// We stopped waiting. Only silence to a complete request says something about the instance.
    fn given_up(refusal: Refusal) -> Self {
        let outcome = if refusal == Refusal::HeadTimeout { Outcome::TimedOut } else { Outcome::Abandoned };
        Self::new(refusal, outcome)
    }
}

/// Sends the request to an instance and takes its answer. What one of them fails at is tried elsewhere, on the newest
/// table, as far as [`retry`](crate::retry) allows.
///
/// # Errors
/// Why there is no answer.
pub async fn send(exchange: &mut Exchange, out: &mut Outbound) -> Result<Response<Body>, Refusal> {
    let mut patience = Patience::new(exchange, out);
    let answer = send_until_answered(exchange, out, &mut patience).await;
    circuit::observe(exchange, answer.as_ref().map(|answer| answer.status));
    Ok(patience.relay(answer?, exchange))
}

async fn send_until_answered(
    exchange: &mut Exchange,
    out: &mut Outbound,
    patience: &mut Patience,
) -> Result<Answer, Refusal> {
    let mut tried = Tried::default();
    // Whether registries were asked about the service.
    let mut asked = false;
    loop {
        if exchange.is_gone() {
            // Given up as soon as it came: no instance needs to hear of it.
            return Err(Refusal::ClientGone);
        }
        patience.begin()?;
        let waits = tried.has_to_wait(exchange, out);
        // No variable of its own: the state of every request would have room for it.
        let lease = match if waits { Err(Refusal::NoInstance) } else { choose(exchange, out, &tried, &patience.turn) } {
            Ok((lease, stick)) => {
                exchange.stick = stick;
                lease
            }
            // Nothing was sent, and it may come that can be.
            Err(refusal) if waits || tried.may_wait(exchange, out, &refusal) => {
                postpone(exchange, out, &mut tried);
                match Box::pin(wait(exchange, out, patience, &tried, &mut asked, refusal.clone())).await {
                    Ok(()) => continue,
                    Err(why) => return tried.end_of_wait(&refusal, why),
                }
            }
            Err(refusal) => return record_relayed(exchange, tried.end(refusal)),
        };
        patience.turn.over();
        exchange.record.sent_to(lease.upstream());
        let limits = exchange.limits();
        if limits.retries.per_try.is_some() {
            patience.limit_try(tried.per_try(exchange, out, lease.upstream().key));
        }
        let end = match limits.hedge {
            None => attempt(exchange, out, patience, lease).await,
            Some(hedge) => Box::pin(hedge::race(hedge, exchange, out, patience, &mut tried, lease)).await,
        };
        let failed = match is_wanted(end) {
            Ok(answer) => {
                tried.answered();
                return Ok(answer);
            }
            Err(failed) => failed,
        };
        let follows = Box::pin(tried.history().next_step(exchange, out, patience, failed));
        if let ControlFlow::Break(end) = follows.await {
            return record_relayed(exchange, end);
        }
    }
}

/// What is relayed in the end may be an earlier answer: then it is of its instance that the log tells, and the client is to
/// remember neither that one nor the one that was asked last.
fn record_relayed(exchange: &mut Exchange, end: Result<Answer, Refusal>) -> Result<Answer, Refusal> {
    if let Ok(answer) = &end {
        let upstream = answer.lease.upstream();
        if exchange.record.upstream.as_ref().is_none_or(|last| last.key != upstream.key) {
            exchange.record.upstream = Some(Arc::clone(upstream));
            exchange.stick = None;
        }
    }
    end
}

/// Waits until it is worth another try of what was refused so: for registries that were not asked before, once; for a place
/// or an instance.
async fn wait(
    exchange: &mut Exchange,
    out: &Outbound,
    patience: &mut Patience,
    tried: &Tried,
    asked: &mut bool,
    refusal: Refusal,
) -> Result<(), Refusal> {
    let refusal = match std::mem::replace(asked, true) {
        true => refusal,
        false => match first_use::ask(exchange, patience, refusal.clone()).await {
            Ok(()) => return Ok(()),
            // The registries have no answer; whoever knows of the service otherwise waits as ever.
            Err(Refusal::Unanswered) if refusal == Refusal::NoInstance => {
                let waited = wait_for_turn(exchange, out, patience, tried, refusal).await;
                return waited.map_err(|why| if why == Refusal::NoInstance { Refusal::Unanswered } else { why });
            }
            Err(refusal) => refusal,
        },
    };
    wait_for_turn(exchange, out, patience, tried, refusal).await
}

async fn wait_for_turn(
    exchange: &mut Exchange,
    out: &Outbound,
    patience: &mut Patience,
    tried: &Tried,
    refusal: Refusal,
) -> Result<(), Refusal> {
    let mut turn = std::mem::take(&mut patience.turn);
    let waited = turn.wait(exchange, patience, out.tag(), tried.keys(), refusal).await;
    patience.turn = turn;
    waited
}

/// An answer that is passed on without further ado. All else is rare, and boxed lest every request's state has room for
/// it.
fn is_wanted(end: End) -> Result<Answer, Box<End>> {
    match end {
        Ok(answer) if answer.status < 500 => Ok(answer),
        end => Err(Box::new(end)),
    }
}

/// The request waits after tries in vain: if it is the one that tries a service whose circuit is half open, another one may,
/// and it asks again afterwards. One that was tried nowhere gave its turn back as it was refused.
fn postpone(exchange: &Exchange, out: &Outbound, tried: &mut Tried) {
    if !tried.needs_admission() {
        let give_back = |service: &Service, _: Option<&str>| {
            circuit::postpone(exchange, service);
            Ok(())
        };
        with_service(exchange, out, give_back).ok();
        tried.history().postpone();
    }
}

/// Picks an instance from the newest table, and what the client is to remember of it. Neither waits nor locks.
fn choose(
    exchange: &Exchange,
    out: &Outbound,
    tried: &Tried,
    turn: &Turn,
) -> Result<(Lease, Option<Box<Stick>>), Refusal> {
    with_service(exchange, out, |service, environment| {
        // Nobody waits for what would not be sent.
        if tried.needs_admission() {
            circuit::admit(exchange, service)?;
        }
        let affinity = affinity_of(exchange, service, out);
        let entered = wait::enter(exchange, service, environment, tried.keys(), turn);
        let stake = || knock::stake(exchange, out, tried.sent());
        let choice = || lease(service, environment, affinity, tried.keys(), stake);
        let chosen = entered.and_then(|()| knock::first(exchange, out, choice));
        if chosen.is_err() && tried.needs_admission() {
            circuit::postpone(exchange, service);
        }
        let (lease, token) = chosen?;
        if tried.is_first() {
            service.vitals.budget.request(transport::clock::tick());
        }
        Ok((lease, choice::stick(service, environment, affinity, tried.keys(), token)))
    })
}

/// A lease on the instance that the client stays with, else on the balancer's choice; and its token.
///
/// # Errors
/// As [`choice::take`].
fn lease(
    service: &Service,
    environment: Option<&str>,
    affinity: Affinity,
    tried: &[UpstreamKey],
    stake: impl Fn() -> Stake,
) -> Result<(Lease, Option<u64>), Refusal> {
    let now = transport::clock::tick();
    let Begun { member, knock } = choice::begin(service, environment, affinity, tried, now, stake)?;
    Ok((Lease::begun(Arc::clone(&member.upstream), now, knock), member.token))
}

/// What of the request says where it belongs, if its service goes by that.
fn affinity_of(exchange: &Exchange, service: &Service, out: &Outbound) -> Affinity {
    let (hash, held) = affinity::of(service, Some(exchange.client.peer.ip()), &out.head);
    Affinity { hash, held }
}

/// Reads the service the request is for in the newest table, and the environment it is narrowed to.
fn with_service<T>(
    exchange: &Exchange,
    out: &Outbound,
    read: impl FnOnce(&Service, Option<&str>) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let environment = out.tag();
    if environment.is_none() && out.environment.is_some() {
        // No instance carries a tag that is not ASCII.
        return Err(Refusal::NoInstance);
    }
    exchange.with_service(|service| read(service, environment))?
}

/// A connection for the request; where few are left, as soon as its body is there, or much of it.
async fn connect(
    exchange: &Exchange,
    out: &Outbound,
    patience: &mut Patience,
    pool: &Rc<Pool>,
) -> Result<Result<Ready, DialError>, Failure> {
    let limits = exchange.limits();
    pool.admit_fields(limits.answer_fields);
    loop {
        let gathered = || out.body.as_ref().is_none_or(Upload::is_gathered);
        let connecting = pool.ready(out.head.method.is_idempotent(), gathered, limits.connect);
        let connected = patience.wait(exchange, pin!(connecting)).await.map_err(Failure::given_up)?;
        match connected.transpose() {
            Some(connected) => return Ok(connected),
            None => Box::pin(h1::gathered(exchange, out, patience)).await?,
        }
    }
}

/// One try with one instance.
async fn attempt(exchange: &Exchange, out: &Outbound, patience: &mut Patience, mut lease: Lease) -> End {
    if let Some(upload) = &exchange.record.upload {
        lease.carries(Rc::clone(upload));
    }
    let pool = exchange.core.pools.of(lease.upstream());
    let result = match connect(exchange, out, patience, &pool).await? {
        // Unsent, so tried elsewhere; the instance is not to blame.
        Err(error) if error.is_ours() => {
            tracing::debug!(instance = %lease.upstream().label(), %error, "no connection for another request");
            lease.settle(Outcome::Abandoned);
            return Err(Failure::unconnected(&error));
        }
        // The pool has told the log why.
        Err(_) => {
            exchange.core.connect_failed(lease.upstream());
            lease.settle(Outcome::ConnectFailed);
            return Err(Failure::new(Refusal::Connect, Outcome::ConnectFailed));
        }
        Ok(ready) => {
            exchange.record.connected.set(Some(transport::clock::now()));
            patience.turn.connected();
            match ready {
                Ready::H2(connection) => h2::send(exchange, out, patience, &mut lease, &connection).await,
                Ready::H1(connection) => h1::send(exchange, out, patience, &mut lease, connection, &pool).await,
            }
        }
    };
    match result {
        Ok((head, source)) => {
            let status = if exchange.grpc { refuse::status_of_grpc(&head) } else { head.status.as_u16() };
            Ok(Answer { status, head, source, lease })
        }
        Err(failure) => {
            let hurried = failure.outcome == Outcome::TimedOut && patience.was_hurried();
            if failure.refusal == Refusal::AnswerTooLarge {
                oversize::tell(exchange, &lease);
            }
            lease.settle(if failure.shared || hurried { Outcome::Abandoned } else { failure.outcome });
            Err(failure)
        }
    }
}
