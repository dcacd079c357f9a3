//! hot path
//!
//! From a request to an answering instance: choose, connect, send, and if it is certain that nothing was done, do so
//! again with another one.

mod first_use;
mod h1;
mod h2;
mod patience;

use std::{pin::pin, sync::Arc};

use discovery::Service;
use http::{HeaderValue, Method, Response, request::Parts};
use model::{Outcome, Refusal, UpstreamKey};
use transport::{Body, Lease, Upstream, dial::DialError, pool::Ready, upload::Upload};

use crate::{
    affinity,
    exchange::{Asked, Exchange},
};
use patience::Patience;

/// Instances tried for one request, at most: the first and three more. What fails on four is no accident of one.
const TRIES: usize = 4;

/// Connections that took no new stream, at most: as many as one core keeps to one instance.
const STALE: usize = 32;

/// A request on its way out.
#[derive(Debug)]
pub struct Outbound {
    /// The head, but for its host.
    pub head: Parts,
    /// The host the client named.
    pub host: Option<HeaderValue>,
    /// The body, if there is one.
    pub body: Option<Box<Upload>>,
    /// The environment it is narrowed to.
    pub environment: Option<HeaderValue>,
}

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

/// Sends the request to an instance and takes its answer. Whatever provably did nothing is tried elsewhere, for any
/// method, on the newest table.
///
/// # Errors
/// Why there is no answer.
pub async fn send(exchange: &mut Exchange, mut out: Box<Outbound>) -> Result<Response<Body>, Refusal> {
    let answer = send_until_answered(exchange, &mut out).await;
    if let (Err(_), Some(body)) = (&answer, out.body) {
        exchange.unread = Body::Upload(body);
    }
    answer
}

async fn send_until_answered(exchange: &mut Exchange, out: &mut Outbound) -> Result<Response<Body>, Refusal> {
    let mut tried = Tried::new();
    let mut patience = Patience::new(exchange, out);
    loop {
        if exchange.responder.is_gone() {
            // Given up as soon as it came: no instance needs to hear of it.
            return Err(Refusal::ClientGone);
        }
        let lease = match choose(exchange, out, &tried) {
            Ok(lease) => lease,
            // Perhaps only because no client named it before.
            Err(refusal @ (Refusal::UnknownService | Refusal::NoInstance)) if tried.count == 0 && !tried.asked => {
                tried.asked = true;
                Box::pin(first_use::ask(exchange, &mut patience, refusal)).await?;
                continue;
            }
            Err(refusal) => match tried.last.take() {
                // The only instance closed a connection under us: it may well take the request on another.
                Some(Outcome::Refused) if tried.count < TRIES => {
                    tried.again();
                    continue;
                }
                _ => return Err(tried.refusal.unwrap_or(refusal)),
            },
        };
        tried.add(lease.upstream().key);
        let failure = match attempt(exchange, out, &mut patience, lease).await {
            Ok(response) => return Ok(response),
            Err(failure) => failure,
        };
        if failure.stale && tried.stale < STALE {
            tried.take_back();
            continue;
        }
        let again =
            failure.outcome.is_unsent() && tried.count < TRIES && out.body.as_mut().is_none_or(|body| body.rewind());
        if !again {
            return Err(failure.refusal);
        }
        tried.last = Some(failure.outcome);
        tried.refusal = Some(failure.refusal);
    }
}

/// What was tried so far.
#[derive(Debug)]
struct Tried {
    keys: [UpstreamKey; TRIES],
    /// How many of `keys` are not to be chosen again.
    excluded: usize,
    count: usize,
    stale: usize,
    /// Whether registries were asked about the service.
    asked: bool,
    last: Option<Outcome>,
    refusal: Option<Refusal>,
}

impl Tried {
    fn new() -> Self {
        Self { keys: [UpstreamKey(0); TRIES], excluded: 0, count: 0, stale: 0, asked: false, last: None, refusal: None }
    }

    fn add(&mut self, key: UpstreamKey) {
        self.keys[self.excluded] = key;
        self.excluded += 1;
        self.count += 1;
    }

    fn take_back(&mut self) {
        self.excluded -= 1;
        self.count -= 1;
        self.stale += 1;
    }

    fn again(&mut self) {
        self.excluded = 0;
    }
}

/// Picks an instance from the newest table. Neither waits nor locks.
fn choose(exchange: &Exchange, out: &Outbound, tried: &Tried) -> Result<Lease, Refusal> {
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
    exchange.core.table(|table| {
        let service = table.exposed(name).ok_or(Refusal::UnknownService)?;
        let hash = service.policy.balance.hash_key().and_then(|key| affinity::hash(key, exchange, &out.head.headers));
        lease(service, environment, hash, tried)
    })
}

/// A lease on the balancer's choice. One that is out and lets a single request find out may have given that turn to
/// another request meanwhile; then the next choice, and if all are so, the last one in spite of it.
fn lease(service: &Service, environment: Option<&str>, hash: Option<u64>, tried: &Tried) -> Result<Lease, Refusal> {
    let now = transport::clock::tick();
    let mut passed = [UpstreamKey(0); 2 * TRIES];
    let mut count = tried.excluded;
    passed[..count].copy_from_slice(&tried.keys[..count]);
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
        if count == passed.len() {
            return Ok(Lease::take(Arc::clone(upstream)));
        }
        passed[count] = upstream.key;
        count += 1;
        last = Some(upstream);
    }
}

/// One try with one instance.
async fn attempt(
    exchange: &mut Exchange,
    out: &mut Outbound,
    patience: &mut Patience,
    mut lease: Lease,
) -> Result<Response<Body>, Failure> {
    exchange.record.attempts = exchange.record.attempts.saturating_add(1);
    exchange.record.upstream = Some(Arc::clone(lease.upstream()));
    let pool = exchange.core.pools.of(lease.upstream());
    let connecting = pool.ready(is_repeatable(&out.head.method), exchange.limits().connect);
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
            exchange.record.connected = Some(transport::clock::now());
            match ready {
                Ready::H2(connection) => h2::send(exchange, out, patience, &mut lease, &connection).await,
                Ready::H1(connection) => h1::send(exchange, out, patience, &mut lease, connection, &pool).await,
            }
        }
    };
    match result {
        Ok((response, source)) => Ok(patience.relay(response, source, lease)),
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

/// Whether sending the request twice does the same as sending it once (RFC 9110, 9.2.2).
fn is_repeatable(method: &Method) -> bool {
    method.is_idempotent()
}
