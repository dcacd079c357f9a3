//! Lists in a watched directory, behind a whole router.

use std::{fs, path::Path, time::Duration};

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

/// Version control and some editors remove a file and write the next one; a script may take its time between both.
#[tokio::test]
async fn a_list_that_is_gone_for_a_moment_costs_no_request() {
    let directory = tempfile::tempdir().unwrap();
    let all = instances(&["one", "two", "three"]).await;
    let list = |names: &[usize]| {
        let target = |at: &usize| format!("{{ url: {:?}, id: {} }}", all[*at].url(), all[*at].name());
        let targets: Vec<_> = names.iter().map(target).collect();
        format!("services: {{ pets: [ {} ] }}", targets.join(", "))
    };
    // While the first file is gone, nobody, most or fewer than half are left.
    for (first, second) in [(&[0, 1, 2][..], &[][..]), (&[0], &[1, 2]), (&[0, 1], &[2])] {
        write(directory.path(), "a.yml", &list(first));
        write(directory.path(), "b.yml", &list(second));
        let source = format!("{{ lists: {{ file: {{ path: {:?} }} }} }}", directory.path());
        let router = Config::new().set("registries", &source).set("expose", "{ service: pets }").start();
        serving(&router, "pets", &["one", "three", "two"]).await;
        let load = Load::start(&router, &Front::ALL, "pets").await;
        for gap in [0, 2, 10, 50, 100] {
            fs::remove_file(directory.path().join("a.yml")).unwrap();
            tokio::time::sleep(Duration::from_millis(gap)).await;
            fs::write(directory.path().join("a.yml"), list(first)).unwrap();
            load.more(20).await;
        }
        serving(&router, "pets", &["one", "three", "two"]).await;
        load.end().await;
    }
}
