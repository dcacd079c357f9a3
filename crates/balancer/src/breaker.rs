//! hot path
//!
//! The circuit breaker of a whole service: when too many requests fail, the rest are answered at once for a while.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use model::Tick;

/// When a service gets no requests.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rule {
    /// If this share of its requests fails, from 0 to 1.
    pub failures: f64,
    /// And there were at least so many.
    pub requests: u16,
    /// Within this time.
    pub window: Duration,
    /// So long. Then one request tries it.
    pub open: Duration,
}

/// What it is, for display.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Circuit {
    /// There is no rule.
    Off,
    /// Requests pass.
    Closed,
    /// None does until then.
    Open {
        /// When one may.
        until: Tick,
    },
    /// One tries the service.
    HalfOpen,
}

/// The state: one word as of an instance's gate, and the requests of the current and the last half of the window.
#[derive(Debug, Default)]
pub struct Breaker {
    /// In percent; 0: there is no rule.
    failures: AtomicU32,
    requests: AtomicU32,
    window_ms: AtomicU32,
    open_ms: AtomicU32,
    /// 0: closed. Else, from the highest bit: one tries it (1), and a time in microseconds: until when it is open, or when
    /// the one that tries it began.
    word: AtomicU64,
    halves: [AtomicU64; 2],
    opened: AtomicU32,
}

const TRYING: u64 = 1 << 63;

impl Breaker {
    /// From now on this rule holds.
    pub fn follow(&self, rule: Option<&Rule>) {
        let millis = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX).max(1);
        if let Some(rule) = rule {
            self.requests.store(rule.requests.max(1).into(), Relaxed);
            self.window_ms.store(millis(rule.window), Relaxed);
            self.open_ms.store(millis(rule.open), Relaxed);
        }
        let percent = rule.map_or(0, |rule| ((rule.failures * 100.0).round() as u32).clamp(1, 100));
        let was = self.failures.swap(percent, Relaxed);
        if was > 0 && percent == 0 {
            // Whoever turns it on again begins anew: what failed by then opened it once, or never will. Last, so that hardly a
            // request that ends now is counted after it.
            self.word.store(0, Relaxed);
            self.halves.iter().for_each(|half| half.store(0, Relaxed));
        }
    }

    /// Whether there is a rule. One load.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.failures.load(Relaxed) > 0
    }

    /// Whether a request that begins now may be sent. `Err` says how long not, at least.
    ///
    /// # Errors
    /// While the circuit is open, or somebody else tries the service.
    pub fn admit(&self, now: Tick) -> Result<(), Duration> {
        let word = self.word.load(Relaxed);
        if word == 0 || !self.is_on() {
            return Ok(());
        }
        let ends = self.ends(word);
        let trying = TRYING | micros(now);
        if micros(now) >= ends && self.word.compare_exchange(word, trying, Relaxed, Relaxed).is_ok() {
            return Ok(());
        }
        Err(Duration::from_micros(ends.saturating_sub(micros(now))))
    }

    /// What [`admit`](Self::admit) would say. Takes nobody's turn.
    ///
    /// # Errors
    /// How long not, at least.
    pub fn would_admit(&self, now: Tick) -> Result<(), Duration> {
        let word = self.word.load(Relaxed);
        let ends = if word == 0 || !self.is_on() { 0 } else { self.ends(word) };
        if micros(now) >= ends { Ok(()) } else { Err(Duration::from_micros(ends - micros(now))) }
    }

    /// A request that [`admit`](Self::admit) let go then is over. True if that opens the circuit.
    pub fn observe(&self, began: Tick, failed: bool, now: Tick) -> bool {
        let percent = self.failures.load(Relaxed);
        if percent == 0 {
            return false;
        }
        let word = self.word.load(Relaxed);
        if word == 0 {
            let (requests, failures) = self.note(failed, now);
            let enough = requests >= self.requests.load(Relaxed).max(1);
            return failed && enough && failures * 100 >= requests * percent && self.open(word, now);
        }
        // Those that were sent before it opened say what is known already.
        if word & TRYING == 0 || micros(began) < word & !TRYING {
            return false;
        }
        if failed {
            return self.open(word, now);
        }
        self.halves.iter().for_each(|half| half.store(0, Relaxed));
        let _ = self.word.compare_exchange(word, 0, Relaxed, Relaxed);
        false
    }

    /// A request that [`admit`](Self::admit) let go then ended without saying anything of the service: if it was the one
    /// that tries it, the next one is.
    pub fn give_back(&self, began: Tick) {
        let (trying, over) = (TRYING | micros(began), micros(began).max(1));
        // Every request ends here, and nearly none is the one: a write would take the cache line from all cores.
        if self.word.load(Relaxed) == trying {
            let _ = self.word.compare_exchange(trying, over, Relaxed, Relaxed);
        }
    }

    /// What it is.
    #[must_use]
    pub fn circuit(&self) -> Circuit {
        match self.word.load(Relaxed) {
            _ if !self.is_on() => Circuit::Off,
            0 => Circuit::Closed,
            word if word & TRYING != 0 => Circuit::HalfOpen,
            word => Circuit::Open { until: Tick(word * 1000) },
        }
    }

    /// How often it opened.
    #[must_use]
    pub fn opened(&self) -> u32 {
        self.opened.load(Relaxed)
    }

    fn open(&self, word: u64, now: Tick) -> bool {
        let until = micros(now) + self.open_micros();
        let done = self.word.compare_exchange(word, until, Relaxed, Relaxed).is_ok();
        if done {
            self.opened.fetch_add(1, Relaxed);
            crate::news::add();
        }
        done
    }

    /// The end of what a word that is not 0 says. One that tries it and does not end is overtaken after as long.
    fn ends(&self, word: u64) -> u64 {
        if word & TRYING == 0 { word } else { (word & !TRYING) + self.open_micros() }
    }

    fn open_micros(&self) -> u64 {
        u64::from(self.open_ms.load(Relaxed)) * 1000
    }

    /// Counts a request; returns all and those that failed, of this half of the window and the one before.
    fn note(&self, failed: bool, now: Tick) -> (u32, u32) {
        let half = u64::from(self.window_ms.load(Relaxed).max(2)) * 500_000;
        let number = (now.0 / half) as u32;
        let slot = &self.halves[number as usize % 2];
        let count = |word| {
            let Half { requests, failures, .. } = Half::of(word).filter(|h| h.number == number).unwrap_or_default();
            // Full: half of them say the same, and leave room for what is new.
            let old = u16::from(requests == u16::MAX);
            let (requests, failures) = (requests >> old, failures >> old);
            Some(Half { number, requests: requests + 1, failures: failures + u16::from(failed) }.word())
        };
        let _ = slot.fetch_update(Relaxed, Relaxed, count);
        let read = |slot: &AtomicU64, wanted| Half::of(slot.load(Relaxed)).filter(|h| h.number == wanted);
        let both = [read(slot, number), read(&self.halves[(number as usize + 1) % 2], number.wrapping_sub(1))];
        both.into_iter().flatten().fold((0, 0), |(requests, failures), half| {
            (requests + u32::from(half.requests), failures + u32::from(half.failures))
        })
    }
}

/// The requests of half a window, in one word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Half {
    number: u32,
    requests: u16,
    failures: u16,
}

impl Half {
    /// `None` if nothing was ever counted.
    fn of(word: u64) -> Option<Self> {
        let [a, b, c, d, e, f, g, h] = word.to_be_bytes();
        let number = u32::from_be_bytes([a, b, c, d]);
        let half = Self { number, requests: u16::from_be_bytes([e, f]), failures: u16::from_be_bytes([g, h]) };
        (half.requests > 0).then_some(half)
    }

    fn word(self) -> u64 {
        u64::from(self.number) << 32 | u64::from(self.requests) << 16 | u64::from(self.failures)
    }
}

fn micros(tick: Tick) -> u64 {
    tick.0 / 1000
}

#[cfg(test)]
mod tests;
