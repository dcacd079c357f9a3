//! hot path
//!
//! One rest of an instance: when it is over, who may try the instance then, and what follows. Pure; how it is kept in the word
//! of the gate.

use std::time::Duration;

use model::Tick;

use super::{Cause, Stake, micros};
use crate::Peers;

/// How long the probe may take before another request may be the probe: longer than the default wait for a response
/// head (15 s), so that only probes that do not end (a stream, a lost lease) are ever overtaken.
const PROBE: u64 = 30_000_000;

/// Microseconds from a probe that said nothing to the next one, at least.
const AGAIN: u64 = 1_000_000;

/// A request that would be lost waits for one that would not, for at most so many microseconds.
const PATIENCE: u64 = 30_000_000;

const TIME_BITS: u32 = 48;
pub(super) const TIME_MASK: u64 = (1 << TIME_BITS) - 1;
const CAUSE_SHIFT: u32 = 59;

/// Rests in a row that are counted.
pub(super) const MOST: u8 = 0x3F;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rest {
    pub(super) cause: Cause,
    pub(super) row: u8,
    pub(super) probe: Probe,
    /// The end of the rest, or the start of the probe.
    pub(super) micros: u64,
}

/// Who tries an instance whose rest is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Probe {
    Nobody = 0,
    /// A request whose body is still to come, so it keeps no whole request from being the probe in its place.
    Upload = 1,
    /// A request that is complete, or a connection.
    Whole = 2,
    /// Nobody, but a connection could be made.
    Reached = 3,
}

impl Rest {
    /// After so many ejections of late.
    pub(super) fn first(cause: Cause, ejections: u8, peers: &Peers, now: Tick) -> Self {
        let none = Self { cause, row: 0, probe: Probe::Nobody, micros: 0 };
        Self { row: ejections.min(MOST - 1) + 1, ..none.until(ejections, Duration::ZERO, peers, now) }
    }

    /// The rest after this one of an instance that is out since then, and was put out so often of late.
    pub(super) fn next(self, since: Tick, ejections: u8, peers: &Peers, now: Tick) -> Self {
        let row = self.row.saturating_add(1).min(MOST);
        Self { row, probe: Probe::Nobody, ..self.until(ejections.max(1), now.since(since), peers, now) }
    }

    /// Those of outliers are the longest from the first on.
    fn until(self, ejections: u8, out: Duration, peers: &Peers, now: Tick) -> Self {
        let out = if self.cause.is_compared() { Duration::MAX } else { out };
        Self { micros: micros(peers.end_of_rest(ejections, out, now)), ..self }
    }

    /// A connection could be made: the next request may try.
    pub(super) fn reached(self, now: Tick) -> Self {
        Self { probe: Probe::Reached, ..self.over(now) }
    }

    /// It is over now.
    pub(super) fn over(self, now: Tick) -> Self {
        Self { micros: micros(now), ..self }
    }

    /// The probe said nothing.
    pub(super) fn given_back(self, now: Tick) -> Self {
        // One try a second: clients that give up soon must not knock at a dead instance one after the other.
        Self { probe: Probe::Nobody, micros: micros(now).max(self.micros + AGAIN), ..self }
    }

    /// Nobody tried it after all.
    pub(super) fn untried(self, now: Tick) -> Self {
        Self { probe: Probe::Nobody, ..self.over(now) }
    }

    /// Such a request tries it.
    pub(super) fn probed(self, stake: Stake, now: Tick) -> Self {
        let probe = if stake == Stake::Turn { Probe::Upload } else { Probe::Whole };
        Self { probe, ..self.over(now) }
    }

    /// Whether a request that began then was sent after the rest was over, so that its fate says how the instance is now.
    pub(super) fn is_tried_by(self, began: Tick) -> bool {
        micros(began) >= self.micros
    }

    pub(super) fn ends(self) -> u64 {
        if self.is_probed() { self.micros + PROBE } else { self.micros }
    }

    pub(super) fn is_over(self, now: Tick) -> bool {
        micros(now) >= self.ends()
    }

    pub(super) fn is_probed(self) -> bool {
        matches!(self.probe, Probe::Upload | Probe::Whole)
    }

    /// Whether nobody tries it before some time has passed.
    pub(super) fn is_waiting(self, now: Tick) -> bool {
        !self.is_probed() && !self.is_over(now)
    }

    /// Whether no connection could be made, and none was since.
    pub(super) fn is_unreached(self) -> bool {
        self.cause == Cause::Connect && self.probe == Probe::Nobody
    }

    /// Whether some request may be the probe.
    pub(super) fn is_due(self, now: Tick) -> bool {
        self.is_over(now) || self.probe == Probe::Upload
    }

    /// Whether one with that at stake may, if the instance is out since then. What would be lost if the instance still
    /// answers as it did comes later than what would not: after half of the time that the instance has been out.
    pub(super) fn is_due_for(self, stake: Stake, since: Tick, now: Tick) -> bool {
        if self.probe == Probe::Upload && stake != Stake::Turn {
            return true;
        }
        let waits = stake != Stake::Nothing && self.cause == Cause::Consecutive && !self.is_probed();
        let patience = self.micros.saturating_sub(micros(since)) / 2;
        micros(now) >= self.ends() + if waits { patience.min(PATIENCE) } else { 0 }
    }

    pub(super) fn of(word: u64) -> Option<Self> {
        let cause = Cause::of((word >> CAUSE_SHIFT) as u8)?;
        let flags = (word >> TIME_BITS) as u8;
        let probe = [Probe::Nobody, Probe::Upload, Probe::Whole, Probe::Reached][usize::from(flags & 0b11)];
        Some(Self { cause, row: flags >> 2, probe, micros: word & TIME_MASK })
    }

    pub(super) fn word(self) -> u64 {
        let flags = self.row << 2 | self.probe as u8;
        (self.cause as u64) << CAUSE_SHIFT | u64::from(flags) << TIME_BITS | self.micros & TIME_MASK
    }
}
