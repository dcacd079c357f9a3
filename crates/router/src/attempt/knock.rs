//! An instance to which no connection could be made is knocked at before a request is sent there again. No request waits for
//! that: a host that swallows what it is sent would cost each of them a second.

use balancer::Stake;
use model::Refusal;
use tokio::task::spawn_local;
use transport::Lease;

use super::{Outbound, choice, tried::may_repeat};
use crate::exchange::Exchange;

/// The first choice to which a request can be sent. Those before it are knocked at meanwhile.
pub(super) fn first<T>(
    exchange: &Exchange,
    out: &Outbound,
    choice: impl Fn() -> Result<(Lease, T), Refusal>,
) -> Result<(Lease, T), Refusal> {
    choice::first(choice, |(lease, token)| match lease.is_knock() {
        false => Some((lease, token)),
        true => {
            knock(exchange, out, lease);
            None
        }
    })
}

#[cold]
fn knock(exchange: &Exchange, out: &Outbound, mut lease: Lease) {
    let (core, limits) = (exchange.core.clone(), exchange.limits());
    let upstream = lease.upstream().clone();
    // Taken now: it may have left when the task begins.
    let pool = core.pools.of(&upstream);
    pool.admit_fields(limits.answer_fields);
    if pool.is_ready(out.head.method.is_idempotent()) {
        // There is one. The next choice is this one, or another.
        return lease.reached();
    }
    let limit = limits.connect;
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
