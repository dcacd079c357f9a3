//! One attempt over HTTP/1.1.

use std::{pin::pin, rc::Rc};

use http::{
    HeaderValue, Request, StatusCode,
    header::{CONNECTION, EXPECT, HOST, TE},
    response::Parts,
};
use model::{Outcome, Refusal};
use transport::{
    Body, Lease,
    h1::Connection,
    pool::{Listening, Pool},
    relay::Source,
};

use super::{Failure, Outbound, patience::Patience};
use crate::{exchange::Exchange, refuse, rewrite};

pub(super) async fn send(
    exchange: &Exchange,
    out: &Outbound,
    patience: &mut Patience,
    lease: &mut Lease,
    mut connection: Connection,
    pool: &Rc<Pool>,
) -> Result<(Parts, Source), Failure> {
    let head = head(exchange, out, patience, lease);
    if out.body.is_some() && out.head.headers.contains_key(EXPECT) {
        // The body is taken at once, so the client may send it. An HTTP/1 client is told by hyper.
        exchange.inform(StatusCode::CONTINUE, &http::HeaderMap::new());
    }
    let body = out.body.as_ref().map_or(Body::Empty, |body| Body::Upload(body.turn()));
    patience.sent();
    let listening = Listening::new(pool, exchange.record.upload.clone());
    let sending = connection.send.try_send_request(Request::from_parts(head, body));
    let answer = patience.wait_for_head(exchange, out, pin!(sending)).await;
    if answer.is_ok() {
        listening.heard();
    }
    let response = match answer {
        Err(refusal) => return Err(Failure::given_up(refusal)),
        Ok(Err(mut error)) => {
            return Err(match error.take_message() {
                Some(_unsent) => Failure::new(Refusal::Reset, Outcome::Refused),
                None => failure(exchange, error.error()),
            });
        }
        Ok(Ok(response)) => response,
    };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        // Nobody asked for it.
        return Err(Failure::new(Refusal::Protocol, Outcome::Protocol));
    }
    lease.head();
    let (head, incoming) = response.into_parts();
    let upload = exchange.record.upload.clone();
    Ok((head, Source::H1 { incoming, home: Some((connection, Rc::clone(pool))), upload }))
}

/// The head in HTTP/1.1's form, for this instance. A copy: the request may yet be sent to another.
fn head(exchange: &Exchange, out: &Outbound, patience: &Patience, lease: &Lease) -> http::request::Parts {
    let mut head = out.head.clone();
    if let Some(told) = patience.told(&head.headers) {
        head.headers = told;
    }
    let host = exchange.plan.rewriting.host.choose(out.host.as_ref(), lease.upstream().host());
    head.headers.insert(HOST, host.clone());
    head.headers.remove(EXPECT);
    rewrite::join_cookies(&mut head.headers);
    if head.headers.contains_key(TE) {
        head.headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    head.version = http::Version::HTTP_11;
    head
}

/// What an error says after the request may have been sent.
fn failure(exchange: &Exchange, error: &hyper::Error) -> Failure {
    tracing::debug!(%error, "instance failed");
    if let Some(cause) = exchange.record.upload.as_ref().and_then(|tally| tally.failed()) {
        return Failure::new(refuse::of_body(cause), Outcome::Abandoned);
    }
    if error.is_parse() {
        Failure::new(Refusal::Protocol, Outcome::Protocol)
    } else {
        Failure::new(Refusal::Reset, Outcome::Reset)
    }
}
