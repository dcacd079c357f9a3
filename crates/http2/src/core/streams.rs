//! hot path
//!
//! What the holders of a stream's halves do with it.

use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Method, response};

use super::{Core, FULL, HELD, PAST, PATIENCE, RESETS, Role, TURN};
use crate::{
    Error, Reason, RequestHead,
    frame::{LARGEST_WINDOW, RST_STREAM, WINDOW_UPDATE},
    stream::{Place, Stream, Way, note},
};

/// The next part of a body.
#[derive(Debug)]
pub(crate) enum Part {
    Data(Bytes),
    Trailers(HeaderMap),
}

impl Core {
    /// One more half of the stream is held.
    pub(crate) fn hold(&mut self, place: Place) {
        if let Some(stream) = self.streams.get(place) {
            stream.held += 1;
        }
    }

    /// A half is let go. When nobody holds any, what has not ended is reset.
    pub(crate) fn let_go(&mut self, place: Place) {
        let Some(stream) = self.streams.get(place) else { return };
        stream.held = stream.held.saturating_sub(1);
        if stream.held > 0 {
            return;
        }
        if stream.is_open {
            // A server that has answered does not need the rest of the request (RFC 9113, 8.1).
            let answered = self.role == Role::Server && stream.send.state == Way::Ended;
            let reason = if answered { Reason::NO_ERROR } else { Reason::CANCEL };
            self.reset(place, reason, Error::Ended);
        }
        self.streams.forget(place);
    }

    /// Nobody will take what still comes.
    pub(crate) fn ignore(&mut self, place: Place) {
        if let Some(stream) = self.streams.get(place) {
            stream.recv.is_unwanted = true;
            stream.recv.buffer.clear();
            stream.recv.waker = None;
        }
    }

    /// Resets the stream if it is not over.
    pub(crate) fn reset(&mut self, place: Place, reason: Reason, error: Error) {
        let Some(stream) = self.streams.get(place).filter(|stream| stream.is_open) else { return };
        let id = stream.id;
        stream.fail(error);
        self.say_reset(id, reason);
        self.close(place);
    }

    pub(super) fn reset_id(&mut self, id: u32, reason: Reason, error: Error) {
        match self.streams.find(id) {
            Some(place) => self.reset(place, reason, error),
            None => self.say_reset(id, reason),
        }
    }

    fn say_reset(&mut self, id: u32, reason: Reason) {
        self.control(RST_STREAM, 0, id, &reason.0.to_be_bytes());
        if self.role == Role::Client {
            self.resets += 1;
            if self.resets == RESETS {
                // What is open goes on.
                self.gone.get_or_insert(Reason::NO_ERROR);
            }
            return;
        }
        if self.past.len() == PAST {
            self.past.pop_front();
        }
        self.past.push_back(id);
    }

    pub(super) fn close_if_over(&mut self, place: Place) {
        let over = |way: Way| way != Way::Open;
        if self.streams.get(place).is_some_and(|stream| over(stream.recv.state) && over(stream.send.state)) {
            self.close(place);
        }
    }

    /// The stream is over for the peer.
    pub(super) fn close(&mut self, place: Place) {
        self.leave_queue(place);
        self.streams.close(place);
        // It may have been its turn.
        self.next_turn();
    }

    /// Nothing more is sent in this stream. It may not keep its place in the queue: those behind it would wait for ever,
    /// and whatever stream is here next would have two.
    pub(crate) fn leave_queue(&mut self, place: Place) {
        let Some(stream) = self.streams.get(place) else { return };
        if std::mem::take(&mut stream.send.is_queued) {
            self.waiting.retain(|queued| *queued != place);
            self.next_turn();
        }
    }

    // --- from the peer

    pub(crate) fn poll_head(&mut self, place: Place, cx: &Context<'_>) -> Poll<Result<response::Parts, Error>> {
        let Some(stream) = self.streams.get(place) else { return Poll::Ready(Err(Error::Ended)) };
        if let Some(head) = stream.recv.head.take() {
            return Poll::Ready(Ok(*head));
        }
        match stream.recv.state {
            Way::Failed(error) => Poll::Ready(Err(error)),
            _ => {
                note(&mut stream.recv.waker, cx);
                Poll::Pending
            }
        }
    }

    pub(crate) fn interim(&mut self, place: Place) -> Option<response::Parts> {
        self.streams.get(place)?.recv.interim.pop_front()
    }

    /// The next part of the body. What is taken is given back to the peer's window.
    pub(crate) fn poll_part(&mut self, place: Place, cx: &Context<'_>) -> Poll<Option<Result<Part, Error>>> {
        let Some(stream) = self.streams.get(place) else { return Poll::Ready(None) };
        if let Some(data) = stream.recv.buffer.take() {
            self.give_back(place, data.len());
            return Poll::Ready(Some(Ok(Part::Data(data))));
        }
        match stream.recv.state {
            Way::Failed(error) => Poll::Ready(Some(Err(error))),
            Way::Ended => Poll::Ready(stream.recv.trailers.take().map(|trailers| Ok(Part::Trailers(*trailers)))),
            Way::Open => {
                note(&mut stream.recv.waker, cx);
                Poll::Pending
            }
        }
    }

    /// Nothing more will come of it.
    pub(crate) fn is_end(&mut self, place: Place) -> bool {
        self.streams.get(place).is_none_or(|stream| {
            stream.recv.state == Way::Ended && stream.recv.buffer.len() == 0 && stream.recv.trailers.is_none()
        })
    }

    /// All of it has come, be it taken or not.
    pub(crate) fn is_whole(&mut self, place: Place) -> bool {
        self.streams.get(place).is_none_or(|stream| stream.recv.state == Way::Ended)
    }

    /// Fills the peer's window for this stream once half of it is used: not for each frame, and never too late. It becomes
    /// wider where all that came was taken: what is sent ahead of a receiver that does not keep up only fills memory.
    pub(super) fn give_back(&mut self, place: Place, size: usize) {
        let may_widen = self.buffers.held() < HELD;
        let Some(stream) = self.streams.get(place) else { return };
        if stream.recv.state != Way::Open {
            return;
        }
        let recv = &mut stream.recv;
        recv.taken += size as u32;
        if recv.taken >= recv.width / 2 {
            let keeps_up = may_widen && recv.buffer.len() == 0;
            let wider = if keeps_up { recv.width.min(self.ours.widest.saturating_sub(recv.width)) } else { 0 };
            recv.width += wider;
            let by = std::mem::take(&mut recv.taken) + wider;
            recv.window += i64::from(by);
            let id = stream.id;
            self.control(WINDOW_UPDATE, 0, id, &by.to_be_bytes());
        }
    }

    // --- to the peer

    /// Room for payload now: never more than both windows admit, and none while too much waits to be written. Streams
    /// that compete for it take turns.
    pub(crate) fn poll_room(&mut self, place: Place, cx: &Context<'_>) -> Poll<Result<usize, Error>> {
        let shared = self.shared_room();
        let others = self.waiting.front().is_some_and(|first| *first != place);
        let Some(stream) = self.streams.get(place) else { return Poll::Ready(Err(Error::Ended)) };
        match stream.send.state {
            Way::Failed(error) => return Poll::Ready(Err(error)),
            Way::Ended => return Poll::Ready(Err(Error::Ended)),
            Way::Open => {}
        }
        if stream.send.window <= 0 {
            note(&mut stream.send.waker, cx);
            self.leave_queue(place);
            return Poll::Pending;
        }
        if shared == 0 || others {
            note(&mut stream.send.waker, cx);
            if !std::mem::replace(&mut stream.send.is_queued, true) {
                self.waiting.push_back(place);
            }
            return Poll::Pending;
        }
        let room = shared.min(stream.send.window as usize);
        if !std::mem::take(&mut stream.send.is_queued) {
            return Poll::Ready(Ok(room));
        }
        self.waiting.pop_front();
        Poll::Ready(Ok(if self.waiting.is_empty() { room } else { room.min(TURN) }))
    }

    /// Bytes that may be sent now, over all streams.
    fn shared_room(&self) -> usize {
        if self.out.len() < FULL { self.window.max(0) as usize } else { 0 }
    }

    /// The peer or the connection has ended the stream already.
    pub(crate) fn is_gone(&mut self, place: Place) -> bool {
        self.streams.get(place).is_none_or(|stream| matches!(stream.send.state, Way::Failed(_)))
    }

    /// Ready when nothing more can be sent because the peer or the connection ended the stream.
    pub(crate) fn poll_reset(&mut self, place: Place, cx: &Context<'_>) -> Poll<Error> {
        let Some(stream) = self.streams.get(place) else { return Poll::Ready(Error::Ended) };
        if let Way::Failed(error) = stream.send.state {
            return Poll::Ready(error);
        }
        note(&mut stream.send.waker, cx);
        Poll::Pending
    }

    /// Wakes the first of those who wait, if there is room. It has something in hand, and takes its turn at once; one
    /// that was woken and does not come (its own receiver does not read, and so nobody drives it) lets the others pass.
    pub(super) fn next_turn(&mut self) {
        if self.shared_room() == 0 {
            return;
        }
        for _ in 0..self.waiting.len() {
            let Some(place) = self.waiting.front().copied() else { return };
            let turn = self.turn;
            let Some(stream) = self.streams.get(place) else { return };
            if stream.send.waker.is_some() {
                stream.send.woken = turn;
                return stream.wake_send();
            }
            if turn - stream.send.woken < PATIENCE {
                return;
            }
            self.waiting.rotate_left(1);
        }
    }

    /// Opens a stream to the peer, without sending anything.
    ///
    /// # Errors
    /// If the peer takes no new stream, or not this one.
    pub(crate) fn open(&mut self, head: &RequestHead<'_>) -> Result<Place, Error> {
        if let Some(error) = self.error {
            return Err(error);
        }
        if let Some(reason) = self.gone {
            return Err(Error::GoAway(reason));
        }
        if i64::from(self.next) > LARGEST_WINDOW {
            // The ids are used up; the connection is as good as gone.
            return Err(Error::GoAway(Reason::NO_ERROR));
        }
        if self.streams.open() >= self.peer.streams {
            return Err(Error::Full);
        }
        if self.peer.head < usize::MAX && head.size() > self.peer.head {
            // It would reset the stream, or do worse, and answer nothing.
            return Err(Error::TooLarge);
        }
        let mut stream = Stream::new(self.next, self.ours.window, self.peer.window, &self.buffers);
        stream.recv.to_head = *head.method == Method::HEAD;
        self.next += 2;
        Ok(self.streams.add(stream))
    }
}
