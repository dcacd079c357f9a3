//! What a client only says of itself lifts no limit: that its request is gRPC, its instance has to say too.

use testkit::{Client, Instance, Reply, Stream, grpc_message, post};

use crate::support::{Config, Front, Running};

fn fields(service: &str) -> [(&str, &str); 3] {
    [("service_id", service), ("content-type", "application/grpc"), ("te", "trailers")]
}

async fn open(client: &Client, service: &str) -> Stream {
    let start = http::Request::post("/pets.Pets/Call");
    let request = fields(service).iter().fold(start, |builder, (name, value)| builder.header(*name, *value));
    client.open(request.body(()).unwrap(), false).await.unwrap()
}

/// A router of these services, which all have the same instance.
async fn start(answer: Reply, config: Config, services: &[&str]) -> (Running, Instance) {
    let instance = Instance::h2c().answer(move |_| answer.clone()).start().await;
    let url = [instance.url()];
    (services.iter().fold(config, |config, name| config.service(name, &url)).start(), instance)
}

/// A head that says gRPC at once; the rest of the request is read after it.
fn grpc() -> Reply {
    Reply::unread().head(200).header("content-type", "application/grpc")
}

#[tokio::test]
async fn the_limit_of_bodies_holds_until_the_instance_says_that_it_is_grpc() {
    let limits = || Config::new().set("limits", "{ body: 1KiB }");
    let (router, instance) = start(Reply::echo(), limits(), &["pets"]).await;
    let client = router.client(Front::H2c).await;
    let answer = client.send(post("/", &fields("pets"), vec![0; 2000])).await;
    assert_eq!(
        (answer.header("grpc-status"), answer.header("x-pointsman-reason")),
        (Some("3"), Some("body_too_large"))
    );
    assert_eq!(instance.counts().completed(), 0);
    let answer = client.send(post("/", &fields("pets"), vec![0; 1000])).await;
    assert_eq!(answer.json()["body_bytes"], 1000);

    let services = "{ sized: { max_body: 2KiB } }";
    let reply = grpc().read().trailers(&[("grpc-status", "0")]);
    let (router, instance) = start(reply, limits().set("services", services), &["pets", "sized"]).await;
    let client = router.client(Front::H2c).await;
    for (service, is_whole) in [("pets", true), ("sized", false)] {
        let mut call = open(&client, service).await;
        call.data(grpc_message(&[0; 500])).await.unwrap();
        assert_eq!(call.head().await.unwrap().status(), 200);
        call.data(grpc_message(&[0; 3000])).await.ok();
        call.finish().ok();
        let end = call.next().await;
        assert_eq!(end.is_ok(), is_whole, "{service}: {end:?}");
        if is_whole {
            assert_eq!(call.trailers().await.unwrap().expect("trailers")["grpc-status"], "0");
        }
    }
    assert_eq!(instance.counts().completed(), 1);
}

#[tokio::test]
async fn the_limit_of_silence_holds_where_the_answer_is_not_grpc() {
    let config = Config::new().set("timeouts", "{ idle: 300ms }");
    let (router, _instance) = start(Reply::script().head(200).data("some").hang(), config, &["pets"]).await;
    let answer = router.client(Front::H2c).await.try_send(post("/", &fields("pets"), "")).await;
    assert!(answer.is_err(), "{answer:?}");
    router.settled("pets").await;
}

#[tokio::test]
async fn a_grpc_stream_that_is_silent_for_too_long_ends_well() {
    let config = || Config::new().set("services", "{ pets: { timeouts: { idle: 300ms } } }");
    let (router, instance) = start(grpc().data(grpc_message(b"one")).hang(), config(), &["pets"]).await;
    let client = router.client(Front::H2c).await;
    let answer = client.send(post("/", &fields("pets"), "")).await;
    assert_eq!((answer.trailer("grpc-status"), &answer.body), (Some("14"), &grpc_message(b"one")));
    testkit::eventually("the instance is told", || instance.counts().in_flight() == 0).await;
    router.settled("pets").await;
}

#[tokio::test]
async fn a_grpc_stream_without_a_head_is_given_up_and_nobody_is_put_out_for_it() {
    let silent = [Instance::h2c().answer(|_| Reply::silence()).start().await, Instance::h2c().start().await];
    silent[1].answer(|_| Reply::silence());
    let services = "{ pets: { balance: round_robin, timeouts: { idle: 300ms } } }";
    let urls: Vec<_> = silent.iter().map(Instance::url).collect();
    let router = Config::new().service("pets", &urls).set("services", services).start();
    let client = router.client(Front::H2c).await;
    let mut calls = Vec::new();
    for _ in 0..20 {
        let mut call = open(&client, "pets").await;
        call.finish().unwrap();
        calls.push(call);
    }
    for call in calls {
        let answer = call.answer().await.unwrap();
        assert_eq!(
            (answer.header("grpc-status"), answer.header("x-pointsman-reason")),
            (Some("4"), Some("idle_timeout"))
        );
    }
    let table = router.table("pets").await;
    assert!(table["members"].as_array().unwrap().iter().all(|member| member["admission"] == "in"), "{table}");
}
