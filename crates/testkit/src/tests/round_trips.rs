//! What ought to work: bodies, trailers, expectations, certificates, over every protocol.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request};

use super::every_way;
use crate::{
    Certs, Client, Gate, Instance, Reply, Socket, digest, eventually, get, grpc_message, post, request, wait_for,
};

#[tokio::test]
async fn an_echo_tells_what_arrived() {
    let certs = Certs::new();
    for (way, instance, client) in every_way(&certs, |builder| builder.named("a")).await {
        let body = Bytes::from(vec![b'x'; 100_000]);
        let answer = client.send(post("/pets?kind=dog", &[("x-one", "1")], body.clone())).await;
        let echo = answer.json();
        assert_eq!(answer.status, 200, "{way}");
        assert_eq!(echo["instance"], "a", "{way}");
        assert_eq!(echo["method"], "POST", "{way}");
        assert_eq!((&echo["path"], &echo["query"]), (&"/pets".into(), &"kind=dog".into()), "{way}");
        assert_eq!(echo["version"], if client.is_h2() { "h2" } else { "h1" }, "{way}");
        assert_eq!(echo["body_bytes"], 100_000, "{way}");
        assert_eq!(echo["body_digest"], digest(&body), "{way}");
        assert_eq!(answer.echoed_header("X-One").as_deref(), Some("1"), "{way}");
        assert!(answer.header("content-length").is_some(), "{way}: the length of an echo is known");
        let name = if way.ends_with("TLS") { "localhost".to_owned() } else { instance.addr().ip().to_string() };
        assert_eq!(echo["authority"], format!("{name}:{}", instance.addr().port()), "{way}");
        let seen = &instance.seen()[0];
        assert_eq!((seen.body_bytes, seen.header("x-one")), (100_000, Some("1")), "{way}");
        assert_eq!(seen.body, body[..4096], "{way}");
        let head = client.send(request("HEAD", "/", &[], "")).await;
        assert!(head.header("content-length").is_some() && head.body.is_empty(), "{way}");
        eventually("the requests are over", || instance.counts().completed() == 2).await;
        assert_eq!((instance.counts().connections(), instance.counts().in_flight()), (1, 0), "{way}");
    }
}

#[tokio::test]
async fn trailers_follow_the_body() {
    let certs = Certs::new();
    for (way, _instance, client) in
        every_way(&certs, |builder| builder.answer(|_| Reply::grpc(&[b"one", b"two"]))).await
    {
        let answer = client.send(post("/pets.Store/List", &[("te", "trailers")], "")).await;
        assert_eq!(answer.body, [grpc_message(b"one"), grpc_message(b"two")].concat(), "{way}");
        assert_eq!(answer.trailer("grpc-status"), Some("0"), "{way}");
    }
}

#[tokio::test]
async fn a_grpc_failure_is_one_frame() {
    let instance = Instance::h2c().answer(|_| Reply::grpc_failure(14, "no")).start().await;
    let answer = Client::h2c(instance.addr()).await.send(get("/", &[])).await;
    assert_eq!((answer.header("grpc-status"), answer.trailer("grpc-status")), (Some("14"), None));
}

#[tokio::test]
async fn a_mirror_answers_while_it_reads() {
    let instance = Instance::h2c().answer(|_| Reply::mirror()).start().await;
    let client = Client::h2c(instance.addr()).await;
    let mut stream = client.open(Request::post("/").body(()).unwrap(), false).await.unwrap();
    assert_eq!(stream.head().await.unwrap().status(), 200);
    for word in ["one", "two"] {
        stream.data(Bytes::from(word)).await.unwrap();
        assert_eq!(stream.next().await.unwrap().unwrap(), word);
    }
    stream.finish_with(HeaderMap::from_iter([("x-end".parse().unwrap(), "3".parse().unwrap())])).unwrap();
    assert_eq!(stream.next().await.unwrap(), None);
    assert_eq!(stream.trailers().await.unwrap().unwrap()["x-end"], "3");
}

#[tokio::test]
async fn interim_heads_come_before_the_final_one() {
    let hints = Reply::script().inform(103, &[("link", "</a>")]).head(200);
    let instance = Instance::h2c().on("/hints", hints).start().await;
    let client = Client::h2c(instance.addr()).await;
    let answer = client.send(get("/hints", &[])).await;
    assert_eq!(answer.interim[0].0, 103);
    assert_eq!(answer.interim[0].1["link"], "</a>");
    let answer = client.send(post("/", &[("expect", "100-continue")], "body")).await;
    assert_eq!(answer.interim[0].0, 100, "reading the body answers the expectation");
    let instance = Instance::http().on("/early", Reply::unread().head(413)).start().await;
    let mut socket = Socket::connect(instance.addr()).await;
    let head = "POST /early HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    socket.send(head).await.unwrap();
    assert_eq!(socket.read_response().await.unwrap().status(), 413, "unread, hence no 100 before");
}

#[tokio::test]
async fn a_gate_holds_the_head_and_a_client_that_leaves_is_noticed() {
    let certs = Certs::new();
    let gate = Gate::new();
    for (way, instance, client) in every_way(&certs, |builder| builder).await {
        instance.on("/held", Reply::script().gate(&gate).head(204));
        let counts = instance.counts();
        {
            let held = client.try_send(get("/held", &[]));
            tokio::pin!(held);
            tokio::select! {
                answer = &mut held => panic!("{way}: {answer:?} through a closed gate"),
                () = eventually("the request arrives", || counts.in_flight() == 1) => {}
            }
        }
        drop(client);
        eventually("the instance sees that nobody waits", || counts.aborted() == 1 && counts.open() == 0).await;
        assert_eq!(counts.in_flight(), 0, "{way}");
    }
}

#[tokio::test]
async fn the_certificate_of_a_client_is_asked_for_and_seen() {
    let certs = Certs::new();
    let instance = Instance::https(&certs).names(&["petstore.internal"]).require_client_certificate().start().await;
    let identity = certs.issue_client("router");
    let config = certs.client_config(&["h2"], Some(&identity));
    let echo = Client::https(instance.addr(), &config, "petstore.internal").await.send(get("/", &[])).await.json();
    assert_eq!((&echo["client_certificate"], &echo["server_name"]), (&true.into(), &"petstore.internal".into()));
    let nobody = certs.client_config(&["http/1.1"], None);
    let refused = Client::https(instance.addr(), &nobody, "localhost").await.try_send(get("/", &[])).await;
    assert!(refused.is_err(), "{refused:?}");
    eventually("the failed handshake is counted", || instance.counts().failed_handshakes() == 1).await;
}

#[tokio::test]
async fn strangers_and_expired_certificates_are_not_trusted() {
    let (certs, others) = (Certs::new(), Certs::new());
    let instance = Instance::https(&others).start().await;
    let config = certs.client_config(&[], None);
    assert!(Socket::try_connect_tls(instance.addr(), &config, "localhost").await.is_err(), "another authority");
    let expired = certs.server_config(&certs.issue_expired(&["localhost"]), &[], false);
    let server = crate::Raw::start_tls(expired, |mut socket| async move { drop(socket.read_head().await) }).await;
    let error = Socket::try_connect_tls(server.addr(), &config, "localhost").await.unwrap_err();
    assert!(error.to_string().contains("expired"), "{error}");
}

#[tokio::test]
async fn files_of_an_identity_can_be_replaced() {
    let certs = Certs::new();
    let (old, new) = (certs.issue(&["a"]), certs.issue(&["b"]));
    assert_ne!(std::fs::read(&old.chain).unwrap(), std::fs::read(&new.chain).unwrap());
    old.overwrite_files_with(&new);
    assert_eq!(std::fs::read(&old.chain).unwrap(), std::fs::read(&new.chain).unwrap());
    assert_eq!(std::fs::read(&old.key).unwrap(), std::fs::read(&new.key).unwrap());
}

#[tokio::test]
async fn the_stream_limit_is_announced() {
    let gate = Gate::new();
    let held = Reply::script().gate(&gate).head(200);
    let instance = Instance::h2c().max_concurrent_streams(2).on("/", held).start().await;
    let client = Client::h2c(instance.addr()).await;
    client.send(get("/first-to-learn-the-settings", &[])).await;
    let three =
        async { tokio::join!(client.send(get("/", &[])), client.send(get("/", &[])), client.send(get("/", &[]))) };
    let watch = async {
        eventually("two run", || instance.counts().in_flight() == 2).await;
        assert!(!wait_for(|| instance.counts().in_flight() > 2, Duration::from_millis(50)).await, "a third is let in");
        gate.open();
    };
    tokio::join!(three, watch);
    assert_eq!(instance.counts().requests(), 4);
}
