//! Gateway failures that a client elicits by what it asks for are held against nobody.

use testkit::{Client, Instance, Reply, get};

use super::member;
use crate::support::{Config, Front, Running};

/// Every instance gets its turn, and every retry is paid.
fn start(instances: &[Instance]) -> Running {
    let urls: Vec<_> = instances.iter().map(Instance::url).collect();
    let retries = "{ budget: { share: 100%, floor: 1000 }, backoff: { base: 1ms, longest: 1ms } }";
    // Nobody is tried again within this test.
    let rest = "{ base: 1m, longest: 1m }";
    let services = format!(r#"{{ "*": {{ balance: round_robin, retries: {retries}, eject: {rest} }} }}"#);
    Config::new().service("pets", &urls).set("services", &services).start()
}

/// Instances of which so many fail whatever they are asked; all fail at `/poison`.
async fn instances(all: usize, failing: usize) -> Vec<Instance> {
    let mut instances = Vec::new();
    for at in 0..all {
        let whatever = if at < failing { 503 } else { 200 };
        let answer = move |seen: &testkit::Seen| match seen.path() {
            "/poison" => Reply::status(502),
            "/bug" => Reply::status(if whatever == 503 { 503 } else { 500 }),
            _ => Reply::status(whatever),
        };
        instances.push(if at % 2 == 0 { Instance::http() } else { Instance::h2c() }.answer(answer).start().await);
    }
    instances
}

async fn ask(client: &Client, path: &str) -> u16 {
    client.send(get(path, &[("service_id", "pets")])).await.status.as_u16()
}

/// How many do not take requests.
async fn out(router: &Running, instances: &[Instance]) -> usize {
    let mut out = 0;
    for instance in instances {
        out += usize::from(member(router, &instance.url()).await["admission"] != "in");
    }
    out
}

#[tokio::test]
async fn a_request_that_fails_everywhere_puts_nobody_out() {
    let instances = instances(4, 0).await;
    let router = start(&instances);
    let client = router.client(Front::H2c).await;
    for _ in 0..20 {
        assert_eq!(ask(&client, "/poison").await, 502);
    }
    assert!(instances.iter().all(|instance| instance.counts().requests() > 5), "they were asked");
    assert_eq!(out(&router, &instances).await, 0);
    router.settled("pets").await;
}

#[tokio::test]
async fn whoever_fails_what_another_one_answers_is_put_out_also_two_of_them() {
    for (path, answer) in [("/", 200), ("/bug", 500)] {
        let instances = instances(5, 2).await;
        let router = start(&instances);
        let client = router.client(Front::H2c).await;
        for _ in 0..40 {
            assert_eq!(ask(&client, path).await, answer);
        }
        let asked: Vec<_> = instances.iter().map(|instance| instance.counts().requests()).collect();
        assert_eq!((asked[0], asked[1]), (5, 5), "{path}: {asked:?}");
        assert_eq!(out(&router, &instances).await, 2, "{path}");
        router.settled("pets").await;
    }
}

#[tokio::test]
async fn the_only_one_that_was_asked_is_judged_by_its_word() {
    let instances = instances(3, 0).await;
    let router = start(&instances);
    let client = router.client(Front::H2c).await;
    for _ in 0..20 {
        // Not to be sent twice.
        let answer = client.send(testkit::post("/poison", &[("service_id", "pets")], "x")).await;
        assert_eq!(answer.status, 502);
    }
    assert_eq!(out(&router, &instances).await, 1, "one, which is what may be out of three");
}
