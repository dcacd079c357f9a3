//! Streams that may go on for days end when they are old, so that their clients come back and are spread anew.

use std::time::Duration;

use testkit::{Instance, Reply, eventually, get, grpc_message, post};
use tokio::time::Instant;

use super::{open, router};
use crate::support::Front;

const AGE: Duration = Duration::from_millis(500);

fn stream(seen: &testkit::Seen) -> Reply {
    let head = Reply::script().head(200);
    match seen.path() {
        "/events" => head.header("content-type", "text/event-stream").data("data: 1\n\n").hang(),
        "/grpc" => head.header("content-type", "application/grpc").pieces(1000, 10, AGE / 20),
        _ => head.pieces(20, 10, AGE / 10),
    }
}

#[tokio::test]
async fn long_streams_end_well_at_their_age_and_others_go_on() {
    for instance in [Instance::http(), Instance::h2c()] {
        let instance = instance.answer(stream).start().await;
        let router = router(&[&instance], "timeouts: { stream_age: 500ms }");
        let client = router.client(Front::H2c).await;
        let start = Instant::now();
        let file = open(&client, "/file", "pets").await;
        let grpc = open(&client, "/grpc", "pets").await;
        let events = router.client(Front::H1).await;
        let events = events.send(get("/events", &[("service_id", "pets")])).await;
        assert_eq!(events.text(), "data: 1\n\n", "complete, by HTTP/1's rules too");
        let answer = grpc.answer().await.expect("a clean end");
        assert_eq!(answer.trailer("grpc-status"), Some("14"));
        assert!(answer.body.len() >= 10, "what came until then arrived");
        assert!(start.elapsed() >= AGE * 9 / 10, "{:?}", start.elapsed());
        assert_eq!(file.answer().await.expect("no stream of this kind").body.len(), 200);
        eventually("the instance was told", || instance.counts().in_flight() == 0).await;
        router.settled("pets").await;
    }
}

/// A message is not cut in two; what comes behind it is not sent any more.
#[tokio::test]
async fn a_call_ends_between_two_messages() {
    let message = grpc_message(b"one");
    let (first, second) = (message.slice(..6), message.slice(6..));
    let answer = move |_: &testkit::Seen| {
        let head = Reply::unread().head(200).header("content-type", "application/grpc");
        head.data(first.clone()).wait(AGE * 2).data(second.clone()).hang()
    };
    let instance = Instance::h2c().answer(answer).start().await;
    let router = router(&[&instance], "timeouts: { stream_age: 500ms }");
    let fields = [("service_id", "pets"), ("content-type", "application/grpc"), ("te", "trailers")];
    let client = router.client(Front::H2c).await;
    let answer = client.try_send(post("/", &fields, grpc_message(b"7"))).await.expect("a clean end");
    assert_eq!((&answer.body, answer.trailer("grpc-status")), (&message, Some("14")));
    router.settled("pets").await;
}

/// Its time comes within its last message: that is all there is, and what its instance says of it counts.
#[tokio::test]
async fn a_call_that_ends_by_itself_keeps_its_own_status() {
    let message = grpc_message(b"one");
    let (first, second) = (message.slice(..6), message.slice(6..));
    let answer = move |_: &testkit::Seen| {
        let head = Reply::unread().head(200).header("content-type", "application/grpc");
        head.data(first.clone()).wait(AGE * 2).data(second.clone()).trailers(&[("grpc-status", "0")])
    };
    let instance = Instance::h2c().answer(answer).start().await;
    let router = router(&[&instance], "timeouts: { stream_age: 500ms }");
    let fields = [("service_id", "pets"), ("content-type", "application/grpc"), ("te", "trailers")];
    let client = router.client(Front::H2c).await;
    let answer = client.try_send(post("/", &fields, grpc_message(b"7"))).await.expect("a clean end");
    assert_eq!((&answer.body, answer.trailer("grpc-status")), (&message, Some("0")));
    router.settled("pets").await;
}
