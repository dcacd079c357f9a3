//! Reads a journal whatever its state: lines that are whole count, others are left out. Pure.

use std::{collections::BTreeMap, sync::Arc};

use super::{FORMAT, Line, What};
use crate::{
    digest::Digest,
    provider::embedded::{Registration, lease::Key},
};

/// What a journal says.
#[derive(Debug, Default)]
pub(super) struct Replay {
    pub(super) live: BTreeMap<Key, Arc<Registration>>,
    /// The highest index in it.
    pub(super) index: u64,
    /// Whether the last line has no end: it was being written when the power went.
    pub(super) torn: bool,
    /// How many lines cannot be read, or all if the format is not ours.
    pub(super) damaged: usize,
}

/// What these bytes say.
pub(super) fn replay(bytes: &[u8]) -> Replay {
    let mut replay = Replay::default();
    let mut lines = bytes.split(|b| *b == b'\n').peekable();
    while let Some(line) = lines.next() {
        if lines.peek().is_none() {
            // Behind the last line end there is nothing, or half a line.
            replay.torn = !line.is_empty();
            break;
        }
        match decode(line) {
            Some(Line { index, what }) => {
                replay.index = replay.index.max(index);
                match what {
                    What::Format(FORMAT) => {}
                    What::Format(_) => replay.damaged += 1,
                    What::Register(r) => drop(replay.live.insert((r.name.clone(), r.id.clone()), r)),
                    What::Remove(key) => drop(replay.live.remove(&key)),
                }
            }
            None => replay.damaged += 1,
        }
    }
    replay
}

/// A line without its end, if it is whole.
fn decode(line: &[u8]) -> Option<Line> {
    let (sum, json) = line.split_at_checked(17)?;
    let sum = std::str::from_utf8(sum).ok()?.strip_suffix(' ')?;
    let sum = u64::from_str_radix(sum, 16).ok()?;
    if sum != Digest::of(json) {
        return None;
    }
    serde_json::from_slice(json).ok()
}
