//! hot path
//!
//! Heads in: requests, responses, trailers.

use bytes::BytesMut;
use http::{HeaderValue, StatusCode, header, response};

use super::{
    super::{Core, Role},
    Over,
};
use crate::{
    Error, Reason,
    error::Fault,
    frame::{self, END_HEADERS, END_STREAM, Head},
    head::{self, Heading, Read},
    stream::{Place, Stream, Way},
};

/// A header block of which only a part has come.
#[derive(Debug)]
pub(in crate::core) struct Block {
    pub(super) head: Head,
    bytes: BytesMut,
    frames: u32,
}

impl Block {
    pub(in crate::core) fn stream(&self) -> u32 {
        self.head.stream
    }
}

/// CONTINUATION frames of one head. With the smallest frames a peer may choose, a head of 2 MiB.
const CONTINUATIONS: u32 = 128;
/// Beyond twice the largest head: framing, and fields that compress badly.
const SLACK: usize = 16 * 1024;
/// Interim responses that nobody took yet.
const INTERIM: usize = 16;
/// Streams that are over for the client but still held here, over the limit of open ones. Resets free a stream's place
/// at once, but not the work it began.
const OVERHANG: usize = 2;

impl Core {
    pub(super) fn headers(&mut self, head: Head, payload: &[u8]) -> Result<(), Fault> {
        let fragment = frame::fragment(head, payload)?;
        if head.has(END_HEADERS) {
            return self.block(head, fragment);
        }
        self.block = Some(Block { head, bytes: fragment.into(), frames: 0 });
        Ok(())
    }

    pub(super) fn continuation(&mut self, head: Head, payload: &[u8]) -> Result<(), Fault> {
        let Some(mut block) = self.block.take() else {
            return Err(Fault::protocol("CONTINUATION without a head before it"));
        };
        block.frames += 1;
        if block.frames > CONTINUATIONS || block.bytes.len() + payload.len() > self.ours.head.saturating_mul(2) + SLACK
        {
            return Err(Fault::Connection(Reason::ENHANCE_YOUR_CALM, "a head without end"));
        }
        block.bytes.extend_from_slice(payload);
        if head.has(END_HEADERS) {
            return self.block(block.head, &block.bytes);
        }
        self.block = Some(block);
        Ok(())
    }

    /// A whole head came. Whatever becomes of it, it is decoded: later heads refer to it.
    fn block(&mut self, head: Head, block: &[u8]) -> Result<(), Fault> {
        let mut heading = Heading::new(self.ours.head);
        let decoded = self.decoder.decode(block, |field| heading.take(field));
        decoded.map_err(|_| Fault::compression("a head that cannot be decoded"))?;
        match (self.streams.find(head.stream), self.role) {
            (Some(place), _) => self.more(head, place, heading),
            (None, Role::Server) if head.stream % 2 == 1 && head.stream > self.highest => self.request(head, heading),
            // Also a number that was passed over (RFC 9113, 5.1.1).
            (None, _) => match self.of_no_stream(head.stream)? {
                Over::Expected => Ok(()),
                Over::Unexpected => Err(Fault::Connection(Reason::STREAM_CLOSED, "a head on a stream that is over")),
            },
        }
    }

    fn request(&mut self, head: Head, heading: Heading) -> Result<(), Fault> {
        let id = head.stream;
        self.highest = id;
        if self.last.is_some_and(|last| id > last) {
            // The client knows by our GOAWAY that nothing was done with it.
            self.work_for_nothing();
            return Ok(());
        }
        let most = self.ours.streams as usize;
        if self.streams.open() >= most || self.streams.all() >= most * OVERHANG {
            return Err(Fault::Stream(id, Reason::REFUSED_STREAM, "more streams at once than admitted"));
        }
        let parts = match heading.request() {
            Read::Head(parts) => parts,
            Read::Malformed(what) => return Err(Fault::Stream(id, Reason::PROTOCOL_ERROR, what)),
            Read::TooLarge => return self.too_large(head),
        };
        let mut stream = Stream::new(id, self.ours.window, self.peer.window, &self.buffers);
        let promised = head::length(&parts.headers);
        stream.recv.promised = promised.map_err(|what| Fault::Stream(id, Reason::PROTOCOL_ERROR, what))?;
        stream.recv.has_head = true;
        let place = self.streams.add(stream);
        if head.has(END_STREAM) {
            self.ended(place)?;
        }
        self.hold(place);
        self.accepted.push_back((parts, place));
        self.progress();
        Ok(())
    }

    /// A bare answer: the head was not even kept. Our own limit, at half of this, answers with a reason.
    fn too_large(&mut self, head: Head) -> Result<(), Fault> {
        // Eight more than the answer counts as progress.
        (0..16).for_each(|_| self.work_for_nothing());
        let mut stream = Stream::new(head.stream, 0, self.peer.window, &self.buffers);
        if head.has(END_STREAM) {
            stream.recv.state = Way::Ended;
        }
        let place = self.streams.add(stream);
        let (mut answer, ()) = http::Response::new(()).into_parts();
        answer.status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        answer.headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        self.send_response(place, &answer, true).ok(); // fails only for a stream that is gone
        self.reset(place, Reason::NO_ERROR, Error::Ended);
        Ok(())
    }

    /// A head on an open stream: the response, an interim one, or trailers.
    fn more(&mut self, head: Head, place: Place, heading: Heading) -> Result<(), Fault> {
        let id = head.stream;
        let wrong = |what| Fault::Stream(id, Reason::PROTOCOL_ERROR, what);
        let Some(stream) = self.streams.get(place) else { return Ok(()) };
        if stream.recv.state != Way::Open {
            return Err(Fault::Stream(id, Reason::STREAM_CLOSED, "a head behind the end of its stream"));
        }
        if stream.recv.has_head {
            if !head.has(END_STREAM) {
                return Err(wrong("trailers that are not the end"));
            }
            match heading.trailers() {
                Read::Head(trailers) => stream.recv.trailers = Some(Box::new(trailers)).filter(|t| !t.is_empty()),
                Read::Malformed(what) => return Err(wrong(what)),
                Read::TooLarge => return Err(wrong("trailers that are too large")),
            }
        } else {
            match heading.response() {
                Read::Head(parts) => self.response(head, place, parts)?,
                Read::Malformed(what) => return Err(wrong(what)),
                Read::TooLarge => {
                    self.work_for_nothing();
                    self.reset(place, Reason::CANCEL, Error::ResponseTooLarge);
                    return Ok(());
                }
            }
        }
        if head.has(END_STREAM) {
            self.ended(place)?;
        }
        self.progress();
        if let Some(stream) = self.streams.get(place) {
            stream.wake_recv();
        }
        self.close_if_over(place);
        Ok(())
    }

    fn response(&mut self, head: Head, place: Place, parts: response::Parts) -> Result<(), Fault> {
        let Some(stream) = self.streams.get(place) else { return Ok(()) };
        if parts.status.is_informational() {
            // 101 has no meaning in HTTP/2 (RFC 9113, 8.6).
            let switches = parts.status == StatusCode::SWITCHING_PROTOCOLS;
            if head.has(END_STREAM) || switches || stream.recv.interim.len() >= INTERIM {
                let what = "an interim response that may not be";
                return Err(Fault::Stream(head.stream, Reason::PROTOCOL_ERROR, what));
            }
            stream.recv.interim.push_back(parts);
            return Ok(());
        }
        let promised = head::length(&parts.headers);
        let promised = promised.map_err(|what| Fault::Stream(head.stream, Reason::PROTOCOL_ERROR, what))?;
        stream.recv.promised = if head::has_body(parts.status, stream.recv.to_head) { promised } else { Some(0) };
        stream.recv.has_head = true;
        stream.recv.head = Some(Box::new(parts));
        Ok(())
    }

    /// The peer's direction is at its end.
    pub(super) fn ended(&mut self, place: Place) -> Result<(), Fault> {
        let Some(stream) = self.streams.get(place) else { return Ok(()) };
        if stream.recv.promised.is_some_and(|left| left > 0) {
            let what = "a body shorter than its content-length";
            return Err(Fault::Stream(stream.id, Reason::PROTOCOL_ERROR, what));
        }
        stream.recv.state = Way::Ended;
        Ok(())
    }
}
