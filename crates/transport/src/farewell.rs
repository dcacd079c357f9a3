//! hot path
//!
//! The end of long streams, gRPC streams and event streams, which may otherwise go on for days: at an instance that is to
//! leave, at the router's own end, or at a certain age. They end spread out over some time, so that their clients come back one by one, and in a
//! way that clients understand.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE};
use tokio::time::Instant;

use crate::{clock, timer::Alarm};

/// The part of the time for leaving, at its end, over which streams are spread.
const SPREAD: f64 = 0.2;

/// The part of the time for the router's own end, at its beginning, over which streams are spread: all that wait for them
/// to end is the restart.
const CLOSING: f64 = 0.5;

/// The part of its longest age by which a stream may end earlier. Those that began together do not end together.
const YOUNGER: f64 = 0.1;

/// When the long streams of one pool shall end. Shared by them; never leaves its thread.
#[derive(Debug, Default)]
pub struct Farewell {
    by: Cell<Option<By>>,
    streams: RefCell<Streams>,
}

/// The time over which they are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct By {
    why: Why,
    from: Instant,
    end: Instant,
}

/// Who is to be woken when it is said.
#[derive(Debug, Default)]
struct Streams {
    all: Vec<Option<Waker>>,
    free: Vec<usize>,
}

/// How a long stream ends before its instance does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// gRPC: with the status UNAVAILABLE, after which clients try again.
    Grpc,
    /// Server-sent events: simply; clients connect again and say what they had.
    Events,
}

/// Why a long stream ends before its instance does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The instance is to leave.
    Leaves,
    /// The router is to end.
    Closes,
    /// The stream is as old as it may be.
    Old,
    /// Nothing came for as long as that may be so.
    Silent,
    /// The instance broke it off.
    Broke,
}

/// A long stream, as it waits for its end.
#[derive(Debug)]
pub struct Long {
    farewell: Rc<Farewell>,
    pub(crate) ending: Ending,
    /// What begins after the end, because nobody else is there, goes on.
    began: Instant,
    place: Option<usize>,
    /// When it ends because of the farewell that was said last.
    due: Option<(By, Instant)>,
    /// When it is as old as it may be.
    old: Option<Instant>,
    alarm: Alarm,
}

impl Farewell {
    /// Long streams end until `end`, spread over the last fifth of the time until then. Said twice, the first word
    /// stands until its end.
    pub fn say(&self, end: Instant) {
        let now = clock::now();
        if self.by.get().is_none_or(|by| by.why == Why::Leaves && by.end <= now) {
            let from = end - end.saturating_duration_since(now).mul_f64(SPREAD);
            self.tell(Some(By { why: Why::Leaves, from, end }));
        }
    }

    /// The router ends, whatever its instances do: long streams end from now on, spread over the first half of the time until
    /// `deadline`.
    pub fn close(&self, deadline: Instant) {
        let from = clock::now();
        let end = from + deadline.saturating_duration_since(from).mul_f64(CLOSING);
        self.tell(Some(By { why: Why::Closes, from, end }));
    }

    /// The instance stays after all.
    pub fn take_back(&self) {
        if self.by.get().is_some_and(|by| by.why == Why::Leaves) {
            self.tell(None);
        }
    }

    fn tell(&self, by: Option<By>) {
        self.by.set(by);
        self.wake();
    }

    fn wake(&self) {
        let woken: Vec<Waker> = self.streams.borrow_mut().all.iter_mut().filter_map(Option::take).collect();
        woken.into_iter().for_each(Waker::wake);
    }
}

impl By {
    /// When a stream that began then, with these dice, 0 to 1, ends.
    fn due(self, began: Instant, dice: f64) -> Instant {
        let from = self.from.max(began);
        from + self.end.saturating_duration_since(from).mul_f64(dice)
    }
}

impl Ending {
    /// How the stream of an answer with this head ends; `None` if it is no long one.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let kind = headers.get(CONTENT_TYPE)?.as_bytes();
        if kind.starts_with(b"application/grpc") {
            Some(Self::Grpc)
        } else if kind.starts_with(b"text/event-stream") {
            Some(Self::Events)
        } else {
            None
        }
    }

    /// What is said last, if anything is.
    pub(crate) fn trailers(self, why: Why) -> Option<HeaderMap> {
        static STATUS: HeaderName = HeaderName::from_static("grpc-status");
        static MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
        (self == Self::Grpc).then(|| {
            let mut trailers = HeaderMap::with_capacity(2);
            trailers.insert(&STATUS, HeaderValue::from_static("14"));
            trailers.insert(&MESSAGE, HeaderValue::from_static(why.message()));
            trailers
        })
    }
}

impl Why {
    fn message(self) -> &'static str {
        match self {
            Self::Leaves => "the instance is leaving; connect again",
            Self::Closes => "the router is leaving; connect again",
            Self::Old => "the stream is as old as it may be; connect again",
            Self::Silent => "the stream was silent for too long; connect again",
            Self::Broke => "the instance broke the stream off; connect again",
        }
    }
}

impl Long {
    /// A stream that begins now, and ends so at this age at the latest.
    #[must_use]
    pub fn new(farewell: Rc<Farewell>, ending: Ending, age: Option<Duration>) -> Self {
        let began = clock::now();
        let old = age.map(|age| began + age - age.mul_f64(YOUNGER * fastrand::f64()));
        Self { farewell, ending, began, place: None, due: None, old, alarm: Alarm::default() }
    }

    /// Ready when the stream shall end.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Why> {
        self.wait(cx.waker());
        match self.ends() {
            None => Poll::Pending,
            Some((due, why)) => self.alarm.poll(due, cx).map(|()| why),
        }
    }

    /// When it ends, as far as is known now.
    fn ends(&mut self) -> Option<(Instant, Why)> {
        let by = self.farewell.by.get().filter(|by| by.why == Why::Closes || by.end > self.began);
        self.due = by.map(|by| match self.due {
            Some((said, due)) if said == by => (by, due),
            _ => (by, by.due(self.began, fastrand::f64())),
        });
        match (self.due, self.old) {
            (Some((_, due)), Some(old)) if old < due => Some((old, Why::Old)),
            (Some((by, due)), _) => Some((due, by.why)),
            (None, old) => Some((old?, Why::Old)),
        }
    }

    fn wait(&mut self, waker: &Waker) {
        let mut streams = self.farewell.streams.borrow_mut();
        let Streams { all, free } = &mut *streams;
        let place = *self.place.get_or_insert_with(|| {
            free.pop().unwrap_or_else(|| {
                all.push(None);
                all.len() - 1
            })
        });
        match &all[place] {
            Some(same) if same.will_wake(waker) => {}
            _ => all[place] = Some(waker.clone()),
        }
    }
}

impl Drop for Long {
    fn drop(&mut self) {
        let Some(place) = self.place else { return };
        let mut streams = self.farewell.streams.borrow_mut();
        let waker = streams.all[place].take();
        streams.free.push(place);
        drop(streams);
        // It may be the last hold on a task, whose end may bring it here again.
        drop(waker);
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn long(farewell: &Rc<Farewell>) -> Long {
        Long::new(Rc::clone(farewell), Ending::Events, None)
    }

    #[tokio::test(start_paused = true)]
    async fn streams_end_spread_over_the_last_fifth() {
        let (farewell, start) = (Rc::new(Farewell::default()), Instant::now());
        let mut streams: Vec<Long> = (0..200).map(|_| long(&farewell)).collect();
        farewell.say(start + 30 * SECOND);
        farewell.say(start + 90 * SECOND);
        let mut ends = Vec::new();
        let local = tokio::task::LocalSet::new();
        let tasks: Vec<_> = streams
            .drain(..)
            .map(|mut stream| {
                local.spawn_local(async move {
                    poll_fn(|cx| stream.poll(cx)).await;
                    Instant::now()
                })
            })
            .collect();
        local
            .run_until(async {
                for task in tasks {
                    ends.push(task.await.unwrap() - start);
                }
            })
            .await;
        let (first, last) = (*ends.iter().min().unwrap(), *ends.iter().max().unwrap());
        assert!(first >= 24 * SECOND && last <= 30 * SECOND + SECOND / 100, "{first:?} {last:?}");
        assert!(last - first > 5 * SECOND, "spread: {first:?} {last:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_stays_after_all_goes_on_and_places_are_given_back() {
        let (farewell, start) = (Rc::new(Farewell::default()), Instant::now());
        let mut stream = long(&farewell);
        let wait = async |stream: &mut Long, time| tokio::time::timeout(time, poll_fn(|cx| stream.poll(cx))).await;
        assert!(wait(&mut stream, SECOND).await.is_err(), "nobody has said anything");
        farewell.say(start + 10 * SECOND);
        farewell.take_back();
        assert!(wait(&mut stream, 100 * SECOND).await.is_err());
        farewell.say(Instant::now() + 10 * SECOND);
        assert!(wait(&mut stream, 100 * SECOND).await.is_ok());
        drop(stream);
        for _ in 0..3 {
            let mut next = long(&farewell);
            poll_fn(|cx| Poll::Ready(next.poll(cx).is_pending())).await;
        }
        assert_eq!(farewell.streams.borrow().all.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_begins_after_the_end_goes_on_and_is_told_of_the_next_one() {
        let (farewell, start) = (Rc::new(Farewell::default()), Instant::now());
        let wait = async |stream: &mut Long, time| tokio::time::timeout(time, poll_fn(|cx| stream.poll(cx))).await;
        farewell.say(start + 10 * SECOND);
        tokio::time::advance(9 * SECOND).await;
        assert!(wait(&mut long(&farewell), 2 * SECOND).await.is_ok(), "one that begins before it ends with the others");
        tokio::time::advance(SECOND).await;
        let mut late = long(&farewell);
        assert!(wait(&mut late, 100 * SECOND).await.is_err(), "nobody else is there");
        farewell.say(Instant::now() + 10 * SECOND);
        assert!(wait(&mut late, 11 * SECOND).await.is_ok(), "the instance leaves for good");
    }

    #[tokio::test(start_paused = true)]
    async fn old_streams_end_one_by_one_unless_their_instance_leaves_before() {
        let (farewell, start) = (Rc::new(Farewell::default()), Instant::now());
        let aged = || Long::new(Rc::clone(&farewell), Ending::Grpc, Some(100 * SECOND));
        let mut ends = Vec::new();
        for mut stream in (0..50).map(|_| aged()) {
            ends.push(stream.ends().unwrap().0 - start);
            assert_eq!(stream.ends().map(|(end, why)| (end - start, why)), Some((ends[ends.len() - 1], Why::Old)));
        }
        let (first, last) = (*ends.iter().min().unwrap(), *ends.iter().max().unwrap());
        assert!(first >= 90 * SECOND && last <= 100 * SECOND && last - first > 3 * SECOND, "{first:?} {last:?}");
        let mut stream = aged();
        assert_eq!(poll_fn(|cx| stream.poll(cx)).await, Why::Old);
        assert!(start.elapsed() >= 90 * SECOND);
        let mut stream = aged();
        farewell.say(Instant::now() + 10 * SECOND);
        assert_eq!(poll_fn(|cx| stream.poll(cx)).await, Why::Leaves);
    }

    #[tokio::test(start_paused = true)]
    async fn the_router_s_own_end_comes_first_and_is_not_taken_back() {
        let (farewell, start) = (Rc::new(Farewell::default()), Instant::now());
        let mut streams: Vec<Long> = (0..100).map(|_| long(&farewell)).collect();
        farewell.say(start + 100 * SECOND);
        assert!(streams.iter_mut().all(|stream| stream.ends().unwrap().0 >= start + 80 * SECOND));
        farewell.close(start + 30 * SECOND);
        farewell.take_back();
        farewell.say(start + 100 * SECOND);
        let ends = streams.iter_mut().map(|stream| stream.ends().unwrap());
        let ends: Vec<_> = ends.map(|(end, why)| (end - start, why)).collect();
        assert!(ends.iter().all(|(end, why)| *end <= 15 * SECOND && *why == Why::Closes), "{ends:?}");
        let (first, last) =
            (ends.iter().min_by_key(|end| end.0).unwrap(), ends.iter().max_by_key(|end| end.0).unwrap());
        assert!(last.0 - first.0 > 10 * SECOND, "spread: {ends:?}");
        tokio::time::advance(20 * SECOND).await;
        assert_eq!(poll_fn(|cx| long(&farewell).poll(cx)).await, Why::Closes, "what comes too late has no time");
    }

    #[test]
    fn long_streams_are_told_by_their_type() {
        for (kind, ending) in [
            ("application/grpc+proto", Some(Ending::Grpc)),
            ("text/event-stream; charset=utf-8", Some(Ending::Events)),
            ("application/json", None),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
            assert_eq!(Ending::of(&headers), ending, "{kind}");
        }
        assert_eq!(Ending::of(&HeaderMap::new()), None);
    }
}
