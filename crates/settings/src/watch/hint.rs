//! Events of the operating system, as a hint that a comparison may be worth it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

/// Watches the directories of files, not the files: editors and config maps replace them.
#[derive(Debug, Default)]
pub(super) struct Hint {
    /// Given by notify's thread, taken by [`super::Files`]. Holds at most one hint; more would say the same.
    bell: Arc<Notify>,
    watched: BTreeSet<PathBuf>,
    watcher: Option<RecommendedWatcher>,
}

impl Hint {
    #[cfg(test)]
    pub(super) fn bell(&self) -> Arc<Notify> {
        Arc::clone(&self.bell)
    }

    /// Waits for a hint.
    pub(super) async fn given(&self) {
        self.bell.notified().await;
    }

    /// Watches the directories of these files from now on. What cannot be watched is found by comparison.
    pub(super) fn follow<'a>(&mut self, paths: impl Iterator<Item = &'a PathBuf>) {
        let directories: BTreeSet<PathBuf> = paths.flat_map(|path| directories(path)).collect();
        if directories == self.watched && self.watcher.is_some() {
            return;
        }
        // A new watcher rather than a changed one: a directory that was removed and made again is another one.
        self.watcher = match watch(&directories, Arc::clone(&self.bell)) {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                tracing::warn!(%error, "no file events from the system, changes are found by comparison only");
                None
            }
        };
        self.watched = directories;
    }
}

/// The directory that holds a path, and the one it leads to through symlinks; a directory itself, too.
fn directories(path: &Path) -> Vec<PathBuf> {
    let named = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_owned(),
        None => return Vec::new(),
    };
    let real = std::fs::canonicalize(path).ok();
    let behind = real.as_deref().and_then(Path::parent).map(Path::to_owned);
    [Some(named), behind, real].into_iter().flatten().filter(|directory| directory.is_dir()).collect()
}

fn watch(directories: &BTreeSet<PathBuf>, bell: Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        // An error (a full queue) may stand for any number of changes.
        if event.map_or(true, |event| may_change_content(event.kind)) {
            bell.notify_one();
        }
    })?;
    for directory in directories {
        if let Err(error) = watcher.watch(directory, RecursiveMode::NonRecursive) {
            tracing::debug!(directory = %directory.display(), %error, "directory not watched, only compared");
        }
    }
    Ok(watcher)
}

/// Reading is no reason to compare: comparing reads.
fn may_change_content(kind: EventKind) -> bool {
    !matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}
