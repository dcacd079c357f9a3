//! A real etcd behind a whole router.

use serde_json::json;
use testkit::Instance;

use super::rig::{Load, admin, instances, serving, until};
use crate::{
    etcd::rig::{Own, Registrar, environment},
    registry::unique,
    support::{Config, Front, Running},
};

fn router(url: &str, service: &str) -> Running {
    Config::new()
        .set("registries", &format!("{{ main: {{ etcd: {{ endpoints: {url:?} }} }} }}"))
        .set("expose", &format!("{{ service: {service} }}"))
        .start()
}

async fn register(registrar: &Registrar, service: &str, instance: &Instance, lease: u64) {
    let record = json!({ "ip": "127.0.0.1", "port": instance.addr().port(), "protocol": "h2c" });
    registrar.put_leased(&format!("{service}/{}", instance.name()), &record.to_string(), lease).await;
}

#[tokio::test]
async fn instances_come_and_leave_while_clients_ask() {
    let Some(url) = environment("ETCD_URL") else { return };
    let registrar = Registrar::clear(&url);
    let service = unique("etcd-life");
    let router = router(&url, &service);
    let all = instances(&["one", "two"]).await;
    let lease = registrar.grant(60).await;
    register(&registrar, &service, &all[0], 0).await;
    register(&registrar, &service, &all[1], lease).await;
    serving(&router, &service, &["one", "two"]).await;
    let load = Load::start(&router, &[Front::H1, Front::H2Tls], &service).await;
    load.more(100).await;
    assert!(all.iter().all(|instance| instance.counts().requests() > 10));
    registrar.delete(&format!("{service}/one")).await;
    serving(&router, &service, &["two"]).await;
    load.more(50).await;
    // Its lease ends although it lives, as after a long pause: better than nobody.
    registrar.revoke(lease).await;
    until(&router, &service, "two is the last resort", |now| {
        now.len() == 1 && now.values().all(|m| m["standing"] == "resort")
    })
    .await;
    load.more(50).await;
    load.end().await;
    // Deleted by its own hand, with the lease alive, the last one leaves at once.
    let lease = registrar.grant(60).await;
    register(&registrar, &service, &all[1], lease).await;
    serving(&router, &service, &["two"]).await;
    registrar.delete(&format!("{service}/two")).await;
    until(&router, &service, "nobody is left", |now| now.is_empty()).await;
    registrar.revoke(lease).await;
}

#[tokio::test]
async fn an_etcd_that_dies_and_comes_back_empty_costs_no_request() {
    if environment("ETCD_URL").is_none() {
        return;
    }
    let own = Own::start("single").await;
    let registrar = Registrar::clear(&own.urls[0]);
    let all = instances(&["one", "two"]).await;
    for instance in &all {
        register(&registrar, "pets", instance, 0).await;
    }
    let router = router(&own.urls[0], "pets");
    serving(&router, "pets", &["one", "two"]).await;
    let load = Load::start(&router, &Front::ALL, "pets").await;
    load.more(50).await;
    own.node(1, "pause");
    load.more(200).await;
    own.node(1, "resume");
    own.node(1, "kill");
    load.more(200).await;
    serving(&router, "pets", &["one", "two"]).await;
    own.empty();
    own.node(1, "start");
    until(&router, "pets", "both are the last resort", |now| {
        now.len() == 2 && now.values().all(|m| m["standing"] == "resort")
    })
    .await;
    load.more(200).await;
    let registrar = Registrar::clear(&own.urls[0]);
    for instance in &all {
        register(&registrar, "pets", instance, 0).await;
    }
    serving(&router, "pets", &["one", "two"]).await;
    load.more(50).await;
    load.end().await;
}

#[tokio::test]
async fn two_routers_on_one_registry_have_equal_digests() {
    let Some(url) = environment("ETCD_URL") else { return };
    let (registrar, service) = (Registrar::clear(&url), unique("digest"));
    let all = instances(&["one", "two", "three"]).await;
    let digest = async |router: &Running| admin(router.admin(), "/table").await.json()["digest"].clone();
    register(&registrar, &service, &all[0], 0).await;
    let first = router(&url, &service);
    serving(&first, &service, &["one"]).await;
    let alone = digest(&first).await;
    register(&registrar, &service, &all[1], 0).await;
    register(&registrar, &service, &all[2], 0).await;
    serving(&first, &service, &["one", "three", "two"]).await;
    // The other one gets there by another way: all at once.
    let second = router(&url, &service);
    serving(&second, &service, &["one", "three", "two"]).await;
    assert_eq!(digest(&first).await, digest(&second).await);
    assert_ne!(digest(&first).await, alone);
    for name in ["two", "three"] {
        registrar.delete(&format!("{service}/{name}")).await;
    }
    for router in [&first, &second] {
        until(router, &service, "one serves alone", |now| {
            now.values().filter(|member| member["standing"] == "serving").count() == 1
        })
        .await;
    }
    assert_eq!(digest(&first).await, digest(&second).await);
    registrar.delete(&format!("{service}/one")).await;
}
