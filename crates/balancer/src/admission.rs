//! hot path
//!
//! Whether an instance takes requests: one state, whatever the cause.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use model::Tick;

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
/// Zero is "in", which is all a pick looks at while all is well. Else, from the highest bit: the cause (8 bits), rests in
/// a row (7), probing (1), and a time in microseconds (48 bits, nine years): the end of the rest, or the start of the
/// probe.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    word: AtomicU64,
    /// When it went from in to out, in nanoseconds; display only. Written after `word`, so a reader may for an instant
    /// see the previous one.
    since: AtomicU64,
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

impl Gate {
    pub(crate) fn admits(&self, now: Tick) -> bool {
        Rest::of(self.word.load(Relaxed)).is_none_or(|rest| rest.is_over(now))
    }

    /// Takes the probe if a rest is over. True if the caller may go ahead.
    pub(crate) fn enter(&self, now: Tick) -> bool {
        let word = self.word.load(Relaxed);
        let Some(rest) = Rest::of(word) else { return true };
        let probe = Rest { probing: true, micros: micros(now), ..rest };
        rest.is_over(now) && self.word.compare_exchange(word, probe.word(), Relaxed, Relaxed).is_ok()
    }

    /// The instance answered.
    pub(crate) fn succeed(&self) {
        // Most calls find it in; a store then would take the cache line from every reader.
        if self.word.load(Relaxed) != 0 {
            self.word.store(0, Relaxed);
        }
    }

    /// A failure that this cause counts. While a rest lasts, failures of requests sent before it say nothing new.
    pub(crate) fn fail(&self, cause: Cause, now: Tick) {
        let before = self.word.fetch_update(Relaxed, Relaxed, |word| match Rest::of(word) {
            None => Some(Rest::after(cause, 0, now).word()),
            Some(rest) if rest.probing || rest.is_over(now) => Some(Rest::after(cause, rest.row, now).word()),
            Some(_) => None,
        });
        if before == Ok(0) {
            self.since.store(now.0, Relaxed);
        }
    }

    /// A request that began then ended without saying anything about the instance. If it was the probe, the next request
    /// is. Of any that began before the probe that is known not to be so.
    pub(crate) fn give_back(&self, began: Tick, now: Tick) {
        let _ = self.word.fetch_update(Relaxed, Relaxed, |word| {
            let rest = Rest::of(word).filter(|r| r.probing && micros(began) >= r.micros)?;
            Some(Rest { probing: false, micros: micros(now), ..rest }.word())
        });
    }

    pub(crate) fn state(&self, now: Tick) -> Admission {
        match Rest::of(self.word.load(Relaxed)) {
            None => Admission::In,
            Some(rest) if rest.probing && !rest.is_over(now) => Admission::Probing,
            Some(rest) => {
                let since = Tick(self.since.load(Relaxed));
                Admission::Out { cause: rest.cause, since, until: Tick(rest.ends() * 1000) }
            }
        }
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
        let [cause, flags, ..] = word.to_be_bytes();
        let cause = Cause::of(cause)?;
        Some(Self { cause, row: flags >> 1, probing: flags & 1 == 1, micros: word & TIME_MASK })
    }

    fn word(self) -> u64 {
        let flags = self.row << 1 | u8::from(self.probing);
        u64::from(self.cause as u8) << 56 | u64::from(flags) << TIME_BITS | self.micros & TIME_MASK
    }
}

fn micros(tick: Tick) -> u64 {
    tick.0 / 1000
}

#[cfg(test)]
mod tests;
