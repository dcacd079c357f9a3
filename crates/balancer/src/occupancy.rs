//! hot path
//!
//! Who is in a service: requests in hand, and held until it has an instance.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use model::Tick;

/// What the requests of one service take up, over all cores.
///
/// Every count stands alone and guards no other memory, so all accesses are relaxed: a limit is kept exactly, because
/// whoever counts himself in above it counts himself out again.
#[derive(Debug, Default)]
pub struct Occupancy {
    /// Written by each request at its beginning and its end.
    in_flight: AtomicU32,
    /// Written by requests that wait for an instance.
    held: AtomicU32,
    /// Since when it has no instance, in nanoseconds and one more; 0 if it has. Written by the table's writer.
    vacant: AtomicU64,
}

impl Occupancy {
    /// Takes a place among at most so many requests in hand. On `false` nothing was taken.
    #[must_use]
    pub fn try_enter(&self, most: u32) -> bool {
        try_add(&self.in_flight, most)
    }

    /// The same for those who wait: never above the limit, not even for a moment, so that of several who try at once one gets
    /// in if there is room. Dearer than [`try_enter`](Self::try_enter) if many do.
    #[must_use]
    pub fn try_enter_in_turn(&self, most: u32) -> bool {
        self.in_flight.fetch_update(Relaxed, Relaxed, |count| (count < most).then_some(count + 1)).is_ok()
    }

    /// Gives it back.
    pub fn leave(&self) {
        subtract(&self.in_flight);
    }

    /// Requests in hand.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// Joins those, at most so many, who wait for an instance.
    #[must_use]
    pub fn try_hold(&self, most: u32) -> bool {
        try_add(&self.held, most)
    }

    /// Waits for an instance no longer.
    pub fn release(&self) {
        subtract(&self.held);
    }

    /// Requests that wait for an instance.
    #[must_use]
    pub fn held(&self) -> u32 {
        self.held.load(Relaxed)
    }

    /// The service has no instance; it may have had none before.
    pub fn vacate(&self, now: Tick) {
        // Only the first call in a row counts. There is one writer.
        if self.vacant.load(Relaxed) == 0 {
            self.vacant.store(now.0.saturating_add(1), Relaxed);
        }
    }

    /// The service has an instance.
    pub fn occupy(&self) {
        self.vacant.store(0, Relaxed);
    }

    /// Since when the service has had no instance.
    #[must_use]
    pub fn vacant_since(&self) -> Option<Tick> {
        self.vacant.load(Relaxed).checked_sub(1).map(Tick)
    }
}

fn try_add(count: &AtomicU32, most: u32) -> bool {
    let within = count.fetch_add(1, Relaxed) < most;
    if !within {
        subtract(count);
    }
    within
}

fn subtract(count: &AtomicU32) {
    let before = count.fetch_sub(1, Relaxed);
    debug_assert!(before > 0, "somebody left who had not come");
}

#[cfg(test)]
mod tests {
    use std::{sync::Barrier, thread};

    use super::*;

    #[test]
    fn a_limit_is_kept_and_what_left_makes_room() {
        let occupancy = Occupancy::default();
        assert!(occupancy.try_enter(2) && occupancy.try_enter(2));
        assert!(!occupancy.try_enter(2));
        assert_eq!(occupancy.in_flight(), 2);
        occupancy.leave();
        assert!(occupancy.try_enter(2));
        assert!(occupancy.try_hold(1) && !occupancy.try_hold(1));
        occupancy.release();
        assert_eq!(occupancy.held(), 0);
    }

    #[test]
    fn a_service_is_vacant_since_the_first_time_that_was_said() {
        let occupancy = Occupancy::default();
        assert_eq!(occupancy.vacant_since(), None);
        occupancy.vacate(Tick(0));
        occupancy.vacate(Tick(9));
        assert_eq!(occupancy.vacant_since(), Some(Tick(0)));
        occupancy.occupy();
        assert_eq!(occupancy.vacant_since(), None);
    }

    /// Enough for threads to meet each other in the middle of a step also on two busy cores.
    const ROUNDS: usize = 1_000_000;

    /// Runs on four threads that begin at once.
    fn together(work: impl Fn() + Sync) {
        let start = Barrier::new(4);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    start.wait();
                    (0..ROUNDS).for_each(|_| work());
                });
            }
        });
    }

    /// Whoever is turned away was so because all places were taken, and not because others were being turned away too.
    #[test]
    fn those_who_wait_are_never_more_than_the_limit_even_for_a_moment() {
        let occupancy = Occupancy::default();
        assert!(occupancy.try_enter_in_turn(2) && occupancy.try_enter_in_turn(2));
        together(|| {
            assert!(!occupancy.try_enter_in_turn(2));
            assert_eq!(occupancy.in_flight(), 2);
        });
        occupancy.leave();
        assert!(occupancy.try_enter_in_turn(2));
    }

    #[test]
    fn of_those_who_come_and_go_at_once_none_is_lost() {
        let occupancy = Occupancy::default();
        for enter in [Occupancy::try_enter, Occupancy::try_enter_in_turn] {
            together(|| {
                assert!(enter(&occupancy, 4), "there is room for all");
                occupancy.leave();
            });
            assert_eq!(occupancy.in_flight(), 0);
        }
    }

    /// At a limit of three: nobody inside ever sees more than the limit beside himself, and all is zero at the end.
    #[test]
    fn threads_never_are_more_than_the_limit() {
        let occupancy = Occupancy::default();
        let inside = AtomicU32::new(0);
        for enter in [Occupancy::try_enter, Occupancy::try_enter_in_turn] {
            together(|| {
                if enter(&occupancy, 3) {
                    assert!(inside.fetch_add(1, Relaxed) < 3);
                    inside.fetch_sub(1, Relaxed);
                    occupancy.leave();
                }
            });
            assert_eq!(occupancy.in_flight(), 0);
        }
    }
}
