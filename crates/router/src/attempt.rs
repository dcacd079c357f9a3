//! hot path
//!
//! From a request to an answering instance: choose, connect, send; and if that fails, perhaps do so again with another
//! one.
//!
//! | | |
//! |---|---|
//! | `h1`, `h2` | one try over either protocol |
//! | `patience` | how long a request waits for its answer |
//! | `deadline` | the time its client gives it, read and passed on |
//! | `tried` | what was tried, and what follows; the decision is [`retry`](crate::retry)'s |
//! | `hedge` | two tries at the same time |

mod deadline;
mod h1;
mod h2;
mod hedge;
mod patience;
mod tried;

use std::{ops::ControlFlow, pin::pin, sync::Arc};

use discovery::Service;
use http::{HeaderValue, Response, request::Parts, response};
use model::{Outcome, Refusal, UpstreamKey};
use transport::{Body, Lease, Upstream, dial::DialError, pool::Ready, relay::Source, upload::Upload};

use crate::{
    affinity,
    exchange::{Asked, Exchange},
};
use patience::Patience;
use tried::Tried;

/// A request on its way out.
#[derive(Debug)]
pub struct Outbound {
    /// The head, but for its host.
    pub head: Parts,
    /// The host the client named.
    pub host: Option<HeaderValue>,
    /// The body, if there is one.
    pub body: Option<Upload>,
    /// The environment it is narrowed to.
    pub environment: Option<HeaderValue>,
}

/// The head of an instance's answer, and what is to come.
#[derive(Debug)]
struct Answer {
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
}

impl Outbound {
    /// A request as it came.
    #[must_use]
    pub fn new(head: Parts) -> Self {
        Self { head, host: None, body: None, environment: None }
    }
}

impl Failure {
    fn new(refusal: Refusal, outcome: Outcome) -> Self {
        Self { refusal, outcome, stale: false }
    }

    /// No stream could be opened, so nothing was sent.
    fn stale() -> Self {
        Self { stale: true, ..Self::new(Refusal::Reset, Outcome::Refused) }
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
pub async fn send(exchange: &mut Exchange, mut out: Box<Outbound>) -> Result<Response<Body>, Refusal> {
    let mut patience = Patience::new(exchange, &out);
    let answer = send_until_answered(exchange, &mut out, &mut patience).await;
    match (&answer, &out.body) {
        (Ok(_), Some(body)) => body.forget(),
        (Err(_), Some(body)) => exchange.unread = Body::Upload(body.rest()),
        (_, None) => {}
    }
    answer.map(|answer| patience.relay(answer))
}

async fn send_until_answered(
    exchange: &mut Exchange,
    out: &mut Outbound,
    patience: &mut Patience,
) -> Result<Answer, Refusal> {
    let mut tried = Tried::default();
    loop {
        if exchange.is_gone() {
            // Given up as soon as it came: no instance needs to hear of it.
            return Err(Refusal::ClientGone);
        }
        patience.begin()?;
        let lease = match choose(exchange, out, &tried) {
            Ok(lease) => lease,
            Err(refusal) => return tried.end(refusal),
        };
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
                tried.discard();
                return Ok(answer);
            }
            Err(failed) => failed,
        };
        let follows = Box::pin(tried.follow(exchange, out, patience, failed));
        if let ControlFlow::Break(end) = follows.await {
            return end;
        }
    }
}

/// An answer that is passed on without further ado. All else is rare, and boxed lest every request's state has room for
/// it.
fn is_wanted(end: End) -> Result<Answer, Box<End>> {
    match end {
        Ok(answer) if !answer.head.status.is_server_error() => Ok(answer),
        end => Err(Box::new(end)),
    }
}

/// Picks an instance from the newest table. Neither waits nor locks.
fn choose(exchange: &Exchange, out: &Outbound, tried: &Tried) -> Result<Lease, Refusal> {
    with_service(exchange, out, |service, environment| {
        if tried.is_first() {
            service.vitals.budget.request(transport::clock::tick());
        }
        let hash = service.policy.balance.hash_key().and_then(|key| affinity::hash(key, exchange, &out.head.headers));
        lease(service, environment, hash, tried.keys())
    })
}

/// Reads the service the request is for in the newest table, and the environment it is narrowed to.
fn with_service<T>(
    exchange: &Exchange,
    out: &Outbound,
    read: impl FnOnce(&Service, Option<&str>) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let name = match &exchange.record.asked {
        Some(Asked::Route(route)) => exchange.plan.route(*route).service.as_str(),
        Some(Asked::Name(name)) => name,
        None => return Err(Refusal::NoRoute),
    };
    let environment = match &out.environment {
        None => None,
        // No instance carries a tag that is not ASCII.
        Some(tag) => Some(tag.to_str().map_err(|_| Refusal::NoInstance)?),
    };
    exchange.core.table(|table| read(table.exposed(name).ok_or(Refusal::UnknownService)?, environment))
}

/// A lease on the balancer's choice. One that is out and lets a single request find out may have given that turn to
/// another request meanwhile; then the next choice, and if all are so, the last one in spite of it.
fn lease(
    service: &Service,
    environment: Option<&str>,
    hash: Option<u64>,
    tried: &[UpstreamKey],
) -> Result<Lease, Refusal> {
    /// Choices that may be passed over.
    const PASSED: usize = 4;
    let now = transport::clock::tick();
    let mut passed = [UpstreamKey(0); tried::MOST + PASSED];
    let mut count = tried.len().min(tried::MOST);
    let most = count + PASSED;
    passed[..count].copy_from_slice(&tried[..count]);
    let mut last = None;
    loop {
        let ask = balancer::Ask { hash, tried: &passed[..count], now };
        let upstream = match service.pick(environment, &ask) {
            Ok(member) => &member.upstream,
            Err(refusal) => {
                return last.map(|upstream: &Arc<Upstream>| Lease::take(Arc::clone(upstream))).ok_or(refusal);
            }
        };
        if let Some(lease) = Lease::try_take(upstream, now) {
            return Ok(lease);
        }
        if count == most {
            return Ok(Lease::take(Arc::clone(upstream)));
        }
        passed[count] = upstream.key;
        count += 1;
        last = Some(upstream);
    }
}

/// One try with one instance.
async fn attempt(exchange: &Exchange, out: &Outbound, patience: &mut Patience, mut lease: Lease) -> End {
    let pool = exchange.core.pools.of(lease.upstream());
    let connecting = pool.ready(out.head.method.is_idempotent(), exchange.limits().connect);
    let connected = match patience.wait(exchange, pin!(connecting)).await {
        Ok(connected) => connected,
        Err(refusal) => return Err(Failure::given_up(refusal)),
    };
    let result = match connected {
        // Unsent, so tried elsewhere; the instance is not to blame.
        Err(error) if error.is_ours() => {
            tracing::debug!(instance = %lease.upstream().label(), %error, "no connection for another request");
            lease.settle(Outcome::Abandoned);
            return Err(Failure::new(Refusal::Overloaded, Outcome::Refused));
        }
        Err(error) => {
            told(lease.upstream(), &error);
            exchange.core.reporter.connect_failed(lease.upstream());
            lease.settle(Outcome::ConnectFailed);
            return Err(Failure::new(Refusal::Connect, Outcome::ConnectFailed));
        }
        Ok(ready) => {
            exchange.record.connected.set(Some(transport::clock::now()));
            match ready {
                Ready::H2(connection) => h2::send(exchange, out, patience, &mut lease, &connection).await,
                Ready::H1(connection) => h1::send(exchange, out, patience, &mut lease, connection, &pool).await,
            }
        }
    };
    match result {
        Ok((head, source)) => Ok(Answer { head, source, lease }),
        Err(failure) => {
            lease.settle(failure.outcome);
            Err(failure)
        }
    }
}

/// The first failure of an instance that took requests is worth a word to the operator; while it is out, no more.
fn told(upstream: &Upstream, error: &DialError) {
    let (service, instance) = (&upstream.service, upstream.label());
    if upstream.vitals.admits(transport::clock::tick()) {
        tracing::warn!(%service, %instance, %error, "cannot connect to an instance, it rests");
    } else {
        tracing::debug!(%service, %instance, %error, "cannot connect");
    }
}
