//! Requests that wait for an instance where there is none.

use std::time::Duration;

use testkit::{BlackHole, Client, Gate, Instance, Reply, bounded, eventually, get, post};
use tokio::time::Instant;

use super::{at_rest, held_by, open, until};
use crate::{
    discover::rig::{self, IN_MEMORY, Load, Registrar, serving},
    support::{Back, Config, Front, Running, told},
};

async fn start(config: Config) -> (Running, Registrar) {
    let router = config.set("registries", IN_MEMORY).start();
    let registrar = Registrar::of(&router).await;
    (router, registrar)
}

/// Traefik 9289.
/// Caddy 4442.
#[tokio::test]
async fn to_zero_and_back_within_the_hold_costs_nobody_an_error() {
    let (router, registrar) = start(Config::new()).await;
    let instance = Instance::h2c().named("one").start().await;
    registrar.register("pets", &instance).await;
    serving(&router, "pets", &["one"]).await;
    let load = Load::start(&router, &[Front::H1, Front::H2c, Front::H2Tls], "pets").await;
    for _ in 0..5 {
        load.more(20).await;
        registrar.deregister("pets", &instance).await;
        // All nine of its requests wait: none is refused.
        until(&router, "pets", "held", 9).await;
        registrar.register("pets", &instance).await;
    }
    load.more(20).await;
    assert!(load.end().await["one"] >= 120);
    at_rest(&router, "pets").await;
}

/// Caddy 4442.
#[tokio::test]
async fn a_routed_service_that_was_never_there_is_waited_for_with_the_body_unread() {
    let (router, registrar) = start(Config::new().set("routes", "[ { prefix: /, service: pets } ]")).await;
    let instance = Instance::h2c().named("one").start().await;
    let client = router.client(Front::H1).await;
    let first = async { client.send(post("/", &[], vec![1; 200_000])).await };
    let comes = async {
        until(&router, "pets", "held", 1).await;
        registrar.register("pets", &instance).await;
    };
    let (answer, ()) = bounded("an answer", async { tokio::join!(first, comes) }).await;
    assert_eq!(answer.json()["body_bytes"], 200_000);
    at_rest(&router, "pets").await;
}

#[tokio::test]
async fn the_hold_ends_with_its_time_and_says_so() {
    let services = "{ short: { warm_hold: 200ms }, never: { warm_hold: off } }";
    let routes = "[ { prefix: /short, service: short }, { prefix: /never, service: never }, \
                    { path: /soon, service: pets, timeout: 200ms } ]";
    let (router, _) = start(Config::new().set("services", services).set("routes", routes)).await;
    for front in Front::ALL {
        let client = router.client(front).await;
        let start = Instant::now();
        let answer = client.send(get("/short", &[])).await;
        assert_eq!(
            (told(&answer), answer.header("retry-after")),
            ((503, Some("hold_timeout")), Some("5")),
            "{front:?}"
        );
        assert!(start.elapsed() >= Duration::from_millis(200));
        assert_eq!(told(&client.send(get("/never", &[])).await), (503, Some("no_instance")), "{front:?}");
        assert_eq!(told(&client.send(get("/soon", &[])).await), (503, Some("hold_timeout")), "{front:?}");
    }
    at_rest(&router, "short").await;
}

#[tokio::test]
async fn no_more_than_sixty_four_wait_and_those_who_leave_make_room() {
    let (router, _) = start(Config::new().set("routes", "[ { prefix: /, service: pets } ]")).await;
    let client = router.client(Front::H2c).await;
    let mut waiting = Vec::new();
    for _ in 0..64 {
        waiting.push(open(&client, "/", "pets").await);
    }
    until(&router, "pets", "held", 64).await;
    assert_eq!(told(&client.send(get("/", &[])).await), (503, Some("no_instance")));
    waiting.truncate(60);
    until(&router, "pets", "held", 60).await;
    drop(waiting);
    at_rest(&router, "pets").await;
}

/// Instances that can be connected to and fail are no reason to wait, nor is an environment without instances.
#[tokio::test]
async fn nobody_waits_where_instances_are() {
    let (router, registrar) = start(Config::new()).await;
    let instance = Instance::h2c().named("one").start().await;
    registrar.register("pets", &instance).await;
    serving(&router, "pets", &["one"]).await;
    let client = router.client(Front::H2c).await;
    let elsewhere = client.send(get("/", &[("service_id", "pets"), ("env_tag", "test")])).await;
    assert_eq!(told(&elsewhere), (503, Some("no_instance")));
    instance.answer(|_| Reply::closes());
    let start = Instant::now();
    assert_eq!(told(&client.send(get("/", &[("service_id", "pets")])).await), (502, Some("reset")));
    assert_eq!(told(&client.send(get("/", &[("service_id", "nobody")])).await), (503, Some("no_service")));
    assert!(start.elapsed() < Duration::from_secs(4), "nobody waited for what the service has");
}

/// A service whose only instances restart: nothing of a request is sent until one is back, and then each once.
#[tokio::test]
async fn whoever_cannot_be_connected_to_is_waited_for() {
    for back in Back::ALL {
        for names in [&["one"][..], &["one", "two", "three", "four", "five"]] {
            let config = Config::new();
            let tls = format!("{{ '*': {{ tls: {{ ca: {:?}, server_name: localhost }} }} }}", config.certs().ca());
            let mut instances = Vec::new();
            for name in names {
                instances.push(back.instance(config.certs()).named(name).start().await);
            }
            let urls: Vec<String> = instances.iter().map(Instance::url).collect();
            let router = config.service("pets", &urls).set("services", &tls).start();
            let mut asking = Vec::new();
            for instance in &instances {
                instance.kill().await;
            }
            for front in [Front::H1, Front::H2c, Front::H1, Front::H2Tls] {
                let client = router.client(front).await;
                let post = post("/", &[("service_id", "pets")], vec![1; 200_000]);
                asking.push(tokio::spawn(async move { client.send(post).await }));
            }
            until(&router, "pets", "held", 4).await;
            // Longer than each of them tries to connect at once.
            tokio::time::sleep(Duration::from_millis(500)).await;
            instances[0].restart_on_same_port().await;
            for answer in asking {
                let answer = bounded("an answer", answer).await.unwrap();
                assert_eq!(answer.status, 200, "{back:?}, {} instances: {}", names.len(), answer.text());
                assert_eq!(
                    (&answer.json()["instance"], &answer.json()["body_bytes"]),
                    (&"one".into(), &200_000.into())
                );
            }
            assert_eq!(instances[0].counts().requests(), 4, "{back:?}: each once");
            at_rest(&router, "pets").await;
        }
    }
}

#[tokio::test]
async fn the_wait_for_a_connection_has_an_end_too() {
    let instance = Instance::h2c().start().await;
    let services = "{ short: { warm_hold: 400ms }, never: { warm_hold: off }, once: { retries: off } }";
    let config =
        Config::new().set("services", services).set("routes", "[ { path: /soon, service: pets, timeout: 300ms } ]");
    let config =
        ["short", "never", "once", "pets"].into_iter().fold(config, |c, name| c.service(name, &[instance.url()]));
    let router = config.start();
    instance.kill().await;
    let client = router.client(Front::H2c).await;
    let ask = async |service| client.send(get("/", &[("service_id", service)])).await;
    let start = Instant::now();
    assert_eq!(told(&ask("short").await), (502, Some("connect")));
    assert!(start.elapsed() >= Duration::from_millis(400));
    let start = Instant::now();
    assert_eq!(told(&ask("never").await), (502, Some("connect")));
    assert_eq!(told(&ask("once").await), (502, Some("connect")));
    assert!(start.elapsed() < Duration::from_secs(4));
    assert_eq!(
        told(&client.send(get("/soon", &[])).await),
        (502, Some("connect")),
        "before its deadline, which says less"
    );
    at_rest(&router, "short").await;
}

/// However long an instance takes to answer, it keeps no other request from waiting.
#[tokio::test]
async fn whoever_is_connected_to_makes_room_before_it_answers() {
    let gate = Gate::new();
    let instance = Instance::h2c().answer(held_by(&gate)).start().await;
    let router = Config::new().service("pets", &[instance.url()]).start();
    instance.kill().await;
    let client = router.client(Front::H2c).await;
    let stream = open(&client, "/", "pets").await;
    until(&router, "pets", "held", 1).await;
    instance.restart_on_same_port().await;
    eventually("it is asked", || instance.counts().requests() == 1).await;
    until(&router, "pets", "held", 0).await;
    gate.open();
    assert_eq!(bounded("an answer", stream.answer()).await.unwrap().text(), "done");
    at_rest(&router, "pets").await;
}

/// It leaves its registry, then it stops; a moment later its successor comes. What arrived between is sent to that one.
#[tokio::test]
async fn the_request_that_finds_the_last_one_gone_waits_as_the_others_do() {
    let (router, registrar) = start(Config::new()).await;
    let [old, new] = [Instance::h2c().named("old").start().await, Instance::h2c().named("new").start().await];
    registrar.register("pets", &old).await;
    serving(&router, "pets", &["old"]).await;
    let client = router.client(Front::H2c).await;
    old.kill().await;
    let found = open(&client, "/", "pets").await;
    until(&router, "pets", "held", 1).await;
    registrar.deregister("pets", &old).await;
    serving(&router, "pets", &[]).await;
    let late = open(&client, "/", "pets").await;
    until(&router, "pets", "held", 2).await;
    registrar.register("pets", &new).await;
    for stream in [found, late] {
        assert_eq!(bounded("an answer", stream.answer()).await.unwrap().json()["instance"], "new");
    }
    at_rest(&router, "pets").await;
}

/// One that is exposed by a tag of its instances is still known when the last of them left.
#[tokio::test]
async fn a_service_exposed_by_tag_is_waited_for_too() {
    let (router, registrar) = start(Config::new().set("expose", "{ tag: public }")).await;
    let instance = Instance::h2c().named("one").start().await;
    let tagged = serde_json::json!({ "tags": ["public"] });
    registrar.register_as("pets", &instance, tagged.clone()).await;
    serving(&router, "pets", &["one"]).await;
    registrar.deregister("pets", &instance).await;
    serving(&router, "pets", &[]).await;
    let client: Client = router.client(Front::H2c).await;
    let stream = open(&client, "/", "pets").await;
    until(&router, "pets", "held", 1).await;
    // A reload forgets neither those who wait nor who may.
    let again = Config::new().set("registries", IN_MEMORY).set("expose", "{ tag: public }");
    let settings = settings::parse(&again.yaml(), std::path::Path::new("again.yml"), &|_| None).unwrap();
    router.router.replace(settings).await.unwrap();
    let second = open(&client, "/", "pets").await;
    until(&router, "pets", "held", 2).await;
    registrar.register_as("pets", &instance, tagged).await;
    for stream in [stream, second] {
        assert_eq!(stream.answer().await.unwrap().status, 200);
    }
}

/// The table named somebody when the request came, and he had left by the time that this was found out.
#[tokio::test]
async fn a_request_that_met_nobody_by_an_old_table_waits_as_a_new_one_would() {
    let (router, registrar) = start(Config::new().set("timeouts", "{ connect: 1s }")).await;
    let hole = BlackHole::new().await;
    let gone = serde_json::json!({ "name": "pets", "id": "gone", "ip": "127.0.0.1", "port": hole.addr().port(),
        "protocol": "h2c", "ttl": "none" });
    assert_eq!(registrar.ask("register", &gone).await.status, 200);
    serving(&router, "pets", &["gone"]).await;
    let client = router.client(Front::H2c).await;
    let head = http::Request::post("/").header("service_id", "pets").body(()).unwrap();
    let stream = client.open(head, true).await.unwrap();
    until(&router, "pets", "in_flight", 1).await;
    assert_eq!(registrar.ask("deregister", &serde_json::json!({ "name": "pets", "id": "gone" })).await.status, 200);
    serving(&router, "pets", &[]).await;
    until(&router, "pets", "held", 1).await;
    let instance = Instance::h2c().named("one").start().await;
    registrar.register("pets", &instance).await;
    assert_eq!(stream.answer().await.unwrap().json()["instance"], "one");
    eventually("once", || instance.counts().requests() == 1).await;
    at_rest(&router, "pets").await;
}

/// The same after more tries than a request has at instances that rest.
#[tokio::test]
async fn a_request_that_met_five_who_are_gone_waits_for_the_sixth() {
    let (router, registrar) = start(Config::new().set("timeouts", "{ connect: 600ms }")).await;
    let hole = BlackHole::new().await;
    let ids = ["a", "b", "c", "d", "e"];
    for id in ids {
        let gone = serde_json::json!({ "name": "pets", "id": id, "ip": "127.0.0.1", "port": hole.addr().port(),
            "protocol": "h2c", "ttl": "none" });
        assert_eq!(registrar.ask("register", &gone).await.status, 200);
    }
    serving(&router, "pets", &ids).await;
    let client = router.client(Front::H2c).await;
    let stream = open(&client, "/", "pets").await;
    rig::until(&router, "pets", "four are out", |members| {
        members.values().filter(|member| member["admission"] != "in").count() == 4
    })
    .await;
    for id in ids {
        assert_eq!(registrar.ask("deregister", &serde_json::json!({ "name": "pets", "id": id })).await.status, 200);
    }
    until(&router, "pets", "held", 1).await;
    let instance = Instance::h2c().named("one").start().await;
    registrar.register("pets", &instance).await;
    assert_eq!(stream.answer().await.unwrap().json()["instance"], "one");
    at_rest(&router, "pets").await;
}
