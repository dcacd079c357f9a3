//! hot path
//!
//! One request through the data path, whatever happens: a refusal becomes an answer here and nowhere else, and a panic
//! becomes a refusal.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::Poll,
};

use http::{Method, Response, request::Parts};
use model::{Fields, Refusal};
use transport::{Body, clock};

use crate::{attempt::Outbound, exchange::Exchange, proxy::proxy, refuse};

/// Answers one request.
pub(super) fn respond(exchange: &mut Exchange, head: Parts) -> impl Future<Output = Response<Body>> {
    // The head is put where it stays: a future that holds it would hold it once for every call below.
    let bodiless = head.method == Method::HEAD;
    answer(exchange, Box::new(Outbound::new(head)), bodiless)
}

async fn answer(exchange: &mut Exchange, out: Box<Outbound>, bodiless: bool) -> Response<Body> {
    let answer = {
        let mut answering = pin!(proxy(exchange, out));
        poll_fn(|cx| {
            // What a panic leaves behind is this exchange, which ends here; shared state is not held over a poll.
            catch_unwind(AssertUnwindSafe(|| clock::hold(|| answering.as_mut().poll(cx))))
                .unwrap_or(Poll::Ready(Err(Refusal::Internal)))
        })
        .await
    };
    let response = answer.unwrap_or_else(|refusal| {
        let mut response = refusal_of(exchange, &refusal);
        if bodiless {
            // An HTTP/2 client takes a body here for a broken stream; hyper would leave it out.
            *response.body_mut() = Body::Empty;
        }
        response
    });
    answered(exchange, &response);
    response
}

/// Refuses a request of which no more is known than that it is none.
pub(super) fn refuse(exchange: &mut Exchange, refusal: &Refusal) -> Response<Body> {
    let response = refusal_of(exchange, refusal);
    answered(exchange, &response);
    response
}

fn refusal_of(exchange: &mut Exchange, refusal: &Refusal) -> Response<Body> {
    exchange.record.refused(refusal);
    exchange.core.metrics.refused(refusal);
    let mut response = refuse::response(refusal, exchange.grpc, &exchange.ids.correlation);
    exchange.ids.answer(response.headers_mut(), Fields::default());
    response
}

fn answered(exchange: &mut Exchange, response: &Response<Body>) {
    let now = clock::now();
    exchange.core.metrics.answered(response.status(), now.saturating_duration_since(exchange.record.began));
    exchange.record.status = Some(response.status());
    exchange.record.head = Some(now);
}
