//! The embedded registry, from the service's request to the client's answer.

use std::{collections::BTreeSet, path::Path};

use serde_json::json;
use testkit::{Client, Instance, get, post};

use super::rig::{Load, Registrar, admin, instances, router, serving, until};
use crate::support::{Config, Front, Running, told};

/// SC Gateway 738, 2416.
#[tokio::test]
async fn what_registers_is_routed_and_what_deregisters_is_left_at_once() {
    let router = router("least_requests");
    let registrar = Registrar::of(&router).await;
    let client = router.client(Front::H2c).await;
    let unknown = client.send(get("/", &[("service_id", "pets")])).await;
    assert_eq!(told(&unknown), (503, Some("no_service")));

    let [one, two] = <[Instance; 2]>::try_from(instances(&["one", "two"]).await).unwrap();
    registrar.register("pets", &one).await;
    // The answer came when the table had it, or will have it in a moment: from then on nothing fails.
    serving(&router, "pets", &["one"]).await;
    let load = Load::start(&router, &[Front::H1, Front::H2Tls], "pets").await;
    load.more(20).await;
    registrar.register("pets", &two).await;
    serving(&router, "pets", &["one", "two"]).await;
    load.more(100).await;
    let had = two.counts().requests();
    assert!(had > 10 && one.counts().requests() > 10, "one {} two {had}", one.counts().requests());

    registrar.deregister("pets", &one).await;
    serving(&router, "pets", &["two"]).await;
    load.more(10).await; // whatever was on its way to it has arrived
    let left = one.counts().requests();
    load.more(100).await;
    assert_eq!(one.counts().requests(), left);
    load.end().await;
}

#[tokio::test]
async fn clients_reach_neither_registry_nor_admin_by_an_instance_that_claims_to_be_there() {
    let router = router("least_requests");
    let registrar = Registrar::of(&router).await;
    let own = [("registry", router.registry("local")), ("admin", router.admin())];
    for (service, address) in own {
        let body = json!({ "name": service, "ip": address.ip(), "port": address.port(), "ttl": "none" });
        assert_eq!(registrar.ask("register", &body).await.status, 200);
        until(&router, service, "it is there", |members| members.len() == 1).await;
    }
    let client = router.client(Front::H2c).await;
    let pets = json!({ "name": "pets", "ip": "10.0.0.1", "port": 80 }).to_string();
    let registered = client.send(post("/registry/register", &[("service_id", "registry")], pets)).await;
    assert!(registered.status == 403 && registered.text().contains("not by a proxy"), "{}", registered.text());
    for (service, path, status) in [
        ("registry", "/registry/services", 403),
        ("admin", "/table", 403),
        ("admin", "/metrics", 403),
        ("admin", "/health/live", 200),
    ] {
        assert_eq!(client.send(get(path, &[("service_id", service)])).await.status, status, "{path}");
    }
}

#[tokio::test]
async fn a_lease_that_is_not_renewed_ends_and_others_take_over() {
    let router = router("least_requests");
    let registrar = Registrar::of(&router).await;
    let [lasting, dying] = <[Instance; 2]>::try_from(instances(&["lasting", "dying"]).await).unwrap();
    registrar.register("pets", &lasting).await;
    registrar.register_as("pets", &dying, json!({ "ttl": "1s" })).await;
    serving(&router, "pets", &["dying", "lasting"]).await;
    let beat = json!({ "name": "pets", "id": "dying" });
    assert_eq!(registrar.ask("heartbeat", &beat).await.json()["ttl"], "1s");
    let load = Load::start(&router, &[Front::H1, Front::H2c], "pets").await;
    serving(&router, "pets", &["lasting"]).await;
    load.more(50).await;
    load.end().await;
    let late = registrar.ask("heartbeat", &beat).await;
    assert!(late.status == 404 && late.text().contains("register"), "{}", late.text());
}

#[tokio::test]
async fn the_last_instance_whose_lease_ends_stays_as_last_resort() {
    let router = router("least_requests");
    let registrar = Registrar::of(&router).await;
    let [only, next] = <[Instance; 2]>::try_from(instances(&["only", "next"]).await).unwrap();
    registrar.register_as("pets", &only, json!({ "ttl": "1s" })).await;
    serving(&router, "pets", &["only"]).await;
    let load = Load::start(&router, &[Front::H1, Front::H2c], "pets").await;
    until(&router, "pets", "only is the last resort", |now| now["only"]["standing"] == "resort").await;
    load.more(50).await;

    // Whoever comes is preferred to it.
    registrar.register("pets", &next).await;
    serving(&router, "pets", &["next"]).await;
    load.more(10).await;
    let had = only.counts().requests();
    load.more(50).await;
    assert_eq!(only.counts().requests(), had);
    load.end().await;

    // Who deregisters meant it: nobody is kept as a resort.
    registrar.deregister("pets", &next).await;
    until(&router, "pets", "nobody serves", |now| !now.contains_key("next")).await;
    only.kill().await;
    let client = router.client(Front::H2c).await;
    let refused = |answer: &testkit::Answer| answer.header("x-pointsman-reason").map(str::to_owned);
    let first = client.send(get("/", &[("service_id", "pets")])).await;
    assert!(first.status.is_server_error(), "{}", first.text());
    // That it could not be connected to ended the resort.
    until(&router, "pets", "nobody is left", std::collections::BTreeMap::is_empty).await;
    let answer = client.send(get("/", &[("service_id", "pets")])).await;
    assert_eq!((answer.status.as_u16(), refused(&answer).as_deref()), (503, Some("no_instance")));
}

/// SC Gateway 3688.
#[tokio::test]
async fn the_last_instance_that_deregisters_leaves_nobody() {
    let router = router("least_requests");
    let registrar = Registrar::of(&router).await;
    let only = Instance::http().named("only").start().await;
    registrar.register("pets", &only).await;
    serving(&router, "pets", &["only"]).await;
    let client = router.client(Front::H1).await;
    assert_eq!(client.send(get("/", &[("service_id", "pets")])).await.status, 200);
    registrar.deregister("pets", &only).await;
    until(&router, "pets", "nobody is left", std::collections::BTreeMap::is_empty).await;
    let answer = client.send(get("/", &[("service_id", "pets")])).await;
    assert_eq!(told(&answer), (503, Some("no_instance")));
}

fn kept_in(directory: &Path) -> Running {
    let registries = format!("{{ local: {{ embedded: {{ address: 127.0.0.1:0, directory: {directory:?} }} }} }}");
    Config::new().set("registries", &registries).start()
}

#[tokio::test]
async fn a_restart_forgets_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let all = instances(&["one", "two", "gone"]).await;
    let first = kept_in(directory.path());
    let registrar = Registrar::of(&first).await;
    for instance in &all {
        registrar.register_as("pets", instance, json!({ "ttl": "30s", "weight": 3, "tags": ["blue"] })).await;
    }
    registrar.deregister("pets", &all[2]).await;
    drop(first);

    let second = kept_in(directory.path());
    serving(&second, "pets", &["one", "two"]).await;
    let load = Load::start(&second, &[Front::H1, Front::H2c], "pets").await;
    load.more(50).await;
    let answered: BTreeSet<_> = load.end().await.into_keys().collect();
    assert_eq!(answered, ["one", "two"].map(str::to_owned).into());
    let members = second.table("pets").await["members"].clone();
    assert!(members[0]["weight"] == 3 && members[0]["tags"] == json!(["blue"]), "{members:#}");
    // The lease goes on from the start in full: a heartbeat is all it takes.
    let beat = Registrar::of(&second).await.ask("heartbeat", &json!({ "name": "pets", "id": "one" })).await;
    assert_eq!(beat.status, 200, "{}", beat.text());
}

#[tokio::test]
async fn what_is_no_registration_is_refused_and_changes_nothing() {
    let router = router("least_requests");
    let registrar = Registrar::of(&router).await;
    for (body, says) in [
        (json!({ "name": "Pet_Store", "ip": "127.0.0.1", "port": 1 }), "lowercase"),
        (json!({ "name": "pets", "ip": "127.0.0.1", "port": 0 }), "port 0"),
        (json!({ "name": "pets", "ip": "0.0.0.0", "port": 1 }), "unspecified"),
        (json!({ "name": "pets", "ip": "127.0.0.1", "port": 1, "protocol": "gopher" }), "http, h2c or https"),
        (json!({ "name": "pets", "ip": "127.0.0.1", "port": 1, "colour": "red" }), "colour"),
    ] {
        let answer = registrar.ask("register", &body).await;
        assert!(answer.status == 400 && answer.text().contains(says), "{body}: {} {}", answer.status, answer.text());
    }
    assert_eq!(router.client(Front::H1).await.send(get("/", &[("service_id", "pets")])).await.status, 503);
    assert_eq!(admin(router.registry("local"), "/registry/services").await.json()["services"], json!([]));
}

#[tokio::test]
async fn writers_show_the_token_and_readers_need_none() {
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    std::fs::write(&token, "sesame\n").unwrap();
    let registries = format!(
        "{{ local: {{ embedded: {{ address: 127.0.0.1:0, directory: null, token: {{ file: {token:?} }} }} }} }}"
    );
    let router = Config::new().set("registries", &registries).start();
    let registry = Client::http(router.registry("local")).await;
    let instance = Instance::http().start().await;
    let body = json!({ "name": "pets", "ip": "127.0.0.1", "port": instance.addr().port() }).to_string();
    for (authorization, status) in [(None, 401), (Some("Bearer simsim"), 401), (Some("Bearer sesame"), 200)] {
        let headers: Vec<_> = authorization.map(|value| ("authorization", value)).into_iter().collect();
        for verb in ["register", "heartbeat"] {
            let answer = registry.send(post(&format!("/registry/{verb}"), &headers, body.clone())).await;
            assert_eq!(answer.status, status, "{verb} with {authorization:?}: {}", answer.text());
        }
    }
    assert_eq!(
        registry.send(get("/registry/services/pets", &[])).await.json()["instances"].as_array().unwrap().len(),
        1
    );
}
