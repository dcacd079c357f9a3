//! hot path
//!
//! A response on its way to the client, with all that must stay alive and in time until its end: the request's body
//! that may still be under way, the lease on the instance, the limits, the connection to give back (`source`), and how far
//! the messages of gRPC have come (`messages`).

mod messages;
mod source;

use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use model::Outcome;
use tokio::time::Instant;

use crate::{
    Lease,
    body::{Body, BodyError},
    farewell::{Ending, Long, Why},
    pump::Blocked,
    timer::{Expired, Timer},
};
use messages::Messages;
use source::Broken;
pub use source::Source;

/// A response on its way to the client. Dropping it before its end resets the stream to the instance, never the
/// connection it shares.
#[derive(Debug)]
pub struct Relay {
    source: Source,
    timer: Timer,
    lease: Lease,
    status: u16,
    clean: fn(&mut HeaderMap),
    /// Of a stream that may go on for days.
    long: Option<Box<Long>>,
    /// Of a gRPC call, whose client hears what is said in trailers.
    call: Option<Messages>,
    /// It shall end in good order, as soon as the message under way is complete.
    due: Option<Why>,
    ended: bool,
    /// The instance broke off, and the client was told so in good order.
    cut_short: bool,
}

impl Relay {
    /// A relay for a response whose head came with this status. `timer` must already hold the limits for the body;
    /// `clean` takes out of trailers what they may not carry.
    #[must_use]
    pub fn new(source: Source, timer: Timer, lease: Lease, status: u16, clean: fn(&mut HeaderMap)) -> Self {
        Self { source, timer, lease, status, clean, long: None, call: None, due: None, ended: false, cut_short: false }
    }

    /// Ends it in good order, if it is a long stream, when its time has come.
    #[must_use]
    pub fn until(mut self, long: Option<Long>) -> Self {
        self.long = long.map(Box::new);
        self
    }

    /// It is the answer to a gRPC call, whose client hears what is said in trailers: if its instance breaks it off between two
    /// messages, that is said there.
    #[must_use]
    pub fn of_call(mut self, is_call: bool) -> Self {
        self.call = is_call.then(Messages::default);
        self
    }

    /// Nobody wants it: another answer is given in its place. Its instance has answered all the same.
    pub fn replace(mut self) {
        self.lease.settle(Outcome::Answered(self.status));
        self.source.discard();
    }

    /// As a body. If there is nothing left to relay in either direction, the exchange is over now.
    #[must_use]
    pub fn into_body(mut self) -> Body {
        if !self.source.is_end() {
            return Body::Relay(Box::new(self));
        }
        self.finish();
        Body::Empty
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.timer.deadline()
    }

    pub(crate) fn touch(&mut self) {
        self.timer.touch();
    }

    /// Whether it came to an end that the instance did not give it.
    pub(crate) fn is_cut_short(&self) -> bool {
        self.cut_short
    }

    pub(crate) fn is_end(&self) -> bool {
        self.ended || self.source.is_end()
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if let Poll::Ready(error) = self.poll_request(cx) {
            return Poll::Ready(Some(Err(self.fail(error, Outcome::Abandoned))));
        }
        match self.source.poll_frame(cx) {
            Poll::Ready(Some(Ok(mut frame))) => {
                if let Some(why) = self.due.filter(|_| self.is_between() && begins_more(&frame)) {
                    return Poll::Ready(self.part(why).map(Ok));
                }
                self.timer.touch();
                if let Some(trailers) = frame.trailers_mut() {
                    (self.clean)(trailers);
                } else if let (Some(call), Some(data)) = (&mut self.call, frame.data_ref()) {
                    call.pass(data);
                }
                if self.source.is_end() {
                    self.finish();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(broken))) => Poll::Ready(Some(self.break_off(broken))),
            Poll::Ready(None) => {
                self.finish();
                Poll::Ready(None)
            }
            Poll::Pending => {
                // Asked anew each time: who was to leave may stay after all.
                self.due = self.long.as_mut().and_then(|long| match long.poll(cx) {
                    Poll::Ready(why) => Some(why),
                    Poll::Pending => None,
                });
                if let Some(why) = self.due.filter(|_| self.is_between()) {
                    return Poll::Ready(self.part(why).map(Ok));
                }
                let expired = self.timer.poll(cx);
                if expired == Poll::Ready(Expired::Idle) && self.long.is_some() && self.is_between() {
                    return Poll::Ready(self.part(Why::Silent).map(Ok));
                }
                self.expire(expired).map(|error| Some(Err(error)))
            }
        }
    }

    /// While the client takes nothing: the request goes on, and the limits hold.
    pub(crate) fn poll_background(&mut self, cx: &mut Context<'_>) -> Poll<BodyError> {
        if self.ended {
            return Poll::Pending;
        }
        if let Poll::Ready(error) = self.poll_request(cx) {
            return Poll::Ready(self.fail(error, Outcome::Abandoned));
        }
        let expired = self.timer.poll_stalled(cx);
        self.expire(expired)
    }

    fn expire(&mut self, expired: Poll<Expired>) -> Poll<BodyError> {
        expired.map(|what| {
            let error = match what {
                Expired::Idle => BodyError::Idle,
                Expired::Deadline => BodyError::Deadline,
            };
            self.fail(error, Outcome::Abandoned)
        })
    }

    /// Moves the request's body on. Ready only if the exchange must end: a request that its client broke off can have
    /// no complete answer.
    fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<BodyError> {
        let Source::H2 { request, .. } = &mut self.source else { return Poll::Pending };
        let Some((pump, upload)) = request else { return Poll::Pending };
        let mut moved = false;
        let done = pump.poll(upload, &mut moved, cx);
        if moved {
            self.timer.touch();
        }
        match done {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(Blocked::Source(error))) => Poll::Ready(error),
            // The instance wants no more of it: what it answers still counts.
            Poll::Ready(Ok(()) | Err(Blocked::Receiver)) => {
                *request = None;
                Poll::Pending
            }
        }
    }

    fn finish(&mut self) {
        self.ended = true;
        self.lease.settle(Outcome::Answered(self.status));
        self.source.finish();
    }

    /// Whether it can end in good order: not within a message of a call.
    fn is_between(&self) -> bool {
        self.call.as_ref().is_none_or(Messages::are_whole)
    }

    /// Ends a long stream in good order, as its clients expect it; the instance learns that nobody listens any more.
    fn part(&mut self, why: Why) -> Option<Frame<Bytes>> {
        let trailers = self.long.as_ref().and_then(|long| long.ending.trailers(why));
        self.fail(BodyError::Deadline, Outcome::Abandoned);
        trailers.map(Frame::trailers)
    }

    /// The instance broke it off, and so is it towards the client; but for calls whose connection breaks between two messages:
    /// their clients ask again after UNAVAILABLE, and after nothing else. An instance that resets one stream has its reasons.
    fn break_off(&mut self, broken: Broken) -> Result<Frame<Bytes>, BodyError> {
        // An upload that its client broke off ends the connection to an HTTP/1.1 instance too.
        if let Source::H1 { upload: Some(tally), .. } = &self.source
            && let Some(cause) = tally.failed()
        {
            return Err(self.fail(cause, Outcome::Abandoned));
        }
        let error = self.fail(BodyError::Instance, Outcome::Reset);
        let is_told = broken == Broken::Connection && self.call.as_ref().is_some_and(Messages::are_whole);
        let trailers = is_told.then(|| Ending::Grpc.trailers(Why::Broke)).flatten();
        self.cut_short = trailers.is_some();
        trailers.map(Frame::trailers).ok_or(error)
    }

    fn fail(&mut self, error: BodyError, outcome: Outcome) -> BodyError {
        self.ended = true;
        self.lease.settle(outcome);
        self.source.reset();
        error
    }
}

/// Whether the stream goes on with another message, rather than ending by itself.
fn begins_more(frame: &Frame<Bytes>) -> bool {
    frame.data_ref().is_some_and(|data| !data.is_empty())
}
