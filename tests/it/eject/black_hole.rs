//! Instances that swallow packets: a full accept queue drops SYNs as a firewall does.

use std::{net::SocketAddr, time::Duration};

use testkit::{Client, Instance, Wire, get};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{member, page, until_circuit};
use crate::support::{Config, Front, Running};

/// A listener that accepts no more.
struct Hole {
    listener: TcpListener,
    /// What fills its queue.
    queued: Vec<TcpStream>,
}

impl Hole {
    fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self { listener: socket.listen(1).unwrap(), queued: Vec::new() }
    }

    fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// From now on nobody gets through.
    async fn close(&mut self) {
        while let Ok(stream) = timeout(Duration::from_millis(300), TcpStream::connect(self.address())).await {
            self.queued.push(stream.unwrap());
        }
    }
}

fn start(urls: &[String]) -> Running {
    Config::new().service("pets", urls).set("services", r#"{ "*": { balance: round_robin } }"#).start()
}

#[tokio::test]
async fn an_instance_that_drops_syns_delays_some_requests_and_fails_none() {
    for scheme in ["http", "h2c"] {
        let mut hole = Hole::new();
        hole.close().await;
        let good = Instance::http().start().await;
        let router = start(&[format!("{scheme}://{}", hole.address()), good.url()]);
        let mut burst = JoinSet::new();
        for _ in 0..60 {
            let address = router.clear();
            burst.spawn(async move {
                let client = Client::h2c(address).await;
                let began = Instant::now();
                let answer = client.send(get("/", &[("service_id", "pets")])).await;
                (answer.status.as_u16(), began.elapsed())
            });
        }
        for (status, elapsed) in testkit::bounded("sixty answers", burst.join_all()).await {
            assert_eq!(status, 200, "{scheme}");
            // One connect timeout, and generously what a busy machine adds.
            assert!(elapsed < Duration::from_secs(4), "{scheme}: {elapsed:?}");
        }
        let url = format!("{scheme}://{}", hole.address());
        let out = until_circuit(&router, &url, Some("open")).await;
        assert_eq!(out["circuit"]["causes"][0], "connect", "{out}");
    }
}

/// Requests that were sent elsewhere because no connection could be made.
async fn sent_on(router: &Running) -> String {
    let metrics = page(router, "/metrics").await;
    let line = metrics.lines().find(|line| line.starts_with("pointsman_retries_total{fault=\"connect\"}"));
    line.unwrap_or_default().to_owned()
}

#[tokio::test]
async fn while_it_is_out_it_is_tried_again_and_no_request_waits_for_that() {
    for scheme in ["http", "h2c"] {
        let mut hole = Hole::new();
        hole.close().await;
        let good = Instance::http().start().await;
        let url = format!("{scheme}://{}", hole.address());
        let router = start(&[url.clone(), good.url()]);
        let client = router.client(Front::H2c).await;
        let ask = async || assert_eq!(client.send(get("/", &[("service_id", "pets")])).await.status, 200, "{scheme}");
        while member(&router, &url).await["circuit"].is_null() {
            ask().await;
        }
        let before = sent_on(&router).await;
        testkit::bounded("another try in vain", async {
            while member(&router, &url).await["circuit"]["rest"].as_u64() < Some(2) {
                ask().await;
            }
        })
        .await;
        assert_eq!(sent_on(&router).await, before, "{scheme}");
    }
}

#[tokio::test]
async fn it_is_found_out_also_when_every_client_gives_up_first() {
    for scheme in ["http", "h2c"] {
        let mut hole = Hole::new();
        hole.close().await;
        let url = format!("{scheme}://{}", hole.address());
        let router = start(std::slice::from_ref(&url));
        let client = router.client(Front::H1).await;
        let asked = client.send(get("/", &[("service_id", "pets")]));
        assert!(timeout(Duration::from_millis(200), asked).await.is_err());
        drop(client);
        until_circuit(&router, &url, Some("open")).await;
    }
}

/// Answers the first request on the first connection. Then not a byte comes from it, and nobody can connect.
async fn serve_once(mut hole: Hole) -> Hole {
    let (mut stream, _) = hole.listener.accept().await.unwrap();
    assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
    hole.close().await;
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    hole.queued.push(stream);
    hole
}

#[tokio::test]
async fn silence_on_an_open_http_1_connection_is_settled_by_a_new_one() {
    let hole = Hole::new();
    let url = format!("http://{}", hole.address());
    let serving = tokio::spawn(serve_once(hole));
    let router = start(std::slice::from_ref(&url));
    let client = router.client(Front::H1).await;
    assert_eq!(client.send(get("/", &[("service_id", "pets")])).await.status, 200);
    let _hole = serving.await.unwrap();
    for _ in 0..2 {
        let client = router.client(Front::H1).await;
        let asked = client.send(get("/", &[("service_id", "pets")]));
        assert!(timeout(Duration::from_millis(200), asked).await.is_err());
    }
    let out = until_circuit(&router, &url, Some("open")).await;
    assert_eq!(out["circuit"]["causes"][0], "connect", "{out}");
}

#[tokio::test]
async fn a_dead_http_2_connection_is_found_out_though_nobody_waits_for_long() {
    let instance = Instance::h2c().start().await;
    let wire = Wire::new(instance.addr()).await;
    let router = start(&[format!("h2c://{}", wire.addr())]);
    let client = router.client(Front::H2c).await;
    assert_eq!(client.send(get("/", &[("service_id", "pets")])).await.status, 200);
    wire.pause();
    let impatient = router.client(Front::H1).await;
    let asked = impatient.send(get("/", &[("service_id", "pets")]));
    assert!(timeout(Duration::from_millis(300), asked).await.is_err());
    drop(impatient);
    // A second of silence, and two without an answer to PING.
    tokio::time::sleep(Duration::from_secs(4)).await;
    wire.resume();
    assert_eq!(client.send(get("/", &[("service_id", "pets")])).await.status, 200);
    assert_eq!(instance.counts().connections(), 2, "the dead one was given up");
}
