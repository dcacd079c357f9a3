//! Limits of time, each of which ends one exchange and nothing else.

use std::time::Duration;

use testkit::{BlackHole, Gate, Instance, Reply, Socket, bounded, eventually, get, post};

use super::head;
use crate::support::{Back, Config, Front, Matrix, told};

const CANCEL: u32 = 8;

#[tokio::test]
async fn an_instance_that_cannot_be_connected_to_is_a_502_after_the_connect_limit() {
    let hole = BlackHole::new().await;
    let config = Config::new().set("timeouts", "{ connect: 200ms }").set("services", "{ pets: { warm_hold: off } }");
    let router = config.service("pets", &[format!("http://{}", hole.addr())]).start();
    for front in Front::ALL {
        let answer = router.client(front).await.send(get("/", &[("service_id", "pets")])).await;
        assert_eq!(told(&answer), (502, Some("connect")), "{front:?}");
    }
}

#[tokio::test]
async fn another_instance_is_tried_when_one_cannot_be_connected_to() {
    let hole = BlackHole::new().await;
    let good = Instance::h2c().start().await;
    let urls = [format!("h2c://{}", hole.addr()), good.url()];
    let config = Config::new().set("timeouts", "{ connect: 200ms }").service("pets", &urls);
    let router = config.set("services", r#"{ "*": { balance: round_robin } }"#).start();
    let client = router.client(Front::H2c).await;
    for _ in 0..4 {
        assert_eq!(client.send(post("/", &[("service_id", "pets")], "body")).await.json()["body_bytes"], 4);
    }
    let table = router.table("pets").await;
    let failures = table["members"].as_array().expect("members").iter().map(|m| m["failures"].as_u64().unwrap());
    assert!(failures.sum::<u64>() > 0, "the other one was never tried: {table}");
    assert_eq!(good.counts().requests(), 4);
}

#[tokio::test]
async fn a_late_head_resets_its_stream_and_the_99_beside_it_go_on() {
    let gate = Gate::new();
    let instance = Instance::h2c().on("/slow", Reply::silence()).answer(held_by(&gate)).start().await;
    let routes = "[ { prefix: /slow, service: pets, timeouts: { head: 200ms } }, { prefix: /, service: pets } ]";
    let router = Config::new().service("pets", &[instance.url()]).set("routes", routes).start();
    let client = router.client(Front::H2c).await;
    let mut others = Vec::new();
    for _ in 0..99 {
        others.push(client.open(head("GET", "/held", "pets"), true).await.unwrap());
    }
    eventually("99 requests under way", || instance.counts().in_flight() == 99).await;
    let mut plain = head("GET", "/slow", "pets");
    plain.headers_mut().remove("service_id");
    let answer = client.open(plain, true).await.unwrap().answer().await.unwrap();
    assert_eq!(told(&answer), (504, Some("head_timeout")));
    eventually("one reset", || instance.counts().resets() == [CANCEL]).await;
    gate.open();
    for other in others {
        assert_eq!(other.answer().await.unwrap().status, 200);
    }
    assert_eq!(instance.counts().connections(), 1);
}

fn held_by(gate: &Gate) -> impl Fn(&testkit::Seen) -> Reply + Send + Sync + 'static {
    let gate = gate.clone();
    move |_| Reply::script().gate(&gate).head(200)
}

#[tokio::test]
async fn a_body_that_pauses_for_the_idle_time_breaks_off_and_a_steady_one_does_not() {
    const PAUSE: Duration = Duration::from_millis(100);
    let config = Config::new().set("timeouts", "{ idle: 400ms }");
    let matrix = Matrix::start(config, |seen| match seen.path() {
        "/steady" => Reply::script().head(200).pieces(7, 10, PAUSE),
        "/events" => {
            let head = Reply::script().head(200).header("content-type", "text/event-stream");
            head.data("one").wait(7 * PAUSE).data("two")
        }
        _ => Reply::script().head(200).data("some").hang(),
    })
    .await;
    let run = async |front, back: Back| {
        let client = matrix.router.client(front).await;
        let fields = [("service_id", back.service())];
        let answer = client.try_send(get("/stops", &fields)).await;
        assert!(answer.is_err(), "{front:?} to {back:?}: {answer:?}");
        let client = matrix.router.client(front).await;
        assert_eq!(client.send(get("/steady", &fields)).await.body.len(), 70, "{front:?} to {back:?}");
        assert_eq!(client.send(get("/events", &fields)).await.text(), "onetwo", "{front:?} to {back:?}");
    };
    for (front, back) in [(Front::H1, Back::H2c), (Front::H2c, Back::H1), (Front::H2Tls, Back::H2Tls)] {
        run(front, back).await;
        eventually("the instance is told", || matrix.instance(back).counts().aborted() == 1).await;
        matrix.router.settled(back.service()).await;
    }
}

#[tokio::test]
async fn the_total_limit_holds_however_steadily_the_body_comes() {
    const PAUSE: Duration = Duration::from_millis(20);
    let instance = Instance::h2c().answer(|_| Reply::script().head(200).pieces(1000, 10, PAUSE)).start().await;
    let routes = "[ { prefix: /, service: pets, timeout: 300ms } ]";
    let router = Config::new().service("pets", &[instance.url()]).set("routes", routes).start();
    for front in Front::ALL {
        let answer = router.client(front).await.try_send(get("/", &[])).await;
        assert!(answer.is_err(), "{front:?}: {answer:?}");
    }
    eventually("four resets", || instance.counts().resets() == [CANCEL; 4]).await;
    router.settled("pets").await;
}

#[tokio::test]
async fn grpc_has_no_head_limit_of_its_own_and_keeps_the_clients() {
    const LATE: Duration = Duration::from_millis(500);
    let late = |_: &_| Reply::script().wait(LATE).head(200).header("content-type", "application/grpc");
    let instance = Instance::h2c().answer(move |seen| late(seen).trailers(&[("grpc-status", "0")])).start().await;
    let config = Config::new().set("timeouts", "{ head: 200ms }").service("pets", &[instance.url()]);
    let router = config.start();
    let client = router.client(Front::H2c).await;
    let fields = [("service_id", "pets"), ("content-type", "application/grpc"), ("te", "trailers")];
    assert_eq!(client.send(post("/", &fields, "")).await.trailer("grpc-status"), Some("0"));
    let answer = client.send(post("/", &[&fields[..], &[("grpc-timeout", "100m")]].concat(), "")).await;
    assert_eq!((answer.header("grpc-status"), answer.header("x-pointsman-reason")), (Some("4"), Some("deadline")));
}

#[tokio::test]
async fn a_client_that_stops_sending_its_body_gets_408() {
    let config = Config::new().set("timeouts", "{ idle: 300ms }");
    let matrix = Matrix::start(config, |_| Reply::echo()).await;
    for back in Back::ALL {
        let service = back.service();
        let mut socket = Socket::connect(matrix.router.clear()).await;
        let head_and_part = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n";
        socket.send(format!("{head_and_part}service_id: {service}\r\n\r\nhalf")).await.unwrap();
        let answer = socket.read_response().await.expect("an answer");
        assert_eq!((answer.status(), answer.header("x-pointsman-reason")), (408, Some("client_timeout")), "{back:?}");

        let client = matrix.router.client(Front::H2c).await;
        let mut stream = client.open(head("POST", "/", service), false).await.unwrap();
        stream.data("half".into()).await.unwrap();
        let answer = bounded("an answer", stream.answer()).await.unwrap();
        assert_eq!(answer.status, 408, "{back:?}");
        matrix.router.settled(service).await;
        eventually("both are given up", || matrix.instance(back).counts().aborted() == 2).await;
    }
}
