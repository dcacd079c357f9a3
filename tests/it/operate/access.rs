//! The access log: one line for each request, whichever way it ended.

use std::{collections::BTreeMap, fs};

use serde_json::Value;
use testkit::{Gate, Instance, Reply, eventually, get, post};

use crate::support::{Config, Front, nobody};

/// Asks in every way a request can end, and returns the log.
async fn written(format: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let gate = Gate::new();
    let held = Reply::script().gate(&gate);
    let pets = Instance::h2c().named("pets").on("/held", held).on("/late", Reply::silence()).start().await;
    let refusing = format!("http://{}", nobody().await);
    let router = Config::new()
        .service("pets", &[pets.url()])
        .service("gone", std::slice::from_ref(&refusing))
        .service("half", &[refusing, pets.url()])
        .set("services", "{ '*': { warm_hold: off }, half: { balance: round_robin } }")
        .set(
            "routes",
            "[ { prefix: /late, service: pets, name: late, timeouts: { head: 50ms } }, \
               { prefix: /gone, service: gone, fallback: { service: nowhere } }, { prefix: /nowhere, service: nowhere } ]",
        )
        .set("access_log", &format!("{{ file: {file:?}, format: {format} }}"))
        .start();
    let client = router.client(Front::H2Tls).await;
    let named = |service: &'static str, id: &'static str| [("service_id", service), ("x-correlation-id", id)];
    assert_eq!(client.send(post("/ok?secret=1", &named("pets", "id-ok"), "12345")).await.status, 200);
    // Round robin comes by the one that refuses in one of two.
    for id in ["id-retry-1", "id-retry-2"] {
        assert_eq!(client.send(get("/", &named("half", id))).await.status, 200);
    }
    assert_eq!(client.send(get("/late", &[("x-correlation-id", "id-late")])).await.status, 504);
    assert_eq!(client.send(get("/", &named("nobody", "id-nobody"))).await.status, 503);
    assert_eq!(client.send(get("/gone", &[("x-correlation-id", "id-instead")])).await.status, 503);
    let request = http::Request::get("/held").header("service_id", "pets").header("x-correlation-id", "id-gone");
    let mut gone = client.open(request.body(()).unwrap(), true).await.unwrap();
    eventually("the request is under way", || pets.counts().in_flight() == 1).await;
    gone.reset(8);
    eventually("the instance is told", || pets.counts().in_flight() == 0).await;
    drop(client);
    drop(router); // writes what is queued
    fs::read_to_string(&file).unwrap()
}

#[tokio::test]
async fn every_request_leaves_one_line_of_json() {
    let text = written("json").await;
    let mut lines = BTreeMap::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let id = line["correlation_id"].as_str().unwrap().to_owned();
        assert!(lines.insert(id, line).is_none(), "twice: {text}");
    }
    assert_eq!(lines.len(), 7, "{text}");
    assert!(!text.contains("secret"), "query strings stay out unless asked for");
    let ok = &lines["id-ok"];
    let expected = [("service", "pets"), ("method", "POST"), ("path", "/ok"), ("protocol", "HTTP/2.0")];
    assert!(expected.iter().all(|(name, value)| ok[*name] == *value), "{ok:#}");
    assert!(ok["status"] == 200 && ok["attempts"] == 1 && ok["request_bytes"] == 5, "{ok:#}");
    assert!(ok["instance"].as_str().unwrap().starts_with("127.0.0.1:") && ok.get("reason").is_none(), "{ok:#}");
    let time = |line: &Value, name: &str| line[name].as_u64().unwrap_or_else(|| panic!("{name}: {line:#}"));
    assert!(time(ok, "connect_us") <= time(ok, "head_us") && time(ok, "head_us") <= time(ok, "total_us"), "{ok:#}");

    let attempts = ["id-retry-1", "id-retry-2"].map(|id| time(&lines[id], "attempts"));
    assert_eq!(attempts.iter().sum::<u64>(), 3, "one of the two met the instance that refuses: {text}");
    let facts = |id: &str| {
        let line = &lines[id];
        (line["status"].as_u64(), line["reason"].as_str(), line["service"].as_str(), line["route"].as_str())
    };
    assert_eq!(facts("id-late"), (Some(504), Some("head_timeout"), Some("pets"), Some("late")));
    assert!(time(&lines["id-late"], "total_us") >= 50_000);
    assert_eq!(facts("id-nobody"), (Some(503), Some("no_service"), Some("nobody"), None));
    assert_eq!(facts("id-gone"), (Some(499), Some("client"), Some("pets"), None));
    assert_eq!(lines["id-nobody"]["attempts"], 0);
    let instead = &lines["id-instead"];
    assert_eq!((&instead["service"], &instead["fallback"]), (&"nowhere".into(), &"service".into()), "{instead:#}");
    assert!(instead.get("instance").is_none(), "that is none of this service: {instead:#}");
}

#[tokio::test]
async fn every_request_leaves_one_line_of_text() {
    let text = written("text").await;
    assert_eq!(text.lines().count(), 7, "{text}");
    let of = |id: &str| text.lines().find(|line| line.contains(&format!("correlation_id={id}"))).unwrap();
    for part in ["time=", " method=POST ", " path=/ok ", " service=pets ", " status=200 ", " attempts=1 ", " total_us="]
    {
        assert!(of("id-ok").contains(part), "{part}: {}", of("id-ok"));
    }
    assert!(of("id-late").contains(" reason=head_timeout "), "{}", of("id-late"));
}
