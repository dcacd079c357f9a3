//! SIGTERM: leaving without breaking anything.

use std::{path::Path, time::Duration};

use testkit::{Client, Gate, Instance, Reply, Seen, Socket, Stream, bounded, eventually, get, grpc_message};
use tokio::time::Instant;

use super::process::{Process, Reached};
use crate::{discover::rig::admin, support::Config};

/// A process that drains so, in front of this instance.
async fn start(folder: &Path, drain: &str, instance: &Instance) -> (Process, Reached) {
    let file = folder.join("router.yml");
    let log = format!("{{ file: {:?} }}", folder.join("access.log"));
    let config = Config::new().service("pets", &[instance.url()]).set("drain", drain).set("access_log", &log);
    std::fs::write(&file, config.yaml()).unwrap();
    let process = Process::start(&["run", "--config", file.to_str().unwrap()], folder);
    let reached = process.ready().await;
    (process, reached)
}

fn ask(path: &str) -> http::Request<bytes::Bytes> {
    get(path, &[("service_id", "pets")])
}

/// Waits until readiness fails because of the drain.
async fn unready(reached: &Reached) {
    let ask = async || admin(reached.admin, "/health/ready").await;
    let answer = testkit::until("it is not ready", ask, |answer| answer.status == 503).await;
    assert!(answer.text().contains("draining"), "{}", answer.text());
}

#[tokio::test]
async fn it_leaves_the_balancer_first_then_its_clients_then_the_machine() {
    let gate = Gate::new();
    let held = Reply::script().head(200).data("begun ").gate(&gate).data("ended");
    let instance = Instance::h2c().on("/held", held).start().await;
    let folder = tempfile::tempdir().unwrap();
    let (mut process, reached) = start(folder.path(), "{ delay: 2s, deadline: 20s }", &instance).await;
    let (one, two) = (Client::http(reached.clients[0]).await, Client::h2c(reached.clients[0]).await);
    assert_eq!(one.send(ask("/")).await.status, 200);
    let request = http::Request::get("/held").header("service_id", "pets").body(()).unwrap();
    let mut stream = two.open(request, true).await.unwrap();
    assert_eq!(stream.head().await.unwrap().status(), 200);
    assert_eq!(stream.next().await.unwrap().as_deref(), Some(&b"begun "[..]));

    process.signal("TERM");
    unready(&reached).await;
    assert_eq!(admin(reached.admin, "/health/live").await.status, 200);
    // The balancer in front still sends requests, on old connections and new ones.
    let late = Client::http(reached.clients[0]).await;
    for client in [&one, &two, &late] {
        let answer = client.send(ask("/")).await;
        assert_eq!((answer.status.as_u16(), answer.header("connection")), (200, None));
    }

    // Then nobody is let in, idle connections end, and what is under way goes on.
    one.ended().await.expect("an idle connection ends in order");
    late.ended().await.expect("an idle connection ends in order");
    eventually("connecting is refused", || std::net::TcpStream::connect(reached.clients[0]).is_err()).await;
    // What crosses GOAWAY on its way is still served.
    bounded("GOAWAY: no new stream", async { while two.try_send(ask("/")).await.is_ok() {} }).await;
    assert!(process.runs());
    gate.open();
    let mut rest = Vec::new();
    while let Some(piece) = stream.next().await.expect("it ends in order") {
        rest.extend_from_slice(&piece);
    }
    assert_eq!(rest, b"ended");
    two.ended().await.expect("GOAWAY without an error");
    assert_eq!(process.ended().await.code(), Some(0));
    assert!(process.count("drained") >= 1, "{:#?}", process.logged());
}

#[tokio::test]
async fn a_request_under_way_on_http1_ends_with_connection_close() {
    let gate = Gate::new();
    let instance = Instance::http().on("/held", Reply::script().gate(&gate).head(200).data("whole")).start().await;
    let folder = tempfile::tempdir().unwrap();
    let (mut process, reached) = start(folder.path(), "{ delay: 0s, deadline: 20s }", &instance).await;
    let client = Client::http(reached.clients[0]).await;
    let answer = tokio::spawn(async move { client.send(ask("/held")).await });
    eventually("the request is under way", || instance.counts().in_flight() == 1).await;
    process.signal("TERM");
    eventually("connecting is refused", || std::net::TcpStream::connect(reached.clients[0]).is_err()).await;
    process.logs("draining").await;
    gate.open();
    let answer = answer.await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "whole"));
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(process.ended().await.code(), Some(0));
}

/// A stream that does not end, of the type that was asked for.
fn endless(seen: &Seen) -> Reply {
    let kind = seen.header("content-type").unwrap_or("text/event-stream").to_owned();
    let begun = if kind == "application/grpc" { grpc_message(b"1") } else { "data: 1\n\n".into() };
    Reply::unread().head(200).header("content-type", &kind).data(begun).hang()
}

async fn stream(client: &Client, kind: &str) -> Stream {
    let head = http::Request::get("/").header("service_id", "pets").header("content-type", kind).body(()).unwrap();
    client.open(head, true).await.unwrap()
}

#[tokio::test]
async fn long_streams_end_well_one_by_one_before_the_deadline() {
    let instance = Instance::h2c().answer(endless).start().await;
    let folder = tempfile::tempdir().unwrap();
    let (mut process, reached) = start(folder.path(), "{ delay: 0s, deadline: 8s }", &instance).await;
    let (one, two) = (Client::http(reached.clients[0]).await, Client::h2c(reached.clients[0]).await);
    let mut streams = Vec::new();
    for _ in 0..20 {
        streams.push(stream(&two, "text/event-stream").await);
    }
    let call = stream(&two, "application/grpc").await;
    let events = tokio::spawn(async move { one.send(ask("/")).await });
    eventually("all are at the instance", || instance.counts().in_flight() == 22).await;
    let begin = Instant::now();
    process.signal("TERM");
    let ends = streams.into_iter().map(|stream| tokio::spawn(async move { (stream.answer().await, begin.elapsed()) }));
    let mut times = Vec::new();
    for end in ends.collect::<Vec<_>>() {
        let (answer, after) = bounded("an end", end).await.unwrap();
        assert_eq!(answer.expect("a clean end").text(), "data: 1\n\n");
        times.push(after);
    }
    let (first, last) = (times.iter().min().unwrap(), times.iter().max().unwrap());
    assert!(*last - *first > Duration::from_millis(500), "not all at once: {times:?}");
    assert_eq!(bounded("an end", events).await.unwrap().text(), "data: 1\n\n", "complete, by HTTP/1's rules too");
    assert_eq!(bounded("an end", call.answer()).await.expect("trailers").trailer("grpc-status"), Some("14"));
    assert_eq!(process.ended().await.code(), Some(0));
    assert_eq!(process.count("drain deadline"), 0, "{:#?}", process.logged());
}

#[tokio::test]
async fn the_log_tells_what_the_deadline_cut_and_how_much_of_it_was_sent() {
    let half = Reply::script().head(200).header("content-type", "text/plain").data("half of it").hang();
    let instance = Instance::h2c().on("/half", half).on("/silent", Reply::silence()).start().await;
    let folder = tempfile::tempdir().unwrap();
    let (mut process, reached) = start(folder.path(), "{ delay: 0s, deadline: 100ms }", &instance).await;
    let mut one = Socket::connect(reached.clients[0]).await;
    one.send("GET /half HTTP/1.1\r\nhost: a\r\nservice_id: pets\r\n\r\n").await.unwrap();
    assert_eq!(one.read_head().await.expect("a head").status(), 200);
    assert_eq!(one.read_exactly(13).await.as_deref(), Some(&b"A\r\nhalf of it"[..]));
    let two = Client::h2c(reached.clients[0]).await;
    let open = async |path| {
        let head = http::Request::get(path).header("service_id", "pets").body(()).unwrap();
        two.open(head, true).await.unwrap()
    };
    let (mut half, _silent) = (open("/half").await, open("/silent").await);
    half.head().await.unwrap();
    assert_eq!(half.next().await.unwrap().as_deref(), Some(&b"half of it"[..]));
    eventually("all are at the instance", || instance.counts().in_flight() == 3).await;
    process.signal("TERM");
    assert_eq!(process.ended().await.code(), Some(0));
    let log = std::fs::read_to_string(folder.path().join("access.log")).unwrap();
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3, "{log}");
    for line in &lines {
        assert_eq!(line["reason"], "shutdown", "{log}");
        assert_eq!(line["response_bytes"], if line["path"] == "/half" { 10 } else { 0 }, "{log}");
    }
}

#[tokio::test]
async fn the_deadline_and_a_second_signal_end_it_whatever_is_under_way() {
    let instance = Instance::h2c().on("/silent", Reply::silence()).start().await;
    let folder = tempfile::tempdir().unwrap();
    for (drain, signals, code) in [
        ("{ delay: 0s, deadline: 100ms }", &["TERM"][..], 0),
        ("{ delay: 1h, deadline: 1h }", &["TERM", "TERM"], 1),
        ("{ delay: 0s, deadline: 1h }", &["INT", "TERM"], 1),
    ] {
        let (mut process, reached) = start(folder.path(), drain, &instance).await;
        let client = Client::h2c(reached.clients[0]).await;
        let before = instance.counts().requests();
        let asking = tokio::spawn(async move { client.try_send(ask("/silent")).await });
        eventually("the request is under way", || instance.counts().requests() > before).await;
        for signal in signals {
            process.signal(signal);
            process.logs("draining").await;
        }
        assert_eq!(process.ended().await.code(), Some(code), "{drain}");
        assert!(asking.await.unwrap().is_err(), "{drain}: cut off");
    }
}
