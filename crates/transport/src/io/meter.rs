//! Deadlines of an HTTP/1 client connection that hyper does not keep apart: its header timer is also its keep-alive
//! timer, and it has none for a client that stops reading. [`Metered`] notes what moves, [`Meter::due`] says which
//! limit runs out when; the connection's task does the waiting.

use std::{
    cell::Cell,
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

/// How long a client may take for each step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
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
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Idle(Instant),
    Head(Instant),
    Busy,
}

/// What moves on one connection. Written by its I/O and its service, read by its task; all in one thread.
#[derive(Debug)]
pub struct Meter {
    phase: Cell<Phase>,
    stalled: Cell<Option<Instant>>,
    deadline: Cell<Option<Instant>>,
}

impl Meter {
    /// A connection that just began: its first head is due.
    #[must_use]
    pub fn new() -> Rc<Self> {
        Rc::new(Self {
            phase: Cell::new(Phase::Head(Instant::now())),
            stalled: Cell::new(None),
            deadline: Cell::new(None),
        })
    }

    /// A request head is complete.
    pub fn busy(&self) {
        self.phase.set(Phase::Busy);
    }

    /// The answer must be handed over by then: while the client does not read, nobody else looks at the clock.
    pub fn until(&self, deadline: Option<Instant>) {
        self.deadline.set(deadline);
    }

    /// The exchange is over; the next head may come.
    pub fn idle(&self) {
        self.deadline.set(None);
        self.phase.set(Phase::Idle(Instant::now()));
    }

    /// The limit that runs out next, and when.
    #[must_use]
    pub fn due(&self, patience: &Patience) -> Option<(Instant, Expired)> {
        let phase = match self.phase.get() {
            Phase::Idle(since) => Some((since + patience.keep_alive, Expired::KeepAlive)),
            Phase::Head(since) => Some((since + patience.head, Expired::Head)),
            Phase::Busy => None,
        };
        let stall = self.stalled.get().map(|since| (since + patience.stall, Expired::Stall));
        let total = self.deadline.get().map(|at| (at, Expired::Total));
        [phase, stall, total].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    fn received(&self) {
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

/// A stream that notes on its [`Meter`] what moves.
#[derive(Debug)]
pub struct Metered<S> {
    stream: S,
    meter: Rc<Meter>,
}

impl<S> Metered<S> {
    /// Wraps a stream.
    #[must_use]
    pub fn new(stream: S, meter: Rc<Meter>) -> Self {
        Self { stream, meter }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.meter.received();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.meter.wrote(&wrote);
        wrote
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.meter.wrote(&wrote);
        wrote
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.meter.wrote(&flushed);
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const PATIENCE: Patience =
        Patience { head: Duration::from_secs(10), keep_alive: Duration::from_secs(60), stall: Duration::from_secs(30) };

    fn check(meter: &Meter, expected: Option<(u64, Expired)>) {
        let due = meter.due(&PATIENCE).map(|(at, what)| ((at - Instant::now()).as_secs(), what));
        assert_eq!(due, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_has_its_limit_from_its_first_byte_whatever_drips_after() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let meter = Meter::new();
        let mut io = Metered::new(ours, Rc::clone(&meter));
        check(&meter, Some((10, Expired::Head)));
        meter.busy();
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
        let meter = Meter::new();
        meter.busy();
        let mut io = Metered::new(ours, Rc::clone(&meter));
        let write = tokio::time::timeout(Duration::from_secs(5), io.write_all(b"12345678"));
        assert!(write.await.is_err());
        check(&meter, Some((25, Expired::Stall)));
        theirs.read_exact(&mut [0; 4]).await.unwrap();
        io.write_all(b"5678").await.unwrap();
        check(&meter, None);
    }
}
