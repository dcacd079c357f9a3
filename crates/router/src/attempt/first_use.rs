//! A service that no client named before: registries may have to be asked about it, and the request waits a moment for
//! what they say.

use std::{net::IpAddr, pin::pin};

use discovery::Answer;
use model::{Refusal, ServiceId};
use tokio::time::timeout;

use super::patience::Patience;
use crate::exchange::{Asked, Exchange};

/// Has registries asked about the service that the request names, if there is nobody to serve it and it may be subscribed
/// to. `Ok` if the table has to be read again.
///
/// # Errors
/// The refusal it came with, if nobody is asked; or that there is no answer yet.
pub(super) async fn ask(exchange: &mut Exchange, patience: &mut Patience, refusal: Refusal) -> Result<(), Refusal> {
    let Some(Asked::Name(name)) = &exchange.record.asked else { return Err(refusal) };
    let wait = exchange.core.table(|table| {
        let rules = table.policies.first_use.as_ref()?;
        let served = table.exposed(name).is_some_and(|service| !service.members.is_empty());
        (!served).then_some(rules.wait)
    });
    let Some(wait) = wait else { return Err(refusal) };
    let Ok(service) = ServiceId::new(name) else { return Err(refusal) };
    if !exchange.core.table(|table| table.policies.may_subscribe(&service)) {
        return Err(refusal);
    }
    let answer = exchange.core.reporter.want(service, asker(exchange)).ok_or(Refusal::Unanswered)?;
    if wait.is_zero() {
        return Err(Refusal::Unanswered);
    }
    match patience.wait(exchange, pin!(timeout(wait, answer))).await? {
        Ok(Ok(Answer::Look)) => Ok(()),
        _ => Err(Refusal::Unanswered),
    }
}

/// A client by its address. Whoever has an address of IPv6 has all that begin with the same 64 bits.
fn asker(exchange: &Exchange) -> u64 {
    match exchange.client.peer.ip().to_canonical() {
        IpAddr::V4(ip) => balancer::hash(&ip.octets()),
        IpAddr::V6(ip) => balancer::hash(&ip.octets()[..8]),
    }
}
