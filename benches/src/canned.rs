//! An instance that answers every request with the same bytes. It reads HTTP/2 frames but decodes no header, so that it
//! costs about a microsecond a request and is not what a comparison measures.

use std::{
    collections::{BTreeMap, HashMap},
    io,
};

use bytes::{Buf, BufMut, BytesMut};
use testkit::frame::{ACK, DATA, END_HEADERS, END_STREAM, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// What an HTTP/2 client says first.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Length, kind, flags, stream.
pub const FRAME_HEAD: usize = 9;

const JSON: &str = "application/json";
/// Requests at once on one connection: what every proxy under measurement allows its own clients.
const STREAMS: u32 = 256;
/// Of each request's body, for clients that send one.
const WINDOW: u32 = 1 << 20;
/// What RFC 9113 gives a connection and each stream to begin with.
const FIRST_WINDOW: i64 = 65_535;
const MAX_FRAME: usize = 16_384;
/// Written at once; more would only wait in the socket.
const WRITTEN: usize = 192 * 1024;
const READ: usize = 64 * 1024;

/// The answer, for both protocols.
#[derive(Debug)]
pub struct Canned {
    body: Vec<u8>,
    h1: Vec<u8>,
    fields: Vec<u8>,
}

impl Canned {
    /// 200 with a JSON text of this many bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let mut body = br#"{"data":""#.to_vec();
        body.extend((0..bytes.saturating_sub(body.len() + 2)).map(|at| b'a' + (at % 26) as u8));
        body.extend_from_slice(br#""}"#);
        let length = body.len().to_string();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {JSON}\r\ncontent-length: {length}\r\n\r\n");
        let h1 = [head.as_bytes(), &body].concat();
        // HPACK: `:status: 200`, then two names of the static table (31 and 28) with their values, not indexed.
        let mut fields = vec![0x88];
        for (name, value) in [(31, JSON), (28, length.as_str())] {
            fields.extend_from_slice(&[0x0f, name - 15, value.len() as u8]);
            fields.extend_from_slice(value.as_bytes());
        }
        Self { body, h1, fields }
    }
}

/// Begins a frame; the payload is the caller's to add.
pub fn begin_frame(out: &mut Vec<u8>, length: usize, kind: u8, flags: u8, stream: u32) {
    out.put_uint(length as u64, 3);
    out.put_u8(kind);
    out.put_u8(flags);
    out.put_u32(stream);
}

/// The length, kind, flags and stream of the frame that these bytes begin with, once all of it is there.
#[must_use]
pub fn whole_frame(bytes: &[u8]) -> Option<(usize, u8, u8, u32)> {
    let mut head = bytes.get(..FRAME_HEAD)?;
    let (length, kind, flags) = (head.get_uint(3) as usize, head.get_u8(), head.get_u8());
    (bytes.len() >= FRAME_HEAD + length).then(|| (length, kind, flags, head.get_u32() & 0x7fff_ffff))
}

/// Answers on this connection until the client ends it.
///
/// # Errors
/// If the connection breaks.
pub async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, canned: &Canned) -> io::Result<()> {
    let mut input = BytesMut::with_capacity(READ);
    while input.len() < PREFACE.len() {
        if stream.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
        if !input.starts_with(&PREFACE[..input.len().min(PREFACE.len())]) {
            return serve_h1(stream, canned, input).await;
        }
    }
    input.advance(PREFACE.len());
    let mut talk = Talk::new(canned);
    loop {
        while let Some((length, kind, flags, id)) = whole_frame(&input) {
            talk.hear(kind, flags, id, &input[FRAME_HEAD..FRAME_HEAD + length]);
            input.advance(FRAME_HEAD + length);
        }
        let all_said = talk.say();
        if !talk.out.is_empty() {
            stream.write_all(&talk.out).await?;
            stream.flush().await?;
            talk.out.clear();
        }
        input.reserve(READ);
        if all_said && stream.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
    }
}

/// Requests without bodies, also several at once.
async fn serve_h1(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    canned: &Canned,
    mut input: BytesMut,
) -> io::Result<()> {
    let mut out = Vec::new();
    loop {
        while let Some(end) = input.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            input.advance(end + 4);
            out.extend_from_slice(&canned.h1);
        }
        stream.write_all(&out).await?;
        stream.flush().await?;
        out.clear();
        input.reserve(READ);
        if stream.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
    }
}

/// One HTTP/2 connection.
struct Talk<'a> {
    canned: &'a Canned,
    out: Vec<u8>,
    /// What may be sent on the connection, and on a stream to begin with.
    window: i64,
    first_window: i64,
    max_frame: usize,
    /// Requests whose body is under way, and what their stream's window was raised by already.
    asking: HashMap<u32, i64>,
    answering: BTreeMap<u32, Answer>,
}

/// An answer under way: bytes of the body sent, and the stream's window.
struct Answer {
    sent: usize,
    window: i64,
}

impl<'a> Talk<'a> {
    fn new(canned: &'a Canned) -> Self {
        let mut out = Vec::with_capacity(WRITTEN + READ);
        begin_frame(&mut out, 12, SETTINGS, 0, 0);
        for (parameter, value) in [(3, STREAMS), (4, WINDOW)] {
            out.put_u16(parameter);
            out.put_u32(value);
        }
        let (asking, answering) = (HashMap::new(), BTreeMap::new());
        let max_frame = MAX_FRAME;
        Self { canned, out, window: FIRST_WINDOW, first_window: FIRST_WINDOW, max_frame, asking, answering }
    }

    fn hear(&mut self, kind: u8, flags: u8, id: u32, mut payload: &[u8]) {
        match kind {
            HEADERS if flags & END_STREAM == 0 => {
                self.asking.insert(id, 0);
            }
            HEADERS => self.answer(id),
            DATA => {
                if !payload.is_empty() {
                    for id in [0, id] {
                        begin_frame(&mut self.out, 4, WINDOW_UPDATE, 0, id);
                        self.out.put_u32(payload.len() as u32);
                    }
                }
                if flags & END_STREAM != 0 {
                    self.answer(id);
                }
            }
            SETTINGS if flags & ACK == 0 => {
                while payload.len() >= 6 {
                    let (parameter, value) = (payload.get_u16(), payload.get_u32());
                    self.set(parameter, value);
                }
                begin_frame(&mut self.out, 0, SETTINGS, ACK, 0);
            }
            PING if flags & ACK == 0 => {
                begin_frame(&mut self.out, payload.len(), PING, ACK, 0);
                self.out.extend_from_slice(payload);
            }
            WINDOW_UPDATE if payload.len() == 4 => self.raise(id, i64::from(payload.get_u32() & 0x7fff_ffff)),
            RST_STREAM => {
                self.asking.remove(&id);
                self.answering.remove(&id);
            }
            _ => {}
        }
    }

    fn set(&mut self, parameter: u16, value: u32) {
        match parameter {
            4 => {
                let more = i64::from(value) - self.first_window;
                self.answering.values_mut().for_each(|answer| answer.window += more);
                self.first_window = i64::from(value);
            }
            5 => self.max_frame = (value as usize).min(MAX_FRAME),
            _ => {}
        }
    }

    fn raise(&mut self, id: u32, by: i64) {
        if id == 0 {
            self.window += by;
        } else if let Some(answer) = self.answering.get_mut(&id) {
            answer.window += by;
        } else if let Some(raised) = self.asking.get_mut(&id) {
            *raised += by;
        }
    }

    fn answer(&mut self, id: u32) {
        let window = self.first_window + self.asking.remove(&id).unwrap_or(0);
        begin_frame(&mut self.out, self.canned.fields.len(), HEADERS, END_HEADERS, id);
        self.out.extend_from_slice(&self.canned.fields);
        let mut answer = Answer { sent: 0, window };
        // Most fit one frame, and need no place among the others.
        if !self.answering.is_empty() || !self.chunk(id, &mut answer) {
            self.answering.insert(id, answer);
        }
    }

    /// Writes the next frame of a body, if windows allow; whether that was its last.
    fn chunk(&mut self, id: u32, answer: &mut Answer) -> bool {
        let left = self.canned.body.len() - answer.sent;
        let length = left.min(self.max_frame).min(self.window.min(answer.window).max(0) as usize);
        if length == 0 {
            return false;
        }
        let last = length == left;
        begin_frame(&mut self.out, length, DATA, if last { END_STREAM } else { 0 }, id);
        self.out.extend_from_slice(&self.canned.body[answer.sent..answer.sent + length]);
        answer.sent += length;
        answer.window -= length as i64;
        self.window -= length as i64;
        last
    }

    /// Writes a frame of each answer in turn, until all are said, windows are closed (true), or it is enough for one
    /// write (false).
    fn say(&mut self) -> bool {
        let mut answering = std::mem::take(&mut self.answering);
        let mut enough = false;
        loop {
            let before = self.out.len();
            answering.retain(|id, answer| {
                enough = self.out.len() >= WRITTEN;
                enough || !self.chunk(*id, answer)
            });
            if enough || self.out.len() == before {
                self.answering = answering;
                return !enough;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The DATA bytes and ended streams among these frames.
    fn bodies(mut bytes: &[u8]) -> (usize, usize) {
        let (mut sum, mut ended) = (0, 0);
        while let Some((length, kind, flags, _)) = whole_frame(bytes) {
            if kind == DATA {
                sum += length;
                ended += usize::from(flags & END_STREAM != 0);
            }
            bytes = &bytes[FRAME_HEAD + length..];
        }
        assert!(bytes.is_empty(), "only whole frames");
        (sum, ended)
    }

    #[test]
    fn small_answers_are_said_at_once_and_large_ones_within_the_windows() {
        let small = Canned::new(1024);
        let mut talk = Talk::new(&small);
        talk.hear(HEADERS, END_STREAM | END_HEADERS, 1, &[]);
        assert!(talk.say());
        assert_eq!(bodies(&talk.out), (1024, 1));

        let large = Canned::new(100_000);
        let mut talk = Talk::new(&large);
        talk.hear(HEADERS, END_STREAM | END_HEADERS, 1, &[]);
        assert!(talk.say());
        assert_eq!(bodies(&talk.out), (65_535, 0));
        talk.hear(WINDOW_UPDATE, 0, 0, &100_000_u32.to_be_bytes());
        assert!(talk.say());
        assert_eq!(bodies(&talk.out), (65_535, 0));
        talk.hear(WINDOW_UPDATE, 0, 1, &100_000_u32.to_be_bytes());
        assert!(talk.say());
        assert_eq!(bodies(&talk.out), (100_000, 1));
    }

    #[test]
    fn a_body_is_as_long_as_asked_for() {
        for bytes in [11, 1024, 1 << 20] {
            assert_eq!(Canned::new(bytes).body.len(), bytes);
        }
    }
}
