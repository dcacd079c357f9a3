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

/// What a source says of one service now.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Whom it names.
    pub(super) list: Vec<Arc<Instance>>,
    /// Who left on its own word.
    pub(super) left: Vec<InstanceId>,
    /// Whether the source speaks of the service at all.
    pub(super) named: bool,
    /// Whether others may be there that it does not name.
    pub(super) part: bool,
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

    /// Takes in another word; instances that left suspiciously stay until the given time.
    pub(super) fn hear(&mut self, mut word: Heard, until: Tick) -> Diff {
        sort(&mut word.list);
        let mut diff = Diff { settled: self.clear(&word), ..Diff::default() };
        let inherited = std::mem::take(&mut self.inherited);
        let waived = inherited && !std::mem::take(&mut self.recalled);
        self.named = word.named;
        if self.instances == word.list {
            diff.confirmed = inherited;
            return diff;
        }
        let (mut staying, mut unsaid) = (0, Vec::new());
        for pair in pairs(&self.instances, &word.list, order) {
            match pair {
                Pair::Came(instance) => diff.added.push(instance.clone()),
                Pair::Stays(old, new) => {
                    staying += 1;
                    diff.changed.extend((old != new).then(|| new.clone()));
                }
                Pair::Gone(said) if word.left.contains(&said.id) => diff.removed.push(said.clone()),
                Pair::Gone(instance) => unsaid.push(Suspect { instance: instance.clone(), until }),
            }
        }
        let added = !diff.added.is_empty();
        if waived || added {
            self.recent.clear();
        }
        // Those that left on their own word count neither as before nor as gone.
        let verdict = judge(staying + unsaid.len(), &word, added, waived);
        let said: Vec<_> = unsaid.iter().map(|suspect| suspect.instance.clone()).collect();
        match verdict {
            _ if unsaid.is_empty() => {}
            Verdict::Suspect => {
                unsaid.append(&mut self.recent);
                diff.suspected = unsaid.iter().map(|suspect| suspect.instance.clone()).collect();
                self.suspects.extend(unsaid);
            }
            Verdict::GoneSoFar => {
                diff.removed.extend(said);
                self.recent.extend(unsaid);
            }
            Verdict::Gone => diff.removed.extend(said),
        }
        self.instances = word.list;
        diff
    }

    /// Who is named again, or left on its own word, is no suspect any more; which of them are gone.
    fn clear(&mut self, word: &Heard) -> Vec<Arc<Instance>> {
        let returned = |s: &Suspect| word.list.binary_search_by(|instance| order(instance, &s.instance)).is_ok();
        let left = |s: &Suspect| word.left.contains(&s.instance.id);
        self.recent.retain(|recent| !left(recent) && !returned(recent));
        let cleared = self.suspects.extract_if(.., |suspect| left(suspect) || returned(suspect));
        cleared.filter(left).map(|suspect| suspect.instance).collect()
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

/// What becomes of instances that are not named any more, and did not leave on their own word.
enum Verdict {
    /// They left.
    Gone,
    /// They left, but for what the next words say.
    GoneSoFar,
    /// Perhaps they did not: they stay as last resort for a while.
    Suspect,
}

/// Judges a withdrawal from a list of `before` instances; `waived` if that was the list of other settings.
fn judge(before: usize, word: &Heard, added: bool, waived: bool) -> Verdict {
    let remaining = word.list.len();
    match () {
        // Nobody knows who left, and who may not be seen any more.
        () if word.part => Verdict::Suspect,
        // Another list because of other settings is no fault of a registry.
        () if waived => Verdict::Gone,
        () if remaining == 0 || (remaining * 2 < before && !added) => Verdict::Suspect,
        () if added => Verdict::Gone,
        () => Verdict::GoneSoFar,
    }
}

fn sort(list: &mut [Arc<Instance>]) {
    list.sort_by(order);
}
