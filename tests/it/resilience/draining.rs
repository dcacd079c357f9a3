//! Instances that leave: what is under way there ends well, and nothing new comes unless nobody else is there.

use std::time::Duration;

use http::Request;
use serde_json::json;
use testkit::{Client, Gate, Instance, Reply, Stream, bounded, eventually, get, grpc_message, post, request};
use tokio::time::Instant;

use super::{at_rest, open};
use crate::{
    discover::rig::{IN_MEMORY, Load, Registrar, instances, serving, until},
    support::{Back, Config, Front, Running},
};

/// A router whose instances have a second to end what is under way.
async fn start() -> (Running, Registrar) {
    let services = "{ '*': { drain: 1s, balance: round_robin } }";
    let router = Config::new().set("registries", IN_MEMORY).set("services", services).start();
    let registrar = Registrar::of(&router).await;
    (router, registrar)
}

/// Asks the admin listener to put an instance out, or to let it in.
async fn say(router: &Running, instance: &str, verb: &str) {
    let path = format!("/table/pets/{instance}/{verb}");
    let answer = Client::http(router.admin()).await.send(post(&path, &[], "")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Begins maintenance of an instance in its registry, or ends it.
async fn maintain(router: &Running, on: bool) {
    let registry = Client::http(router.registry("local")).await;
    let body = json!({ "enabled": on }).to_string();
    let answer = registry.send(request("PUT", "/registry/services/pets/instances/a/maintenance", &[], body)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// A stream that does not end, of the type that was asked for; it does not wait for the end of the request either.
fn endless(seen: &testkit::Seen) -> Reply {
    let kind = seen.header("content-type").unwrap_or("text/event-stream").to_owned();
    let begun = if kind == "application/grpc" { grpc_message(b"1") } else { "data: 1\n\n".into() };
    Reply::unread().head(200).header("content-type", &kind).data(begun).hang()
}

/// One whose answers are such streams.
async fn streamer(name: &str) -> Instance {
    Instance::h2c().named(name).answer(endless).start().await
}

async fn stream(client: &Client, kind: &str) -> Stream {
    let head = Request::builder().uri("/").header("service_id", "pets").header("content-type", kind);
    client.open(head.body(()).expect("a request"), true).await.expect("a stream")
}

/// Traefik 41.
#[tokio::test]
async fn an_instance_put_out_by_an_operator_gets_nothing_new_and_finishes_what_it_has() {
    let (router, registrar) = start().await;
    let gate = Gate::new();
    let held = gate.clone();
    let out = Instance::h2c().named("a").answer(move |_| Reply::script().gate(&held).head(200).data("done"));
    let (out, other) = (out.start().await, Instance::h2c().named("b").start().await);
    registrar.register("pets", &out).await;
    serving(&router, "pets", &["a"]).await;
    let client = router.client(Front::H2c).await;
    let under_way = open(&client, "/", "pets").await;
    eventually("it is at the instance", || out.counts().in_flight() == 1).await;
    registrar.register("pets", &other).await;
    serving(&router, "pets", &["a", "b"]).await;
    say(&router, "a", "drain").await;
    let load = Load::start(&router, &[Front::H1, Front::H2c], "pets").await;
    load.more(50).await;
    assert_eq!(load.end().await.keys().collect::<Vec<_>>(), ["b"]);
    assert_eq!(out.counts().requests(), 1);
    gate.open();
    assert_eq!(under_way.answer().await.unwrap().text(), "done", "what it had, it finished");

    // Put out, it still serves better than nobody.
    registrar.deregister("pets", &other).await;
    serving(&router, "pets", &["a"]).await;
    assert_eq!(client.send(get("/", &[("service_id", "pets")])).await.text(), "done");
    registrar.register("pets", &other).await;
    serving(&router, "pets", &["a", "b"]).await;
    say(&router, "a", "undrain").await;
    let before = out.counts().requests();
    for _ in 0..4 {
        client.send(get("/", &[("service_id", "pets")])).await;
    }
    assert_eq!(out.counts().requests() - before, 2);
    at_rest(&router, "pets").await;
}

#[tokio::test]
async fn long_streams_end_well_and_spread_when_their_instance_leaves() {
    for how in ["drain", "maintenance", "deregister"] {
        let (router, registrar) = start().await;
        let instance = streamer("a").await;
        registrar.register("pets", &instance).await;
        serving(&router, "pets", &["a"]).await;
        let clients = [router.client(Front::H2c).await, router.client(Front::H1).await];
        let events = async || {
            let mut streams = Vec::new();
            for _ in 0..20 {
                streams.push(stream(&clients[0], "text/event-stream").await);
            }
            streams
        };
        let events = events().await;
        let grpc = stream(&clients[0], "application/grpc").await;
        let h1 = clients[1].send(get("/", &[("service_id", "pets")]));
        let leaves = async {
            eventually("all are at the instance", || instance.counts().in_flight() == 22).await;
            let start = Instant::now();
            match how {
                "drain" => say(&router, "a", "drain").await,
                "deregister" => registrar.deregister("pets", &instance).await,
                _ => {
                    maintain(&router, true).await;
                }
            }
            let ends: Vec<_> = events
                .into_iter()
                .map(|stream| tokio::spawn(async move { (stream.answer().await, start.elapsed()) }))
                .collect();
            for end in ends {
                let (answer, after) = end.await.unwrap();
                assert_eq!(answer.expect("a clean end").text(), "data: 1\n\n", "{how}");
                // In the last fifth of the time they have, and none before.
                assert!(after >= Duration::from_millis(800), "{how}: {after:?}");
            }
        };
        let (h1, ()) = bounded("all streams end", async { tokio::join!(h1, leaves) }).await;
        assert_eq!(h1.text(), "data: 1\n\n", "{how}: complete, by HTTP/1's rules too");
        let answer = grpc.answer().await.expect("trailers");
        assert_eq!(answer.trailer("grpc-status"), Some("14"), "{how}");
        eventually("the instance was told", || instance.counts().in_flight() == 0).await;
    }
}

#[tokio::test]
async fn streams_end_well_whatever_their_instance_speaks() {
    for back in Back::ALL {
        let config = Config::new().set("registries", IN_MEMORY);
        let tls = format!("tls: {{ ca: {:?}, server_name: localhost }}", config.certs().ca());
        let instance = back.instance(config.certs()).named("a").answer(endless).start().await;
        let router = config.set("services", &format!("{{ '*': {{ drain: 400ms, {tls} }} }}")).start();
        Registrar::of(&router).await.register("pets", &instance).await;
        serving(&router, "pets", &["a"]).await;
        let client = router.client(Front::H2c).await;
        let events = stream(&client, "text/event-stream").await;
        // A call in both directions, whose client has not said all of it.
        let head = Request::post("/").header("service_id", "pets").header("content-type", "application/grpc");
        let call = match back.is_h2() {
            true => Some(client.open(head.body(()).unwrap(), false).await.expect("a stream")),
            false => None,
        };
        let streams = 1 + u64::from(call.is_some());
        eventually("all are at the instance", || instance.counts().in_flight() == streams).await;
        let start = Instant::now();
        say(&router, "a", "drain").await;
        let answer = bounded("an end", events.answer()).await.expect("a clean end");
        assert_eq!(answer.text(), "data: 1\n\n", "{back:?}");
        if let Some(call) = call {
            let answer = bounded("an end", call.answer()).await.expect("trailers");
            assert_eq!(
                (answer.body.as_ref(), answer.trailer("grpc-status")),
                (grpc_message(b"1").as_ref(), Some("14")),
                "{back:?}"
            );
        }
        assert!(start.elapsed() >= Duration::from_millis(320), "{back:?}");
        eventually("the instance was told", || instance.counts().in_flight() == 0).await;
        at_rest(&router, "pets").await;
    }
}

#[tokio::test]
async fn a_stream_goes_on_when_its_instance_stays_after_all_and_when_others_change() {
    let (router, registrar) = start().await;
    let instance = streamer("a").await;
    let others = instances(&["b", "c"]).await;
    registrar.register("pets", &instance).await;
    serving(&router, "pets", &["a"]).await;
    let client = router.client(Front::H2c).await;
    let stream = open(&client, "/", "pets").await;
    eventually("it is at the instance", || instance.counts().in_flight() == 1).await;
    say(&router, "a", "drain").await;
    say(&router, "a", "undrain").await;
    for other in &others {
        registrar.register("pets", other).await;
        registrar.register("cats", other).await;
        registrar.deregister("pets", other).await;
    }
    maintain(&router, true).await;
    until(&router, "pets", "it rests", |members| members["a"]["standing"] == "draining").await;
    maintain(&router, false).await;
    serving(&router, "pets", &["a"]).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!((instance.counts().in_flight(), instance.counts().connections()), (1, 1));
    drop(stream);
    at_rest(&router, "pets").await;
}

#[tokio::test]
async fn a_message_under_way_is_broken_off_when_the_time_is_over_and_the_log_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let router = Config::new()
        .set("registries", IN_MEMORY)
        .set("services", "{ '*': { drain: 400ms } }")
        .set("access_log", &format!("{{ file: {file:?}, format: json }}"))
        .start();
    let registrar = Registrar::of(&router).await;
    // Half of a message, and no more of it.
    let half = |_: &testkit::Seen| {
        let message = grpc_message(&[b'1'; 100]);
        Reply::unread().head(200).header("content-type", "application/grpc").data(message.slice(..50)).hang()
    };
    let instance = Instance::h2c().named("a").answer(half).start().await;
    registrar.register("pets", &instance).await;
    serving(&router, "pets", &["a"]).await;
    let client = router.client(Front::H2c).await;
    let call = stream(&client, "application/grpc").await;
    eventually("it is at the instance", || instance.counts().in_flight() == 1).await;
    let start = Instant::now();
    registrar.deregister("pets", &instance).await;
    let end = bounded("an end", call.answer()).await;
    assert!(end.is_err(), "half a message is no end: {end:?}");
    assert!(start.elapsed() >= Duration::from_millis(400), "it had its time");
    drop((client, router)); // writes what is queued
    let log = std::fs::read_to_string(&file).unwrap();
    let line: serde_json::Value = serde_json::from_str(log.lines().next().expect("a line")).unwrap();
    assert_eq!((&line["reason"], &line["status"]), (&"reset".into(), &200.into()), "{line}");
}
