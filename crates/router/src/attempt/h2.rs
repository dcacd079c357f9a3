//! hot path
//!
//! One attempt over HTTP/2.

use std::{future::poll_fn, pin::Pin, rc::Rc, task::Poll, time::Duration};

use http::{HeaderMap, HeaderValue, StatusCode, header::EXPECT, response::Parts, uri::Authority};
use http2::RequestHead;
use model::{Outcome, Protocol, Refusal};
use tokio::time::{Sleep, sleep};
use transport::{
    Lease, Upstream,
    h2::{Connection, Opened},
    pump::Blocked,
    relay::Source,
    upload::Upload,
};

use super::{Failure, Outbound, patience::Patience};
use crate::{exchange::Exchange, refuse, rewrite};

/// How long an instance may keep silent to `Expect: 100-continue` before the body is sent anyway: many HTTP/2 servers
/// never answer it. The time curl takes for it too.
const CONTINUE: Duration = Duration::from_secs(1);

pub(super) async fn send(
    exchange: &Exchange,
    out: &Outbound,
    patience: &mut Patience,
    lease: &mut Lease,
    connection: &Rc<Connection>,
) -> Result<(Parts, Source), Failure> {
    let mut hold = (out.body.is_some() && expects(&out.head.headers)).then(|| Box::pin(sleep(CONTINUE)));
    let Opened { mut answer, mut pump, mut ticket } = open(exchange, out, patience, lease, connection)?;
    let mut body = out.body.as_ref().map(Upload::turn);
    patience.sent();
    let mut hints = HINTS;
    let head = poll_fn(|cx| {
        while let Some(interim) = answer.interim() {
            inform(exchange, interim, &mut hold, &mut hints);
        }
        if let Poll::Ready(head) = answer.poll_head(cx) {
            return Poll::Ready(head.map_err(|error| Failure {
                shared: error.is_of_connection() && !connection.is_first_to_break(),
                ..failure(&error)
            }));
        }
        if hold.as_mut().is_some_and(|hold| hold.as_mut().poll(cx).is_ready()) {
            hold = None;
            exchange.inform(StatusCode::CONTINUE, &HeaderMap::new());
        }
        if hold.is_none()
            && let (Some(sink), Some(body)) = (&mut pump, &mut body)
        {
            match sink.poll(body, &mut false, cx) {
                Poll::Pending => patience.blocked = sink.is_blocked(),
                // Why the instance takes no more of it, its answer will say.
                Poll::Ready(Ok(()) | Err(Blocked::Receiver)) => pump = None,
                Poll::Ready(Err(Blocked::Source(error))) => {
                    return Poll::Ready(Err(Failure::new(refuse::of_body(error), Outcome::Abandoned)));
                }
            }
        }
        patience.poll_end(exchange, out, cx).map(|refusal| Err(Failure::given_up(refusal)))
    });
    let head = head.await?;
    let stream = answer.into_body();
    ticket.head();
    lease.head();
    Ok((head, Source::H2 { stream, request: pump.zip(body), ticket }))
}

/// Opens a stream with the head, in which the instance is told what is left of the deadline.
fn open(
    exchange: &Exchange,
    out: &Outbound,
    patience: &Patience,
    lease: &Lease,
    connection: &Connection,
) -> Result<Opened, Failure> {
    let told = patience.told(&out.head.headers);
    let headers = told.as_ref().unwrap_or(&out.head.headers);
    let opened = connection.open(&head(exchange, out, headers, lease.upstream())?, out.body.is_none());
    opened.map_err(|error| {
        tracing::debug!(instance = %lease.upstream().label(), %error, "no stream");
        match error {
            // The client's doing, as it is where a limit of our own refuses it.
            http2::Error::TooLarge => Failure::given_up(Refusal::HeadersTooLarge),
            _ => Failure::stale(),
        }
    })
}

/// The head in HTTP/2's form, for this instance.
fn head<'a>(
    exchange: &'a Exchange,
    out: &'a Outbound,
    headers: &'a HeaderMap,
    upstream: &'a Upstream,
) -> Result<RequestHead<'a>, Failure> {
    let host = exchange.plan.rewriting.host.choose(out.host.as_ref(), upstream.host());
    let authority = if host == upstream.host() { Some(upstream.authority().as_str()) } else { named(host) };
    let path = out.head.uri.path_and_query().map(|path| path.as_str());
    Ok(RequestHead {
        method: &out.head.method,
        scheme: if upstream.protocol == Protocol::Https { "https" } else { "http" },
        authority: authority.ok_or_else(|| Failure::given_up(Refusal::BadRequest("the host is malformed")))?,
        path: path.ok_or_else(|| Failure::given_up(Refusal::BadRequest("the path is malformed")))?,
        headers,
    })
}

/// A host that is an authority.
fn named(host: &HeaderValue) -> Option<&str> {
    let text = host.to_str().ok()?;
    Authority::try_from(text).ok().map(|_| text)
}

fn expects(headers: &HeaderMap) -> bool {
    headers.get(EXPECT).is_some_and(|value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// Early hints passed on per request: clients that do not read would let them pile up.
const HINTS: u8 = 8;

/// Passes an interim answer on: 100 if it was asked for, and what is meant for clients. Others are dropped.
fn inform(exchange: &Exchange, interim: Parts, hold: &mut Option<Pin<Box<Sleep>>>, hints: &mut u8) {
    let pass = match interim.status {
        StatusCode::CONTINUE => hold.take().is_some(),
        StatusCode::EARLY_HINTS => {
            let left = *hints > 0;
            *hints = hints.saturating_sub(1);
            left
        }
        _ => false,
    };
    if pass {
        let mut headers = interim.headers;
        rewrite::inbound(interim.status, &mut headers);
        exchange.inform(interim.status, &headers);
    }
}

/// What an error before the head says. GOAWAY and REFUSED_STREAM prove that nothing was done (RFC 9113, 8.7).
fn failure(error: &http2::Error) -> Failure {
    if *error == http2::Error::ResponseTooLarge {
        Failure::given_up(Refusal::AnswerTooLarge)
    } else if error.is_unprocessed() {
        Failure::new(Refusal::Reset, Outcome::Refused)
    } else if error.is_remote() {
        Failure::new(Refusal::Reset, Outcome::Reset)
    } else {
        tracing::debug!(%error, "an instance broke the protocol");
        Failure::new(Refusal::Protocol, Outcome::Protocol)
    }
}
