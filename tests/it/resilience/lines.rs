//! Who waits for a place waits behind those that wait for the same, on whatever core, and behind nobody else.

use http::Request;
use testkit::{Client, Gate, Instance, Reply, Stream, bounded, eventually, get};

use super::{at_rest, held_by, open, until};
use crate::{
    discover::rig::Load,
    support::{Config, Front, told},
};

const SLOW: [(&str, &str); 1] = [("service_id", "slow")];
/// For all that is refused before anything is done.
const REFUSED: u32 = 7;

fn concurrency(settings: &str) -> Config {
    Config::new()
        .set("services", &format!("{{ slow: {{ balance: round_robin, eject: off, concurrency: {settings} }} }}"))
}

/// Opens a request to the instances of an environment.
async fn open_in(client: &Client, environment: &str) -> Stream {
    let head = Request::builder().uri("/").header("service_id", "slow").header("env_tag", environment);
    client.open(head.body(()).expect("a request"), true).await.expect("a stream")
}

#[tokio::test]
async fn an_environment_that_is_full_keeps_nobody_else_waiting() {
    let gate = Gate::new();
    let full = Instance::h2c().answer(held_by(&gate)).start().await;
    let free = Instance::h2c().start().await;
    let config = concurrency("{ per_instance: 1, wait: 9s }");
    let router = config.service("slow", &[free.url()]).service("slow|test", &[full.url()]).start();
    let client = router.client(Front::H2c).await;
    let mut streams = vec![open_in(&client, "test").await];
    eventually("the only one of its environment is full", || full.counts().in_flight() == 1).await;
    for number in 1..4 {
        streams.push(open_in(&client, "test").await);
        until(&router, "slow", "queued", number).await;
    }
    for _ in 0..20 {
        assert_eq!(client.send(get("/", &SLOW)).await.status, 200);
    }
    assert_eq!((full.counts().requests(), free.counts().requests()), (1, 20));
    assert_eq!(router.table("slow").await["queued"], 3, "those of the environment still wait");
    gate.open();
    for stream in streams {
        assert_eq!(stream.answer().await.unwrap().status, 200);
    }
    at_rest(&router, "slow").await;
}

/// The service's own limit is one for all environments: a place goes to whoever came first, and on to the next if he cannot
/// use it.
#[tokio::test]
async fn a_place_goes_on_to_whoever_can_use_it() {
    let (gates, names) = ([Gate::new(), Gate::new()], ["slow|a", "slow|b"]);
    let mut config = concurrency("{ requests: 2, per_instance: 1, wait: 9s }");
    let mut instances = Vec::new();
    for (gate, name) in gates.iter().zip(names) {
        let instance = Instance::h2c().answer(held_by(gate)).start().await;
        config = config.service(name, &[instance.url()]);
        instances.push(instance);
    }
    let router = config.start();
    let client = router.client(Front::H2c).await;
    let mut streams = vec![open_in(&client, "a").await, open_in(&client, "b").await];
    eventually("both are full", || instances.iter().all(|instance| instance.counts().in_flight() == 1)).await;
    for (number, environment) in [(1, "a"), (2, "a"), (3, "b")] {
        streams.push(open_in(&client, environment).await);
        until(&router, "slow", "queued", number).await;
    }
    gates[1].open();
    eventually("the last one is served before the others", || instances[1].counts().requests() == 2).await;
    assert_eq!(instances[0].counts().requests(), 1);
    until(&router, "slow", "queued", 2).await;
    gates[0].open();
    for stream in streams {
        assert_eq!(bounded("an answer", stream.answer()).await.unwrap().status, 200);
    }
    at_rest(&router, "slow").await;
}

#[tokio::test]
async fn those_who_wait_on_different_cores_are_served_in_the_order_they_came() {
    let gate = Gate::new();
    let slow = Instance::h2c().answer(held_by(&gate)).start().await;
    let config = concurrency("{ requests: 1, queue: 100, wait: 9s }").set("threads", "3");
    let router = config.service("slow", &[slow.url()]).start();
    let (mut clients, mut streams) = (Vec::new(), Vec::new());
    for number in 0..9 {
        // Each connection goes to the core with the fewest.
        let client = router.client(Front::H2c).await;
        streams.push(open(&client, &format!("/{number}"), "slow").await);
        clients.push(client);
        eventually("the first is at the instance", || slow.counts().requests() == 1).await;
        until(&router, "slow", "queued", number).await;
    }
    gate.open();
    for stream in streams {
        assert_eq!(bounded("an answer", stream.answer()).await.unwrap().status, 200);
    }
    let order: Vec<String> = slow.seen().iter().map(|seen| seen.path().to_owned()).collect();
    assert_eq!(order, (0..9).map(|number| format!("/{number}")).collect::<Vec<_>>());
    at_rest(&router, "slow").await;
}

#[tokio::test]
async fn a_core_whose_line_is_never_empty_leaves_the_others_their_turn() {
    let answer =
        |_: &_| Reply::script().wait(std::time::Duration::from_millis(2)).head(200).data(r#"{"instance":"a"}"#);
    let slow = Instance::h2c().answer(answer).start().await;
    let config = concurrency("{ requests: 1, queue: 100, wait: 9s }").set("threads", "2");
    let router = config.service("slow", &[slow.url()]).start();
    // Four requests at any time, on the core of this connection.
    let load = Load::start(&router, &[Front::H2c], "slow").await;
    load.more(20).await;
    let other = router.client(Front::H2c).await;
    let mut before_it = Vec::new();
    for _ in 0..31 {
        let before = slow.counts().requests();
        assert_eq!(other.send(get("/", &SLOW)).await.status, 200);
        before_it.push(slow.counts().requests() - before - 1);
    }
    load.end().await;
    // Some more may go before it is there at all, if the machine is busy.
    before_it.sort_unstable();
    assert!(before_it[15] < 20, "four are there at any time, and so many went before it: {before_it:?}");
    at_rest(&router, "slow").await;
}

/// One that refuses did nothing, and the other one is full: nothing was sent, so it waits as if it came now.
#[tokio::test]
async fn a_request_that_was_refused_by_one_waits_for_the_other() {
    let gate = Gate::new();
    let refuses = Instance::h2c().answer(|_| Reply::resets(REFUSED)).start().await;
    let full = Instance::h2c().answer(held_by(&gate)).start().await;
    let config = concurrency("{ per_instance: 1, queue: 3, wait: 9s }");
    let router = config.service("slow", &[refuses.url(), full.url()]).start();
    let client = router.client(Front::H2c).await;
    let mut streams = vec![open(&client, "/", "slow").await];
    eventually("one is full", || full.counts().in_flight() == 1).await;
    for number in 1..4 {
        streams.push(open(&client, "/", "slow").await);
        until(&router, "slow", "queued", number).await;
    }
    assert!(refuses.counts().requests() > 0);
    // There is no room for another one: it is told what it failed at.
    let last = client.send(get("/", &SLOW)).await;
    assert!(matches!(told(&last), (502, Some("reset")) | (503, Some("service_full"))), "{:?}", told(&last));
    gate.open();
    for stream in streams {
        assert_eq!(bounded("an answer", stream.answer()).await.unwrap().text(), "done");
    }
    at_rest(&router, "slow").await;
}

/// What one instance refused waits for the other; those that come after it may be sent to the first.
#[tokio::test]
async fn a_request_that_excludes_an_instance_bars_it_to_nobody() {
    let gate = Gate::new();
    let refuses = |seen: &testkit::Seen| match seen.path() {
        "/refused" => Reply::resets(REFUSED),
        _ => Reply::script().head(200).data("there"),
    };
    let picky = Instance::h2c().answer(refuses).start().await;
    let full = Instance::h2c().answer(held_by(&gate)).start().await;
    let config = concurrency("{ per_instance: 1, queue: 9, wait: 9s }");
    let router = config.service("slow", &[picky.url(), full.url()]).start();
    let client = router.client(Front::H2c).await;
    let mut streams = Vec::new();
    for number in 0..3 {
        streams.push(open(&client, "/refused", "slow").await);
        eventually("one is full", || full.counts().in_flight() == 1).await;
        until(&router, "slow", "queued", number).await;
    }
    for _ in 0..5 {
        assert_eq!(bounded("an answer", client.send(get("/", &SLOW))).await.text(), "there");
    }
    assert_eq!(router.table("slow").await["queued"], 2);
    gate.open();
    for stream in streams {
        assert_eq!(bounded("an answer", stream.answer()).await.unwrap().text(), "done");
    }
    at_rest(&router, "slow").await;
}
