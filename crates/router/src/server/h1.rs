//! HTTP/1 clients, by hyper; the deadlines are ours.

use std::{
    cell::Cell,
    convert::Infallible,
    future::poll_fn,
    pin::pin,
    rc::Rc,
    task::{Poll, ready},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header::CONNECTION};
use http_body::{Body as _, Frame, SizeHint};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use telemetry::metrics::Closed;
use transport::{
    Body, BodyError,
    io::{Expired, Meter, Metered, Stream},
    timer::Alarm,
};

use super::{respond::respond, unreadable};
use crate::{
    client::Client,
    core::{Core, Phase},
    exchange::{Exchange, Responder},
    plan::Current,
};

/// Output hyper may hold for a client that reads slowly, before it stops taking more of the body.
const WRITE_BUFFER: usize = 64 * 1024;

pub(super) async fn serve(
    core: &Rc<Core>,
    client: Rc<Client>,
    stream: Stream,
    plan: &Current,
) -> Result<Closed, Closed> {
    let meter = Meter::new(stream);
    let hasty = Cell::new(false);
    let service = service_fn(|request: Request<Incoming>| {
        meter.busy(!request.body().is_end_stream());
        answer(core, &client, &meter, &hasty, request)
    });
    let wire = builder(plan).serve_connection(TokioIo::new(Metered(Rc::clone(&meter))), service);
    let mut wire = pin!(wire);
    let mut phase = core.phase();
    let mut draining = pin!(phase.wait_for(|phase| *phase == Phase::Draining));
    let mut drained = false;
    let mut alarm = Alarm::default();
    let mut fault = None;
    let ended = poll_fn(|cx| {
        if !drained && draining.as_mut().poll(cx).is_ready() {
            drained = true;
            wire.as_mut().graceful_shutdown();
        }
        if let Poll::Ready(result) = wire.as_mut().poll(cx) {
            let done = match (drained, hasty.get()) {
                (true, _) => Closed::Drained,
                (false, true) => Closed::Hasty,
                (false, false) => Closed::Done,
            };
            return Poll::Ready(result.map(|()| done).map_err(|error| {
                tracing::debug!(peer = %client.peer, %error, "client connection failed");
                let cause = if error.is_parse() { Closed::Protocol } else { Closed::Broken };
                fault = Some(error);
                cause
            }));
        }
        while let Some((due, what)) = meter.due(&plan.patience.http1) {
            ready!(alarm.poll(due, cx));
            match what {
                Expired::Look if !meter.is_gone() => {}
                Expired::Look => return Poll::Ready(Err(Closed::Broken)),
                Expired::Head => return Poll::Ready(Err(Closed::Head)),
                Expired::Stall | Expired::Total => return Poll::Ready(Err(Closed::Stall)),
                Expired::KeepAlive => return Poll::Ready(Ok(Closed::Idle)),
            }
        }
        Poll::Pending
    })
    .await;
    if let (Some(status), Some(fault)) = (meter.kept_back(), fault) {
        // Rare, and boxed lest every connection's state has room for it.
        Box::pin(unreadable::refuse(core, &client, &meter, status, &fault.to_string())).await;
    }
    ended
}

/// As many header fields as hyper reads without making room for each message anew, twice.
const FIELDS: usize = 100;

fn builder(plan: &Current) -> http1::Builder {
    let limits = &plan.limits;
    let mut builder = http1::Builder::new();
    // Ours leaves the connection open; this one ends it, and stands at twice that.
    builder.max_buf_size(limits.head_size.saturating_mul(2).max(WRITE_BUFFER)).half_close(false);
    if limits.fields > FIELDS {
        builder.max_headers(limits.fields.saturating_mul(2));
    }
    builder
}

async fn answer(
    core: &Rc<Core>,
    client: &Rc<Client>,
    meter: &Rc<Meter<Stream>>,
    hasty: &Cell<bool>,
    request: Request<Incoming>,
) -> Result<Response<Outgoing>, Infallible> {
    let (head, incoming) = request.into_parts();
    let body = if incoming.is_end_stream() { Body::Empty } else { Body::H1(incoming) };
    let mut exchange = Box::new(Exchange::new(core, client, Responder::H1, &head, body));
    let mut response = respond(&mut exchange, head).await;
    if exchange.is_hasty() {
        // It may have cost a connection to an instance, and costs the client no less.
        hasty.set(true);
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    meter.answers(response.body().deadline());
    Ok(response.map(|body| Outgoing { body, exchange, meter: Rc::clone(meter), broken: None }))
}

/// A response's body on its way out, with the exchange it belongs to.
#[derive(Debug)]
struct Outgoing {
    body: Body,
    exchange: Box<Exchange>,
    meter: Rc<Meter<Stream>>,
    /// It failed before its end, because of this. hyper is told so a turn later: it throws away what it holds then, be it the
    /// head.
    broken: Option<BodyError>,
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(error) = self.broken {
            return Poll::Ready(Some(Err(error)));
        }
        let frame = ready!(std::pin::Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                self.exchange.record.sent += frame.data_ref().map_or(0, |data| data.len() as u64);
                self.exchange.record.complete = self.body.is_end_stream();
            }
            Some(Err(error)) => {
                self.exchange.record.broke_off(*error);
                self.broken = Some(*error);
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            None => self.exchange.record.complete = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if self.body.is_end_stream() && self.broken.is_none() {
            self.exchange.record.complete = true;
        }
        self.meter.idle();
    }
}
