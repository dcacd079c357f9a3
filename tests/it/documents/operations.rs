//! The tables of `docs/operations.md`: refusals, metrics, fields of the access log.

use std::collections::BTreeSet;

use model::Refusal;
use serde_json::Value;
use testkit::{Client, Instance, get};

use super::{document, quoted, rows};
use crate::support::{Config, Front};

/// The words in the first column of a table.
fn first_column(head: &str) -> BTreeSet<String> {
    rows(&document("docs/operations.md"), head).iter().flat_map(|(_, cells)| quoted(&cells[0])).collect()
}

#[test]
fn every_refusal_has_its_row() {
    let rows = rows(&document("docs/operations.md"), "Reason");
    let told: BTreeSet<Vec<String>> = rows.iter().map(|(_, cells)| cells[..4].to_vec()).collect();
    let row = |refusal: &Refusal| {
        let status = refusal.status().as_u16().to_string();
        vec![format!("`{}`", refusal.reason()), status, refusal.grpc().to_string(), refusal.code().to_owned()]
    };
    assert_eq!(told, Refusal::ALL.iter().map(row).collect());
    assert!(rows.iter().all(|(_, cells)| cells[4].len() > 10), "a row says what to do");
    assert_eq!(told.len(), rows.len());
}

#[tokio::test]
async fn every_metric_has_its_row() {
    let router = Config::new()
        .service("pets", &["http://127.0.0.1:1".to_owned()])
        .set("discovery", "{ directory: null, on_first_use: {} }")
        .start();
    let text = Client::http(router.admin()).await.send(get("/metrics", &[])).await.text();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let name = |line: &str| line.split(['{', ' ']).next().unwrap_or_default().to_owned();
    let told = first_column("Metric").iter().map(|cell| name(cell)).collect::<BTreeSet<_>>();
    assert_eq!(told, samples.map(name).collect());
}

#[tokio::test]
async fn every_field_of_the_access_log_has_its_row() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let instance = Instance::http().start().await;
    let config = Config::new().service("pets", &[instance.url()]);
    let config = config.set("access_log", &format!("{{ file: {file:?}, query: true }}"));
    let routes = "[ { prefix: /, service: pets }, { path: /gone, service: gone, fallback: { status: 200 } } ]";
    let router = config.set("routes", routes).set("services", "{ gone: { warm_hold: off } }").start();
    let headers = [
        ("x-traceability-id", "t"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("user-agent", "test"),
    ];
    for headers in [&headers[..], &[("service_id", "nobody")]] {
        router.client(Front::H1).await.send(get("/x?y=1", headers)).await;
    }
    router.client(Front::H1).await.send(get("/gone", &[])).await;
    drop(router); // writes what is queued
    let text = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let written = lines.iter().flat_map(|line| line.as_object().unwrap().keys().cloned()).collect();
    assert_eq!(first_column("Field"), written, "{text}");
}
