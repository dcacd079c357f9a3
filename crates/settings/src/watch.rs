//! Tells when files change: settings, certificates, keys, CAs, tokens.
//!
//! The truth is a comparison of *contents*, made at an interval. Events of the operating system only make it earlier,
//! because they are lost on network file systems, in mounted config maps and when the kernel's queue is full. Times are
//! not looked at: a swap of symlinks can bring an older file.
//!
//! Nothing here blocks. A directory that hangs, as one on a network file system does that lost its server, is said so
//! once; its files count as they were last, and the others are followed as ever.
//!
//! ```no_run
//! # async fn reload() {}
//! # async fn run() -> std::io::Result<()> {
//! use settings::watch::{Files, Hangup, POLL};
//!
//! // Before the first read, so that nothing falls between reading and watching.
//! let mut files = Files::new(["config/router.yml".into()], POLL).await;
//! let mut hangup = Hangup::new()?;
//! loop {
//!     tokio::select! {
//!         changed = files.changed() => tracing::info!(?changed, "reading the settings again"),
//!         () = hangup.received() => {}
//!     }
//!     // After parsing the settings, call `files.set_paths(..)`, and only then read the certificates they name.
//!     reload().await;
//! }
//! # }
//! ```

mod content;
mod hangup;
mod hint;
mod links;
mod looks;
mod patience;
#[cfg(test)]
mod tests;
mod whole;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior};

use self::content::Content;
use self::hint::Hint;
use self::looks::Looks;
use self::whole::Then;
use crate::Stalled;

pub use self::hangup::Hangup;

/// Usual interval of comparison: soon enough for a person who waits, and a few small reads cost nothing.
pub const POLL: Duration = Duration::from_secs(2);

/// Between two comparisons that found nothing: a log or a database in the same directory gives hints without pause.
const PAUSE: Duration = Duration::from_millis(200);
/// Time after which a change counts although the content still moves, so that a file that is written without pause does
/// not hide the others.
const LONGEST: Duration = Duration::from_secs(2);
/// The same for files that stand for each other, if somebody writes what differs and has not closed it: a copy over a slow
/// line, a pipe that pauses. Half a file can be a valid one. Where each stands for itself, one must not hide the others so long.
const WRITTEN: Duration = Duration::from_secs(20);

/// A set of files whose content is watched. A file that is deleted has changed, and one that returns too. A directory
/// has changed when other names are in it; what its files hold is watched if they are named too.
#[derive(Debug)]
pub struct Files {
    /// What the user of this last heard of.
    known: BTreeMap<PathBuf, Content>,
    poll: Interval,
    hint: Hint,
    looks: Looks,
    /// Whether each file stands for itself.
    apart: bool,
    /// There was a reason to compare which was not followed to its end: the future was dropped in the middle.
    due: bool,
    /// Reasons to compare that were followed.
    #[cfg(test)]
    followed: usize,
}

impl Files {
    /// Watches these files from now on, comparing at least every `poll` (see [`POLL`]). Reads them once.
    ///
    /// # Panics
    /// Outside a tokio runtime, or if `poll` is zero.
    #[must_use]
    pub async fn new(paths: impl IntoIterator<Item = PathBuf>, poll: Duration) -> Self {
        let mut poll = tokio::time::interval_at(Instant::now() + poll, poll);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut files = Self {
            known: BTreeMap::new(),
            poll,
            hint: Hint::default(),
            looks: Looks::default(),
            apart: false,
            due: false,
            #[cfg(test)]
            followed: 0,
        };
        files.set_paths(paths).await;
        files
    }

    /// Each file stands for itself: once all that differs was moved into place (or a link that leads to it), or closed by
    /// who wrote it, that counts at once, and what is gone does so unless it is there again soon.
    #[must_use]
    pub fn apart(self) -> Self {
        Self { apart: true, ..self }
    }

    /// Watches these files instead. What was known of those that stay is kept, so no change of them is lost; new ones
    /// are read once.
    pub async fn set_paths(&mut self, paths: impl IntoIterator<Item = PathBuf>) {
        let paths: BTreeSet<PathBuf> = paths.into_iter().collect();
        let new: Vec<&PathBuf> = paths.iter().filter(|path| !self.known.contains_key(*path)).collect();
        if !new.is_empty() {
            let mut read = self.looks.at(new.into_iter(), &self.known).await;
            self.known.append(&mut read);
        }
        self.known.retain(|path, _| paths.contains(path));
        follow(&mut self.hint, &self.looks, &self.known).await;
    }

    /// Waits until the content of some files is another than when this last returned, and tells which.
    ///
    /// Dropping the future loses nothing: the next call reports what this one would have.
    ///
    /// # Errors
    /// [`Stalled`] once when some directory begins to hang; the others are told of all the same.
    pub async fn changed(&mut self) -> Result<Vec<PathBuf>, Stalled> {
        loop {
            if !self.due {
                tokio::select! {
                    _ = self.poll.tick() => {}
                    () = self.hint.given() => {}
                }
                self.due = true;
                #[cfg(test)]
                {
                    self.followed += 1;
                }
            }
            let now = self.settled().await;
            let changed = differing(&self.known, &now);
            if !changed.is_empty() {
                // A swapped symlink leads to another directory.
                follow(&mut self.hint, &self.looks, &now).await;
                self.known = now;
                self.due = false;
                return Ok(changed);
            }
            self.due = false;
            if self.looks.stalled() {
                return Err(Stalled);
            }
            if self.hint.is_behind() {
                follow(&mut self.hint, &self.looks, &self.known).await;
            }
            tokio::select! {
                () = self.hint.done(), if self.apart => {}
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    /// The contents, once two looks in a row agree, or nothing differs from what is known, or what differs is whole.
    async fn settled(&mut self) -> BTreeMap<PathBuf, Content> {
        let (mut last, mut whole) = self.look().await;
        let begun = Instant::now();
        while let Some(time) = self.patience(&last, &whole)
            && begun.elapsed() < if !self.apart && self.is_written(&last) { WRITTEN } else { LONGEST }
        {
            let closed = tokio::select! {
                () = self.hint.closed(), if self.apart => true,
                () = tokio::time::sleep(time) => false,
            };
            let before = std::mem::take(&mut last);
            (last, whole) = self.look().await;
            if before == last && !closed && !self.is_written(&last) {
                break;
            }
        }
        self.hint.bells().whole.seen(&whole);
        last
    }

    /// The contents now, and which of them were whole all the while.
    async fn look(&mut self) -> (BTreeMap<PathBuf, Content>, Then) {
        let bells = self.hint.bells();
        let whole = bells.whole.now();
        let seen = self.looks.at(self.known.keys(), &self.known).await;
        let linked = self.apart && !whole.is_empty();
        let ways = if linked { self.hint.ways(new(&self.known, &seen)).await } else { Vec::new() };
        (seen, bells.whole.still(whole).through(&ways))
    }

    /// Whether somebody still writes one of those that differ.
    fn is_written(&self, now: &BTreeMap<PathBuf, Content>) -> bool {
        let bells = self.hint.bells();
        let open = |path: &PathBuf| path.file_name().is_some_and(|name| bells.whole.is_open(name));
        new(&self.known, now).iter().any(open)
    }

    /// How long these contents must stay the same until they count; `None`: not at all.
    fn patience(&self, now: &BTreeMap<PathBuf, Content>, whole: &Then) -> Option<Duration> {
        if self.apart { patience::apart(&self.known, now, whole) } else { patience::together(&self.known, now) }
    }
}

/// Has the system tell of changes, but for directories that hang.
async fn follow(hint: &mut Hint, looks: &Looks, files: &BTreeMap<PathBuf, Content>) {
    hint.follow(files.keys().filter(|file| looks.answers(file)), looks.all_answer()).await;
}

/// What is there and was not, or holds something else.
fn new(before: &BTreeMap<PathBuf, Content>, now: &BTreeMap<PathBuf, Content>) -> Vec<PathBuf> {
    let of = |path: PathBuf| match (before.get(&path), now.get(&path)) {
        (Some(Content::Names(old)), Some(Content::Names(new))) => {
            new.difference(old).map(|name| path.join(name)).collect()
        }
        _ => vec![path],
    };
    differing(before, now).into_iter().flat_map(of).collect()
}

fn differing(before: &BTreeMap<PathBuf, Content>, now: &BTreeMap<PathBuf, Content>) -> Vec<PathBuf> {
    now.iter().filter(|(path, content)| before.get(*path) != Some(*content)).map(|(path, _)| path.clone()).collect()
}
