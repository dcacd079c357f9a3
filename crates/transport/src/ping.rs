//! Finds dead peers: a connection with waiting requests and no byte for a while is PINGed, and closed if that stays
//! without answer. Without this, a black hole holds every request on a shared connection until its timeout.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use http2::Connection;
use tokio::time::Instant;

use crate::{h2::State, io::Stream, timer::Alarm};

/// An answer takes a round trip: after half a second without, no new request is sent that way until something is heard.
/// The next one makes another connection, which tells whether the peer is dead or only this connection.
const DOUBT: Duration = Duration::from_millis(500);
/// Two seconds of nothing is a dead peer or one as good as dead.
const ANSWER: Duration = Duration::from_secs(2);
/// A living peer that is merely slow is asked again ever more rarely: gRPC servers close connections that PING more
/// than twice in five minutes without data.
const SPACING: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(10), Duration::from_secs(60), Duration::from_secs(300)];

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Step {
    /// Nobody waits.
    #[default]
    Quiet,
    /// Nothing was heard since then, when somebody waited. He may have given up: that is what clients of a dead peer do.
    Waiting(Instant),
    /// Asked then.
    Asked(Instant),
}

/// Looks after one connection.
#[derive(Debug, Default)]
pub(crate) struct Prober {
    step: Step,
    /// PINGs answered, and no other byte since the first; index into [`SPACING`].
    asked: usize,
    /// When the last of them was.
    answered: Option<Instant>,
    alarm: Alarm,
}

impl Prober {
    /// Ready when the peer is dead.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, wire: &mut Connection<Stream>, state: &State) -> Poll<()> {
        let heard = wire.heard();
        let waits = state.waiting.get() > 0;
        loop {
            let due = match self.step {
                Step::Quiet if !waits => return Poll::Pending,
                Step::Quiet => {
                    // A byte that is no answer to a PING: the peer is watched closely again.
                    if self.answered.is_none_or(|at| heard > at) {
                        self.asked = 0;
                    }
                    self.step = Step::Waiting(Instant::now());
                    continue;
                }
                Step::Waiting(since) if heard > since => {
                    self.asked = 0;
                    self.step = if waits { Step::Waiting(heard) } else { Step::Quiet };
                    continue;
                }
                Step::Waiting(since) => since + SPACING[self.asked.min(SPACING.len() - 1)],
                Step::Asked(at) => {
                    if wire.is_ponged() || heard > at {
                        state.doubted.set(false);
                        let now = Instant::now();
                        self.asked += 1;
                        self.answered = Some(now);
                        self.step = if waits { Step::Waiting(now) } else { Step::Quiet };
                        continue;
                    }
                    at + if state.doubted.get() { ANSWER } else { DOUBT }
                }
            };
            if self.alarm.poll(due, cx).is_pending() {
                return Poll::Pending;
            }
            match self.step {
                Step::Asked(_) if state.doubted.get() => return Poll::Ready(()),
                Step::Asked(_) => state.doubted.set(true),
                _ => {
                    wire.ping();
                    self.step = Step::Asked(Instant::now());
                }
            }
        }
    }
}
