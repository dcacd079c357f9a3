//! Starts at which no source answers.

use std::{collections::BTreeMap, path::Path};

use tempfile::tempdir;

use super::*;

/// What a directory remembers of the source `test`: services and the ids of their instances.
fn written(directory: &Path) -> BTreeMap<String, String> {
    let recalled = Memory::open(directory).recall();
    let ids = |word: &crate::memory::Word| word.instances.iter().map(|i| i.id.to_string()).collect();
    recalled.iter().flat_map(|s| &s.services).map(|(service, word)| (service.to_string(), ids(word))).collect()
}

/// Until all that was said is in the table.
async fn settled() {
    sleep(Duration::from_millis(100)).await;
}

impl Stage {
    async fn remembering(directory: &Path) -> Self {
        Self::with(policies(), Some(Memory::open(directory))).await
    }

    /// Ends it, which writes.
    async fn end(self) {
        drop(self.commands);
        self.task.await.unwrap();
    }

    async fn fails(&self) {
        self.updates.send((7, Update::Unreachable(ProviderError::Unreachable("the test".into())))).await.unwrap();
    }

    fn ready(&self) -> bool {
        self.status.borrow().sources[0].is_usable(clock::tick())
    }

    async fn heard(&mut self, updates: u64) {
        self.status.wait_for(|s| s.sources[0].updates == updates).await.unwrap();
    }
}

/// APISIX 12398.
#[tokio::test(start_paused = true)]
async fn a_restart_without_registries_serves_all_that_was_known() {
    let directory = tempdir().unwrap();
    let stage = Stage::remembering(directory.path()).await;
    assert!(!stage.ready());
    stage.says("a", &[1, 2]).await;
    stage.says("b", &[3]).await;
    settled().await;
    stage.end().await;

    let mut stage = Stage::remembering(directory.path()).await;
    stage.check("a", "12");
    stage.check("b", "3");
    assert!(!stage.ready(), "the source gets its time");
    assert!(!stage.source().answered);
    stage.fails().await;
    stage.status.wait_for(|s| s.sources[0].is_usable(clock::tick())).await.unwrap();
    assert_eq!(stage.source().inherited.len(), 2);

    // The source's own word replaces what was remembered; of what it does not speak, that stands.
    stage.says("a", &[4]).await;
    stage.heard(1).await;
    sleep(Duration::from_millis(10)).await;
    stage.check("a", "4");
    stage.check("b", "3");
    assert!(!stage.source().answered, "the catalogue was not read yet");
    let (a, b) = (stage.source().age(&service("a"), clock::tick()), stage.source().age(&service("b"), clock::tick()));
    assert!(a.is_none() && b.is_some());
    stage.updates.send((7, Update::Catalogue([service("a")].into()))).await.unwrap();
    stage.heard(2).await;
    sleep(Duration::from_millis(10)).await;
    // The token may not see it, for all we know.
    stage.check("b", "3");
    assert_eq!(stage.interest.borrow().services, [service("b")].into());
    stage.says("b", &[]).await;
    stage.heard(3).await;
    sleep(Duration::from_millis(10)).await;
    assert_eq!(stage.interest.borrow().services, [].into(), "it is not asked for any longer");
    // It may be a registry that came back without its data: what left is judged as ever.
    stage.check("b", "(3)");
    assert!(stage.source().answered && stage.source().inherited.is_empty());
    sleep(Duration::from_secs(31)).await;
    stage.check("b", "");
    stage.end().await;
    assert_eq!(written(directory.path()), [("a".to_owned(), "4".to_owned())].into());
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_comes_back_empty_after_a_restart_of_both_takes_nothing_away_at_once() {
    let directory = tempdir().unwrap();
    let stage = Stage::remembering(directory.path()).await;
    stage.says("a", &[1, 2]).await;
    settled().await;
    stage.end().await;
    let mut stage = Stage::remembering(directory.path()).await;
    stage.says("a", &[]).await;
    stage.heard(1).await;
    sleep(Duration::from_millis(10)).await;
    stage.check("a", "(1)(2)");
    stage.says("a", &[1, 2]).await;
    stage.heard(2).await;
    sleep(Duration::from_millis(10)).await;
    stage.check("a", "12");
}

#[tokio::test(start_paused = true)]
async fn a_new_source_is_not_waited_for_because_of_what_another_was_to_be_asked() {
    let directory = tempdir().unwrap();
    let stage = Stage::remembering(directory.path()).await;
    stage.says("b", &[1]).await;
    settled().await;
    stage.end().await;
    let stage = Stage::remembering(directory.path()).await;
    stage.updates.send((7, Update::Catalogue(BTreeSet::new()))).await.unwrap();
    sleep(Duration::from_millis(10)).await;
    assert_eq!(stage.interest.borrow().services, [service("b")].into());
    let routed = Policies { routed: [service("a")].into(), exposure: Exposure::Routed, ..policies() };
    stage.arrange(&[(7, "test"), (8, "other")], routed).await;
    let update = Update::Service { service: service("a"), knowledge: Knowledge::KnownEmpty, deregistered: Vec::new() };
    stage.updates.send((8, update)).await.unwrap();
    sleep(Duration::from_millis(10)).await;
    assert!(stage.status.borrow().sources[1].answered);
}

#[tokio::test(start_paused = true)]
async fn what_is_in_doubt_is_remembered_with_its_age() {
    let directory = tempdir().unwrap();
    let stage = Stage::remembering(directory.path()).await;
    stage.says("a", &[1, 2]).await;
    settled().await;
    let doubt = Knowledge::Unknown(ProviderError::Denied("the test".into()));
    let update = Update::Service { service: service("a"), knowledge: doubt, deregistered: Vec::new() };
    stage.updates.send((7, update)).await.unwrap();
    sleep(Duration::from_secs(600)).await;
    // Something touches it; that makes it no younger.
    stage.arrange(&[(7, "test")], policies()).await;
    settled().await;
    stage.end().await;
    let recalled = Memory::open(directory.path()).recall();
    let (_, word) = recalled[0].services.iter().next().unwrap();
    let age = word.confirmed.unwrap().elapsed().unwrap();
    assert!(age >= Duration::from_secs(600), "{age:?}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_source_has_two_seconds_before_what_is_remembered_must_do() {
    let directory = tempdir().unwrap();
    let stage = Stage::remembering(directory.path()).await;
    stage.says("a", &[1]).await;
    settled().await;
    stage.end().await;
    let stage = Stage::remembering(directory.path()).await;
    sleep(Duration::from_secs(1)).await;
    assert!(!stage.ready());
    sleep(Duration::from_secs(1)).await;
    assert!(stage.ready());
    let nothing = Stage::new().await;
    sleep(Duration::from_secs(100)).await;
    assert!(!nothing.ready(), "it remembers nothing");
}

#[tokio::test(start_paused = true)]
async fn a_suspicion_is_not_remembered_before_it_is_settled() {
    let directory = tempdir().unwrap();
    let stage = Stage::remembering(directory.path()).await;
    stage.says("a", &[1, 2, 3]).await;
    stage.says("a", &[]).await;
    stage.says("b", &[4]).await;
    stage.says("b", &[]).await;
    sleep(Duration::from_secs(1)).await;
    stage.check("a", "(1)(2)(3)");
    stage.end().await;
    let remembered = [("a", "123"), ("b", "4")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(written(directory.path()), remembered.into());

    let stage = Stage::remembering(directory.path()).await;
    stage.says("a", &[]).await;
    stage.says("b", &[4]).await;
    sleep(Duration::from_secs(1)).await;
    stage.says("b", &[]).await;
    sleep(Duration::from_secs(31)).await;
    stage.check("b", "");
    stage.end().await;
    assert_eq!(written(directory.path()), BTreeMap::new());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_of_interest_any_more_and_other_kinds_are_not_recalled() {
    let directory = tempdir().unwrap();
    let stage = Stage::remembering(directory.path()).await;
    stage.says("a", &[1]).await;
    stage.says("b", &[2]).await;
    settled().await;
    stage.end().await;
    let routed = Policies { routed: [service("a")].into(), exposure: Exposure::Routed, ..policies() };
    let stage = Stage::with(routed, Some(Memory::open(directory.path()))).await;
    stage.check("a", "1");
    stage.check("b", "-");
    stage.end().await;
    assert_eq!(written(directory.path()), [("a".to_owned(), "1".to_owned())].into(), "and is forgotten");
}

#[tokio::test(start_paused = true)]
async fn a_reload_keeps_what_was_remembered_and_its_age() {
    let directory = tempdir().unwrap();
    let stage = Stage::remembering(directory.path()).await;
    stage.says("a", &[1]).await;
    settled().await;
    stage.end().await;
    let stage = Stage::remembering(directory.path()).await;
    sleep(Duration::from_secs(60)).await;
    stage.arrange(&[(8, "test")], policies()).await;
    stage.check("a", "1");
    let age = |stage: &Stage| stage.source().age(&service("a"), clock::tick()).unwrap();
    assert!(age(&stage) >= Duration::from_secs(60));
    sleep(Duration::from_secs(60)).await;
    assert!(age(&stage) >= Duration::from_secs(120));
    assert!(stage.ready(), "its settings changed, what is remembered of it stands");
}

#[tokio::test(start_paused = true)]
async fn what_is_remembered_goes_with_a_source_that_has_another_name() {
    let directory = tempdir().unwrap();
    let stage = Stage::remembering(directory.path()).await;
    stage.says("a", &[1]).await;
    stage.says("b", &[2]).await;
    settled().await;
    stage.end().await;
    // It does not speak of `a` before the next end.
    let stage = Stage::remembering(directory.path()).await;
    stage.says("b", &[3]).await;
    stage.arrange(&[(7, "renamed")], policies()).await;
    stage.check("a", "1");
    stage.end().await;
    let recalled = Memory::open(directory.path()).recall();
    assert_eq!(recalled.iter().map(|source| &*source.name).collect::<Vec<_>>(), ["renamed"]);
    let left = [("a", "1"), ("b", "3")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(written(directory.path()), left.into());
}

#[tokio::test(start_paused = true)]
async fn what_is_read_late_stands_for_services_no_source_has_spoken_of() {
    let directory = tempdir().unwrap();
    let stage = Stage::remembering(directory.path()).await;
    for name in ["a", "b", "c"] {
        stage.says(name, &[1]).await;
    }
    settled().await;
    stage.end().await;

    // A disk that fails at the start.
    let (path, aside) = (directory.path().join("last-known-good"), directory.path().join("aside"));
    std::fs::rename(&path, &aside).unwrap();
    std::os::unix::fs::symlink("last-known-good", &path).unwrap();
    let routed = Policies { routed: ["a", "b"].map(service).into(), ..policies() };
    let stage = Stage::with(routed.clone(), Some(Memory::open(directory.path()))).await;
    stage.check("a", "");
    stage.says("b", &[]).await;
    stage.fails().await;
    stage.arrange(&[(7, "test")], routed).await;
    settled().await;
    std::fs::rename(&aside, &path).unwrap();
    stage.end().await;
    let left = [("a", "1"), ("c", "1")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(written(directory.path()), left.into());
}

#[tokio::test(start_paused = true)]
async fn what_an_outage_left_unconfirmed_is_remembered_with_its_age() {
    let directory = tempdir().unwrap();
    let mut stage = Stage::remembering(directory.path()).await;
    stage.says("a", &[1]).await;
    stage.says("b", &[2]).await;
    stage.fails().await;
    sleep(Duration::from_secs(600)).await;
    stage.says("a", &[1]).await;
    stage.heard(3).await;
    stage.end().await;
    let recalled = Memory::open(directory.path()).recall();
    let age = |name| recalled[0].services[&service(name)].confirmed.unwrap().elapsed().unwrap();
    assert!(age("a") < Duration::from_secs(300) && age("b") >= Duration::from_secs(600), "{:?}", recalled);
}
