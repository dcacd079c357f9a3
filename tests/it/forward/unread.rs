//! Clients that do not read.

use testkit::{Reply, Socket, bounded, eventually, get};

use super::head;
use crate::support::{Back, Config, Front, Matrix};

const LARGE: u64 = 10_000_000;

#[tokio::test]
async fn a_client_that_stops_reading_is_given_up_within_the_idle_time() {
    let config = Config::new().set("timeouts", "{ idle: 300ms }").set("clients", "{ stall: 300ms }");
    // More than sockets and windows can hold where HTTP/1 is spoken.
    let matrix = Matrix::start(config, |_| Reply::ok("").stream(4 * LARGE)).await;
    for back in Back::ALL {
        let (service, counts) = (back.service(), matrix.instance(back).counts());
        let client = matrix.router.client(Front::H2c).await;
        let mut stream = client.open(head("GET", "/", service), true).await.unwrap();
        stream.head().await.unwrap();
        stream.data_held().await.unwrap().expect("a first piece");
        eventually("the first is given up", || counts.aborted() == 1).await;

        let mut socket = Socket::connect(matrix.router.clear()).await;
        socket.send(format!("GET / HTTP/1.1\r\nHost: a\r\nservice_id: {service}\r\n\r\n")).await.unwrap();
        socket.read_head().await.expect("a head");
        eventually("the second is given up", || counts.aborted() == 2).await;
        matrix.router.settled(service).await;
        assert_eq!(counts.completed(), 0, "{back:?}");
    }
}

#[tokio::test]
async fn two_hundred_clients_that_do_not_read_cost_the_next_one_nothing() {
    let matrix = Matrix::start(Config::new(), |seen| match seen.path() {
        "/large" => Reply::ok("").stream(LARGE),
        _ => Reply::echo(),
    })
    .await;
    let mut held = Vec::new();
    for _ in 0..200 {
        let client = matrix.router.client(Front::H2c).await;
        let mut stream = client.open(head("GET", "/large", "h2c"), true).await.unwrap();
        stream.head().await.unwrap();
        stream.data_held().await.unwrap().expect("a first piece");
        held.push((client, stream));
    }
    assert_eq!(matrix.router.in_flight("h2c").await, 200);
    let client = matrix.router.client(Front::H2Tls).await;
    let answer = bounded("the next answer", client.send(get("/", &[("service_id", "h2c")]))).await;
    assert_eq!(answer.status, 200);
    drop(held);
    matrix.router.settled("h2c").await;
}
