//! An instance leaves while it still works: what it has begun it ends.

use serde_json::Value;
use testkit::{Client, Gate, Instance, Reply, Stream, eventually, get};

use super::rig::{IN_MEMORY, Load, Registrar, serving};
use crate::support::{Config, Front};

/// What the long response sends after the instance left.
const REST: usize = 1024 * 1024;

/// linkerd 10406.
/// Envoy 440, 27863.
#[tokio::test]
async fn streams_on_two_cores_end_in_order_on_an_instance_that_left() {
    let router = Config::new().set("threads", "2").set("registries", IN_MEMORY).start();
    let registrar = Registrar::of(&router).await;
    let gate = Gate::new();
    let long = Reply::script().head(200).data("begun").gate(&gate).data(vec![b'.'; REST]);
    let leaving = Instance::h2c().named("leaving").on("/long", long).start().await;
    registrar.register("pets", &leaving).await;
    serving(&router, "pets", &["leaving"]).await;

    // The acceptor gives each connection to the core with the fewest: two clients have two cores, and each core its own
    // connection to the instance.
    let clients = [router.client(Front::H2c).await, router.client(Front::H2Tls).await];
    let mut streams = Vec::new();
    for client in &clients {
        streams.push(begin(client).await);
    }
    assert_eq!((leaving.counts().connections(), leaving.counts().in_flight()), (2, 2));

    let staying = Instance::h2c().named("staying").start().await;
    registrar.register("pets", &staying).await;
    registrar.deregister("pets", &leaving).await;
    serving(&router, "pets", &["staying"]).await;
    for client in &clients {
        for _ in 0..10 {
            let answer = client.send(get("/", &[("service_id", "pets")])).await;
            assert_eq!((answer.status.as_u16(), &answer.json()["instance"]), (200, &Value::from("staying")));
        }
    }
    assert_eq!((leaving.counts().requests(), leaving.counts().open()), (2, 2), "no new streams, and nothing cut off");

    gate.open();
    for mut stream in streams {
        let mut rest = 0;
        while let Some(piece) = stream.next().await.expect("the response goes on") {
            rest += piece.len();
        }
        assert_eq!(rest, REST);
    }
    eventually("both connections to it are closed", || leaving.counts().open() == 0).await;
    assert_eq!((leaving.counts().completed(), leaving.counts().aborted()), (2, 0));
}

/// SIGTERM reaches an instance before anybody tells the router: it closes its port, ends what it has begun, and is gone. Again
/// and again, each time under load.
/// Traefik 4452, 7010.
/// Fabio 578, 704.
/// Fabio 991.
/// Kubernetes 43576.
#[tokio::test]
async fn an_instance_that_ends_before_its_registry_says_so_costs_no_request() {
    for instances in [[Instance::http(), Instance::http()], [Instance::h2c(), Instance::h2c()]] {
        let router = Config::new().set("registries", IN_MEMORY).start();
        let registrar = Registrar::of(&router).await;
        let [leaving, staying] = instances;
        let (leaving, staying) = (leaving.named("leaving").start().await, staying.named("staying").start().await);
        registrar.register("pets", &leaving).await;
        registrar.register("pets", &staying).await;
        serving(&router, "pets", &["leaving", "staying"]).await;
        let load = Load::start(&router, &Front::ALL, "pets").await;
        for _ in 0..5 {
            let before = leaving.counts().requests();
            eventually("it is asked", || leaving.counts().requests() > before + 10).await;
            leaving.stop_accepting().await;
            leaving.drain();
            load.more(100).await;
            eventually("it has ended all it began", || leaving.counts().open() == 0).await;
            leaving.restart_on_same_port().await;
        }
        registrar.deregister("pets", &leaving).await;
        serving(&router, "pets", &["staying"]).await;
        load.end().await;
        assert_eq!(leaving.counts().aborted(), 0);
    }
}

async fn begin(client: &Client) -> Stream {
    let request = http::Request::get("/long").header("service_id", "pets").body(()).unwrap();
    let mut stream = client.open(request, true).await.unwrap();
    assert_eq!(stream.head().await.unwrap().status(), 200);
    assert_eq!(stream.next().await.unwrap().as_deref(), Some(&b"begun"[..]));
    stream
}

/// Envoy 440, 27863.
#[tokio::test]
async fn an_upload_under_way_ends_in_order_on_an_instance_that_left() {
    let router = Config::new().set("registries", IN_MEMORY).start();
    let registrar = Registrar::of(&router).await;
    let leaving = Instance::http().named("leaving").on("/echo", Reply::mirror()).start().await;
    registrar.register("pets", &leaving).await;
    serving(&router, "pets", &["leaving"]).await;
    let client = router.client(Front::H2c).await;
    let request = http::Request::post("/echo").header("service_id", "pets").body(()).unwrap();
    let mut stream = client.open(request, false).await.unwrap();
    stream.data("half ".into()).await.unwrap();
    assert_eq!(stream.head().await.unwrap().status(), 200);
    registrar.deregister("pets", &leaving).await;
    serving(&router, "pets", &[]).await;
    stream.data("whole".into()).await.unwrap();
    stream.finish().unwrap();
    let mut echoed = Vec::new();
    while let Some(piece) = stream.next().await.unwrap() {
        echoed.extend_from_slice(&piece);
    }
    assert_eq!(echoed, b"half whole");
    eventually("the connection to it is closed", || leaving.counts().open() == 0).await;
}
