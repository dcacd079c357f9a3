//! hot path
//!
//! What others hold of a connection: a half of one stream, or the right to open one.

use std::{
    cell::RefCell,
    fmt,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, request, response};
use http_body::{Body, Frame, SizeHint};

use crate::{
    Error, Reason,
    core::{Core, Part},
    stream::Place,
};

/// One half of a stream. When both are let go, what has not ended is reset.
struct Half {
    core: Rc<RefCell<Core>>,
    place: Place,
}

impl Half {
    /// Takes over a half that is counted already.
    fn counted(core: &Rc<RefCell<Core>>, place: Place) -> Self {
        Self { core: Rc::clone(core), place }
    }

    fn new(core: &Rc<RefCell<Core>>, place: Place) -> Self {
        core.borrow_mut().hold(place);
        Self::counted(core, place)
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        self.core.borrow_mut().let_go(self.place);
    }
}

impl fmt::Debug for Half {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.place)
    }
}

/// A request that came.
#[derive(Debug)]
pub struct Request {
    /// Its head.
    pub head: request::Parts,
    /// Its body.
    pub body: Incoming,
    /// The way back.
    pub respond: Outgoing,
}

impl Request {
    pub(crate) fn new(head: request::Parts, core: &Rc<RefCell<Core>>, place: Place) -> Self {
        Self { head, body: Incoming(Half::counted(core, place)), respond: Outgoing(Half::new(core, place)) }
    }
}

/// The head of a request to send. Fields that HTTP/2 forbids, and `host`, are left out.
#[derive(Debug, Clone, Copy)]
pub struct RequestHead<'a> {
    /// `:method`.
    pub method: &'a Method,
    /// `:scheme`.
    pub scheme: &'a str,
    /// `:authority`.
    pub authority: &'a str,
    /// `:path`, with the query.
    pub path: &'a str,
    /// All other fields.
    pub headers: &'a HeaderMap,
}

impl RequestHead<'_> {
    /// Its size as RFC 9113 (6.5.2) counts it: names and values, and 32 for each field.
    pub(crate) fn size(&self) -> usize {
        let pseudo = [
            (":method", self.method.as_str()),
            (":scheme", self.scheme),
            (":authority", self.authority),
            (":path", self.path),
        ];
        let pseudo = pseudo.iter().map(|(name, value)| name.len() + value.len() + FIELD);
        let fields = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD);
        pseudo.chain(fields).sum()
    }
}

/// What a field counts besides its octets.
const FIELD: usize = 32;

/// A body that comes in. Data taken from it is given back to the peer's window. Dropped early, the rest is ignored.
#[derive(Debug)]
pub struct Incoming(Half);

impl Incoming {
    /// Whether all of it has come, be it taken or not.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.0.core.borrow_mut().is_whole(self.0.place)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.0.core.borrow_mut().ignore(self.0.place);
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let part = self.0.core.borrow_mut().poll_part(self.0.place, cx);
        part.map(|part| {
            part.map(|part| {
                part.map(|part| match part {
                    Part::Data(data) => Frame::data(data),
                    Part::Trailers(trailers) => Frame::trailers(trailers),
                })
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.core.borrow_mut().is_end(self.0.place)
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_end_stream() { SizeHint::with_exact(0) } else { SizeHint::default() }
    }
}

/// A response that is to come.
#[derive(Debug)]
pub struct Answer(Half);

impl Answer {
    /// The head of the final response.
    ///
    /// # Errors
    /// Why there will be none.
    pub fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<response::Parts, Error>> {
        self.0.core.borrow_mut().poll_head(self.0.place, cx)
    }

    /// The next interim response, if one has come; [`Answer::poll_head`] wakes for them too.
    pub fn interim(&mut self) -> Option<response::Parts> {
        self.0.core.borrow_mut().interim(self.0.place)
    }

    /// The body, after the head was taken.
    #[must_use]
    pub fn into_body(self) -> Incoming {
        Incoming(self.0)
    }
}

/// What goes out in one stream.
#[derive(Debug)]
pub struct Outgoing(Half);

impl Drop for Outgoing {
    fn drop(&mut self) {
        // The other half may live on, but nobody takes a turn here any more.
        self.0.core.borrow_mut().leave_queue(self.0.place);
    }
}

impl Outgoing {
    /// The final head of a response. `end`: there is no body.
    ///
    /// # Errors
    /// If the stream is over.
    pub fn send_response(&mut self, head: &response::Parts, end: bool) -> Result<(), Error> {
        self.0.core.borrow_mut().send_response(self.0.place, head, end)
    }

    /// An interim response.
    ///
    /// # Errors
    /// If the stream is over.
    pub fn send_interim(&mut self, status: StatusCode, headers: &HeaderMap) -> Result<(), Error> {
        self.0.core.borrow_mut().send_interim(self.0.place, status, headers)
    }

    /// Bytes that may be sent now, at least one.
    ///
    /// # Errors
    /// If the stream is over.
    pub fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Error>> {
        self.0.core.borrow_mut().poll_room(self.0.place, cx)
    }

    /// Sends part of a body: no more than [`Outgoing::poll_room`] just admitted; nothing at all needs no room. `end`: it
    /// is the last.
    ///
    /// # Errors
    /// If the stream is over.
    pub fn send_data(&mut self, data: Bytes, end: bool) -> Result<(), Error> {
        self.0.core.borrow_mut().send_data(self.0.place, data, end)
    }

    /// Sends trailers, and with them the end.
    ///
    /// # Errors
    /// If the stream is over.
    pub fn send_trailers(&mut self, trailers: &HeaderMap) -> Result<(), Error> {
        self.0.core.borrow_mut().send_trailers(self.0.place, trailers)
    }

    /// Breaks the stream off, in both directions.
    pub fn reset(&mut self, reason: Reason) {
        self.0.core.borrow_mut().reset(self.0.place, reason, Error::Ended);
    }

    /// Whether the peer or the connection has ended the stream already.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.0.core.borrow_mut().is_gone(self.0.place)
    }

    /// Ready when nothing more can be sent, because the peer or the connection ended the stream.
    pub fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        self.0.core.borrow_mut().poll_reset(self.0.place, cx)
    }
}

/// Opens streams. The connection stays as long as there is one.
#[derive(Debug)]
pub struct Sender(Rc<RefCell<Core>>);

impl Sender {
    pub(crate) fn new(core: &Rc<RefCell<Core>>) -> Self {
        core.borrow_mut().senders += 1;
        Self(Rc::clone(core))
    }

    /// Opens a stream with this head. `end`: there is no body.
    ///
    /// # Errors
    /// If the peer takes no new stream; nothing was sent then.
    pub fn open(&self, head: &RequestHead<'_>, end: bool) -> Result<(Answer, Outgoing), Error> {
        let place = self.0.borrow_mut().open(head)?;
        let halves = (Answer(Half::new(&self.0, place)), Outgoing(Half::new(&self.0, place)));
        self.0.borrow_mut().send_request(place, head, end)?;
        Ok(halves)
    }
}

impl Clone for Sender {
    fn clone(&self) -> Self {
        Self::new(&self.0)
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        let mut core = self.0.borrow_mut();
        core.senders -= 1;
        if core.senders == 0 {
            core.wake_task();
        }
    }
}
