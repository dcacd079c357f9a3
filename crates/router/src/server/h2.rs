//! hot path
//!
//! HTTP/2 clients, by the h2 crate: one task for the connection, one per request, one flush per wake-up.

use std::{
    cell::Cell,
    future::poll_fn,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use h2::{
    Reason, RecvStream,
    server::{Builder, Connection, SendResponse},
};
use http::{Request, Response};
use http_body::Body as _;
use telemetry::metrics::Closed;
use tokio::{
    task::spawn_local,
    time::{Instant, Sleep, sleep_until, timeout},
};
use transport::{
    Body,
    io::{Coalesce, Stream},
    pump::{Blocked, Pump},
};

use super::respond::respond;
use crate::{
    client::Client,
    core::{Core, Phase},
    exchange::{Exchange, Responder},
    plan::Current,
};

/// No limit of its own: memory is bounded by the stream window times the streams.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
/// What one client may send ahead of one slow instance, per stream.
const STREAM_WINDOW: u32 = 64 * 1024;
/// Output one stream may queue in the h2 crate beyond its window.
const SEND_BUFFER: usize = 256 * 1024;

pub(super) async fn serve(
    core: &Rc<Core>,
    client: Rc<Client>,
    stream: Stream,
    plan: &Current,
) -> Result<Closed, Closed> {
    let io = Coalesce::new(stream, core.pools.buffers().clone());
    let handle = io.clone();
    let mut builder = Builder::new();
    builder
        .initial_connection_window_size(CONNECTION_WINDOW)
        .initial_window_size(STREAM_WINDOW)
        .max_concurrent_streams(plan.limits.streams)
        // Ours answers with a reason; this one is bare and stands at twice that.
        .max_header_list_size(u32::try_from(plan.limits.head_size * 2).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER);
    let handshake = async {
        let mut handshake = pin!(builder.handshake::<_, Bytes>(io));
        // The handshake writes our settings, and nobody else flushes yet.
        poll_fn(|cx| {
            let done = handshake.as_mut().poll(cx);
            let _written = handle.write_out(cx);
            done
        })
        .await
    };
    let wire = timeout(plan.patience.preface, handshake).await.map_err(|_| Closed::Preface)?;
    let wire = wire.map_err(|_| Closed::Protocol)?;
    drive(core, client, wire, handle, plan).await
}

async fn drive(
    core: &Rc<Core>,
    client: Rc<Client>,
    mut wire: Connection<Coalesce<Stream>, Bytes>,
    io: Coalesce<Stream>,
    plan: &Current,
) -> Result<Closed, Closed> {
    let mut idle = Idle::new(plan.patience.http1.keep_alive);
    let mut phase = core.phase();
    let mut draining = pin!(phase.wait_for(|phase| *phase == Phase::Draining));
    let mut ending = None;
    poll_fn(|cx| {
        if ending.is_none() {
            let drained = draining.as_mut().poll(cx).is_ready().then_some(Closed::Drained);
            ending = drained.or_else(|| idle.is_over(cx).then_some(Closed::Idle));
            if ending.is_some() {
                wire.graceful_shutdown();
            }
        }
        let ended = loop {
            match wire.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => begin(core, &client, &idle, request, respond),
                Poll::Ready(Some(Err(error))) => break Some(failed(&client, &error)),
                Poll::Ready(None) => break Some(Ok(ending.unwrap_or(Closed::Done))),
                Poll::Pending => break None,
            }
        };
        match (io.write_out(cx), ended) {
            (_, Some(result)) => Poll::Ready(result),
            (Poll::Ready(Err(_)), None) => Poll::Ready(Err(Closed::Broken)),
            (_, None) => Poll::Pending,
        }
    })
    .await
}

fn failed(client: &Client, error: &h2::Error) -> Result<Closed, Closed> {
    tracing::debug!(peer = %client.peer, %error, "client connection failed");
    Err(if error.is_io() || error.is_remote() { Closed::Broken } else { Closed::Protocol })
}

fn begin(
    core: &Rc<Core>,
    client: &Rc<Client>,
    idle: &Idle,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
) {
    let stream = idle.stream();
    let (core, client) = (Rc::clone(core), Rc::clone(client));
    spawn_local(async move {
        let _open = stream;
        answer(&core, &client, request, respond).await;
    });
}

async fn answer(core: &Rc<Core>, client: &Rc<Client>, request: Request<RecvStream>, responder: SendResponse<Bytes>) {
    let (head, stream) = request.into_parts();
    let body = if stream.is_end_stream() { Body::Empty } else { Body::H2(stream) };
    let mut exchange = Box::new(Exchange::new(core, client, Responder::H2(responder), &head));
    let (head, body) = respond(&mut exchange, Request::from_parts(head, body)).await.into_parts();
    let end = body.is_end_stream();
    let Responder::H2(responder) = &mut exchange.responder else { return };
    let Ok(sink) = responder.send_response(Response::from_parts(head, ()), end) else { return };
    if end {
        exchange.record.complete = true;
    } else {
        deliver(&mut exchange, body, Pump::new(sink)).await;
    }
}

/// Hands the body over as the client's window admits it. While the client takes nothing, the exchange's limits and
/// the request's body go on.
async fn deliver(exchange: &mut Exchange, mut body: Body, mut pump: Pump) {
    let ended = poll_fn(|cx| {
        let mut moved = false;
        let done = pump.poll(&mut body, &mut moved, cx);
        if moved {
            body.touch();
        }
        if done.is_ready() {
            return done;
        }
        if pump.is_blocked()
            && let Poll::Ready(error) = body.poll_background(cx)
        {
            return Poll::Ready(Err(Blocked::Source(error)));
        }
        pump.poll_reset(cx).map(|()| Err(Blocked::Receiver))
    })
    .await;
    exchange.record.sent = pump.bytes();
    match ended {
        Ok(()) => exchange.record.complete = true,
        Err(Blocked::Receiver) => {}
        Err(Blocked::Source(error)) => {
            exchange.record.broke_off(error);
            pump.reset(Reason::INTERNAL_ERROR);
        }
    }
}

/// Closes a connection without open streams after a while. PINGs and half a head do not keep it open.
struct Idle {
    streams: Rc<Open>,
    limit: std::time::Duration,
    sleep: Pin<Box<Sleep>>,
}

#[derive(Debug)]
struct Open {
    streams: Cell<usize>,
    since: Cell<Instant>,
}

impl Idle {
    fn new(limit: std::time::Duration) -> Self {
        let now = Instant::now();
        let streams = Rc::new(Open { streams: Cell::new(0), since: Cell::new(now) });
        Self { streams, limit, sleep: Box::pin(sleep_until(now + limit)) }
    }

    fn stream(&self) -> OpenStream {
        self.streams.streams.set(self.streams.streams.get() + 1);
        OpenStream(Rc::clone(&self.streams))
    }

    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        while self.sleep.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let since = if self.streams.streams.get() == 0 { self.streams.since.get() } else { now };
            let due = since + self.limit;
            if due <= now {
                return true;
            }
            self.sleep.as_mut().reset(due);
        }
        false
    }
}

struct OpenStream(Rc<Open>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get() - 1);
        self.0.since.set(Instant::now());
    }
}
