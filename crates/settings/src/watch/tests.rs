//! Tests on real directories, where only events of the system, or only comparison, can tell of the change.

use std::fs;
use std::path::{Path, PathBuf};
use std::slice::from_ref;
use std::time::Duration;

use tempfile::TempDir;

mod apart;

use super::hint::Hint;
use super::{Files, Hangup};

/// Far beyond the end of any test.
const NEVER: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_millis(50);
/// Generous for a loaded machine; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

fn file(directory: &TempDir, name: &str, content: &str) -> PathBuf {
    let path = directory.path().join(name);
    fs::write(&path, content).expect("written");
    path
}

#[track_caller]
fn link(target: impl AsRef<Path>, path: &Path) {
    std::os::unix::fs::symlink(target, path).expect("linked");
}

/// How the change becomes known.
#[derive(Clone, Copy, PartialEq)]
enum By {
    /// The next comparison by the clock is far away.
    Event,
    /// Events are lost.
    Poll,
}

struct Subject {
    files: Files,
    by: By,
}

impl Subject {
    async fn new(paths: impl IntoIterator<Item = PathBuf>, by: By) -> Self {
        Self { files: Files::new(paths, if by == By::Event { NEVER } else { SOON }).await, by }
    }

    async fn within(&mut self, time: Duration) -> Option<Vec<PathBuf>> {
        if self.by == By::Poll {
            self.files.hint = Hint::default();
        }
        tokio::time::timeout(time, self.files.changed()).await.ok().map(|changed| changed.expect("nothing hangs"))
    }

    async fn changed(&mut self) -> Vec<PathBuf> {
        self.within(PATIENCE).await.expect("a change is seen")
    }

    /// Nothing is reported although there was time for several comparisons.
    async fn quiet(&mut self) {
        assert_eq!(self.within(Duration::from_millis(400)).await, None);
    }
}

/// Runs a body both ways.
macro_rules! by_event_and_by_poll {
    ($(async fn $name:ident($by:ident) $body:block)*) => {$(
        mod $name {
            use super::*;

            async fn body($by: By) $body

            #[tokio::test]
            async fn by_event() {
                body(By::Event).await;
            }

            #[tokio::test]
            async fn by_poll() {
                body(By::Poll).await;
            }
        }
    )*};
}

#[tokio::test]
async fn what_is_being_written_counts_when_it_is_closed() {
    use std::io::Write as _;

    let directory = directory();
    let a = file(&directory, "a", "one: 1, two: 2");
    let mut files = Subject::new([a.clone()], By::Event).await;
    let mut writer = fs::File::create(&a).expect("cut off");
    files.quiet().await;
    writer.write_all(b"one: 3").expect("written");
    // Longer than a file settles, and longer than one that moves without pause counts.
    assert_eq!(files.within(super::LONGEST + Duration::from_secs(1)).await, None);
    writer.write_all(b", two: 4").expect("written");
    drop(writer);
    assert_eq!(files.changed().await, [a]);
    files.quiet().await;
}

by_event_and_by_poll! {
    async fn a_write_is_seen_and_only_once(by) {
        let directory = directory();
        let (a, b) = (file(&directory, "a", "1"), file(&directory, "b", "1"));
        let mut files = Subject::new([a.clone(), b.clone()], by).await;
        files.quiet().await;
        fs::write(&a, "2").expect("written");
        assert_eq!(files.changed().await, [a]);
        files.quiet().await;
        fs::write(&b, "2").expect("written");
        assert_eq!(files.changed().await, [b]);
    }

    async fn the_same_content_is_no_change(by) {
        let directory = directory();
        let a = file(&directory, "a", "1");
        let mut files = Subject::new([a.clone()], by).await;
        fs::write(&a, "1").expect("written");
        file(&directory, "neighbour", "2");
        files.quiet().await;
    }

    async fn an_atomic_rename_is_seen(by) {
        let directory = directory();
        let a = file(&directory, "a", "1");
        let mut files = Subject::new([a.clone()], by).await;
        for content in ["2", "3"] {
            fs::rename(file(&directory, "a.new", content), &a).expect("renamed");
            assert_eq!(files.changed().await, from_ref(&a));
        }
    }

    async fn deletion_and_return_are_changes(by) {
        let directory = directory();
        let a = file(&directory, "a", "1");
        let mut files = Subject::new([a.clone()], by).await;
        fs::remove_file(&a).expect("removed");
        assert_eq!(files.changed().await, from_ref(&a));
        files.quiet().await;
        fs::write(&a, "1").expect("written");
        assert_eq!(files.changed().await, [a]);
    }

    // As a mounted config map: `tls.crt -> ..data/tls.crt`, and `..data` is a link that is replaced.
    async fn a_swapped_symlink_is_seen(by) {
        let directory = directory();
        let root = directory.path();
        for (version, content) in [("..v1", "1"), ("..v2", "2"), ("..v3", "3")] {
            fs::create_dir(root.join(version)).expect("made");
            fs::write(root.join(version).join("tls.crt"), content).expect("written");
        }
        link("..v1", &root.join("..data"));
        let path = root.join("tls.crt");
        link("..data/tls.crt", &path);
        let mut files = Subject::new([path.clone()], by).await;
        for version in ["..v2", "..v3", "..v1"] {
            link(version, &root.join("..data_tmp"));
            fs::rename(root.join("..data_tmp"), root.join("..data")).expect("swapped");
            assert_eq!(files.changed().await, from_ref(&path));
        }
        // The directory behind the link has changed; writes there are still seen.
        fs::write(root.join("..v1/tls.crt"), "4").expect("written");
        assert_eq!(files.changed().await, [path]);
    }

    async fn names_in_a_directory_are_seen(by) {
        let directory = directory();
        let lists = directory.path().join("lists");
        fs::create_dir(&lists).expect("made");
        let mut files = Subject::new([lists.clone()], by).await;
        fs::write(lists.join("a.yml"), "1").expect("written");
        assert_eq!(files.changed().await, from_ref(&lists));
        fs::write(lists.join("a.yml"), "2").expect("written");
        files.quiet().await;
        fs::rename(lists.join("a.yml"), lists.join("b.yml")).expect("renamed");
        assert_eq!(files.changed().await, from_ref(&lists));
        fs::remove_dir_all(&lists).expect("removed");
        assert_eq!(files.changed().await, [lists]);
    }

    async fn what_set_paths_keeps_is_not_forgotten(by) {
        let directory = directory();
        let (a, b, c) = (file(&directory, "a", "1"), file(&directory, "b", "1"), directory.path().join("c"));
        let mut files = Subject::new([a.clone(), b.clone()], by).await;
        fs::write(&a, "2").expect("written");
        fs::write(&b, "2").expect("written");
        files.files.set_paths([a.clone(), c.clone()]).await;
        assert_eq!(files.changed().await, [a]);
        fs::write(&c, "new").expect("written");
        assert_eq!(files.changed().await, [c]);
        fs::write(&b, "3").expect("written");
        files.quiet().await;
    }

    async fn a_dropped_wait_loses_nothing(by) {
        let directory = directory();
        let a = file(&directory, "a", "1");
        let mut files = Subject::new([a.clone()], by).await;
        fs::write(&a, "2").expect("written");
        // Long enough to have heard of it, too short to have settled.
        for _ in 0..5 {
            assert_eq!(files.within(Duration::from_millis(30)).await, None);
        }
        assert_eq!(files.changed().await, [a]);
    }
}

/// Paused time, which stands still while files are read: the writer is never late.
#[tokio::test(start_paused = true)]
async fn a_file_still_being_written_is_not_reported() {
    let directory = directory();
    let a = file(&directory, "a", "whole");
    let mut files = Subject::new([a.clone()], By::Poll).await;
    let writer = tokio::spawn({
        let a = a.clone();
        async move {
            for length in 1..=20 {
                fs::write(&a, "x".repeat(length)).expect("written");
                tokio::time::sleep(Duration::from_millis(15)).await;
            }
        }
    });
    assert_eq!(files.changed().await, from_ref(&a));
    assert_eq!(fs::read_to_string(&a).expect("reads").len(), 20, "reported before the last write");
    writer.await.expect("wrote");
}

#[tokio::test(start_paused = true)]
async fn a_busy_neighbour_in_the_directory_costs_few_comparisons() {
    let directory = directory();
    let a = file(&directory, "a", "one");
    let mut files = Subject::new([a.clone()], By::Event).await;
    let bells = files.files.hint.bells();
    let neighbour = tokio::spawn(async move {
        loop {
            bells.any.notify_one();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    assert_eq!(files.within(Duration::from_secs(10)).await, None);
    assert!((10..=51).contains(&files.files.followed), "{} in ten seconds", files.files.followed);
    fs::write(&a, "two").expect("written");
    assert_eq!(files.within(Duration::from_secs(1)).await, Some(vec![a]));
    neighbour.abort();
}

#[tokio::test]
async fn what_is_no_file_blocks_nothing() {
    let directory = directory();
    let mut files =
        Subject::new([directory.path().to_owned(), "/dev/zero".into(), "missing/file".into()], By::Poll).await;
    files.quiet().await;
}

#[tokio::test]
async fn a_hangup_is_received() {
    let mut hangup = Hangup::new().expect("a handler");
    let sent = std::process::Command::new("kill").args(["-HUP", &std::process::id().to_string()]).status();
    assert!(sent.expect("kill runs").success());
    tokio::time::timeout(PATIENCE, hangup.received()).await.expect("the signal comes");
}
