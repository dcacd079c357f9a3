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

pub use hold::{Hold, Holds};

/// First rest after a failure. A restarting process is back within about a second.
const FIRST: Duration = Duration::from_secs(1);

/// Longest rest. Also what an instance that is back after long absence waits at most for its first request.
const LONGEST: Duration = Duration::from_secs(30);

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
    },
    /// The rest is over, and one request tries it.
    Probing,
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
}

impl Cause {
    /// One word for status pages and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
        }
    }

    fn of(number: u8) -> Option<Self> {
        [Self::Connect].into_iter().find(|c| *c as u8 == number)
    }
}

/// The state, in one word so that every step is one compare-and-swap.
///
/// Zero is "in", which is all a pick looks at while all is well. Else, from the highest bit: the cause of a rest (5 bits,
/// 0 if there is none), who holds it (3), rests in a row (7), probing (1), and a time in microseconds (48 bits, nine
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
    probing: bool,
    micros: u64,
}

const TIME_BITS: u32 = 48;
const TIME_MASK: u64 = (1 << TIME_BITS) - 1;
const CAUSE_SHIFT: u32 = 59;
const HOLDS_SHIFT: u32 = 56;
const HOLDS_MASK: u64 = 0b111 << HOLDS_SHIFT;
/// Nanoseconds in a tenth of a second.
const TENTH: u64 = 100_000_000;

impl Gate {
    pub(crate) fn admits(&self, now: Tick) -> bool {
        let word = self.word.load(Relaxed);
        word == 0 || word & HOLDS_MASK == 0 && Rest::of(word).is_none_or(|rest| rest.is_over(now))
    }

    /// Takes the probe if a rest is over. True if the caller may go ahead.
    pub(crate) fn enter(&self, now: Tick) -> bool {
        let word = self.word.load(Relaxed);
        if word & HOLDS_MASK != 0 {
            return false;
        }
        let Some(rest) = Rest::of(word) else { return true };
        let probe = Rest { probing: true, micros: micros(now), ..rest };
        rest.is_over(now) && self.word.compare_exchange(word, probe.word(), Relaxed, Relaxed).is_ok()
    }

    /// The instance answered: no rest is due. Who holds it knows better than one answer, so that stays.
    pub(crate) fn succeed(&self) {
        // Most calls find it in; a write then would take the cache line from every reader.
        if self.word.load(Relaxed) & !HOLDS_MASK != 0 {
            self.word.fetch_and(HOLDS_MASK, Relaxed);
        }
    }

    /// A failure that this cause counts. While a rest lasts, failures of requests sent before it say nothing new.
    pub(crate) fn fail(&self, cause: Cause, now: Tick) {
        let before = self.step(|rest| match rest {
            None => Some(Rest::after(cause, 0, now)),
            Some(rest) if rest.probing || rest.is_over(now) => Some(Rest::after(cause, rest.row, now)),
            Some(_) => None,
        });
        if before == Some(None) {
            self.rests.store(tenths(now), Relaxed);
        }
    }

    /// A request that began then ended without saying anything about the instance. If it was the probe, the next request
    /// is. Of any that began before the probe that is known not to be so.
    pub(crate) fn give_back(&self, began: Tick, now: Tick) {
        self.step(|rest| {
            let rest = rest.filter(|r| r.probing && micros(began) >= r.micros)?;
            Some(Rest { probing: false, micros: micros(now), ..rest })
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

    pub(crate) fn state(&self, now: Tick) -> Admission {
        let word = self.word.load(Relaxed);
        let by = Holds::of(word);
        if !by.is_empty() {
            return Admission::Held { by, since: tick(self.held.load(Relaxed)) };
        }
        match Rest::of(word) {
            None => Admission::In,
            Some(rest) if rest.probing && !rest.is_over(now) => Admission::Probing,
            Some(rest) => {
                let since = tick(self.rests.load(Relaxed));
                Admission::Out { cause: rest.cause, since, until: Tick(rest.ends() * 1000) }
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
    /// The rest after this many in a row: doubling up to the longest, and up to a quarter more at random, so that routers
    /// that saw the same failure do not come back in step.
    fn after(cause: Cause, row: u8, now: Tick) -> Self {
        // 2^5 times a second is above the longest already.
        let wait = (FIRST * (1 << row.min(5))).min(LONGEST);
        let wait = wait + wait.mul_f64(fastrand::f64() / 4.0);
        Self { cause, row: row.saturating_add(1).min(0x7F), probing: false, micros: micros(now.after(wait)) }
    }

    fn ends(self) -> u64 {
        if self.probing { self.micros + micros(Tick::default().after(PROBE)) } else { self.micros }
    }

    fn is_over(self, now: Tick) -> bool {
        micros(now) >= self.ends()
    }

    fn of(word: u64) -> Option<Self> {
        let cause = Cause::of((word >> CAUSE_SHIFT) as u8)?;
        let flags = (word >> TIME_BITS) as u8;
        Some(Self { cause, row: flags >> 1, probing: flags & 1 == 1, micros: word & TIME_MASK })
    }

    fn word(self) -> u64 {
        let flags = self.row << 1 | u8::from(self.probing);
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
