//! hot path
//!
//! Whether an instance takes requests: one state, whatever the cause. Requests that fail put it out for a time, a rest;
//! others (`hold`) until they let go.

mod hold;

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use model::Tick;

use crate::Peers;

pub use hold::{Hold, Holds};

/// How long the probe may take before another request may be the probe: longer than the default wait for a response
/// head (15 s), so that only probes that do not end (a stream, a lost lease) are ever overtaken.
const PROBE: Duration = Duration::from_secs(30);

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
/// The two times are for display only, and in tenths of a second (13 years). They are written after `word`, so a reader
/// may for an instant see the previous one.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    word: AtomicU64,
    /// When the first rest in this row began.
    rests: AtomicU32,
    /// When the first of those that hold it began to.
    held: AtomicU32,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Rest {
    cause: Cause,
    row: u8,
    probe: Probe,
    micros: u64,
}

/// Who tries an instance whose rest is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Probe {
    Nobody = 0,
    /// A request whose body is still to come. How long that takes is its client's affair, so it keeps no whole request
    /// from being the probe in its place.
    Upload = 1,
    /// A request that is complete.
    Whole = 2,
}

/// Microseconds from a probe that said nothing to the next one, at least.
const AGAIN: u64 = 1_000_000;
const TIME_BITS: u32 = 48;
const TIME_MASK: u64 = (1 << TIME_BITS) - 1;
const CAUSE_SHIFT: u32 = 59;
const HOLDS_SHIFT: u32 = 56;
const HOLDS_MASK: u64 = 0b111 << HOLDS_SHIFT;
/// Rests in a row that are counted.
const MOST: u8 = 0x3F;
/// Nanoseconds in a tenth of a second.
const TENTH: u64 = 100_000_000;

impl Gate {
    pub(crate) fn admits(&self, now: Tick) -> bool {
        let word = self.word.load(Relaxed);
        word == 0 || word & HOLDS_MASK == 0 && Rest::of(word).is_none_or(|rest| rest.is_due(Probe::Whole, now))
    }

    /// Takes the probe if a rest is over. True if the caller may go ahead. `is_whole`: whether all of its request has come.
    pub(crate) fn enter(&self, now: Tick, is_whole: impl FnOnce() -> bool) -> bool {
        let word = self.word.load(Relaxed);
        if word == 0 {
            return true;
        }
        if word & HOLDS_MASK != 0 {
            return false;
        }
        let Some(rest) = Rest::of(word) else { return true };
        let by = if is_whole() { Probe::Whole } else { Probe::Upload };
        let probe = Rest { probe: by, micros: micros(now), ..rest };
        rest.is_due(by, now) && self.word.compare_exchange(word, probe.word(), Relaxed, Relaxed).is_ok()
    }

    /// The instance answered a request that began then: no rest is due. What it was judged for is not undone by the answer
    /// to a request that it had before, and who holds it knows better than one answer.
    pub(crate) fn succeed(&self, began: Tick) {
        let word = self.word.load(Relaxed);
        // Most calls find it in; a write then would take the cache line from every reader.
        if word == 0 {
            return;
        }
        if let Some(rest) = Rest::of(word)
            && (!rest.cause.is_judged() || rest.is_tried_by(began))
        {
            // If somebody was faster, what he found is newer.
            let _ = self.word.compare_exchange(word, word & HOLDS_MASK, Relaxed, Relaxed);
        }
    }

    /// What is out for what it answered comes back, whatever the others say of it.
    pub(crate) fn pardon(&self) {
        let next = |word| Rest::of(word).filter(|rest| rest.cause.is_judged()).map(|_| word & HOLDS_MASK);
        let _ = self.word.fetch_update(Relaxed, Relaxed, next);
    }

    /// Puts it out after so many rests of late, if it does not rest already. True if so.
    pub(crate) fn eject(&self, cause: Cause, rests: u8, peers: &Peers, now: Tick) -> bool {
        let rest = Rest { cause, row: rests, probe: Probe::Nobody, micros: 0 }.next(peers, now);
        let done = self.step(|before| before.is_none().then_some(rest)).is_some();
        if done {
            self.rests.store(tenths(now), Relaxed);
        }
        done
    }

    /// No connection could be made. While a rest lasts, that says nothing new. True if it took requests until now.
    pub(crate) fn cut_off(&self, peers: &Peers, now: Tick) -> bool {
        let next = |rest: Rest| Rest { cause: Cause::Connect, ..rest }.next(peers, now);
        let before = self.step(|rest| match rest {
            None => Some(Rest::first(Cause::Connect, peers, now)),
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

    /// A request that began then failed, and the instance rests: if it was sent when the rest was over, the next rest
    /// begins. An instance that can be connected to again and then fails is out for what it answers, if that is allowed;
    /// else it is in. False if it does not rest.
    pub(crate) fn fail_again(&self, began: Tick, peers: &Peers, now: Tick) -> bool {
        let word = self.word.load(Relaxed);
        let Some(rest) = Rest::of(word) else { return false };
        if !rest.is_tried_by(began) {
            return true;
        }
        let judged = rest.cause.is_judged();
        let next = match judged || peers.claim() {
            true if judged => rest.next(peers, now).word(),
            true => Rest { cause: Cause::Consecutive, ..rest }.next(peers, now).word(),
            false => 0,
        };
        let done = self.word.compare_exchange(word, next | word & HOLDS_MASK, Relaxed, Relaxed).is_ok();
        if !done && !judged && next != 0 {
            peers.unclaim();
        }
        true
    }

    /// A request that began then ended without saying anything about the instance. If it was the probe, the next request
    /// is. Of any that began before the probe that is known not to be so.
    pub(crate) fn give_back(&self, began: Tick, now: Tick) {
        self.step(|rest| {
            let rest = rest.filter(|r| r.is_probed() && r.is_tried_by(began))?;
            // One try a second: clients that give up soon must not knock at a dead instance one after the other.
            Some(Rest { probe: Probe::Nobody, micros: micros(now).max(rest.micros + AGAIN), ..rest })
        });
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
        Rest::of(self.word.load(Relaxed)).map(|rest| (rest.cause, tick(self.rests.load(Relaxed))))
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
                let since = tick(self.rests.load(Relaxed));
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

impl Rest {
    fn first(cause: Cause, peers: &Peers, now: Tick) -> Self {
        Self { cause, row: 1, probe: Probe::Nobody, micros: micros(peers.end_of_rest(0, now)) }
    }

    /// The rest after this one. Those of outliers are the longest from the first on.
    fn next(self, peers: &Peers, now: Tick) -> Self {
        let row = self.row.saturating_add(1).min(MOST);
        let before = if self.cause.is_compared() { MOST } else { self.row };
        Self { row, probe: Probe::Nobody, micros: micros(peers.end_of_rest(before, now)), ..self }
    }

    /// Whether a request that began then was sent after the rest was over, so that its fate says how the instance is now.
    fn is_tried_by(self, began: Tick) -> bool {
        micros(began) >= self.micros
    }

    fn ends(self) -> u64 {
        if self.is_probed() { self.micros + micros(Tick::default().after(PROBE)) } else { self.micros }
    }

    fn is_over(self, now: Tick) -> bool {
        micros(now) >= self.ends()
    }

    fn is_probed(self) -> bool {
        self.probe != Probe::Nobody
    }

    /// Whether a request of this kind may be the probe.
    fn is_due(self, by: Probe, now: Tick) -> bool {
        self.is_over(now) || (self.probe, by) == (Probe::Upload, Probe::Whole)
    }

    fn of(word: u64) -> Option<Self> {
        let cause = Cause::of((word >> CAUSE_SHIFT) as u8)?;
        let flags = (word >> TIME_BITS) as u8;
        let probe = [Probe::Nobody, Probe::Upload, Probe::Whole][usize::from(flags & 0b11).min(2)];
        Some(Self { cause, row: flags >> 2, probe, micros: word & TIME_MASK })
    }

    fn word(self) -> u64 {
        let flags = self.row << 2 | self.probe as u8;
        (self.cause as u64) << CAUSE_SHIFT | u64::from(flags) << TIME_BITS | self.micros & TIME_MASK
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
