//! What becomes of an attempt: instances whose manners change, and the way to them.

use std::time::Duration;

use model::{Outcome, Tick};

/// How an instance answers for a while.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Manner {
    /// It answers after about so long.
    Well(Duration),
    /// Nobody listens: connections are refused at once.
    Refusing,
    /// Packets vanish: no connection within the connect timeout.
    Hole,
    /// It takes requests and never answers.
    Hung,
    /// It answers 503 at once.
    Failing,
    /// It breaks the connection after it took the request.
    Resetting,
    /// It refuses new streams: nothing was done.
    GoingAway,
}

impl Manner {
    fn is_reachable(self) -> bool {
        !matches!(self, Self::Refusing | Self::Hole)
    }
}

/// As by default (`timeouts`).
pub(crate) const CONNECT: Duration = Duration::from_secs(1);
const HEAD: Duration = Duration::from_secs(15);
const QUICK: Duration = Duration::from_micros(300);

/// The manners of one instance over the run, by time. Before the first there was nobody.
#[derive(Debug, Clone, Default)]
pub(crate) struct Life(Vec<(Tick, Manner)>);

/// What an attempt will come to, and when.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Fate {
    pub(crate) outcome: Outcome,
    pub(crate) at: Tick,
}

impl Life {
    /// From `at` on it behaves like this. In any order of time.
    pub(crate) fn turn(&mut self, at: Tick, manner: Manner) {
        let after = self.0.partition_point(|(when, _)| *when <= at);
        self.0.insert(after, (at, manner));
    }

    /// Forgets all turns from `at` on, and behaves like this instead.
    pub(crate) fn settle(&mut self, at: Tick, manner: Manner) {
        self.0.retain(|(when, _)| *when < at);
        self.0.push((at, manner));
    }

    pub(crate) fn manner(&self, at: Tick) -> Manner {
        let after = self.0.partition_point(|(when, _)| *when <= at);
        after.checked_sub(1).map_or(Manner::Refusing, |last| self.0[last].1)
    }

    /// Since when without a break it can be connected to.
    pub(crate) fn reachable_since(&self, now: Tick) -> Option<Tick> {
        let past = &self.0[..self.0.partition_point(|(when, _)| *when <= now)];
        let broken = past.iter().rposition(|(_, manner)| !manner.is_reachable());
        past.get(broken.map_or(0, |last| last + 1)).map(|(when, _)| *when)
    }

    /// Whether somebody who knocks at `at` can connect, and when that is known.
    pub(crate) fn knock(&self, at: Tick) -> (bool, Tick) {
        match self.manner(at) {
            Manner::Hole => (false, at.after(CONNECT)),
            manner => (manner.is_reachable(), at.after(QUICK)),
        }
    }

    /// When it dies next, if it does: what was under way then breaks.
    fn death(&self, from: Tick) -> Option<Tick> {
        self.0.iter().find(|(when, manner)| *when > from && *manner == Manner::Refusing).map(|(when, _)| *when)
    }

    /// What an attempt that begins at `at` comes to.
    pub(crate) fn fate(&self, at: Tick, dice: &mut fastrand::Rng) -> Fate {
        let after = |wait: Duration, outcome| Fate { outcome, at: at.after(wait) };
        let fate = match self.manner(at) {
            Manner::Well(usual) => after(usual.mul_f64(0.5 + dice.f64()), Outcome::Answered(200)),
            Manner::Refusing => return after(QUICK, Outcome::ConnectFailed),
            Manner::Hole => return after(CONNECT, Outcome::ConnectFailed),
            Manner::Hung => after(HEAD, Outcome::TimedOut),
            Manner::Failing => after(QUICK, Outcome::Answered(503)),
            Manner::Resetting => after(QUICK, Outcome::Reset),
            Manner::GoingAway => after(QUICK, Outcome::Refused),
        };
        match self.death(at) {
            Some(death) if death < fate.at => Fate { outcome: Outcome::Reset, at: death },
            _ => fate,
        }
    }
}
