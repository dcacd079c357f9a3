//! hot path
//!
//! A request's body: counted, limited, and remembered as long as it may have to be sent again (`replay`). Where
//! connections are few, some of it is read before one is taken (`ahead`).

mod ahead;
mod replay;

use std::{
    cell::{Cell, RefCell},
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
use ahead::{Ahead, ENOUGH};
use replay::Replay;
pub use replay::Room;

/// How far a request's body has come. Written by the upload, read by whoever waits for the answer; one thread.
#[derive(Debug)]
pub struct Tally {
    limit: Cell<u64>,
    bytes: Cell<u64>,
    moved: Cell<Instant>,
    done: Cell<bool>,
    failed: Cell<Option<BodyError>>,
    lost: Cell<bool>,
}

impl Tally {
    /// Nothing came yet; more than `limit` bytes may not.
    #[must_use]
    pub fn new(limit: u64) -> Rc<Self> {
        Rc::new(Self {
            limit: Cell::new(limit),
            bytes: Cell::new(0),
            moved: Cell::new(clock::now()),
            done: Cell::new(false),
            failed: Cell::new(None),
            lost: Cell::new(false),
        })
    }

    /// From now on so many bytes may come in all.
    pub fn admit(&self, limit: u64) {
        self.limit.set(limit);
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

    /// Too much has gone by to send it from its beginning once more.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.lost.get()
    }
}

/// A request's body on its way to one instance. Each try has its [turn](Self::turn); only the newest one moves.
#[derive(Debug)]
pub struct Upload {
    state: Rc<RefCell<State>>,
    turn: u32,
}

#[derive(Debug)]
struct State {
    body: Body,
    tally: Rc<Tally>,
    clean: fn(&mut HeaderMap),
    replay: Replay,
    turn: u32,
    /// Something of it came, or its end.
    begun: bool,
    /// What of that nobody took yet.
    ahead: Option<Box<Ahead>>,
}

impl Upload {
    /// `tally` counts and limits what comes of the `body`, `clean` takes out of trailers what they may not
    /// carry. Its beginning is remembered up to `keep` bytes, while there is `room`.
    #[must_use]
    pub fn new(body: Body, (keep, room): (usize, &Room), tally: Rc<Tally>, clean: fn(&mut HeaderMap)) -> Self {
        let replay = Replay::new(keep, room);
        let state = State { body, tally, clean, replay, turn: 0, begun: false, ahead: None };
        Self { state: Rc::new(RefCell::new(state)), turn: 0 }
    }

    /// The body from its beginning, for one more try. All earlier turns stand still from now on: they are neither at
    /// their end nor will they ever go on. If the [beginning is lost](Tally::is_lost), it goes on where it was.
    #[must_use]
    pub fn turn(&self) -> Self {
        let mut state = self.state.borrow_mut();
        state.replay.rewind();
        state.tally.done.set(false);
        state.turn += 1;
        Self { state: Rc::clone(&self.state), turn: state.turn }
    }

    /// What did not come yet, for nobody: no instance gets it.
    #[must_use]
    pub fn rest(&self) -> Self {
        let mut state = self.state.borrow_mut();
        state.replay.stop();
        state.turn += 1;
        Self { state: Rc::clone(&self.state), turn: state.turn }
    }

    /// An answer is on its way to the client: the body will not be needed again.
    pub fn forget(&self) {
        self.state.borrow_mut().replay.forget();
    }

    /// Whether all of it has come from the client, as far as that is known: an HTTP/1 body is read only when it is asked
    /// for.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let state = self.state.borrow();
        state.tally.is_done() || state.body.is_whole()
    }

    /// Whether something of it is known to have come, or its end.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.state.borrow().begun
    }

    /// Whether so much of it has come, or all, that it is worth a connection which others want too.
    #[must_use]
    pub fn is_gathered(&self) -> bool {
        self.state.borrow().is_gathered()
    }

    /// Ready as soon as it [is gathered](Self::is_gathered). It waits for whoever takes it.
    ///
    /// # Errors
    /// If its client broke off instead.
    pub fn poll_gathered(&self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        let state = &mut *self.state.borrow_mut();
        while !state.is_gathered() {
            let frame = ready!(Pin::new(&mut state.body).poll_frame(cx));
            state.begun = true;
            state.ahead.get_or_insert_with(|| Box::new(Ahead::new(state.replay.room()))).add(frame);
        }
        state.begun = true;
        Poll::Ready(state.ahead.as_ref().and_then(|ahead| ahead.failed()).map_or(Ok(()), Err))
    }

    pub(crate) fn is_end(&self) -> bool {
        let state = self.state.borrow();
        state.turn == self.turn && state.is_end()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        let state = self.state.borrow();
        if state.begun { SizeHint::default() } else { state.body.size_hint() }
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut state = self.state.borrow_mut();
        if state.turn == self.turn { state.poll_frame(cx) } else { Poll::Pending }
    }
}

impl State {
    fn is_end(&self) -> bool {
        self.replay.is_done() && self.ahead.is_none() && self.body.is_end_stream()
    }

    fn is_gathered(&self) -> bool {
        let ahead = self.ahead.as_ref();
        self.tally.is_done()
            || self.body.is_whole()
            || ahead.is_some_and(|ahead| ahead.is_enough())
            || self.tally.bytes() + ahead.map_or(0, |ahead| ahead.len() as u64) >= ENOUGH as u64
    }

    /// What was read ahead. `None` if all of that is taken.
    fn take_ahead(&mut self) -> Option<Result<Frame<Bytes>, BodyError>> {
        let ahead = self.ahead.as_mut()?;
        let frame = ahead.take();
        if ahead.is_empty() {
            self.ahead = None;
        }
        frame
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
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
        let frame = match self.take_ahead() {
            None => ready!(Pin::new(&mut self.body).poll_frame(cx)),
            ahead => ahead,
        };
        self.begun = true;
        let mut frame = match frame {
            Some(Ok(frame)) => frame,
            end => return Poll::Ready(end),
        };
        if let Some(data) = frame.data_ref() {
            let bytes = self.tally.bytes() + data.len() as u64;
            self.tally.bytes.set(bytes);
            if bytes > self.tally.limit.get() {
                return Poll::Ready(Some(Err(BodyError::TooLarge)));
            }
        }
        if let Some(trailers) = frame.trailers_mut() {
            (self.clean)(trailers);
        }
        if !self.replay.note(&frame) {
            self.tally.lost.set(true);
        }
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

#[cfg(test)]
mod tests;
