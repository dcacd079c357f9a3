//! The last known good, on disk: what the sources said, for a start at which none of them answers.
//!
//! | File | |
//! |---|---|
//! | `memory.rs` | what is remembered, and the reconciler's way to say it; it never waits for the disk |
//! | `memory/reading.rs` | reading the file at the start, from a disk that may be slow |
//! | `memory/file.rs` | the file's text: one line with format and checksum, then JSON. Pure |
//! | `memory/writer.rs` | the thread that writes it, seldom and atomically |
//!
//! Only what is certain is remembered: a withdrawal under suspicion, an error or a silence changes nothing here. What was
//! remembered counts until the source speaks itself; then its word replaces it service by service.

mod file;
mod reading;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, SystemTime},
};

use model::{Instance, ServiceId};
use settings::PATIENCE;

use self::reading::Reading;
use crate::provider::Kind;

/// The name of the file in its directory.
const FILE: &str = "last-known-good";

/// A source as it was remembered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Recalled {
    /// Its name in the configuration.
    pub(crate) name: Arc<str>,
    /// Its kind: one of the same name and another kind is another source.
    pub(crate) kind: String,
    /// What it said.
    pub(crate) services: BTreeMap<ServiceId, Word>,
}

/// What a source said of one service.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Word {
    pub(crate) instances: Vec<Arc<Instance>>,
    /// When the source was last known to stand by it; `None`: it does so now.
    pub(crate) confirmed: Option<SystemTime>,
}

/// A source that is to be remembered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Kept {
    pub(crate) name: Arc<str>,
    pub(crate) kind: Kind,
    /// Since when it cannot be reached, or has not answered; `None`: it stands by all it said.
    pub(crate) down: Option<SystemTime>,
}

/// What a directory remembers. Dropping it writes what is not written yet.
#[derive(Debug)]
pub struct Memory {
    directory: PathBuf,
    recalled: Vec<Recalled>,
    shared: Arc<Shared>,
    /// The file could not be read yet. Nothing is written in its place until it was.
    unread: Option<Reading>,
    /// Started by the first word: a router with nothing to remember needs no directory.
    thread: Option<JoinHandle<()>>,
}

/// What the thread waits for.
#[derive(Debug, Default)]
struct Shared {
    pending: Mutex<Pending>,
    news: Condvar,
}

/// What is not written yet: at most one entry per source and service, however slow the disk is.
#[derive(Debug, Default)]
struct Pending {
    words: HashMap<(Arc<str>, ServiceId), Option<Word>>,
    sources: Option<Vec<Kept>>,
    closing: bool,
}

impl Memory {
    /// Reads what this directory remembers. A file that is damaged or not ours is passed over with a warning; the next
    /// write replaces it. One that cannot be read within [`PATIENCE`] is not replaced before it was read: it may be the only
    /// one that knows what there is.
    #[must_use]
    pub fn open(directory: &Path) -> Self {
        let path = directory.join(FILE);
        let waits = || tracing::warn!(path = %path.display(), "still reading what was remembered");
        let mut reading = Reading::new(path.clone());
        let (recalled, unread) = match settings::told_if_slow(waits, || reading.wait(PATIENCE)) {
            Ok(recalled) => (recalled, None),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error,
                    "cannot read what was remembered; starting without it, and the file stays until it was read");
                (Vec::new(), Some(reading))
            }
        };
        Self { directory: directory.to_owned(), recalled, shared: Arc::default(), unread, thread: None }
    }

    /// What was found, once.
    pub(crate) fn recall(&mut self) -> Vec<Recalled> {
        std::mem::take(&mut self.recalled)
    }

    /// These sources are to be remembered, in this state, and no others.
    pub(crate) fn arrange(&mut self, sources: Vec<Kept>) {
        if sources.is_empty() && self.thread.is_none() {
            return;
        }
        self.tell(|pending| pending.sources = Some(sources));
    }

    /// What a source says of a service now; `None`: nothing.
    pub(crate) fn note(&mut self, source: &Arc<str>, service: &ServiceId, word: Option<Word>) {
        self.tell(|pending| drop(pending.words.insert((source.clone(), service.clone()), word)));
    }

    fn tell(&mut self, change: impl FnOnce(&mut Pending)) {
        if self.thread.as_ref().is_some_and(JoinHandle::is_finished) {
            // It cannot write here, and said so: nobody takes what would wait for it.
            *self.shared.lock() = Pending::default();
            return;
        }
        change(&mut self.shared.lock());
        self.shared.news.notify_one();
        if self.thread.is_none() {
            let (directory, shared) = (self.directory.clone(), Arc::clone(&self.shared));
            let unread = self.unread.take();
            let run = move || writer::run(&directory, &shared, unread);
            match std::thread::Builder::new().name("last-known-good".to_owned()).spawn(run) {
                Ok(thread) => self.thread = Some(thread),
                Err(error) => tracing::warn!(%error, "cannot start a thread; nothing is remembered"),
            }
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.news.notify_one();
        if let Some(thread) = self.thread.take() {
            join(thread, "of the last known good");
        }
    }
}

/// Waits until a writer has written what there is; not for ever, because a disk may hang, and the router is to end.
pub(crate) fn join(thread: JoinHandle<()>, writer: &str) {
    let (look, mut left) = (Duration::from_millis(2), PATIENCE);
    while !thread.is_finished() && !left.is_zero() {
        std::thread::sleep(look);
        left = left.saturating_sub(look);
    }
    if !thread.is_finished() {
        tracing::error!("the disk hangs: the writer {writer} is left behind, and what it had to write may be lost");
    } else if thread.join().is_err() {
        tracing::error!("the writer {writer} panicked, which is a fault of the router");
    }
}

impl Shared {
    /// Held for moments only, by the reconciler and the writer.
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
