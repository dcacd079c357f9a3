//! How much clients may ask for at once, and how large it may be.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;
use router::{
    Router, Start,
    control::{Origin, Overrides},
};
use testkit::{
    Client, Failure, Gate, Instance, Reply, Socket, bounded, eventually,
    frame::{self, Frame},
    get, post, wait_for,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use crate::support::{Config, Front, told};

#[tokio::test]
async fn a_connection_above_the_limit_waits_and_is_served_when_another_ends() {
    let router = Config::new().set("limits", "{ connections: 2 }").start();
    let (first, second) = (router.client(Front::H2c).await, router.client(Front::H2c).await);
    for client in [&first, &second] {
        assert_eq!(client.send(get("/", &[])).await.status, 404);
    }
    let mut third = Socket::connect(router.clear()).await;
    third.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let answered = tokio::spawn(async move { third.read_response().await });
    assert!(!wait_for(|| answered.is_finished(), Duration::from_millis(200)).await, "served above the limit");
    drop(first);
    let answer = bounded("the third answer", answered).await.unwrap().expect("an answer");
    assert_eq!(answer.status(), 404);
}

#[tokio::test]
async fn a_stream_above_the_limit_is_refused_and_the_others_are_not() {
    const REFUSED_STREAM: u32 = 7;
    let gate = Gate::new();
    let instance = Instance::h2c().on("/held", Reply::script().gate(&gate).head(204)).start().await;
    let config = Config::new().set("limits", "{ streams: 4 }").service("pets", &[instance.url()]);
    let router = config.set("routes", "[ { prefix: /, service: pets } ]").start();
    let mut socket = Socket::connect(router.clear()).await;
    frame::send_preface(&mut socket, &[]).await.unwrap();
    let settings = frame::next(&mut socket, frame::SETTINGS).await.expect("settings");
    let streams = settings.payload.chunks(6).find(|parameter| parameter[..2] == [0, 3]).expect("the stream limit");
    assert_eq!(streams[2..], [0, 0, 0, 4]);
    for stream in [1, 3, 5, 7, 9] {
        frame::send(&mut socket, &Frame::get(stream, "a", "/held")).await.unwrap();
    }
    let reset = frame::next(&mut socket, frame::RST_STREAM).await.expect("a reset");
    assert_eq!((reset.stream, reset.code()), (9, REFUSED_STREAM));
    eventually("four requests under way", || instance.counts().in_flight() == 4).await;
    gate.open();
    for _ in 0..4 {
        frame::next(&mut socket, frame::HEADERS).await.expect("an answer");
    }
    assert_eq!(instance.counts().requests(), 4);
}

#[tokio::test]
async fn a_body_that_says_it_is_too_large_is_refused_before_it_comes() {
    let instance = Instance::h2c().start().await;
    let config = Config::new().set("limits", "{ body: 1KiB }").service("pets", &[instance.url()]);
    let router = config.start();
    let request = |length: &str| {
        post("/", &[("service_id", "pets"), ("content-length", length)], vec![b'x'; length.parse().unwrap()])
    };
    for front in Front::ALL {
        let answer = router.client(front).await.send(request("1025")).await;
        assert_eq!(told(&answer), (413, Some("body_too_large")));
        let exact = router.client(front).await.send(request("1024")).await;
        assert_eq!((exact.status.as_u16(), &exact.json()["body_bytes"]), (200, &1024.into()), "{front:?}");
    }
    assert_eq!(instance.counts().requests(), 4, "only the exact ones");
}

#[tokio::test]
async fn a_body_that_turns_out_too_large_is_refused_while_it_comes() {
    let config = Config::new().set("limits", "{ body: 1KiB }");
    let instances = [Instance::h2c().start().await, Instance::http().start().await];
    let config = config.service("h2c", &[instances[0].url()]);
    let router = config.service("h1", &[instances[1].url()]).start();
    for service in ["h2c", "h1"] {
        let mut socket = Socket::connect(router.clear()).await;
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nservice_id: {service}\r\nTransfer-Encoding: chunked\r\n\r\n");
        socket.send(head).await.unwrap();
        for _ in 0..3 {
            socket.send(format!("200\r\n{}\r\n", "x".repeat(512))).await.unwrap();
        }
        let answer = socket.read_response().await.expect("an answer");
        assert_eq!((answer.status(), answer.header("x-pointsman-reason")), (413, Some("body_too_large")), "{service}");

        let client = router.client(Front::H2c).await;
        let request = http::Request::post("/").header("service_id", service).body(()).unwrap();
        let mut stream = client.open(request, false).await.unwrap();
        stream.data(Bytes::from(vec![b'x'; 1500])).await.unwrap();
        let answer = stream.answer().await.expect("an answer");
        assert_eq!(told(&answer), (413, Some("body_too_large")));
        router.settled(service).await;
    }
    for instance in &instances {
        eventually("nothing is under way", || instance.counts().in_flight() == 0).await;
        assert_eq!(instance.counts().completed(), 0);
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused_with_the_reason() {
    let instance = Instance::h2c().start().await;
    let limits = "{ head: 2KiB, fields: 10, uri: 100 }";
    let router = Config::new().set("limits", limits).service("pets", &[instance.url()]).start();
    let (long_path, long_value) = (format!("/{}", "a".repeat(100)), "v".repeat(2048));
    let many: Vec<_> = (0..11).map(|n| format!("x-{n}")).collect();
    let many: Vec<_> = many.iter().map(|name| (name.as_str(), "1")).collect();
    for front in Front::ALL {
        let client: Client = router.client(front).await;
        for (request, status, reason) in [
            (get(&long_path, &[("service_id", "pets")]), 414, "uri_too_long"),
            (get("/", &[("service_id", "pets"), ("x-long", &long_value)]), 431, "headers_too_large"),
            (get("/", &many), 431, "headers_too_large"),
        ] {
            let answer = client.send(request).await;
            assert_eq!(told(&answer), (status, Some(reason)));
        }
        assert_eq!(client.send(get("/", &[("service_id", "pets")])).await.status, 200, "{front:?}: the next is fine");
    }
    assert_eq!(instance.counts().requests(), 4);
}

/// At twice our own limit HTTP/2 answers without a reason, and an HTTP/1 connection ends with the answer.
#[tokio::test]
async fn a_head_far_beyond_the_limit_is_not_even_read() {
    let instance = Instance::h2c().start().await;
    let router = Config::new().set("limits", "{ head: 2KiB, fields: 10 }").service("pets", &[instance.url()]).start();
    let value = "v".repeat(5000);
    let answer =
        router.client(Front::H2c).await.try_send(get("/", &[("service_id", "pets"), ("x-long", &value)])).await;
    match answer {
        Ok(answer) => assert_eq!(told(&answer), (431, None)),
        Err(failure) => assert!(matches!(failure, Failure::Reset(_)), "{failure:?}"),
    }
    let mut socket = Socket::connect(router.clear()).await;
    let fields: String = (0..99).map(|n| format!("x-{n}: 1\r\n")).collect();
    socket.send(format!("GET / HTTP/1.1\r\nHost: a\r\nservice_id: pets\r\n{fields}\r\n")).await.unwrap();
    let answer = socket.read_response().await.expect("an answer");
    assert_eq!((answer.status(), answer.header("x-pointsman-reason")), (431, Some("headers_too_large")));
    assert!(socket.is_closed_by_peer().await);
    assert_eq!(instance.counts().requests(), 0);
}

/// A client at this address, if it is let in.
async fn client_at(address: [u8; 4], router: SocketAddr) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::from(address), 0).into()).unwrap();
    let mut stream = socket.connect(router).await.ok()?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.ok()?;
    let mut status = [0; 12];
    bounded("an answer or the end", stream.read_exact(&mut status)).await.ok()?;
    assert_eq!(&status, b"HTTP/1.1 404");
    Some(stream)
}

#[tokio::test]
async fn one_address_cannot_have_all_connections_and_a_trusted_proxy_can() {
    const ONE: [u8; 4] = [127, 0, 0, 1];
    let listeners = "[ { address: 127.0.0.1:0 }, { address: 127.0.0.1:0 } ]";
    let headers = "{ trusted_proxies: [ 127.0.0.3 ] }";
    let config = Config::new().set("listeners", listeners).set("headers", headers);
    let router = config.set("limits", "{ connections_per_address: 2 }").start();
    let other = router.router.addresses().clients[1].0;
    let first = client_at(ONE, router.clear()).await.expect("the first");
    let _second = client_at(ONE, other).await.expect("the second, at another port");
    for address in [router.clear(), other] {
        assert!(client_at(ONE, address).await.is_none(), "the third");
    }
    let _neighbour = client_at([127, 0, 0, 2], router.clear()).await.expect("others are let in");
    let mut proxied = Vec::new();
    for _ in 0..5 {
        proxied.push(client_at([127, 0, 0, 3], router.clear()).await.expect("there are many behind a proxy"));
    }
    let metrics = Client::http(router.admin()).await.send(get("/metrics", &[])).await.text();
    assert!(metrics.contains("pointsman_connections_closed_total{cause=\"limit\"} 2\n"), "{metrics}");
    drop(first);
    bounded("its place is free again", async {
        while client_at(ONE, router.clear()).await.is_none() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_reload_changes_how_many_connections_an_address_may_have() {
    const ONE: [u8; 4] = [127, 0, 0, 1];
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("router.yml");
    let limits = "{ connections_per_address: MOST }";
    let config = Config::new().set("listeners", "[ { address: 127.0.0.1:0 } ]").set("limits", limits);
    let write = |most: &str| fs::write(&file, config.yaml().replace("MOST", most)).unwrap();
    write("1");
    let origin = Origin::File(file.clone());
    let router = Router::start(Start { origin, overrides: Overrides::default(), log: None }).unwrap();
    let address = router.addresses().clients[0].0;
    let _first = client_at(ONE, address).await.expect("the first");
    assert!(client_at(ONE, address).await.is_none(), "the second of one");

    write("2");
    router.reload().await.unwrap();
    let _second = client_at(ONE, address).await.expect("the second of two");
    assert!(client_at(ONE, address).await.is_none(), "who came before counts");

    write("1");
    router.reload().await.unwrap();
    assert!(client_at(ONE, address).await.is_none(), "the third of one; the others stay");
    write("off");
    router.reload().await.unwrap();
    assert!(client_at(ONE, address).await.is_some());
}
