//! Bodies that are sent again, and those that are too large for it.

use testkit::{Instance, Reply, digest, eventually, request};

use super::router;
use crate::support::Front;

fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at % 251) as u8 ^ (at / 65_521) as u8).collect()
}

const FREELY: &str = "retries: { budget: { share: 100%, floor: 1000 } }";

#[tokio::test]
async fn a_small_body_arrives_whole_at_the_second_instance_and_a_large_one_is_delivered_once() {
    for (failure, status) in [(Reply::closes(), 502), (Reply::script().head(503).data("busy"), 503)] {
        for back in [Instance::http(), Instance::h2c()] {
            let reply = failure.clone();
            let bad = back.answer(move |_| reply.clone()).start().await;
            let good = Instance::h2c().start().await;
            let router = router(&[&bad, &good], FREELY);
            for front in [Front::H1, Front::H2c] {
                let (small, large) = (pattern(60_000), pattern(200_000));
                let (mut delivered, mut failed) = (bad.counts().requests() + good.counts().requests(), 0);
                for _ in 0..4 {
                    let client = router.client(front).await;
                    let answer = client.send(request("PUT", "/", &[("service_id", "pets")], small.clone())).await;
                    let what = format!("{front:?} to {}", bad.url());
                    assert_eq!(answer.status, 200, "{what}: {}", answer.text());
                    assert_eq!(answer.json()["body_digest"], digest(&small), "{what}");
                }
                assert!(bad.counts().requests() + good.counts().requests() > delivered + 4, "some were sent twice");
                delivered = bad.counts().requests() + good.counts().requests();
                for _ in 0..4 {
                    let client = router.client(front).await;
                    let answer = client.send(request("PUT", "/", &[("service_id", "pets")], large.clone())).await;
                    assert!(answer.status == status || answer.json()["body_digest"] == digest(&large), "{front:?}");
                    failed += u64::from(answer.status == status);
                }
                assert_eq!(bad.counts().requests() + good.counts().requests(), delivered + 4, "each once");
                assert!(failed > 0, "{front:?}: the bad one was asked");
            }
            router.settled("pets").await;
        }
    }
}

#[tokio::test]
async fn a_reset_in_the_middle_of_an_upload_is_not_noticed_by_the_client() {
    for back in [Instance::http(), Instance::h2c()] {
        let bad = back.answer(|_| Reply::resets(2_u32)).start().await;
        let good = Instance::h2c().start().await;
        let router = router(&[&bad, &good], FREELY);
        let client = router.client(Front::H2c).await;
        for _ in 0..4 {
            let head = http::Request::put("/").header("service_id", "pets").body(()).unwrap();
            let mut stream = client.open(head, false).await.unwrap();
            for part in pattern(40_000).chunks(10_000) {
                stream.data(part.to_vec().into()).await.unwrap();
                tokio::task::yield_now().await;
            }
            stream.finish().unwrap();
            let answer = stream.answer().await.unwrap();
            assert_eq!(answer.status, 200, "{}: {}", bad.url(), answer.text());
            assert_eq!(answer.json()["body_digest"], digest(&pattern(40_000)));
        }
        assert!(bad.counts().requests() > 0, "it was asked");
    }
}

#[tokio::test]
async fn an_answer_that_overtakes_its_request_is_retried_and_if_all_do_so_comes_through_whole() {
    for h2 in [false, true] {
        let early = || if h2 { Instance::h2c() } else { Instance::http() };
        let early = || early().answer(|_| Reply::unread().head(503).data("busy".repeat(5000))).start();
        let (bad, good) = (early().await, Instance::h2c().start().await);
        let alone = router(&[&bad], FREELY);
        let both = router(&[&bad, &early().await], FREELY);
        let one_well = router(&[&bad, &good], FREELY);
        for (router, expected) in [(&alone, 503), (&both, 503), (&one_well, 200), (&one_well, 200)] {
            let client = router.client(Front::H2c).await;
            let head = http::Request::put("/").header("service_id", "pets").body(()).unwrap();
            let mut stream = client.open(head, false).await.unwrap();
            stream.data(pattern(20_000).into()).await.unwrap();
            if expected == 200 {
                let delivered = || bad.counts().requests() + good.counts().requests();
                eventually("an instance has it", || delivered() > 0).await;
                stream.data(pattern(10_000).into()).await.unwrap();
                stream.finish().unwrap();
            }
            let answer = stream.answer().await.unwrap();
            assert_eq!(answer.status, expected, "h2: {h2}");
            match expected {
                200 => assert_eq!(answer.json()["body_bytes"], 30_000, "h2: {h2}"),
                _ => assert_eq!(answer.body.len(), 20_000, "h2: {h2}"),
            }
            router.settled("pets").await;
        }
    }
}

#[tokio::test]
async fn what_is_kept_can_be_set() {
    let bad = Instance::http().answer(|_| Reply::status(503)).start().await;
    let good = Instance::http().start().await;
    for (buffer, expected) in [("0", 1), ("256KiB", 0)] {
        let settings = format!("retries: {{ buffer: {buffer}, budget: {{ share: 100%, floor: 1000 }} }}");
        let router = router(&[&bad, &good], &settings);
        let mut failed = 0;
        for _ in 0..2 {
            let client = router.client(Front::H2c).await;
            let answer = client.send(request("PUT", "/", &[("service_id", "pets")], pattern(100_000))).await;
            failed += u64::from(answer.status == 503);
        }
        assert_eq!(failed, expected, "{buffer}");
    }
}
