//! Mechanisms that meet: what one of them does is no surprise to the others.

use std::time::Duration;

use serde_json::json;
use testkit::{BlackHole, Client, Gate, Instance, Reply, bounded, eventually, get, post};

use super::{at_rest, open, until};
use crate::{
    discover::rig::{IN_MEMORY, Registrar, members, serving},
    support::{Config, Front, Running, nobody, told},
};

const PETS: [(&str, &str); 1] = [("service_id", "pets")];

fn held_by(gate: &Gate) -> Reply {
    Reply::script().gate(gate).head(200).data("done")
}

fn of(urls: &[String], settings: &str) -> Running {
    Config::new().service("pets", urls).set("services", &format!("{{ pets: {{ {settings} }} }}")).start()
}

async fn breaker(router: &Running) -> String {
    router.table("pets").await["breaker"]["state"].as_str().expect("a breaker").to_owned()
}

/// What an open circuit would refuse is not kept waiting for a place first.
#[tokio::test]
async fn an_open_circuit_lets_nobody_wait_in_the_queue() {
    let (gate, fails) = (Gate::new(), Gate::new());
    let instance = Instance::h2c()
        .on("/hangs", held_by(&gate))
        .on("/fails", Reply::script().gate(&fails).head(503))
        .on("/bad", Reply::status(503))
        .start()
        .await;
    let settings = "eject: off, breaker: { failures: 50%, requests: 2, window: 10s, open: 2s }, \
                    concurrency: { requests: 2, queue: 10, wait: 9s }";
    let router = of(&[instance.url()], settings);
    let client = router.client(Front::H2c).await;
    assert_eq!(told(&client.send(post("/bad", &PETS, "")).await), (503, None));
    let mut hanging = vec![open(&client, "/hangs", "pets").await];
    let failing = open(&client, "/fails", "pets").await;
    eventually("no place is left", || instance.counts().in_flight() == 2).await;
    let mut waiting = Vec::new();
    for number in 1..4 {
        waiting.push(open(&client, "/", "pets").await);
        until(&router, "pets", "queued", number).await;
    }
    fails.open();
    for stream in waiting {
        let answer = bounded("those who wait are told", stream.answer()).await.unwrap();
        assert_eq!(told(&answer), (503, Some("circuit_open")));
    }
    assert_eq!(failing.answer().await.unwrap().status, 503);
    // One tries the service and hangs too: again there is no place, and again nobody waits for one.
    bounded("one may try it", async {
        while instance.counts().in_flight() < 2 {
            hanging.push(open(&client, "/hangs", "pets").await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert_eq!(told(&client.send(get("/", &PETS)).await), (503, Some("circuit_open")));
    assert_eq!((breaker(&router).await.as_str(), router.table("pets").await["queued"].as_u64()), ("half_open", None));
    gate.open();
    bounded("it closes", async { while breaker(&router).await != "closed" {} }).await;
    assert_eq!(client.send(get("/", &PETS)).await.status, 200);
    drop(hanging);
    at_rest(&router, "pets").await;
}

/// Nobody there is no failure of the service; and an open circuit is closed by the first that is there again.
#[tokio::test]
async fn requests_held_for_an_instance_say_nothing_to_the_circuit() {
    let services =
        "{ pets: { eject: off, warm_hold: 600ms, breaker: { failures: 50%, requests: 2, window: 10s, open: 3s } } }";
    let config = Config::new().set("registries", IN_MEMORY).set("services", services);
    let router = config.set("routes", "[ { prefix: /, service: pets } ]").start();
    let registrar = Registrar::of(&router).await;
    let client = router.client(Front::H2c).await;
    for _ in 0..3 {
        assert_eq!(told(&client.send(get("/", &[])).await), (503, Some("hold_timeout")));
    }
    assert_eq!(breaker(&router).await, "closed");
    let instance = Instance::h2c().named("a").answer(|_| Reply::status(503)).start().await;
    registrar.register("pets", &instance).await;
    serving(&router, "pets", &["a"]).await;
    for _ in 0..2 {
        assert_eq!(told(&client.send(post("/", &[], "")).await), (503, None));
    }
    registrar.deregister("pets", &instance).await;
    serving(&router, "pets", &[]).await;
    assert_eq!(told(&client.send(get("/", &[])).await), (503, Some("circuit_open")), "it does not wait");
    // The one that may try it waits for an instance, and leaves the turn to others as long as it does.
    bounded("one may wait", async {
        while told(&client.send(get("/", &[])).await) != (503, Some("hold_timeout")) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let waits = open(&client, "/", "pets").await;
    until(&router, "pets", "held", 1).await;
    instance.answer(|_| Reply::echo());
    registrar.register("pets", &instance).await;
    assert_eq!(waits.answer().await.unwrap().status, 200);
    assert_eq!(breaker(&router).await, "closed");
    at_rest(&router, "pets").await;
}

/// So does the one that tries it and finds that the instance has left.
#[tokio::test]
async fn the_one_that_tries_a_service_in_vain_leaves_the_turn_to_others_while_it_waits() {
    let services =
        "{ pets: { eject: off, warm_hold: 9s, breaker: { failures: 50%, requests: 2, window: 10s, open: 3s } } }";
    let config = Config::new().set("registries", IN_MEMORY).set("services", services);
    let router = config.set("timeouts", "{ connect: 800ms }").start();
    let registrar = Registrar::of(&router).await;
    let client = router.client(Front::H2c).await;
    let instance = Instance::h2c().named("a").answer(|_| Reply::status(503)).start().await;
    registrar.register("pets", &instance).await;
    serving(&router, "pets", &["a"]).await;
    for _ in 0..2 {
        assert_eq!(told(&client.send(post("/", &PETS, "")).await), (503, None));
    }
    assert_eq!(breaker(&router).await, "open");
    registrar.deregister("pets", &instance).await;
    let hole = BlackHole::new().await;
    let gone = json!({ "name": "pets", "id": "gone", "ip": "127.0.0.1", "port": hole.addr().port(),
        "protocol": "h2c", "ttl": "none" });
    assert_eq!(registrar.ask("register", &gone).await.status, 200);
    serving(&router, "pets", &["gone"]).await;
    tokio::time::sleep(Duration::from_millis(3100)).await;
    let first = open(&client, "/", "pets").await;
    until(&router, "pets", "in_flight", 1).await;
    assert_eq!(breaker(&router).await, "half_open");
    assert_eq!(registrar.ask("deregister", &json!({ "name": "pets", "id": "gone" })).await.status, 200);
    until(&router, "pets", "held", 1).await;
    let second = open(&client, "/", "pets").await;
    until(&router, "pets", "held", 2).await;
    instance.answer(|_| Reply::echo());
    registrar.register("pets", &instance).await;
    let answers = [first.answer().await.unwrap().status, second.answer().await.unwrap().status];
    // Both are told of it at once: one of them tries it, and the other may come while it does.
    assert!(answers.iter().any(|status| *status == 200), "{answers:?}");
    eventually_closed(&router).await;
    at_rest(&router, "pets").await;
}

async fn eventually_closed(router: &Running) {
    bounded("the circuit closes", async {
        while breaker(router).await != "closed" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// When all others are full, an instance that leaves is not used to get round the limit: that would keep it for ever.
#[tokio::test]
async fn who_finds_all_full_waits_rather_than_go_to_one_that_leaves() {
    for how in ["operator", "registry"] {
        let gate = Gate::new();
        let held = gate.clone();
        let services = "{ pets: { balance: round_robin, concurrency: { per_instance: 1, wait: 9s } } }";
        let router = Config::new().set("registries", IN_MEMORY).set("services", services).start();
        let registrar = Registrar::of(&router).await;
        let leaves = Instance::h2c().named("a").start().await;
        let stays = Instance::h2c().named("b").answer(move |_| held_by(&held)).start().await;
        registrar.register("pets", &leaves).await;
        registrar.register("pets", &stays).await;
        serving(&router, "pets", &["a", "b"]).await;
        let (address, path, verb, body) = match how {
            "operator" => (router.admin(), "/table/pets/a/drain", "POST", String::new()),
            _ => {
                let path = "/registry/services/pets/instances/a/maintenance";
                (router.registry("local"), path, "PUT", json!({ "enabled": true }).to_string())
            }
        };
        assert_eq!(
            Client::http(address).await.send(testkit::request(verb, path, &[], body)).await.status,
            200,
            "{how}"
        );
        crate::discover::rig::until(&router, "pets", "it leaves", |members| {
            members["a"]["standing"] == "draining"
                || members["a"]["admission"].as_str().is_some_and(|word| word != "in")
        })
        .await;
        let client = router.client(Front::H2c).await;
        let first = open(&client, "/", "pets").await;
        eventually("the other one is full", || stays.counts().in_flight() == 1).await;
        let second = open(&client, "/", "pets").await;
        until(&router, "pets", "queued", 1).await;
        gate.open();
        for stream in [first, second] {
            assert_eq!(stream.answer().await.unwrap().text(), "done", "{how}");
        }
        assert_eq!((leaves.counts().requests(), stays.counts().requests()), (0, 2), "{how}");
        // It is all there is: then it is used, within its limit.
        registrar.deregister("pets", &stays).await;
        serving_or_leaving(&router, &["a"]).await;
        assert_eq!(client.send(get("/", &PETS)).await.status, 200, "{how}");
        at_rest(&router, "pets").await;
    }
}

async fn serving_or_leaving(router: &Running, names: &[&str]) {
    crate::discover::rig::until(router, "pets", "who is there", |members| {
        members.keys().map(String::as_str).eq(names.iter().copied())
    })
    .await;
}

/// An instance that is full for the moment keeps the clients that stay with it; others serve them meanwhile.
#[tokio::test]
async fn a_client_that_stays_comes_back_when_its_instance_has_room() {
    let gate = Gate::new();
    let services = "{ pets: { balance: round_robin, sticky: { header: x-home }, concurrency: { per_instance: 1 } } }";
    let router = Config::new().set("registries", IN_MEMORY).set("services", services).start();
    let registrar = Registrar::of(&router).await;
    let home = Instance::h2c().named("a").on("/hangs", held_by(&gate)).start().await;
    let other = Instance::h2c().named("b").start().await;
    registrar.register("pets", &home).await;
    registrar.register("pets", &other).await;
    serving(&router, "pets", &["a", "b"]).await;
    let token = members(&router, "pets").await["a"]["sticky"].as_str().unwrap().to_owned();
    let client = router.client(Front::H2c).await;
    let stays = || get("/", &[("service_id", "pets"), ("x-home", &token)]);
    let hangs = http::Request::builder().uri("/hangs").header("service_id", "pets").header("x-home", &token);
    let hangs = client.open(hangs.body(()).unwrap(), true).await.unwrap();
    eventually("it is full", || home.counts().in_flight() == 1).await;
    for _ in 0..4 {
        let answer = client.send(stays()).await;
        assert_eq!((&answer.json()["instance"], answer.header("x-home")), (&"b".into(), None), "it is told nothing");
    }
    gate.open();
    assert_eq!(hangs.answer().await.unwrap().status, 200);
    until(&router, "pets", "in_flight", 0).await;
    for _ in 0..4 {
        assert_eq!(client.send(stays()).await.json()["instance"], "a");
    }
}

/// What a fallback answers in the place of an instance is held against that instance all the same.
#[tokio::test]
async fn an_instance_whose_failures_a_fallback_hides_is_put_out() {
    let fails = |_: &_| Reply::script().head(503).data("busy");
    let (bad, good) = (Instance::h2c().answer(fails), Instance::h2c().named("good"));
    let (bad, good) = (bad.start().await, good.start().await);
    let routes = "[ { prefix: /, service: pets, fallback: { status: 200, body: sorry, on_status: 503 } } ]";
    let services = "{ pets: { balance: round_robin, eject: { consecutive: 3, base: 30s } } }";
    let config = Config::new().set("routes", routes).set("services", services);
    let router = config.service("pets", &[bad.url(), good.url()]).start();
    let client = router.client(Front::H2c).await;
    let mut sorry = 0;
    for _ in 0..30 {
        let answer = client.send(post("/", &[], "x")).await;
        assert_eq!(answer.status, 200);
        sorry += u32::from(answer.header("x-pointsman-fallback") == Some("static"));
    }
    assert_eq!((sorry, bad.counts().requests(), good.counts().requests()), (3, 3, 27));
    at_rest(&router, "pets").await;
}

/// The answer that reaches the client is that of an earlier try: it names no instance that was asked in vain after it.
#[tokio::test]
async fn a_client_is_never_told_to_stay_with_an_instance_that_did_not_answer_it() {
    let busy = Instance::h2c().answer(|_| Reply::status(503)).start().await;
    let dead = nobody().await;
    let settings = "balance: round_robin, eject: off, sticky: { header: x-home }, retries: { budget: { floor: 1000 } }";
    let router = of(&[busy.url(), format!("h2c://{dead}")], settings);
    let all = members(&router, "pets").await;
    let token = all.values().find(|member| member["address"] == dead.to_string()).expect("it")["sticky"].clone();
    let client = router.client(Front::H2c).await;
    for _ in 0..6 {
        let answer = client.send(get("/", &PETS)).await;
        assert_eq!(told(&answer), (503, None), "its own answer");
        assert_ne!(answer.header("x-home").map(str::to_owned), token.as_str().map(str::to_owned));
    }
    let failed = members(&router, "pets").await.values().filter(|member| member["failures"].as_u64() > Some(0)).count();
    assert_eq!(failed, 1, "the other one was asked too");
}
