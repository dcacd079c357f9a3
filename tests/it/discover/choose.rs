//! How instances are chosen, as clients see it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use testkit::{Client, Gate, Instance, Reply, get, wait_for};

use super::rig::{Registrar, instances, router, serving};
use crate::support::{Config, Front};

/// Which instance answers one request after the other.
pub(super) async fn asked(client: &Client, count: usize, headers: &[(&str, &str)]) -> BTreeMap<String, usize> {
    let headers: Vec<_> = headers.iter().copied().chain([("service_id", "pets")]).collect();
    let mut had = BTreeMap::new();
    for _ in 0..count {
        let answer = client.send(get("/", &headers)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        *had.entry(answer.json()["instance"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    had
}

#[tokio::test]
async fn round_robin_deals_exactly_by_weight() {
    let router = router("round_robin");
    let registrar = Registrar::of(&router).await;
    let all = instances(&["a", "b", "c", "none"]).await;
    for (instance, weight) in all.iter().zip([1, 2, 5, 0]) {
        registrar.register_as("pets", instance, json!({ "weight": weight })).await;
    }
    serving(&router, "pets", &["a", "b", "c", "none"]).await;
    let client = router.client(Front::H1).await;
    let had = asked(&client, 80, &[]).await;
    assert_eq!(had, [("a", 10), ("b", 20), ("c", 50)].map(|(name, count)| (name.to_owned(), count)).into());
}

#[tokio::test]
async fn a_key_stays_with_its_instance() {
    for (by, header, value) in [
        ("{ header: x-user }", "x-user", "USER"),
        ("{ cookie: session }", "cookie", "a=1; session=USER; b=2"),
        ("{ header: x-user, algorithm: ring }", "x-user", "USER"),
    ] {
        let router = router(&format!("{{ consistent_hash: {by} }}"));
        let registrar = Registrar::of(&router).await;
        let all = instances(&["a", "b", "c", "d"]).await;
        for instance in &all {
            registrar.register("pets", instance).await;
        }
        serving(&router, "pets", &["a", "b", "c", "d"]).await;
        let clients = [router.client(Front::H1).await, router.client(Front::H2Tls).await];
        let mut homes = BTreeMap::new();
        for user in 0..40 {
            let value = value.replace("USER", &format!("user-{user}"));
            for client in &clients {
                let had = asked(client, 2, &[(header, &value)]).await;
                assert_eq!(had.len(), 1, "{by}: {value} met {had:?}");
                let home = had.into_keys().next().unwrap();
                assert_eq!(*homes.entry(value.clone()).or_insert_with(|| home.clone()), home, "{by}: {value}");
            }
        }
        assert_eq!(homes.values().collect::<BTreeSet<_>>().len(), 4, "{by}: all have some: {homes:?}");

        // Only those move whose home is gone.
        registrar.deregister("pets", &all[0]).await;
        serving(&router, "pets", &["b", "c", "d"]).await;
        let mut moved = 0;
        for (value, home) in homes.iter().filter(|(_, home)| *home != "a") {
            moved +=
                usize::from(asked(&clients[0], 1, &[(header, value)]).await.into_keys().next().as_ref() != Some(home));
        }
        // Maglev moves a few others too.
        assert!(moved <= if by.contains("ring") { 0 } else { 6 }, "{by}: {moved} moved");
    }
}

#[tokio::test]
async fn local_first_leaves_the_host_and_then_the_zone_only_if_it_must() {
    let [local, zone, far] = <[Instance; 3]>::try_from(instances(&["local", "zone", "far"]).await).unwrap();
    let router = Config::new()
        .set("registries", super::rig::IN_MEMORY)
        .set("zone", "here")
        .set("services", "{ \"*\": { balance: local_first } }")
        .start();
    let registrar = Registrar::of(&router).await;
    // Whose address is a name is on no known host.
    registrar.register("pets", &local).await;
    registrar.register_as("pets", &zone, json!({ "ip": "localhost", "zone": "here" })).await;
    registrar.register_as("pets", &far, json!({ "ip": "localhost", "zone": "there" })).await;
    serving(&router, "pets", &["far", "local", "zone"]).await;
    let client = router.client(Front::H2c).await;
    for (instance, rest) in [(&local, &["far", "zone"][..]), (&zone, &["far"][..]), (&far, &[])] {
        let had = asked(&client, 20, &[]).await;
        assert_eq!(had, [(instance.name().to_owned(), 20)].into());
        registrar.deregister("pets", instance).await;
        serving(&router, "pets", rest).await;
    }
}

#[tokio::test]
async fn least_requests_avoids_an_instance_that_is_stuck() {
    let router = router("least_requests");
    let registrar = Registrar::of(&router).await;
    let gate = Gate::new();
    let held = gate.clone();
    let stuck = Instance::h2c().named("stuck").answer(move |_| Reply::script().gate(&held).head(204)).start().await;
    let quick = Instance::h2c().named("quick").start().await;
    registrar.register("pets", &stuck).await;
    registrar.register("pets", &quick).await;
    serving(&router, "pets", &["quick", "stuck"]).await;
    let client = std::sync::Arc::new(router.client(Front::H2c).await);
    let mut waiting = Vec::new();
    for _ in 0..100 {
        let (client, before) = (std::sync::Arc::clone(&client), stuck.counts().requests());
        let asking = tokio::spawn(async move { client.send(get("/", &[("service_id", "pets")])).await.status });
        // Before the next one is asked, this one is answered or known to be stuck.
        let placed = || asking.is_finished() || stuck.counts().requests() > before;
        assert!(wait_for(placed, testkit::DEADLINE).await);
        waiting.push(asking);
    }
    // Two members are both looked at, so the one with a request in flight is taken only while the other has one too.
    assert_eq!((stuck.counts().requests(), quick.counts().requests()), (1, 99));
    gate.open();
    for asking in waiting {
        assert!(asking.await.unwrap().is_success());
    }
}
