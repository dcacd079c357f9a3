//! hot path
//!
//! What a client gets when nobody is there to take its request and its route says what to do then: the answer of another
//! service, or a fixed one. Never a fallback of a fallback.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, header::CONTENT_TYPE};
use model::Refusal;
use transport::Body;

use crate::{
    attempt::{self, Outbound},
    exchange::{Asked, Exchange},
    plan::Instead,
};

/// Takes the request to an instance of its service, or answers it as its route says for when that is not possible.
///
/// # Errors
/// Why it was not answered: by its own service if there is no fallback for that, else by the other one.
pub async fn send(exchange: &mut Exchange, mut out: Box<Outbound>) -> Result<Response<Body>, Refusal> {
    let mut answer = attempt::send(exchange, &mut out).await;
    if let Some(fallback) = exchange.plan.fallback(exchange.record.asked.as_ref()) {
        let applies = match &answer {
            Ok(response) => fallback.is_for_status(response.status()),
            Err(refusal) => fallback.is_for(refusal),
        };
        if applies {
            let instead = fallback.instead.clone();
            // The future of what is rare is kept out of that of every request.
            answer = Box::pin(send_instead(exchange, &mut out, &instead, answer)).await;
        }
    }
    // A fixed answer leaves the rest of the request unread, as a refusal does.
    out.end(exchange, answer.is_ok() && exchange.record.fallback != Some("static"));
    answer
}

async fn send_instead(
    exchange: &mut Exchange,
    out: &mut Outbound,
    instead: &Instead,
    answer: Result<Response<Body>, Refusal>,
) -> Result<Response<Body>, Refusal> {
    match instead {
        _ if !stands_in(instead, exchange.grpc, &out.head.method, answer.as_ref().err()) => answer,
        Instead::Static { status, content_type, body } => {
            let bodiless = out.head.method == Method::HEAD;
            Ok(fixed(exchange, bodiless, (*status, content_type.as_ref(), body), replaced(answer)))
        }
        Instead::Service(_) if !is_whole(exchange) => answer,
        Instead::Service(service) => {
            // Its lease and its place are given back before others are asked for.
            replaced(answer);
            exchange.place.take();
            exchange.record.asked = Some(Asked::Instead(service.clone()));
            // What is told of the instance from now on is told of one of that service.
            exchange.record.upstream = None;
            exchange.record.connected.take();
            exchange.record.fallback = Some("service");
            exchange.core.metrics.fallback_service.inc();
            let mut response = attempt::send(exchange, out).await?;
            response.headers_mut().insert(&FALLBACK, HeaderValue::from_static("service"));
            Ok(response)
        }
    }
}

/// Lets go of the answer that another one takes the place of.
fn replaced(answer: Result<Response<Body>, Refusal>) -> Option<Refusal> {
    match answer {
        Ok(response) => {
            response.into_body().replace();
            None
        }
        Err(refusal) => Some(refusal),
    }
}

/// The fixed answer. Why it is given is counted and logged as if it were refused.
fn fixed(
    exchange: &mut Exchange,
    bodiless: bool,
    (status, content_type, body): (StatusCode, Option<&HeaderValue>, &Bytes),
    refusal: Option<Refusal>,
) -> Response<Body> {
    if let Some(refusal) = refusal {
        exchange.record.refused(&refusal);
        exchange.core.metrics.refused(&refusal);
    }
    exchange.record.fallback = Some("static");
    // No client shall stay with the instance that failed it.
    exchange.stick = None;
    exchange.core.metrics.fallback_static.inc();
    let mut response = Response::new(if bodiless || body.is_empty() { Body::Empty } else { Body::Full(body.clone()) });
    *response.status_mut() = status;
    response.headers_mut().insert(&FALLBACK, HeaderValue::from_static("static"));
    if let Some(kind) = content_type {
        response.headers_mut().insert(CONTENT_TYPE, kind.clone());
    }
    response
}

/// Whether a request of which nothing was sent has a fallback that can take it now.
pub(crate) fn stands_by(exchange: &Exchange) -> bool {
    let fallback = exchange.plan.fallback(exchange.record.asked.as_ref());
    fallback.is_some_and(|fallback| match fallback.instead {
        Instead::Static { .. } => !exchange.grpc,
        Instead::Service(_) => is_whole(exchange),
    })
}

/// Whether it can take the place of this answer: a fixed answer is no gRPC answer, and sending a request to another service
/// must do nothing twice.
pub(crate) fn stands_in(instead: &Instead, grpc: bool, method: &Method, refusal: Option<&Refusal>) -> bool {
    match instead {
        Instead::Static { .. } => !grpc,
        Instead::Service(_) => refusal.is_some_and(is_unsent) || method.is_idempotent(),
    }
}

/// Whether all of the body is still at hand.
fn is_whole(exchange: &Exchange) -> bool {
    exchange.record.upload.as_ref().is_none_or(|tally| !tally.is_lost())
}

/// Whether a request that was refused so was certainly sent to no instance.
fn is_unsent(refusal: &Refusal) -> bool {
    !matches!(
        refusal,
        Refusal::Reset
            | Refusal::Protocol
            | Refusal::AnswerTooLarge
            | Refusal::HeadTimeout
            | Refusal::IdleTimeout
            | Refusal::Deadline
    )
}

pub(crate) static FALLBACK: HeaderName = HeaderName::from_static("x-pointsman-fallback");
