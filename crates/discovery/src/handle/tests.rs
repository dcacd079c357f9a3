use std::{path::Path, time::Duration};

use tempfile::{TempDir, tempdir};
use tokio::time::timeout;

use super::*;
use crate::{
    provider::embedded::{By, Registration},
    testing::policies,
};

/// The section `registries:` of a file.
fn sources(yaml: &str) -> Vec<(String, Settings)> {
    let entries: settings::Entries<Settings> = settings::parse(yaml, Path::new("router.yml"), &|_| None).unwrap();
    entries.into_iter().map(|(name, settings)| (name.into_inner(), settings)).collect()
}

fn local(directory: &TempDir, port: u16) -> String {
    format!("local: {{ embedded: {{ directory: \"{}\", address: 127.0.0.1:{port} }} }}", directory.path().display())
}

const PETS: &str = r#"direct: { static: { services: { pets: ["http://10.0.0.1:80"] } } }"#;
const OTHER_PETS: &str = r#"direct: { static: { services: { pets: ["http://10.0.0.2:80"] } } }"#;

async fn start(yaml: &str) -> Discovery {
    Discovery::start(sources(yaml), policies(), None, |_| {}).await.unwrap()
}

/// Waits until the members of a service are these.
async fn check(discovery: &Discovery, service: &str, expected: &[&str]) {
    let members = || {
        let labels = |t: &Table| {
            t.service(service).map(|s| s.members.iter().map(|m| m.upstream.label().to_owned()).collect::<Vec<_>>())
        };
        discovery.table().with(labels).unwrap_or_default()
    };
    let cell = discovery.table();
    let mut generations = cell.generations();
    let settled = timeout(Duration::from_secs(5), async {
        while members() != expected {
            generations.changed().await.unwrap();
        }
    });
    settled.await.unwrap_or_else(|_| panic!("{:?}, not {expected:?}", members()));
}

fn orders() -> Registration {
    serde_json::from_str(r#"{"name":"orders","ip":"10.0.1.1","port":80}"#).unwrap()
}

#[tokio::test]
async fn sources_fill_one_table_and_a_reload_leaves_the_unconcerned_alone() {
    let directory = tempdir().unwrap();
    let discovery = start(&format!("{}\n{PETS}", local(&directory, 8400))).await;
    check(&discovery, "pets", &["10.0.0.1:80"]).await;
    let registry = discovery.registries().await.remove(0).2;
    registry.register(&By::registry(), orders()).await;
    check(&discovery, "orders", &["10.0.1.1:80"]).await;
    let upstream = |d: &Discovery| d.table().load().service("orders").unwrap().members[0].upstream.clone();
    let before = upstream(&discovery);

    let changed = format!("{OTHER_PETS}\n{}", local(&directory, 8500));
    discovery.reload(sources(&changed), policies()).await.unwrap();
    check(&discovery, "pets", &["10.0.0.2:80"]).await;
    assert!(Arc::ptr_eq(&before, &upstream(&discovery)), "the registry went on, with all it learned");
    let (name, settings, _) = discovery.registries().await.remove(0);
    assert_eq!((&*name, settings.address.port()), ("local", 8500), "its API moves");
    let names: Vec<_> = discovery.status().borrow().sources.iter().map(|s| s.name.to_string()).collect();
    assert_eq!(names, ["direct", "local"]);

    discovery.reload(sources(PETS), policies()).await.unwrap();
    check(&discovery, "orders", &[]).await;
}

#[tokio::test]
async fn our_own_registry_goes_on_under_another_name() {
    let directory = tempdir().unwrap();
    let discovery = start(&local(&directory, 8400)).await;
    discovery.registries().await.remove(0).2.register(&By::registry(), orders()).await;
    check(&discovery, "orders", &["10.0.1.1:80"]).await;
    let upstream = || discovery.table().load().service("orders").map(|s| s.members[0].upstream.clone());
    let before = upstream();
    let renamed = local(&directory, 8400).replace("local:", "own:");
    for yaml in [&renamed, &local(&directory, 8500)] {
        discovery.reload(sources(yaml), policies()).await.unwrap();
        assert_eq!(upstream().map(|u| u.key), before.as_ref().map(|u| u.key), "no request misses it");
    }
    let (name, settings, registry) = discovery.registries().await.remove(0);
    assert_eq!((&*name, settings.address.port()), ("local", 8500));
    assert_eq!(registry.settings().address.port(), 8500, "what the operator says now");
    let pets = serde_json::from_str(r#"{"name":"pets","ip":"10.0.0.1","port":80}"#).unwrap();
    assert!(registry.register(&By::registry(), pets).await.stored);
    check(&discovery, "pets", &["10.0.0.1:80"]).await;
    let two = format!("{}\n{renamed}", local(&directory, 8400));
    assert!(discovery.reload(sources(&two), policies()).await.is_err(), "one directory, two registries");
}

#[tokio::test]
async fn a_registry_goes_on_under_the_name_that_its_settings_have() {
    let discovery = start(&format!("{PETS}\n{}", OTHER_PETS.replace("direct:", "other:"))).await;
    check(&discovery, "pets", &["10.0.0.1:80", "10.0.0.2:80"]).await;
    let sources_now = || {
        let status = discovery.status().borrow().clone();
        status.sources.iter().map(|s| (s.id, s.name.to_string(), s.answered)).collect::<Vec<_>>()
    };
    let id = |name: &str| sources_now().iter().find(|(_, n, _)| n == name).unwrap().0;
    let (first, second) = (id("direct"), id("other"));
    // The names change places.
    let swapped = format!("{}\n{OTHER_PETS}", PETS.replace("direct:", "other:"));
    discovery.reload(sources(&swapped), policies()).await.unwrap();
    assert_eq!(sources_now(), [(first, "other".to_owned(), true), (second, "direct".to_owned(), true)]);
    // One takes the name of one that goes, and inherits nothing of that.
    discovery.reload(sources(OTHER_PETS), policies()).await.unwrap();
    discovery
        .reload(sources(&format!("{OTHER_PETS}\n{}", PETS.replace("direct:", "other:"))), policies())
        .await
        .unwrap();
    check(&discovery, "pets", &["10.0.0.1:80", "10.0.0.2:80"]).await;
    discovery.reload(sources(&OTHER_PETS.replace("direct:", "other:")), policies()).await.unwrap();
    assert_eq!(sources_now(), [(second, "other".to_owned(), true)]);
    let members = || {
        discovery
            .table()
            .load()
            .service("pets")
            .unwrap()
            .members
            .iter()
            .map(|m| (m.upstream.label().to_owned(), m.source.to_string()))
            .collect::<Vec<_>>()
    };
    assert_eq!(members(), [("10.0.0.2:80".to_owned(), "other".to_owned())]);
}

#[tokio::test]
async fn a_source_that_cannot_work_changes_nothing() {
    let directory = tempdir().unwrap();
    let discovery = start(PETS).await;
    check(&discovery, "pets", &["10.0.0.1:80"]).await;
    let bad = format!("{OTHER_PETS}\nbad: {{ consul: {{ url: \"ftp://x\" }} }}\n{}", local(&directory, 8400));
    let error = discovery.reload(sources(&bad), policies()).await.unwrap_err();
    assert!(error.to_string().starts_with("registries.bad: "), "{error}");
    check(&discovery, "pets", &["10.0.0.1:80"]).await;
    assert_eq!(discovery.status().borrow().sources.len(), 1);
}

#[tokio::test]
async fn after_a_shutdown_the_directory_is_free_and_the_table_readable() {
    let directory = tempdir().unwrap();
    let yaml = local(&directory, 8400);
    let discovery = start(&yaml).await;
    discovery.registries().await.remove(0).2.register(&By::registry(), orders()).await;
    check(&discovery, "orders", &["10.0.1.1:80"]).await;
    let table = discovery.table();
    discovery.shutdown().await;
    assert!(table.load().service("orders").is_some());
    check(&start(&yaml).await, "orders", &["10.0.1.1:80"]).await;
}
