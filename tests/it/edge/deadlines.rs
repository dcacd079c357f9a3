//! How long clients may take. Each test makes one limit short and all others longer than it would wait.

use std::time::Duration;

use testkit::{
    Client, Instance, Socket,
    frame::{self, Frame},
    get,
};

use crate::support::{Config, Front, Running};

const LIMITS: [&str; 6] = ["first_byte", "handshake", "preface", "head", "keep_alive", "stall"];

fn router_with_short(limit: &str) -> Running {
    let clients: Vec<_> =
        LIMITS.iter().map(|name| format!("{name}: {}", if *name == limit { "200ms" } else { "60s" })).collect();
    Config::new().set("clients", &format!("{{ {} }}", clients.join(", "))).start()
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let router = router_with_short("first_byte");
    for address in [router.clear(), router.tls()] {
        assert!(Socket::connect(address).await.is_closed_by_peer().await);
    }
}

#[tokio::test]
async fn a_cleartext_preface_that_stops_halfway_is_closed() {
    let router = router_with_short("first_byte");
    let mut socket = Socket::connect(router.clear()).await;
    socket.send("PRI * HTTP").await.unwrap();
    assert!(socket.is_closed_by_peer().await);
}

#[tokio::test]
async fn a_handshake_that_stops_halfway_is_closed() {
    let router = router_with_short("handshake");
    let mut socket = Socket::connect(router.tls()).await;
    socket.send([0x16, 0x03, 0x01, 0x02, 0x00]).await.unwrap();
    socket.read_to_end().await;
}

#[tokio::test]
async fn a_tls_client_that_never_begins_http_2_is_closed() {
    let router = router_with_short("preface");
    let config = router.certs.client_config(&["h2"], None);
    Socket::connect_tls(router.tls(), &config, "localhost").await.read_to_end().await;
}

#[tokio::test]
async fn a_head_has_one_deadline_however_steadily_it_drips() {
    /// Fast enough that a limit per read would never run out.
    const PACE: Duration = Duration::from_millis(20);
    let router = router_with_short("head");
    let config = router.certs.client_config(&["http/1.1"], None);
    let clear = Socket::connect(router.clear()).await;
    let tls = Socket::connect_tls(router.tls(), &config, "localhost").await;
    for mut socket in [clear, tls] {
        socket.send("GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ").await.unwrap();
        let dripped = testkit::bounded("the end of a dripping head", async {
            while socket.send("x").await.is_ok() {
                tokio::time::sleep(PACE).await;
            }
        });
        dripped.await;
    }
}

#[tokio::test]
async fn the_second_head_on_a_connection_has_the_same_deadline() {
    let router = router_with_short("head");
    let mut socket = Socket::connect(router.clear()).await;
    socket.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert_eq!(socket.read_response().await.expect("the first answer").status(), 404);
    socket.send("GET / HT").await.unwrap();
    assert!(socket.is_closed_by_peer().await);
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_order() {
    let router = router_with_short("keep_alive");
    let config = router.certs.client_config(&["h2"], None);
    let clear = Socket::connect(router.clear()).await;
    let tls = Socket::connect_tls(router.tls(), &config, "localhost").await;
    for mut socket in [clear, tls] {
        frame::send_preface(&mut socket, &[]).await.unwrap();
        frame::send(&mut socket, &Frame::get(1, "a", "/")).await.unwrap();
        frame::next(&mut socket, frame::HEADERS).await.expect("an answer");
        assert_eq!(frame::next(&mut socket, frame::GOAWAY).await.expect("an announcement").code(), 0);
        assert_eq!(frame::next(&mut socket, frame::HEADERS).await, None, "then the end");
    }
    let mut socket = Socket::connect(router.clear()).await;
    socket.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert_eq!(socket.read_response().await.expect("an answer").status(), 404);
    assert!(socket.is_closed_by_peer().await);
}

#[tokio::test]
async fn a_connection_whose_request_is_under_way_is_not_idle() {
    /// Longer than `keep_alive`.
    const LONG: Duration = Duration::from_millis(500);
    let slow = Instance::h2c().answer(|_| testkit::Reply::script().wait(LONG).head(200)).start().await;
    let config = Config::new().set("clients", "{ keep_alive: 200ms }");
    let router = config.service("pets", &[slow.url()]).start();
    for front in [Front::H1, Front::H2c] {
        let client: Client = router.client(front).await;
        assert_eq!(client.send(get("/", &[("service_id", "pets")])).await.status, 200, "{front:?}");
    }
}
