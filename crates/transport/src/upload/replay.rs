//! hot path
//!
//! The beginning of a request's body, kept for an instance that turns out to be the wrong one.

use std::{cell::Cell, rc::Rc};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;

/// What holding one frame costs besides its bytes, so that many tiny ones count as what they are.
const FRAME: usize = 256;

/// Below this a frame is copied. Buffers for reading have 8 KiB.
const SMALL: usize = 4096;

/// What the bodies of one core may hold together: a thousand of the default size at once. Above that requests go out as
/// ever, and can be tried again only if nothing of their body was sent.
const CORE: usize = 64 * 1024 * 1024;

/// How much the bodies of one core may still keep, in bytes. Clones are the same room.
#[derive(Debug, Clone)]
pub struct Room(Rc<Cell<usize>>);

impl Default for Room {
    fn default() -> Self {
        Self::of(CORE)
    }
}

impl Room {
    /// Room for so many bytes.
    #[must_use]
    pub fn of(bytes: usize) -> Self {
        Self(Rc::new(Cell::new(bytes)))
    }

    /// Bytes that are free.
    #[must_use]
    pub fn free(&self) -> usize {
        self.0.get()
    }

    pub(super) fn take(&self, bytes: usize) -> bool {
        let left = self.0.get().checked_sub(bytes);
        if let Some(left) = left {
            self.0.set(left);
        }
        left.is_some()
    }

    pub(super) fn give_back(&self, bytes: usize) {
        self.0.set(self.0.get() + bytes);
    }
}

#[derive(Debug)]
pub(super) struct Replay {
    frames: Vec<Bytes>,
    /// Rare, and large.
    trailers: Option<Box<HeaderMap>>,
    /// Taken of the room.
    size: usize,
    /// Next frame to give again.
    at: usize,
    /// Most that is taken; 0 once nothing shall be kept any more.
    keep: usize,
    room: Room,
}

impl Replay {
    pub(super) fn new(keep: usize, room: &Room) -> Self {
        Self { frames: Vec::new(), trailers: None, size: 0, at: 0, keep, room: room.clone() }
    }

    /// What all bodies of the core may keep.
    pub(super) fn room(&self) -> &Room {
        &self.room
    }

    /// Gives what it has from the first frame on.
    pub(super) fn rewind(&mut self) {
        self.at = 0;
    }

    /// Gives nothing again, and keeps nothing more.
    pub(super) fn stop(&mut self) {
        self.clear();
        self.keep = 0;
    }

    /// Keeps nothing more; what is still to be given again goes when that is done.
    pub(super) fn forget(&mut self) {
        self.keep = 0;
        if self.is_done() {
            self.clear();
        }
    }

    /// Keeps a new frame. False if it cannot: then the beginning is lost.
    pub(super) fn note(&mut self, frame: &Frame<Bytes>) -> bool {
        if let Some(data) = frame.data_ref() {
            let cost = data.len() + FRAME;
            if self.size + cost > self.keep || !self.room.take(cost) {
                self.stop();
                return false;
            }
            self.size += cost;
            // What is much smaller than the buffer it was read into must not keep that one.
            let kept = if data.len() < SMALL { Bytes::copy_from_slice(data) } else { data.clone() };
            self.frames.push(kept);
        } else if let Some(trailers) = frame.trailers_ref().filter(|_| self.keep > 0) {
            self.trailers = Some(Box::new(trailers.clone()));
        }
        self.at = self.len();
        true
    }

    pub(super) fn next(&mut self) -> Option<Frame<Bytes>> {
        if let Some(data) = self.frames.get(self.at).cloned() {
            self.at += 1;
            if self.keep == 0 && self.is_done() {
                self.clear();
            }
            return Some(Frame::data(data));
        }
        if self.at == self.frames.len() && self.trailers.is_some() {
            self.at += 1;
            return self.trailers.as_deref().cloned().map(Frame::trailers);
        }
        None
    }

    pub(super) fn is_done(&self) -> bool {
        self.at == self.len()
    }

    fn len(&self) -> usize {
        self.frames.len() + usize::from(self.trailers.is_some())
    }

    fn clear(&mut self) {
        self.frames = Vec::new();
        self.trailers = None;
        self.at = 0;
        self.room.give_back(std::mem::take(&mut self.size));
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        self.room.give_back(self.size);
    }
}
