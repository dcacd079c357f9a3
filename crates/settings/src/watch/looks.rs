//! Looking at many files, of which some may hang.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use tokio::task::JoinSet;

use super::content::Content;
use crate::{Aside, Stalled};

/// A place to read for each directory: one on a network file system that lost its server hides none of the others.
#[derive(Debug, Default)]
pub(super) struct Looks {
    places: BTreeMap<PathBuf, Aside>,
    /// Directories that hang.
    stalled: BTreeSet<PathBuf>,
    /// Some of them have only begun to, and nobody was told.
    news: bool,
}

impl Looks {
    /// What these files hold. One that hangs is as it was known, or as if it were not there.
    pub(super) async fn at(
        &mut self,
        files: impl Iterator<Item = &PathBuf>,
        known: &BTreeMap<PathBuf, Content>,
    ) -> BTreeMap<PathBuf, Content> {
        let mut directories = BTreeMap::<PathBuf, Vec<PathBuf>>::new();
        for file in files {
            directories.entry(directory(file)).or_default().push(file.clone());
        }
        // One that hangs is remembered for as long as it does, so that it is never asked twice.
        self.places.retain(|directory, aside| directories.contains_key(directory) || aside.is_busy());
        self.stalled.retain(|directory| self.places.contains_key(directory));
        let mut looking = JoinSet::new();
        for (directory, files) in directories {
            let aside = self.places.entry(directory.clone()).or_default().clone();
            looking.spawn(async move {
                let look = files.clone();
                let seen = aside.run(move || look.iter().map(|file| Content::of(file)).collect::<Vec<_>>()).await;
                (directory, files, seen)
            });
        }
        let mut contents = BTreeMap::new();
        while let Some(Ok((directory, files, seen))) = looking.join_next().await {
            self.note(&directory, seen.is_err());
            match seen {
                Ok(seen) => contents.extend(files.into_iter().zip(seen)),
                Err(Stalled) => contents.extend(files.into_iter().map(|file| {
                    let content = known.get(&file).cloned().unwrap_or(Content::None);
                    (file, content)
                })),
            }
        }
        contents
    }

    /// Whether this file's directory does not hang, as far as is known.
    pub(super) fn answers(&self, file: &Path) -> bool {
        !self.stalled.contains(&directory(file))
    }

    /// Whether no directory hangs.
    pub(super) fn all_answer(&self) -> bool {
        self.stalled.is_empty()
    }

    /// Whether a directory has begun to hang since this was asked last.
    pub(super) fn stalled(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }

    fn note(&mut self, directory: &Path, stalls: bool) {
        if !stalls {
            if self.stalled.remove(directory) {
                tracing::info!(directory = %directory.display(), "this directory can be read again");
            }
        } else if self.stalled.insert(directory.to_owned()) {
            let directory = directory.display();
            tracing::warn!(%directory, "reading this directory stalls: its files count as they were last");
            self.news = true;
        }
    }
}

/// Files of one directory are on one file system, in all likelihood.
fn directory(file: &Path) -> PathBuf {
    file.parent().unwrap_or(file).to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_directory_that_hangs_hides_no_other_and_its_files_are_as_they_were() {
        let (fine, hung) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let files = [fine.path().join("a"), hung.path().join("b")];
        for file in &files {
            std::fs::write(file, "1").unwrap();
        }
        let mut looks = Looks::default();
        let known = looks.at(files.iter(), &BTreeMap::new()).await;
        assert_eq!(known.len(), 2);
        // As a system call that does not return.
        let (release, held) = mpsc::channel::<()>();
        let aside = looks.places[hung.path()].clone();
        tokio::spawn(async move { aside.run(move || held.recv().is_ok()).await });
        while !looks.places[hung.path()].is_busy() {
            tokio::task::yield_now().await;
        }
        // Timers are exact to a millisecond.
        tokio::time::advance(crate::PATIENCE + std::time::Duration::from_millis(1)).await;
        for file in &files {
            std::fs::write(file, "2 and more").unwrap();
        }
        for told in [true, false] {
            let seen = looks.at(files.iter(), &known).await;
            assert_ne!(seen[&files[0]], known[&files[0]]);
            assert_eq!(seen[&files[1]], known[&files[1]]);
            assert_eq!(looks.stalled(), told, "told once");
            assert!(looks.answers(&files[0]) && !looks.answers(&files[1]) && !looks.all_answer());
        }
        let unknown = looks.at(files.iter(), &BTreeMap::new()).await;
        assert_eq!(unknown[&files[1]], Content::None);
        release.send(()).unwrap();
        while looks.places[hung.path()].is_busy() {
            tokio::task::yield_now().await;
        }
        let seen = looks.at(files.iter(), &known).await;
        assert_ne!(seen[&files[1]], known[&files[1]]);
        assert!(!looks.stalled() && looks.all_answer());
    }
}
