//! hot path
//!
//! The most that consistent hashing may put on one instance.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use model::Tick;

use crate::{due::Due, roster::Roster};

/// Up to so many instances all are looked at whenever the one a key belongs to is busy.
const FEW: usize = 64;

/// Above that, all are looked at after so many milliseconds.
const PERIOD: u32 = 10;

/// Consistent hashing with bounded loads: an instance has at most a factor times its fair part of the requests in flight,
/// rounded up; what is above goes on to the next that the key belongs to.
///
/// Source: V. Mirrokni, M. Thorup, M. Zadimoghaddam, "Consistent Hashing with Bounded Loads", SODA 2018.
#[derive(Debug)]
pub(crate) struct Bound {
    factor: f64,
    due: Due,
    /// Requests in flight, and the weight that shares them, at the last look.
    requests: AtomicU64,
    weight: AtomicU32,
}

/// What the instances that take requests have to do, together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    requests: u64,
    weight: u32,
}

impl Bound {
    /// The factor in hundredths: 125 is a quarter above the fair part.
    pub(crate) fn new(percent: u32) -> Self {
        let (requests, weight) = (AtomicU64::new(0), AtomicU32::new(1));
        Self { factor: f64::from(percent) / 100.0, due: Due::default(), requests, weight }
    }

    /// Whether it may get one more. Others are looked at only if it has something to do, once for a pick.
    pub(crate) fn allows(&self, roster: &Roster, at: usize, load: &mut Option<Load>, now: Tick) -> bool {
        let own = roster.vitals(at).in_flight();
        if own == 0 {
            return true;
        }
        let load = load.get_or_insert_with(|| self.load(roster, now));
        let fair = (load.requests + 1) as f64 * f64::from(roster.weight(at)) / f64::from(load.weight.max(1));
        f64::from(own) < (self.factor * fair).ceil()
    }

    fn load(&self, roster: &Roster, now: Tick) -> Load {
        if roster.len() <= FEW {
            return look(roster, now);
        }
        if self.due.claim(PERIOD, now) {
            let Load { requests, weight } = look(roster, now);
            self.requests.store(requests, Relaxed);
            self.weight.store(weight, Relaxed);
        }
        Load { requests: self.requests.load(Relaxed), weight: self.weight.load(Relaxed) }
    }
}

fn look(roster: &Roster, now: Tick) -> Load {
    let usable = (0..roster.len()).filter(|&at| roster.vitals(at).admits(now));
    usable.fold(Load { requests: 0, weight: 0 }, |load, at| Load {
        requests: load.requests + u64::from(roster.vitals(at).in_flight()),
        weight: load.weight.saturating_add(roster.weight(at).into()),
    })
}
