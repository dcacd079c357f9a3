//! A table that never rests, under clients that never notice.

use serde_json::json;
use testkit::{Gate, Instance, Reply, eventually, get};

use super::rig::{IN_MEMORY, Load, Registrar, admin, instances, members, router, serving};
use crate::support::{Config, Front, Running};

/// Changes of the table while clients ask.
const CHANGES: u32 = 1_000;

/// Numbers that look random and are the same in every run (Marsaglia's xorshift32).
struct Dice(u32);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 as usize % limit
    }
}

/// Reloads the router with another configuration.
pub(super) async fn follow(router: &Running, config: &Config) {
    let settings = settings::parse(&config.yaml(), "next.yml".as_ref(), &|_| None).unwrap();
    router.router.replace(settings).await.unwrap();
}

#[tokio::test]
async fn a_thousand_changes_fail_no_request_and_reopen_no_connection() {
    let router = router("round_robin");
    let registrar = Registrar::of(&router).await;
    let steady = Instance::h2c().named("steady").start().await;
    registrar.register("pets", &steady).await;
    let mut moving = instances(&["a", "b", "c"]).await;
    moving.push(Instance::http().named("d").start().await);
    serving(&router, "pets", &["steady"]).await;
    let load = Load::start(&router, &Front::ALL, "pets").await;
    let generation = async || admin(router.admin(), "/table").await.json()["generation"].as_u64().unwrap();
    let before = generation().await;
    let mut dice = Dice(2026);
    let mut there = [false; 4];
    for _ in 0..CHANGES {
        let at = dice.below(moving.len());
        if there[at] && dice.below(2) == 0 {
            registrar.deregister("pets", &moving[at]).await;
            there[at] = false;
        } else {
            // New, or with another weight.
            registrar.register_as("pets", &moving[at], json!({ "weight": 1 + dice.below(9) })).await;
            there[at] = true;
        }
    }
    load.more(100).await;
    let had = load.end().await;
    assert!(had.len() == 5 && had.values().all(|requests| *requests > 0), "{had:?}");
    let after = generation().await;
    // Changes that come close together share a table.
    assert!(after > before + 20, "tables were swapped: {before} to {after}");
    assert_eq!(steady.counts().connections(), 1, "one core, one connection, from the first swap to the last");
    assert_eq!(members(&router, "pets").await["steady"]["failures"], 0);
}

#[tokio::test]
async fn what_is_known_of_an_unchanged_instance_survives_swaps_and_reloads() {
    let router = router("round_robin");
    let registrar = Registrar::of(&router).await;
    let gate = Gate::new();
    let steady = Instance::h2c().named("steady").on("/held", Reply::script().gate(&gate).head(204)).start().await;
    let other = Instance::h2c().named("other").start().await;
    registrar.register("pets", &steady).await;
    serving(&router, "pets", &["steady"]).await;
    let client = router.client(Front::H2c).await;
    for _ in 0..5 {
        client.send(get("/", &[("service_id", "pets")])).await;
    }
    let held = async { client.send(get("/held", &[("service_id", "pets")])).await };
    let changes = async {
        eventually("the request is held", || steady.counts().in_flight() == 1).await;
        let facts = |member: &serde_json::Value| {
            ["in_flight", "latency_ms", "requests", "failures", "admission"].map(|fact| member[fact].clone())
        };
        let before = facts(&members(&router, "pets").await["steady"]);
        assert_eq!((&before[0], &before[2], before[1].is_number()), (&json!(1), &json!(5), true));
        for weight in 1..50 {
            registrar.register_as("pets", &other, json!({ "weight": weight })).await;
            registrar.deregister("pets", &other).await;
        }
        // Its own record changes, and so do the policies of its service.
        registrar.register_as("pets", &steady, json!({ "weight": 7, "tags": ["blue"] })).await;
        let other_balance = "{ pets: { balance: { consistent_hash: { header: x-user } } } }";
        follow(&router, &Config::new().set("registries", IN_MEMORY).set("services", other_balance)).await;
        let now = members(&router, "pets").await["steady"].clone();
        assert!(now["weight"] == 7 && now["tags"] == json!(["blue"]), "{now:#}");
        assert_eq!(facts(&now), before);
        gate.open();
    };
    let (answer, ()) = tokio::join!(held, Box::pin(changes));
    assert_eq!(answer.status, 204);
    client.send(get("/", &[("service_id", "pets")])).await;
    assert_eq!(steady.counts().connections(), 1);
}

/// HAProxy 3400.
#[tokio::test]
async fn all_instances_can_be_replaced_in_one_go() {
    let (old, new) = (instances(&["o1", "o2", "o3"]).await, instances(&["n1", "n2", "n3"]).await);
    let urls = |list: &[Instance]| list.iter().map(Instance::url).collect::<Vec<_>>();
    let router = Config::new().service("pets", &urls(&old)).start();
    let load = Load::start(&router, &Front::ALL, "pets").await;
    load.more(100).await;
    for list in [&new, &old, &new] {
        follow(&router, &Config::new().service("pets", &urls(list))).await;
        load.more(100).await;
    }
    load.more(50).await;
    let left: u64 = old.iter().map(|instance| instance.counts().requests()).sum();
    load.more(100).await;
    assert_eq!(old.iter().map(|instance| instance.counts().requests()).sum::<u64>(), left);
    load.end().await;
    for instance in &old {
        eventually("connections to what left are closed", || instance.counts().open() == 0).await;
    }
}

#[tokio::test]
async fn a_service_scales_to_one_and_back() {
    let router = router("least_requests");
    let registrar = Registrar::of(&router).await;
    let all = instances(&["a", "b", "c", "d", "e"]).await;
    let names: Vec<_> = all.iter().map(Instance::name).collect();
    for instance in &all {
        registrar.register("pets", instance).await;
    }
    serving(&router, "pets", &names).await;
    let load = Load::start(&router, &Front::ALL, "pets").await;
    load.more(50).await;
    for instance in &all[1..] {
        registrar.deregister("pets", instance).await;
    }
    serving(&router, "pets", &["a"]).await;
    load.more(50).await;
    for instance in &all[1..] {
        registrar.register("pets", instance).await;
    }
    serving(&router, "pets", &names).await;
    load.more(200).await;
    assert_eq!(load.end().await.len(), 5);
}
