//! Finds dead peers: a connection with waiting requests and no byte for a while is PINGed, and closed if that stays
//! without answer. Without this, a black hole holds every request on a shared connection until its timeout.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use h2::{Ping, PingPong};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::h2::{SILENCE, State};

/// An answer takes a round trip; two seconds of nothing is a dead peer or one as good as dead.
const ANSWER: Duration = Duration::from_secs(2);
/// A living peer that is merely slow is asked again ever more rarely: gRPC servers close connections that PING more
/// than twice in five minutes without data.
const PATIENCE: [Duration; 4] = [SILENCE, Duration::from_secs(10), Duration::from_secs(60), Duration::from_secs(300)];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Nobody waits.
    Quiet,
    /// Somebody waits since then.
    Waiting(Instant),
    /// Asked then.
    Asked(Instant),
}

/// Looks after one connection.
pub(crate) struct Prober {
    pings: PingPong,
    step: Step,
    /// PINGs answered since nobody waited; index into [`PATIENCE`].
    asked: usize,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Prober {
    pub(crate) fn new(pings: PingPong) -> Self {
        Self { pings, step: Step::Quiet, asked: 0, sleep: None }
    }

    /// Ready when the peer is dead. `heard`: when the last byte came.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, state: &State, heard: Instant) -> Poll<()> {
        loop {
            let due = match self.step {
                _ if state.waiting.get() == 0 && !matches!(self.step, Step::Asked(_)) => {
                    self.step = Step::Quiet;
                    self.asked = 0;
                    return Poll::Pending;
                }
                Step::Quiet => {
                    self.step = Step::Waiting(Instant::now());
                    continue;
                }
                Step::Waiting(since) => since.max(heard) + PATIENCE[self.asked.min(PATIENCE.len() - 1)],
                Step::Asked(at) => {
                    if matches!(self.pings.poll_pong(cx), Poll::Ready(Ok(_))) || heard > at {
                        self.asked += 1;
                        self.step = Step::Waiting(Instant::now());
                        continue;
                    }
                    at + ANSWER
                }
            };
            if !self.elapsed(cx, due) {
                return Poll::Pending;
            }
            match self.step {
                Step::Asked(_) => return Poll::Ready(()),
                _ => {
                    // Refused only while an earlier PING is unanswered, which the next round finds.
                    self.pings.send_ping(Ping::opaque()).ok();
                    self.step = Step::Asked(Instant::now());
                    cx.waker().wake_by_ref();
                }
            }
        }
    }

    fn elapsed(&mut self, cx: &mut Context<'_>, due: Instant) -> bool {
        if due <= Instant::now() {
            return true;
        }
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(due)));
        // Re-armed only when it is due or too late: bytes that move put the limit off without touching the timer.
        if sleep.deadline() > due || sleep.is_elapsed() {
            sleep.as_mut().reset(due);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if due <= Instant::now() {
                return true;
            }
            sleep.as_mut().reset(due);
        }
        false
    }
}
