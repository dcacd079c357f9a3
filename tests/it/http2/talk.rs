//! A connection spoken frame by frame, by a client or an instance, with books of all that the router says. What the
//! router must never say fails the test at once.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Bytes, BytesMut};
use testkit::{
    Socket, bounded,
    frame::{self, Frame},
    hpack::{Field, Reader},
};

pub(super) const NO_ERROR: u32 = 0;
pub(super) const PROTOCOL: u32 = 1;
pub(super) const INTERNAL: u32 = 2;
pub(super) const FLOW: u32 = 3;
pub(super) const CLOSED: u32 = 5;
pub(super) const SIZE: u32 = 6;
pub(super) const REFUSED: u32 = 7;
pub(super) const CANCEL: u32 = 8;
pub(super) const COMPRESSION: u32 = 9;
pub(super) const CALM: u32 = 11;

// The standard has the first code of each, the h2 crate says the second.
/// A header block that cannot be read.
pub(super) const BAD_BLOCK: &[u32] = &[COMPRESSION, PROTOCOL];
/// A frame of a wrong size.
pub(super) const BAD_SIZE: &[u32] = &[SIZE, PROTOCOL];
/// SETTINGS with a window beyond the largest.
pub(super) const BAD_WINDOW: &[u32] = &[FLOW, PROTOCOL];
/// A frame behind the end of its stream.
pub(super) const BEHIND_END: &[u32] = &[CLOSED, PROTOCOL];

pub(super) const TABLE_SIZE: u16 = 1;
pub(super) const PUSH: u16 = 2;
pub(super) const STREAMS: u16 = 3;
pub(super) const WINDOW: u16 = 4;
pub(super) const FRAME_SIZE: u16 = 5;
pub(super) const HEAD_SIZE: u16 = 6;

/// One end of a connection.
#[derive(Debug)]
pub(super) struct Talk {
    pub(super) socket: Socket,
    pub(super) reader: Reader,
    /// What came on each stream.
    pub(super) streams: BTreeMap<u32, Came>,
    /// RST_STREAM: stream and code.
    pub(super) resets: Vec<(u32, u32)>,
    /// GOAWAY: last stream and code, of the newest.
    pub(super) away: Option<(u32, u32)>,
    /// The connection ended.
    pub(super) closed: bool,
    /// The answers to our PINGs.
    pub(super) pongs: Vec<Bytes>,
    /// The answers to our SETTINGS.
    pub(super) acks: usize,
    /// The router's parameters.
    pub(super) settings: BTreeMap<u16, u32>,
    /// WINDOW_UPDATEs, summed for each stream.
    pub(super) granted: BTreeMap<u32, u64>,
    /// The largest payload of DATA.
    pub(super) largest: usize,
    /// The most a frame may hold.
    pub(super) frame_size: usize,
    /// Our table sizes that wait to be acknowledged.
    sizes: VecDeque<Option<u32>>,
    /// A block that is not whole: its stream, the flags of its HEADERS.
    block: Option<(u32, u8, BytesMut)>,
}

/// What came on one stream.
#[derive(Debug, Clone, Default)]
pub(super) struct Came {
    pub(super) heads: Vec<Vec<Field>>,
    pub(super) body: BytesMut,
    pub(super) ended: bool,
    pub(super) reset: bool,
}

impl Came {
    /// The first value of this name in the last head.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        let head = self.heads.last()?;
        head.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The last status.
    pub(super) fn status(&self) -> u16 {
        let mut fields = self.heads.iter().flatten().filter(|(name, _)| name == ":status");
        fields.next_back().and_then(|(_, status)| status.parse().ok()).unwrap_or(0)
    }

    /// The body of an echo.
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Talk {
    fn over(socket: Socket) -> Self {
        Self {
            socket,
            reader: Reader::new(),
            streams: BTreeMap::new(),
            resets: Vec::new(),
            away: None,
            closed: false,
            pongs: Vec::new(),
            acks: 0,
            settings: BTreeMap::new(),
            granted: BTreeMap::new(),
            largest: 0,
            frame_size: 16_384,
            sizes: VecDeque::new(),
            block: None,
        }
    }

    /// Connects and says nothing.
    pub(super) async fn connect(address: std::net::SocketAddr) -> Self {
        Self::over(Socket::connect(address).await)
    }

    /// Connects as a client with these settings.
    pub(super) async fn open(address: std::net::SocketAddr, settings: &[(u16, u32)]) -> Self {
        let mut talk = Self::connect(address).await;
        talk.write(frame::PREFACE).await;
        talk.configure(settings).await;
        talk
    }

    /// An instance's side of a connection.
    pub(super) async fn accept(mut socket: Socket, settings: &[(u16, u32)]) -> Self {
        let preface = socket.read_exactly(frame::PREFACE.len()).await;
        assert_eq!(preface.as_deref(), Some(frame::PREFACE), "an HTTP/2 client speaks first");
        let mut talk = Self::over(socket);
        talk.configure(settings).await;
        talk
    }

    /// Sends octets. Where the other side has gone the next read says so.
    pub(super) async fn write(&mut self, octets: &[u8]) {
        drop(self.socket.send(octets).await);
    }

    /// Sends frames in one piece.
    pub(super) async fn send(&mut self, frames: &[Frame]) {
        self.write(&octets(frames)).await;
    }

    /// Sends SETTINGS.
    pub(super) async fn configure(&mut self, settings: &[(u16, u32)]) {
        let size = |wanted: u16| settings.iter().rfind(|(name, _)| *name == wanted).map(|(_, value)| *value);
        self.sizes.push_back(size(TABLE_SIZE));
        if let Some(size) = size(FRAME_SIZE) {
            self.frame_size = self.frame_size.max(size as usize);
        }
        self.send(&[Frame::settings(settings)]).await;
    }

    /// Reads until the condition holds; false if the connection ended before.
    pub(super) async fn until(&mut self, holds: impl Fn(&Self) -> bool) -> bool {
        bounded("the other side", async {
            while !holds(self) {
                if !self.turn().await {
                    return holds(self);
                }
            }
            true
        })
        .await
    }

    /// Waits until all that was sent before was read; false if the connection ended.
    pub(super) async fn sync(&mut self) -> bool {
        // Of its own, so that the answer to no other PING is taken for it.
        let payload = (0x73_79_6e_63_u64 << 32 | self.pongs.len() as u64).to_be_bytes();
        self.send(&[Frame::ping(0, payload)]).await;
        self.until(|talk| talk.pongs.iter().any(|pong| **pong == payload)).await
    }

    /// Reads until the connection ends.
    pub(super) async fn end(&mut self) {
        self.until(|talk| talk.closed).await;
    }

    /// Waits until this stream is over, by its end or a reset.
    pub(super) async fn answer(&mut self, stream: u32) -> Came {
        self.until(|talk| talk.is_over(stream)).await;
        self.streams.get(&stream).cloned().unwrap_or_default()
    }

    pub(super) fn is_over(&self, stream: u32) -> bool {
        self.streams.get(&stream).is_some_and(|came| came.ended || came.reset)
    }

    /// How many octets of body came on this stream.
    pub(super) fn received(&self, stream: u32) -> usize {
        self.streams.get(&stream).map_or(0, |came| came.body.len())
    }

    /// Reads one frame into the books; false at the end of the connection.
    pub(super) async fn turn(&mut self) -> bool {
        let Some(frame) = frame::read(&mut self.socket).await else {
            self.closed = true;
            return false;
        };
        self.book(&frame);
        let answer = match frame.kind {
            frame::SETTINGS if frame.flags & frame::ACK == 0 => Frame::raw(frame::SETTINGS, frame::ACK, 0, ""),
            frame::PING if frame.flags & frame::ACK == 0 => Frame::raw(frame::PING, frame::ACK, 0, frame.payload),
            _ => return true,
        };
        self.send(&[answer]).await;
        true
    }

    fn book(&mut self, frame: &Frame) {
        assert!(frame.payload.len() <= self.frame_size, "a frame of {} octets", frame.payload.len());
        let goes_on = self.block.as_ref().map(|(stream, ..)| *stream);
        let is_part = frame.kind == frame::CONTINUATION;
        assert_eq!(goes_on, is_part.then_some(frame.stream), "a block and its parts: {frame:?}");
        match frame.kind {
            frame::DATA => self.book_body(frame),
            frame::HEADERS => {
                assert_eq!(frame.flags & (frame::PADDED | frame::PRIORITY_FLAG), 0, "not written by the router");
                self.block = Some((frame.stream, frame.flags, BytesMut::from(&frame.payload[..])));
                self.book_head(frame.flags);
            }
            frame::CONTINUATION => {
                let (_, _, block) = self.block.as_mut().expect("just looked at");
                block.extend_from_slice(&frame.payload);
                self.book_head(frame.flags);
            }
            frame::RST_STREAM => {
                self.resets.push((frame.stream, frame.code()));
                self.streams.entry(frame.stream).or_default().reset = true;
            }
            frame::SETTINGS if frame.flags & frame::ACK != 0 => {
                self.acks += 1;
                if let Some(size) = self.sizes.pop_front().flatten() {
                    self.reader.allow(size as usize);
                }
            }
            frame::SETTINGS => self.settings.extend(frame.payload.chunks(6).map(|parameter| {
                let value = u32::from_be_bytes(parameter[2..].try_into().expect("four octets"));
                (u16::from_be_bytes([parameter[0], parameter[1]]), value)
            })),
            frame::PING if frame.flags & frame::ACK != 0 => self.pongs.push(frame.payload.clone()),
            frame::GOAWAY => {
                let last = u32::from_be_bytes(frame.payload[..4].try_into().expect("four octets"));
                self.away = Some((last, frame.code()));
            }
            frame::WINDOW_UPDATE => {
                let more = u32::from_be_bytes(frame.payload[..].try_into().expect("four octets"));
                assert!((1..1 << 31).contains(&more), "{frame:?}");
                *self.granted.entry(frame.stream).or_default() += u64::from(more);
            }
            frame::PING => {}
            other => panic!("a frame of type {other}: {frame:?}"),
        }
    }

    fn book_body(&mut self, frame: &Frame) {
        assert_eq!(frame.flags & frame::PADDED, 0, "not written by the router");
        let came = self.streams.entry(frame.stream).or_default();
        assert!(!came.heads.is_empty() && !came.ended && !came.reset, "DATA out of order: {came:?}");
        came.body.extend_from_slice(&frame.payload);
        came.ended = frame.flags & frame::END_STREAM != 0;
        self.largest = self.largest.max(frame.payload.len());
    }

    fn book_head(&mut self, flags: u8) {
        if flags & frame::END_HEADERS == 0 {
            return;
        }
        let (stream, flags, block) = self.block.take().expect("just put there");
        let fields = self.reader.read(&block).unwrap_or_else(|error| panic!("{error}: {block:?}"));
        let came = self.streams.entry(stream).or_default();
        assert!(!came.ended && !came.reset, "a head after the end: {came:?} {fields:?}");
        let upper = |name: &str| name.bytes().any(|letter| letter.is_ascii_uppercase());
        assert!(!fields.iter().any(|(name, _)| upper(name)), "{fields:?}");
        came.heads.push(fields);
        came.ended = flags & frame::END_STREAM != 0;
    }
}

/// These frames in one piece.
pub(super) fn octets(frames: &[Frame]) -> Vec<u8> {
    frames.iter().flat_map(Frame::to_bytes).collect()
}
