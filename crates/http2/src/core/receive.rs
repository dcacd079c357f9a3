//! hot path
//!
//! Frames in: which may come when, and what belongs to which stream.

mod bodies;
mod control;
mod heads;

use super::{CALM, Core, Role};
use crate::{
    error::Fault,
    frame::{
        ACK, CONTINUATION, DATA, DEFAULT_FRAME, GOAWAY, HEAD, HEADERS, Head, PING, PRIORITY, PUSH_PROMISE, RST_STREAM,
        SETTINGS, WINDOW_UPDATE,
    },
};

pub(super) use bodies::Payload;
pub(super) use heads::Block;

/// What a frame for a stream that is over is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    /// Nothing: the peer did not know yet.
    Expected,
    /// The peer's own end was before it.
    Unexpected,
}

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

    /// A frame for a stream that is not open: over, which may be nothing, or never begun, which must not be.
    fn of_no_stream(&mut self, id: u32) -> Result<Over, Fault> {
        let begun = match self.role {
            Role::Server => id <= self.highest,
            Role::Client => id < self.next,
        };
        if id.is_multiple_of(2) || !begun {
            return Err(Fault::protocol("a frame for a stream that was never opened"));
        }
        if self.role == Role::Server {
            self.work_for_nothing();
        }
        // It may have been on its way when we ended the stream. A client may have ended any number of them at once, and a
        // connection to an instance is shared by many: there it is no fault at all.
        let expected = self.role == Role::Client || self.past.contains(&id) || self.last.is_some_and(|last| id > last);
        Ok(if expected { Over::Expected } else { Over::Unexpected })
    }
}
