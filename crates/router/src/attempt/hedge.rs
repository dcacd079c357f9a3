//! Two tries at the same time: when an instance is silent for longer than nearly all answers take, another one is asked
//! as well, if the budget pays for it. The first answer wins, and the other try is given up.

use std::{pin::pin, sync::Arc, time::Duration};

use futures_util::future::{Either, select};
use tokio::time::sleep;
use transport::{Lease, Upstream, clock};

use super::{
    End, Outbound, affinity_of, attempt, choice,
    patience::Patience,
    tried::{Tried, fault, may_repeat},
    with_service,
};
use crate::{affinity::Stick, exchange::Exchange, retry::Hedge};

/// A try that may be overtaken. Afterwards the record names the instance whose end this is.
pub(super) async fn race(
    hedge: Hedge,
    exchange: &mut Exchange,
    out: &Outbound,
    patience: &mut Patience,
    tried: &mut Tried,
    lease: Lease,
) -> End {
    let asked = clock::now();
    let (second, end) = match due(hedge, exchange, out) {
        None => (None, attempt(exchange, out, patience, lease).await),
        Some(due) => overtaken(due, exchange, out, patience, tried, lease).await,
    };
    if let Some(second) = second {
        let first = exchange.record.upstream.clone();
        exchange.record.sent_to(&second.upstream);
        match second.won {
            true => exchange.stick = stick(exchange, out, tried, second.token),
            false => exchange.record.upstream = first,
        }
    }
    if hedge == Hedge::AtP95 && end.is_ok() {
        let elapsed = clock::now().saturating_duration_since(asked);
        // A service that is gone meanwhile learns nothing.
        with_service(exchange, out, |service, _| {
            service.vitals.p95.observe(elapsed);
            Ok(())
        })
        .ok();
    }
    end
}

/// What the client is to remember of the instance that won, instead of the one that was asked first.
fn stick(exchange: &Exchange, out: &Outbound, tried: &Tried, token: Option<u64>) -> Option<Box<Stick>> {
    let stick = with_service(exchange, out, |service, environment| {
        Ok(choice::stick(service, environment, affinity_of(exchange, service, out), tried.keys(), token))
    });
    stick.ok().flatten()
}

/// The second instance that was asked.
struct Second {
    upstream: Arc<Upstream>,
    token: Option<u64>,
    /// The end is its.
    won: bool,
}

/// When another instance is asked; `None` if the request cannot be sent twice, or nobody knows yet how long answers take.
fn due(hedge: Hedge, exchange: &Exchange, out: &Outbound) -> Option<Duration> {
    if out.body.is_some() || !may_repeat(&exchange.limits().retries, exchange, out) {
        return None;
    }
    match hedge {
        Hedge::After(after) => Some(after),
        Hedge::AtP95 => with_service(exchange, out, |service, _| Ok(service.vitals.p95.get())).ok().flatten(),
    }
}

async fn overtaken(
    due: Duration,
    exchange: &Exchange,
    out: &Outbound,
    patience: &mut Patience,
    tried: &mut Tried,
    lease: Lease,
) -> (Option<Second>, End) {
    let first_key = lease.upstream().key;
    let mut patience_of_second = Patience::of_second(exchange, out, due);
    let (second, end) = {
        let mut first = pin!(attempt(exchange, out, patience, lease));
        if let Either::Left((end, _)) = select(first.as_mut(), pin!(sleep(due))).await {
            return (None, end);
        }
        let Some((lease, token)) = tried.another(exchange, out, first_key) else { return (None, first.await) };
        exchange.core.metrics.hedges.inc();
        let upstream = Arc::clone(lease.upstream());
        let mut second = pin!(attempt(exchange, out, &mut patience_of_second, lease));
        let (won, end) = match select(first.as_mut(), second.as_mut()).await {
            Either::Left((end, _)) => match fault(&end) {
                None => (false, end),
                Some(fault) => {
                    tried.history().lose(first_key, fault, end);
                    (true, second.await)
                }
            },
            Either::Right((end, _)) => match fault(&end) {
                None => (true, end),
                Some(fault) => {
                    tried.history().lose(upstream.key, fault, end);
                    (false, first.await)
                }
            },
        };
        (Second { upstream, token, won }, end)
    };
    if second.won {
        // How long it has waited is the request's, whoever answers it.
        let turn = std::mem::take(&mut patience.turn);
        *patience = patience_of_second;
        patience.turn = turn;
    }
    (Some(second), end)
}
