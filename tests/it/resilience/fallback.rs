//! What a route says for when nobody takes its requests.

use std::time::Duration;

use testkit::{Instance, Reply, get, post, request};
use tokio::time::Instant;

use super::at_rest;
use crate::support::{Config, Front, nobody, told};

#[tokio::test]
async fn a_fixed_answer_is_given_where_there_is_no_instance() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sorry.json");
    std::fs::write(&file, r#"{"pets":[]}"#).unwrap();
    let routes = format!(
        "[ {{ prefix: /a, service: a, fallback: {{ status: 200, body: none }} }}, \
           {{ prefix: /b, service: b, fallback: {{ status: 503, file: {file:?}, content_type: application/json }} }} ]"
    );
    let config = Config::new().set("routes", &routes).set("services", "{ '*': { warm_hold: off } }");
    let router = config.service("a", &[format!("h2c://{}", nobody().await)]).start();
    for front in Front::ALL {
        let client = router.client(front).await;
        let a = client.send(post("/a", &[], "body")).await;
        assert_eq!((a.status.as_u16(), a.text().as_str()), (200, "none"), "{front:?}");
        assert_eq!(a.header("x-pointsman-fallback"), Some("static"));
        assert_eq!(a.header("content-type"), Some("text/plain; charset=utf-8"));
        assert!(a.header("x-correlation-id").is_some());
        let b = client.send(get("/b", &[])).await;
        assert_eq!((b.status.as_u16(), b.text().as_str()), (503, r#"{"pets":[]}"#), "{front:?}");
        assert_eq!(b.header("content-type"), Some("application/json"));
        assert_eq!(client.send(request("HEAD", "/b", &[], "")).await.body.len(), 0, "{front:?}");
        let grpc = client.send(post("/a", &[("content-type", "application/grpc")], "")).await;
        assert_eq!((grpc.header("grpc-status"), grpc.header("x-pointsman-fallback")), (Some("14"), None), "{front:?}");
    }
    at_rest(&router, "a").await;
    let metrics = crate::discover::rig::admin(router.admin(), "/metrics").await.text();
    assert!(metrics.contains("pointsman_fallbacks_total{kind=\"static\"} 12"), "{metrics}");
}

#[tokio::test]
async fn another_service_answers_with_the_body_and_nothing_is_delivered_twice() {
    let busy = Instance::h2c().answer(|_| Reply::status(503)).start().await;
    let [other, broken] = [Instance::h2c().named("other"), Instance::h2c().answer(|_| Reply::closes())];
    let (other, broken) = (other.start().await, broken.start().await);
    let routes = "[ { prefix: /gone, service: gone, fallback: { service: other } }, \
                    { prefix: /busy, service: busy, fallback: { service: other, on_status: 503 } }, \
                    { prefix: /broken, service: broken, fallback: { service: other, on_status: [ 502 ] } }, \
                    { prefix: /plain, service: broken, fallback: { service: other } } ]";
    let config =
        Config::new().set("routes", routes).set("expose", "{}").set("services", "{ gone: { warm_hold: off } }");
    let config = config.service("gone", &[format!("http://{}", nobody().await)]).service("other", &[other.url()]);
    let router = config.service("busy", &[busy.url()]).service("broken", &[broken.url()]).start();
    for front in Front::ALL {
        let client = router.client(front).await;
        let answer = client.send(post("/gone/7", &[], "whole")).await;
        assert_eq!(answer.header("x-pointsman-fallback"), Some("service"), "{front:?}: {}", answer.text());
        let echo = answer.json();
        assert_eq!((&echo["instance"], &echo["body_bytes"]), (&"other".into(), &5.into()), "{front:?}");
        // It answered, so what it was sent is not sent again unless that does no harm.
        let by_busy = client.send(post("/busy", &[], "")).await;
        assert_eq!((by_busy.status.as_u16(), by_busy.header("x-pointsman-fallback")), (503, None), "{front:?}");
        assert_eq!(client.send(get("/busy", &[])).await.json()["instance"], "other", "{front:?}");
        assert_eq!(client.send(get("/broken", &[])).await.json()["instance"], "other", "{front:?}");
        assert_eq!(told(&client.send(post("/broken", &[], "")).await).0, 502, "{front:?}");
        assert_eq!(client.send(get("/plain", &[])).await.status, 502, "{front:?}");
    }
    assert_eq!(other.seen().iter().filter(|seen| seen.method == "POST").count(), 4);
    for service in ["gone", "busy", "broken", "other"] {
        at_rest(&router, service).await;
    }
}

#[tokio::test]
async fn a_fallback_that_is_gone_too_is_the_end() {
    let routes = "[ { prefix: /, service: a, fallback: { service: b } }, { prefix: /b, service: b, fallback: { status: 200 } } ]";
    let config = Config::new().set("routes", routes).set("services", "{ '*': { warm_hold: off } }");
    let router = config.service("a", &[format!("http://{}", nobody().await)]).start();
    let answer = router.client(Front::H2c).await.send(get("/", &[])).await;
    assert_eq!((told(&answer), answer.header("x-pointsman-fallback")), ((503, Some("no_instance")), None));
}

/// A restart of the only instance is waited for where somebody said so, and never until the deadline: then it is too late.
#[tokio::test]
async fn it_is_given_at_once_where_no_instance_can_be_connected_to_and_before_the_deadline_where_one_is_waited_for() {
    let routes = "[ { prefix: /now, service: now, fallback: { status: 200, body: now } }, \
                    { prefix: /other, service: now, fallback: { service: other } }, \
                    { prefix: /waits, service: waits, timeout: 400ms, fallback: { status: 200, body: late } }, \
                    { prefix: /empty, service: empty, timeout: 400ms, fallback: { status: 200, body: empty } } ]";
    let config = Config::new().set("routes", routes).set("services", "{ waits: { warm_hold: 60s } }");
    let [gone, other] = [Instance::h2c().start().await, Instance::h2c().named("other").start().await];
    let config = config.service("now", &[gone.url()]).service("waits", &[gone.url()]).service("other", &[other.url()]);
    let router = config.start();
    gone.kill().await;
    let client = router.client(Front::H2c).await;
    let start = Instant::now();
    assert_eq!(client.send(post("/now", &[], "body")).await.text(), "now");
    assert_eq!(client.send(post("/other", &[], "body")).await.json()["instance"], "other");
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    let start = Instant::now();
    assert_eq!(client.send(post("/waits", &[], "body")).await.text(), "late");
    assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());
    assert_eq!(client.send(get("/empty", &[])).await.text(), "empty");
    for service in ["now", "waits", "other"] {
        at_rest(&router, service).await;
    }
}
