//! What one source says of one service, and what a new word changes in it. Pure.

use std::sync::Arc;

use model::{Instance, InstanceId, Tick};

use super::{SourceId, order};
use crate::pairs::{Pair, pairs};

/// What one source says of one service.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) source: SourceId,
    /// Sorted by id and address, so that equal lists compare equal in whatever order they came.
    pub(super) instances: Vec<Arc<Instance>>,
    pub(super) suspects: Vec<Suspect>,
    /// Left a short while ago, without a word of their own and without suspicion, and nobody came since. If more leave until
    /// it looks like a fault, these left by the same one: checks fail one after the other. Each keeps its own time.
    pub(super) recent: Vec<Suspect>,
    /// Whether the source still speaks of the service; if not, the claim goes with its last suspect.
    pub(super) named: bool,
    /// The word of the source's predecessor, or what was remembered, until the source speaks itself.
    pub(super) inherited: bool,
    /// It was remembered from before the start: no settings changed since, so what the source withdraws now is judged as
    /// if the router had never been away.
    pub(super) recalled: bool,
}

/// Withdrawn, and perhaps by a fault.
#[derive(Debug)]
pub(super) struct Suspect {
    pub(super) instance: Arc<Instance>,
    pub(super) until: Tick,
}

/// How a source's word of one service differs from the one before.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Diff {
    /// Named now and not before.
    pub added: Vec<Arc<Instance>>,
    /// Not named any more.
    pub removed: Vec<Arc<Instance>>,
    /// Not named any more, which looks like a fault: kept as last resort.
    pub suspected: Vec<Arc<Instance>>,
    /// Named as before, with other attributes; as they are now.
    pub changed: Vec<Arc<Instance>>,
    /// Were last resort, and are not any more: their time is over, or they did not answer, or left on their own word.
    pub settled: Vec<Arc<Instance>>,
    /// The list is the same, and it is the source's own word now.
    pub confirmed: bool,
}

impl Diff {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether instances came, and nothing else happened.
    pub(crate) fn only_adds(&self) -> bool {
        let Self { added, removed, suspected, changed, settled, confirmed: _ } = self;
        !added.is_empty() && [removed, suspected, changed, settled].iter().all(|list| list.is_empty())
    }
}

impl Claim {
    /// The first word of a source.
    pub(super) fn new(source: SourceId, mut list: Vec<Arc<Instance>>, named: bool) -> Self {
        sort(&mut list);
        Self {
            source,
            instances: list,
            suspects: Vec::new(),
            recent: Vec::new(),
            named,
            inherited: false,
            recalled: false,
        }
    }

    /// Whether it names nobody, and nobody it named is under suspicion.
    pub(super) fn is_empty(&self) -> bool {
        self.instances.is_empty() && self.suspects.is_empty()
    }

    /// Whether some left so lately that it may yet turn out to be a fault.
    pub(super) fn remembers(&self) -> bool {
        !self.recent.is_empty()
    }

    /// Takes in a new list; instances that left suspiciously stay until the given time.
    pub(super) fn replace(&mut self, mut list: Vec<Arc<Instance>>, deregistered: &[InstanceId], until: Tick) -> Diff {
        sort(&mut list);
        let mut diff = Diff::default();
        let returned = |s: &Suspect| list.binary_search_by(|instance| order(instance, &s.instance)).is_ok();
        self.suspects.retain(|suspect| {
            let gone = deregistered.contains(&suspect.instance.id);
            diff.settled.extend(gone.then(|| suspect.instance.clone()));
            !gone && !returned(suspect)
        });
        self.recent.retain(|recent| !deregistered.contains(&recent.instance.id) && !returned(recent));
        let inherited = std::mem::take(&mut self.inherited);
        // Another list because of other settings is no fault of a registry.
        let waived = inherited && !std::mem::take(&mut self.recalled);
        if self.instances == list {
            diff.confirmed = inherited;
            return diff;
        }
        let (mut staying, mut unsaid) = (0, Vec::new());
        for pair in pairs(&self.instances, &list, order) {
            match pair {
                Pair::Came(instance) => diff.added.push(instance.clone()),
                Pair::Stays(old, new) => {
                    staying += 1;
                    diff.changed.extend((old != new).then(|| new.clone()));
                }
                Pair::Gone(said) if deregistered.contains(&said.id) => diff.removed.push(said.clone()),
                Pair::Gone(instance) => unsaid.push(instance.clone()),
            }
        }
        // Those that left on their own word count neither as before nor as gone.
        let before = staying + unsaid.len();
        let added = !diff.added.is_empty();
        if waived || added {
            self.recent.clear();
        }
        if !waived && !unsaid.is_empty() && is_suspect(before, list.len(), added) {
            let left = unsaid.into_iter().map(|instance| Suspect { instance, until });
            let left: Vec<_> = left.chain(self.recent.drain(..)).collect();
            diff.suspected = left.iter().map(|suspect| suspect.instance.clone()).collect();
            self.suspects.extend(left);
        } else {
            if !waived && !added {
                self.recent.extend(unsaid.iter().map(|i| Suspect { instance: i.clone(), until }));
            }
            diff.removed.extend(unsaid);
        }
        self.instances = list;
        diff
    }

    /// Drops suspects, and those that may become some; which suspects went.
    pub(super) fn settle(&mut self, gone: impl Fn(&Suspect) -> bool) -> Vec<Arc<Instance>> {
        self.recent.retain(|recent| !gone(recent));
        let mut settled = Vec::new();
        self.suspects.retain(|suspect| {
            let gone = gone(suspect);
            settled.extend(gone.then(|| suspect.instance.clone()));
            !gone
        });
        settled
    }
}

/// Whether a withdrawal that leaves `remaining` of `before` instances looks like a fault of the registry.
fn is_suspect(before: usize, remaining: usize, added: bool) -> bool {
    remaining == 0 || (remaining * 2 < before && !added)
}

fn sort(list: &mut [Arc<Instance>]) {
    list.sort_by(order);
}
