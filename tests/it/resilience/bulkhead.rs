//! How much of one service may be in hand, and the queue before it.

use testkit::{Gate, Instance, Socket, bounded, eventually, get, post};

use super::{at_rest, held_by, open, until};
use crate::support::{Back, Config, Front, Running, told};

/// A router to these instances of `slow`, whose concurrency is as said, and one of `quick`.
async fn router(concurrency: &str, slow: &[&Instance]) -> (Running, Instance) {
    let quick = Instance::h2c().start().await;
    let urls: Vec<String> = slow.iter().map(|instance| instance.url()).collect();
    let services = format!("{{ slow: {{ concurrency: {concurrency} }} }}");
    let config = Config::new().set("services", &services).service("slow", &urls);
    (config.service("quick", &[quick.url()]).start(), quick)
}

#[tokio::test]
async fn fifty_requests_that_hang_do_not_slow_another_service() {
    let gate = Gate::new();
    let slow = Instance::h2c().answer(held_by(&gate)).start().await;
    let (router, quick) = router("{ requests: 50, queue: 0 }", &[&slow]).await;
    let client = router.client(Front::H2c).await;
    let mut hanging = Vec::new();
    for _ in 0..50 {
        hanging.push(open(&client, "/", "slow").await);
    }
    eventually("all fifty are at the instance", || slow.counts().in_flight() == 50).await;
    let refused = client.send(get("/", &[("service_id", "slow")])).await;
    assert_eq!(told(&refused), (503, Some("service_full")));
    assert_eq!(refused.header("retry-after"), Some("1"));
    for _ in 0..50 {
        assert_eq!(client.send(get("/", &[("service_id", "quick")])).await.status, 200);
    }
    assert_eq!((quick.counts().requests(), slow.counts().requests()), (50, 50));
    gate.open();
    for stream in hanging {
        assert_eq!(stream.answer().await.unwrap().text(), "done");
    }
    at_rest(&router, "slow").await;
    assert_eq!(client.send(get("/", &[("service_id", "slow")])).await.status, 200);
}

#[tokio::test]
async fn those_who_wait_are_served_in_the_order_they_came() {
    let gate = Gate::new();
    let slow = Instance::h2c().answer(held_by(&gate)).start().await;
    let (router, _quick) = router("{ requests: 1, queue: 10, wait: 9s }", &[&slow]).await;
    let client = router.client(Front::H2c).await;
    let mut streams = Vec::new();
    for number in 0..6 {
        streams.push(open(&client, &format!("/{number}"), "slow").await);
        until(&router, "slow", "queued", number).await;
    }
    assert_eq!(router.table("slow").await["in_flight"], 1);
    gate.open();
    for stream in streams {
        assert_eq!(stream.answer().await.unwrap().status, 200);
    }
    let order: Vec<String> = slow.seen().iter().map(|seen| seen.path().to_owned()).collect();
    assert_eq!(order, ["/0", "/1", "/2", "/3", "/4", "/5"]);
    at_rest(&router, "slow").await;
}

#[tokio::test]
async fn the_wait_ends_with_its_time_with_the_deadline_and_with_the_client() {
    let gate = Gate::new();
    let slow = Instance::h2c().answer(held_by(&gate)).start().await;
    let config = Config::new().service("slow", &[slow.url()]);
    let services = "{ slow: { concurrency: { requests: 1, queue: 2, wait: 300ms } } }";
    let routes = "[ { prefix: /soon, service: slow, timeout: 100ms } ]";
    let router = config.set("services", services).set("routes", routes).start();
    let client = router.client(Front::H2c).await;
    let first = open(&client, "/", "slow").await;
    eventually("the only place is taken", || slow.counts().in_flight() == 1).await;

    let (waits, soon) = (get("/", &[("service_id", "slow")]), get("/soon", &[]));
    let (waited, ended) = tokio::join!(client.send(waits.clone()), client.send(soon));
    assert_eq!(told(&waited), (503, Some("queue_timeout")));
    assert_eq!(told(&ended), (504, Some("deadline")));

    // Two who leave make room for two who come.
    for _ in 0..2 {
        let gone = open(&client, "/", "slow").await;
        let mut raw = Socket::connect(router.clear()).await;
        raw.send("POST / HTTP/1.1\r\nHost: a\r\nservice_id: slow\r\nContent-Length: 4\r\n\r\nbody").await.unwrap();
        until(&router, "slow", "queued", 2).await;
        assert_eq!(told(&client.send(waits.clone()).await), (503, Some("service_full")));
        drop((gone, raw));
        until(&router, "slow", "queued", 0).await;
    }
    gate.open();
    assert_eq!(first.answer().await.unwrap().status, 200);
    assert_eq!(slow.counts().requests(), 1, "nobody who waited in vain reached it");
    at_rest(&router, "slow").await;
}

#[tokio::test]
async fn a_body_waits_with_its_request_and_arrives_whole() {
    for back in [Back::H1, Back::H2c] {
        let gate = Gate::new();
        let config = Config::new();
        let slow = back.instance(config.certs()).answer(held_by(&gate)).start().await;
        let (router, _quick) = router("{ requests: 1, wait: 9s }", &[&slow]).await;
        let client = router.client(Front::H2c).await;
        let first = open(&client, "/", "slow").await;
        eventually("the only place is taken", || slow.counts().in_flight() == 1).await;
        let others = [router.client(Front::H1).await, router.client(Front::H2c).await];
        let send = async |client: &testkit::Client| {
            client.send(post("/", &[("service_id", "slow")], vec![7; 300_000])).await.status.as_u16()
        };
        let opens = async {
            until(&router, "slow", "queued", 2).await;
            gate.open();
            first.answer().await.unwrap()
        };
        let statuses = bounded("all are answered", async { tokio::join!(send(&others[0]), send(&others[1]), opens) });
        let (one, two, _) = statuses.await;
        assert_eq!((one, two), (200, 200), "{back:?}");
        let sizes: Vec<u64> = slow.seen().iter().map(|seen| seen.to_json()["body_bytes"].as_u64().unwrap()).collect();
        assert_eq!(sizes, [0, 300_000, 300_000], "{back:?}");
        at_rest(&router, "slow").await;
    }
}

#[tokio::test]
async fn no_instance_gets_more_than_it_may_have_and_who_waits_gets_the_first_that_is_free() {
    let gates = [Gate::new(), Gate::new()];
    let [a, b] = [Instance::h2c().answer(held_by(&gates[0])), Instance::http().answer(held_by(&gates[1]))];
    let (a, b) = (a.start().await, b.start().await);
    let (router, _quick) = router("{ per_instance: 2, queue: 1, wait: 9s }", &[&a, &b]).await;
    let client = router.client(Front::H2c).await;
    let mut streams = Vec::new();
    for _ in 0..5 {
        streams.push(open(&client, "/", "slow").await);
    }
    until(&router, "slow", "queued", 1).await;
    eventually("no place is left", || (a.counts().in_flight(), b.counts().in_flight()) == (2, 2)).await;
    assert_eq!(told(&client.send(get("/", &[("service_id", "slow")])).await), (503, Some("service_full")));
    gates[1].open();
    eventually("the one that waited", || b.counts().requests() == 3).await;
    gates[0].open();
    for stream in streams {
        assert_eq!(stream.answer().await.unwrap().status, 200);
    }
    at_rest(&router, "slow").await;
}

#[tokio::test]
async fn a_reload_changes_the_limit_for_those_who_come_and_forgets_nobody() {
    let gate = Gate::new();
    let slow = Instance::h2c().answer(held_by(&gate)).start().await;
    let config = |requests: u32| {
        let services = format!("{{ slow: {{ concurrency: {{ requests: {requests}, queue: 0 }} }} }}");
        Config::new().set("services", &services).service("slow", &[slow.url()])
    };
    let router = config(1).start();
    let client = router.client(Front::H2c).await;
    let first = open(&client, "/", "slow").await;
    eventually("the only place is taken", || slow.counts().in_flight() == 1).await;
    let next = config(2);
    let settings = settings::parse(&next.yaml(), std::path::Path::new("next.yml"), &|_| None).unwrap();
    router.router.replace(settings).await.unwrap();
    let second = open(&client, "/", "slow").await;
    eventually("there is one more", || slow.counts().in_flight() == 2).await;
    assert_eq!(told(&client.send(get("/", &[("service_id", "slow")])).await), (503, Some("service_full")));
    gate.open();
    for stream in [first, second] {
        assert_eq!(stream.answer().await.unwrap().status, 200);
    }
    at_rest(&router, "slow").await;
}
