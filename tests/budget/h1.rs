//! HTTP/1.1 scripts: one request after another.

use crate::{
    ledger::Rounds,
    peer::{Said, Script},
};

const REQUEST: &[u8] =
    b"GET /v1/items/42 HTTP/1.1\r\nhost: 127.0.0.1:8080\r\nuser-agent: h2load nghttp2/1.64.0\r\n\r\n";
const RESPONSE_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1024\r\n\r\n";
const BODY: usize = 1024;

/// Finds the ends of messages in pieces of a byte stream.
#[derive(Debug, Default)]
struct Messages {
    /// Bytes of the head's end that came last: CR LF CR LF.
    matched: usize,
    /// Bytes of the body to come.
    body: usize,
}

impl Messages {
    /// Whether a message whose body has this size ended in these bytes. They hold nothing of the next one: it comes
    /// after an answer.
    fn ended(&mut self, bytes: &[u8], body: usize) -> bool {
        const END: &[u8] = b"\r\n\r\n";
        for (at, &byte) in bytes.iter().enumerate() {
            if self.body > 0 {
                self.body = self.body.checked_sub(bytes.len() - at).expect("one message at a time");
                return self.body == 0;
            }
            self.matched = if byte == END[self.matched] { self.matched + 1 } else { usize::from(byte == END[0]) };
            if self.matched == END.len() {
                (self.matched, self.body) = (0, body);
                if body == 0 {
                    return true;
                }
            }
        }
        false
    }
}

/// A client that waits for each answer.
#[derive(Debug)]
pub(crate) struct Client {
    rounds: Rounds,
    messages: Messages,
    said: Said,
    over: bool,
}

impl Client {
    pub(crate) fn new(rounds: Rounds) -> Self {
        let mut said = Said::new();
        said.say(REQUEST);
        Self { rounds, messages: Messages::default(), said, over: false }
    }
}

impl Script for Client {
    fn hear(&mut self, bytes: &[u8]) {
        assert!(!bytes.starts_with(b"HTTP/1.1 ") || bytes.starts_with(b"HTTP/1.1 200 "), "the answer is no 200");
        if self.messages.ended(bytes, BODY) {
            if self.rounds.next() {
                self.said.say(REQUEST);
            } else {
                self.over = true;
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
    messages: Messages,
    said: Said,
}

impl Instance {
    pub(crate) fn new() -> Self {
        Self { messages: Messages::default(), said: Said::new() }
    }
}

impl Script for Instance {
    fn hear(&mut self, bytes: &[u8]) {
        if self.messages.ended(bytes, 0) {
            self.said.say(RESPONSE_HEAD);
            self.said.say(&[b'x'; BODY]);
        }
    }

    fn said(&mut self) -> &mut Said {
        &mut self.said
    }
}
