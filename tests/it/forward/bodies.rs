//! Bodies arrive as they were sent, in both directions.

use bytes::Bytes;
use testkit::{Reply, digest, post};

use crate::support::{Back, Config, Front, Matrix};

/// Bytes without a period that fits frames, chunks or buffers, so that nothing lost or doubled stays unseen.
fn pattern(size: usize) -> Bytes {
    (0..size).map(|at| (at % 251) as u8 ^ (at / 65_521) as u8).collect()
}

#[tokio::test]
async fn bodies_of_every_size_come_back_intact_over_every_pair() {
    let matrix = Matrix::start(Config::new(), |_| Reply::mirror()).await;
    for (front, back) in Matrix::pairs() {
        let client = matrix.router.client(front).await;
        for size in [0, 1, 16_384, 65_536, 300_000] {
            let body = pattern(size);
            let answer = client.send(post("/", &[("service_id", back.service())], body.clone())).await;
            assert_eq!(answer.status, 200, "{front:?} to {back:?}, {size} bytes");
            assert!(answer.body == body, "{front:?} to {back:?}, {size} bytes: came back changed");
        }
    }
    for back in Back::ALL {
        matrix.router.settled(back.service()).await;
        assert_eq!(matrix.instance(back).counts().aborted(), 0, "{back:?}");
    }
}

#[tokio::test]
async fn ten_megabytes_each_way_at_the_same_time_come_back_intact() {
    let matrix = Matrix::start(Config::new(), |_| Reply::mirror()).await;
    let body = pattern(10_000_000);
    for (front, back) in
        [(Front::H1, Back::H2c), (Front::H2c, Back::H1), (Front::H2Tls, Back::H2Tls), (Front::H1Tls, Back::H1Tls)]
    {
        let client = matrix.router.client(front).await;
        let answer = client.send(post("/", &[("service_id", back.service())], body.clone())).await;
        assert!(answer.body == body, "{front:?} to {back:?}: came back changed");
        let seen = matrix.instance(back).seen().pop().expect("a request");
        assert_eq!((seen.body_bytes, seen.body_digest), (10_000_000, digest(&body)), "{front:?} to {back:?}");
    }
}

#[tokio::test]
async fn a_length_that_was_said_is_said_on_and_one_that_was_not_is_not_made_up() {
    let matrix = Matrix::start(Config::new(), |_| Reply::echo()).await;
    for (front, back) in Matrix::pairs() {
        let client = matrix.router.client(front).await;
        let fields = [("service_id", back.service()), ("content-length", "5")];
        let answer = client.send(post("/", &fields, "hello")).await;
        assert_eq!(answer.echoed_header("content-length").as_deref(), Some("5"), "{front:?} to {back:?}");
        assert_eq!(answer.echoed_header("transfer-encoding"), None, "{front:?} to {back:?}");
        let length = answer.body.len().to_string();
        assert_eq!(answer.header("content-length"), Some(&*length), "{front:?} to {back:?}");
        if front.is_h2() {
            let answer = client.send(post("/", &fields[..1], "hello")).await;
            assert_eq!(answer.json()["body_bytes"], 5, "{front:?} to {back:?}");
            assert_eq!(answer.echoed_header("content-length"), None, "{front:?} to {back:?}");
        }
    }
}
