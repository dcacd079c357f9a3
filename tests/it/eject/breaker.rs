//! The circuit breaker of a whole service.

use std::time::Duration;

use testkit::{Client, Gate, Instance, Reply, get, post};

use super::page;
use crate::support::{Config, Front, Running, told};

#[tokio::test]
async fn an_open_circuit_answers_at_once_and_one_request_closes_it() {
    let instance = Instance::http().answer(|_| Reply::status(503)).start().await;
    let services = r#"{ pets: { breaker: { failures: 50%, requests: 6, window: 10s, open: 1s } } }"#;
    let router = Config::new().service("pets", &[instance.url()]).set("services", services).start();
    let client = router.client(Front::H2c).await;
    let ask = || client.send(post("/", &[("service_id", "pets")], "x"));
    for _ in 0..6 {
        assert_eq!(ask().await.header("x-pointsman-reason"), None, "the instance's own answer");
    }
    for _ in 0..20 {
        let answer = ask().await;
        assert_eq!(told(&answer), (503, Some("circuit_open")));
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    assert_eq!(instance.counts().requests(), 6, "nothing is sent");
    assert_eq!(router.table("pets").await["breaker"]["state"], "open");

    instance.answer(|_| Reply::echo());
    testkit::bounded("it closes", async {
        while ask().await.status != 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    for _ in 0..10 {
        assert_eq!(ask().await.status, 200);
    }
    assert_eq!(router.table("pets").await["breaker"]["state"], "closed");
    let metrics = page(&router, "/metrics").await;
    assert!(metrics.contains("pointsman_refusals_total{reason=\"circuit_open\"} "), "{metrics}");
}

/// What `/explain` says of a request: the state of the circuit, and why it would be refused, if so.
async fn explained(router: &Running) -> (String, Option<String>) {
    let question =
        serde_json::json!({ "method": "GET", "path": "/", "headers": [["service_id", "pets"]], "host": "a" });
    let admin = Client::http(router.admin()).await;
    let told = admin.send(post("/explain", &[], question.to_string())).await.json();
    let circuit = router.table("pets").await["breaker"]["state"].as_str().unwrap().to_owned();
    (circuit, told["refused"]["reason"].as_str().map(str::to_owned))
}

#[tokio::test]
async fn what_a_half_open_circuit_does_is_explained_and_explaining_takes_nobody_s_turn() {
    let gate = Gate::new();
    let held = Reply::script().gate(&gate).head(200).data("well");
    let instance = Instance::http().answer(|_| Reply::status(503)).on("/held", held).start().await;
    let services = "{ pets: { breaker: { failures: 50%, requests: 2, open: 3s } } }";
    let router = Config::new().service("pets", &[instance.url()]).set("services", services).start();
    let refused = || Some("circuit_open".to_owned());
    let client = router.client(Front::H2c).await;
    let ask = |path: &str| client.send(post(path, &[("service_id", "pets")], "x"));
    ask("/").await;
    ask("/").await;
    assert_eq!(explained(&router).await, ("open".to_owned(), refused()));
    testkit::until("a request would be let through", async || explained(&router).await.1, Option::is_none).await;
    // However often that is asked.
    assert_eq!(explained(&router).await.1, None);
    let watched = async {
        testkit::eventually("it is tried", || instance.counts().in_flight() == 1).await;
        let told_so = explained(&router).await;
        let answer = ask("/").await;
        gate.open();
        assert_eq!(told_so, ("half_open".to_owned(), refused()));
        assert_eq!(told(&answer), (503, refused().as_deref()), "as it was explained");
    };
    let (trial, ()) = tokio::join!(ask("/held"), watched);
    assert_eq!(trial.status, 200);
    testkit::until("it is closed", async || explained(&router).await, |now| *now == ("closed".to_owned(), None)).await;
}

#[tokio::test]
async fn what_clients_do_does_not_open_it() {
    let instance = Instance::http().answer(|_| Reply::status(500)).on("/silent", Reply::silence()).start().await;
    let services = "{ pets: { breaker: { requests: 3 } } }";
    let router = Config::new().service("pets", &[instance.url()]).set("services", services).start();
    for _ in 0..10 {
        let client = router.client(Front::H1).await;
        let asked = client.send(get("/silent", &[("service_id", "pets")]));
        assert!(tokio::time::timeout(Duration::from_millis(30), asked).await.is_err());
        assert_eq!(router.client(Front::H1).await.send(get("/", &[("service_id", "pets")])).await.status, 500);
    }
    assert_eq!(router.table("pets").await["breaker"]["state"], "closed");
}
