//! The other end of a connection of the router, in memory: it says what a script says and counts the router's calls.
//! It allocates nothing once it runs.

use std::{
    cell::Cell,
    fmt::Debug,
    io::{self, IoSlice},
    ops::{Add, Sub},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a peer says.
pub(crate) trait Script: Debug + Unpin {
    /// The router wrote this.
    fn hear(&mut self, bytes: &[u8]);

    /// What there is to be read.
    fn said(&mut self) -> &mut Said;

    /// Whether the connection ends when all of it is read.
    fn is_over(&self) -> bool {
        false
    }
}

/// Bytes on their way to the router.
#[derive(Debug)]
pub(crate) struct Said {
    bytes: Vec<u8>,
    read: usize,
}

impl Said {
    /// Room for all that can wait at once.
    pub(crate) fn new() -> Self {
        Self { bytes: Vec::with_capacity(256 * 1024), read: 0 }
    }

    /// Says this; returns where it lies until it is read.
    pub(crate) fn say(&mut self, bytes: &[u8]) -> &mut [u8] {
        assert!(self.bytes.len() + bytes.len() <= self.bytes.capacity(), "a peer must not allocate");
        let at = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        &mut self.bytes[at..]
    }

    fn is_empty(&self) -> bool {
        self.read == self.bytes.len()
    }

    fn read(&mut self, buf: &mut ReadBuf<'_>) {
        let size = buf.remaining().min(self.bytes.len() - self.read);
        buf.put_slice(&self.bytes[self.read..self.read + size]);
        self.read += size;
        if self.is_empty() {
            self.bytes.clear();
            self.read = 0;
        }
    }
}

/// Calls the router made on one connection, each a system call if it were a socket.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Calls {
    /// Reads that gave bytes.
    pub(crate) reads: u64,
    /// Reads that gave none.
    pub(crate) vain: u64,
    /// Writes.
    pub(crate) writes: u64,
    /// Bytes written.
    pub(crate) written: u64,
}

impl Add for Calls {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            reads: self.reads + other.reads,
            vain: self.vain + other.vain,
            writes: self.writes + other.writes,
            written: self.written + other.written,
        }
    }
}

impl Sub for Calls {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            reads: self.reads - earlier.reads,
            vain: self.vain - earlier.vain,
            writes: self.writes - earlier.writes,
            written: self.written - earlier.written,
        }
    }
}

/// A connection in memory.
#[derive(Debug)]
pub(crate) struct Peer<S> {
    script: S,
    calls: Rc<Cell<Calls>>,
    reader: Option<Waker>,
}

impl<S: Script> Peer<S> {
    pub(crate) fn new(script: S, calls: Rc<Cell<Calls>>) -> Self {
        Self { script, calls, reader: None }
    }

    fn count(&self, more: Calls) {
        self.calls.set(self.calls.get() + more);
    }
}

impl<S: Script> AsyncRead for Peer<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.script.said().is_empty() {
            self.count(Calls { vain: 1, ..Calls::default() });
            if self.script.is_over() {
                return Poll::Ready(Ok(()));
            }
            match &mut self.reader {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        }
        self.count(Calls { reads: 1, ..Calls::default() });
        self.script.said().read(buf);
        Poll::Ready(Ok(()))
    }
}

impl<S: Script> AsyncWrite for Peer<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let size = parts.iter().map(|part| part.len()).sum();
        self.count(Calls { writes: 1, written: size as u64, ..Calls::default() });
        parts.iter().for_each(|part| self.script.hear(part));
        if (!self.script.said().is_empty() || self.script.is_over())
            && let Some(reader) = self.reader.take()
        {
            reader.wake();
        }
        Poll::Ready(Ok(size))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
