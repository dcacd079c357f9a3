//! A request in the line for a place, over all cores: see [`balancer::queue`].

use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll, time::Duration};

use balancer::{
    ServiceVitals,
    queue::{Call, Line, Ticket},
};
use model::Refusal;
use tokio::time::{Instant, sleep_until};

use super::{Place, Wanted};

/// How often the first of a line looks by itself: of what nobody leaves who would hand it over. An instance comes, or has
/// failed a request that goes on elsewhere; a reload raises a limit; or whoever left a place did not see yet that somebody
/// waits for it.
const LOOK: Duration = Duration::from_millis(20);

/// A request in a line. Dropped, it has left.
#[derive(Debug)]
pub(super) struct Queued {
    vitals: Arc<ServiceVitals>,
    ticket: Ticket,
    until: Instant,
}

impl Queued {
    /// Joins at the end, unless as many wait as may.
    pub(super) fn join(wanted: &Wanted, line: Line) -> Option<Self> {
        let ticket = wanted.vitals.queue.join(line, wanted.bounds.queue, wanted.bounds.requests)?;
        let until = Instant::now() + wanted.bounds.wait;
        Some(Self { vitals: Arc::clone(&wanted.vitals), ticket, until })
    }

    /// Whether it is this service that it waits for. A service that was forgotten and came back is another one.
    pub(super) fn is_at(&self, vitals: &Arc<ServiceVitals>) -> bool {
        Arc::ptr_eq(&self.vitals, vitals)
    }

    pub(super) fn ticket(&self) -> &Ticket {
        &self.ticket
    }

    /// Whether nobody in its line came before.
    pub(super) fn is_first(&self) -> bool {
        self.vitals.queue.is_first(&self.ticket)
    }

    /// It has a place and no use for it, because its instances are full: it waits for them from now on, and somebody else
    /// gets the place.
    pub(super) fn pass_on(&mut self, place: Place, line: Line) {
        self.vitals.queue.change(&mut self.ticket, line);
        place.pass_on(&self.ticket);
    }

    /// Ready when it should try, perhaps with a place that was handed to it: it was called, or it is the first and it is
    /// time to look.
    pub(super) async fn called(&mut self) -> Result<Option<Place>, Refusal> {
        let look = Instant::now() + LOOK;
        let mut alarm = pin!(sleep_until(if self.is_first() { look.min(self.until) } else { self.until }));
        poll_fn(|cx| match self.vitals.queue.poll(&self.ticket, cx) {
            Poll::Ready(Call::Place) => Poll::Ready(Ok(Some(Place::of(&self.vitals)))),
            Poll::Ready(Call::Look) => Poll::Ready(Ok(None)),
            Poll::Pending => alarm
                .as_mut()
                .poll(cx)
                .map(|()| if Instant::now() < self.until { Ok(None) } else { Err(Refusal::QueueTimeout) }),
        })
        .await
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        if self.vitals.queue.leave(&self.ticket) {
            // It was handed one that it never took.
            drop(Place::of(&self.vitals));
        }
    }
}

#[cfg(test)]
mod tests {
    use discovery::Bounds;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn wanted() -> Wanted {
        let bounds = Bounds { requests: 1, queue: 3, wait: SECOND, ..Bounds::default() };
        Wanted { vitals: Arc::default(), bounds, line: Line::instances(None), lacking: None, is_cut_off: false }
    }

    fn queue(wanted: &Wanted) -> Queued {
        Queued::join(wanted, Line::PLACE).unwrap()
    }

    /// What a request in hand leaves when its answer is complete.
    fn in_hand(wanted: &Wanted) -> Place {
        assert!(wanted.vitals.occupancy.try_enter(1));
        Place::of(&wanted.vitals)
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_is_handed_from_one_to_the_next() {
        let wanted = wanted();
        let place = in_hand(&wanted);
        let (mut a, mut b, c) = (queue(&wanted), queue(&wanted), queue(&wanted));
        assert!(Queued::join(&wanted, Line::PLACE).is_none(), "the queue has an end");
        let start = Instant::now();
        drop(place);
        let place = a.called().await.unwrap().expect("a place");
        drop(c); // gives up: nobody's turn comes of it
        drop(a);
        assert!(b.called().await.unwrap().is_none(), "the first may look");
        drop(place);
        let place = b.called().await.unwrap().expect("a place");
        assert_eq!(start.elapsed(), Duration::ZERO, "nobody had to look");
        drop((place, b));
        assert_eq!((wanted.vitals.queue.len(), wanted.vitals.occupancy.in_flight()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_looks_now_and_then_the_others_wait_and_all_give_up_in_time() {
        let wanted = wanted();
        let _place = in_hand(&wanted);
        let (mut a, mut b) = (queue(&wanted), queue(&wanted));
        let start = Instant::now();
        assert!(a.called().await.unwrap().is_none());
        assert_eq!(start.elapsed(), LOOK);
        assert_eq!(b.called().await.err(), Some(Refusal::QueueTimeout));
        assert_eq!(start.elapsed(), SECOND);
        assert_eq!(a.called().await.err(), Some(Refusal::QueueTimeout));
    }

    /// What was handed to a request that is gone goes to the next one; and so does what somebody cannot use.
    #[tokio::test(start_paused = true)]
    async fn no_place_is_lost() {
        let wanted = wanted();
        let place = in_hand(&wanted);
        let (gone, mut full, mut last) = (queue(&wanted), queue(&wanted), queue(&wanted));
        drop(place);
        drop(gone);
        let place = full.called().await.unwrap().expect("a place");
        full.pass_on(place, wanted.line);
        let place = last.called().await.unwrap().expect("a place");
        assert!(full.is_first() && last.is_first(), "in two lines");
        drop((place, last));
        assert_eq!(wanted.vitals.occupancy.in_flight(), 1, "the one that waits for an instance has a place again");
        drop(full);
        assert_eq!(wanted.vitals.occupancy.in_flight(), 0);
    }
}
