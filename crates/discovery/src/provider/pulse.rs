//! When a source was heard and asked, and what came of it. Written by the source, read by the operator's pages; so that an
//! answer without news costs no message.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use model::Tick;
use transport::client::Questions;

/// The signs of life of one source.
#[derive(Debug, Default)]
pub struct Pulse {
    /// Of the last answer; 0: none yet.
    heard: AtomicU64,
    /// Of the last time everything was read; 0: not yet.
    read: AtomicU64,
    /// How often everything was read.
    reads: AtomicU64,
    questions: Arc<Questions>,
    /// How often it failed: as a whole, or to tell of one service.
    failures: AtomicU64,
    /// When it failed as a whole, since when it was not heard; 0: it does well.
    failed: AtomicU64,
    /// Nanoseconds from the failure before that to the question after it.
    pause: AtomicU64,
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

    /// How often everything was read: once at the start, again after each outage and from time to time.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// What it was asked.
    #[must_use]
    pub fn questions(&self) -> &Arc<Questions> {
        &self.questions
    }

    /// How often it failed: as a whole, or to tell of one service.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// How long it is left alone between two attempts, as it was last or as it lasts already; zero as long as it does well.
    #[must_use]
    pub fn pause(&self, now: Tick) -> Duration {
        let Some(failed) = at(&self.failed) else { return Duration::ZERO };
        let until = self.questions.last().filter(|asked| *asked > failed).unwrap_or(now);
        until.since(failed).max(Duration::from_nanos(self.pause.load(Ordering::Relaxed)))
    }

    pub(super) fn note_heard(&self, now: Tick) {
        self.heard.store(now.0.max(1), Ordering::Relaxed);
        // Nearly always it did well before.
        if self.failed.load(Ordering::Relaxed) > 0 {
            self.failed.store(0, Ordering::Relaxed);
            self.pause.store(0, Ordering::Relaxed);
        }
    }

    pub(super) fn note_read(&self, now: Tick) {
        self.note_heard(now);
        self.read.store(now.0.max(1), Ordering::Relaxed);
        self.reads.fetch_add(1, Ordering::Relaxed);
    }

    /// It failed to tell of one service.
    pub(super) fn note_doubt(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// It failed as a whole.
    pub(super) fn note_failure(&self, now: Tick) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let before = self.failed.swap(now.0.max(1), Ordering::Relaxed);
        let asked = self.questions.last().map_or(0, |asked| asked.0);
        if before > 0 && asked > before {
            self.pause.store(asked - before, Ordering::Relaxed);
        }
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
        assert_eq!((pulse.heard(), pulse.read(), pulse.reads()), (Some(Tick(7)), Some(Tick(7)), 1));
    }

    #[test]
    fn the_pause_lasts_from_a_failure_to_the_next_question() {
        let (pulse, start) = (Pulse::default(), Tick(1_000_000_000));
        let at = |millis| start.after(Duration::from_millis(millis));
        let pause = |millis| pulse.pause(at(millis)).as_millis();
        pulse.questions().note(at(0));
        assert_eq!(pause(5), 0);
        pulse.note_failure(at(10));
        assert_eq!(pause(150), 140, "it lasts");
        pulse.questions().note(at(210));
        assert_eq!(pause(900), 200, "the question takes long, the pause is over");
        pulse.note_failure(at(1_000));
        assert_eq!((pause(1_001), pause(1_500)), (200, 500), "the last one, until the next is longer");
        pulse.questions().note(at(1_600));
        pulse.note_heard(at(1_601));
        assert_eq!((pause(9_999), pulse.failures(), pulse.questions().count()), (0, 2, 3));
        pulse.note_doubt();
        assert_eq!((pause(9_999), pulse.failures()), (0, 3));
    }
}
