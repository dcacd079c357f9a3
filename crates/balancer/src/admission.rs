//! hot path
//!
//! Whether an instance takes requests: one state, whatever the cause. Requests that fail put it out for a time, a rest;
//! others (`hold`) until they let go.

mod hold;
mod rest;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use model::Tick;

use crate::Peers;

pub use hold::{Hold, Holds};
use rest::Rest;

/// Whether an instance takes requests, and if not why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It does.
    In,
    /// It rests, as last choice.
    Out {
        /// Why.
        cause: Cause,
        /// Since when it takes no requests, over all rests in a row.
        since: Tick,
        /// When one request may try it; in the past if none came since.
        until: Tick,
        /// Which rest in a row this is, from 1.
        row: u8,
    },
    /// The rest is over, and one request tries it.
    Probing {
        /// Why it was out.
        cause: Cause,
        /// Since when it takes no others.
        since: Tick,
        /// How many rests in a row are over.
        row: u8,
    },
    /// Somebody keeps it out until he lets go: it is last choice, and time alone changes nothing.
    Held {
        /// All that hold it.
        by: Holds,
        /// Since when somebody does without a break.
        since: Tick,
    },
}

/// What put an instance out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Cause {
    /// No connection could be made.
    Connect = 1,
    /// Too many failures in a row: 502, 503, 504, broken off, timed out, protocol broken.
    Consecutive = 2,
    /// It fails more of its requests than the other instances do.
    SuccessRate = 3,
    /// It is slower than the other instances.
    Latency = 4,
}

impl Cause {
    /// Every cause, in the order of the declaration.
    pub const ALL: [Self; 4] = [Self::Connect, Self::Consecutive, Self::SuccessRate, Self::Latency];

    /// One word for status pages and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Consecutive => "consecutive",
            Self::SuccessRate => "success_rate",
            Self::Latency => "latency",
        }
    }

    /// Whether it is a judgement on what the instance answers, of which there may be too many to be true. That no
    /// connection can be made is a fact.
    #[must_use]
    pub fn is_judged(self) -> bool {
        self != Self::Connect
    }

    /// Whether it is a judgement by comparison with others.
    pub(crate) fn is_compared(self) -> bool {
        matches!(self, Self::SuccessRate | Self::Latency)
    }

    fn of(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|c| *c as u8 == number)
    }
}

/// What an instance lets a request do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// Nothing: another instance is to be asked.
    Barred,
    /// Be sent there.
    Open,
    /// Have it found out whether a connection can be made again, before any request is sent there. That is nothing to wait
    /// for.
    Knock,
}

/// What is at stake if a request is the one that tries an instance which failed others before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stake {
    /// All of it has come, and it can be sent elsewhere if it fails.
    Nothing,
    /// All of it has come. If it fails it is lost.
    Request,
    /// The turn: its body is still to come, and how long that takes is its client's affair.
    Turn,
}

/// Which side of the gate an instance is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    In,
    /// Out for what it answers, and for nothing else.
    Ejected,
    /// Out for what nobody but time, checks or an operator can change.
    Out,
}

/// The state, in one word so that every step is one compare-and-swap.
///
/// Zero is "in", which is all a pick looks at while all is well. Else, from the highest bit: the cause of a rest (5 bits,
/// 0 if there is none), who holds it (3), rests in a row (6), who probes (2), and a time in microseconds (48 bits, nine
/// years): the end of the rest, or the start of the probe.
///
/// The two times are in tenths of a second (13 years). They are written after `word`, so a reader may for an instant see the
/// previous one; what follows from them is decided a second later at the earliest.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    word: AtomicU64,
    /// When the first rest in this row began.
    rests: AtomicU32,
    /// When the first of those that hold it began to.
    held: AtomicU32,
}

const HOLDS_SHIFT: u32 = 56;
const HOLDS_MASK: u64 = 0b111 << HOLDS_SHIFT;
/// Nanoseconds in a tenth of a second.
const TENTH: u64 = 100_000_000;

impl Gate {
    pub(crate) fn admits(&self, now: Tick) -> bool {
        let word = self.word.load(Relaxed);
        word == 0 || word & HOLDS_MASK == 0 && Rest::of(word).is_none_or(|rest| rest.is_due(now))
    }

    /// Takes the probe if a rest is over, and says what the caller may do.
    pub(crate) fn enter(&self, now: Tick, stake: impl FnOnce() -> Stake) -> Entry {
        let word = self.word.load(Relaxed);
        if word == 0 {
            return Entry::Open;
        }
        if word & HOLDS_MASK != 0 {
            return Entry::Barred;
        }
        let Some(rest) = Rest::of(word) else { return Entry::Open };
        let knocks = rest.is_unreached();
        // Nothing of a request is needed to make a connection.
        let stake = if knocks { Stake::Nothing } else { stake() };
        let probe = rest.probed(stake, now);
        let due = rest.is_due_for(stake, self.since(), now);
        if !due || self.word.compare_exchange(word, probe.word(), Relaxed, Relaxed).is_err() {
            return Entry::Barred;
        }
        if knocks { Entry::Knock } else { Entry::Open }
    }

    /// The instance answered a request that began then: no rest is due. What it was judged for is not undone by the answer
    /// to a request that it had before, and who holds it knows better than one answer. True if the answer says how the
    /// instance is now.
    pub(crate) fn succeed(&self, began: Tick) -> bool {
        let word = self.word.load(Relaxed);
        // Most calls find it in; a write then would take the cache line from every reader.
        if word == 0 {
            return true;
        }
        let Some(rest) = Rest::of(word) else { return true };
        let tried = rest.is_tried_by(began);
        if tried || !rest.cause.is_judged() {
            // If somebody was faster, what he found is newer.
            let _ = self.word.compare_exchange(word, word & HOLDS_MASK, Relaxed, Relaxed);
        }
        tried
    }

    /// What is out for what it answered comes back, whatever the others say of it.
    pub(crate) fn pardon(&self) {
        let next = |word| Rest::of(word).filter(|rest| rest.cause.is_judged()).map(|_| word & HOLDS_MASK);
        let _ = self.word.fetch_update(Relaxed, Relaxed, next);
    }

    /// Puts it out after so many ejections of late, if it does not rest already. True if so.
    pub(crate) fn eject(&self, cause: Cause, before: u8, peers: &Peers, now: Tick) -> bool {
        let rest = Rest::first(cause, before, peers, now);
        let done = self.step(|before| before.is_none().then_some(rest)).is_some();
        if done {
            self.rests.store(tenths(now), Relaxed);
        }
        done
    }

    /// No connection could be made. While a rest lasts, that says nothing new. True if it took requests until now.
    pub(crate) fn cut_off(&self, peers: &Peers, now: Tick) -> bool {
        let next = |rest: Rest| Rest { cause: Cause::Connect, ..rest }.next(self.since(), 0, peers, now);
        let before = self.step(|rest| match rest {
            None => Some(Rest::first(Cause::Connect, 0, peers, now)),
            Some(rest) if rest.is_probed() || rest.is_over(now) => Some(next(rest)),
            // A fact, whatever it was judged for: no pardon lets it in.
            Some(rest) if rest.cause.is_judged() => Some(Rest { cause: Cause::Connect, ..rest }),
            Some(_) => None,
        });
        if before == Some(None) {
            self.rests.store(tenths(now), Relaxed);
        }
        before == Some(None)
    }

    /// A request that began then failed, and the instance rests, after so many ejections of late: if it was sent when the
    /// rest was over, the next rest begins. An instance that can be connected to again and then fails is out for what it
    /// answers, if that is allowed; else it is in. False if it does not rest.
    pub(crate) fn fail_again(&self, began: Tick, ejections: u8, peers: &Peers, now: Tick) -> bool {
        let word = self.word.load(Relaxed);
        let Some(rest) = Rest::of(word) else { return false };
        if !rest.is_tried_by(began) {
            return true;
        }
        let judged = rest.cause.is_judged();
        let cause = if judged { rest.cause } else { Cause::Consecutive };
        let next = match judged || peers.claim() {
            true => Rest { cause, ..rest }.next(self.since(), ejections, peers, now).word(),
            false => 0,
        };
        let done = self.word.compare_exchange(word, next | word & HOLDS_MASK, Relaxed, Relaxed).is_ok();
        if !done && !judged && next != 0 {
            peers.unclaim();
        }
        true
    }

    /// Who tried that could make a connection. Of that alone no request is answered: the next one is to tell.
    pub(crate) fn reached(&self, began: Tick, now: Tick) {
        self.step(|rest| rest.filter(|r| r.is_probed() && r.is_tried_by(began)).map(|r| r.reached(now)));
    }

    /// Somebody else could connect to it: a rest for want of that lasts no longer, and the next request is to tell. Of what
    /// it answers to requests he knows nothing.
    pub(crate) fn seems_well(&self, now: Tick) {
        if self.word.load(Relaxed) != 0 {
            self.step(|rest| rest.filter(|r| r.is_waiting(now) && r.cause == Cause::Connect).map(|r| r.over(now)));
        }
    }

    /// A request that began then ended without saying anything about the instance. If it was the probe, the next request
    /// is. Of any that began before the probe that is known not to be so.
    pub(crate) fn give_back(&self, began: Tick, now: Tick) {
        self.step(|rest| rest.filter(|r| r.is_probed() && r.is_tried_by(began)).map(|r| r.given_back(now)));
    }

    /// A request that began then was not sent. If it was to be the probe, the next one is, at once.
    pub(crate) fn forgo(&self, began: Tick, now: Tick) {
        self.step(|rest| rest.filter(|r| r.is_probed() && r.is_tried_by(began)).map(|r| r.untried(now)));
    }

    pub(crate) fn hold(&self, cause: Hold, now: Tick) -> bool {
        let before = self.word.fetch_or(cause.bit(), Relaxed);
        if before & HOLDS_MASK == 0 {
            self.held.store(tenths(now), Relaxed);
        }
        before & cause.bit() == 0
    }

    pub(crate) fn release(&self, cause: Hold) -> bool {
        self.word.fetch_and(!cause.bit(), Relaxed) & cause.bit() != 0
    }

    /// As who counts its service's instances sees it.
    pub(crate) fn side(&self) -> Side {
        let word = self.word.load(Relaxed);
        match Rest::of(word) {
            _ if word == 0 => Side::In,
            Some(rest) if rest.cause.is_judged() && word & HOLDS_MASK == 0 => Side::Ejected,
            _ => Side::Out,
        }
    }

    pub(crate) fn rest(&self) -> Option<(Cause, Tick)> {
        Rest::of(self.word.load(Relaxed)).map(|rest| (rest.cause, self.since()))
    }

    /// Whether it rests or is probed. One load while all is well.
    pub(crate) fn rests(&self) -> bool {
        let word = self.word.load(Relaxed);
        word != 0 && Rest::of(word).is_some()
    }

    /// When the first rest in this row began.
    fn since(&self) -> Tick {
        tick(self.rests.load(Relaxed))
    }

    pub(crate) fn state(&self, now: Tick) -> Admission {
        let word = self.word.load(Relaxed);
        let by = Holds::of(word);
        if !by.is_empty() {
            return Admission::Held { by, since: tick(self.held.load(Relaxed)) };
        }
        match Rest::of(word) {
            None => Admission::In,
            Some(rest @ Rest { cause, row, .. }) => {
                let since = self.since();
                match rest.is_probed() && !rest.is_over(now) {
                    true => Admission::Probing { cause, since, row },
                    false => Admission::Out { cause, since, until: Tick(rest.ends() * 1000), row },
                }
            }
        }
    }

    /// Goes from one rest to the next, whoever holds it meanwhile. Returns the rest before, if there was a step.
    fn step(&self, next: impl Fn(Option<Rest>) -> Option<Rest>) -> Option<Option<Rest>> {
        let next = |word| Some(next(Rest::of(word))?.word() | word & HOLDS_MASK);
        self.word.fetch_update(Relaxed, Relaxed, next).ok().map(Rest::of)
    }
}

/// Ten a second: 13 years in 32 bits.
fn tenths(tick: Tick) -> u32 {
    u32::try_from(tick.0 / TENTH).unwrap_or(u32::MAX)
}

fn tick(tenths: u32) -> Tick {
    Tick(u64::from(tenths) * TENTH)
}

fn micros(tick: Tick) -> u64 {
    tick.0 / 1000
}

#[cfg(test)]
mod tests;
