//! hot path
//!
//! One connection without its bytes: frames go in, frames come out, and what they mean for its streams is decided here.
//! Nothing waits and nothing is read or written, so all of it can be tested as a function.

mod receive;
mod send;
mod streams;

#[cfg(test)]
mod tests;

pub(crate) use streams::Part;

use std::{
    collections::VecDeque,
    task::{Context, Waker},
};

use http::request;

use crate::{
    Buffers, Error, Reason, Settings,
    error::Fault,
    frame::{ACK, DEFAULT_WINDOW, GOAWAY, Head, LARGEST_WINDOW, PING, PREFACE, SETTINGS, WINDOW_UPDATE},
    hpack::{Decoder, Encoder},
    output::Output,
    settings::Peer,
    stream::{Place, Streams, note},
};

/// Which end of the connection we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Client,
    Server,
}

/// Streams a client opens before the server has said how many it takes: the smallest number RFC 9113 recommends.
const FIRST_STREAMS: usize = 100;
/// Above this much unsent output a stream gets no room.
const FULL: usize = 64 * 1024;
/// Above this much unsent output nothing is read either: answers to PING, SETTINGS and the like must not pile up. Large
/// payloads do not count: they have their own limit, and two ends that both wait for the other to read wait for ever.
const STUFFED: usize = 256 * 1024;
/// While the connections of a thread hold this much payload that nobody has taken, no window becomes wider.
const HELD: usize = 64 * 1024 * 1024;
/// Turns of the task that a stream which was woken may let pass before it loses its place to those behind it.
const PATIENCE: u64 = 2;
/// Streams we reset that are remembered: several times what may be open at once.
const PAST: usize = 1024;
/// What a stream may send in one turn while others wait.
const TURN: usize = 16 * 1024;
/// Streams we reset on one connection to a server until we open no more on it. Servers count resets and end connections
/// that have too many (CVE-2023-44487), with all that is under way there. Of the common ones Netty bears the fewest, 200
/// within 30 seconds; what is open when we stop may be reset too.
const RESETS: u32 = 100;
/// Frames that do nothing, beyond those that do something, until a peer is sent away.
const CALM: u32 = 10_000;

/// One connection.
#[derive(Debug)]
pub(crate) struct Core {
    role: Role,
    ours: Settings,
    peer: Peer,
    pub(crate) streams: Streams,
    decoder: Decoder,
    encoder: Encoder,
    pub(crate) out: Output,
    buffers: Buffers,
    /// What we may still send, over all streams.
    window: i64,
    /// What came since the peer's window over all streams was last filled.
    received: u32,
    /// The part of the preface that is still to come.
    preface: &'static [u8],
    /// The peer's first SETTINGS came.
    pub(crate) is_settled: bool,
    block: Option<receive::Block>,
    payload: Option<receive::Payload>,
    /// The highest stream the peer opened.
    highest: u32,
    /// The next stream we open.
    next: u32,
    accepted: VecDeque<(request::Parts, Place)>,
    /// Streams that wait for the connection's window or for room in the output, each once; each gets its turn.
    waiting: VecDeque<Place>,
    /// Turns of the task.
    turn: u64,
    /// The last streams we reset: what was on its way to them is no fault.
    past: VecDeque<u32>,
    /// Frames that do nothing, still tolerated.
    calm: u32,
    /// We said GOAWAY with this last stream; later ones are not looked at.
    last: Option<u32>,
    /// A graceful end waits for the answer to this PING, by when all requests that crossed it have come.
    is_parting: bool,
    /// No stream can be opened any more: the peer said GOAWAY, or we have reset as many as it may bear.
    pub(crate) gone: Option<Reason>,
    /// Streams we reset, as a client.
    resets: u32,
    pub(crate) error: Option<Error>,
    pub(crate) is_ponged: bool,
    /// Handles that can open streams; without any, a client's connection ends after its last stream.
    pub(crate) senders: usize,
    task: Option<Waker>,
}

/// The payload of PINGs that ask whether the peer lives.
const ALIVE: [u8; 8] = *b"alive???";
/// The payload of the PING that marks a graceful end.
const PART: [u8; 8] = *b"parting.";

impl Core {
    pub(crate) fn new(role: Role, ours: Settings, buffers: Buffers) -> Self {
        let mut core = Self {
            role,
            ours,
            peer: Peer::new(FIRST_STREAMS),
            streams: Streams::default(),
            // Some more than the largest head: what is too large is decoded, and answered.
            decoder: Decoder::new(ours.head.saturating_mul(4)),
            encoder: Encoder::new(),
            out: Output::new(buffers.clone()),
            buffers,
            window: DEFAULT_WINDOW,
            received: 0,
            preface: if role == Role::Server { PREFACE } else { b"" },
            is_settled: false,
            block: None,
            payload: None,
            highest: 0,
            next: 1,
            accepted: VecDeque::new(),
            waiting: VecDeque::new(),
            turn: 0,
            past: VecDeque::new(),
            calm: CALM,
            last: None,
            is_parting: false,
            gone: None,
            resets: 0,
            error: None,
            is_ponged: false,
            senders: 0,
            task: None,
        };
        core.greet();
        core
    }

    /// Our part of the preface. The window over all streams is no limit of its own: with one, a few receivers that do
    /// not read would stall everybody on a shared connection. Memory is bounded by the windows of the streams.
    fn greet(&mut self) {
        if self.role == Role::Client {
            self.out.buffer().extend_from_slice(PREFACE);
        }
        let payload = self.ours.payload(self.role == Role::Client);
        self.control(SETTINGS, 0, 0, &payload);
        self.control(WINDOW_UPDATE, 0, 0, &((LARGEST_WINDOW - DEFAULT_WINDOW) as u32).to_be_bytes());
    }

    fn control(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.out.frame(Head { length: payload.len(), kind, flags, stream }, payload);
        self.wake_task();
    }

    // --- the task

    /// The task to wake when there is something to write; noted at the end of each of its turns.
    pub(crate) fn note_task(&mut self, cx: &Context<'_>) {
        self.turn += 1;
        note(&mut self.task, cx);
    }

    pub(crate) fn wake_task(&mut self) {
        // Taken, so that it is woken once however much there is to write.
        if let Some(task) = self.task.take() {
            task.wake();
        }
    }

    /// The stream whose head has begun and not ended.
    pub(crate) fn head_of(&self) -> Option<u32> {
        self.block.as_ref().map(receive::Block::stream)
    }

    /// There is too much to write to read on.
    pub(crate) fn is_stuffed(&self) -> bool {
        self.out.small() > STUFFED
    }

    /// Output was written: streams that waited for room may have it.
    pub(crate) fn has_written(&mut self) {
        self.next_turn();
    }

    pub(crate) fn accept(&mut self) -> Option<(request::Parts, Place)> {
        self.accepted.pop_front()
    }

    /// Streams the peer takes at once.
    pub(crate) fn peer_streams(&self) -> usize {
        self.peer.streams
    }

    /// Whether everything is over that ever will be, so that the connection can end.
    pub(crate) fn is_over(&self) -> bool {
        let no_more = match self.role {
            Role::Server => self.last.is_some() && !self.is_parting,
            Role::Client => self.senders == 0 || self.gone.is_some(),
        };
        no_more && self.streams.open() == 0
    }

    // --- ends

    /// Asks whether the peer lives; its answer sets `is_ponged`.
    pub(crate) fn ping(&mut self) {
        self.is_ponged = false;
        self.control(PING, 0, 0, &ALIVE);
    }

    /// Takes no new streams and lets the open ones end. Requests that cross our word on the way are still served.
    pub(crate) fn part(&mut self) {
        if self.last.is_none() && !self.is_parting && self.error.is_none() {
            self.is_parting = true;
            self.go_away(LARGEST_WINDOW as u32, Reason::NO_ERROR);
            self.control(PING, 0, 0, &PART);
        }
    }

    /// The peer has heard it, or had its time.
    pub(crate) fn parted(&mut self) {
        if std::mem::take(&mut self.is_parting) {
            self.last = Some(self.highest);
            self.go_away(self.highest, Reason::NO_ERROR);
        }
    }

    fn go_away(&mut self, last: u32, reason: Reason) {
        let payload = [last.to_be_bytes(), reason.0.to_be_bytes()].concat();
        self.control(GOAWAY, 0, 0, &payload);
    }

    /// Ends the connection now, with this word to the peer.
    pub(crate) fn end(&mut self, reason: Reason, what: &'static str) {
        if self.error.is_none() {
            self.last = Some(self.highest);
            self.go_away(self.highest, reason);
            self.fail(Error::Protocol { reason, what });
        }
    }

    /// The connection is over, and with it every stream.
    pub(crate) fn fail(&mut self, error: Error) {
        self.error.get_or_insert(error);
        self.accepted.clear();
        self.waiting.clear();
        let places: Vec<Place> = self.streams.each().map(|(place, _)| place).collect();
        for place in places {
            if let Some(stream) = self.streams.get(place) {
                stream.fail(error);
            }
            self.streams.close(place);
        }
        self.wake_task();
    }

    fn fault(&mut self, fault: Fault) {
        match fault {
            Fault::Connection(reason, what) => self.end(reason, what),
            Fault::Stream(id, reason, what) => {
                self.work_for_nothing();
                self.reset_id(id, reason, Error::Stream { reason, what });
            }
        }
    }

    /// A frame that does nothing came. All floods are made of them.
    fn work_for_nothing(&mut self) {
        match self.calm.checked_sub(1) {
            Some(left) => self.calm = left,
            None => self.end(Reason::ENHANCE_YOUR_CALM, "too many frames that do nothing"),
        }
    }

    /// Something useful happened, which lets a few useless frames pass.
    fn progress(&mut self) {
        self.calm = (self.calm + 8).min(CALM);
    }

    fn settings_ack(&mut self) {
        self.control(SETTINGS, ACK, 0, &[]);
    }
}
