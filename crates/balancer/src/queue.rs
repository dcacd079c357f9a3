//! Who waits for a place in a service, over all cores: first come, first served. A place that becomes free is handed to
//! whoever has waited longest, on whatever core, so that none of them can keep its places for itself.
//!
//! Requests that need not wait read one word, [`Queue::lines`]. The lock is for those who wait, and for those who leave a
//! place while somebody does; it is held for a few steps and never while somebody is woken.
//!
//! Nothing orders that word against the count of requests in hand: a fence would be paid by every request that ends. So who
//! leaves just as the first one joins may not see him, and he may not see the place. Hence the first of a line looks by
//! himself every now and then; that, and not the hand-over, is why no place stays free while somebody waits.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
};

use model::UpstreamKey;

use crate::{Occupancy, hash};

#[cfg(test)]
mod tests;

/// What is waited for. Those who wait for the same stand in one line, and in nobody else's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line(u64);

impl Line {
    /// The line for a place among the requests of the service.
    pub const PLACE: Self = Self(0);

    /// The line for an instance that has room, of those that requests of this environment may reach.
    #[must_use]
    pub fn instances(environment: Option<&str>) -> Self {
        Self(environment.map_or(1, |name| hash(name.as_bytes()).max(2)))
    }

    /// The line for those of them who may not be sent to these instances any more: they wait for the others, and must not bar
    /// these to anybody.
    #[must_use]
    pub fn besides(self, tried: &[UpstreamKey]) -> Self {
        let keys = tried.iter().map(|key| hash(&key.0.to_le_bytes()));
        if tried.is_empty() { self } else { Self(keys.fold(self.0, |line, key| line ^ key).max(2)) }
    }

    fn bit(self) -> u64 {
        1 << (self.0 % 64)
    }
}

/// The lines in which somebody waits, by their bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lines(u64);

impl Lines {
    /// Nobody waits for anything.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether somebody may wait in this one: two lines may share a bit.
    #[must_use]
    pub fn may_have(self, line: Line) -> bool {
        self.0 & line.bit() != 0
    }
}

/// One who waits: the number he drew when he came, and the line he stands in.
#[derive(Debug)]
pub struct Ticket {
    number: u64,
    line: Line,
}

/// What one who waits is called for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// A place was handed to him: it counts as in flight, and is his.
    Place,
    /// He is the first of his line now, and may look for himself.
    Look,
}

/// The requests of one service that wait.
#[derive(Debug, Default)]
pub struct Queue {
    /// Written under the lock, by those who come first to a line and those who leave it last; read by each request.
    lines: AtomicU64,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// What the next one draws.
    next: u64,
    count: u32,
    /// By number. No line is empty.
    lines: BTreeMap<Line, BTreeMap<u64, Seat>>,
}

#[derive(Debug)]
struct Seat {
    /// Requests that may be in hand, as he knows it.
    most: u32,
    /// A place was handed to him.
    handed: bool,
    called: bool,
    waker: Option<Waker>,
}

impl Queue {
    /// Where somebody waits. One load.
    #[must_use]
    pub fn lines(&self) -> Lines {
        Lines(self.lines.load(Relaxed))
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.lock().count
    }

    /// Whether nobody does.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines().is_empty()
    }

    /// Joins a line at its end, unless as many wait already as may. He may be handed a place while at most `requests` are in
    /// hand.
    #[must_use]
    pub fn join(&self, line: Line, most: u32, requests: u32) -> Option<Ticket> {
        let mut waiting = self.lock();
        if waiting.count >= most {
            return None;
        }
        let ticket = Ticket { number: waiting.next, line };
        waiting.next += 1;
        waiting.count += 1;
        self.seat(&mut waiting, &ticket, Seat { most: requests, handed: false, called: false, waker: None });
        Some(ticket)
    }

    /// Goes over to another line, ahead of those there who came later.
    pub fn change(&self, ticket: &mut Ticket, line: Line) {
        if ticket.line == line {
            return;
        }
        let mut waiting = self.lock();
        let Some((seat, next)) = self.unseat(&mut waiting, ticket) else { return };
        ticket.line = line;
        self.seat(&mut waiting, ticket, seat);
        drop(waiting);
        wake(next);
    }

    /// Leaves. Whoever is the first of that line now may look at once. True if he was handed a place that he did not take.
    #[must_use]
    pub fn leave(&self, ticket: &Ticket) -> bool {
        let mut waiting = self.lock();
        let Some((seat, next)) = self.unseat(&mut waiting, ticket) else { return false };
        waiting.count -= 1;
        drop(waiting);
        wake(next);
        seat.handed
    }

    /// Whether nobody in this line came before him, or is there at all if he does not wait.
    #[must_use]
    pub fn is_next(&self, line: Line, ticket: Option<&Ticket>) -> bool {
        let own = ticket.map_or(u64::MAX, |ticket| ticket.number);
        let first = self.lock().lines.get(&line).and_then(|seats| seats.keys().next().copied());
        first.is_none_or(|first| first >= own)
    }

    /// Whether he is the first of his line.
    #[must_use]
    pub fn is_first(&self, ticket: &Ticket) -> bool {
        self.is_next(ticket.line, Some(ticket))
    }

    /// Hands a place that became free to whoever has waited longest among the first of all lines; `after` is one who was
    /// handed it and has no use for it, so that it is the turn of those who came after him.
    pub fn offer(&self, occupancy: &Occupancy, after: Option<&Ticket>) {
        if self.is_empty() {
            return;
        }
        let from = after.map_or(0, |ticket| ticket.number + 1);
        let mut waiting = self.lock();
        // Each place is handed to somebody else: the one behind him who has one already.
        let firsts = waiting.lines.values_mut().filter_map(|seats| seats.iter_mut().find(|(_, seat)| !seat.handed));
        let next = firsts.filter(|(number, _)| **number >= from).min_by_key(|(number, _)| **number);
        let called = next.filter(|(_, seat)| occupancy.try_enter_in_turn(seat.most)).and_then(|(_, seat)| {
            seat.handed = true;
            seat.waker.take()
        });
        drop(waiting);
        wake(called);
    }

    /// Ready when he is called.
    pub fn poll(&self, ticket: &Ticket, cx: &Context<'_>) -> Poll<Call> {
        let mut waiting = self.lock();
        let seat = waiting.lines.get_mut(&ticket.line).and_then(|seats| seats.get_mut(&ticket.number));
        // Who waits has a seat.
        let Some(seat) = seat else { return Poll::Ready(Call::Look) };
        if std::mem::take(&mut seat.handed) {
            return Poll::Ready(Call::Place);
        }
        if std::mem::take(&mut seat.called) {
            return Poll::Ready(Call::Look);
        }
        match &mut seat.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    fn seat(&self, waiting: &mut Waiting, ticket: &Ticket, seat: Seat) {
        waiting.lines.entry(ticket.line).or_default().insert(ticket.number, seat);
        self.tell(waiting);
    }

    /// Takes his seat away; also who is to be woken because he is the first now.
    fn unseat(&self, waiting: &mut Waiting, ticket: &Ticket) -> Option<(Seat, Option<Waker>)> {
        let Entry::Occupied(mut line) = waiting.lines.entry(ticket.line) else { return None };
        let seats = line.get_mut();
        let was_first = seats.keys().next() == Some(&ticket.number);
        let seat = seats.remove(&ticket.number)?;
        let next = seats.values_mut().next().filter(|_| was_first).and_then(|next| {
            next.called = true;
            next.waker.take()
        });
        if seats.is_empty() {
            line.remove();
            self.tell(waiting);
        }
        Some((seat, next))
    }

    /// Says in which lines somebody waits.
    fn tell(&self, waiting: &Waiting) {
        self.lines.store(waiting.lines.keys().fold(0, |bits, line| bits | line.bit()), Relaxed);
    }

    /// Nothing that is done under the lock leaves it half done.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
