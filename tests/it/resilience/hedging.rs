//! A slow instance is overtaken by another one.

use std::time::Duration;

use testkit::{Client, Gate, Instance, Reply, eventually, get, post};

use super::router;
use crate::support::{Front, Running, told};

const PETS: [(&str, &str); 1] = [("service_id", "pets")];
const BUDGET: &str = "retries: { budget: { share: 100%, floor: 1000 } }";
const CANCEL: u32 = 8;

async fn hedges(router: &Running) -> u64 {
    let metrics = Client::http(router.admin()).await.send(get("/metrics", &[])).await.text();
    let line = metrics.lines().find_map(|line| line.strip_prefix("pointsman_hedges_total "));
    line.expect("the metric").parse().expect("a number")
}

#[tokio::test]
async fn the_first_answer_wins_and_the_other_try_is_given_up() {
    for h2 in [true, false] {
        let slow = if h2 { Instance::h2c() } else { Instance::http() };
        let slow = slow.answer(|_| Reply::silence()).start().await;
        let quick = Instance::h2c().named("quick").start().await;
        let router = router(&[&slow, &quick], &format!("hedge: {{ after: 50ms }}, {BUDGET}"));
        let client = router.client(Front::H2c).await;
        for _ in 0..6 {
            assert_eq!(client.send(get("/", &PETS)).await.json()["instance"], "quick");
        }
        let asked = slow.counts().requests();
        assert!(asked > 0, "it was asked");
        eventually("it is told", || slow.counts().aborted() == asked).await;
        if h2 {
            assert_eq!(slow.counts().resets(), vec![CANCEL; asked as usize]);
        }
        assert_eq!((quick.counts().requests(), hedges(&router).await), (6, asked));
        router.settled("pets").await;
    }
}

#[tokio::test]
async fn the_slow_one_may_win_too() {
    let gate = Gate::new();
    let held = gate.clone();
    let slow = Instance::h2c().named("slow").answer(move |_| Reply::unread().gate(&held).head(200).data("slow"));
    let slow = slow.start().await;
    let silent = Instance::h2c().answer(|_| Reply::silence()).start().await;
    let router = router(&[&slow, &silent], &format!("hedge: {{ after: 20ms }}, {BUDGET}"));
    let client = router.client(Front::H2c).await;
    let asking = tokio::spawn(async move { client.send(get("/", &PETS)).await });
    eventually("both are asked", || slow.counts().requests() + silent.counts().requests() == 2).await;
    gate.open();
    assert_eq!(asking.await.unwrap().text(), "slow");
    eventually("the other is told", || silent.counts().aborted() == 1).await;
}

#[tokio::test]
async fn a_hedge_that_fails_is_not_the_end_and_all_failing_is() {
    let bad = || Instance::h2c().answer(|_| Reply::script().head(503).data("busy")).start();
    let slow_reply = |_: &_| Reply::script().wait(Duration::from_millis(300)).head(200).data("late");
    let slow = Instance::h2c().answer(slow_reply).start().await;
    let first = bad().await;
    let router_of = |instances: &[&Instance]| router(instances, &format!("hedge: {{ after: 20ms }}, {BUDGET}"));
    let router = router_of(&[&slow, &first]);
    let client = router.client(Front::H2c).await;
    for _ in 0..4 {
        assert_eq!(client.send(get("/", &PETS)).await.text(), "late");
    }
    assert!(first.counts().requests() > 0);
    let late = |_: &_| Reply::script().wait(Duration::from_millis(100)).head(503).data("late");
    let last = Instance::h2c().answer(late).start().await;
    let router = router_of(&[&last, &first]);
    let answer = router.client(Front::H2c).await.send(get("/", &PETS)).await;
    assert_eq!(told(&answer), (503, None));
}

#[tokio::test]
async fn at_the_95th_percentile_it_waits_until_it_knows_it() {
    let gate = Gate::new();
    let held = gate.clone();
    let slow = Instance::h2c().on("/slow", Reply::unread().gate(&held).head(200)).start().await;
    let quick = Instance::h2c().start().await;
    let router = router(&[&slow, &quick], &format!("hedge: {{ after: p95 }}, {BUDGET}"));
    let client = router.client(Front::H2c).await;
    for _ in 0..120 {
        assert_eq!(client.send(get("/", &PETS)).await.status, 200);
    }
    for _ in 0..4 {
        assert_eq!(client.send(get("/slow", &PETS)).await.json()["path"], "/slow");
    }
    eventually("it was asked, and given up", || slow.counts().aborted() > 0).await;
    gate.open();
}

#[tokio::test]
async fn without_budget_and_with_a_body_nothing_is_asked_twice() {
    let slow = || Instance::h2c().answer(|_| Reply::script().wait(Duration::from_millis(200)).head(204)).start();
    let (first, second) = (slow().await, slow().await);
    let hedge = "hedge: { after: 20ms }";
    let spent = router(&[&first, &second], &format!("{hedge}, retries: {{ budget: {{ share: 0%, floor: 0 }} }}"));
    assert_eq!(spent.client(Front::H2c).await.send(get("/", &PETS)).await.status, 204);
    spent.settled("pets").await;
    let table = spent.table("pets").await;
    let asked = table["members"].as_array().unwrap().iter().map(|member| member["requests"].as_u64().unwrap());
    assert_eq!(asked.sum::<u64>(), 1, "what was not sent counts nowhere");
    let bodies = router(&[&first, &second], &format!("{hedge}, {BUDGET}"));
    assert_eq!(bodies.client(Front::H2c).await.send(post("/", &PETS, "pay 1")).await.status, 204);
    assert_eq!(first.counts().requests() + second.counts().requests(), 2);
}

#[tokio::test]
async fn a_hedge_that_finds_no_room_costs_no_budget() {
    let slow = || Instance::h2c().answer(|_| Reply::script().wait(Duration::from_millis(300)).head(204)).start();
    let (first, second) = (slow().await, slow().await);
    let full = "hedge: { after: 20ms }, concurrency: { per_instance: 1 }";
    let router = router(&[&first, &second], &format!("{full}, {BUDGET}"));
    let client = router.client(Front::H2c).await;
    let (one, two) = tokio::join!(client.send(get("/", &PETS)), client.send(get("/", &PETS)));
    assert_eq!((one.status.as_u16(), two.status.as_u16()), (204, 204));
    assert_eq!((first.counts().requests(), second.counts().requests(), hedges(&router).await), (1, 1, 0));
    assert_eq!(router.table("pets").await["retries"]["allowed"], 0);
}

#[tokio::test]
async fn a_client_is_told_to_stay_with_the_one_that_answered() {
    let slow = Instance::h2c().answer(|_| Reply::silence()).start().await;
    let quick = Instance::h2c().named("quick").start().await;
    let router = router(&[&slow, &quick], &format!("hedge: {{ after: 30ms }}, sticky: {{ header: x-home }}, {BUDGET}"));
    let table = router.table("pets").await;
    let token = |instance: &Instance| {
        let address = instance.addr().to_string();
        let member = table["members"].as_array().unwrap().iter().find(|member| member["address"] == address);
        member.expect("the instance")["sticky"].as_str().expect("a token").to_owned()
    };
    let client = router.client(Front::H2c).await;
    for _ in 0..6 {
        let answer = client.send(get("/", &PETS)).await;
        assert_eq!((&answer.json()["instance"], answer.header("x-home")), (&"quick".into(), Some(&*token(&quick))));
    }
    let asked = slow.counts().requests();
    assert!(asked > 0, "the other one was asked first");
    // One that is slow for once keeps its client, as one that is full does.
    let home = token(&slow);
    let answer = client.send(get("/", &[("service_id", "pets"), ("x-home", &home)])).await;
    assert_eq!((&answer.json()["instance"], answer.header("x-home")), (&"quick".into(), None));
    assert_eq!(slow.counts().requests(), asked + 1);
}
