//! A core that has too much in hand.

use std::time::Duration;

use testkit::{Gate, Instance, Reply, eventually, get};

use super::{at_rest, open};
use crate::{
    discover::rig::admin,
    support::{Config, Front, told},
};

#[tokio::test]
async fn above_the_limit_new_requests_are_refused_and_the_connection_goes_on() {
    let gate = Gate::new();
    let held = gate.clone();
    let instance = Instance::h2c().answer(move |_| Reply::script().gate(&held).head(200)).start().await;
    let config = Config::new().set("shedding", "{ requests: 10 }").service("pets", &[instance.url()]);
    let router = config.set("services", "{ '*': { concurrency: { requests: off } } }").start();
    let client = router.client(Front::H2c).await;
    let mut streams = Vec::new();
    // Up to four fifths none is refused, and the tenth would be for certain.
    for _ in 0..8 {
        streams.push(open(&client, "/", "pets").await);
    }
    eventually("eight are under way", || instance.counts().in_flight() == 8).await;
    let mut refused = 0;
    while streams.len() < 9 {
        let stream = open(&client, "/", "pets").await;
        let reached = || instance.counts().in_flight() == 9;
        if testkit::wait_for(reached, Duration::from_millis(100)).await {
            streams.push(stream);
        } else {
            assert_eq!(told(&stream.answer().await.unwrap()), (503, Some("shed")));
            refused += 1;
            assert!(refused < 100, "half of them should pass");
        }
    }
    for front in Front::ALL {
        let answer = router.client(front).await.send(get("/", &[("service_id", "nobody")])).await;
        assert_eq!((told(&answer), answer.header("retry-after")), ((503, Some("shed")), Some("1")), "{front:?}");
    }
    assert_eq!(admin(router.admin(), "/health/ready").await.status, 200);
    let shown = admin(router.admin(), "/table").await.json();
    assert_eq!(shown["cores"][0]["requests"], 9);
    gate.open();
    for stream in streams {
        assert_eq!(stream.answer().await.unwrap().status, 200, "on the same connection");
    }
    assert_eq!(client.send(get("/", &[("service_id", "pets")])).await.status, 200);
    at_rest(&router, "pets").await;
}
