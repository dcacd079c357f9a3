//! Which request tries an instance whose rest is over.

use testkit::{Client, Instance, Reply, get, post};

use super::member;
use crate::support::{Config, Front};

async fn ask(client: &Client) {
    client.send(post("/", &[("service_id", "pets")], "x")).await;
}

#[tokio::test]
async fn an_upload_that_does_not_end_does_not_keep_an_instance_out() {
    let bad = Instance::h2c().answer(|_| Reply::status(503)).start().await;
    let good = Instance::h2c().start().await;
    let services = r#"{ "*": { balance: round_robin, eject: { base: 200ms } } }"#;
    let router = Config::new().service("pets", &[bad.url(), good.url()]).set("services", services).start();
    let client = router.client(Front::H2c).await;
    while bad.counts().requests() < 5 {
        ask(&client).await;
    }
    assert_eq!(member(&router, &bad.url()).await["circuit"]["state"], "open");
    bad.answer(|_| Reply::echo());
    // Each of these sends a byte and no more. One of them is the first that comes when the rest is over.
    let mut uploads = Vec::new();
    testkit::bounded("an upload tries it", async {
        while bad.counts().requests() == 5 {
            let head = http::Request::post("/").header("service_id", "pets").body(()).unwrap();
            let mut upload = client.open(head, false).await.unwrap();
            upload.data("x".into()).await.unwrap();
            uploads.push(upload);
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
    let state = member(&router, &bad.url()).await;
    assert_eq!(state["circuit"]["state"], "half_open", "{state}");
    testkit::bounded("it is back", async {
        while !member(&router, &bad.url()).await["circuit"].is_null() {
            assert_eq!(client.send(get("/", &[("service_id", "pets")])).await.status, 200);
        }
    })
    .await;
    assert!(bad.counts().in_flight() > 0, "the upload is still there");
}
