//! A start while the registry is down: what was known is served.

use std::{fs, path::Path};

use serde_json::{Value, json};
use testkit::{Client, Instance, eventually, get};

use super::rig::admin;
use crate::{
    consul::rig::{Own, Registrar, environment},
    operate::process::{Process, Reached},
    registry::unique,
    support::Config,
};

fn write(folder: &Path, own: &Own, service: &str) {
    let config = Config::new()
        .set("listeners", "[ { address: 127.0.0.1:0 } ]")
        .set("registries", &format!("{{ dc1: {{ consul: {{ url: {:?} }} }} }}", own.url))
        .set("discovery", "{ directory: memory }")
        .set("services", "{}")
        .set("expose", &format!("{{ service: {service} }}"));
    fs::write(folder.join("router.yml"), config.yaml()).unwrap();
}

fn start(folder: &Path) -> Process {
    Process::start(&["run", "--config", "router.yml"], folder)
}

async fn status(reached: &Reached, service: &str) -> u16 {
    let client = Client::http(reached.clients[0]).await;
    client.send(get("/", &[("service_id", service)])).await.status.as_u16()
}

/// Waits until the only source is as wanted.
async fn told(reached: &Reached, what: &str, wanted: impl Fn(&Value) -> bool) {
    let table = async || admin(reached.admin, "/table").await.json();
    testkit::until(what, table, |table| wanted(&table["sources"][0])).await;
}

/// Envoy 16987, 21644.
/// APISIX 12398.
#[tokio::test]
async fn a_router_that_was_killed_starts_without_its_registry() {
    if environment("CONSUL_URL").is_none() {
        return;
    }
    let (own, folder, service) = (Own::start(), tempfile::tempdir().unwrap(), unique("pets"));
    let instance = Instance::http().start().await;
    let registrar = Registrar::clear(&own.url);
    let record = json!({ "ID": service, "Name": service, "Address": "127.0.0.1", "Port": instance.addr().port() });
    registrar.register(&record).await;
    write(folder.path(), &own, &service);
    let file = folder.path().join("memory/last-known-good");

    let first = start(folder.path());
    assert_eq!(status(&first.ready().await, &service).await, 200);
    let written = || fs::read_to_string(&file).is_ok_and(|text| text.contains(&service));
    eventually("it is on disk", written).await;
    drop(first); // killed, not ended
    own.node("kill");

    let second = start(folder.path());
    let reached = second.ready().await;
    assert_eq!(status(&reached, &service).await, 200);
    second.logs("cause=remembered").await;
    assert_eq!(second.count("cause=reload"), 0, "{:#?}", second.logged());
    let ready = admin(reached.admin, "/health/ready").await;
    assert_eq!(ready.status, 200);
    assert!(ready.text().starts_with("OK, stale:\nsource dc1 has not answered since the start"), "{}", ready.text());
    let shown = admin(reached.admin, &format!("/table/{service}")).await.json();
    assert!(shown["remembered"] == json!(["dc1"]) && shown["age_s"].is_u64(), "{shown:#}");

    // The registry's own word replaces what was remembered.
    own.node("start");
    told(&reached, "it answers", |now| now["state"] == "live" && now["remembered"].is_null()).await;
    assert_eq!(admin(reached.admin, "/health/ready").await.text(), "OK");
    drop(second);

    // A damaged file is passed over, and that is said.
    own.node("kill");
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();
    let third = start(folder.path());
    third.logs("cannot use what was remembered").await;
    third.logs("listens, but is not ready").await;
}
