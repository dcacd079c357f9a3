//! The one place where [`Tick`]s come from, and a clock that is read once per poll of a task.

use std::{
    cell::Cell,
    sync::OnceLock,
    time::{Duration, SystemTime},
};

use model::Tick;
use tokio::time::Instant;

/// How long the calendar is trusted to go with the clock: a step of the system's time is seen this late.
const CALENDAR: Duration = Duration::from_secs(1);

thread_local! {
    static HAND: Cell<Hand> = const { Cell::new(Hand::Free) };
    static ANCHOR: Cell<Option<(Instant, SystemTime)>> = const { Cell::new(None) };
}

/// What the clock of a thread does.
#[derive(Debug, Clone, Copy)]
enum Hand {
    /// Goes on: every reading is new.
    Free,
    /// Stands still from the first reading on.
    Held(Option<Instant>),
}

/// Now. Within [`hold`] that is when it was read first. Follows tokio's clock, so paused tests work.
#[must_use]
pub fn now() -> Instant {
    HAND.with(|hand| match hand.get() {
        Hand::Free => Instant::now(),
        Hand::Held(Some(now)) => now,
        Hand::Held(None) => {
            let now = Instant::now();
            hand.set(Hand::Held(Some(now)));
            now
        }
    })
}

/// Now, read anew: something just happened that the clock must agree with.
pub fn renew() -> Instant {
    let now = Instant::now();
    if let Hand::Held(_) = HAND.get() {
        HAND.set(Hand::Held(Some(now)));
    }
    now
}

/// Runs one poll for which the clock stands still: a request asks for the time a dozen times, within microseconds.
pub fn hold<T>(poll: impl FnOnce() -> T) -> T {
    let _released = Release(HAND.replace(match HAND.get() {
        Hand::Free => Hand::Held(None),
        held => held,
    }));
    poll()
}

/// Lets the clock do what it did before, also after a panic. Within an outer [`hold`] it goes on standing still.
struct Release(Hand);

impl Drop for Release {
    fn drop(&mut self) {
        if matches!(self.0, Hand::Free) {
            HAND.set(Hand::Free);
        }
    }
}

/// Now, as nanoseconds since the first call in this process.
#[must_use]
pub fn tick() -> Tick {
    at(now())
}

/// That instant as a tick; instants before the first call count as the beginning.
#[must_use]
pub fn at(instant: Instant) -> Tick {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    let epoch = *EPOCH.get_or_init(Instant::now);
    Tick::default().after(instant.saturating_duration_since(epoch))
}

/// That instant, a recent one, by the calendar.
#[must_use]
pub fn calendar(instant: Instant) -> SystemTime {
    let anchor = ANCHOR.get();
    let near = anchor.and_then(|(at, time)| {
        let since = instant.checked_duration_since(at).filter(|since| *since < CALENDAR)?;
        time.checked_add(since)
    });
    near.unwrap_or_else(|| {
        let time = SystemTime::now();
        ANCHOR.set(Some((instant, time)));
        time
    })
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, pin::pin};

    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn the_clock_stands_still_within_one_poll_and_goes_on_in_the_next() {
        let start = Instant::now();
        let mut readings = pin!(async {
            let first = now();
            advance(SECOND).await;
            (first, now())
        });
        let readings = poll_fn(|cx| hold(|| readings.as_mut().poll(cx)));
        assert_eq!(readings.await, (start, start + SECOND));
        assert_eq!(now(), start + SECOND);
    }

    #[test]
    fn an_inner_hold_and_a_panic_leave_it_as_it_was() {
        let held = hold(|| (now(), hold(now), now(), renew(), now()));
        assert!(held.0 == held.1 && held.1 == held.2 && held.2 <= held.3 && held.3 == held.4);
        assert!(std::panic::catch_unwind(|| hold(|| assert!(now() < Instant::now() - SECOND))).is_err());
        let before = Instant::now();
        assert!(now() >= before);
    }

    #[tokio::test(start_paused = true)]
    async fn the_calendar_goes_with_the_clock() {
        let start = now();
        let time = calendar(start);
        assert_eq!(calendar(start + SECOND / 2), time + SECOND / 2);
        assert!(calendar(start + 3600 * SECOND) < time + 60 * SECOND, "read anew");
    }
}
