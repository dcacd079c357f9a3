//! hot path
//!
//! **The data path.** A request comes in as a head, its body waits unread in the exchange; an answer goes out, or the
//! reason why not.

use http::{Response, header::EXPECT};
use model::Refusal;
use transport::Body;

use crate::{attempt::Outbound, exchange::Exchange, fallback, limits, rewrite, shed, target};

/// Takes one request to an instance and its response back.
///
/// # Errors
/// Why the request was not forwarded.
pub async fn proxy(exchange: &mut Exchange, mut out: Box<Outbound>) -> Result<Response<Body>, Refusal> {
    // A core that has too much in hand already does no more than this for it.
    shed::admit(exchange)?;
    prepare(exchange, &mut out)?;

    // An instance that takes it, and its answer; or what the route says for when there is none.
    let mut response = fallback::send(exchange, out).await?;
    let fields = rewrite::inbound(response.status(), response.headers_mut());
    if exchange.record.fallback.is_none() && fields.may_have(&fallback::FALLBACK) {
        // Our own word.
        response.headers_mut().remove(&fallback::FALLBACK);
    }
    exchange.ids.answer(response.headers_mut(), fields);
    if let Some(stick) = exchange.stick.take() {
        stick.tell(response.headers_mut(), exchange.client.tls);
    }
    Ok(response)
}

/// Everything that is done to a request before an instance is chosen.
fn prepare(exchange: &mut Exchange, out: &mut Outbound) -> Result<(), Refusal> {
    let plan = exchange.plan.clone();

    // Which service is it for? The path becomes what the instance will see.
    let target = target::of(&plan, &out.head, exchange.fields)?;
    exchange.record.asked = Some(target.asked);
    out.environment = target.environment;
    out.body = limits::take_body(exchange, &out.head)?;
    if out.body.is_none() && exchange.fields.may_have(&EXPECT) {
        out.head.headers.remove(EXPECT);
    }

    // The head as an instance gets it; the host is chosen per instance.
    out.host = rewrite::outbound(&mut out.head, exchange.fields, &exchange.client.told, &plan.rewriting);
    out.head.uri = target.uri;
    exchange.ids.send(&mut out.head.headers, exchange.fields);
    Ok(())
}
