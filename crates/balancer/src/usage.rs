//! Which groups that take over for each other were in use lately. What is learned of them is kept while the list of
//! instances changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use model::{Tag, Tick};

use crate::due::millis;

/// A group that had a share counts as in use for so many milliseconds more.
const LINGERS: u32 = 10_000;
/// It had all requests until the list changed, which it did since the last look.
const JUST: u32 = u32::MAX;

/// Environment and group.
type Known = BTreeMap<(Option<Tag>, usize), Arc<Used>>;

/// The groups of one service, by environment. Locked while a list of instances is followed, and by no request.
#[derive(Debug, Default)]
pub struct Usage(Mutex<Known>);

/// When a group had a share last, in milliseconds; 0 if never.
#[derive(Debug, Default)]
pub(crate) struct Used(AtomicU32);

/// The groups of one environment.
#[derive(Debug, Clone, Copy)]
pub struct Groups<'a> {
    usage: &'a Usage,
    environment: Option<&'a Tag>,
}

impl Usage {
    /// Those of the requests that name this environment, or none.
    #[must_use]
    pub fn of<'a>(&'a self, environment: Option<&'a Tag>) -> Groups<'a> {
        Groups { usage: self, environment }
    }

    /// There are these environments, and no others.
    pub fn keep(&self, environments: &[&Tag]) {
        self.change(|all| all.retain(|(of, _), _| of.as_ref().is_none_or(|tag| environments.contains(&tag))));
    }

    fn change<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        // Whole between any two statements.
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Groups<'_> {
    /// There are these groups, and no others. One that was alone has had all requests; the first one needs no such word,
    /// because nobody goes before it.
    pub(crate) fn follow(self, groups: impl Iterator<Item = usize>) {
        let groups: BTreeSet<usize> = groups.collect();
        self.usage.change(|all| {
            all.retain(|(of, group), _| of.as_ref() != self.environment || groups.contains(group));
            if let (1, Some(alone)) = (groups.len(), groups.first().filter(|group| **group > 0)) {
                all.entry((self.environment.cloned(), *alone)).or_default().0.store(JUST, Relaxed);
            }
        });
    }

    /// When this one had a share last.
    pub(crate) fn used(self, group: usize) -> Arc<Used> {
        self.usage.change(|all| Arc::clone(all.entry((self.environment.cloned(), group)).or_default()))
    }
}

impl Used {
    /// Notes whether it has a share now.
    pub(crate) fn look(&self, has_share: bool, now: Tick) {
        if has_share || self.0.load(Relaxed) == JUST {
            self.0.store(millis(now).clamp(1, JUST - 1), Relaxed);
        }
    }

    /// Whether it had one lately.
    pub(crate) fn lingers(&self, now: Tick) -> bool {
        match self.0.load(Relaxed) {
            0 => false,
            JUST => true,
            used => millis(now).wrapping_sub(used) <= LINGERS,
        }
    }
}
