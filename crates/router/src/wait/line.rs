//! Who waits for a place on one core, first come first served. Nothing is locked: a line never leaves its core. Across
//! cores the first of each line looks again from time to time.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, VecDeque},
    future::poll_fn,
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use balancer::ServiceVitals;
use model::Refusal;
use tokio::time::{Instant, sleep_until};

/// How often the first looks whether another core left a place.
const LOOK: Duration = Duration::from_millis(20);

/// The lines of one core, by service, and how many of its requests wait for an instance.
#[derive(Debug, Default)]
pub struct Lines {
    lines: RefCell<HashMap<Key, VecDeque<Rc<Seat>>>>,
    held: Cell<u32>,
}

/// The vitals of a service by where they are: whoever waits keeps them there.
type Key = *const ServiceVitals;

/// One who waits.
#[derive(Debug, Default)]
struct Seat {
    called: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Lines {
    /// Calls the first who waits for this service, if there is one.
    pub fn call(&self, vitals: &Arc<ServiceVitals>) {
        let first = self.lines.borrow().get(&Arc::as_ptr(vitals)).and_then(|line| line.front().cloned());
        if let Some(first) = first {
            first.call();
        }
    }

    fn join(&self, key: Key) -> Rc<Seat> {
        let seat = Rc::new(Seat::default());
        self.lines.borrow_mut().entry(key).or_default().push_back(Rc::clone(&seat));
        seat
    }

    /// Leaves the line. Whoever is first then may try at once.
    fn leave(&self, key: Key, seat: &Rc<Seat>) {
        let mut lines = self.lines.borrow_mut();
        let Some(line) = lines.get_mut(&key) else { return };
        // Those who leave are nearly always the first.
        let Some(at) = line.iter().position(|other| Rc::ptr_eq(other, seat)) else { return };
        line.remove(at);
        let first = line.front().filter(|_| at == 0).cloned();
        if line.is_empty() {
            lines.remove(&key);
        }
        drop(lines);
        if let Some(first) = first {
            first.call();
        }
    }

    pub(super) fn held(&self) -> u32 {
        self.held.get()
    }

    pub(super) fn hold(&self) {
        self.held.set(self.held.get() + 1);
    }

    pub(super) fn release(&self) {
        self.held.set(self.held.get() - 1);
    }
}

impl Seat {
    fn call(&self) {
        self.called.set(true);
        let waker = self.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        if self.called.take() {
            return Poll::Ready(());
        }
        *self.waker.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// A request in the line. Dropped, it has left.
#[derive(Debug)]
pub(super) struct Queued {
    lines: Rc<Lines>,
    vitals: Arc<ServiceVitals>,
    seat: Rc<Seat>,
    until: Instant,
}

impl Queued {
    /// Joins at the end, unless as many wait on all cores as may.
    pub(super) fn join(lines: &Rc<Lines>, vitals: &Arc<ServiceVitals>, most: u32, until: Instant) -> Option<Self> {
        if !vitals.occupancy.try_queue(most) {
            return None;
        }
        let seat = lines.join(Arc::as_ptr(vitals));
        Some(Self { lines: Rc::clone(lines), vitals: Arc::clone(vitals), seat, until })
    }

    /// Whether nobody on this core came before.
    pub(super) fn is_first(&self) -> bool {
        let lines = self.lines.lines.borrow();
        let first = lines.get(&Arc::as_ptr(&self.vitals)).and_then(VecDeque::front);
        first.is_some_and(|first| Rc::ptr_eq(first, &self.seat))
    }

    /// Ready when it should try: it was called, or is first and it is time to look what other cores left.
    pub(super) async fn called(&mut self) -> Result<(), Refusal> {
        let look = Instant::now() + LOOK;
        let mut alarm = pin!(sleep_until(if self.is_first() { look.min(self.until) } else { self.until }));
        poll_fn(|cx| {
            if self.seat.poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            alarm
                .as_mut()
                .poll(cx)
                .map(|()| if Instant::now() < self.until { Ok(()) } else { Err(Refusal::QueueTimeout) })
        })
        .await
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.vitals.occupancy.dequeue();
        self.lines.leave(Arc::as_ptr(&self.vitals), &self.seat);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn queue(lines: &Rc<Lines>, vitals: &Arc<ServiceVitals>) -> Queued {
        Queued::join(lines, vitals, 100, Instant::now() + SECOND).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_is_called_and_then_the_next() {
        let (lines, vitals) = (Rc::new(Lines::default()), Arc::new(ServiceVitals::default()));
        let (mut a, mut b, c) = (queue(&lines, &vitals), queue(&lines, &vitals), queue(&lines, &vitals));
        assert!(a.is_first() && !b.is_first() && !c.is_first());
        lines.call(&vitals);
        let start = Instant::now();
        assert_eq!(a.called().await, Ok(()));
        assert_eq!(start.elapsed(), Duration::ZERO, "it did not have to look");
        assert!(!b.seat.called.get());
        drop(c); // gives up: nobody's turn comes of it
        assert!(!b.seat.called.get());
        drop(a);
        assert_eq!(b.called().await, Ok(()));
        assert!(b.is_first() && start.elapsed() == Duration::ZERO);
        drop(b);
        assert!(lines.lines.borrow().is_empty() && vitals.occupancy.queued() == 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_looks_now_and_then_the_others_wait_and_all_give_up_in_time() {
        let (lines, vitals) = (Rc::new(Lines::default()), Arc::new(ServiceVitals::default()));
        let (mut a, mut b) = (queue(&lines, &vitals), queue(&lines, &vitals));
        let start = Instant::now();
        assert_eq!(a.called().await, Ok(()));
        assert_eq!(start.elapsed(), LOOK);
        assert_eq!(b.called().await, Err(Refusal::QueueTimeout));
        assert_eq!(start.elapsed(), SECOND);
        assert_eq!(a.called().await, Err(Refusal::QueueTimeout));
    }

    #[test]
    fn a_queue_has_an_end() {
        let (lines, vitals) = (Rc::new(Lines::default()), Arc::new(ServiceVitals::default()));
        let until = Instant::now() + SECOND;
        let first = Queued::join(&lines, &vitals, 1, until);
        assert!(first.is_some() && Queued::join(&lines, &vitals, 1, until).is_none());
        drop(first);
        assert!(Queued::join(&lines, &vitals, 1, until).is_some());
    }
}
