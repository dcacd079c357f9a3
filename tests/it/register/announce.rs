//! A router in a registry.

use discovery::provider;

use super::*;
use crate::{
    consul, etcd,
    registry::unique,
    source::{Source, named},
};

/// A router that announces itself there is found by a source, and leaves as it begins to end.
async fn comes_and_leaves(service: &str, to: &str, mut source: Source) {
    source.empty(service).await;
    let edge = Config::new()
        .set("announce", &format!("{{ service: {service}, id: edge-1, to: {to}, tags: entry, ttl: 2s }}"))
        .set("drain", "{ delay: 1s, deadline: 1s }")
        .service("pets", &["http://127.0.0.1:1".to_owned()])
        .start();
    let found = source.known(service, 1).await.remove(0);
    assert_eq!(found.endpoint.address.to_string(), edge.clear().to_string());
    assert!(found.is_in("entry"), "{found:?}");
    // Beats keep it: nothing is said for longer than its lease.
    for _ in 0..6 {
        source.silent_on(service).await;
    }
    let ending = tokio::spawn(edge.router.drain());
    source.empty(service).await;
    ending.await.unwrap();
}

#[tokio::test]
async fn a_router_is_found_in_consul() {
    let Some(url) = consul::rig::environment("CONSUL_URL") else { return };
    let service = unique("edge");
    let source = consul::rig::source(provider::consul::Settings::new(&*url), named(&[&service]));
    comes_and_leaves(&service, &format!("{{ consul: {{ url: {url:?} }} }}"), source).await;
}

#[tokio::test]
async fn a_router_is_found_in_etcd() {
    let Some(url) = etcd::rig::environment("ETCD_URL") else { return };
    let service = unique("edge");
    let source = etcd::rig::source(provider::etcd::Settings::new([url.clone()]), named(&[&service]));
    comes_and_leaves(&service, &format!("{{ etcd: {{ endpoints: {url:?} }} }}"), source).await;
}

fn announcing(registry: &str, more: &str) -> Running {
    Config::new()
        .set(
            "announce",
            &format!("{{ service: edge, to: {{ embedded: {{ url: \"{registry}\" }} }}, tags: entry{more} }}"),
        )
        .set("drain", "{ delay: 1s, deadline: 1s }")
        .service("pets", &["http://127.0.0.1:1".to_owned()])
        .start()
}

#[tokio::test]
async fn a_router_is_found_and_leaves_first() {
    let home = router(([127, 0, 0, 1], 0).into(), "");
    let edge = announcing(&of(&home), ", id: edge-1");
    serving(&home, "edge", &["edge-1"]).await;
    let member = home.table("edge").await["members"][0].clone();
    assert_eq!(member["address"], edge.clear().to_string(), "{member:#}");

    let clear = edge.clear();
    let ending = tokio::spawn(edge.router.drain());
    until(&home, "edge", "it has left", std::collections::BTreeMap::is_empty).await;
    // It still serves those who know it.
    tokio::net::TcpStream::connect(clear).await.unwrap();
    ending.await.unwrap();
}

#[tokio::test]
async fn a_reload_announces_otherwise_or_not_at_all() {
    let home = router(([127, 0, 0, 1], 0).into(), "");
    let edge = announcing(&of(&home), ", id: edge-1");
    serving(&home, "edge", &["edge-1"]).await;
    let read = |more: &str| {
        let yaml = format!(
            "listeners: [ {{ address: 127.0.0.1:0 }} ]\nadmin: {{ address: 127.0.0.1:0 }}\nthreads: 1\naccess_log: {{ format: off }}\n{more}"
        );
        settings::parse::<router::settings::Settings>(&yaml, Path::new("test.yml"), &|_| None).unwrap()
    };
    let url = of(&home);
    let other =
        format!("announce: {{ service: edge, id: edge-2, port: 99, to: {{ embedded: {{ url: \"{url}\" }} }} }}");
    edge.router.replace(read(&other)).await.unwrap();
    serving(&home, "edge", &["edge-2"]).await;
    edge.router.replace(read("")).await.unwrap();
    until(&home, "edge", "it has left", std::collections::BTreeMap::is_empty).await;
}
