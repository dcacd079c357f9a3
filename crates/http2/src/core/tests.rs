//! Cores without sockets: what goes out of one is looked at, or goes into another.

mod flow;
mod fuzz;
mod limits;
mod pair;
mod queue;
mod world;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use super::{Core, Role};
use crate::{
    Buffers, Settings,
    frame::{END_HEADERS, END_STREAM, HEAD, HEADERS, Head, PREFACE, SETTINGS, WINDOW_UPDATE},
    stream::Place,
};

/// A waker that counts.
#[derive(Debug, Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Count {
    fn new() -> (Arc<Self>, Waker) {
        let count = Arc::new(Self::default());
        (Arc::clone(&count), Waker::from(count))
    }

    /// How often since this was last asked.
    fn take(&self) -> usize {
        self.0.swap(0, Ordering::Relaxed)
    }
}

fn settings(window: u32) -> Settings {
    Settings { window, widest: window, head: 16 * 1024, streams: 100 }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    [&Head { length: payload.len(), kind, flags, stream }.bytes()[..], payload].concat()
}

fn said(settings: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> =
        settings.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
    frame(SETTINGS, 0, 0, &payload)
}

/// A core after the greetings; the peer's SETTINGS say this.
fn begun(role: Role, ours: Settings, peer: &[(u16, u32)]) -> Core {
    let mut core = Core::new(role, ours, Buffers::default());
    if role == Role::Server {
        feed(&mut core, PREFACE);
    }
    feed(&mut core, &said(peer));
    assert_eq!(core.error, None);
    output(&mut core);
    core
}

fn feed(core: &mut Core, bytes: &[u8]) {
    assert!(core.receive(bytes) == bytes.len() || core.error.is_some(), "frames come whole here");
}

/// All that waits to be written.
fn output(core: &mut Core) -> Vec<u8> {
    let mut bytes = Vec::new();
    let written = core.out.poll_write(&mut bytes, &mut Context::from_waker(Waker::noop()));
    assert!(matches!(written, Poll::Ready(Ok(()))));
    core.has_written();
    bytes
}

fn frames(mut bytes: &[u8]) -> Vec<(Head, Vec<u8>)> {
    let mut frames = Vec::new();
    while let Some(head) = bytes.first_chunk::<HEAD>().map(Head::read) {
        let (payload, rest) = bytes[HEAD..].split_at(head.length);
        frames.push((head, payload.to_vec()));
        bytes = rest;
    }
    assert!(bytes.is_empty(), "only whole frames go out");
    frames
}

/// The frames that wait to be written.
fn sent(core: &mut Core) -> Vec<(Head, Vec<u8>)> {
    frames(&output(core))
}

/// A request for `/`.
fn get(stream: u32, end: bool) -> Vec<u8> {
    let end = if end { END_STREAM } else { 0 };
    frame(HEADERS, END_HEADERS | end, stream, b"\x82\x87\x84\x01\x01a")
}

fn update(stream: u32, by: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes())
}

/// A request whose body is still to come, and which was handed over.
fn asked(core: &mut Core, stream: u32) -> Place {
    feed(core, &get(stream, false));
    let (_, place) = core.accept().expect("a request");
    place
}

/// Nothing is under way and nothing is kept.
fn assert_empty(core: &Core) {
    assert_eq!((core.streams.open(), core.streams.all()), (0, 0), "open and held streams");
    assert!(core.waiting.is_empty(), "nobody waits for a turn: {:?}", core.waiting);
    assert!(core.out.is_empty() && core.accepted.is_empty() && core.block.is_none() && core.payload.is_none());
}
