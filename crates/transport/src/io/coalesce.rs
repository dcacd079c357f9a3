//! hot path
//!
//! One flush per wake-up. The h2 crate flushes after every DATA frame of 256 bytes or more, which costs one TLS record
//! and one `write` per response. [`Coalesce`] takes such a flush as done and keeps the bytes; the task that owns the
//! connection polls it and then calls [`Coalesce::write_out`] once. There is no second task and no lock: both halves live
//! in the connection's own task.

use std::{
    cell::{Cell, RefCell},
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

/// Above this much unsent output a write waits: it bounds what one slow peer can make us hold.
const FULL: usize = 64 * 1024;
/// Writes of this size gain nothing from one more copy and go straight through.
const LARGE: usize = 8 * 1024;
/// Buffers kept per core for the next connection that has something to write.
const SPARE: usize = 64;

/// The spare write buffers of one core: a connection borrows one while it has unsent output, so idle ones own none.
#[derive(Debug, Clone, Default)]
pub struct Buffers(Rc<RefCell<Vec<Vec<u8>>>>);

impl Buffers {
    fn take(&self) -> Vec<u8> {
        self.0.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(16 * 1024))
    }

    fn give(&self, mut buffer: Vec<u8>) {
        let mut spare = self.0.borrow_mut();
        if spare.len() < SPARE && buffer.capacity() <= FULL + LARGE {
            buffer.clear();
            spare.push(buffer);
        }
    }
}

#[derive(Debug)]
struct Shared<S> {
    stream: S,
    /// Output not yet written, from `sent` on. Without capacity while there is none.
    buffer: Vec<u8>,
    sent: usize,
    buffers: Buffers,
    /// A write had to wait. If a flush then makes room, nobody else would wake the writer.
    blocked: bool,
    /// A failed flush: the next write reports it, so that the connection ends.
    failed: Option<io::ErrorKind>,
}

/// A stream whose writes are held back until [`Coalesce::write_out`]. Clone it to keep a handle for flushing.
#[derive(Debug)]
pub struct Coalesce<S> {
    shared: Rc<RefCell<Shared<S>>>,
    heard: Rc<Cell<Instant>>,
}

impl<S> Clone for Coalesce<S> {
    fn clone(&self) -> Self {
        Self { shared: Rc::clone(&self.shared), heard: Rc::clone(&self.heard) }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Coalesce<S> {
    /// Wraps a stream.
    #[must_use]
    pub fn new(stream: S, buffers: Buffers) -> Self {
        let shared = Shared { stream, buffer: Vec::new(), sent: 0, buffers, blocked: false, failed: None };
        Self { shared: Rc::new(RefCell::new(shared)), heard: Rc::new(Cell::new(Instant::now())) }
    }

    /// When the peer was last heard: the time of the last read that gave bytes.
    #[must_use]
    pub fn heard(&self) -> Instant {
        self.heard.get()
    }

    /// Writes out what was held back. Call once after the connection was polled; the waker of `cx` must be that of
    /// the task that polls the connection.
    ///
    /// # Errors
    /// The stream's write error; every later write reports it too.
    pub fn write_out(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut shared = self.shared.borrow_mut();
        let done = shared.drain(cx);
        let done = match done {
            Poll::Ready(Ok(())) => Pin::new(&mut shared.stream).poll_flush(cx),
            other => other,
        };
        match &done {
            Poll::Ready(Ok(())) if std::mem::take(&mut shared.blocked) => cx.waker().wake_by_ref(),
            Poll::Ready(Err(error)) => shared.failed = Some(error.kind()),
            _ => {}
        }
        done
    }
}

impl<S: AsyncWrite + Unpin> Shared<S> {
    fn drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.buffer.len() {
            let n = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.buffer[self.sent..]))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += n;
        }
        if self.buffer.capacity() > 0 {
            self.sent = 0;
            self.buffers.give(std::mem::take(&mut self.buffer));
        }
        Poll::Ready(Ok(()))
    }

    /// Makes room, or reports an earlier failure.
    fn admit(&mut self, cx: &mut Context<'_>, incoming: usize) -> Poll<io::Result<()>> {
        if let Some(kind) = self.failed {
            return Poll::Ready(Err(kind.into()));
        }
        if incoming >= LARGE || self.buffer.len() - self.sent >= FULL {
            self.blocked = true;
            ready!(self.drain(cx))?;
            self.blocked = false;
        }
        Poll::Ready(Ok(()))
    }

    fn hold(&mut self, bytes: &[u8]) {
        if self.buffer.capacity() == 0 {
            self.buffer = self.buffers.take();
        }
        if self.sent >= FULL {
            // A peer that never takes all of it: what is gone must not pile up. At most 72 KiB move per 64 KiB sent.
            self.buffer.drain(..self.sent);
            self.sent = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Coalesce<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.shared.borrow_mut().stream).poll_read(cx, buf);
        if read.is_ready() && buf.filled().len() > before {
            self.heard.set(Instant::now());
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Coalesce<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut shared = self.shared.borrow_mut();
        ready!(shared.admit(cx, bytes.len()))?;
        if bytes.len() >= LARGE {
            return Pin::new(&mut shared.stream).poll_write(cx, bytes);
        }
        shared.hold(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let total = parts.iter().map(|part| part.len()).sum();
        let mut shared = self.shared.borrow_mut();
        ready!(shared.admit(cx, total))?;
        if total >= LARGE {
            return Pin::new(&mut shared.stream).poll_write_vectored(cx, parts);
        }
        for part in parts {
            shared.hold(part);
        }
        Poll::Ready(Ok(total))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Taken as done: the connection's task really flushes when it has nothing more to do.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut shared = self.shared.borrow_mut();
        ready!(shared.drain(cx))?;
        Pin::new(&mut shared.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn nothing_is_written_before_the_flush_and_then_everything_at_once() {
        let (ours, mut theirs) = tokio::io::duplex(1 << 20);
        let mut io = Coalesce::new(ours, Buffers::default());
        let handle = io.clone();
        for _ in 0..32 {
            io.write_all(&[7; 1000]).await.unwrap();
            io.flush().await.unwrap();
        }
        let mut seen = [0; 64 * 1024];
        assert!(futures_pending(theirs.read(&mut seen)).await, "held back");
        poll_fn(|cx| handle.write_out(cx)).await.unwrap();
        assert_eq!(theirs.read(&mut seen).await.unwrap(), 32_000);
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_stops_the_writer() {
        let (ours, _theirs) = tokio::io::duplex(1);
        let mut io = Coalesce::new(ours, Buffers::default());
        let mut held = 0;
        while !futures_pending(io.write_all(&[7; 1024])).await {
            held += 1024;
            assert!(held <= FULL + LARGE, "unbounded");
        }
        assert!(held >= FULL);
    }

    #[tokio::test]
    async fn the_buffer_goes_back_to_the_core_when_empty() {
        let (ours, _theirs) = tokio::io::duplex(1 << 20);
        let buffers = Buffers::default();
        let mut io = Coalesce::new(ours, buffers.clone());
        io.write_all(b"x").await.unwrap();
        poll_fn(|cx| io.write_out(cx)).await.unwrap();
        assert_eq!(buffers.0.borrow().len(), 1);
        assert_eq!(io.shared.borrow().buffer.capacity(), 0);
    }

    #[tokio::test]
    async fn a_failed_flush_ends_the_connection() {
        let (ours, theirs) = tokio::io::duplex(1024);
        let mut io = Coalesce::new(ours, Buffers::default());
        io.write_all(b"x").await.unwrap();
        drop(theirs);
        assert!(poll_fn(|cx| io.write_out(cx)).await.is_err());
        assert!(io.write_all(b"y").await.is_err());
    }

    async fn futures_pending<T>(future: impl Future<Output = T>) -> bool {
        let mut future = std::pin::pin!(future);
        poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await
    }
}
