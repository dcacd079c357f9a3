//! hot path
//!
//! HTTP/2 connections to instances: many streams on one connection, one task per connection, one flush per wake-up.

use std::{cell::Cell, future::poll_fn, rc::Rc, task::Poll, time::Duration};

use http2::{Answer, Buffers, Connection as Wire, Error, RequestHead, Sender, Settings};
use tokio::{
    task::{AbortHandle, spawn_local},
    time::Instant,
};

use crate::{io::Stream, ping::Prober, pump::Pump};

/// What an instance may send ahead of a client that does not keep up, in each stream.
const WINDOW: u32 = 64 * 1024;
/// The same for one that takes all that comes: enough for a gigabit a second over two milliseconds.
const WIDEST: u32 = 256 * 1024;
/// Streams opened before the instance has said how many it takes (the smallest value RFC 9113 recommends).
const FIRST_STREAMS: usize = 100;
/// Largest response head accepted. Twice what common servers send at most.
pub const HEAD: usize = 128 * 1024;

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
    /// No new streams until something is heard. Written by the prober.
    pub(crate) doubted: Cell<bool>,
    /// It broke, and a request was told.
    broken: Cell<bool>,
    /// No new streams: closed, closing, or told to go away.
    closed: Cell<bool>,
}

/// One connection to one instance.
#[derive(Debug)]
pub struct Connection {
    send: Sender,
    state: Rc<State>,
    task: AbortHandle,
}

/// One open stream.
#[derive(Debug)]
pub struct Opened {
    /// The response to come.
    pub answer: Answer,
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
    #[must_use]
    pub fn start(stream: Stream, buffers: Buffers) -> Rc<Self> {
        // A client says nothing of streams, since a server opens none.
        let settings = Settings { window: WINDOW, widest: WIDEST, head: HEAD, streams: 0 };
        let (send, wire) = Wire::client(stream, settings, buffers);
        let state = Rc::new(State {
            active: Cell::new(0),
            waiting: Cell::new(0),
            limit: Cell::new(FIRST_STREAMS),
            idle_since: Cell::new(Instant::now()),
            doubted: Cell::new(false),
            broken: Cell::new(false),
            closed: Cell::new(false),
        });
        let task = spawn_local(drive(wire, Rc::clone(&state))).abort_handle();
        Rc::new(Self { send, state, task })
    }

    /// Whether another stream can be opened now.
    #[must_use]
    pub fn has_room(&self) -> bool {
        !self.is_closed() && !self.state.doubted.get() && self.state.active.get() < self.state.limit.get()
    }

    /// Whether it has broken and nobody was told yet. All streams of a connection break together: that is one failure of
    /// its instance, not one for each.
    #[must_use]
    pub fn is_first_to_break(&self) -> bool {
        !self.state.broken.replace(true)
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
    /// If the connection takes no new stream, or the instance no such head; nothing was sent then.
    pub fn open(&self, head: &RequestHead<'_>, end: bool) -> Result<Opened, Error> {
        let (answer, out) = self
            .send
            .open(head, end)
            .inspect_err(|error| self.state.closed.set(!matches!(error, Error::Full | Error::TooLarge)))?;
        self.state.active.set(self.state.active.get() + 1);
        self.state.waiting.set(self.state.waiting.get() + 1);
        let ticket = Ticket { state: Rc::clone(&self.state), waiting: true };
        Ok(Opened { answer, pump: (!end).then(|| Pump::new(out)), ticket })
    }

    /// A handle that can still end the connection after its last user let go of it.
    #[must_use]
    pub fn abort_handle(&self) -> AbortHandle {
        self.task.clone()
    }
}

/// The connection's task: polls it, looks after a silent peer. Ends when the peer is gone, or when nobody can open a
/// stream any more and the last one is over.
async fn drive(mut wire: Wire<Stream>, state: Rc<State>) {
    let mut prober = Prober::default();
    let ended = poll_fn(|cx| {
        let done = wire.poll(cx, drop);
        state.limit.set(wire.peer_streams());
        if wire.is_going() {
            state.closed.set(true);
        }
        if let Poll::Ready(result) = done {
            return Poll::Ready(result.map_err(|error| error.to_string()));
        }
        prober.poll(cx, &mut wire, &state).map(|()| Err("no answer to PING".to_owned()))
    });
    if let Err(error) = ended.await {
        tracing::debug!(error, "connection to an instance ended");
    }
    state.closed.set(true);
}
