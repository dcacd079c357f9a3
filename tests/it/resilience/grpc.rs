//! gRPC's own word for "I cannot": UNAVAILABLE, before any message or behind some.

use std::time::Duration;

use testkit::{Answer, Client, Instance, Reply, Seen, grpc_message};

use crate::support::{Config, Front, Running};

/// Between what an instance says and what it does, so that one does not overtake the other.
const SHORT: Duration = Duration::from_millis(50);

fn router(urls: &[String], settings: &str) -> Running {
    let services = format!("{{ pets: {{ balance: round_robin, {settings} }} }}");
    Config::new().service("pets", urls).set("services", &services).start()
}

async fn call(client: &Client) -> Answer {
    let fields = [("service_id", "pets"), ("content-type", "application/grpc"), ("te", "trailers")];
    client.send(testkit::post("/pets.Pets/Find", &fields, grpc_message(b"7"))).await
}

/// What the client was told, in the head or behind the messages.
fn status(answer: &Answer) -> &str {
    answer.header("grpc-status").or_else(|| answer.trailer("grpc-status")).expect("a status")
}

fn refuses(_: &Seen) -> Reply {
    Reply::grpc_failure(14, "no")
}

fn ends_politely(_: &Seen) -> Reply {
    let head = Reply::script().head(200).header("content-type", "application/grpc");
    head.data(grpc_message(b"half")).trailers(&[("grpc-status", "14")])
}

/// Who ends a long stream says UNAVAILABLE behind its messages, as this router does where an instance leaves.
#[tokio::test]
async fn an_instance_that_is_unavailable_is_put_out_and_one_that_ends_a_stream_is_not() {
    let refuses: fn(&Seen) -> Reply = refuses;
    for (answer, failures) in [(refuses, 3..=3), (ends_politely, 5..=15)] {
        let bad = Instance::h2c().answer(answer).start().await;
        let good = Instance::h2c().answer(|_| Reply::grpc(&[b"pong"])).start().await;
        let router = router(&[bad.url(), good.url()], "eject: { consecutive: 3, base: 30s }");
        let client = router.client(Front::H2c).await;
        let mut told = Vec::new();
        for _ in 0..20 {
            told.push(status(&call(&client).await).to_owned());
        }
        let failed = told.iter().map(|status| u64::from(status == "14")).sum();
        assert!(failures.contains(&failed), "{told:?}");
        assert_eq!((bad.counts().requests(), good.counts().requests()), (failed, 20 - failed), "{told:?}");
    }
}

/// The method may have been carried out: UNAVAILABLE is no proof that it was not.
#[tokio::test]
async fn a_call_that_failed_is_made_again_only_if_the_service_says_that_it_may_be() {
    let bad = Instance::h2c().answer(refuses).start().await;
    let good = Instance::h2c().answer(|_| Reply::grpc(&[b"pong"])).start().await;
    for (settings, expected) in [
        ("eject: off", ["14", "0"]),
        ("eject: off, retries: { methods: [ POST ], budget: { share: 100%, floor: 1000 } }", ["0", "0"]),
    ] {
        let router = router(&[bad.url(), good.url()], settings);
        let client = router.client(Front::H2c).await;
        let before = bad.counts().requests();
        for _ in 0..5 {
            let mut told = [status(&call(&client).await).to_owned(), status(&call(&client).await).to_owned()];
            told.sort_by(|a, b| b.cmp(a));
            assert_eq!(told, expected, "{settings}");
        }
        assert_eq!(bad.counts().requests() - before, 5, "{settings}: each has its turns");
        router.settled("pets").await;
    }
}

/// What came behind messages was passed on by then, so nobody else is asked.
#[tokio::test]
async fn a_status_behind_messages_is_passed_on() {
    let bad = Instance::h2c().answer(ends_politely).start().await;
    let good = Instance::h2c().answer(|_| Reply::grpc(&[b"pong"])).start().await;
    let router = router(&[bad.url(), good.url()], "eject: off, retries: { methods: [ POST ] }");
    let client = router.client(Front::H2c).await;
    let mut told = [call(&client).await, call(&client).await].map(|answer| status(&answer).to_owned());
    told.sort();
    assert_eq!(told, ["0", "14"]);
}

#[tokio::test]
async fn the_circuit_of_a_service_counts_it_too() {
    let bad = Instance::h2c().answer(refuses).start().await;
    let router = router(&[bad.url()], "eject: off, breaker: { failures: 50%, requests: 3, window: 10s, open: 9s }");
    let client = router.client(Front::H2c).await;
    for _ in 0..3 {
        assert_eq!(call(&client).await.header("x-pointsman-reason"), None);
    }
    assert_eq!(call(&client).await.header("x-pointsman-reason"), Some("circuit_open"));
    assert_eq!(bad.counts().requests(), 3);
}

/// What clients that try again go by: UNAVAILABLE behind whole messages; half a message has no good end, nor has a stream that
/// its instance resets and lives on.
#[tokio::test]
async fn a_call_whose_instance_dies_between_messages_is_unavailable() {
    let answer = |seen: &Seen| {
        let message = grpc_message(b"one");
        let head = Reply::unread().head(200).header("content-type", "application/grpc");
        match seen.path() {
            "/dies" => head.data(message).wait(SHORT).close(),
            "/resets" => head.data(message).wait(SHORT).reset(2_u32),
            "/early" => head.wait(SHORT).close(),
            "/late" => head.data(message.clone()).data(message.slice(..6)).wait(SHORT).close(),
            _ => head.data(message.slice(..3)).wait(SHORT).close(),
        }
    };
    let instance = Instance::h2c().answer(answer).start().await;
    let router = router(&[instance.url()], "eject: off");
    for front in [Front::H2c, Front::H2Tls] {
        let client = router.client(front).await;
        for (path, messages) in
            [("/dies", Some(1)), ("/resets", None), ("/early", Some(0)), ("/late", None), ("/first", None)]
        {
            let fields = [("service_id", "pets"), ("content-type", "application/grpc"), ("te", "trailers")];
            let answer = client.try_send(testkit::post(path, &fields, grpc_message(b"7"))).await;
            match (answer, messages) {
                (Ok(answer), Some(messages)) => {
                    assert_eq!((answer.status.as_u16(), answer.trailer("grpc-status")), (200, Some("14")), "{path}");
                    assert_eq!(answer.body.len(), messages * grpc_message(b"one").len(), "{path}");
                }
                (Err(_), None) => {}
                (answer, _) => panic!("{path}: {answer:?}"),
            }
        }
    }
    let client = router.client(Front::H1).await;
    let fields = [("service_id", "pets"), ("content-type", "application/grpc"), ("te", "trailers")];
    let answer = client.try_send(testkit::post("/dies", &fields, grpc_message(b"7"))).await;
    assert!(answer.is_err(), "by HTTP/1.1 it must not look whole: {answer:?}");
    router.settled("pets").await;
    let metrics = crate::discover::rig::admin(router.admin(), "/metrics").await.text();
    assert!(metrics.contains("pointsman_response_broken_total{reason=\"reset\"} 11\n"), "{metrics}");
}
