//! How a service is balanced, through a whole router: latency, groups, what a reload changes.

use serde_json::{Value, json};
use testkit::{Instance, Reply, get};

use super::{
    choose::asked,
    rig::{IN_MEMORY, Registrar, instances, members, router, serving, until},
    swap::follow,
};
use crate::support::{Config, Front};

#[tokio::test]
async fn an_instance_that_fails_fast_gets_next_to_nothing_by_default() {
    let router = Config::new().set("registries", IN_MEMORY).start();
    let registrar = Registrar::of(&router).await;
    let fails = Instance::h2c().named("fails").answer(|_| Reply::status(500)).start().await;
    let well = instances(&["a", "b", "c"]).await;
    for instance in well.iter().chain([&fails]) {
        registrar.register("pets", instance).await;
    }
    serving(&router, "pets", &["a", "b", "c", "fails"]).await;
    let client = router.client(Front::H2c).await;
    for _ in 0..200 {
        client.send(get("/", &[("service_id", "pets")])).await;
    }
    let had = fails.counts().requests();
    assert!(had < 20, "{had} of 200 to one of four that fails");
    let table = router.table("pets").await;
    assert_eq!(table["balance"], "peak_ewma");
}

#[tokio::test]
async fn a_group_takes_over_when_the_one_before_it_fails_and_gives_back() {
    let router = router("round_robin");
    let registrar = Registrar::of(&router).await;
    let all = instances(&["main", "spare"]).await;
    registrar.register("pets", &all[0]).await;
    registrar.register_as("pets", &all[1], json!({ "metadata": { "priority": "1" } })).await;
    serving(&router, "pets", &["main", "spare"]).await;
    let client = router.client(Front::H1).await;
    let only = |name: &str| [(name.to_owned(), 20)].into();
    assert_eq!(asked(&client, 20, &[]).await, only("main"));
    assert_eq!(members(&router, "pets").await["spare"]["group"], 1);
    registrar.deregister("pets", &all[0]).await;
    serving(&router, "pets", &["spare"]).await;
    assert_eq!(asked(&client, 20, &[]).await, only("spare"));
    registrar.register("pets", &all[0]).await;
    serving(&router, "pets", &["main", "spare"]).await;
    assert_eq!(asked(&client, 20, &[]).await, only("main"));
}

#[tokio::test]
async fn a_capacity_that_makes_no_sense_is_shown_and_takes_nothing() {
    let services = "{ \"*\": { balance: round_robin, weigh_by: { capacity: cores } } }";
    let router = Config::new().set("registries", IN_MEMORY).set("services", services).start();
    let registrar = Registrar::of(&router).await;
    let all = instances(&["a", "b"]).await;
    for (instance, cores) in all.iter().zip(["4", "1e300"]) {
        registrar.register_as("pets", instance, json!({ "metadata": { "cores": cores } })).await;
    }
    serving(&router, "pets", &["a", "b"]).await;
    let client = router.client(Front::H1).await;
    assert_eq!(asked(&client, 20, &[]).await, [("a".to_owned(), 10), ("b".to_owned(), 10)].into());
    let members = members(&router, "pets").await;
    assert_eq!((&members["a"]["ignored"], &members["b"]["ignored"]), (&Value::Null, &json!(["cores"])));
    let metrics = super::rig::admin(router.admin(), "/metrics").await.text();
    assert!(metrics.contains("\npointsman_weights_ignored 1\n"), "{metrics}");
}

#[tokio::test]
async fn a_new_instance_begins_slowly_and_says_so() {
    let services = "{ \"*\": { slow_start: { window: 5s, least: 0.25 } } }";
    let router = Config::new().set("registries", IN_MEMORY).set("services", services).start();
    let registrar = Registrar::of(&router).await;
    let all = instances(&["a"]).await;
    // What comes within the window after the start of the process is old.
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    registrar.register("pets", &all[0]).await;
    serving(&router, "pets", &["a"]).await;
    let part = members(&router, "pets").await["a"]["slow_start"].as_f64();
    assert!(part.is_some_and(|part| (0.25..1.0).contains(&part)), "{part:?}");
    until(&router, "pets", "it has its whole share", |now| now["a"]["slow_start"].is_null()).await;
}

#[tokio::test]
async fn everything_is_changed_live_and_nothing_that_was_learned_is_lost() {
    let file = |services: &str| Config::new().set("registries", IN_MEMORY).set("zone", "a").set("services", services);
    let router = file("{}").start();
    let registrar = Registrar::of(&router).await;
    let all = instances(&["a", "b"]).await;
    for instance in &all {
        registrar.register("pets", instance).await;
        registrar.register("shop", instance).await;
    }
    serving(&router, "pets", &["a", "b"]).await;
    serving(&router, "shop", &["a", "b"]).await;
    let client = router.client(Front::H2c).await;
    asked(&client, 20, &[]).await;
    router.settled("pets").await;
    let facts = |all: &std::collections::BTreeMap<String, Value>| {
        let of = |m: &Value| ["requests", "latency_ms", "failures", "admission"].map(|fact| m[fact].clone());
        all.values().map(of).collect::<Vec<_>>()
    };
    let learned = facts(&members(&router, "pets").await);
    for pets in [
        "balance: round_robin",
        "balance: random, slow_start: off",
        "balance: { consistent_hash: { query: user, bounded_load: 1.25 } }",
        "prefer_zone: true, failover: [ main ], weigh_by: { load: load }",
        "sticky: { cookie: pets }",
        "balance: peak_ewma",
    ] {
        follow(&router, &file(&format!("{{ pets: {{ {pets} }} }}"))).await;
        let word = pets.strip_prefix("balance: ").unwrap_or("peak_ewma").trim_start_matches("{ ");
        let name = word.split([':', ',']).next().unwrap();
        assert_eq!(router.table("pets").await["balance"], name, "{pets}");
        assert_eq!(router.table("shop").await["balance"], "peak_ewma", "of that service only: {pets}");
        assert_eq!(facts(&members(&router, "pets").await), learned, "{pets}");
    }
    asked(&client, 20, &[]).await;
    assert!(all.iter().all(|instance| instance.counts().connections() <= 2), "no connection was made anew");
}

#[tokio::test]
async fn a_query_parameter_is_a_key() {
    let router = router("{ consistent_hash: { query: user } }");
    let registrar = Registrar::of(&router).await;
    let all = instances(&["a", "b", "c"]).await;
    for instance in &all {
        registrar.register("pets", instance).await;
    }
    serving(&router, "pets", &["a", "b", "c"]).await;
    let client = router.client(Front::H2Tls).await;
    let mut homes = std::collections::BTreeSet::new();
    for user in 0..30 {
        let mut met = std::collections::BTreeSet::new();
        // However it is written, wherever it stands.
        for target in [format!("/?user=u{user}&x=1"), format!("/other?y&%75ser=u{user}")] {
            let answer = client.send(get(&target, &[("service_id", "pets")])).await;
            met.insert(answer.json()["instance"].as_str().unwrap().to_owned());
        }
        assert_eq!(met.len(), 1, "user {user}: {met:?}");
        homes.extend(met);
    }
    assert_eq!(homes.len(), 3, "all have some");
}
