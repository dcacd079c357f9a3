//! hot path
//!
//! HTTP/2 clients, by the h2 crate: one task for the connection, one per request, one flush per wake-up.

mod watch;

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    rc::Rc,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use h2::{
    Reason, RecvStream,
    server::{Builder, Connection, SendResponse},
};
use http::{Request, Response};
use http_body::Body as _;
use telemetry::metrics::Closed;
use tokio::{task::spawn_local, time::timeout};
use transport::{
    Body, BodyError,
    io::{Coalesce, Stream},
    pump::{Blocked, Pump},
    timer::Timer,
};

use super::respond::respond;
use crate::{
    client::Client,
    core::{Core, Phase},
    exchange::{Exchange, Responder},
    plan::Current,
};
use watch::{Open, Verdict, Watch};

/// No limit of its own: memory is bounded by the stream window times the streams.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
/// What one client may send ahead of one slow instance, per stream.
const STREAM_WINDOW: u32 = 64 * 1024;
/// Output one stream may queue in the h2 crate beyond its window.
const SEND_BUFFER: usize = 64 * 1024;
/// How long, and how much, of a refused request's body is read on.
const LEAVE: Duration = Duration::from_millis(500);
/// One window: what the client may have sent without knowing.
const LEFT: usize = 64 * 1024;
/// What small unread DATA frames may cost before the h2 crate ends the connection: some 16,000 of them.
const SMALL_FRAMES: usize = 4 * 1024 * 1024;

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
        .max_header_list_size(u32::try_from(plan.limits.head_size.saturating_mul(2)).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER)
        .data_frame_budget(SMALL_FRAMES);
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
    let wire = wire.map_err(|error| if error.is_io() { Closed::Broken } else { Closed::Protocol })?;
    drive(core, client, wire, handle, plan).await
}

async fn drive(
    core: &Rc<Core>,
    client: Rc<Client>,
    mut wire: Connection<Coalesce<Stream>, Bytes>,
    io: Coalesce<Stream>,
    plan: &Current,
) -> Result<Closed, Closed> {
    let mut watch = Watch::new(plan.patience.http1);
    let mut phase = core.phase();
    let mut draining = pin!(phase.wait_for(|phase| *phase == Phase::Draining));
    let mut drains = false;
    poll_fn(|cx| {
        let ended = loop {
            match wire.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => begin(core, &client, watch.open(), request, respond),
                Poll::Ready(Some(Err(error))) => break Some(failed(&client, &error)),
                Poll::Ready(None) => break Some(Ok(watch.cause().unwrap_or(Closed::Done))),
                Poll::Pending => break None,
            }
        };
        let written = io.write_out(cx);
        if let Some(result) = ended {
            return Poll::Ready(result);
        }
        if let Poll::Ready(Err(_)) = written {
            return Poll::Ready(Err(Closed::Broken));
        }
        drains = drains || draining.as_mut().poll(cx).is_ready();
        match watch.poll(cx, written.is_pending(), drains) {
            Verdict::Go => return Poll::Pending,
            Verdict::Close(cause) => return Poll::Ready(Err(cause)),
            Verdict::Shut(_) => wire.graceful_shutdown(),
            Verdict::Abuse => wire.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM),
        }
        // What was just said is written in the next round.
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

fn failed(client: &Client, error: &h2::Error) -> Result<Closed, Closed> {
    tracing::debug!(peer = %client.peer, %error, "client connection failed");
    Err(if error.is_io() || error.is_remote() { Closed::Broken } else { Closed::Protocol })
}

fn begin(core: &Rc<Core>, client: &Rc<Client>, open: Open, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
    let (core, client) = (Rc::clone(core), Rc::clone(client));
    spawn_local(async move {
        if !answer(&core, &client, request, respond).await {
            open.given_up();
        }
    });
}

/// Answers one request. False if the client gave it up.
async fn answer(
    core: &Rc<Core>,
    client: &Rc<Client>,
    request: Request<RecvStream>,
    responder: SendResponse<Bytes>,
) -> bool {
    let (head, stream) = request.into_parts();
    let body = if stream.is_end_stream() { Body::Empty } else { Body::H2(stream) };
    let mut exchange = Box::new(Exchange::new(core, client, Responder::H2(responder), &head, body));
    let (head, body) = respond(&mut exchange, head).await.into_parts();
    let end = body.is_end_stream();
    let Responder::H2(responder) = &mut exchange.responder else { return false };
    let Ok(sink) = responder.send_response(Response::from_parts(head, ()), end) else { return false };
    if end {
        exchange.record.complete = true;
    } else {
        deliver(&mut exchange, body, Pump::new(sink)).await;
    }
    let served = exchange.record.complete || exchange.record.reason.is_some();
    let unread = exchange.record.complete.then(|| std::mem::take(&mut exchange.unread));
    // The exchange is over, and its line is written now.
    drop(exchange);
    if let Some(mut unread) = unread {
        timeout(LEAVE, leave(&mut unread)).await.ok();
    }
    served
}

/// Reads on a little after a refusal: dropping the body resets the stream, and some clients (curl before 8) lose an
/// answer that is followed by a reset while they still send.
async fn leave(body: &mut Body) {
    let mut left = LEFT;
    while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
        let size = frame.data_ref().map_or(0, Bytes::len);
        if size >= left {
            return;
        }
        left -= size;
    }
}

/// Hands the body over as the client's window admits it. While the client takes nothing, the exchange's limits and
/// the request's body go on.
async fn deliver(exchange: &mut Exchange, mut body: Body, mut pump: Pump) {
    // Whatever the body is and its route allows: a client that takes nothing is not waited for.
    let mut stall = Timer::new(None, Some(exchange.plan.patience.http1.stall), None);
    let ended = poll_fn(|cx| {
        let mut moved = false;
        let done = pump.poll(&mut body, &mut moved, cx);
        if moved {
            body.touch();
            stall.touch();
        }
        if done.is_ready() {
            return done;
        }
        if pump.is_blocked() {
            if let Poll::Ready(error) = body.poll_background(cx) {
                return Poll::Ready(Err(Blocked::Source(error)));
            }
            if stall.poll_stalled(cx).is_ready() {
                return Poll::Ready(Err(Blocked::Source(BodyError::Idle)));
            }
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
