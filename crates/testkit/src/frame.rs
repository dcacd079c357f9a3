//! HTTP/2 frame by frame over a [`Socket`], for what no library sends: GOAWAY with an id of your choice, floods, frames
//! out of order. Either end; header blocks are written in HPACK's plainest form and not read.
//!
//! ```no_run
//! # async fn example() {
//! use testkit::{Raw, frame::{self, Frame}};
//! // Takes stream 1 and says that it was never processed.
//! let refuses = Raw::start(|mut socket| async move {
//!     frame::accept_preface(&mut socket).await;
//!     let head = frame::next(&mut socket, frame::HEADERS).await.expect("a request");
//!     frame::send(&mut socket, &Frame::go_away(head.stream - 1, 0)).await.unwrap();
//! })
//! .await;
//! # }
//! ```

use std::io;

use bytes::{BufMut, Bytes, BytesMut};

use crate::{Socket, hpack::Block};

/// One frame, as on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// One of the constants of this module, or any other byte.
    pub kind: u8,
    /// The flags, as the kind defines them.
    pub flags: u8,
    /// The stream, 0 for the connection.
    pub stream: u32,
    /// The payload.
    pub payload: Bytes,
}

/// Frame types of RFC 9113, section 6.
pub const DATA: u8 = 0;
/// Opens a stream.
pub const HEADERS: u8 = 1;
/// Advice on the order of streams, obsolete.
pub const PRIORITY: u8 = 2;
/// Ends a stream by force.
pub const RST_STREAM: u8 = 3;
/// Parameters of the connection.
pub const SETTINGS: u8 = 4;
/// Announces an answer that nobody asked for.
pub const PUSH_PROMISE: u8 = 5;
/// A sign of life.
pub const PING: u8 = 6;
/// No more streams.
pub const GOAWAY: u8 = 7;
/// More window.
pub const WINDOW_UPDATE: u8 = 8;
/// More of a header block.
pub const CONTINUATION: u8 = 9;

/// Flag of DATA and HEADERS: the last frame of this direction.
pub const END_STREAM: u8 = 1;
/// Flag of SETTINGS and PING: an answer.
pub const ACK: u8 = 1;
/// Flag of HEADERS and CONTINUATION: the block is whole.
pub const END_HEADERS: u8 = 4;
/// Flag of DATA and HEADERS: padding follows.
pub const PADDED: u8 = 8;
/// Flag of HEADERS: advice on the order of streams comes first.
pub const PRIORITY_FLAG: u8 = 0x20;

/// What a client sends first.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

impl Frame {
    /// SETTINGS with these parameters.
    #[must_use]
    pub fn settings(parameters: &[(u16, u32)]) -> Self {
        let mut payload = BytesMut::new();
        for (parameter, value) in parameters {
            payload.put_u16(*parameter);
            payload.put_u32(*value);
        }
        Self { kind: SETTINGS, flags: 0, stream: 0, payload: payload.freeze() }
    }

    /// HEADERS with a whole block; pseudo fields first, names in lower case.
    #[must_use]
    pub fn headers(stream: u32, fields: &[(&str, &str)], end: bool) -> Self {
        let flags = END_HEADERS | if end { END_STREAM } else { 0 };
        Self { kind: HEADERS, flags, stream, payload: header_block(fields) }
    }

    /// Any frame at all.
    #[must_use]
    pub fn raw(kind: u8, flags: u8, stream: u32, payload: impl Into<Bytes>) -> Self {
        Self { kind, flags, stream, payload: payload.into() }
    }

    /// HEADERS with this block, whole.
    #[must_use]
    pub fn head(stream: u32, block: &Block, end: bool) -> Self {
        Self::raw(HEADERS, END_HEADERS | if end { END_STREAM } else { 0 }, stream, block.to_bytes())
    }

    /// The same with so many octets of padding.
    #[must_use]
    pub fn padded(self, padding: u8) -> Self {
        let payload = [&[padding], &self.payload[..], &vec![0; usize::from(padding)]].concat();
        Self { flags: self.flags | PADDED, payload: payload.into(), ..self }
    }

    /// A request without body.
    #[must_use]
    pub fn get(stream: u32, authority: &str, path: &str) -> Self {
        let fields = [(":method", "GET"), (":scheme", "http"), (":authority", authority), (":path", path)];
        Self::headers(stream, &fields, true)
    }

    /// DATA.
    #[must_use]
    pub fn data(stream: u32, bytes: impl Into<Bytes>, end: bool) -> Self {
        Self { kind: DATA, flags: if end { END_STREAM } else { 0 }, stream, payload: bytes.into() }
    }

    /// RST_STREAM.
    #[must_use]
    pub fn reset(stream: u32, code: u32) -> Self {
        Self { kind: RST_STREAM, flags: 0, stream, payload: Bytes::copy_from_slice(&code.to_be_bytes()) }
    }

    /// GOAWAY: streams above `last` were not processed.
    #[must_use]
    pub fn go_away(last: u32, code: u32) -> Self {
        let payload = [last.to_be_bytes(), code.to_be_bytes()].concat();
        Self { kind: GOAWAY, flags: 0, stream: 0, payload: payload.into() }
    }

    /// WINDOW_UPDATE.
    #[must_use]
    pub fn window_update(stream: u32, bytes: u32) -> Self {
        Self { kind: WINDOW_UPDATE, flags: 0, stream, payload: Bytes::copy_from_slice(&bytes.to_be_bytes()) }
    }

    /// PING, or with [`ACK`] as flags the answer to one.
    #[must_use]
    pub fn ping(flags: u8, payload: [u8; 8]) -> Self {
        Self { kind: PING, flags, stream: 0, payload: Bytes::copy_from_slice(&payload) }
    }

    /// The code of RST_STREAM and GOAWAY.
    ///
    /// # Panics
    /// For other frames.
    #[must_use]
    pub fn code(&self) -> u32 {
        let at = match self.kind {
            RST_STREAM => 0,
            GOAWAY => 4,
            other => panic!("frame type {other} has no code"),
        };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().expect("four bytes"))
    }

    /// As on the wire.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(9 + self.payload.len());
        bytes.put_uint(self.payload.len() as u64, 3);
        bytes.put_u8(self.kind);
        bytes.put_u8(self.flags);
        bytes.put_u32(self.stream);
        bytes.put_slice(&self.payload);
        bytes.freeze()
    }
}

/// A header block of literals: no table, no Huffman code.
///
/// # Panics
/// If a name or value is longer than 126 bytes, which would need a longer form.
#[must_use]
pub fn header_block(fields: &[(&str, &str)]) -> Bytes {
    let mut block = BytesMut::new();
    for (name, value) in fields {
        block.put_u8(0);
        for text in [name, value] {
            assert!(text.len() < 127, "{text:?} is too long for one length byte");
            block.put_u8(text.len() as u8);
            block.put_slice(text.as_bytes());
        }
    }
    block.freeze()
}

/// Sends one frame.
///
/// # Errors
/// If the other side closed the connection.
pub async fn send(socket: &mut Socket, frame: &Frame) -> io::Result<()> {
    socket.send(frame.to_bytes()).await
}

/// Reads one frame; `None` at the end of the connection.
pub async fn read(socket: &mut Socket) -> Option<Frame> {
    let head = socket.read_exactly(9).await?;
    let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
    Some(Frame { kind: head[3], flags: head[4], stream, payload: socket.read_exactly(length).await? })
}

/// Reads until a frame of this kind comes; SETTINGS and PING on the way are answered, others dropped. `None` at the
/// end of the connection.
pub async fn next(socket: &mut Socket, kind: u8) -> Option<Frame> {
    loop {
        let frame = read(socket).await?;
        let answer = match frame.kind {
            _ if frame.kind == kind => return Some(frame),
            SETTINGS | PING if frame.flags & ACK == 0 => {
                let payload = if frame.kind == PING { frame.payload } else { Bytes::new() };
                Frame { kind: frame.kind, flags: ACK, stream: 0, payload }
            }
            _ => continue,
        };
        send(socket, &answer).await.ok()?;
    }
}

/// The server's part of the beginning: reads the preface and sends empty settings.
///
/// # Panics
/// If something else comes.
pub async fn accept_preface(socket: &mut Socket) {
    assert_eq!(socket.read_exactly(PREFACE.len()).await.as_deref(), Some(PREFACE), "an HTTP/2 client speaks first");
    // A client that is gone already shows at the next read.
    drop(send(socket, &Frame::settings(&[])).await);
}

/// The client's part of the beginning: sends the preface and these settings.
///
/// # Errors
/// If the other side closed the connection.
pub async fn send_preface(socket: &mut Socket, settings: &[(u16, u32)]) -> io::Result<()> {
    socket.send(PREFACE).await?;
    send(socket, &Frame::settings(settings)).await
}
