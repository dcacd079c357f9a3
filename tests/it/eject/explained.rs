//! What `explain` says of an instance that was put out, until it is back.

use serde_json::{Value, json};
use testkit::{Client, Instance, Reply, get, post};

use super::until_circuit;
use crate::support::{Config, Front, Running, nobody};

/// What is said of the instance at this address, and whether requests go there.
async fn said(router: &Running, address: &str) -> (bool, String) {
    let question =
        json!({ "method": "GET", "path": "/", "headers": [ [ "service_id", "pets" ] ], "host": "localhost" });
    let answer = Client::http(router.admin()).await.send(post("/explain", &[], question.to_string())).await.json();
    let all = answer["service"]["instances"].as_array().unwrap_or_else(|| panic!("{answer}"));
    let found: &Value = all.iter().find(|instance| instance["address"] == address).expect("the instance");
    (found["takes"].as_bool().unwrap(), found["why"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn an_instance_is_told_out_then_tried_then_in() {
    let bad = Instance::h2c().answer(|_| Reply::status(503)).start().await;
    let good = Instance::h2c().start().await;
    let services = r#"{ "*": { balance: round_robin, eject: { base: 1s } } }"#;
    let router = Config::new().service("pets", &[bad.url(), good.url()]).set("services", services).start();
    let client = router.client(Front::H2c).await;
    let (address, named) = (bad.addr().to_string(), [("service_id", "pets")]);
    assert_eq!(said(&router, &address).await, (true, "takes requests".to_owned()));
    while bad.counts().requests() < 5 {
        client.send(post("/", &named, "x")).await;
    }
    let (_, why) = said(&router, &address).await;
    assert!(
        why.starts_with("out (consecutive) for ")
            && why.ends_with("the next request may try it, and an answer lets all in"),
        "{why}"
    );

    // Its rest over, one request tries it, and waits for an answer.
    bad.answer(|_| Reply::silence());
    let mut asking = Vec::new();
    testkit::bounded("a request tries it", async {
        while bad.counts().in_flight() == 0 {
            let request = http::Request::get("/").header("service_id", "pets").body(()).unwrap();
            asking.push(client.open(request, true).await.unwrap());
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    until_circuit(&router, &bad.url(), Some("half_open")).await;
    let (takes, why) = said(&router, &address).await;
    let expected = "; it is tried now: an answer lets all in, a failure begins a longer rest";
    assert!(!takes && why.starts_with("out (consecutive) for ") && why.ends_with(expected), "{why}");
}

#[tokio::test]
async fn an_instance_that_cannot_be_connected_to_is_told_to_be_knocked_at() {
    let (gone, good) = (nobody().await, Instance::http().start().await);
    let services = r#"{ "*": { balance: round_robin, eject: { base: 1h, longest: 1h } } }"#;
    let config = Config::new().service("pets", &[format!("http://{gone}"), good.url()]);
    let router = config.set("services", services).start();
    let client = router.client(Front::H1).await;
    for _ in 0..2 {
        assert_eq!(client.send(get("/", &[("service_id", "pets")])).await.status, 200);
    }
    let (takes, why) = said(&router, &gone.to_string()).await;
    let knocked =
        why.contains(" s more the next request has it knocked at; once a connection is there, a request tries it");
    assert!(!takes && why.starts_with("out (connect) for ") && knocked, "{why}");
}
