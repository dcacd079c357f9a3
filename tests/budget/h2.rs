//! HTTP/2 scripts: frames encoded beforehand, of which only the stream's number changes. Fields are as h2load and
//! common servers send them: those that repeat come from the dynamic table after the first time.

use std::mem;

use crate::{
    ledger::Rounds,
    peer::{Said, Script},
};

/// Requests that arrive in one read.
pub(crate) const STREAMS: u32 = 32;
/// Bytes of a request's body, in the trace that has them, and of every response's.
pub(crate) const BODY: usize = 1024;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// INITIAL_WINDOW_SIZE 2^31-1 and, for the connection, as much again: no window ever is in the way.
const SETTINGS: &[u8] = b"\0\0\x06\x04\0\0\0\0\0\0\x04\x7f\xff\xff\xff\0\0\x04\x08\0\0\0\0\0\x7f\xfe\0\0";
const SETTINGS_ACK: &[u8] = b"\0\0\0\x04\x01\0\0\0\0";

/// Frame types and flags (RFC 9113, section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS_FRAME: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// `:scheme: http`, `:path: /v1/items/42` (Huffman, not indexed).
const SCHEME_AND_PATH: &[u8] = b"\x86\x04\x89\x63\xb8\x58\x32\x4b\x4a\x18\x68\x5f";

/// One frame that came, as far as scripts look at it.
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    /// The first bytes of its payload.
    first: [u8; 8],
}

/// Finds frames in pieces of a byte stream.
#[derive(Debug)]
struct Frames {
    head: [u8; 9],
    /// Bytes of `head` that came.
    have: usize,
    first: [u8; 8],
    length: usize,
    /// Bytes of the payload that came.
    came: usize,
    /// Bytes to pass over before the first frame.
    skip: usize,
}

impl Frames {
    fn after(skip: usize) -> Self {
        Self { head: [0; 9], have: 0, first: [0; 8], length: 0, came: 0, skip }
    }

    /// The next frame that ends in these bytes, which are taken from the front.
    fn next(&mut self, bytes: &mut &[u8]) -> Option<Frame> {
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        *bytes = &bytes[skipped..];
        if self.have < self.head.len() {
            let (head, rest) = bytes.split_at(bytes.len().min(self.head.len() - self.have));
            self.head[self.have..self.have + head.len()].copy_from_slice(head);
            self.have += head.len();
            *bytes = rest;
            if self.have < self.head.len() {
                return None;
            }
            self.length = usize::from(self.head[0]) << 16 | usize::from(self.head[1]) << 8 | usize::from(self.head[2]);
            (self.came, self.first) = (0, [0; 8]);
        }
        let (payload, rest) = bytes.split_at(bytes.len().min(self.length - self.came));
        if let Some(room) = self.first.get_mut(self.came..) {
            let size = room.len().min(payload.len());
            room[..size].copy_from_slice(&payload[..size]);
        }
        self.came += payload.len();
        *bytes = rest;
        if self.came < self.length {
            return None;
        }
        self.have = 0;
        let [_, _, _, kind, flags, stream @ ..] = self.head;
        Some(Frame { kind, flags, stream: u32::from_be_bytes(stream), first: self.first })
    }
}

/// What both ends do with frames of the connection. False if the frame is one of a stream.
fn is_answered(frame: &Frame, said: &mut Said) -> bool {
    match frame.kind {
        SETTINGS_FRAME if frame.flags & ACK == 0 => drop(said.say(SETTINGS_ACK)),
        PING if frame.flags & ACK == 0 => {
            said.say(b"\0\0\x08\x06\x01\0\0\0\0");
            said.say(&frame.first);
        }
        // The end of the trace is the end of its connections, without an error.
        GOAWAY if frame.first[4..] == [0; 4] => {}
        RST_STREAM | GOAWAY => panic!("the router breaks a stream or the connection off: {:?}", frame.first),
        HEADERS | DATA => return false,
        _ => {}
    }
    true
}

/// A frame, but for the number of its stream.
fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let [.., a, b, c] = payload.len().to_be_bytes();
    [&[a, b, c, kind, flags, 0, 0, 0, 0], payload].concat()
}

fn set_stream(frame: &mut [u8], stream: u32) {
    frame[5..9].copy_from_slice(&stream.to_be_bytes());
}

/// A name of the static table with this value, taken into the dynamic table.
fn indexed(name: u8, value: &str) -> Vec<u8> {
    let length = u8::try_from(value.len()).expect("a short value");
    assert!(length < 127, "a value of one length byte");
    [&[0x40 | name, length], value.as_bytes()].concat()
}

/// A message of one stream: its frames, but for the number of the stream.
#[derive(Debug)]
struct Message {
    /// The first on the connection, which fills the dynamic table.
    first: Vec<u8>,
    later: Vec<u8>,
    body: Vec<u8>,
    any: bool,
}

impl Message {
    fn request(body: bool) -> Self {
        let method: &[u8] = if body { b"\x83" } else { b"\x82" };
        let fields: &[&[u8]] = &[&indexed(1, "127.0.0.1:8080"), &indexed(58, "h2load nghttp2/1.64.0")];
        // What was taken in last has number 62.
        Self::new(&[method, SCHEME_AND_PATH].concat(), fields, b"\xbf\xbe", body)
    }

    fn response() -> Self {
        // `:status: 200`, content-type, content-length.
        let fields: &[&[u8]] = &[&indexed(31, "application/json"), &indexed(28, "1024")];
        Self::new(b"\x88", fields, b"\xbf\xbe", true)
    }

    fn new(begin: &[u8], first: &[&[u8]], later: &[u8], body: bool) -> Self {
        let flags = END_HEADERS | if body { 0 } else { END_STREAM };
        let head = |rest: &[u8]| frame(HEADERS, flags, &[begin, rest].concat());
        let body = if body { frame(DATA, END_STREAM, &[b'x'; BODY]) } else { Vec::new() };
        Self { first: head(&first.concat()), later: head(later), body, any: false }
    }

    fn say(&mut self, stream: u32, said: &mut Said) {
        let head = if mem::replace(&mut self.any, true) { &self.later } else { &self.first };
        set_stream(said.say(head), stream);
        if !self.body.is_empty() {
            set_stream(said.say(&self.body), stream);
        }
    }
}

/// A client that has 32 requests at a time, all of a round in one piece.
#[derive(Debug)]
pub(crate) struct Client {
    request: Message,
    stream: u32,
    answered: u32,
    begun: bool,
    over: bool,
    rounds: Rounds,
    frames: Frames,
    said: Said,
}

impl Client {
    /// `body`: POST instead of GET.
    pub(crate) fn new(body: bool, rounds: Rounds) -> Self {
        let mut said = Said::new();
        said.say(PREFACE);
        said.say(SETTINGS);
        let frames = Frames::after(0);
        let request = Message::request(body);
        Self { request, stream: 1, answered: 0, begun: false, over: false, rounds, frames, said }
    }

    fn round(&mut self) {
        for _ in 0..STREAMS {
            self.request.say(self.stream, &mut self.said);
            self.stream += 2;
        }
    }
}

impl Script for Client {
    fn hear(&mut self, mut bytes: &[u8]) {
        while let Some(frame) = self.frames.next(&mut bytes) {
            if is_answered(&frame, &mut self.said) {
                // The first round begins when the router has spoken.
                if !mem::replace(&mut self.begun, true) {
                    self.round();
                }
                continue;
            }
            assert!(frame.kind != HEADERS || frame.first[0] == 0x88, "the answer is no 200: {:?}", frame.first);
            if frame.flags & END_STREAM != 0 {
                self.answered += 1;
            }
            if self.answered == STREAMS {
                self.answered = 0;
                if self.rounds.next() {
                    self.round();
                } else {
                    self.over = true;
                }
            }
        }
    }

    fn said(&mut self) -> &mut Said {
        &mut self.said
    }

    fn is_over(&self) -> bool {
        self.over
    }
}

/// An instance that answers each request when it is complete.
#[derive(Debug)]
pub(crate) struct Instance {
    response: Message,
    frames: Frames,
    said: Said,
}

impl Instance {
    pub(crate) fn new() -> Self {
        let mut said = Said::new();
        said.say(SETTINGS);
        Self { response: Message::response(), frames: Frames::after(PREFACE.len()), said }
    }
}

impl Script for Instance {
    fn hear(&mut self, mut bytes: &[u8]) {
        while let Some(frame) = self.frames.next(&mut bytes) {
            if !is_answered(&frame, &mut self.said) && frame.flags & END_STREAM != 0 {
                self.response.say(frame.stream, &mut self.said);
            }
        }
    }

    fn said(&mut self) -> &mut Said {
        &mut self.said
    }
}
