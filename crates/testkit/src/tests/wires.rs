//! The wire, and the address behind which nobody is.

use std::time::Duration;

use tokio::time::Instant;

use crate::{BlackHole, Client, Instance, Socket, Wire, eventually, get, wait_for};

const SHORT: Duration = Duration::from_millis(50);

#[tokio::test]
async fn a_paused_wire_holds_and_a_whole_one_delivers() {
    let instance = Instance::http().start().await;
    let wire = Wire::new(instance.addr()).await;
    let client = Client::http(wire.addr()).await;
    client.send(get("/", &[])).await;
    wire.pause();
    let late = client.send(get("/", &[]));
    tokio::pin!(late);
    assert!(tokio::time::timeout(SHORT, &mut late).await.is_err(), "bytes pass a paused wire");
    let _unknown_to_the_target = Socket::connect(wire.addr()).await;
    assert!(!wait_for(|| instance.counts().connections() > 1, SHORT).await, "a connection passes a paused wire");
    assert_eq!(instance.counts().requests(), 1);
    wire.resume();
    assert_eq!(late.await.status, 200);
    eventually("the connection held back is made", || instance.counts().connections() == 2).await;
}

#[tokio::test]
async fn a_cut_wire_closes_both_ends_and_carries_again() {
    let instance = Instance::h2c().start().await;
    let wire = Wire::new(instance.addr()).await;
    let client = Client::h2c(wire.addr()).await;
    client.send(get("/", &[])).await;
    wire.pause();
    wire.cut();
    eventually("the client's end closes", || client.is_closed()).await;
    eventually("the instance's end closes", || instance.counts().open() == 0).await;
    wire.resume();
    assert_eq!(Client::h2c(wire.addr()).await.send(get("/", &[])).await.status, 200);
}

#[tokio::test]
async fn a_slow_wire_takes_its_time_in_both_directions() {
    let instance = Instance::http().start().await;
    let wire = Wire::new(instance.addr()).await;
    let client = Client::http(wire.addr()).await;
    client.send(get("/", &[])).await;
    wire.delay(SHORT);
    let began = Instant::now();
    client.send(get("/", &[])).await;
    assert!(began.elapsed() >= SHORT * 2, "took only {:?}", began.elapsed());
}

#[tokio::test]
async fn the_end_of_a_connection_passes() {
    let instance = Instance::http().start().await;
    let wire = Wire::new(instance.addr()).await;
    let mut socket = Socket::connect(wire.addr()).await;
    eventually("the connection passes", || instance.counts().open() == 1).await;
    socket.half_close().await;
    assert!(socket.is_closed_by_peer().await);
}

#[tokio::test]
async fn a_black_hole_neither_accepts_nor_refuses() {
    let hole = BlackHole::new().await;
    let connecting = tokio::net::TcpStream::connect(hole.addr());
    assert!(tokio::time::timeout(SHORT, connecting).await.is_err());
}
