//! The registry on disk: one file of checksummed lines, one per change, and from time to time written anew.
//!
//! A line is a 64-bit checksum of what follows (16 hex digits), a space, and JSON: `{"index":7,"register":{..}}` or
//! `{"index":8,"remove":["NAME","ID"]}`; the first one is `{"index":6,"format":1}`. Written anew, the file is that line and one
//! `register` per instance. Heartbeats are not written, and neither is any time: a lease begins when the file is read.

mod replay;

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{Registration, lease::Key};
use crate::digest::Digest;

#[cfg(test)]
mod tests;

const FILE: &str = "registry.journal";
/// The version of the format above.
pub(super) const FORMAT: u32 = 1;
/// A file is written anew when it has four lines for each instance, and never below this many, so that a small registry
/// does not rewrite its file all the time.
const FEW_LINES: usize = 1000;
/// How far the index jumps at each start. A power cut can take changes that were published and not yet stored; the jump
/// is more than can be lost, so that no index is ever given out twice.
pub(super) const JUMP: u64 = 1 << 20;

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Line {
    /// The registry's index after the change.
    pub(super) index: u64,
    /// The change.
    #[serde(flatten)]
    pub(super) what: What,
}

/// What a line says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum What {
    Format(u32),
    Register(Arc<Registration>),
    Remove(Key),
}

/// The open file, and what a reader of it would find. Owned by the writer's thread.
#[derive(Debug)]
pub(super) struct Journal {
    directory: PathBuf,
    file: File,
    /// What has been written completely; a failed write is cut off here.
    length: u64,
    lines: usize,
    index: u64,
    /// The last line of every registration that lives.
    live: BTreeMap<Key, String>,
    /// Held as long as we live, so that no other process writes here.
    _lock: File,
}

/// What a journal held when it was opened.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) registrations: Vec<Arc<Registration>>,
    pub(super) index: u64,
}

impl Journal {
    /// Opens the journal in this directory and makes both if need be. A damaged file is set aside with a warning, and
    /// what can be read of it is used.
    ///
    /// # Errors
    /// If the directory cannot be written, or another router uses it.
    pub(super) fn open(directory: &Path) -> Result<(Self, Stored), String> {
        let wrong = |what: &str, error: &io::Error| {
            format!("{what} {}: {error}; name a `directory` that this router can write to", directory.display())
        };
        fs::create_dir_all(directory).map_err(|e| wrong("cannot make", &e))?;
        let lock = File::create(directory.join("registry.lock")).map_err(|e| wrong("cannot write to", &e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let shown = directory.display();
                return Err(format!("another router or registry uses {shown}; each needs its own `directory`"));
            }
            Err(TryLockError::Error(error)) => return Err(wrong("cannot lock", &error)),
        }
        let path = directory.join(FILE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(wrong("cannot read the registry in", &error)),
        };
        let replayed = replay::replay(&bytes);
        if replayed.torn {
            tracing::warn!(path = %path.display(), "the last line of the registry is incomplete, as after a power cut; it is left out");
        }
        if replayed.damaged > 0 {
            let aside = aside(&path).map_err(|e| wrong("cannot set aside the damaged registry in", &e))?;
            tracing::warn!(lines = replayed.damaged, aside = %aside.display(),
                "the registry was damaged; its unreadable lines are left out, and the file is kept aside");
        }
        let index = if replayed.index == 0 { first_index() } else { replayed.index + JUMP };
        let encode = |r: &Arc<Registration>| encode(&Line { index, what: What::Register(r.clone()) });
        let live = replayed.live.iter().map(|(key, r)| Ok((key.clone(), encode(r)?)));
        let live = live.collect::<io::Result<_>>().map_err(|e| wrong("cannot write to", &e))?;
        let (file, length) = write_anew(directory, index, &live).map_err(|e| wrong("cannot write to", &e))?;
        let lines = live.len() + 1;
        let journal = Self { directory: directory.to_owned(), file, length, lines, index, live, _lock: lock };
        Ok((journal, Stored { registrations: replayed.live.into_values().collect(), index }))
    }

    /// Writes these changes and waits until the disk has them.
    pub(super) fn append(&mut self, changes: &[Line]) -> io::Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut text = String::new();
        for line in changes {
            let encoded = encode(line)?;
            text.push_str(&encoded);
            match &line.what {
                What::Register(r) => drop(self.live.insert((r.name.clone(), r.id.clone()), encoded)),
                What::Remove(key) => drop(self.live.remove(key)),
                What::Format(_) => {}
            }
            self.index = self.index.max(line.index);
        }
        self.lines += changes.len();
        if self.lines > FEW_LINES && self.lines > 4 * self.live.len() {
            return self.rewrite();
        }
        if let Err(error) = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data()) {
            // Half a line would spoil the next one. If even this fails, the reader leaves the spoilt line out.
            let _cut = self.file.set_len(self.length);
            return Err(error);
        }
        self.length += text.len() as u64;
        Ok(())
    }

    /// Replaces the file by one that says the same in as few lines as possible. What earlier appends could not store,
    /// this does.
    pub(super) fn rewrite(&mut self) -> io::Result<()> {
        (self.file, self.length) = write_anew(&self.directory, self.index, &self.live)?;
        self.lines = self.live.len() + 1;
        Ok(())
    }
}

/// Where a registry begins of which nothing is left: by chance, so that what a watcher remembers of an earlier life is
/// known to be of another. Clients in other languages may hold an index in 53 bits.
pub(super) fn first_index() -> u64 {
    fastrand::u64(JUMP..1 << 52)
}

/// One line with its checksum and end.
fn encode(line: &Line) -> io::Result<String> {
    let json = serde_json::to_string(line)?;
    Ok(format!("{:016x} {json}\n", Digest::of(json.as_bytes())))
}

/// Writes a whole file beside the old one and puts it in its place, so that at each moment one of them is whole.
fn write_anew(directory: &Path, index: u64, live: &BTreeMap<Key, String>) -> io::Result<(File, u64)> {
    let mut text = encode(&Line { index, what: What::Format(FORMAT) })?;
    text.extend(live.values().map(String::as_str));
    let (path, new) = (directory.join(FILE), directory.join(format!("{FILE}.new")));
    let mut file = File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, &path)?;
    // The rename itself is on disk when the directory is.
    File::open(directory)?.sync_all()?;
    Ok((OpenOptions::new().append(true).open(&path)?, text.len() as u64))
}

/// Moves a file to the first free name of `registry.journal.damaged-1`, `-2`, ...
fn aside(path: &Path) -> io::Result<PathBuf> {
    let mut number = 1_u32;
    loop {
        let free = path.with_extension(format!("journal.damaged-{number}"));
        if !free.try_exists()? {
            fs::rename(path, &free)?;
            return Ok(free);
        }
        number += 1;
    }
}
