//! Events of the operating system, as a hint that a comparison may be worth it.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use super::links::links;
use super::whole::{Way, Whole};
use crate::Aside;

/// Watches the directories of files, not the files: editors and config maps replace them.
#[derive(Debug, Default)]
pub(super) struct Hint {
    bells: Arc<Bells>,
    files: BTreeSet<PathBuf>,
    watched: BTreeSet<PathBuf>,
    watcher: Option<RecommendedWatcher>,
    /// Watching begins with looking for the directories, which can hang.
    aside: Aside,
    /// What is watched is not all that should be.
    behind: bool,
}

/// Rung by notify's thread, heard by [`super::Files`]. Each holds at most one ring; more would say the same.
#[derive(Debug, Default)]
pub(super) struct Bells {
    /// Something may have changed.
    pub(super) any: Notify,
    /// A file is whole: moved into place, or closed by who wrote it.
    closed: Notify,
    /// The same, or a file is gone.
    done: Notify,
    /// Which files are whole.
    pub(super) whole: Whole,
}

impl Bells {
    /// Tells of an event, and what it says of files that are `ours`.
    pub(super) fn ring(&self, event: &Event, ours: impl Fn(&Path) -> bool) {
        if event.need_rescan() {
            return self.ring_for_all();
        }
        let last = event.paths.len().saturating_sub(1);
        for (at, path) in event.paths.iter().enumerate().filter(|(_, path)| ours(path)) {
            let Some(name) = path.file_name() else { continue };
            // A move is told with both its names, the old one first.
            if is_whole(event.kind) && at == last {
                self.whole.put(name);
                self.closed.notify_one();
                self.done.notify_one();
            } else if is_whole(event.kind) || is_gone(event.kind) {
                self.whole.take(name);
                self.done.notify_one();
            } else if is_written(event.kind) {
                self.whole.open(name);
            } else if begins(event.kind) {
                self.whole.take(name);
            }
        }
        self.any.notify_one();
    }

    /// A full queue may stand for any number of changes.
    fn ring_for_all(&self) {
        self.whole.clear();
        self.any.notify_one();
    }
}

/// What is watched anew.
type Begun = (BTreeSet<PathBuf>, notify::Result<RecommendedWatcher>);

impl Hint {
    pub(super) fn bells(&self) -> Arc<Bells> {
        Arc::clone(&self.bells)
    }

    /// Waits for a hint.
    pub(super) async fn given(&self) {
        self.bells.any.notified().await;
    }

    /// Waits for a hint that one more of the files is whole.
    pub(super) async fn closed(&self) {
        self.bells.closed.notified().await;
    }

    /// Waits for a hint that one of the files is whole or gone.
    pub(super) async fn done(&self) {
        self.bells.done.notified().await;
    }

    /// Watches the directories of these files from now on, `all` there are or those that can be looked for now. What
    /// cannot be watched is found by comparison.
    pub(super) async fn follow<'a>(&mut self, paths: impl Iterator<Item = &'a PathBuf>, all: bool) {
        let files: BTreeSet<PathBuf> = paths.cloned().collect();
        let same = (files == self.files && self.watcher.is_some()).then(|| self.watched.clone());
        let (own, bells) = (files.clone(), Arc::clone(&self.bells));
        let begun = self.aside.run(move || begin(own, same.as_ref(), bells)).await;
        self.behind = !all || begun.is_err();
        let Ok(Some((directories, watcher))) = begun else { return };
        self.files = files;
        self.watched = directories;
        self.watcher = match watcher {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                tracing::warn!(%error, "no file events from the system, changes are found by comparison only");
                None
            }
        };
    }

    /// By which links these paths lead to what they name; none of it if that hangs.
    pub(super) async fn ways(&self, paths: Vec<PathBuf>) -> Vec<Way> {
        let way = |path: PathBuf| {
            let links = links(&path);
            (path, links)
        };
        self.aside.run(move || paths.into_iter().map(way).collect()).await.unwrap_or_default()
    }

    /// Whether [`Hint::follow`] has something left to do.
    pub(super) fn is_behind(&self) -> bool {
        self.behind
    }
}

/// Watches the directories of these files, unless the `same` files are watched there already. Blocks.
fn begin(files: BTreeSet<PathBuf>, same: Option<&BTreeSet<PathBuf>>, bells: Arc<Bells>) -> Option<Begun> {
    let links: BTreeSet<PathBuf> = files.iter().flat_map(|path| links(path)).collect();
    let directories: BTreeSet<PathBuf> =
        files.iter().flat_map(|path| directories(path)).chain(links.iter().filter_map(|link| holder(link))).collect();
    if same == Some(&directories) {
        return None;
    }
    // A new watcher rather than a changed one: a directory that was removed and made again is another one.
    let links = links.iter().filter_map(|link| link.file_name()).map(OsStr::to_owned).collect();
    let watcher = watch(&directories, Ours { files, links }, bells);
    Some((directories, watcher))
}

/// The directory that holds a path, and the one it leads to through symlinks; a directory itself, too.
fn directories(path: &Path) -> Vec<PathBuf> {
    let real = std::fs::canonicalize(path).ok();
    let behind = real.as_deref().and_then(holder);
    [holder(path), behind, real].into_iter().flatten().filter(|directory| directory.is_dir()).collect()
}

/// The directory that holds a path.
fn holder(path: &Path) -> Option<PathBuf> {
    let parent = path.parent()?;
    Some(if parent.as_os_str().is_empty() { PathBuf::from(".") } else { parent.to_owned() })
}

/// What is watched.
struct Ours {
    files: BTreeSet<PathBuf>,
    /// The names of links that lead to them.
    links: BTreeSet<OsString>,
}

impl Ours {
    /// Whether one of the files, or a link to it, or one in a directory among them, goes by this name. The same file has
    /// several paths, so a namesake may be taken for it: that costs a comparison.
    fn has(&self, path: &Path) -> bool {
        let named =
            |name: &OsStr| self.links.contains(name) || self.files.iter().any(|file| file.file_name() == Some(name));
        path.file_name().is_some_and(named) || path.parent().is_some_and(|parent| self.files.contains(parent))
    }
}

fn watch(directories: &BTreeSet<PathBuf>, ours: Ours, bells: Arc<Bells>) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| match event {
        Ok(event) if may_change_content(event.kind) => bells.ring(&event, |path| ours.has(path)),
        Ok(_) => {}
        Err(_) => bells.ring_for_all(),
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

/// Who writes a file has closed it, or moved it into place.
fn is_whole(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Name(RenameMode::To | RenameMode::Both))
    )
}

/// Something goes by a name that it did not go by before, and may not be whole.
fn begins(kind: EventKind) -> bool {
    matches!(kind, EventKind::Create(_))
}

/// Somebody writes a file, or has cut it off to write it anew, and will close it.
fn is_written(kind: EventKind) -> bool {
    matches!(kind, EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Any))
}

/// Nobody goes by this name any more.
fn is_gone(kind: EventKind) -> bool {
    matches!(kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)))
}
