//! An instance to which no connection could be made is knocked at before a request is sent there again. No request waits for
//! that: a host that swallows what it is sent would cost each of them a second.

use balancer::Stake;
use model::Refusal;
use tokio::task::spawn_local;
use transport::Lease;

use super::{Outbound, tried::may_repeat};
use crate::exchange::Exchange;

/// Instances that one request has knocked at. Where so many are cut off, the next one may wait for a connection as well.
const KNOCKS: usize = 8;

/// The first choice that needs no knock, or has a connection. Those before it are knocked at meanwhile; each takes its turn
/// for that, so that nobody is chosen twice.
pub(super) fn first<T>(
    exchange: &Exchange,
    out: &Outbound,
    choice: impl Fn() -> Result<(Lease, T), Refusal>,
) -> Result<(Lease, T), Refusal> {
    for _ in 0..KNOCKS {
        let (lease, token) = choice()?;
        if !lease.is_knock() || !knock(exchange, out, &lease) {
            return Ok((lease, token));
        }
        begin(exchange, lease);
    }
    choice()
}

/// Whether a request would wait for a connection.
#[cold]
fn knock(exchange: &Exchange, out: &Outbound, lease: &Lease) -> bool {
    !exchange.core.pools.of(lease.upstream()).is_ready(out.head.method.is_idempotent())
}

fn begin(exchange: &Exchange, lease: Lease) {
    let (core, limit) = (exchange.core.clone(), exchange.limits().connect);
    let upstream = lease.upstream().clone();
    // Taken now: it may have left when the task begins.
    let pool = core.pools.of(&upstream);
    spawn_local(async move {
        let found = pool.knock(lease, limit).await;
        if found.is_err_and(|error| !error.is_ours()) {
            core.connect_failed(&upstream);
        }
    });
}

/// What is lost if an instance fails the request, which so many may have worked for already.
pub(super) fn stake(exchange: &Exchange, out: &Outbound, sent: u8) -> Stake {
    let policy = &exchange.limits().retries;
    let replayable = exchange.record.upload.as_ref().is_none_or(|tally| !tally.is_lost());
    match out.is_whole() {
        false => Stake::Turn,
        true if policy.attempts > sent + 1 && replayable && may_repeat(policy, exchange, out) => Stake::Nothing,
        true => Stake::Request,
    }
}
