//! The books of one instance to which no connection could be made, and the laws on it.

use std::time::Duration;

use model::{Outcome, Tick};

use crate::network::{CONNECT, Life};

/// How often such an instance is tried, at most, while others take requests.
const PAUSE: Duration = Duration::from_secs(1);
/// The second rest, and the longest; each by chance up to a quarter longer, and told in tenths of a second.
const REST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(30);
const TENTH: Duration = Duration::from_millis(100);
/// Of so many requests one would be for an instance that takes requests, although there are ten.
const ENOUGH: u64 = 200;

/// What is known of it.
#[derive(Debug, Default)]
pub(crate) struct CutOff {
    /// When a connect failed first since it answered last.
    since: Option<Tick>,
    /// Somebody could connect since the last that failed.
    reached: bool,
    /// When a request was sent there last.
    asked: Option<Tick>,
    /// Who knocks.
    knocking: u32,
    /// A check could connect since the last knock began: what it found is newer.
    checked: bool,
    /// Knocks, and since when they are counted.
    knocks: u32,
    counted: Tick,
    /// Requests that had come when it should have been found to be well.
    overdue: Option<u64>,
}

impl CutOff {
    /// Somebody knocks; `spare`: while another instance takes requests.
    pub(crate) fn knocks(&mut self, spare: bool, now: Tick) -> Result<(), String> {
        if self.knocking > u32::from(std::mem::take(&mut self.checked)) {
            return Err("is knocked at twice at a time".to_owned());
        }
        self.knocking += 1;
        self.knocks += u32::from(spare);
        let most = 1 + (now.since(self.counted).as_secs_f64() / PAUSE.as_secs_f64()) as u32;
        if self.knocks > most {
            return Err(format!(
                "cannot be connected to since {:?} and was tried {} times since {:?}",
                self.since, self.knocks, self.counted
            ));
        }
        Ok(())
    }

    /// The knock is over.
    pub(crate) fn knocked(&mut self, reached: bool, now: Tick) {
        self.knocking = self.knocking.saturating_sub(1);
        if reached {
            self.reached = true;
        } else {
            self.fails(now);
        }
    }

    /// A request is sent there; `spare`: while another instance takes requests.
    pub(crate) fn asked(&mut self, spare: bool, now: Tick) -> Result<(), String> {
        self.asked = Some(now);
        match self.since {
            Some(since) if spare && !self.reached => {
                Err(format!("gets a request, cannot be connected to since {since:?}, and nobody found it well"))
            }
            _ => Ok(()),
        }
    }

    /// A request ended so.
    pub(crate) fn answered(&mut self, outcome: Outcome, now: Tick) {
        match outcome {
            Outcome::ConnectFailed => self.fails(now),
            // Of one that was given up nobody knows.
            Outcome::Abandoned => {}
            _ => *self = Self { knocking: self.knocking, asked: self.asked, ..Self::default() },
        }
    }

    /// A check could connect: who knocks now may be the second within a second.
    pub(crate) fn checked(&mut self, now: Tick) {
        (self.knocks, self.counted, self.checked) = (0, now, self.knocking > 0);
    }

    /// So many requests came until now, and it has been there since `joined`. Once it can be connected to, a request tells:
    /// when its rest is over, an eighth of the time it has been out, and as soon as it is some request's turn.
    pub(crate) fn look(&mut self, life: &Life, joined: Tick, requests: u64, now: Tick) -> Result<(), String> {
        let known = |well: &Tick| self.asked.is_none_or(|asked| asked < *well);
        let (Some(since), Some(well)) = (self.since, life.reachable_since(now).filter(known)) else {
            self.overdue = None;
            return Ok(());
        };
        // The last try that failed may have begun just before, and lets the last rest begin.
        let failed = well.after(CONNECT);
        let rest = (failed.since(since) / 8).clamp(REST, LONGEST) * 5 / 4 + TENTH;
        if now < failed.after(rest).max(joined) {
            return Ok(());
        }
        let from = *self.overdue.get_or_insert(requests);
        if requests - from <= ENOUGH {
            return Ok(());
        }
        Err(format!("is well since {well:?}, was cut off since {since:?}, and nobody found out"))
    }

    fn fails(&mut self, now: Tick) {
        if self.since.is_none() {
            (self.since, self.counted) = (Some(now), now);
        }
        self.reached = false;
    }
}
