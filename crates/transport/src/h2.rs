//! hot path
//!
//! HTTP/2 connections to instances: many streams on one connection, one task per connection, one flush per wake-up.

use std::{
    cell::Cell,
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use h2::client::{Connection as Wire, ResponseFuture, SendRequest};
use http::{Request, request::Parts};
use tokio::{
    task::{AbortHandle, spawn_local},
    time::Instant,
};

use crate::{
    io::{Buffers, Coalesce, Stream},
    ping::Prober,
    pump::Pump,
};

/// Stream window for response bodies: what one instance may send ahead of one slow client.
const STREAM_WINDOW: u32 = 256 * 1024;
/// The connection's window is no limit of its own: with one, a few clients that do not read would stall everybody on
/// the shared connection. Memory is bounded by the stream window times the capped streams.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
/// Streams opened before the instance has said how many it takes (the smallest value RFC 9113 recommends).
const FIRST_STREAMS: usize = 100;
/// Largest response head accepted. Twice what common servers send at most.
const HEAD: u32 = 128 * 1024;
/// Output one stream may queue in the h2 crate beyond its window.
const SEND_BUFFER: usize = 256 * 1024;

/// What small unread DATA frames may cost before the h2 crate ends the connection. Large: others share it.
const SMALL_FRAMES: usize = 64 * 1024 * 1024;

/// What a connection's task and its users share; all in one thread.
#[derive(Debug)]
pub(crate) struct State {
    /// Streams open. Written by tickets.
    active: Cell<usize>,
    /// Streams still without response head. Written by tickets, read by the prober.
    pub(crate) waiting: Cell<usize>,
    /// How many streams the instance takes at once. Written by the connection's task.
    limit: Cell<usize>,
    /// When the last stream ended. Written by tickets.
    idle_since: Cell<Instant>,
    /// No new streams: closed, closing, or told to go away.
    closed: Cell<bool>,
}

/// One connection to one instance.
#[derive(Debug)]
pub struct Connection {
    send: SendRequest<Bytes>,
    state: Rc<State>,
    task: AbortHandle,
}

/// One open stream.
#[derive(Debug)]
pub struct Opened {
    /// The response to come.
    pub response: ResponseFuture,
    /// Takes the request's body; `None` if it has none.
    pub pump: Option<Pump>,
    /// Must live as long as the stream.
    pub ticket: Ticket,
}

/// Counts one stream of a connection while it lives.
#[derive(Debug)]
pub struct Ticket {
    state: Rc<State>,
    waiting: bool,
}

impl Ticket {
    /// The response head came.
    pub fn head(&mut self) {
        if std::mem::take(&mut self.waiting) {
            self.state.waiting.set(self.state.waiting.get() - 1);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.head();
        self.state.active.set(self.state.active.get() - 1);
        self.state.idle_since.set(Instant::now());
    }
}

impl Connection {
    /// Speaks HTTP/2 on `stream`.
    ///
    /// # Errors
    /// If the handshake fails.
    pub async fn start(stream: Stream, buffers: Buffers) -> Result<Rc<Self>, h2::Error> {
        let io = Coalesce::new(stream, buffers);
        let handle = io.clone();
        let (send, wire) = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .initial_max_send_streams(FIRST_STREAMS)
            .max_header_list_size(HEAD)
            .max_send_buffer_size(SEND_BUFFER)
            .data_frame_budget(SMALL_FRAMES)
            .enable_push(false)
            .handshake::<_, Bytes>(io)
            .await?;
        let state = Rc::new(State {
            active: Cell::new(0),
            waiting: Cell::new(0),
            limit: Cell::new(FIRST_STREAMS),
            idle_since: Cell::new(Instant::now()),
            closed: Cell::new(false),
        });
        let task = spawn_local(drive(wire, handle, Rc::clone(&state))).abort_handle();
        Ok(Rc::new(Self { send, state, task }))
    }

    /// Whether another stream can be opened now.
    #[must_use]
    pub fn has_room(&self) -> bool {
        !self.is_closed() && self.state.active.get() < self.state.limit.get()
    }

    /// Whether no stream can be opened any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state.closed.get()
    }

    /// Whether it has had no stream for this long.
    pub(crate) fn is_idle(&self, longest: Duration) -> bool {
        self.state.active.get() == 0 && self.state.idle_since.get().elapsed() > longest
    }

    /// Opens a stream with this head. `end`: there is no body.
    ///
    /// # Errors
    /// If the connection takes no new stream; nothing was sent then.
    pub fn open(&self, head: Parts, end: bool) -> Result<Opened, h2::Error> {
        // A clone has no mark of an earlier stream that waits for its turn; with it, that stream could not be reset.
        let mut send = self.send.clone();
        if let Poll::Ready(Err(error)) = send.poll_ready(&mut Context::from_waker(Waker::noop())) {
            self.state.closed.set(true);
            return Err(error);
        }
        let (response, sink) = send.send_request(Request::from_parts(head, ()), end).inspect_err(|error| {
            if error.is_go_away() || error.is_io() {
                self.state.closed.set(true);
            }
        })?;
        self.state.active.set(self.state.active.get() + 1);
        self.state.waiting.set(self.state.waiting.get() + 1);
        let ticket = Ticket { state: Rc::clone(&self.state), waiting: true };
        Ok(Opened { response, pump: (!end).then(|| Pump::new(sink)), ticket })
    }

    /// A handle that can still end the connection after its last user let go of it.
    #[must_use]
    pub fn abort_handle(&self) -> AbortHandle {
        self.task.clone()
    }
}

/// The connection's task: polls it, flushes once, looks after a silent peer. Ends when the peer is gone, or when
/// nobody can open a stream any more and the last one is over.
async fn drive(mut wire: Wire<Coalesce<Stream>, Bytes>, io: Coalesce<Stream>, state: Rc<State>) {
    let mut prober = wire.ping_pong().map(Prober::new);
    let ended = poll_fn(|cx| {
        let done = Pin::new(&mut wire).poll(cx);
        let flushed = io.write_out(cx);
        state.limit.set(wire.max_concurrent_send_streams());
        if let Poll::Ready(result) = done {
            return Poll::Ready(result.map_err(|e| e.to_string()));
        }
        if let Poll::Ready(Err(error)) = flushed {
            return Poll::Ready(Err(error.to_string()));
        }
        match prober.as_mut().map(|p| p.poll(cx, &state, io.heard())) {
            Some(Poll::Ready(())) => Poll::Ready(Err("no answer to PING".into())),
            _ => Poll::Pending,
        }
    });
    if let Err(error) = ended.await {
        tracing::debug!(error, "connection to an instance ended");
    }
    state.closed.set(true);
}
