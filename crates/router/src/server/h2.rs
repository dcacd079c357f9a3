//! hot path
//!
//! HTTP/2 clients: one task for a connection and its requests. What came is read, the requests that have something to do
//! are driven on, and what they wrote goes out by one write.

mod watch;

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    rc::Rc,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use http_body::Body as _;
use http2::{Connection, Error, Reason, Request, Settings};
use telemetry::metrics::Closed;
use tokio::time::{Instant, timeout};
use transport::{
    Body, BodyError, clock,
    io::Stream,
    pump::{Blocked, Pump},
    timer::{Alarm, Timer},
};

use super::respond::respond;
use crate::{
    client::Client,
    core::{Core, Phase},
    exchange::{Exchange, Responder},
    plan::Current,
};
use watch::{Open, Since, Verdict, Watch};

/// What one client may send ahead of one slow instance, per stream.
const STREAM_WINDOW: u32 = 64 * 1024;
/// What a client must take within the stall time: less is not reading, it is keeping what the answer occupies.
const LEAST: u64 = 1024;
/// Who gives a request up that has waited so long for an instance in vain is not hasty.
const PATIENT: Duration = Duration::from_secs(1);
/// How long, and how much, of a refused request's body is read on.
const LEAVE: Duration = Duration::from_millis(500);
/// One window: what the client may have sent without knowing.
const LEFT: usize = 64 * 1024;

pub(super) async fn serve(
    core: &Rc<Core>,
    client: Rc<Client>,
    stream: Stream,
    plan: &Current,
) -> Result<Closed, Closed> {
    // Our own limit answers with a reason; this one is bare and stands at twice that.
    let head = plan.limits.head_size.saturating_mul(2);
    let settings = Settings { window: STREAM_WINDOW, widest: STREAM_WINDOW, head, streams: plan.limits.streams };
    let mut wire = Connection::server(stream, settings, core.pools.buffers().clone());
    let mut watch = Watch::new(plan.patience.http1);
    let mut preface = Some((Instant::now() + plan.patience.preface, Alarm::default()));
    let mut phase = core.phase();
    let mut draining = pin!(phase.wait_for(|phase| *phase == Phase::Draining));
    let mut drains = false;
    let mut requests = FuturesUnordered::new();
    let ended = poll_fn(|cx| {
        wire.poll_read(cx, |request| requests.push(serve_request(core, &client, watch.open(), request)));
        while let Poll::Ready(Some(())) = requests.poll_next_unpin(cx) {}
        if let Poll::Ready(result) = wire.poll_write(cx) {
            return Poll::Ready(match result {
                Ok(()) => Ok(watch.done()),
                Err(_) if watch.done() == Closed::Hasty => Err(Closed::Hasty),
                Err(error) => failed(&client, &error),
            });
        }
        if let Some((due, alarm)) = &mut preface {
            if !wire.has_begun() {
                return alarm.poll(*due, cx).map(|()| Err(Closed::Preface));
            }
            preface = None;
            watch.begin();
        }
        drains = drains || draining.as_mut().poll(cx).is_ready();
        let since = Since { blocked: wire.blocked_since(), head: wire.head_since() };
        match watch.poll(cx, since, drains) {
            Verdict::Go => return Poll::Pending,
            Verdict::Close(cause) => return Poll::Ready(Err(cause)),
            Verdict::Shut(_) => wire.part(),
            Verdict::Part => wire.parted(),
            Verdict::Abuse => wire.end(Reason::ENHANCE_YOUR_CALM),
        }
        // From now on other limits hold, which another turn sets the alarm for: the wire may have nothing to wake us for.
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
    // Requests that were under way learn that nobody waits any more.
    drop(wire);
    poll_fn(|cx| {
        while let Poll::Ready(Some(())) = requests.poll_next_unpin(cx) {}
        Poll::Ready(())
    })
    .await;
    ended
}

fn failed(client: &Client, error: &Error) -> Result<Closed, Closed> {
    tracing::debug!(peer = %client.peer, %error, "client connection failed");
    Err(if error.is_remote() { Closed::Broken } else { Closed::Protocol })
}

async fn serve_request(core: &Rc<Core>, client: &Rc<Client>, open: Open, request: Request) {
    let mut answering = pin!(answer(core, client, request));
    let served = poll_fn(|cx| {
        // One reading of the clock for all that one poll does. A panic ends this request; the others of its connection
        // know nothing of it.
        let poll = || clock::hold(|| answering.as_mut().poll(cx));
        catch_unwind(AssertUnwindSafe(poll)).unwrap_or(Poll::Ready(Ending::Refused))
    });
    match served.await {
        Ending::Served => {}
        Ending::Refused => open.refused(),
        Ending::GivenUp => open.given_up(),
    }
}

/// What a request came to, in what is reckoned of its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// An instance worked for it.
    Served,
    /// It came to no instance.
    Refused,
    /// The client gave it up, or too little time.
    GivenUp,
}

/// Answers one request.
async fn answer(core: &Rc<Core>, client: &Rc<Client>, request: Request) -> Ending {
    let Request { head, body, respond: out } = request;
    let body = if body.is_end_stream() { Body::Empty } else { Body::H2(body) };
    let mut exchange = Box::new(Exchange::new(core, client, Responder::H2(out), &head, body));
    let (head, body) = respond(&mut exchange, head).await.into_parts();
    let end = body.is_end_stream();
    let Responder::H2(mut out) = exchange.responder.replace(Responder::Answered) else { return Ending::GivenUp };
    if out.send_response(&head, end).is_err() {
        return Ending::GivenUp;
    }
    let mut gone = false;
    if end {
        exchange.record.complete = true;
    } else {
        gone = !deliver(&mut exchange, body, Pump::new(out)).await;
    }
    let is_over = exchange.record.complete || exchange.record.reason.is_some();
    let given_up = gone || !is_over || exchange.is_hasty();
    let ending = match exchange.record.attempts {
        0 if !given_up || exchange.record.began.elapsed() > PATIENT => Ending::Refused,
        _ if given_up => Ending::GivenUp,
        _ => Ending::Served,
    };
    let unread = std::mem::take(&mut exchange.unread);
    let unread = (exchange.record.complete && !unread.is_end_stream()).then_some(unread);
    // The exchange is over, and its line is written now.
    drop(exchange);
    if let Some(mut unread) = unread {
        timeout(LEAVE, leave(&mut unread)).await.ok();
    }
    ending
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
/// the request's body go on. False if the client broke it off.
async fn deliver(exchange: &mut Exchange, mut body: Body, mut pump: Pump) -> bool {
    // Whatever the body is and its route allows: a client that takes nothing is not waited for.
    let mut stall = Timer::new(None, Some(exchange.plan.patience.http1.stall), None);
    // How much it had taken when it was last seen to take anything worth it, if there is something in hand.
    let mut noted = None;
    let ended = poll_fn(|cx| {
        let mut moved = false;
        let done = pump.poll(&mut body, &mut moved, cx);
        // At once: the router may end before the body does.
        exchange.record.sent = pump.bytes();
        if done.is_ready() {
            return done;
        }
        if !pump.is_blocked() {
            noted = None;
            if moved {
                body.touch();
            }
        } else if noted.is_none_or(|noted| pump.bytes() - noted >= LEAST) {
            noted = Some(pump.bytes());
            body.touch();
            stall.touch();
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
    match ended {
        Ok(()) if body.is_cut_short() => exchange.record.broke_off(BodyError::Instance),
        Ok(()) => exchange.record.complete = true,
        Err(Blocked::Receiver) => return false,
        Err(Blocked::Source(error)) => {
            exchange.record.broke_off(error);
            pump.reset(if error == BodyError::Idle { Reason::CANCEL } else { Reason::INTERNAL_ERROR });
            return error != BodyError::Client;
        }
    }
    true
}
