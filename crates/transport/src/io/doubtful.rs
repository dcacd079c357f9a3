//! hot path
//!
//! The stream of an idle connection that may have been closed. tokio knows of that when it next asks for news; a request that is
//! written before is lost. [`Doubtful`] asks the system at the last moment, when hyper reads before it writes: what it then
//! takes for the end gives the request back, of which nothing was sent.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Stream;
use crate::h1::Marks;

#[derive(Debug)]
pub(crate) struct Doubtful {
    stream: Stream,
    marks: Rc<Marks>,
}

impl Doubtful {
    /// A stream that is looked at when it is read next and in doubt.
    pub(crate) fn new(stream: Stream, marks: &Rc<Marks>) -> Self {
        Self { stream, marks: Rc::clone(marks) }
    }
}

impl AsyncRead for Doubtful {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_pending() && self.marks.doubt.take() && self.stream.has_word() {
            // Whatever it is, it is no answer: nothing was asked.
            return Poll::Ready(Ok(()));
        }
        read
    }
}

impl AsyncWrite for Doubtful {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
