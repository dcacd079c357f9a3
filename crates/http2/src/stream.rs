//! hot path
//!
//! One stream: how far each direction is, and who waits for it.

use std::{
    collections::{HashMap, VecDeque},
    task::{Context, Waker},
};

use foldhash::fast::RandomState;
use http::{HeaderMap, response};

use crate::{Buffers, chunks::Chunks, error::Error};

/// One stream while it is open, or while somebody holds a half of it.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) id: u32,
    /// Halves that are held.
    pub(crate) held: u8,
    /// It counts against the limit of open streams, and is found by its id.
    pub(crate) is_open: bool,
    pub(crate) recv: Recv,
    pub(crate) send: Send,
}

/// What comes from the peer.
#[derive(Debug)]
pub(crate) struct Recv {
    pub(crate) state: Way,
    /// The head of the response, until it is taken.
    pub(crate) head: Option<Box<response::Parts>>,
    /// A head has come: what follows are trailers.
    pub(crate) has_head: bool,
    /// Interim responses, until they are taken.
    pub(crate) interim: VecDeque<response::Parts>,
    /// Payload not yet taken.
    pub(crate) buffer: Chunks,
    pub(crate) trailers: Option<Box<HeaderMap>>,
    /// What the peer may still send.
    pub(crate) window: i64,
    /// How much the peer may send ahead in all.
    pub(crate) width: u32,
    /// What was taken, and is not yet given back to the peer's window.
    pub(crate) taken: u32,
    /// What is left of the length that the head promised.
    pub(crate) promised: Option<u64>,
    /// The request was HEAD: whatever length the response promises, it has no body.
    pub(crate) to_head: bool,
    /// Nobody wants it: what comes is dropped.
    pub(crate) is_unwanted: bool,
    pub(crate) waker: Option<Waker>,
}

/// What goes to the peer.
#[derive(Debug)]
pub(crate) struct Send {
    pub(crate) state: Way,
    /// What we may still send; less than nothing after the peer made it smaller.
    pub(crate) window: i64,
    /// The turn in which it was last woken out of the queue.
    pub(crate) woken: u64,
    /// It stands in the queue for the connection's window or for room in the output.
    pub(crate) is_queued: bool,
    pub(crate) waker: Option<Waker>,
}

/// How far one direction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Open,
    /// It came to its end.
    Ended,
    /// It broke off.
    Failed(Error),
}

impl Stream {
    pub(crate) fn new(id: u32, width: u32, send_window: i64, buffers: &Buffers) -> Self {
        Self {
            id,
            held: 0,
            is_open: true,
            recv: Recv {
                state: Way::Open,
                head: None,
                has_head: false,
                interim: VecDeque::new(),
                buffer: Chunks::new(buffers.clone()),
                trailers: None,
                window: i64::from(width),
                width,
                taken: 0,
                promised: None,
                to_head: false,
                is_unwanted: false,
                waker: None,
            },
            send: Send { state: Way::Open, window: send_window, woken: 0, is_queued: false, waker: None },
        }
    }

    /// It breaks off in both directions, as far as they have not ended.
    pub(crate) fn fail(&mut self, error: Error) {
        for state in [&mut self.recv.state, &mut self.send.state] {
            if *state == Way::Open {
                *state = Way::Failed(error);
            }
        }
        self.wake_recv();
        self.wake_send();
    }

    pub(crate) fn wake_recv(&mut self) {
        if let Some(waker) = self.recv.waker.take() {
            waker.wake();
        }
    }

    pub(crate) fn wake_send(&mut self) {
        if let Some(waker) = self.send.waker.take() {
            waker.wake();
        }
    }
}

/// Notes who waits; a waker that is there already is kept.
pub(crate) fn note(place: &mut Option<Waker>, cx: &Context<'_>) {
    match place {
        Some(waker) if waker.will_wake(cx.waker()) => {}
        _ => *place = Some(cx.waker().clone()),
    }
}

/// The streams of a connection, by place and by id.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    places: Vec<Option<Box<Stream>>>,
    free: Vec<u32>,
    open: HashMap<u32, u32, RandomState>,
}

/// Where a stream is; holds for as long as one of its halves is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place(u32);

/// Places kept by a connection without streams.
const SPARE: usize = 32;

impl Streams {
    pub(crate) fn add(&mut self, stream: Stream) -> Place {
        let id = stream.id;
        let boxed = Box::new(stream);
        let place = match self.free.pop() {
            Some(place) => {
                self.places[place as usize] = Some(boxed);
                place
            }
            None => {
                self.places.push(Some(boxed));
                (self.places.len() - 1) as u32
            }
        };
        self.open.insert(id, place);
        Place(place)
    }

    /// The stream of this id, if it is open.
    pub(crate) fn find(&self, id: u32) -> Option<Place> {
        self.open.get(&id).map(|place| Place(*place))
    }

    pub(crate) fn get(&mut self, place: Place) -> Option<&mut Stream> {
        self.places.get_mut(place.0 as usize)?.as_deref_mut()
    }

    /// Streams that are open.
    pub(crate) fn open(&self) -> usize {
        self.open.len()
    }

    /// Streams that are open or held.
    pub(crate) fn all(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// The stream is over for the peer.
    pub(crate) fn close(&mut self, place: Place) {
        let Some(stream) = self.get(place) else { return };
        if std::mem::take(&mut stream.is_open) {
            let id = stream.id;
            self.open.remove(&id);
        }
        self.forget(place);
    }

    /// Frees the place of a stream that is over and held by nobody.
    pub(crate) fn forget(&mut self, place: Place) {
        let Some(slot) = self.places.get_mut(place.0 as usize) else { return };
        if slot.take_if(|stream| !stream.is_open && stream.held == 0).is_some() {
            self.free.push(place.0);
            if self.free.len() == self.places.len() && self.free.len() > SPARE {
                // All are over: what a burst made necessary goes.
                *self = Self::default();
            }
        }
    }

    pub(crate) fn each(&mut self) -> impl Iterator<Item = (Place, &mut Stream)> {
        let streams = self.places.iter_mut().enumerate();
        streams.filter_map(|(at, stream)| Some((Place(at as u32), stream.as_deref_mut()?)))
    }
}
