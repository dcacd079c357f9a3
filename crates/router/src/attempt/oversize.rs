//! An answer whose head is larger than we take. Its instance did its work, and would answer so again: it is held against nobody
//! and asked for nowhere else. Whoever can raise the limit has to know of it.

use transport::{Lease, clock, h1, h2};

use crate::exchange::Exchange;

/// Tells the log, once a minute at most.
#[cold]
pub(super) fn tell(exchange: &Exchange, lease: &Lease) {
    let Some(times) = exchange.core.oversize.borrow_mut().add(1, clock::tick()) else { return };
    let (service, instance) = (&lease.upstream().service, lease.upstream().label());
    // Which of the limits it was hyper does not tell.
    let most = exchange.limits().answer_fields;
    let [h1, h2] = [h1::BUFFER, h2::HEAD].map(|octets| octets / 1024);
    tracing::warn!(%service, %instance, times,
        "the head of an answer is too large, and its client got a 502: by HTTP/1.1 it has more than {most} fields, which \
         services.{service}.max_answer_fields raises, or {h1} KiB; by HTTP/2 more than {h2} KiB");
}
