//! Finds dead peers: a connection with waiting requests and no byte for a while is PINGed, and closed if that stays
//! without answer. Without this, a black hole holds every request on a shared connection until its timeout.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use http2::Connection;
use tokio::time::Instant;

use crate::{h2::State, io::Stream, timer::Alarm};

/// An answer takes a round trip; two seconds of nothing is a dead peer or one as good as dead.
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
    /// Somebody waits since then.
    Waiting(Instant),
    /// Asked then.
    Asked(Instant),
}

/// Looks after one connection.
#[derive(Debug, Default)]
pub(crate) struct Prober {
    step: Step,
    /// PINGs answered since nobody waited; index into [`SPACING`].
    asked: usize,
    alarm: Alarm,
}

impl Prober {
    /// Ready when the peer is dead.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, wire: &mut Connection<Stream>, state: &State) -> Poll<()> {
        let heard = wire.heard();
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
                // A byte that is no answer to a PING: the peer lives, and it is watched closely again.
                Step::Waiting(since) if self.asked > 0 && heard > since => {
                    self.asked = 0;
                    self.step = Step::Waiting(heard);
                    continue;
                }
                Step::Waiting(since) => since.max(heard) + SPACING[self.asked.min(SPACING.len() - 1)],
                Step::Asked(at) => {
                    if wire.is_ponged() || heard > at {
                        self.asked += 1;
                        self.step = Step::Waiting(Instant::now());
                        continue;
                    }
                    at + ANSWER
                }
            };
            if self.alarm.poll(due, cx).is_pending() {
                return Poll::Pending;
            }
            match self.step {
                Step::Asked(_) => return Poll::Ready(()),
                _ => {
                    wire.ping();
                    self.step = Step::Asked(Instant::now());
                }
            }
        }
    }
}
