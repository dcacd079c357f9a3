//! Instances that take a request and answer nothing: however many are tried, the client waits once, and half of that again.

use testkit::{Instance, Reply, get, post};

use super::{router, urls};
use crate::support::{Front, Running, told};

const PETS: [(&str, &str); 1] = [("service_id", "pets")];
const FREELY: &str = "budget: { share: 100%, floor: 1000 }, backoff: { base: 0ms, longest: 0ms }";

async fn silent(h2: bool) -> Instance {
    let instance = if h2 { Instance::h2c() } else { Instance::http() };
    instance.answer(|_| Reply::silence()).start().await
}

async fn three(h2: bool) -> [Instance; 3] {
    [silent(h2).await, silent(h2).await, silent(h2).await]
}

fn asked(instances: &[Instance]) -> u64 {
    instances.iter().map(|instance| instance.counts().requests()).sum()
}

/// Failures that are held against instances.
async fn blamed(router: &Running) -> u64 {
    let table = router.table("pets").await;
    table["members"].as_array().expect("members").iter().map(|m| m["failures"].as_u64().expect("a number")).sum()
}

#[tokio::test]
async fn the_limit_for_the_head_holds_over_all_tries_but_for_a_last_one() {
    for h2 in [false, true] {
        let instances = three(h2).await;
        let router = router(&instances.each_ref(), &format!("timeouts: {{ head: 300ms }}, retries: {{ {FREELY} }}"));
        for front in [Front::H1, Front::H2c] {
            let answer = router.client(front).await.send(get("/", &PETS)).await;
            assert_eq!(told(&answer), (504, Some("head_timeout")), "{front:?}, h2: {h2}");
        }
        assert_eq!(asked(&instances), 4, "h2: {h2}: one other is asked when the time is over");
        router.settled("pets").await;
        assert_eq!(blamed(&router).await, 2, "h2: {h2}: silence for the whole time is held against each");
    }
}

/// One that hangs costs nobody an answer that another one gives, only time; and a POST, which it may have done, no second one.
#[tokio::test]
async fn what_one_that_hangs_does_not_answer_another_one_does() {
    for h2 in [false, true] {
        let (hangs, well) = (silent(h2).await, Instance::http().start().await);
        let settings = format!("timeouts: {{ head: 300ms }}, retries: {{ {FREELY} }}");
        let router = urls(&[hangs.url(), well.url()], &settings);
        let client = router.client(Front::H2c).await;
        for _ in 0..4 {
            assert_eq!(client.send(get("/", &PETS)).await.status, 200, "h2: {h2}");
        }
        assert!(hangs.counts().requests() > 0 && well.counts().requests() == 4, "h2: {h2}");
        let mut lost = 0;
        for _ in 0..4 {
            lost += u32::from(client.send(post("/", &PETS, "x")).await.status == 504);
        }
        let all = hangs.counts().requests() + well.counts().requests();
        assert!(all <= 4 + 4 + 4 && well.counts().requests() == u64::from(4 + 4 - lost), "h2: {h2}: {lost} of {all}");
    }
}

#[tokio::test]
async fn shorter_tries_share_the_limit_and_the_rest_of_it_proves_nothing() {
    for h2 in [false, true] {
        let instances = three(h2).await;
        let settings = format!("timeouts: {{ head: 500ms }}, retries: {{ per_try: 400ms, {FREELY} }}");
        let router = router(&instances.each_ref(), &settings);
        let answer = router.client(Front::H2c).await.send(get("/", &PETS)).await;
        assert_eq!(told(&answer), (504, Some("head_timeout")), "h2: {h2}");
        assert_eq!(
            asked(&instances),
            3,
            "h2: {h2}: 400 ms for the first, the rest for the second, 250 ms for the last"
        );
        router.settled("pets").await;
        assert_eq!(blamed(&router).await, 1, "h2: {h2}: the others had little time to answer");
    }
}

#[tokio::test]
async fn a_try_that_had_its_whole_time_is_held_against_its_instance_however_late_it_was() {
    let instances =
        [silent(true).await, silent(true).await, silent(true).await, silent(true).await, silent(true).await];
    let settings = format!("timeouts: {{ head: 1s }}, retries: {{ per_try: 200ms, attempts: 5, {FREELY} }}");
    let router = router(&instances.each_ref(), &settings);
    let answer = router.client(Front::H2c).await.send(get("/", &PETS)).await;
    assert_eq!(told(&answer), (504, Some("head_timeout")));
    assert_eq!(asked(&instances), 5);
    router.settled("pets").await;
    assert_eq!(blamed(&router).await, 4, "the last had what was left");
}

#[tokio::test]
async fn an_answer_that_others_should_have_bettered_is_not_lost_to_silence() {
    let busy = Instance::http().answer(|_| Reply::script().head(503).data("busy")).start().await;
    let silent = silent(false).await;
    let settings = format!("timeouts: {{ head: 300ms }}, retries: {{ {FREELY} }}");
    let router = urls(&[busy.url(), silent.url()], &settings);
    let client = router.client(Front::H1).await;
    let mut busy_answers = 0;
    for _ in 0..2 {
        let answer = client.send(get("/", &PETS)).await;
        busy_answers += u32::from(answer.status == 503 && answer.text() == "busy");
    }
    assert_eq!(busy_answers, 2, "the one whose first instance was busy, and the one that was sent there at last");
    assert_eq!((busy.counts().requests(), silent.counts().requests()), (2, 2));
}

#[tokio::test]
async fn a_second_instance_asked_meanwhile_has_what_is_left() {
    let instances = three(true).await;
    let settings = format!("timeouts: {{ head: 400ms }}, hedge: {{ after: 300ms }}, retries: {{ {FREELY} }}");
    let router = router(&instances.each_ref(), &settings);
    let answer = router.client(Front::H2c).await.send(get("/", &PETS)).await;
    assert_eq!(told(&answer), (504, Some("head_timeout")));
    assert_eq!(asked(&instances), 3, "and a last one, for half of the limit");
    router.settled("pets").await;
    assert_eq!(blamed(&router).await, 1);
}
