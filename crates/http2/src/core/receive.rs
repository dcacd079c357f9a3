//! hot path
//!
//! Frames in.

use bytes::BytesMut;
use http::{HeaderValue, StatusCode, header, response};

use super::{ALIVE, CALM, Core, PART, Role};
use crate::{
    Error, Reason,
    error::Fault,
    frame::{
        self, ACK, CONTINUATION, DATA, DEFAULT_FRAME, END_HEADERS, END_STREAM, GOAWAY, HEAD, HEADERS,
        Head, LARGEST_WINDOW, PADDED, PING, PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, number,
    },
    head::{self, Heading, Read},
    stream::{Place, Stream, Way},
};

/// A header block of which only a part has come.
#[derive(Debug)]
pub(super) struct Block {
    head: Head,
    bytes: BytesMut,
    frames: u32,
}

/// The payload of a DATA frame of which only a part has come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Payload {
    stream: u32,
    content: usize,
    padding: usize,
    end: bool,
}

/// What a frame for a stream that is over is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    /// Nothing: the peer did not know yet.
    Expected,
    /// The peer's own end was before it.
    Unexpected,
}

/// CONTINUATION frames of one head. With the smallest frames a peer may choose, a head of 2 MiB.
const CONTINUATIONS: u32 = 128;
/// Beyond twice the largest head: framing, and fields that compress badly.
const SLACK: usize = 16 * 1024;
/// Interim responses that nobody took yet.
const INTERIM: usize = 16;
/// Streams that are over for the client but still held here, over the limit of open ones. Resets free a stream's place
/// at once, but not the work it began.
const HELD: usize = 2;

impl Core {
    /// Takes what came and returns how much of it; the rest is the beginning of a frame whose end has not come.
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> usize {
        // A frame that comes alone costs its sender as much as us; floods come many at a time.
        self.calm = (self.calm + 2).min(CALM);
        let mut rest = bytes;
        while self.error.is_none() && !rest.is_empty() {
            match self.step(&mut rest) {
                Ok(true) => {}
                Ok(false) => break,
                Err(fault) => self.fault(fault),
            }
        }
        bytes.len() - rest.len()
    }

    /// One frame, or one part of a DATA frame. False if more bytes are needed.
    fn step(&mut self, rest: &mut &[u8]) -> Result<bool, Fault> {
        if !self.preface.is_empty() {
            return self.greeted(rest);
        }
        if let Some(payload) = self.payload {
            self.content(payload, rest)?;
            return Ok(true);
        }
        let Some(head) = rest.first_chunk::<HEAD>().map(Head::read) else { return Ok(false) };
        self.admit(head)?;
        let after = &rest[HEAD..];
        if head.kind == DATA {
            return self.data(head, after, rest);
        }
        let Some((payload, after)) = after.split_at_checked(head.length) else { return Ok(false) };
        *rest = after;
        self.frame(head, payload)?;
        Ok(true)
    }

    fn greeted(&mut self, rest: &mut &[u8]) -> Result<bool, Fault> {
        let length = rest.len().min(self.preface.len());
        let (come, to_come) = self.preface.split_at(length);
        if rest[..length] != *come {
            return Err(Fault::protocol("not the preface of HTTP/2"));
        }
        self.preface = to_come;
        *rest = &rest[length..];
        Ok(true)
    }

    /// Whether a frame of this kind may come now.
    fn admit(&self, head: Head) -> Result<(), Fault> {
        if head.length > DEFAULT_FRAME {
            return Err(Fault::size("a frame larger than admitted"));
        }
        if !self.is_settled && (head.kind != SETTINGS || head.has(ACK)) {
            return Err(Fault::protocol("the first frame is not SETTINGS"));
        }
        if let Some(block) = &self.block
            && (head.kind != CONTINUATION || head.stream != block.head.stream)
        {
            return Err(Fault::protocol("another frame inside a head"));
        }
        let of_connection = matches!(head.kind, SETTINGS | PING | GOAWAY);
        let of_stream = matches!(head.kind, DATA | HEADERS | PRIORITY | RST_STREAM | PUSH_PROMISE | CONTINUATION);
        if (of_connection && head.stream != 0) || (of_stream && head.stream == 0) {
            return Err(Fault::protocol("a frame on a stream it does not belong to"));
        }
        Ok(())
    }

    fn frame(&mut self, head: Head, payload: &[u8]) -> Result<(), Fault> {
        match head.kind {
            HEADERS => self.headers(head, payload),
            CONTINUATION => self.continuation(head, payload),
            RST_STREAM => self.rst_stream(head, payload),
            SETTINGS => self.settings(head, payload),
            PING => self.pinged(head, payload),
            GOAWAY => self.goes_away(payload),
            WINDOW_UPDATE => self.window_update(head, payload),
            PUSH_PROMISE => Err(Fault::protocol("PUSH_PROMISE, which nobody may send here")),
            PRIORITY => self.priority(head, payload),
            // Unknown frames are nothing (RFC 9113, 4.1).
            _ => {
                self.work_for_nothing();
                Ok(())
            }
        }
    }

    // --- heads

    fn headers(&mut self, head: Head, payload: &[u8]) -> Result<(), Fault> {
        let fragment = frame::fragment(head, payload)?;
        if head.has(END_HEADERS) {
            return self.block(head, fragment);
        }
        self.block = Some(Block { head, bytes: fragment.into(), frames: 0 });
        Ok(())
    }

    fn continuation(&mut self, head: Head, payload: &[u8]) -> Result<(), Fault> {
        let Some(mut block) = self.block.take() else {
            return Err(Fault::protocol("CONTINUATION without a head before it"));
        };
        block.frames += 1;
        if block.frames > CONTINUATIONS || block.bytes.len() + payload.len() > 2 * self.ours.head + SLACK {
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
            return Ok(());
        }
        let most = self.ours.streams as usize;
        if self.streams.open() >= most || self.streams.all() >= most * HELD {
            return Err(Fault::Stream(id, Reason::REFUSED_STREAM, "more streams at once than admitted"));
        }
        let parts = match heading.request() {
            Read::Head(parts) => parts,
            Read::Malformed(what) => return Err(Fault::Stream(id, Reason::PROTOCOL_ERROR, what)),
            Read::TooLarge => return self.too_large(head),
        };
        let mut stream = Stream::new(id, i64::from(self.ours.window), self.peer.window);
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
        self.work_for_nothing();
        let mut stream = Stream::new(head.stream, 0, self.peer.window);
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
                Read::TooLarge => return Err(wrong("a head that is too large")),
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
    fn ended(&mut self, place: Place) -> Result<(), Fault> {
        let Some(stream) = self.streams.get(place) else { return Ok(()) };
        if stream.recv.promised.is_some_and(|left| left > 0) {
            let what = "a body shorter than its content-length";
            return Err(Fault::Stream(stream.id, Reason::PROTOCOL_ERROR, what));
        }
        stream.recv.state = Way::Ended;
        Ok(())
    }

    /// A frame for a stream that is not open: over, which may be nothing, or never begun, which must not be.
    fn of_no_stream(&mut self, id: u32) -> Result<Over, Fault> {
        let begun = match self.role {
            Role::Server => id <= self.highest,
            Role::Client => id < self.next,
        };
        if id % 2 == 0 || !begun {
            return Err(Fault::protocol("a frame for a stream that was never opened"));
        }
        self.work_for_nothing();
        // It may have been on its way when we ended the stream.
        let expected = self.past.contains(&id) || self.last.is_some_and(|last| id > last);
        Ok(if expected { Over::Expected } else { Over::Unexpected })
    }

    // --- bodies

    fn data(&mut self, head: Head, after: &[u8], rest: &mut &[u8]) -> Result<bool, Fault> {
        let (mut content, mut padding, mut skip) = (head.length, 0, HEAD);
        if head.has(PADDED) {
            content = content.checked_sub(1).ok_or(Fault::size("DATA without its pad length"))?;
            let Some(length) = after.first() else { return Ok(false) };
            padding = usize::from(*length);
            content = content.checked_sub(padding).ok_or(Fault::protocol("more padding than frame"))?;
            skip += 1;
        }
        *rest = &rest[skip..];
        let payload = Payload { stream: head.stream, content, padding, end: head.has(END_STREAM) };
        // Whatever becomes of it, its bytes come.
        self.payload = Some(payload);
        self.count(head.length);
        if content + padding == 0 {
            self.payload = None;
        }
        let Some(place) = self.streams.find(head.stream) else {
            return match self.of_no_stream(head.stream)? {
                Over::Expected => Ok(true),
                Over::Unexpected => {
                    Err(Fault::Stream(head.stream, Reason::STREAM_CLOSED, "a body on a stream that is over"))
                }
            };
        };
        if head.length == 0 && !payload.end {
            self.work_for_nothing();
        }
        let Some(stream) = self.streams.get(place) else { return Ok(true) };
        if !stream.recv.has_head {
            return Err(Fault::protocol("a body before its head"));
        }
        if stream.recv.state != Way::Open {
            return Err(Fault::Stream(head.stream, Reason::STREAM_CLOSED, "a body behind its end"));
        }
        stream.recv.window -= head.length as i64;
        if stream.recv.window < 0 {
            let what = "more than the stream's window admits";
            return Err(Fault::Stream(head.stream, Reason::FLOW_CONTROL_ERROR, what));
        }
        // Padding is taken at once.
        stream.recv.taken += (head.length - content) as u32;
        if let Some(promised) = &mut stream.recv.promised {
            let Some(left) = promised.checked_sub(content as u64) else {
                let what = "a body longer than its content-length";
                return Err(Fault::Stream(head.stream, Reason::PROTOCOL_ERROR, what));
            };
            *promised = left;
        }
        if content + padding == 0 {
            self.content(payload, rest)?;
        }
        Ok(true)
    }

    /// As much of a payload as came.
    fn content(&mut self, mut payload: Payload, rest: &mut &[u8]) -> Result<(), Fault> {
        let (content, after) = rest.split_at(payload.content.min(rest.len()));
        payload.content -= content.len();
        let padding = payload.padding.min(after.len());
        payload.padding -= padding;
        *rest = &after[padding..];
        let is_whole = payload.content == 0 && payload.padding == 0;
        self.payload = (!is_whole).then_some(payload);
        let Some(place) = self.streams.find(payload.stream) else { return Ok(()) };
        let Some(stream) = self.streams.get(place) else { return Ok(()) };
        if !content.is_empty() && !stream.recv.is_unwanted {
            stream.recv.buffer.extend_from_slice(content);
            stream.wake_recv();
        }
        if is_whole && payload.end {
            self.ended(place)?;
            if let Some(stream) = self.streams.get(place) {
                stream.wake_recv();
            }
            self.close_if_over(place);
        }
        if !content.is_empty() {
            self.progress();
        }
        Ok(())
    }

    /// The window over all streams is filled long before it is empty.
    fn count(&mut self, bytes: usize) {
        self.received += bytes as u32;
        if i64::from(self.received) > LARGEST_WINDOW / 2 {
            let received = std::mem::take(&mut self.received);
            self.control(WINDOW_UPDATE, 0, 0, &received.to_be_bytes());
        }
    }

    // --- everything else

    fn rst_stream(&mut self, head: Head, payload: &[u8]) -> Result<(), Fault> {
        let &[a, b, c, d] = payload else { return Err(Fault::size("RST_STREAM of a wrong size")) };
        let reason = Reason(u32::from_be_bytes([a, b, c, d]));
        let Some(place) = self.streams.find(head.stream) else {
            // Both ends may well end a stream at once.
            return self.of_no_stream(head.stream).map(drop);
        };
        if let Some(stream) = self.streams.get(place) {
            stream.fail(Error::Reset(reason));
        }
        self.close(place);
        Ok(())
    }

    fn settings(&mut self, head: Head, payload: &[u8]) -> Result<(), Fault> {
        if head.has(ACK) {
            return if payload.is_empty() { Ok(()) } else { Err(Fault::size("an answer to SETTINGS that says something")) };
        }
        self.work_for_nothing();
        let peer = self.peer.with(payload, self.role == Role::Client)?;
        let wider = peer.window - self.peer.window;
        if wider != 0 {
            let too_wide = |stream: &Stream| stream.send.window + wider > LARGEST_WINDOW;
            if self.streams.each().any(|(_, stream)| too_wide(stream)) {
                return Err(Fault::Connection(Reason::FLOW_CONTROL_ERROR, "a window above 2^31-1"));
            }
            for (_, stream) in self.streams.each() {
                stream.send.window += wider;
                stream.wake_send();
            }
        }
        if let Some(table) = peer.table {
            self.encoder.resize(table);
        }
        self.peer = peer;
        self.is_settled = true;
        self.settings_ack();
        Ok(())
    }

    fn pinged(&mut self, head: Head, payload: &[u8]) -> Result<(), Fault> {
        if payload.len() != 8 {
            return Err(Fault::size("PING of a wrong size"));
        }
        if !head.has(ACK) {
            self.work_for_nothing();
            self.control(PING, ACK, 0, payload);
        } else if *payload == PART {
            self.parted();
        } else if *payload == ALIVE {
            self.is_ponged = true;
        }
        Ok(())
    }

    fn goes_away(&mut self, payload: &[u8]) -> Result<(), Fault> {
        let (Some(last), Some(code)) = (number(payload), payload.get(4..).and_then(number)) else {
            return Err(Fault::size("GOAWAY that is too short"));
        };
        self.work_for_nothing();
        let (last, reason) = (last & 0x7fff_ffff, Reason(code));
        self.gone = Some(reason);
        if self.role == Role::Client {
            let unprocessed: Vec<Place> =
                self.streams.each().filter(|(_, stream)| stream.is_open && stream.id > last).map(|(at, _)| at).collect();
            for place in unprocessed {
                if let Some(stream) = self.streams.get(place) {
                    stream.fail(Error::GoAway(reason));
                }
                self.close(place);
            }
        }
        Ok(())
    }

    fn window_update(&mut self, head: Head, payload: &[u8]) -> Result<(), Fault> {
        let &[a, b, c, d] = payload else { return Err(Fault::size("WINDOW_UPDATE of a wrong size")) };
        let wider = i64::from(u32::from_be_bytes([a, b, c, d]) & 0x7fff_ffff);
        self.work_for_nothing();
        if head.stream == 0 {
            if wider == 0 {
                return Err(Fault::protocol("WINDOW_UPDATE of nothing"));
            }
            self.window += wider;
            if self.window > LARGEST_WINDOW {
                return Err(Fault::Connection(Reason::FLOW_CONTROL_ERROR, "a window above 2^31-1"));
            }
            self.next_turn();
            return Ok(());
        }
        let Some(place) = self.streams.find(head.stream) else {
            // It may well come behind the end.
            return self.of_no_stream(head.stream).map(drop);
        };
        if wider == 0 {
            return Err(Fault::Stream(head.stream, Reason::PROTOCOL_ERROR, "WINDOW_UPDATE of nothing"));
        }
        let Some(stream) = self.streams.get(place) else { return Ok(()) };
        stream.send.window += wider;
        if stream.send.window > LARGEST_WINDOW {
            return Err(Fault::Stream(head.stream, Reason::FLOW_CONTROL_ERROR, "a window above 2^31-1"));
        }
        stream.wake_send();
        Ok(())
    }

    /// Of no use to us, but it must be well formed. The stream may not even exist, so it cannot be reset.
    fn priority(&mut self, head: Head, payload: &[u8]) -> Result<(), Fault> {
        self.work_for_nothing();
        let &[a, b, c, d, _] = payload else { return Err(Fault::size("PRIORITY of a wrong size")) };
        if u32::from_be_bytes([a, b, c, d]) & 0x7fff_ffff == head.stream {
            return Err(Fault::protocol("a stream that depends on itself"));
        }
        Ok(())
    }
}
