//! hot path
//!
//! **The data path.** A request comes in as a head, its body waits unread in the exchange; an answer goes out, or the
//! reason why not.

use http::{Response, request::Parts};
use model::Refusal;
use transport::Body;

use crate::{attempt, exchange::Exchange, hygiene, limits, rewrite, target};

/// Takes one request to an instance and its response back.
///
/// # Errors
/// Why the request was not forwarded.
pub async fn proxy(exchange: &mut Exchange, mut head: Parts) -> Result<Response<Body>, Refusal> {
    let plan = exchange.plan.clone();

    // What two parsers could read differently goes no further.
    let authority = hygiene::check(&head, exchange.fields)?;
    limits::check_head(&plan.limits, &head)?;

    // Which service is it for? The path becomes what the instance will see.
    let target = target::find(&plan, &head, exchange.fields, authority.as_ref())?;
    exchange.record.asked = Some(target.asked.clone());
    let body = limits::take_body(exchange, &head)?;

    // The head as an instance gets it; the host is chosen per instance.
    let host = rewrite::outbound(&mut head, exchange.fields, &exchange.client.told, &plan.rewriting);
    head.uri = target.uri;
    exchange.ids.send(&mut head.headers, exchange.fields);

    // An instance that takes it, and its answer.
    let outbound = attempt::Outbound { head, host, body, environment: target.environment };
    let mut response = attempt::send(exchange, outbound).await?;
    let fields = rewrite::inbound(response.headers_mut());
    exchange.ids.answer(response.headers_mut(), fields);
    Ok(response)
}
