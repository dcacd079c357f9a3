//! Instances that do not speak HTTP, or speak it badly.

use testkit::{
    Raw, Reply, Socket,
    frame::{self, Frame},
    get, post,
};

use crate::support::{Config, Front, told};

async fn check(url: String, what: &str, reason: &str) {
    let router = Config::new().service("bad", &[url]).start();
    for front in [Front::H1, Front::H2c] {
        let answer = router.client(front).await.send(get("/", &[("service_id", "bad")])).await;
        assert_eq!(told(&answer), (502, Some(reason)), "{what:?}");
    }
    router.settled("bad").await;
}

#[tokio::test]
async fn what_is_no_http_1_is_a_502_with_the_reason() {
    for (bytes, reason) in [
        ("SSH-2.0-OpenSSH_9.6\r\n\r\n", "protocol"),
        ("<html>an answer of HTTP/0.9</html>\r\n\r\n", "protocol"),
        ("HTTP/1.1 200 OK\r\nHTTP/1.1 200 OK\r\n\r\n", "protocol"),
        ("HTTP/1.1 2x0 OK\r\n\r\n", "protocol"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", "protocol"),
        ("HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nhello", "protocol"),
        // Codings that are taken off here and that nobody puts on again.
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "protocol"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello", "protocol"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            "protocol",
        ),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5, 6\r\n\r\n", "protocol"),
        ("HTTP/1.1 200 OK\r\nX-Nul: a\0b\r\nContent-Length: 0\r\n\r\n", "protocol"),
        ("HTTP/1.1 200 OK\r\nX-Cut: ", "reset"),
        ("", "reset"),
    ] {
        let raw = Raw::sends(bytes).await;
        check(format!("http://{}", raw.addr()), bytes, reason).await;
    }
}

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

#[tokio::test]
async fn a_body_whose_first_chunk_is_none_is_a_502_with_the_reason() {
    for body in ["zz\r\nhello\r\n0\r\n\r\n", "-1\r\n", "\r\n\r\n", "fffffffffffffffff\r\n"] {
        let raw = Raw::sends(format!("{CHUNKED}{body}")).await;
        check(format!("http://{}", raw.addr()), body, "protocol").await;
    }
}

#[tokio::test]
async fn a_body_whose_first_chunk_is_none_is_asked_for_elsewhere_if_that_does_no_harm() {
    let raw = Raw::sends(format!("{CHUNKED}zz\r\nhello\r\n0\r\n\r\n")).await;
    let good = testkit::Instance::http().start().await;
    let services = "{ pets: { balance: round_robin, eject: off } }";
    let urls = [format!("http://{}", raw.addr()), good.url()];
    let router = Config::new().service("pets", &urls).set("services", services).start();
    for front in [Front::H1, Front::H2c] {
        let client = router.client(front).await;
        for _ in 0..2 {
            assert_eq!(client.send(get("/", &[("service_id", "pets")])).await.status, 200, "{front:?}");
        }
        let mut statuses = Vec::new();
        for _ in 0..2 {
            statuses.push(client.send(post("/", &[("service_id", "pets")], "pay 1")).await.status.as_u16());
        }
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 502], "{front:?}: it may have been carried out");
    }
    assert_eq!(good.counts().requests(), 6);
}

#[tokio::test]
async fn the_head_of_an_answer_that_broke_at_once_reaches_its_client() {
    let breaks = Raw::start(|mut socket| async move {
        frame::accept_preface(&mut socket).await;
        let asked = frame::next(&mut socket, frame::HEADERS).await.expect("a request");
        let head = Frame::headers(asked.stream, &[(":status", "200"), ("x-from", "it")], false);
        socket.send([head.to_bytes(), Frame::reset(asked.stream, 2).to_bytes()].concat()).await.unwrap();
        frame::next(&mut socket, frame::GOAWAY).await;
    })
    .await;
    let router = Config::new().service("breaks", &[format!("h2c://{}", breaks.addr())]).start();
    let mut socket = Socket::connect(router.clear()).await;
    socket.send("GET / HTTP/1.1\r\nHost: a\r\nservice_id: breaks\r\n\r\n").await.unwrap();
    let got = String::from_utf8(socket.read_to_end().await.to_vec()).unwrap();
    assert!(got.starts_with("HTTP/1.1 200 OK\r\n") && got.contains("x-from: it\r\n"), "{got:?}");
    assert!(!got.ends_with("0\r\n\r\n"), "it never looks whole: {got:?}");
    router.settled("breaks").await;
}

#[tokio::test]
async fn a_body_in_bad_chunks_breaks_the_answer_off() {
    for body in ["5\r\nhello", "5\r\nhello\r\n", "5\r\nhelloX\r\n0\r\n\r\n"] {
        let raw = Raw::sends(format!("{CHUNKED}{body}")).await;
        let router = Config::new().service("bad", &[format!("http://{}", raw.addr())]).start();
        for front in Front::ALL {
            let answer = router.client(front).await.try_send(get("/", &[("service_id", "bad")])).await;
            assert!(answer.is_err(), "{front:?} {body:?}: {answer:?}");
        }
        router.settled("bad").await;
    }
}

#[tokio::test]
async fn an_instance_that_speaks_only_http_1_where_http_2_is_expected_is_a_502() {
    let h1 = testkit::Instance::http().answer(|_| Reply::echo()).start().await;
    let router = Config::new().service("bad", &[format!("h2c://{}", h1.addr())]).start();
    let answer = router.client(Front::H1).await.send(get("/", &[("service_id", "bad")])).await;
    assert_eq!(answer.status, 502);
}

#[tokio::test]
async fn frames_out_of_order_are_a_502_and_the_next_request_has_a_new_connection() {
    let raw = Raw::start(|mut socket| async move {
        frame::accept_preface(&mut socket).await;
        let Some(head) = frame::next(&mut socket, frame::HEADERS).await else { return };
        frame::send(&mut socket, &Frame::data(head.stream, "a body before its head", true)).await.unwrap();
        frame::next(&mut socket, frame::GOAWAY).await;
    })
    .await;
    check(format!("h2c://{}", raw.addr()), "DATA before HEADERS", "protocol").await;
}
