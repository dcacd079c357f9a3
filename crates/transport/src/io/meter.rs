//! Deadlines of an HTTP/1 client connection that hyper does not keep apart: its header timer is also its keep-alive
//! timer, and it has none for a client that stops reading. Nor does it see a client go that has sent more than its
//! request: it reads no further then. [`Metered`] notes what moves, [`Meter::due`] says which limit runs out when; the
//! connection's task does the waiting.
//!
//! A head that hyper cannot read it answers by itself, with a status and nothing more. It asks nobody, but it is the only thing
//! ever written while no request is there: that is [kept back](Meter::kept_back), and whoever serves the connection says more.

use std::{
    cell::{Cell, RefCell},
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use super::Stream;

/// How often is looked whether a client is gone that nobody reads from.
const LOOK: Duration = Duration::from_secs(1);

/// How long a client may take for each step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionTimeouts {
    /// From the first byte of a request head to its end: absolute, so that a byte a second gains nothing.
    pub head: Duration,
    /// Between requests.
    pub keep_alive: Duration,
    /// With output waiting and the client not reading.
    pub stall: Duration,
}

/// Which limit ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expired {
    /// The request head did not arrive in time.
    Head,
    /// No next request in time.
    KeepAlive,
    /// The client does not read.
    Stall,
    /// The exchange took longer than it may.
    Total,
    /// No limit: it is time to see whether the client [is gone](Meter::is_gone).
    Look,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Idle(Instant),
    Head(Instant),
    /// The request's body comes in.
    Body,
    /// Nothing more of the request is to come.
    Answer,
}

/// One connection, and what moves on it. Written by its I/O and its service, read by its task; all in one thread.
#[derive(Debug)]
pub struct Meter<S> {
    /// Borrowed within a call only.
    stream: RefCell<S>,
    phase: Cell<Phase>,
    stalled: Cell<Option<Instant>>,
    deadline: Cell<Option<Instant>>,
    /// All that came was taken, and whoever reads waits for more.
    reads: Cell<bool>,
    /// When was looked last whether the client is gone.
    looked: Cell<Option<Instant>>,
    /// No request is there, and no answer on its way.
    quiet: Cell<bool>,
    /// The status that hyper gave a head which is none.
    kept_back: Cell<Option<u16>>,
}

impl<S> Meter<S> {
    /// A connection that just began: its first head is due.
    #[must_use]
    pub fn new(stream: S) -> Rc<Self> {
        Rc::new(Self {
            stream: RefCell::new(stream),
            phase: Cell::new(Phase::Head(Instant::now())),
            stalled: Cell::new(None),
            deadline: Cell::new(None),
            reads: Cell::new(true),
            looked: Cell::new(None),
            quiet: Cell::new(true),
            kept_back: Cell::new(None),
        })
    }

    /// A request head is complete.
    pub fn busy(&self, has_body: bool) {
        self.phase.set(if has_body { Phase::Body } else { Phase::Answer });
        self.quiet.set(false);
    }

    /// An answer is on its way, and must be handed over by then: while the client does not read, nobody else looks at the
    /// clock.
    pub fn answers(&self, deadline: Option<Instant>) {
        self.phase.set(Phase::Answer);
        self.deadline.set(deadline);
    }

    /// The exchange is over; the next head may come.
    pub fn idle(&self) {
        self.deadline.set(None);
        self.phase.set(Phase::Idle(Instant::now()));
    }

    /// The limit that runs out next, and when.
    #[must_use]
    pub fn due(&self, patience: &ConnectionTimeouts) -> Option<(Instant, Expired)> {
        let phase = match self.phase.get() {
            Phase::Idle(since) => Some((since + patience.keep_alive, Expired::KeepAlive)),
            Phase::Head(since) => Some((since + patience.head, Expired::Head)),
            Phase::Body => None,
            Phase::Answer if self.reads.get() => None,
            Phase::Answer => Some((self.look() + LOOK, Expired::Look)),
        };
        let stall = self.stalled.get().map(|since| (since + patience.stall, Expired::Stall));
        let total = self.deadline.get().map(|at| (at, Expired::Total));
        [phase, stall, total].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// The status that hyper gave a head which it could not read, and that its client did not get. From now on what is written
    /// is written.
    pub fn kept_back(&self) -> Option<u16> {
        self.quiet.set(false);
        self.kept_back.take()
    }

    /// Keeps an answer back that nobody gave.
    #[cold]
    fn keep_back(&self, first: &[u8], all: usize) -> Poll<io::Result<usize>> {
        let status = first.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        self.kept_back.set(self.kept_back.get().or(status).or(Some(400)));
        Poll::Ready(Ok(all))
    }

    /// All that was written is on its way.
    fn flushed(&self) {
        if matches!(self.phase.get(), Phase::Idle(_) | Phase::Head(_)) {
            self.quiet.set(true);
        }
    }

    fn look(&self) -> Instant {
        let looked = self.looked.get().unwrap_or_else(Instant::now);
        self.looked.set(Some(looked));
        looked
    }

    fn received(&self) {
        self.reads.set(false);
        if let Phase::Idle(_) = self.phase.get() {
            self.phase.set(Phase::Head(Instant::now()));
        }
    }

    fn wrote<T>(&self, result: &Poll<io::Result<T>>) {
        match result {
            Poll::Pending if self.stalled.get().is_none() => self.stalled.set(Some(Instant::now())),
            Poll::Pending => {}
            Poll::Ready(_) => self.stalled.set(None),
        }
    }
}

impl Meter<Stream> {
    /// Whether the client has closed its side while an answer is under way. It is as good as gone then, whatever it sent
    /// before; so it is where hyper reads and sees the end itself. Asks no system, but what tokio was told already.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.looked.set(None);
        self.stream.borrow().is_closed_by_peer()
    }
}

/// The stream of a [`Meter`], for whoever talks on it; notes what moves.
#[derive(Debug)]
pub struct Metered<S>(pub Rc<Meter<S>>);

impl<S: AsyncRead + AsyncWrite + Unpin> Metered<S> {
    fn with<T>(&self, call: impl FnOnce(Pin<&mut S>) -> T) -> T {
        call(Pin::new(&mut *self.0.stream.borrow_mut()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Metered<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = self.with(|stream| stream.poll_read(cx, buf));
        if read.is_pending() {
            self.0.reads.set(true);
        } else if buf.filled().len() > before {
            self.0.received();
        }
        read
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.0.quiet.get() {
            return self.0.keep_back(bytes, bytes.len());
        }
        let wrote = self.with(|stream| stream.poll_write(cx, bytes));
        self.0.wrote(&wrote);
        wrote
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.0.quiet.get() {
            let first = parts.first().map_or(&[][..], |part| part);
            return self.0.keep_back(first, parts.iter().map(|part| part.len()).sum());
        }
        let wrote = self.with(|stream| stream.poll_write_vectored(cx, parts));
        self.0.wrote(&wrote);
        wrote
    }

    fn is_write_vectored(&self) -> bool {
        self.0.stream.borrow().is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.with(|stream| stream.poll_flush(cx));
        self.0.wrote(&flushed);
        if flushed.is_ready() {
            self.0.flushed();
        }
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.0.kept_back.get().is_some() {
            return Poll::Ready(Ok(()));
        }
        self.with(|stream| stream.poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const PATIENCE: ConnectionTimeouts = ConnectionTimeouts {
        head: Duration::from_secs(10),
        keep_alive: Duration::from_secs(60),
        stall: Duration::from_secs(30),
    };

    fn check<S>(meter: &Meter<S>, expected: Option<(u64, Expired)>) {
        let due = meter.due(&PATIENCE).map(|(at, what)| ((at - Instant::now()).as_secs(), what));
        assert_eq!(due, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_has_its_limit_from_its_first_byte_whatever_drips_after() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let meter = Meter::new(ours);
        let mut io = Metered(Rc::clone(&meter));
        check(&meter, Some((10, Expired::Head)));
        meter.busy(false);
        check(&meter, None);
        meter.idle();
        check(&meter, Some((60, Expired::KeepAlive)));
        tokio::time::advance(Duration::from_secs(50)).await;
        for left in [10, 8, 6] {
            theirs.write_all(b"G").await.unwrap();
            io.read_u8().await.unwrap();
            check(&meter, Some((left, Expired::Head)));
            tokio::time::advance(Duration::from_secs(2)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_noticed_and_forgiven_when_it_reads() {
        let (ours, mut theirs) = tokio::io::duplex(4);
        let meter = Meter::new(ours);
        meter.busy(false);
        let mut io = Metered(Rc::clone(&meter));
        let write = tokio::time::timeout(Duration::from_secs(5), io.write_all(b"12345678"));
        assert!(write.await.is_err());
        check(&meter, Some((25, Expired::Stall)));
        theirs.read_exact(&mut [0; 4]).await.unwrap();
        io.write_all(b"5678").await.unwrap();
        check(&meter, None);
    }

    #[tokio::test]
    async fn what_is_written_while_no_request_is_there_is_kept_back() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let meter = Meter::new(ours);
        let mut io = Metered(Rc::clone(&meter));
        meter.busy(false);
        io.write_all(b"answer").await.unwrap();
        meter.idle();
        // The rest of an answer that is over for everybody but the client.
        io.write_all(b"!").await.unwrap();
        assert_eq!(meter.kept_back(), None);
        io.flush().await.unwrap();
        io.write_all(b"HTTP/1.1 431 Request Header Fields Too Large\r\n\r\n").await.unwrap();
        io.shutdown().await.unwrap();
        assert_eq!(meter.kept_back(), Some(431));
        io.write_all(b" more").await.unwrap();
        io.shutdown().await.unwrap();
        let mut got = String::new();
        theirs.read_to_string(&mut got).await.unwrap();
        assert_eq!(got, "answer! more");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_nobody_reads_from_is_looked_after_once_its_request_is_there() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let meter = Meter::new(ours);
        let mut io = Metered(Rc::clone(&meter));
        theirs.write_all(b"GG").await.unwrap();
        io.read_u8().await.unwrap();
        meter.busy(true);
        check(&meter, None);
        meter.answers(None);
        check(&meter, Some((1, Expired::Look)));
        io.read_u8().await.unwrap();
        assert!(tokio::time::timeout(Duration::from_secs(5), io.read_u8()).await.is_err());
        check(&meter, None);
    }
}
