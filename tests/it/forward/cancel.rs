//! A client that gives up resets its stream to the instance and costs nobody else anything.

use testkit::{Gate, Reply, Socket, eventually, get};

use super::head;
use crate::support::{Back, Config, Front, Matrix};

const CANCEL: u32 = 8;

#[tokio::test]
async fn a_cancelled_request_is_a_reset_stream_and_the_shared_connection_lives_on() {
    for back in [Back::H2c, Back::H2Tls] {
        let gate = Gate::new();
        let held = gate.clone();
        let matrix = Matrix::start(Config::new(), move |seen| match seen.path() {
            "/before-the-head" => Reply::silence(),
            "/inside-the-body" => Reply::script().head(200).data("some").hang(),
            _ => Reply::script().gate(&held).head(200),
        })
        .await;
        let (service, counts) = (back.service(), matrix.instance(back).counts());
        let other = matrix.router.client(Front::H2c).await;
        let waiting = other.open(head("GET", "/held", service), true).await.unwrap();

        let client = matrix.router.client(Front::H2Tls).await;
        let mut early = client.open(head("GET", "/before-the-head", service), true).await.unwrap();
        eventually("two requests under way", || counts.in_flight() == 2).await;
        early.reset(CANCEL);
        eventually("a reset", || counts.resets() == [CANCEL]).await;

        let mut late = client.open(head("GET", "/inside-the-body", service), true).await.unwrap();
        late.head().await.unwrap();
        assert_eq!(late.next().await.unwrap().as_deref(), Some(&b"some"[..]));
        late.reset(CANCEL);
        eventually("another reset", || counts.resets() == [CANCEL; 2]).await;

        let mut socket = Socket::connect(matrix.router.clear()).await;
        let request = format!("GET /before-the-head HTTP/1.1\r\nHost: a\r\nservice_id: {service}\r\n\r\n");
        socket.send(request).await.unwrap();
        eventually("two requests under way", || counts.in_flight() == 2).await;
        drop(socket);
        eventually("a third reset", || counts.resets() == [CANCEL; 3]).await;
        assert_eq!(matrix.router.in_flight(service).await, 1, "{back:?}: the one that waits");
        gate.open();
        assert_eq!(waiting.answer().await.unwrap().status, 200, "{back:?}");
        matrix.router.settled(service).await;
        assert_eq!(counts.connections(), 1, "{back:?}: one connection for all of it");
    }
}

#[tokio::test]
async fn a_cancelled_request_to_an_http_1_instance_closes_its_own_connection() {
    let matrix = Matrix::start(Config::new(), |seen| match seen.path() {
        "/silent" => Reply::silence(),
        "/endless" => Reply::script().head(200).data("some").hang(),
        _ => Reply::echo(),
    })
    .await;
    for back in [Back::H1, Back::H1Tls] {
        let (service, counts) = (back.service(), matrix.instance(back).counts());
        let client = matrix.router.client(Front::H2c).await;
        for (path, aborted) in [("/silent", 1), ("/endless", 2)] {
            let mut stream = client.open(head("GET", path, service), true).await.unwrap();
            eventually("a request", || counts.in_flight() == 1).await;
            stream.reset(CANCEL);
            eventually("the end of its connection", || counts.aborted() == aborted).await;
        }
        matrix.router.settled(service).await;
        assert_eq!(client.send(get("/", &[("service_id", service)])).await.status, 200, "{back:?}");
    }
}

#[tokio::test]
async fn a_client_that_breaks_off_its_upload_leaves_no_whole_request_behind() {
    let matrix = Matrix::start(Config::new(), |_| Reply::echo()).await;
    for back in Back::ALL {
        let (service, counts) = (back.service(), matrix.instance(back).counts());
        let client = matrix.router.client(Front::H2c).await;
        let mut stream = client.open(head("POST", "/", service), false).await.unwrap();
        stream.data("half".into()).await.unwrap();
        eventually("half a body", || counts.bytes_read() == 4).await;
        stream.reset(CANCEL);
        eventually("the end of the first", || counts.aborted() == 1).await;

        let mut socket = Socket::connect(matrix.router.clear()).await;
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nservice_id: {service}\r\nContent-Length: 100\r\n\r\nhalf");
        socket.send(head).await.unwrap();
        eventually("half a body", || counts.bytes_read() == 8).await;
        drop(socket);
        eventually("the end of the second", || counts.aborted() == 2).await;
        assert_eq!(counts.completed(), 0, "{back:?}");
        matrix.router.settled(service).await;
    }
}
