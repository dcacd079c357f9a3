//! hot path
//!
//! How long one request may wait for its answer, over all attempts.

use std::{
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{HeaderMap, Response, header::CONTENT_TYPE, response::Parts};
use model::Refusal;
use tokio::time::Instant;
use transport::{
    Body, Lease, clock,
    relay::{Relay, Source},
    timer::{Expired, Timer},
    upload::Tally,
};

use super::Outbound;
use crate::{exchange::Exchange, refuse, rewrite};

/// The limits of one request and what moved last.
#[derive(Debug)]
pub(super) struct Patience {
    timer: Timer,
    head: Option<Duration>,
    idle: Option<Duration>,
    tally: Option<Rc<Tally>>,
    sent: Instant,
    grpc: bool,
    /// The instance does not take the body that is at hand.
    pub(super) blocked: bool,
}

impl Patience {
    pub(super) fn new(exchange: &Exchange, out: &Outbound) -> Self {
        let limits = exchange.limits();
        let grpc = exchange.grpc;
        let asked = if grpc { grpc_timeout(&out.head.headers) } else { None };
        let total = match (limits.total, asked) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let (head, idle) = if grpc { (limits.grpc_head, limits.grpc_idle) } else { (limits.head, limits.idle) };
        let deadline = total.map(|total| exchange.record.began + total);
        // A client that takes nothing is given up after the idle time, also where silence is allowed.
        let timer = Timer::new(None, limits.idle, deadline);
        let tally = exchange.record.upload.clone();
        Self { timer, head, idle, tally, sent: exchange.record.began, grpc, blocked: false }
    }

    /// Waits for what must come before anything is sent.
    pub(super) async fn wait<T>(
        &mut self,
        exchange: &mut Exchange,
        mut future: Pin<&mut impl Future<Output = T>>,
    ) -> Result<T, Refusal> {
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Ok(value)),
            Poll::Pending => self.poll_end(exchange, cx).map(Err),
        })
        .await
    }

    /// The head was sent; the answer's limits hold from now on.
    pub(super) fn sent(&mut self) {
        self.sent = clock::now();
        self.timer.set_idle(self.next(self.idle));
    }

    /// Ready when the request must end without an answer.
    pub(super) fn poll_end(&mut self, exchange: &mut Exchange, cx: &mut Context<'_>) -> Poll<Refusal> {
        loop {
            match ready!(exchange.poll_end(&mut self.timer, cx)) {
                Err(refusal) => return Poll::Ready(refusal),
                Ok(Expired::Deadline) => return Poll::Ready(Refusal::Deadline),
                Ok(Expired::Idle) => {
                    if let Some(refusal) = self.overdue() {
                        return Poll::Ready(refusal);
                    }
                }
            }
        }
    }

    /// The alarm rang: it was set when the head was sent, and the body may have moved since. While the body comes in
    /// it is the idle limit that counts; the head's begins when the body is over.
    fn overdue(&mut self) -> Option<Refusal> {
        let moved = self.tally.as_ref().map_or(self.sent, |tally| tally.moved().max(self.sent));
        let (limit, refusal) = match self.is_uploaded() {
            true => (self.head, Refusal::HeadTimeout),
            false if self.blocked => (self.idle, Refusal::HeadTimeout),
            false => (self.idle, Refusal::ClientTimeout),
        };
        let left = limit.map(|limit| (moved + limit).saturating_duration_since(clock::now()));
        if left == Some(Duration::ZERO) {
            return Some(refusal);
        }
        self.timer.set_idle(self.next(left));
        None
    }

    /// When to look again. While the body comes in nobody tells that it is over, so never later than the head's limit:
    /// the alarm then rings when that limit is over, counted from the body's end.
    fn next(&self, idle: Option<Duration>) -> Option<Duration> {
        match (self.is_uploaded(), idle, self.head) {
            (true, Some(left), Some(head)) if left < head => Some(left),
            (true, _, head) => head,
            (false, Some(idle), Some(head)) => Some(idle.min(head)),
            (false, idle, head) => idle.or(head),
        }
    }

    fn is_uploaded(&self) -> bool {
        self.tally.as_ref().is_none_or(|tally| tally.is_done())
    }

    /// The answer's head is there: what is left is relayed under the limits for bodies.
    pub(super) fn relay(&mut self, head: Parts, source: Source, lease: Lease) -> Response<Body> {
        let mut timer = std::mem::replace(&mut self.timer, Timer::new(None, None, None));
        timer.set_idle(if is_event_stream(&head.headers) { None } else { self.idle });
        let status = if self.grpc { refuse::status_of_grpc(&head) } else { head.status.as_u16() };
        let body = Relay::new(source, timer, lease, status, rewrite::clean_trailers).into_body();
        let mut response = Response::from_parts(head, body);
        *response.version_mut() = http::Version::HTTP_11;
        response
    }
}

/// Server-sent events may be silent for as long as nothing happens.
fn is_event_stream(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}

/// `grpc-timeout`: at most eight digits and a unit (gRPC over HTTP/2, "Timeout"). What is not that is no timeout.
fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(value * 3600),
        "M" => Duration::from_secs(value * 60),
        "S" => Duration::from_secs(value),
        "m" => Duration::from_millis(value),
        "u" => Duration::from_micros(value),
        "n" => Duration::from_nanos(value),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn grpc_timeouts_are_read_as_the_protocol_writes_them() {
        for (text, expected) in [
            ("5S", Some(Duration::from_secs(5))),
            ("250m", Some(Duration::from_millis(250))),
            ("2H", Some(Duration::from_secs(7200))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("123456789S", None),
            ("S", None),
            ("5", None),
            ("-5S", None),
            ("5s", None),
            ("", None),
        ] {
            let headers =
                [(http::HeaderName::from_static("grpc-timeout"), HeaderValue::from_static(text))].into_iter().collect();
            assert_eq!(grpc_timeout(&headers), expected, "{text:?}");
        }
    }
}
