//! gRPC in its four forms, and its two ways to fail.

use bytes::Bytes;
use http::{HeaderMap, Request};
use testkit::{
    Client, Gate, Reply, Socket, Stream,
    frame::{self, Frame},
    grpc_message, post,
};

use crate::support::{Back, Config, Front, Matrix};

const FRONTS: [Front; 2] = [Front::H2c, Front::H2Tls];
const BACKS: [Back; 2] = [Back::H2c, Back::H2Tls];

fn fields(service: &str) -> [(&str, &str); 3] {
    [("service_id", service), ("content-type", "application/grpc"), ("te", "trailers")]
}

async fn open(client: &Client, service: &str) -> Stream {
    let start = Request::post("/pets.Pets/Call");
    let request = fields(service).iter().fold(start, |builder, (name, value)| builder.header(*name, *value));
    client.open(request.body(()).unwrap(), false).await.unwrap()
}

/// The trailers of a call that went well.
fn check_ok(trailers: Option<&HeaderMap>) {
    assert_eq!(trailers.expect("trailers")["grpc-status"], "0");
}

#[tokio::test]
async fn a_unary_call_brings_its_message_and_its_status() {
    let matrix = Matrix::start(Config::new(), |_| Reply::grpc(&[b"pong"])).await;
    for (front, back) in FRONTS.into_iter().flat_map(|front| BACKS.map(|back| (front, back))) {
        let client = matrix.router.client(front).await;
        let answer = client.send(post("/pets.Pets/Get", &fields(back.service()), grpc_message(b"ping"))).await;
        assert_eq!((answer.status.as_u16(), &answer.body), (200, &grpc_message(b"pong")), "{front:?} to {back:?}");
        check_ok(answer.trailers.as_ref());
        let seen = matrix.instance(back).seen().pop().expect("a request");
        assert_eq!((seen.path(), seen.header("te"), seen.body_bytes), ("/pets.Pets/Get", Some("trailers"), 9));
    }
}

#[tokio::test]
async fn a_stream_of_answers_comes_message_by_message() {
    let gate = Gate::new();
    let held = gate.clone();
    let reply = move |_: &_| {
        let head = Reply::script().head(200).header("content-type", "application/grpc");
        head.data(grpc_message(b"one")).gate(&held).data(grpc_message(b"two")).trailers(&[("grpc-status", "0")])
    };
    let matrix = Matrix::start(Config::new(), reply).await;
    let client = matrix.router.client(Front::H2Tls).await;
    let mut calls = Vec::new();
    for back in BACKS {
        let mut call = open(&client, back.service()).await;
        call.data(grpc_message(b"ask")).await.unwrap();
        call.finish().unwrap();
        call.head().await.unwrap();
        assert_eq!(call.next().await.unwrap(), Some(grpc_message(b"one")), "{back:?}: before the second exists");
        calls.push(call);
    }
    gate.open();
    for mut call in calls {
        assert_eq!(call.next().await.unwrap(), Some(grpc_message(b"two")));
        assert_eq!(call.next().await.unwrap(), None);
        check_ok(call.trailers().await.unwrap().as_ref());
    }
}

#[tokio::test]
async fn both_sides_talk_in_turn_on_one_stream() {
    let matrix = Matrix::start(Config::new(), |_| Reply::mirror()).await;
    let client = matrix.router.client(Front::H2c).await;
    for back in BACKS {
        let mut call = open(&client, back.service()).await;
        assert_eq!(call.head().await.unwrap().status(), 200, "{back:?}: before anything was sent");
        for turn in 0..20_u8 {
            let message = grpc_message(&[turn; 100]);
            call.data(message.clone()).await.unwrap();
            assert_eq!(call.next().await.unwrap(), Some(message), "{back:?}, turn {turn}");
        }
        call.finish_with(HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())])).unwrap();
        assert_eq!(call.next().await.unwrap(), None);
        check_ok(call.trailers().await.unwrap().as_ref());
    }
}

#[tokio::test]
async fn a_stream_of_requests_is_answered_when_the_instance_has_heard_enough() {
    let reply = |_: &_| {
        let head = Reply::unread().head(200).header("content-type", "application/grpc");
        head.data(grpc_message(b"enough")).trailers(&[("grpc-status", "0")])
    };
    let matrix = Matrix::start(Config::new(), reply).await;
    let client = matrix.router.client(Front::H2c).await;
    for back in BACKS {
        let mut call = open(&client, back.service()).await;
        call.data(grpc_message(b"one")).await.unwrap();
        let answer = call.answer().await.unwrap();
        assert_eq!(answer.body, grpc_message(b"enough"), "{back:?}");
        check_ok(answer.trailers.as_ref());
        matrix.router.settled(back.service()).await;
    }
}

#[tokio::test]
async fn a_failure_in_one_head_stays_one_head() {
    let matrix = Matrix::start(Config::new(), |_| Reply::grpc_failure(5, "no such pet")).await;
    for back in BACKS {
        let mut socket = Socket::connect(matrix.router.clear()).await;
        frame::send_preface(&mut socket, &[]).await.unwrap();
        let pseudo = [(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/pets.Pets/Get")];
        let head = Frame::headers(1, &[&pseudo[..], &fields(back.service())].concat(), false);
        frame::send(&mut socket, &head).await.unwrap();
        frame::send(&mut socket, &Frame::data(1, grpc_message(b"ask"), true)).await.unwrap();
        let answer = frame::next(&mut socket, frame::HEADERS).await.expect("a head");
        assert_eq!(answer.flags & frame::END_STREAM, frame::END_STREAM, "{back:?}: something follows the head");

        let client = matrix.router.client(Front::H2Tls).await;
        let answer = client.send(post("/pets.Pets/Get", &fields(back.service()), grpc_message(b"ask"))).await;
        assert_eq!((answer.header("grpc-status"), answer.header("grpc-message")), (Some("5"), Some("no such pet")));
        assert_eq!((answer.body, answer.trailers), (Bytes::new(), None), "{back:?}");
    }
}
