//! What an instance does with a request: a script of steps, played in the order they are written.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::Gate;

/// A script. It starts by reading the request to its end ([`Reply::script`]) or not ([`Reply::unread`]); where it
/// names no head before data, a plain 200 is sent; after the last step the response is complete.
///
/// ```
/// use std::time::Duration;
/// use testkit::{Gate, Reply};
///
/// let gate = Gate::new();
/// let _ordinary = Reply::ok("hello");
/// let _late_head = Reply::script().wait(Duration::from_millis(50)).head(200).data("late");
/// let _cut_in_the_body = Reply::script().head(200).header("x-part", "1").data("half").close();
/// let _held_until_the_test_says = Reply::script().gate(&gate).head(204);
/// let _early_answer = Reply::unread().head(413).data("too much");
/// ```
#[derive(Debug, Clone)]
pub struct Reply {
    pub(crate) steps: Vec<Step>,
}

/// One step of a [`Reply`].
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Read,
    Wait(Duration),
    Gate(Gate),
    Inform(StatusCode, HeaderMap),
    Head(StatusCode, HeaderMap),
    Data(Bytes),
    Stream(u64),
    Mirror,
    Echo,
    Trailers(HeaderMap),
    GoAway,
    Close,
    Reset(u32),
    Hang,
    Raw(Bytes),
}

impl Step {
    /// Whether a head has to come before it.
    pub(crate) fn is_body(&self) -> bool {
        matches!(self, Self::Data(_) | Self::Stream(_) | Self::Mirror | Self::Echo | Self::Trailers(_))
    }
}

// === Whole replies ===
impl Reply {
    /// 200 and, as JSON, what arrived: see [`crate::Seen::to_json`].
    #[must_use]
    pub fn echo() -> Self {
        Self::script().head(200).header("content-type", "application/json").step(Step::Echo)
    }

    /// 200 with this body.
    #[must_use]
    pub fn ok(body: impl Into<Bytes>) -> Self {
        Self::script().head(200).data(body)
    }

    /// This status without a body.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::script().head(status)
    }

    /// A head at once, then every frame and trailer of the request as it comes: both directions at the same time.
    #[must_use]
    pub fn mirror() -> Self {
        Self::unread().head(200).step(Step::Mirror)
    }

    /// A gRPC answer: each message with its five bytes of prefix, then `grpc-status` 0 as trailer.
    #[must_use]
    pub fn grpc(messages: &[&[u8]]) -> Self {
        let head = Self::script().head(200).header("content-type", "application/grpc");
        messages.iter().fold(head, |reply, message| reply.data(grpc_message(message))).trailers(&[("grpc-status", "0")])
    }

    /// A gRPC failure as trailers only: one header frame that ends the stream.
    #[must_use]
    pub fn grpc_failure(status: u16, message: &str) -> Self {
        Self::script()
            .head(200)
            .header("content-type", "application/grpc")
            .header("grpc-status", &status.to_string())
            .header("grpc-message", message)
    }

    /// Reads the request and never answers.
    #[must_use]
    pub fn silence() -> Self {
        Self::script().hang()
    }

    /// Closes the connection instead of answering.
    #[must_use]
    pub fn closes() -> Self {
        Self::script().close()
    }

    /// These bytes instead of an answer, then the end of the connection: what is no HTTP, or only half of it. HTTP/1 only.
    #[must_use]
    pub fn raw(bytes: impl Into<Bytes>) -> Self {
        Self::script().step(Step::Raw(bytes.into()))
    }

    /// Resets the stream instead of answering, unread, as an instance does that refuses: see [`Reply::reset`].
    #[must_use]
    pub fn resets(code: u32) -> Self {
        Self::unread().reset(code)
    }
}

// === Beginnings ===
impl Reply {
    /// An empty script that reads the request body first (and so answers `Expect: 100-continue`).
    #[must_use]
    pub fn script() -> Self {
        Self { steps: vec![Step::Read] }
    }

    /// An empty script that leaves the request body unread, and so takes no more of it than the windows hold.
    #[must_use]
    pub fn unread() -> Self {
        Self { steps: Vec::new() }
    }
}

// === Steps ===
impl Reply {
    /// Reads the rest of the request body, here rather than at the beginning.
    #[must_use]
    pub fn read(self) -> Self {
        self.step(Step::Read)
    }

    /// Waits this long.
    #[must_use]
    pub fn wait(self, duration: Duration) -> Self {
        self.step(Step::Wait(duration))
    }

    /// Waits until the test opens the gate.
    #[must_use]
    pub fn gate(self, gate: &Gate) -> Self {
        self.step(Step::Gate(gate.clone()))
    }

    /// Sends an interim (1xx) head. HTTP/2 only: hyper's HTTP/1 server cannot; use [`crate::Raw`] there.
    #[must_use]
    pub fn inform(self, status: u16, headers: &[(&str, &str)]) -> Self {
        self.step(Step::Inform(parse_status(status), header_map(headers)))
    }

    /// Sends the head; ends the stream with it if no step follows.
    #[must_use]
    pub fn head(self, status: u16) -> Self {
        self.step(Step::Head(parse_status(status), HeaderMap::new()))
    }

    /// Adds a field to the head just written.
    ///
    /// # Panics
    /// Unless the last step is [`Reply::head`].
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let Some(Step::Head(_, headers)) = self.steps.last_mut() else {
            panic!("header() belongs right behind head()")
        };
        headers.append(header_name(name), header_value(value));
        self
    }

    /// Sends these bytes: one frame or chunk, if the windows allow.
    #[must_use]
    pub fn data(self, bytes: impl Into<Bytes>) -> Self {
        self.step(Step::Data(bytes.into()))
    }

    /// `count` pieces of `size` bytes, with a pause before each.
    #[must_use]
    pub fn pieces(self, count: usize, size: usize, pause: Duration) -> Self {
        let piece = Bytes::from(vec![b'.'; size]);
        (0..count).fold(self, |reply, _| reply.wait(pause).data(piece.clone()))
    }

    /// Sends `total` bytes as fast as the other side takes them: [`crate::Counts::bytes_written`] stands still while it
    /// does not.
    #[must_use]
    pub fn stream(self, total: u64) -> Self {
        self.step(Step::Stream(total))
    }

    /// Ends with trailers. Over HTTP/1 they are sent only if the request says `TE: trailers`, as the standard asks.
    #[must_use]
    pub fn trailers(self, trailers: &[(&str, &str)]) -> Self {
        self.step(Step::Trailers(header_map(trailers)))
    }

    /// Announces that this connection takes no more requests, and goes on with this one: GOAWAY (first with the highest
    /// id, then with the last one taken), or `Connection: close` if the head is still to come. For a GOAWAY with an id
    /// of your choice use [`crate::frame`].
    #[must_use]
    pub fn go_away(self) -> Self {
        self.step(Step::GoAway)
    }

    /// Closes the connection, with all streams it carries.
    #[must_use]
    pub fn close(self) -> Self {
        self.step(Step::Close)
    }

    /// RST_STREAM with this code, as in [`h2::Reason`]; over HTTP/1 the connection is closed.
    #[must_use]
    pub fn reset(self, code: impl Into<u32>) -> Self {
        self.step(Step::Reset(code.into()))
    }

    /// Does nothing more until the other side gives up.
    #[must_use]
    pub fn hang(self) -> Self {
        self.step(Step::Hang)
    }

    fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }
}

/// One gRPC message in its frame: not compressed, length, bytes.
#[must_use]
pub fn grpc_message(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).expect("a message below 4 GiB"));
    frame.put_slice(message);
    frame.freeze()
}

fn parse_status(status: u16) -> StatusCode {
    StatusCode::from_u16(status).expect("a status between 100 and 999")
}

fn header_map(fields: &[(&str, &str)]) -> HeaderMap {
    fields.iter().map(|(name, value)| (header_name(name), header_value(value))).collect()
}

fn header_name(name: &str) -> HeaderName {
    name.parse().unwrap_or_else(|_| panic!("{name:?} is no header name"))
}

fn header_value(value: &str) -> HeaderValue {
    value.parse().unwrap_or_else(|_| panic!("{value:?} is no header value"))
}
