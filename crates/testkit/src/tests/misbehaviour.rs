//! What ought to fail, and does it as told.

use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use http::Request;

use super::every_way;
use crate::{
    Certs, Client, Failure, Instance, Raw, Reply, Socket, eventually,
    frame::{self, Frame},
    get, post, wait_for,
};

const HALF: &str = "half of it";

#[tokio::test]
async fn a_connection_closes_before_and_after_the_head() {
    let certs = Certs::new();
    for (way, instance, client) in every_way(&certs, |builder| builder).await {
        instance.on("/before", Reply::closes());
        let failure = client.try_send(get("/before", &[])).await.unwrap_err();
        assert!(matches!(failure, Failure::Closed(_)), "{way}: {failure:?}");
        eventually("the connection is gone", || client.is_closed()).await;
    }
    for (way, instance, client) in every_way(&certs, |builder| builder).await {
        instance.on("/after", Reply::script().head(200).data(HALF).close());
        let failure = client.try_send(get("/after", &[])).await.unwrap_err();
        assert!(matches!(failure, Failure::Closed(_)), "{way}: {failure:?}");
    }
    let instance = Instance::http().on("/after", Reply::script().head(200).data(HALF).close()).start().await;
    let mut socket = Socket::connect(instance.addr()).await;
    socket.send("GET /after HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let wire = String::from_utf8(socket.read_to_end().await.to_vec()).unwrap();
    assert!(wire.ends_with(&format!("{HALF}\r\n")), "the first chunk, and no last one: {wire:?}");
}

#[tokio::test]
async fn streams_are_reset_with_the_code_asked_for() {
    let instance = Instance::h2c()
        .on("/refused", Reply::resets(Reason::REFUSED_STREAM.into()))
        .on("/half", Reply::script().head(200).data(HALF).wait(Duration::from_millis(10)).reset(Reason::INTERNAL_ERROR))
        .start()
        .await;
    let client = Client::h2c(instance.addr()).await;
    assert_eq!(client.try_send(get("/refused", &[])).await.unwrap_err(), Failure::Reset(7));
    assert_eq!(client.try_send(get("/half", &[])).await.unwrap_err(), Failure::Reset(2));
    assert_eq!(client.send(get("/", &[])).await.status, 200, "the connection lives on");
    assert_eq!(instance.counts().connections(), 1);
}

#[tokio::test]
async fn a_reset_by_the_client_is_counted_with_its_code() {
    let instance = Instance::h2c().answer(|_| Reply::silence()).start().await;
    let client = Client::h2c(instance.addr()).await;
    let mut stream = client.open(Request::get("/").body(()).unwrap(), true).await.unwrap();
    eventually("the request arrives", || instance.counts().in_flight() == 1).await;
    stream.reset(Reason::CANCEL.into());
    eventually("the reset is counted", || instance.counts().resets() == [8]).await;
    assert_eq!((instance.counts().aborted(), instance.counts().open()), (1, 1));
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_the_instance_back() {
    const TOTAL: u64 = 10_000_000;
    const WINDOW: u64 = 65_535;
    let instance = Instance::h2c().on("/big", Reply::script().stream(TOTAL)).start().await;
    let client = Client::h2c(instance.addr()).await;
    let mut stream = client.open(Request::get("/big").body(()).unwrap(), true).await.unwrap();
    assert_eq!(stream.head().await.unwrap().headers()["content-length"], TOTAL.to_string());
    eventually("the window is full", || instance.counts().bytes_written() == WINDOW).await;
    assert!(!wait_for(|| instance.counts().bytes_written() > WINDOW, Duration::from_millis(30)).await);
    let mut read = 0;
    while let Some(piece) = stream.next().await.unwrap() {
        read += piece.len() as u64;
    }
    assert_eq!((read, instance.counts().bytes_written()), (TOTAL, TOTAL));
}

#[tokio::test]
async fn an_instance_that_does_not_read_holds_the_client_back() {
    let instance = Instance::h2c().answer(|_| Reply::unread().hang()).stream_window(1000).start().await;
    let client = Client::h2c(instance.addr()).await;
    let mut stream = client.open(Request::post("/").body(()).unwrap(), false).await.unwrap();
    eventually("the request arrives", || instance.counts().in_flight() == 1).await;
    stream.data(Bytes::from(vec![0; 1000])).await.unwrap();
    let more = stream.data(Bytes::from_static(b"x"));
    assert!(tokio::time::timeout(Duration::from_millis(50), more).await.is_err(), "the window is shut");
    assert_eq!(instance.counts().bytes_read(), 0);
}

#[tokio::test]
async fn an_instance_dies_and_comes_back() {
    let certs = Certs::new();
    for (way, instance, client) in every_way(&certs, |builder| builder).await {
        client.send(get("/", &[])).await;
        instance.stop_accepting().await;
        assert_eq!(client.send(get("/", &[])).await.status, 200, "{way}: open connections live on");
        assert!(tokio::net::TcpStream::connect(instance.addr()).await.is_err(), "{way}");
        instance.kill().await;
        assert_eq!(instance.counts().open(), 0, "{way}");
        assert!(client.try_send(get("/", &[])).await.is_err(), "{way}");
        instance.restart_on_same_port().await;
        drop(Socket::connect(instance.addr()).await);
        eventually("it accepts again", || instance.counts().connections() == 2).await;
    }
}

#[tokio::test]
async fn draining_is_announced() {
    let certs = Certs::new();
    for (_way, instance, client) in every_way(&certs, |builder| builder).await {
        client.send(get("/", &[])).await;
        instance.drain();
        client.ended().await.unwrap();
    }
    let instance =
        Instance::http().on("/", Reply::script().go_away().wait(Duration::from_millis(10)).head(200)).start().await;
    let answer = Client::http(instance.addr()).await.send(get("/", &[])).await;
    assert_eq!(answer.header("connection"), Some("close"));
}

#[tokio::test]
async fn a_raw_server_says_what_it_is_told() {
    let cut = Raw::sends("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await;
    assert!(Client::http(cut.addr()).await.try_send(get("/", &[])).await.is_err());
    assert_eq!(cut.connections(), 1);
    let hints =
        Raw::sends("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let answer = Client::http(hints.addr()).await.send(post("/", &[], "body")).await;
    assert_eq!((answer.status.as_u16(), answer.interim[0].0.as_u16()), (200, 103));
    let chunked =
        Raw::sends("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n").await;
    let mut socket = Socket::connect(chunked.addr()).await;
    socket.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert_eq!(socket.read_response().await.unwrap().text(), "abcde");
    assert!(socket.is_closed_by_peer().await);
}

#[tokio::test]
async fn go_away_names_the_last_stream_processed() {
    let server = Raw::start(|mut socket| async move {
        frame::accept_preface(&mut socket).await;
        let head = frame::next(&mut socket, frame::HEADERS).await.unwrap();
        frame::send(&mut socket, &Frame::go_away(head.stream - 1, Reason::NO_ERROR.into())).await.unwrap();
        frame::next(&mut socket, frame::GOAWAY).await;
    })
    .await;
    let failure = Client::h2c(server.addr()).await.try_send(get("/", &[])).await.unwrap_err();
    assert_eq!(failure, Failure::GoAway(0));
}

#[tokio::test]
async fn raw_frames_reach_an_instance() {
    let instance = Instance::h2c().on("/down", Reply::status(204)).start().await;
    let mut socket = Socket::connect(instance.addr()).await;
    frame::send_preface(&mut socket, &[]).await.unwrap();
    frame::send(&mut socket, &Frame::get(1, "a", "/down")).await.unwrap();
    let head = frame::next(&mut socket, frame::HEADERS).await.unwrap();
    assert_eq!((head.stream, head.flags), (1, frame::END_STREAM | frame::END_HEADERS));
    frame::send(&mut socket, &Frame::data(2, "even", true)).await.unwrap();
    assert_eq!(frame::next(&mut socket, frame::GOAWAY).await.unwrap().code(), 1, "a client's streams are odd");
    assert_eq!(instance.seen()[0].authority(), Some("a"));
}

#[tokio::test]
async fn raw_bytes_come_as_they_are_and_end_the_connection() {
    let instance = Instance::http().answer(|_| Reply::raw("HTTP/1.1 200 OK\r\ncontent-")).start().await;
    let mut socket = Socket::connect(instance.addr()).await;
    socket.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nping").await.unwrap();
    assert_eq!(socket.read_to_end().await, "HTTP/1.1 200 OK\r\ncontent-");
}
