//! hot path
//!
//! The limits of an exchange (idle, stall, total) on one lazily re-armed alarm: moving bytes only notes the time.

mod later;

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep};

use crate::clock;
use later::{Place, SOON};

/// Which limit ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expired {
    /// Nothing moved for the idle time.
    Idle,
    /// The whole exchange took too long.
    Deadline,
}

/// Limits of one exchange. `None` is no limit.
#[derive(Debug)]
pub struct Timer {
    idle: Option<Duration>,
    stall: Option<Duration>,
    stalled: bool,
    deadline: Option<Instant>,
    moved: Instant,
    alarm: Alarm,
}

impl Timer {
    /// Starts now. `idle` is how long nothing may come, `stall` how long what is at hand may not be taken.
    #[must_use]
    pub fn new(idle: Option<Duration>, stall: Option<Duration>, deadline: Option<Instant>) -> Self {
        Self { idle, stall, stalled: false, deadline, moved: clock::now(), alarm: Alarm::default() }
    }

    /// Something moved.
    pub fn touch(&mut self) {
        self.moved = clock::now();
    }

    /// From now on another idle limit holds.
    pub fn set_idle(&mut self, idle: Option<Duration>) {
        self.idle = idle;
        self.touch();
    }

    /// When the whole exchange must be over.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn due(&self) -> Option<(Instant, Expired)> {
        let limit = if self.stalled { self.stall } else { self.idle };
        let idle = limit.map(|limit| (self.moved + limit, Expired::Idle));
        let total = self.deadline.map(|at| (at, Expired::Deadline));
        match (idle, total) {
            (Some(a), Some(b)) => Some(if a.0 < b.0 { a } else { b }),
            (a, b) => a.or(b),
        }
    }

    /// Ready when a limit ran out, while waiting for something to come.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Expired> {
        self.stalled = false;
        self.poll_due(cx)
    }

    /// Ready when a limit ran out, while waiting for what is at hand to be taken.
    pub fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<Expired> {
        self.stalled = true;
        self.poll_due(cx)
    }

    fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<Expired> {
        let Some((due, what)) = self.due() else { return Poll::Pending };
        self.alarm.poll(due, cx).map(|()| what)
    }
}

/// Rings once, and is re-armed only when it rang or would ring too late: putting a limit off just notes the time.
#[derive(Debug, Default)]
pub struct Alarm(Armed);

#[derive(Debug, Default)]
enum Armed {
    #[default]
    Not,
    /// Nothing is due soon.
    Later(Place),
    Sleep(Pin<Box<Sleep>>),
}

impl Alarm {
    /// Ready if it is `due`; else it will wake the task by then at the latest.
    pub fn poll(&mut self, due: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let now = clock::now();
        if due <= now {
            return Poll::Ready(());
        }
        if due.duration_since(now) > SOON {
            if let Armed::Not = self.0
                && let Some(place) = Place::take()
            {
                self.0 = Armed::Later(place);
            }
            if let Armed::Later(place) = &mut self.0 {
                place.wait(due, cx.waker());
                return Poll::Pending;
            }
        }
        self.sleep(due, cx)
    }

    fn sleep(&mut self, due: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if !matches!(self.0, Armed::Sleep(_)) {
            self.0 = Armed::Sleep(Box::pin(tokio::time::sleep_until(due)));
        }
        let Armed::Sleep(sleep) = &mut self.0 else { return Poll::Pending };
        if sleep.deadline() > due || sleep.is_elapsed() {
            sleep.as_mut().reset(due);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            // It rang by the real clock, which the one that stands still must not lag behind.
            if due <= clock::renew() {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(due);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_moves_puts_the_idle_limit_off_but_not_the_deadline() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut timer = Timer::new(Some(10 * second), None, Some(start + 25 * second));
        for _ in 0..3 {
            let wait = tokio::time::timeout(7 * second, poll_fn(|cx| timer.poll(cx)));
            assert!(wait.await.is_err());
            timer.touch();
        }
        assert_eq!(poll_fn(|cx| timer.poll(cx)).await, Expired::Deadline);
        assert_eq!(start.elapsed(), 25 * second);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_idle_and_a_shorter_limit_set_later_holds() {
        let start = Instant::now();
        let mut timer = Timer::new(Some(Duration::from_secs(100)), None, None);
        assert!(tokio::time::timeout(Duration::from_secs(1), poll_fn(|cx| timer.poll(cx))).await.is_err());
        timer.set_idle(Some(Duration::from_secs(2)));
        assert_eq!(poll_fn(|cx| timer.poll(cx)).await, Expired::Idle);
        assert_eq!(start.elapsed(), Duration::from_secs(3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_alarms_ring_each_in_its_time() {
        let start = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        let local = tokio::task::LocalSet::new();
        for n in 0..1000_u64 {
            let due = start + Duration::from_millis(n * 37);
            tasks.spawn_local_on(
                async move {
                    let mut alarm = Alarm::default();
                    poll_fn(|cx| alarm.poll(due, cx)).await;
                    (due, Instant::now())
                },
                &local,
            );
        }
        let times = local.run_until(tasks.join_all()).await;
        assert!(times.into_iter().all(|(due, rang)| due == rang));
    }

    /// One thread, many runtimes, as in tests: the list must not wait for a task that is gone.
    #[test]
    fn the_list_is_watched_again_after_its_runtime_ended() {
        for _ in 0..2 {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
            runtime.unwrap().block_on(async {
                let due = Instant::now() + Duration::from_secs(9);
                let mut alarm = Alarm::default();
                poll_fn(|cx| alarm.poll(due, cx)).await;
                assert_eq!(Instant::now(), due);
            });
        }
    }
}
