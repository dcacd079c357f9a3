//! hot path
//!
//! Failures in a row, and how often that put the instance out of late: one atomic, which requests that succeed only read.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The lower half counts failures in a row, the rest ejections.
const ROW: u32 = 0xFFFF;
const EJECTION: u32 = ROW + 1;
/// More than make a rest longer.
const MOST: u32 = 16;

#[derive(Debug, Default)]
pub(crate) struct Streak(AtomicU32);

impl Streak {
    /// One more failure; returns how many in a row that makes.
    pub(crate) fn fail(&self) -> u16 {
        let next = |word| (word & ROW < ROW).then(|| word + 1);
        let before = self.0.fetch_update(Relaxed, Relaxed, next).unwrap_or_else(|full| full);
        u16::try_from((before & ROW) + 1).unwrap_or(u16::MAX)
    }

    /// A success ends the row.
    pub(crate) fn succeed(&self) {
        if self.0.load(Relaxed) & ROW != 0 {
            self.0.fetch_and(!ROW, Relaxed);
        }
    }

    /// Ejections of late, before this one.
    pub(crate) fn eject(&self) -> u8 {
        let next = |word| (word / EJECTION < MOST).then(|| word + EJECTION);
        let before = self.0.fetch_update(Relaxed, Relaxed, next).unwrap_or_else(|full| full);
        u8::try_from(before / EJECTION).unwrap_or(u8::MAX)
    }

    /// Ejections of late.
    pub(crate) fn ejections(&self) -> u8 {
        u8::try_from(self.0.load(Relaxed) / EJECTION).unwrap_or(u8::MAX)
    }

    /// Some time went by without one: one less. True if any is left to forget.
    pub(crate) fn forget(&self) -> bool {
        let next = |word| (word >= EJECTION).then(|| word - EJECTION);
        self.0.fetch_update(Relaxed, Relaxed, next).is_ok_and(|before| before >= 2 * EJECTION)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_ejections_are_counted_apart() {
        let streak = Streak::default();
        assert_eq!((1..=3).map(|_| streak.fail()).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(streak.eject(), 0);
        streak.succeed();
        assert_eq!((streak.fail(), streak.eject()), (1, 1));
        assert_eq!(streak.ejections(), 2);
        assert!(streak.forget() && !streak.forget() && !streak.forget());
        assert_eq!((streak.ejections(), streak.fail(), streak.eject()), (0, 2, 0));
    }

    #[test]
    fn neither_overflows() {
        let streak = Streak::default();
        assert_eq!((0..70_000).map(|_| streak.fail()).last(), Some(u16::MAX));
        assert_eq!((0..100).map(|_| streak.eject()).last(), Some(16));
        streak.succeed();
        assert_eq!((streak.fail(), streak.eject()), (1, 16));
    }
}
