//! A request goes to another instance when one fails, as far as that does no harm.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use testkit::{Instance, Raw, Reply, Seen, get, post, request};

use super::{router, urls};
use crate::support::{Front, nobody, told};

const PETS: [(&str, &str); 1] = [("service_id", "pets")];

/// A budget that is never spent, and no waits: these tests are about other things.
const FREELY: &str = "budget: { share: 100%, floor: 1000 }, backoff: { base: 0ms, longest: 0ms }";

fn freely() -> String {
    format!("retries: {{ {FREELY} }}")
}

fn answering(h2: bool, answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> testkit::instance::Builder<'static> {
    if h2 { Instance::h2c() } else { Instance::http() }.answer(answer)
}

/// Fabio 578, 704.
#[tokio::test]
async fn what_one_instance_fails_at_another_one_answers() {
    let failures = [
        Reply::status(502),
        Reply::script().head(503).data("busy"),
        Reply::script().head(503).data("a".repeat(300_000)),
        Reply::unread().head(504),
        Reply::closes(),
        Reply::resets(2_u32),
    ];
    for (h2, reply) in [false, true].into_iter().flat_map(|h2| failures.iter().map(move |reply| (h2, reply.clone()))) {
        let bad = answering(h2, move |_| reply.clone()).start().await;
        let good = Instance::h2c().start().await;
        let router = router(&[&bad, &good], &freely());
        for front in [Front::H1, Front::H2c] {
            let client = router.client(front).await;
            for method in ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"] {
                for _ in 0..2 {
                    let answer = client.send(request(method, "/", &PETS, "")).await;
                    assert_eq!(answer.status, 200, "{front:?}, {method}, h2: {h2}: {}", answer.text());
                }
            }
        }
        assert_eq!(good.counts().requests(), 20, "h2: {h2}");
        assert!(bad.counts().requests() > 0, "it was asked");
        router.settled("pets").await;
    }
}

#[tokio::test]
async fn what_is_no_http_is_a_failure_like_any_other() {
    let garbage = Raw::sends("what?\r\n\r\n").await;
    let good = Instance::http().start().await;
    let router = urls(&[format!("http://{}", garbage.addr()), good.url()], &freely());
    let client = router.client(Front::H1).await;
    for _ in 0..4 {
        assert_eq!(client.send(get("/", &PETS)).await.status, 200);
    }
    assert!(garbage.connections() > 0, "it was asked");
}

#[tokio::test]
async fn a_post_gets_the_failure_through_and_is_delivered_once() {
    let bad = Instance::h2c().answer(|_| Reply::script().head(503).data("busy")).start().await;
    let good = Instance::h2c().start().await;
    let router = router(&[&bad, &good], &freely());
    let client = router.client(Front::H2c).await;
    let mut busy = 0;
    for _ in 0..6 {
        let answer = client.send(post("/", &PETS, "pay 1")).await;
        if answer.status == 503 {
            assert_eq!((answer.text().as_str(), answer.header("x-pointsman-reason")), ("busy", None));
            busy += 1;
        }
    }
    assert_eq!(bad.counts().requests() + good.counts().requests(), 6, "each was delivered once");
    assert!(busy > 0 && bad.counts().requests() == busy);
}

#[tokio::test]
async fn a_post_is_repeated_where_the_configuration_says_that_it_may() {
    let cases = [
        ("methods: [ POST ]", false, true),
        ("idempotency_key: true", true, true),
        ("idempotency_key: true", false, false),
        ("idempotency_key: false", true, false),
    ];
    for (setting, key, repeated) in cases {
        let bad = Instance::http().answer(|_| Reply::status(503)).start().await;
        let good = Instance::http().start().await;
        let router = router(&[&bad, &good], &format!("retries: {{ {setting}, {FREELY} }}"));
        let client = router.client(Front::H2c).await;
        let fields = if key { &[PETS[0], ("idempotency-key", "7")][..] } else { &PETS[..] };
        for _ in 0..4 {
            let answer = client.send(post("/", fields, "pay 1")).await;
            assert!(answer.status == 503 && !repeated || answer.json()["body_bytes"] == 5, "{setting}, key: {key}");
        }
        assert_eq!(good.counts().requests() == 4, repeated, "{setting}, key: {key}");
    }
}

#[tokio::test]
async fn if_all_fail_the_last_real_answer_reaches_the_client() {
    for h2 in [false, true] {
        let busy =
            |name: &'static str| answering(h2, move |_| Reply::script().head(503).header("x-from", name).data(name));
        let (first, second) = (busy("first").start().await, busy("second").start().await);
        let dead = format!("http://{}", nobody().await);
        for instances in [vec![first.url(), second.url()], vec![first.url(), dead]] {
            let router = urls(&instances, &freely());
            for front in [Front::H1, Front::H2c] {
                let client = router.client(front).await;
                for _ in 0..4 {
                    let answer = client.send(get("/", &PETS)).await;
                    assert_eq!(told(&answer), (503, None), "{front:?}");
                    assert_eq!(answer.header("x-from"), Some(&*answer.text()), "{front:?}");
                }
            }
            router.settled("pets").await;
        }
        assert_eq!(second.counts().requests(), 8, "each request asked each instance once");
        assert_eq!(first.counts().requests(), 16);
    }
}

#[tokio::test]
async fn retry_after_is_for_the_client_if_nobody_else_is_there() {
    let later = |_: &Seen| Reply::script().head(503).header("retry-after", "7");
    let busy = Instance::http().answer(later).start().await;
    let alone = router(&[&busy], &freely());
    let answer = alone.client(Front::H2c).await.send(get("/", &PETS)).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, Some("7")));
    assert_eq!(busy.counts().requests(), 1, "it is not asked again");

    let good = Instance::http().start().await;
    let both = router(&[&busy, &good], &freely());
    let client = both.client(Front::H2c).await;
    for _ in 0..4 {
        assert_eq!(client.send(get("/", &PETS)).await.status, 200);
    }
    assert!(busy.counts().requests() <= 5, "at most once for each request");
}

#[tokio::test]
async fn off_means_that_every_request_is_sent_once() {
    let bad = Instance::http().answer(|_| Reply::status(503)).start().await;
    let dead = format!("http://{}", nobody().await);
    let router = urls(&[dead, bad.url()], "retries: off");
    let client = router.client(Front::H1).await;
    let mut statuses = Vec::new();
    for _ in 0..2 {
        statuses.push(client.send(get("/", &PETS)).await.status.as_u16());
    }
    statuses.sort_unstable();
    assert_eq!((statuses, bad.counts().requests()), (vec![502, 503], 1));
}

#[tokio::test]
async fn the_only_instance_is_asked_again_if_it_broke_the_connection() {
    for h2 in [false, true] {
        let asked = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&asked);
        let once = move |_: &Seen| match counter.fetch_add(1, Ordering::SeqCst) {
            0 => Reply::closes(),
            _ => Reply::echo(),
        };
        let instance = answering(h2, once).start().await;
        let router = router(&[&instance], &freely());
        assert_eq!(router.client(Front::H2c).await.send(get("/", &PETS)).await.status, 200, "h2: {h2}");
        assert_eq!(asked.load(Ordering::SeqCst), 2, "h2: {h2}");
    }
}

#[tokio::test]
async fn a_silent_try_is_given_up_for_another_one() {
    for h2 in [false, true] {
        let silent = answering(h2, |_| Reply::silence()).start().await;
        let good = Instance::h2c().start().await;
        let router = router(&[&silent, &good], &format!("retries: {{ per_try: 100ms, {FREELY} }}"));
        let client = router.client(Front::H2c).await;
        for _ in 0..4 {
            assert_eq!(client.send(get("/", &PETS)).await.status, 200, "h2: {h2}");
        }
        assert_eq!(good.counts().requests(), 4, "h2: {h2}");
        testkit::eventually("the silent one is told", || silent.counts().aborted() == silent.counts().requests()).await;
    }
}

#[tokio::test]
async fn a_slow_try_goes_on_where_no_other_could_follow() {
    const SLOW: Duration = Duration::from_millis(500);
    let slow = || Instance::h2c().answer(|_| Reply::script().wait(SLOW).head(204)).start();
    let (first, second) = (slow().await, slow().await);
    let cases = [
        ("it is alone", vec![&first], FREELY, "GET"),
        ("it may not be repeated", vec![&first, &second], FREELY, "POST"),
        ("the budget is spent", vec![&first, &second], "budget: { share: 0%, floor: 0 }", "GET"),
    ];
    for (case, instances, budget, method) in cases {
        let router = router(&instances, &format!("retries: {{ per_try: 100ms, {budget} }}"));
        let answer = router.client(Front::H2c).await.send(request(method, "/", &PETS, "")).await;
        assert_eq!(answer.status, 204, "{case}");
    }
    assert_eq!(first.counts().aborted() + second.counts().aborted(), 0);
}

#[tokio::test]
async fn a_storm_of_goaway_costs_nothing_whatever_the_method() {
    let leaves = || Instance::h2c().answer(|_| Reply::script().go_away().head(204)).start();
    let (first, second) = (leaves().await, leaves().await);
    let router = Arc::new(router(&[&first, &second], &freely()));
    let mut clients = Vec::new();
    for method in ["GET", "POST", "POST", "GET"] {
        let router = Arc::clone(&router);
        clients.push(tokio::spawn(async move {
            let client = router.client(Front::H2c).await;
            for n in 0..50 {
                let answer = client.send(request(method, "/", &PETS, "body")).await;
                assert_eq!(answer.status, 204, "{method} {n}: {}", answer.text());
            }
        }));
    }
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(first.counts().completed() + second.counts().completed(), 200, "each was done once");
}

#[tokio::test]
async fn connections_live_on_after_an_answer_nobody_wanted() {
    let bad = Instance::http().answer(|_| Reply::script().head(503).data("busy")).start().await;
    let good = Instance::http().start().await;
    let router = router(&[&bad, &good], &freely());
    let client = router.client(Front::H1).await;
    for _ in 0..20 {
        assert_eq!(client.send(get("/", &PETS)).await.status, 200);
    }
    assert!(bad.counts().requests() >= 8, "it was asked");
    assert!(bad.counts().connections() <= 2, "{} connections", bad.counts().connections());
}
