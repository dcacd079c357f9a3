//! A real ZooKeeper behind a whole router.

use serde_json::json;
use testkit::{Instance, get};

use super::rig::{Load, admin, instances, members, serving, until};
use crate::{
    registry::unique,
    support::{Config, Front, Running},
    zookeeper::rig::{Own, Writer, environment, record},
};

/// A router that looks for one service below `/services`.
fn router(servers: &str, service: &str) -> Running {
    Config::new()
        .set("registries", &format!("{{ zk: {{ zookeeper: {{ servers: {servers:?}, session_timeout: 4s }} }} }}"))
        .set("expose", &format!("{{ service: {service} }}"))
        .start()
}

/// What a service writes of itself; `status` is Spring Cloud's.
fn status(instance: &Instance, status: &str) -> String {
    record(
        "127.0.0.1",
        instance.addr().port(),
        &json!({ "protocol": "h2c", "instance_status": status, "tags": instance.name() }),
    )
}

fn path(service: &str, instance: &Instance) -> String {
    format!("/services/{service}/{}", instance.name())
}

#[tokio::test]
async fn instances_come_drain_and_vanish_while_clients_ask() {
    let Some(servers) = environment("ZOOKEEPER") else { return };
    let service = unique("api-life");
    let router = router(&servers, &service);
    let all = instances(&["one", "two"]).await;
    let mut writers: Vec<_> = all.iter().map(|_| Writer::new(&servers)).collect();
    for (writer, instance) in writers.iter_mut().zip(&all) {
        writer.register(&path(&service, instance), &status(instance, "UP"));
    }
    serving(&router, &service, &["one", "two"]).await;
    let load = Load::start(&router, &[Front::H1, Front::H2Tls], &service).await;
    load.more(100).await;
    assert!(all.iter().all(|instance| instance.counts().requests() > 10));
    let client = router.client(Front::H2c).await;
    let narrowed = client.send(get("/", &[("service_id", &service), ("env_tag", "two")])).await;
    assert_eq!(narrowed.json()["instance"], "two");

    writers[0].set(&path(&service, &all[0]), &status(&all[0], "OUT_OF_SERVICE"));
    serving(&router, &service, &["two"]).await;
    load.more(10).await;
    let had = all[0].counts().requests();
    load.more(50).await;
    assert_eq!(all[0].counts().requests(), had);
    writers[0].delete(&path(&service, &all[0]));
    until(&router, &service, "one has left", |now| now.len() == 1).await;

    // Its session expires and it does not: better than nobody.
    writers.pop().unwrap().kill();
    until(&router, &service, "two is the last resort", |now| now.values().any(|m| m["standing"] == "resort")).await;
    load.more(50).await;
    writers[0].register(&path(&service, &all[0]), &status(&all[0], "UP"));
    serving(&router, &service, &["one"]).await;
    load.more(50).await;
    load.end().await;
}

/// Traefik 515.
#[tokio::test]
async fn a_leader_that_dies_costs_no_request_and_its_successor_is_followed() {
    if environment("ZOOKEEPER").is_none() {
        return;
    }
    let own = tokio::task::spawn_blocking(|| Own::start("cluster")).await.unwrap();
    let service = unique("api-leader");
    let router = router(&own.servers, &service);
    let all = instances(&["one", "two"]).await;
    let mut writer = Writer::new(&own.servers);
    writer.register(&path(&service, &all[0]), &status(&all[0], "UP"));
    serving(&router, &service, &["one"]).await;
    let load = Load::start(&router, &Front::ALL, &service).await;
    load.more(50).await;
    own.node(own.leader(), "kill");
    load.more(200).await;
    writer.register(&path(&service, &all[1]), &status(&all[1], "UP"));
    serving(&router, &service, &["one", "two"]).await;
    load.more(50).await;
    load.end().await;
}

#[tokio::test]
async fn a_server_that_hangs_or_forgot_everything_costs_no_request() {
    if environment("ZOOKEEPER").is_none() {
        return;
    }
    let own = tokio::task::spawn_blocking(|| Own::start("single")).await.unwrap();
    let service = unique("api-outage");
    let router = router(&own.servers, &service);
    let all = instances(&["one", "two"]).await;
    let mut writer = Writer::new(&own.servers);
    for instance in &all {
        writer.create(&path(&service, instance), &status(instance, "UP"));
    }
    drop(writer);
    serving(&router, &service, &["one", "two"]).await;
    let load = Load::start(&router, &[Front::H1, Front::H2c], &service).await;
    load.more(50).await;

    own.node(1, "pause");
    load.more(500).await;
    own.node(1, "kill");
    own.wipe(1);
    own.node(1, "start");
    // It says that there is nobody, which nobody believes at once.
    until(&router, &service, "both are last resorts", |now| {
        now.len() == 2 && now.values().all(|m| m["standing"] == "resort")
    })
    .await;
    load.more(50).await;
    let mut writer = Writer::new(&own.servers);
    for instance in &all {
        writer.create(&path(&service, instance), &status(instance, "UP"));
    }
    serving(&router, &service, &["one", "two"]).await;
    assert_eq!(members(&router, &service).await.len(), 2);
    load.more(50).await;
    load.end().await;
}

#[tokio::test]
async fn a_service_is_looked_for_when_a_client_names_it_first() {
    let Some(servers) = environment("ZOOKEEPER") else { return };
    let (service, all, mut writer) = (unique("first-use"), instances(&["one"]).await, Writer::new(&servers));
    writer.register(&path(&service, &all[0]), &status(&all[0], "UP"));
    let router = Config::new()
        .set("registries", &format!("{{ zk: {{ zookeeper: {{ servers: {servers:?}, session_timeout: 4s }} }} }}"))
        .set("expose", "{ service: 'first-use-*' }")
        .set("discovery", "{ directory: null, on_first_use: { idle: 1s, wait: 10s } }")
        .start();
    router.ready().await;
    let subscribed = async || admin(router.admin(), "/table").await.json()["on_first_use"]["services"].clone();
    assert_eq!(subscribed().await, 0);
    let client = router.client(Front::H2c).await;
    let answer = client.send(get("/", &[("service_id", &service)])).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["instance"]), (200, &json!("one")));
    assert_eq!(subscribed().await, 1);
    // Nobody asks any longer: it is let go, and found again.
    testkit::until("it is let go", subscribed, |services| *services == 0).await;
    assert_eq!(client.send(get("/", &[("service_id", &service)])).await.status, 200);
}
