//! A peer that is gone without a word, under a connection that many requests share.

use testkit::{Gate, Instance, Reply, Wire, bounded, eventually, get, post};

use crate::support::{Config, Front, told};

#[tokio::test]
async fn a_silent_connection_is_found_out_and_the_next_request_has_a_new_one() {
    let gate = Gate::new();
    let instance = Instance::h2c().on("/held", Reply::script().gate(&gate)).start().await;
    let wire = Wire::new(instance.addr()).await;
    let router = Config::new().service("pets", &[format!("h2c://{}", wire.addr())]).start();
    let client = router.client(Front::H2c).await;
    assert_eq!(client.send(get("/", &[("service_id", "pets")])).await.status, 200);
    // What may be repeated would be, on connections that are as silent.
    let ask = || client.send(post("/held", &[("service_id", "pets")], ""));
    // Far less than the 15 s a response head may take: PING finds it.
    let waiting = async { tokio::join!(ask(), ask(), ask()) };
    let pause = async {
        eventually("three requests under way", || instance.counts().in_flight() == 3).await;
        wire.pause();
    };
    let ((one, two, three), ()) = bounded("three answers", async { tokio::join!(waiting, pause) }).await;
    for answer in [one, two, three] {
        assert_eq!(told(&answer), (502, Some("reset")));
    }
    router.settled("pets").await;
    wire.resume();
    assert_eq!(client.send(get("/", &[("service_id", "pets")])).await.status, 200);
    assert_eq!(instance.counts().connections(), 2);
}
