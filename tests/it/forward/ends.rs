//! How answers end: without a body, before the request did, or cut off.

use testkit::{Client, Gate, Raw, Reply, Socket, get, request};

use super::head;
use crate::support::{Back, Config, Front, Matrix};

#[tokio::test]
async fn answers_without_a_body_stay_so_and_the_connection_goes_on() {
    let matrix = Matrix::start(Config::new(), |seen| match seen.path() {
        "/204" => Reply::status(204),
        "/304" => Reply::script().head(304).header("etag", "\"1\""),
        _ => Reply::ok("hello"),
    })
    .await;
    for (front, back) in Matrix::pairs() {
        let client = matrix.router.client(front).await;
        let fields = [("service_id", back.service())];
        let what = format!("{front:?} to {back:?}");
        let answer = client.send(request("HEAD", "/", &fields, "")).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-length")), (200, Some("5")), "{what}");
        assert!(answer.body.is_empty(), "{what}");
        for (path, status) in [("/204", 204), ("/304", 304)] {
            let answer = client.send(get(path, &fields)).await;
            assert_eq!((answer.status.as_u16(), answer.body.len()), (status, 0), "{what}");
            assert_eq!(answer.header("content-length"), None, "{what} {path}");
        }
        assert_eq!(client.send(get("/", &fields)).await.text(), "hello", "{what}");
    }
    for back in Back::ALL {
        matrix.router.settled(back.service()).await;
    }
}

#[tokio::test]
async fn options_for_the_server_as_a_whole_arrive_as_such() {
    let matrix = Matrix::start(Config::new(), |_| Reply::echo()).await;
    for back in Back::ALL {
        let mut socket = Socket::connect(matrix.router.clear()).await;
        let service = back.service();
        socket.send(format!("OPTIONS * HTTP/1.1\r\nHost: a\r\nservice_id: {service}\r\n\r\n")).await.unwrap();
        assert_eq!(socket.read_response().await.expect("an answer").status(), 200, "{back:?}");
        let seen = matrix.instance(back).seen().pop().expect("a request");
        assert_eq!((seen.method.as_str(), seen.path()), ("OPTIONS", "*"), "{back:?}");
    }
}

#[tokio::test]
async fn an_answer_that_comes_before_the_end_of_the_request_is_not_held_back() {
    let gate = Gate::new();
    let held = gate.clone();
    let reply = move |_: &_| Reply::unread().head(200).data("early").gate(&held).read().data("late");
    let matrix = Matrix::start(Config::new(), reply).await;
    let mut streams = Vec::new();
    for back in Back::ALL {
        for front in [Front::H2c, Front::H2Tls] {
            let client = matrix.router.client(front).await;
            let mut stream = client.open(head("POST", "/", back.service()), false).await.unwrap();
            stream.data("first".into()).await.unwrap();
            assert_eq!(stream.head().await.unwrap().status(), 200, "{front:?} to {back:?}");
            assert_eq!(stream.next().await.unwrap().as_deref(), Some(&b"early"[..]), "{front:?} to {back:?}");
            streams.push((client, stream, front, back));
        }
    }
    gate.open();
    for (_client, mut stream, front, back) in streams {
        stream.data("second".into()).await.unwrap();
        stream.finish().unwrap();
        let mut rest = Vec::new();
        while let Some(piece) = stream.next().await.unwrap() {
            rest.extend_from_slice(&piece);
        }
        assert_eq!(rest, b"late", "{front:?} to {back:?}");
    }
    for back in Back::ALL {
        assert!(matrix.instance(back).seen().iter().all(|seen| seen.body_bytes == 11), "{back:?}");
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_off_does_not_look_whole() {
    let matrix = Matrix::start(Config::new(), |seen| match seen.path() {
        "/length" => Reply::script().head(200).header("content-length", "100").data("half").close(),
        "/reset" => Reply::script().head(200).data("half").reset(2_u32),
        _ => Reply::script().head(200).data("half").close(),
    })
    .await;
    for (front, back) in Matrix::pairs() {
        for path in ["/open", "/length", "/reset"] {
            let client = matrix.router.client(front).await;
            let answer = client.try_send(get(path, &[("service_id", back.service())])).await;
            // A reset may overtake the head, which is then a 502.
            let looks_whole = answer.as_ref().is_ok_and(|answer| answer.status == 200);
            assert!(!looks_whole, "{front:?} to {back:?}, {path}: {answer:?}");
        }
    }
    for back in Back::ALL {
        matrix.router.settled(back.service()).await;
    }
}

#[tokio::test]
async fn an_instance_that_ends_its_answer_by_closing_has_ended_it() {
    let raw = Raw::sends("HTTP/1.0 200 OK\r\n\r\nwhole").await;
    let router = Config::new().service("old", &[format!("http://{}", raw.addr())]).start();
    for front in Front::ALL {
        let answer = router.client(front).await.send(get("/", &[("service_id", "old")])).await;
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "whole"), "{front:?}");
    }
}

#[tokio::test]
async fn an_http_1_client_keeps_its_connection_after_an_early_answer_to_a_whole_request() {
    let matrix = Matrix::start(Config::new(), |_| Reply::unread().head(200).data("early")).await;
    let mut socket = Socket::connect(matrix.router.clear()).await;
    for back in Back::ALL {
        let service = back.service();
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nservice_id: {service}\r\nContent-Length: 4\r\n\r\nbody");
        socket.send(head).await.unwrap();
        assert_eq!(socket.read_response().await.expect("an answer").text(), "early", "{back:?}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_counted_apart() {
    let half = Raw::sends("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await;
    let router = Config::new().service("pets", &[format!("http://{}", half.addr())]).start();
    for front in Front::ALL {
        assert!(router.client(front).await.try_send(get("/", &[("service_id", "pets")])).await.is_err(), "{front:?}");
    }
    let metrics = Client::http(router.admin()).await.send(get("/metrics", &[])).await.text();
    let all = Front::ALL.len();
    for line in [
        format!("pointsman_response_broken_total{{reason=\"reset\"}} {all}\n"),
        format!("pointsman_requests_total{{code_class=\"2xx\"}} {all}\n"),
        format!("pointsman_response_seconds_count {all}\n"),
    ] {
        assert!(metrics.contains(&line), "{line} in {metrics}");
    }
}
