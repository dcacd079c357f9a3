//! hot path
//!
//! What the instances of one service share: when one of them is put out, and how soon its latencies are forgotten.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    time::Duration,
};

use model::Tick;

use super::{Count, Eject, Margin};
use crate::{Decay, Vitals, admission::Side, news};

/// The rules at hand and how many more may go out. But for `decay_ms`, which each answer reads, read and written only when a
/// request failed, and by whoever counts.
#[derive(Debug)]
pub struct Peers {
    /// Failures in a row; 0: never.
    consecutive: AtomicU32,
    base_ms: AtomicU32,
    longest_ms: AtomicU32,
    decay_ms: AtomicU32,
    /// How many more may be put out until somebody counts again.
    room: AtomicU32,
    /// Somebody went out since the last count.
    stirred: AtomicBool,
}

/// By the default rules, and with room for nobody until somebody counts.
impl Default for Peers {
    fn default() -> Self {
        let peers = Self {
            consecutive: AtomicU32::default(),
            base_ms: AtomicU32::default(),
            longest_ms: AtomicU32::default(),
            decay_ms: AtomicU32::new(Decay::STANDARD.millis()),
            room: AtomicU32::default(),
            stirred: AtomicBool::default(),
        };
        peers.follow(&Eject::default());
        peers
    }
}

impl Peers {
    /// From now on these rules hold.
    pub fn follow(&self, rules: &Eject) {
        let millis = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        self.consecutive.store(rules.consecutive.map_or(0, |n| u32::from(n.get())), Relaxed);
        self.base_ms.store(millis(rules.base), Relaxed);
        self.longest_ms.store(millis(rules.longest), Relaxed);
    }

    /// From now on latencies are forgotten so soon.
    pub fn forget_by(&self, decay: Decay) {
        self.decay_ms.store(decay.millis(), Relaxed);
    }

    /// How soon latencies are forgotten.
    pub(crate) fn decay(&self) -> Decay {
        Decay::from_millis(self.decay_ms.load(Relaxed))
    }

    /// [Counts](Self::count), and in a panic lets all in that are out for what they answer. To be called again and again
    /// while anybody is out.
    pub fn recount<'a>(&self, rules: &Eject, members: impl Iterator<Item = &'a Vitals> + Clone) -> (Count, Margin) {
        let (count, margin) = self.count(rules, members.clone());
        if margin.panic {
            members.for_each(Vitals::pardon);
        }
        (count, margin)
    }

    /// Counts the instances, and says how many more may be put out: none in a panic. To be called when the list or the rules
    /// change.
    ///
    /// A core that puts an instance out in the middle of this may go one too far, until the next count.
    pub fn count<'a>(&self, rules: &Eject, members: impl Iterator<Item = &'a Vitals>) -> (Count, Margin) {
        // Nobody goes out while we count.
        self.room.store(0, Relaxed);
        let mut count = Count::default();
        for vitals in members {
            count.members += 1;
            match vitals.side() {
                Side::In => count.whole += 1,
                Side::Ejected => count.ejected += 1,
                Side::Out => {}
            }
        }
        let margin = count.margin(rules);
        if !margin.panic {
            self.room.store(u32::try_from(margin.room).unwrap_or(u32::MAX), Relaxed);
        }
        (count, margin)
    }

    /// How many more may be put out now.
    #[must_use]
    pub fn room(&self) -> usize {
        self.room.load(Relaxed) as usize
    }

    /// Whether somebody went out since this was last asked.
    pub fn was_stirred(&self) -> bool {
        self.stirred.load(Relaxed) && self.stirred.swap(false, Relaxed)
    }

    /// Somebody went out or came back: they are to be counted again.
    pub fn stir(&self) {
        self.stirred.store(true, Relaxed);
        news::add();
    }

    /// Whether so many failures in a row are too many.
    pub(crate) fn is_too_many(&self, row: u16) -> bool {
        let most = self.consecutive.load(Relaxed);
        most > 0 && u32::from(row) >= most
    }

    /// Takes one of the places of those that may be out.
    pub(crate) fn claim(&self) -> bool {
        self.room.fetch_update(Relaxed, Relaxed, |room| room.checked_sub(1)).is_ok()
    }

    /// It was not needed.
    pub(crate) fn unclaim(&self) {
        self.room.fetch_add(1, Relaxed);
    }

    /// When a rest that begins now is over, for an instance that was put out so often of late and is out for so long
    /// already. Up to a quarter later at random, so that routers that saw the same failure do not come back in step.
    pub(crate) fn end_of_rest(&self, ejections: u8, out: Duration, now: Tick) -> Tick {
        let millis = |of: &AtomicU32| Duration::from_millis(of.load(Relaxed).into());
        let rest = rest(millis(&self.base_ms), millis(&self.longest_ms), ejections, out);
        now.after(rest + rest.mul_f64(fastrand::f64() / 4.0))
    }
}

/// A rest lasts so long as a part of the time that the instance is out by then, that much later at most is it found to have
/// recovered: it is tried often at first, when it may be back any moment, and seldom if it is gone for good.
const PART: u32 = 8;

/// How long a rest is. Pure.
fn rest(base: Duration, longest: Duration, ejections: u8, out: Duration) -> Duration {
    base.saturating_mul(1 << ejections.min(31)).max(out / PART).min(longest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn rests_are_short_at_first_and_grow_with_the_time_it_is_out() {
        for (ejections, out, expected) in
            [(0, 0, 1), (1, 0, 2), (1, 16, 2), (1, 80, 10), (1, 1000, 30), (4, 0, 16), (9, 0, 30)]
        {
            assert_eq!(rest(S, 30 * S, ejections, out * S), expected * S, "{ejections} {out}");
        }
        assert_eq!(rest(S, 30 * S, 0, Duration::MAX), 30 * S, "an outlier");
    }

    proptest! {
        #[test]
        fn no_rest_is_longer_than_it_has_to_be_nor_shorter(
            base in 1_u64..10_000, more in 0_u64..100_000, ejections: u8, out in 0_u64..10_000_000,
        ) {
            let millis = Duration::from_millis;
            let (base, longest, out) = (millis(base), millis(base + more), millis(out));
            let found = rest(base, longest, ejections, out);
            prop_assert!((base..=longest).contains(&found));
            prop_assert!(found >= (out / PART).min(longest), "dead ones are tried too often");
            prop_assert!(ejections > 1 || found <= (2 * base).max(out / PART), "recovered ones wait");
            prop_assert!(found <= rest(base, longest, ejections.saturating_add(1), out), "those that come and go");
        }
    }
}
