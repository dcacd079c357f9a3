//! hot path
//!
//! Moves a body into an HTTP/2 stream, never more than the receiver's window admits.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::Body;
use http2::{Outgoing, Reason};

/// Why a body did not reach its end.
#[derive(Debug)]
pub enum Blocked<E> {
    /// The receiver took no more: it reset the stream or the connection is gone.
    Receiver,
    /// The body itself failed.
    Source(E),
}

/// One body on its way into one HTTP/2 stream. Dropping it before its end resets the stream.
#[derive(Debug)]
pub struct Pump {
    sink: Outgoing,
    /// The part of the frame in hand that the window did not admit yet.
    chunk: Bytes,
    last: bool,
    done: bool,
    bytes: u64,
}

impl Pump {
    /// A pump into this stream.
    #[must_use]
    pub fn new(sink: Outgoing) -> Self {
        Self { sink, chunk: Bytes::new(), last: false, done: false, bytes: 0 }
    }

    /// Whether it waits for the receiver rather than for the body.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        !self.chunk.is_empty()
    }

    /// Bytes handed over.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Ready when the receiver reset the stream.
    pub fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.sink.poll_reset(cx).map(|_| ())
    }

    /// Resets the stream.
    pub fn reset(&mut self, reason: Reason) {
        self.sink.reset(reason);
    }

    /// Moves what can be moved. `moved` is set if anything was. Ready when all was handed over.
    pub fn poll<B: Body<Data = Bytes> + Unpin>(
        &mut self,
        body: &mut B,
        moved: &mut bool,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Blocked<B::Error>>> {
        while !self.done {
            if !self.chunk.is_empty() {
                ready!(self.poll_send(cx)).map_err(|()| Blocked::Receiver)?;
                *moved = true;
                continue;
            }
            match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        self.last = body.is_end_stream();
                        self.chunk = data;
                        if self.chunk.is_empty() && self.last {
                            self.finish()?;
                        }
                    }
                    Err(frame) => {
                        self.done = true;
                        *moved = true;
                        if let Ok(trailers) = frame.into_trailers() {
                            self.sink.send_trailers(&trailers).map_err(|_| Blocked::Receiver)?;
                        }
                    }
                },
                Some(Err(error)) => return Poll::Ready(Err(Blocked::Source(error))),
                None => self.finish()?,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn finish<E>(&mut self) -> Result<(), Blocked<E>> {
        self.done = true;
        self.sink.send_data(Bytes::new(), true).map_err(|_| Blocked::Receiver)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ()>> {
        let room = ready!(self.sink.poll_room(cx)).map_err(|_| ())?;
        let part = if room < self.chunk.len() { self.chunk.split_to(room) } else { std::mem::take(&mut self.chunk) };
        self.bytes += part.len() as u64;
        let end = self.last && self.chunk.is_empty();
        self.sink.send_data(part, end).map_err(|_| ())?;
        self.done = end;
        Poll::Ready(Ok(()))
    }
}
