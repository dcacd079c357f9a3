//! When a source was heard, whether or not it said anything new. Written by the source, read by the operator's pages; so
//! that an answer without news costs no message.

use std::sync::atomic::{AtomicU64, Ordering};

use model::Tick;

/// The last signs of life of one source.
#[derive(Debug, Default)]
pub struct Pulse {
    /// Of an answer; 0: none yet.
    heard: AtomicU64,
    /// Of the last time everything was read; 0: not yet.
    read: AtomicU64,
}

impl Pulse {
    /// When the source last answered.
    #[must_use]
    pub fn heard(&self) -> Option<Tick> {
        at(&self.heard)
    }

    /// When everything it holds was last read, besides the changes it tells of.
    #[must_use]
    pub fn read(&self) -> Option<Tick> {
        at(&self.read)
    }

    pub(super) fn note_heard(&self, now: Tick) {
        self.heard.store(now.0.max(1), Ordering::Relaxed);
    }

    pub(super) fn note_read(&self, now: Tick) {
        self.note_heard(now);
        self.read.store(now.0.max(1), Ordering::Relaxed);
    }
}

fn at(time: &AtomicU64) -> Option<Tick> {
    Some(time.load(Ordering::Relaxed)).filter(|at| *at > 0).map(Tick)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_everything_is_hearing_too() {
        let pulse = Pulse::default();
        assert_eq!((pulse.heard(), pulse.read()), (None, None));
        pulse.note_heard(Tick(5));
        assert_eq!((pulse.heard(), pulse.read()), (Some(Tick(5)), None));
        pulse.note_read(Tick(7));
        assert_eq!((pulse.heard(), pulse.read()), (Some(Tick(7)), Some(Tick(7))));
    }
}
