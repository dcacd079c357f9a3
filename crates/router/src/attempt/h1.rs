//! One attempt over HTTP/1.1.

use std::{future::poll_fn, pin::pin, rc::Rc, task::Poll};

use http::{
    HeaderValue, Method, Request, StatusCode,
    header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE, TRANSFER_ENCODING},
    request,
    response::Parts,
};
use model::{Outcome, Refusal};
use transport::{
    Body, BodyError, Lease,
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
    proceed(exchange, out);
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
    let (mut head, incoming) = response.into_parts();
    // Nobody asked for another protocol.
    if head.status == StatusCode::SWITCHING_PROTOCOLS || !rewrite::framing::settle(&mut head.headers) {
        return Err(Failure::new(Refusal::Protocol, Outcome::Protocol));
    }
    let (home, upload) = (Some((connection, Rc::clone(pool))), exchange.record.upload.clone());
    let mut source = Source::H1 { incoming, ahead: None, home, upload };
    poll_fn(|cx| Poll::Ready(source.begin(cx)))
        .await
        .map_err(|error| broken(exchange, error == BodyError::Malformed))?;
    lease.head();
    Ok((head, source))
}

/// The body is taken from now on, so its client may send it. An HTTP/1 client is told by hyper.
fn proceed(exchange: &Exchange, out: &Outbound) {
    let waits = out.body.as_ref().is_some_and(|body| !body.has_begun());
    if waits && out.head.headers.contains_key(EXPECT) {
        exchange.inform(StatusCode::CONTINUE, &http::HeaderMap::new());
    }
}

/// Waits until the body is there, or much of it. No connection is at hand meanwhile, and none is kept from others.
pub(super) async fn gathered(exchange: &Exchange, out: &Outbound, patience: &mut Patience) -> Result<(), Failure> {
    proceed(exchange, out);
    match patience.wait_for_body(exchange, out).await {
        Ok(gathered) => gathered.map_err(|cause| Failure::new(refuse::of_body(cause), Outcome::Abandoned)),
        Err(refusal) => Err(Failure::given_up(refusal)),
    }
}

/// The head in HTTP/1.1's form, for this instance. A copy: the request may yet be sent to another.
fn head(exchange: &Exchange, out: &Outbound, patience: &Patience, lease: &Lease) -> request::Parts {
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
    delimit(&mut head, out.body.is_some());
    head.version = http::Version::HTTP_11;
    head
}

/// Says where the body ends, if the client did not (HTTP/2 needs not, and chunks end at the router). hyper takes a body of
/// unknown length for none with GET and HEAD, where bodies are rare, but allowed (RFC 9110, 9.3.1). Methods whose point is
/// a body say that there is none: some servers wait for one otherwise, or answer 411 (RFC 9110, 8.6).
fn delimit(head: &mut request::Parts, has_body: bool) {
    if has_body {
        if !head.headers.contains_key(CONTENT_LENGTH) {
            head.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
    } else if matches!(head.method, Method::POST | Method::PUT | Method::PATCH) {
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
}

/// What an error says after the request may have been sent.
fn failure(exchange: &Exchange, error: &hyper::Error) -> Failure {
    if error.is_parse_too_large() {
        return Failure::given_up(Refusal::AnswerTooLarge);
    }
    tracing::debug!(%error, "instance failed");
    broken(exchange, error.is_parse())
}

/// The instance broke its answer off, or what it sent is none.
fn broken(exchange: &Exchange, malformed: bool) -> Failure {
    if let Some(cause) = exchange.record.upload.as_ref().and_then(|tally| tally.failed()) {
        return Failure::new(refuse::of_body(cause), Outcome::Abandoned);
    }
    if malformed {
        Failure::new(Refusal::Protocol, Outcome::Protocol)
    } else {
        Failure::new(Refusal::Reset, Outcome::Reset)
    }
}
