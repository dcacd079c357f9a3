//! Which files are whole: closed by who wrote them, or moved into place, and not touched since. And which are being written.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Known by name, because the same file has several paths. Kept by the thread that hears of files.
#[derive(Debug, Default)]
pub(super) struct Whole(Mutex<Names>);

#[derive(Debug, Default)]
struct Names {
    /// And with the how manieth word that was.
    names: BTreeMap<OsString, u64>,
    words: u64,
    /// Written to, and not closed since.
    open: BTreeSet<OsString>,
}

/// What was whole at some moment.
#[derive(Debug, Default)]
pub(super) struct Then(BTreeMap<OsString, u64>);

/// A path, and the links by which it leads to what it names.
pub(super) type Way = (PathBuf, Vec<PathBuf>);

impl Whole {
    /// The file is whole now.
    pub(super) fn put(&self, name: &OsStr) {
        let mut all = self.lock();
        all.words += 1;
        let word = all.words;
        all.names.insert(name.to_owned(), word);
        all.open.remove(name);
    }

    /// It is new, or gone.
    pub(super) fn take(&self, name: &OsStr) {
        let mut all = self.lock();
        all.names.remove(name);
        all.open.remove(name);
    }

    /// Somebody writes it.
    pub(super) fn open(&self, name: &OsStr) {
        let mut all = self.lock();
        all.names.remove(name);
        all.open.insert(name.to_owned());
    }

    /// Whether somebody writes it, as far as is known.
    pub(super) fn is_open(&self, name: &OsStr) -> bool {
        self.lock().open.contains(name)
    }

    /// Nothing is known.
    pub(super) fn clear(&self) {
        let mut all = self.lock();
        all.names.clear();
        all.open.clear();
    }

    pub(super) fn now(&self) -> Then {
        Then(self.lock().names.clone())
    }

    /// What was whole then and has been all the time since: true of whoever looked in between.
    pub(super) fn still(&self, then: Then) -> Then {
        let all = self.lock();
        Then(then.0.into_iter().filter(|(name, word)| all.names.get(name) == Some(word)).collect())
    }

    /// What was seen whole says nothing of the next change.
    pub(super) fn seen(&self, then: &Then) {
        self.lock().names.retain(|name, word| then.0.get(name) != Some(word));
    }

    fn lock(&self) -> MutexGuard<'_, Names> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Then {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What these paths name is whole too, if a link on the way is: whoever moves a link into place has written before
    /// what it leads to.
    pub(super) fn through(mut self, ways: &[Way]) -> Self {
        for (path, links) in ways {
            let moved = links.iter().find_map(|link| self.0.get(link.file_name()?).copied());
            if let (Some(word), Some(name)) = (moved, path.file_name()) {
                self.0.entry(name.to_owned()).or_insert(word);
            }
        }
        self
    }

    pub(super) fn has(&self, name: &OsStr) -> bool {
        self.0.contains_key(name)
    }
}
