//! hot path
//!
//! A request's body: counted, limited, and remembered as long as it may have to be sent again.

use std::{
    cell::Cell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::Instant;

use crate::{
    body::{Body, BodyError},
    clock,
};

/// What is remembered of a body for an instance that turns out not to have taken the request. Bodies beyond this are
/// sent once: 64 KiB is what clients may send ahead anyway, so it adds at most one window per waiting request.
const REPLAY: usize = 64 * 1024;

/// What holding one frame costs besides its bytes, so that many tiny ones count as what they are.
const FRAME: usize = 256;

/// How far a request's body has come. Written by the upload, read by whoever waits for the answer; one thread.
#[derive(Debug)]
pub struct Tally {
    bytes: Cell<u64>,
    moved: Cell<Instant>,
    done: Cell<bool>,
    failed: Cell<Option<BodyError>>,
}

impl Tally {
    /// Nothing came yet.
    #[must_use]
    pub fn new() -> Rc<Self> {
        Rc::new(Self {
            bytes: Cell::new(0),
            moved: Cell::new(clock::now()),
            done: Cell::new(false),
            failed: Cell::new(None),
        })
    }

    /// Bytes that came from the client, each counted once.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// When the last of it was taken for an instance.
    #[must_use]
    pub fn moved(&self) -> Instant {
        self.moved.get()
    }

    /// All of it was taken.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.done.get()
    }

    /// Why it ended before its end.
    #[must_use]
    pub fn failed(&self) -> Option<BodyError> {
        self.failed.get()
    }
}

/// A request's body on its way to an instance.
#[derive(Debug)]
pub struct Upload {
    body: Body,
    limit: u64,
    tally: Rc<Tally>,
    clean: fn(&mut HeaderMap),
    replay: Replay,
}

#[derive(Debug, Default)]
struct Replay {
    frames: Vec<Bytes>,
    trailers: Option<HeaderMap>,
    size: usize,
    /// Next frame to give again.
    at: usize,
    /// Too much was sent, or an instance has answered: nothing is remembered any more.
    off: bool,
}

impl Upload {
    /// Limits `body` to `limit` bytes. `tally` counts what came, `clean` takes out of trailers what they may not
    /// carry.
    #[must_use]
    pub fn new(body: Body, limit: u64, tally: Rc<Tally>, clean: fn(&mut HeaderMap)) -> Self {
        Self { body, limit, tally, clean, replay: Replay::default() }
    }

    /// Makes the body ready to be sent from its beginning again.
    ///
    /// Answers false if that is not possible because too much has gone by.
    pub fn rewind(&mut self) -> bool {
        self.replay.at = 0;
        self.tally.done.set(false);
        !self.replay.off || self.tally.bytes() == 0
    }

    /// An instance has answered: the body will not be needed again.
    #[must_use]
    pub fn forget(mut self: Box<Self>) -> Box<Self> {
        if self.replay.is_done() {
            self.replay = Replay { off: true, ..Replay::default() };
        }
        self
    }

    pub(crate) fn is_end(&self) -> bool {
        self.replay.at == self.replay.frames.len() && self.replay.trailers.is_none() && self.body.is_end_stream()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        if self.tally.bytes() == 0 { self.body.size_hint() } else { SizeHint::default() }
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = match self.replay.next() {
            Some(again) => Some(Ok(again)),
            None => ready!(self.poll_new(cx)),
        };
        self.tally.moved.set(clock::now());
        match &frame {
            Some(Ok(frame)) if frame.is_data() && !self.is_end() => {}
            Some(Err(error)) => self.tally.failed.set(Some(*error)),
            _ => self.tally.done.set(true),
        }
        Poll::Ready(frame)
    }

    fn poll_new(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            end => return Poll::Ready(end),
        };
        if let Some(data) = frame.data_ref() {
            let bytes = self.tally.bytes() + data.len() as u64;
            self.tally.bytes.set(bytes);
            if bytes > self.limit {
                return Poll::Ready(Some(Err(BodyError::TooLarge)));
            }
        }
        if let Some(trailers) = frame.trailers_mut() {
            (self.clean)(trailers);
        }
        self.replay.note(&frame);
        Poll::Ready(Some(Ok(frame)))
    }
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Self::poll_frame(self.get_mut(), cx)
    }

    fn is_end_stream(&self) -> bool {
        self.is_end()
    }

    fn size_hint(&self) -> SizeHint {
        Self::size_hint(self)
    }
}

impl Replay {
    fn note(&mut self, frame: &Frame<Bytes>) {
        if self.off {
            return;
        }
        if let Some(data) = frame.data_ref() {
            self.size += data.len() + FRAME;
            if self.size > REPLAY {
                *self = Self { off: true, ..Self::default() };
                return;
            }
            self.frames.push(data.clone());
        } else if let Some(trailers) = frame.trailers_ref() {
            self.trailers = Some(trailers.clone());
        }
        self.at = self.frames.len() + usize::from(self.trailers.is_some());
    }

    fn next(&mut self) -> Option<Frame<Bytes>> {
        if let Some(data) = self.frames.get(self.at) {
            self.at += 1;
            return Some(Frame::data(data.clone()));
        }
        if self.at == self.frames.len() && self.trailers.is_some() {
            self.at += 1;
            return self.trailers.clone().map(Frame::trailers);
        }
        None
    }

    fn is_done(&self) -> bool {
        self.at == self.frames.len() + usize::from(self.trailers.is_some())
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    async fn all(upload: &mut Upload) -> Result<Vec<u8>, BodyError> {
        let mut out = Vec::new();
        while let Some(frame) = poll_fn(|cx| upload.poll_frame(cx)).await {
            out.extend_from_slice(frame?.data_ref().unwrap());
        }
        Ok(out)
    }

    fn upload(size: usize, limit: u64) -> Upload {
        Upload::new(Body::Full(vec![7; size].into()), limit, Tally::new(), |_| {})
    }

    #[tokio::test]
    async fn a_small_body_can_be_sent_again() {
        let mut upload = upload(1000, 1000);
        for _ in 0..3 {
            assert_eq!(all(&mut upload).await.unwrap().len(), 1000);
            assert!(upload.is_end() && upload.replay.is_done() && upload.tally.is_done());
            assert!(upload.rewind());
            assert!(!upload.is_end());
        }
        assert_eq!(upload.tally.bytes(), 1000, "counted once");
    }

    #[tokio::test]
    async fn a_large_body_is_sent_once() {
        let mut upload = upload(REPLAY + 1, u64::MAX);
        assert_eq!(all(&mut upload).await.unwrap().len(), REPLAY + 1);
        assert!(!upload.rewind());
    }

    #[tokio::test]
    async fn more_than_the_limit_is_an_error() {
        assert_eq!(all(&mut upload(1001, 1000)).await, Err(BodyError::TooLarge));
        assert_eq!(all(&mut upload(1000, 1000)).await.unwrap().len(), 1000);
    }
}
