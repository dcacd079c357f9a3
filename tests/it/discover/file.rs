//! Lists in a watched directory, behind a whole router.

use std::{fs, path::Path};

use super::rig::{Load, instances, serving};
use crate::support::{Config, Front};

fn write(directory: &Path, name: &str, text: &str) {
    let new = directory.join(".new");
    fs::write(&new, text).unwrap();
    fs::rename(new, directory.join(name)).unwrap();
}

#[tokio::test]
async fn lists_move_between_configuration_and_files_and_change_while_clients_ask() {
    let directory = tempfile::tempdir().unwrap();
    let all = instances(&["one", "two", "three"]).await;
    let target = |at: usize| format!("{{ url: {:?}, id: {} }}", all[at].url(), all[at].name());
    let list = |targets: &[usize]| {
        let targets: Vec<_> = targets.iter().map(|at| target(*at)).collect();
        format!("services: {{ pets: [ {} ] }}", targets.join(", "))
    };
    let config = |registries: &str| Config::new().set("registries", registries).set("expose", "{ service: pets }");
    let router = config(&format!("{{ lists: {{ static: {{ {} }} }} }}", list(&[0]))).start();
    serving(&router, "pets", &["one"]).await;
    let load = Load::start(&router, &Front::ALL, "pets").await;
    load.more(50).await;

    write(directory.path(), "a.yml", &list(&[0]));
    let next = config(&format!("{{ lists: {{ file: {{ path: {:?} }} }} }}", directory.path()));
    let next = settings::parse(&next.yaml(), "next.yml".as_ref(), &|_| None).unwrap();
    router.router.replace(next).await.unwrap();
    load.more(50).await;
    serving(&router, "pets", &["one"]).await;
    write(directory.path(), "b.json", &list(&[1, 2]));
    serving(&router, "pets", &["one", "three", "two"]).await;
    load.more(50).await;
    write(directory.path(), "b.json", "services: { pets: [ ");
    write(directory.path(), "a.yml", &list(&[]));
    serving(&router, "pets", &["three", "two"]).await;
    load.more(50).await;
    write(directory.path(), "b.json", &list(&[1]));
    serving(&router, "pets", &["two"]).await;
    load.more(50).await;
    load.end().await;
}
