//! Who proves itself before it is used. Pure.

use std::{collections::BTreeSet, sync::Arc};

/// The sources of the router's own start that have not told yet who is there. Whoever they name first is not new: it may
/// have served for days, and a router that restarts must not doubt everybody.
#[derive(Debug, Default)]
pub(crate) struct Newcomers {
    starting: BTreeSet<Arc<str>>,
    arranged: bool,
}

impl Newcomers {
    /// These are the sources from now on. Those of the first time are there at the start.
    pub(crate) fn arrange<'a>(&mut self, names: impl Iterator<Item = &'a Arc<str>>) {
        let names: BTreeSet<_> = names.cloned().collect();
        if std::mem::replace(&mut self.arranged, true) {
            self.starting.retain(|name| names.contains(name));
        } else {
            self.starting = names;
        }
    }

    /// What these sources said is in the table: whom they add from now on is new.
    pub(crate) fn told<'a>(&mut self, names: impl Iterator<Item = &'a Arc<str>>) {
        for name in names {
            self.starting.remove(name);
        }
    }

    /// Whether an instance that the table did not have is new.
    pub(crate) fn are_of(&self, source: &Arc<str>) -> bool {
        !self.starting.contains(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_named_first_at_the_start_is_not_new_and_everybody_later_is() {
        let (a, b, c): (Arc<str>, Arc<str>, Arc<str>) = ("a".into(), "b".into(), "c".into());
        let mut newcomers = Newcomers::default();
        newcomers.arrange([&a, &b].into_iter());
        assert!(!newcomers.are_of(&a) && !newcomers.are_of(&b));
        newcomers.told([&a].into_iter());
        assert!(newcomers.are_of(&a) && !newcomers.are_of(&b));
        // A reload: `a` is another source of that name now, `c` is added.
        newcomers.arrange([&a, &b, &c].into_iter());
        assert!(newcomers.are_of(&a) && newcomers.are_of(&c) && !newcomers.are_of(&b));
        newcomers.told([&b, &c].into_iter());
        assert!(newcomers.are_of(&b));
    }
}
