//! The circuit breaker of a whole service.

use std::time::Duration;

use testkit::{Instance, Reply, get, post};

use super::page;
use crate::support::{Config, Front, told};

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
