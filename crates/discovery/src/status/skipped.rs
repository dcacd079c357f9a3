//! The records a source could not use: all are counted, and of many the first in a minute are told.

use std::{collections::VecDeque, time::Duration};

use model::Tick;

/// How many reasons for skipped records are kept, and told in a [`MINUTE`]: enough to see the pattern, few enough to read,
/// and too few for a registry's writer to push everything else out of log and history.
const REASONS: usize = 32;
const MINUTE: Duration = Duration::from_secs(60);
/// Bytes of a reason that are kept: what stands in a registry may be long.
const REASON: usize = 300;

/// Records that could not be used.
#[derive(Debug, Clone, Default)]
pub struct Skipped {
    /// How many there were.
    pub count: u64,
    /// Why, for the last of them.
    pub reasons: VecDeque<String>,
    /// How many of them were told since when.
    told: (usize, Tick),
}

impl Skipped {
    /// One more. Returns the reason if it is to be told, and whether it is the last of this minute.
    pub(super) fn note(&mut self, mut reason: String, now: Tick) -> Option<(String, bool)> {
        reason.truncate(reason.floor_char_boundary(REASON));
        self.count += 1;
        if !self.reasons.contains(&reason) {
            self.reasons.push_back(reason.clone());
        }
        if self.reasons.len() > REASONS {
            self.reasons.pop_front();
        }
        if now.since(self.told.1) >= MINUTE {
            self.told = (0, now);
        }
        self.told.0 += 1;
        (self.told.0 <= REASONS).then_some((reason, self.told.0 == REASONS))
    }
}
