//! Clients that send heads and never a body, to instances where that would cost a connection each.

use bytes::Bytes;
use testkit::{Client, Instance, Reply, Socket, Stream, get, post};

use super::head;
use crate::{
    discover::rig::{IN_MEMORY, Registrar, serving},
    support::{Back, Config, Front, Running},
};

/// HTTP/1.1 connections of one core that an instance may have before only bodies that have begun get more.
const BODYLESS: u64 = 64;
/// More than that, and streams of one connection are fewer.
const UPLOADS: u64 = 150;

/// As many uploads, by clients that send nothing after their heads.
async fn upload(router: &Running, service: &str) -> (Vec<Client>, Vec<Stream>) {
    let (mut clients, mut streams) = (Vec::new(), Vec::new());
    for _ in 0..UPLOADS.div_ceil(50) {
        let client = router.client(Front::H2c).await;
        for _ in 0..50 {
            streams.push(client.open(head("POST", "/", service), false).await.unwrap());
        }
        clients.push(client);
    }
    (clients, streams)
}

async fn all_wait(router: &Running) {
    testkit::until("all have an instance", async || router.in_flight("pets").await, |n| *n == UPLOADS).await;
}

async fn start(back: Back) -> (Running, Instance) {
    let config = Config::new();
    let instance = back.instance(config.certs()).max_concurrent_streams(1000).start().await;
    (config.service("pets", &[instance.url()]).start(), instance)
}

#[tokio::test]
async fn heads_without_bodies_leave_connections_to_others() {
    for back in [Back::H1, Back::H1Tls] {
        let (router, instance) = start(back).await;
        let (clients, mut streams) = upload(&router, "pets").await;
        all_wait(&router).await;
        testkit::eventually("some are sent", || instance.counts().requests() == BODYLESS).await;
        let client = router.client(Front::H2c).await;
        for _ in 0..10 {
            assert_eq!(client.send(get("/", &[("service_id", "pets")])).await.status, 200, "{back:?}");
            assert_eq!(client.send(post("/", &[("service_id", "pets")], "body")).await.status, 200, "{back:?}");
        }
        assert_eq!(instance.counts().in_flight(), BODYLESS, "{back:?}");
        // Who expects is told to go on, whether there is a connection already or not.
        let mut socket = Socket::connect(router.clear()).await;
        let head =
            "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\nservice_id: pets\r\n\r\n";
        socket.send(head).await.unwrap();
        assert_eq!(socket.read_head().await.expect("an interim head").status(), 100, "{back:?}");
        socket.send("body").await.unwrap();
        assert_eq!(socket.read_response().await.expect("an answer").status(), 200, "{back:?}");
        let mut request = super::head("POST", "/", "pets");
        request.headers_mut().insert("expect", "100-continue".parse().unwrap());
        let mut stream = client.open(request, false).await.unwrap();
        assert_eq!(stream.interim().await.unwrap().expect("an interim head").status(), 100, "{back:?}");
        stream.data(Bytes::from("body")).await.unwrap();
        stream.finish().unwrap();
        let answer = stream.answer().await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.interim.len()), (200, 0), "{back:?}: 100 once");
        // And whoever waits is served as soon as something comes, be it the end.
        for stream in &mut streams {
            stream.finish().unwrap();
        }
        for stream in streams {
            assert_eq!(stream.answer().await.unwrap().status, 200, "{back:?}");
        }
        drop(clients);
    }
}

#[tokio::test]
async fn who_waits_for_its_own_client_is_given_up_as_any_other() {
    let instance = Instance::http().start().await;
    let config = Config::new().set("timeouts", "{ idle: 2s }").service("pets", &[instance.url()]);
    let router = config.start();
    let (_clients, streams) = upload(&router, "pets").await;
    for stream in streams {
        assert_eq!(stream.answer().await.unwrap().status, 408);
    }
    router.settled("pets").await;
}

#[tokio::test]
async fn a_stream_to_an_instance_is_opened_at_once_and_may_be_answered_first() {
    let (router, instance) = start(Back::H2c).await;
    instance.answer(|_| Reply::unread().head(200).data("early"));
    let (_clients, streams) = upload(&router, "pets").await;
    for mut stream in streams {
        assert_eq!(stream.head().await.unwrap().status(), 200);
    }
    // So may requests to HTTP/1.1 instances, as long as they are few.
    let (router, instance) = start(Back::H1).await;
    instance.answer(|_| Reply::unread().head(200).data("early"));
    let client = router.client(Front::H2c).await;
    let mut stream = client.open(head("POST", "/", "pets"), false).await.unwrap();
    assert_eq!(stream.head().await.unwrap().status(), 200);
}

/// It sends its body now, and would be told again if the next instance were asked whether it may.
#[tokio::test]
async fn who_was_told_to_go_on_is_not_announced_to_the_next_instance_as_one_that_waits() {
    let router = Config::new().set("registries", IN_MEMORY).start();
    let registrar = Registrar::of(&router).await;
    let [one, two] = [Instance::http().named("one").start().await, Instance::h2c().named("two").start().await];
    registrar.register("pets", &one).await;
    serving(&router, "pets", &["one"]).await;
    let (_clients, _streams) = upload(&router, "pets").await;
    testkit::eventually("some are sent", || one.counts().requests() == BODYLESS).await;
    let client = router.client(Front::H2c).await;
    let mut request = head("POST", "/", "pets");
    request.headers_mut().insert("expect", "100-continue".parse().unwrap());
    let mut stream = client.open(request, false).await.unwrap();
    assert_eq!(stream.interim().await.unwrap().expect("an interim head").status(), 100);
    registrar.register("pets", &two).await;
    serving(&router, "pets", &["one", "two"]).await;
    one.kill().await;
    stream.data(Bytes::from("body")).await.unwrap();
    stream.finish().unwrap();
    let answer = stream.answer().await.unwrap();
    assert_eq!((&answer.json()["instance"], answer.echoed_header("expect")), (&"two".into(), None));
}

/// So much of a body is worth a connection, if it is not all.
const ENOUGH: usize = 16 * 1024;

#[tokio::test]
async fn an_octet_of_a_body_is_not_worth_a_connection_that_others_want() {
    let (router, instance) = start(Back::H1).await;
    let (clients, mut streams) = upload(&router, "pets").await;
    all_wait(&router).await;
    testkit::eventually("some are sent", || instance.counts().requests() == BODYLESS).await;
    for stream in &mut streams {
        stream.data(Bytes::from("a")).await.unwrap();
    }
    let client = router.client(Front::H2c).await;
    for _ in 0..10 {
        assert_eq!(client.send(post("/", &[("service_id", "pets")], "body")).await.status, 200);
    }
    assert_eq!(instance.counts().in_flight(), BODYLESS, "an octet is no more than a head");
    // Nothing of what came is lost, and much of it is worth one.
    let (mut early, mut late) = (Vec::new(), Vec::new());
    for (n, mut stream) in streams.into_iter().enumerate() {
        stream.data(vec![b'a'; ENOUGH].into()).await.unwrap();
        if n % 2 == 0 { &mut early } else { &mut late }.push(stream);
    }
    testkit::eventually("all are sent", || instance.counts().in_flight() == UPLOADS).await;
    for stream in early.iter_mut().chain(&mut late) {
        stream.data(Bytes::from("z")).await.unwrap();
        stream.finish().unwrap();
    }
    for stream in early.into_iter().chain(late) {
        let answer = stream.answer().await.unwrap();
        assert_eq!((answer.status.as_u16(), &answer.json()["body_bytes"]), (200, &(ENOUGH + 2).into()));
    }
    drop(clients);
}

#[tokio::test]
async fn a_body_that_trickles_gives_its_connection_up_where_others_want_it() {
    for (uploads, ends) in [(UPLOADS, true), (1, false)] {
        let instance = Instance::http().start().await;
        let config = Config::new().set("clients", "{ stall: 100ms }").set("timeouts", "{ head: 200ms }");
        let router = config.service("pets", &[instance.url()]).start();
        let (clients, mut streams) = upload(&router, "pets").await;
        streams.truncate(usize::try_from(uploads).unwrap());
        let mut trickling = streams.pop().expect("one");
        trickling.data(vec![b'a'; ENOUGH].into()).await.unwrap();
        for stream in &mut streams {
            // More than would be a trickle as long as this takes.
            stream.data(vec![b'a'; 6 * ENOUGH].into()).await.unwrap();
        }
        testkit::eventually("all are sent", || instance.counts().in_flight() == uploads).await;
        // In time for any limit of silence. What it sent at first lasts for 1.6 s; the last ones find nobody who listens.
        for _ in 0..30 {
            if trickling.data(Bytes::from("a")).await.is_err() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        trickling.finish().ok();
        let answer = trickling.answer().await.unwrap();
        let expected = if ends { (408, Some("client_timeout")) } else { (200, None) };
        assert_eq!(crate::support::told(&answer), expected, "{uploads} at a time");
        drop((clients, streams));
    }
}
