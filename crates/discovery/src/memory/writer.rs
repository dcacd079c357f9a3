//! The thread that writes the file: the disk is slow, and nobody waits for it.

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io,
    path::Path,
    sync::PoisonError,
    time::Duration,
};

use model::ServiceId;

use super::{FILE, Kept, Pending, Recalled, Shared, Word, file, reading::Reading};

/// From the first change to the write: a start brings many at once.
const GATHER: Duration = Duration::from_millis(300);
/// Between two writes, however much changes. A crash loses this much; an orderly end loses nothing.
const GAP: Duration = Duration::from_secs(5);
/// How often the file's time is renewed while nothing changes: the age of what is remembered is right within this.
const RENEW: Duration = Duration::from_secs(30);
/// How long a turn waits for the old file if that could not be read at the start; also the last one, at the end.
const LATE: Duration = Duration::from_secs(1);

/// Writes until the memory is dropped, but not before the file that is there was read.
pub(super) fn run(directory: &Path, shared: &Shared, unread: Option<Reading>) {
    let _lock = match lock(directory) {
        Ok(lock) => lock,
        Err(problem) => {
            let path = directory.display();
            tracing::warn!(%path, problem, "what registries say is not remembered; set `discovery.directory`");
            return;
        }
    };
    let before = match unread.map(|reading| read_late(reading, shared)) {
        Some(Some(before)) => before,
        Some(None) => {
            tracing::warn!(path = %directory.display(), "the last known good was never read, and stays as it was");
            return;
        }
        None => Vec::new(),
    };
    let mut content = Content { before, ..Content::default() };
    let mut failing = false;
    loop {
        let closing = content.take(wait(shared, failing));
        let written = if content.dirty { content.write(directory) } else { content.renew(directory) };
        match &written {
            Err(error) if !failing => {
                let path = directory.display();
                tracing::warn!(%path, %error, "cannot write the last known good; what is on disk grows old");
            }
            Ok(()) if failing => tracing::info!("the last known good is written again"),
            _ => {}
        }
        failing = written.is_err();
        if closing {
            return;
        }
        pause(shared);
    }
}

/// What the file says that could not be read at the start; `None` if it cannot be until the end. All that is said
/// meanwhile waits.
fn read_late(mut reading: Reading, shared: &Shared) -> Option<Vec<Recalled>> {
    loop {
        let closing = shared.lock().closing;
        match reading.wait(LATE) {
            Ok(before) => {
                tracing::info!("what was remembered is read at last; the next start has it");
                return Some(before);
            }
            Err(_) if closing => return None,
            Err(_) => pause(shared),
        }
    }
}

/// Waits for changes, or until the file's time should be renewed; then lets further ones come in.
fn wait(shared: &Shared, failing: bool) -> Pending {
    let idle = |pending: &mut Pending| pending.is_empty() && !pending.closing;
    let patience = if failing { GAP } else { RENEW };
    let waited = shared.news.wait_timeout_while(shared.lock(), patience, idle);
    drop(waited.unwrap_or_else(PoisonError::into_inner));
    let open = |pending: &mut Pending| !pending.closing;
    let gathered = shared.news.wait_timeout_while(shared.lock(), GATHER, open);
    let mut pending = gathered.unwrap_or_else(PoisonError::into_inner).0;
    let closing = pending.closing;
    std::mem::replace(&mut pending, Pending { closing, ..Pending::default() })
}

/// Keeps the rate, but for an end.
fn pause(shared: &Shared) {
    let open = |pending: &mut Pending| !pending.closing;
    drop(shared.news.wait_timeout_while(shared.lock(), GAP, open).unwrap_or_else(PoisonError::into_inner));
}

/// Makes the directory, and sees that no other process writes there.
fn lock(directory: &Path) -> Result<File, String> {
    fs::create_dir_all(directory).map_err(|error| format!("cannot make it: {error}"))?;
    let file = File::create(directory.join(format!("{FILE}.lock"))).map_err(|error| error.to_string())?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err("another router uses it; each needs its own".to_owned()),
        Err(TryLockError::Error(error)) => Err(error.to_string()),
    }
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.words.is_empty() && self.sources.is_none()
    }
}

/// What a reader of the file would find, once it is written.
#[derive(Debug, Default)]
pub(super) struct Content {
    sources: Vec<(Kept, BTreeMap<ServiceId, Word>)>,
    /// What was read late: it stands for what its sources do not speak of themselves, and is as old as it says.
    before: Vec<Recalled>,
    dirty: bool,
}

impl Content {
    /// Takes the changes in; whether the end is asked for.
    pub(super) fn take(&mut self, pending: Pending) -> bool {
        if let Some(sources) = pending.sources {
            let (mut old, before) = (std::mem::take(&mut self.sources), std::mem::take(&mut self.before));
            let words = |kept: &Kept, old: &mut Vec<(Kept, BTreeMap<_, _>)>| {
                let at = old.iter().position(|(o, _)| o.name == kept.name && o.kind == kept.kind);
                let late = || before.iter().find(|b| b.name == kept.name && b.kind == kept.kind.as_str());
                let late = || late().map(|b| b.services.clone());
                at.map(|at| old.swap_remove(at).1).or_else(late).unwrap_or_default()
            };
            self.sources = sources.into_iter().map(|kept| (kept.clone(), words(&kept, &mut old))).collect();
            self.dirty = true;
        }
        for ((name, service), word) in pending.words {
            let Some((_, words)) = self.sources.iter_mut().find(|(kept, _)| kept.name == name) else { continue };
            self.dirty |= match word {
                Some(word) => words.insert(service, word.clone()).as_ref() != Some(&word),
                None => words.remove(&service).is_some(),
            };
        }
        pending.closing
    }

    /// As it is written: what a source that is down said was true until then.
    pub(super) fn recalled(&self) -> Vec<Recalled> {
        let source = |(kept, words): &(Kept, BTreeMap<ServiceId, Word>)| {
            let mut services = words.clone();
            services.values_mut().for_each(|word| word.confirmed = word.confirmed.or(kept.down));
            Recalled { name: kept.name.clone(), kind: kept.kind.as_str().to_owned(), services }
        };
        self.sources.iter().map(source).collect()
    }

    fn write(&mut self, directory: &Path) -> io::Result<()> {
        file::write(directory, &self.recalled())?;
        self.dirty = false;
        Ok(())
    }

    /// A file that is not there any more is written anew at the next turn.
    fn renew(&mut self, directory: &Path) -> io::Result<()> {
        if self.sources.iter().all(|(kept, _)| kept.down.is_some()) {
            return Ok(());
        }
        file::renew(directory).inspect_err(|_| self.dirty = true)
    }
}
