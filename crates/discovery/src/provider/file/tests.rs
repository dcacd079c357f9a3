//! On real directories.

use std::{fs, os::unix::fs::symlink, path::Path, sync::Arc, time::Duration};

use model::{Exposure, ServiceId};
use testkit::ConfigMap;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};

use super::*;
use crate::provider::supervise;

struct Subject {
    updates: mpsc::Receiver<(usize, Update)>,
    task: JoinHandle<()>,
    _interest: watch::Sender<Arc<Interest>>,
}

impl Drop for Subject {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn watching(path: &Path) -> Subject {
    let (sender, updates) = mpsc::channel(64);
    let services = ["a", "b"].map(|name| ServiceId::new(name).unwrap()).into();
    let (interest, interested) = watch::channel(Arc::new(Interest { services, exposure: Exposure::Routed }));
    let source = Source::new(Settings { path: path.to_owned() });
    let task = tokio::spawn(supervise::run(source, Feed::new(0, sender, interested)));
    Subject { updates, task, _interest: interest }
}

impl Subject {
    /// The next update in short.
    async fn said(&mut self) -> String {
        let update = timeout(Duration::from_secs(20), self.updates.recv()).await.expect("an update in time");
        let ports = |list: &[Arc<model::Instance>]| {
            list.iter().map(|i| i.endpoint.address.port.to_string()).collect::<Vec<_>>().join(" ")
        };
        match update.unwrap().1 {
            Update::Everything(all) => {
                let mut all: Vec<_> = all.iter().map(|(service, list)| format!("{service}: {}", ports(list))).collect();
                all.sort();
                format!("all {}", all.join(", "))
            }
            Update::Service { service, knowledge, deregistered } => match knowledge {
                Knowledge::Known(list) | Knowledge::Part(list) => {
                    format!("{service}: {} left {}", ports(&list), deregistered.len())
                }
                Knowledge::KnownEmpty => format!("{service}: none left {}", deregistered.len()),
                Knowledge::Unknown(error) => format!("{service}: {error}"),
            },
            Update::Unreachable(error) => format!("unreachable {error}"),
            Update::Skipped { reason, .. } => format!("skipped {reason}"),
            other => panic!("{other:?}"),
        }
    }

    async fn says(&mut self, expected: &str) {
        assert_eq!(self.said().await, expected);
    }

    /// What it says next of trouble, which names this file and place.
    async fn complains(&mut self, place: &str) {
        let said = self.said().await;
        assert!(said.contains(place), "{said}");
    }
}

fn put(directory: &Path, name: &str, text: &str) {
    let new = directory.join(".new");
    fs::write(&new, text).unwrap();
    fs::rename(new, directory.join(name)).unwrap();
}

#[tokio::test]
async fn files_come_change_break_and_go() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    put(path, "1.yml", "services:\n  a: [ \"http://h:1\", \"http://h:2\" ]\n");
    let mut subject = watching(path);
    subject.says("all a: 1 2").await;
    put(path, "2.json", r#"{ "services": { "a": [ "http://h:3" ], "b": "http://h:4" } }"#);
    subject.says("a: 1 2 3 left 0").await;
    subject.says("b: 4 left 0").await;
    put(path, "1.yml", "services:\n  a: [ \"http://h:1\" ]\n");
    subject.says("a: 1 3 left 1").await;
    // Half of it, as a program leaves it that died while writing.
    put(path, "1.yml", "services:\n  a: [ \"http://h");
    subject.complains("1.yml:").await;
    put(path, "1.yml", "services:\n  a: [ \"http://h:5\" ]\n");
    subject.says("a: 3 5 left 1").await;
    fs::remove_file(path.join("2.json")).unwrap();
    subject.says("a: 5 left 0").await;
    subject.says("b: none left 0").await;
}

#[tokio::test]
async fn a_mounted_config_map_is_followed() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let mut map = ConfigMap::mount(root);
    let of = |port: u16| format!("services: {{ a: \"http://h:{port}\" }}");
    map.project(&[("lists.yml", &of(1))]);
    let mut subject = watching(root);
    subject.says("all a: 1").await;
    for port in [2, 3] {
        map.project(&[("lists.yml", &of(port))]);
        // The address is the name of an instance, so the old one was taken off.
        subject.says(&format!("a: {port} left 1")).await;
    }
    map.project(&[("lists.yml", &of(3)), ("more.yml", r#"services: { b: "http://h:4" }"#)]);
    subject.says("b: 4 left 0").await;
    map.project(&[("lists.yml", &of(3))]);
    subject.says("b: none left 0").await;
    // A link that leads nowhere is no empty list.
    let version = fs::read_link(root.join("..data")).unwrap();
    fs::remove_file(root.join("..data")).unwrap();
    subject.complains("lists.yml").await;
    fs::write(root.join(&version).join("lists.yml"), of(5)).unwrap();
    symlink(version, root.join("..data")).unwrap();
    subject.says("a: 5 left 1").await;
}

#[tokio::test]
async fn a_directory_that_goes_away_empties_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lists");
    let mut subject = watching(&path);
    subject.complains("unreachable registry failed").await;
    fs::create_dir(&path).unwrap();
    put(&path, "1.yml", r#"services: { a: "http://h:1" }"#);
    while subject.said().await != "all a: 1" {}
    fs::rename(&path, directory.path().join("elsewhere")).unwrap();
    subject.complains("unreachable registry failed").await;
    fs::rename(directory.path().join("elsewhere"), &path).unwrap();
    while subject.said().await != "all a: 1" {}
}

#[tokio::test]
async fn a_file_broken_from_the_start_makes_the_rest_unknown() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    put(path, "1.yml", r#"services: { a: "http://h:1" }"#);
    put(path, "2.yml", "services:\n  b: [ \"h:1\" ]\n");
    let mut subject = watching(path);
    subject.complains("2.yml:2:8").await;
    subject.says("a: 1 left 0").await;
    subject.complains("b: unreadable answer").await;
    put(path, "2.yml", r#"services: { b: "http://h:2" }"#);
    subject.says("b: 2 left 0").await;
    subject.says("all a: 1, b: 2").await;
}

#[tokio::test]
async fn what_goes_during_an_outage_goes_beside_a_file_that_could_never_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let (path, aside) = (directory.path().join("lists"), directory.path().join("aside"));
    fs::create_dir(&path).unwrap();
    put(&path, "1.yml", r#"services: { a: "http://h:1", b: "http://h:2" }"#);
    put(&path, "2.yml", "nonsense");
    let mut subject = watching(&path);
    subject.complains("2.yml:1").await;
    subject.says("a: 1 left 0").await;
    subject.says("b: 2 left 0").await;
    fs::rename(&path, &aside).unwrap();
    subject.complains("unreachable registry failed").await;
    put(&aside, "1.yml", r#"services: { b: "http://h:2" }"#);
    fs::rename(&aside, &path).unwrap();
    let said = loop {
        let said = subject.said().await;
        if !said.starts_with("unreachable") {
            break said;
        }
    };
    assert_eq!(said, "a: none left 0");
    subject.says("b: 2 left 0").await;
}

#[tokio::test]
async fn one_file_is_enough_and_may_be_missing_for_a_while() {
    let directory = tempfile::tempdir().unwrap();
    put(directory.path(), "lists", r#"services: { a: "http://h:1" }"#);
    let file = directory.path().join("lists");
    let mut subject = watching(&file);
    subject.says("all a: 1").await;
    fs::remove_file(&file).unwrap();
    subject.complains("unreachable").await;
    put(directory.path(), "lists", r#"services: { a: "http://h:2" }"#);
    while subject.said().await != "all a: 2" {}
}
