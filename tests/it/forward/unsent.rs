//! Requests that provably were not processed go to another instance, for any method; all others do not.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use testkit::{
    Instance, Raw, Reply, eventually,
    frame::{self, Frame},
    get, post,
};

use crate::support::{Config, Front, Running, nobody, told};

const REFUSED_STREAM: u32 = 7;

/// Both instances get their turn.
fn router(urls: &[String]) -> Running {
    Config::new().service("pets", urls).set("services", r#"{ "*": { balance: round_robin } }"#).start()
}

/// POSTs arrive whole, whichever instance had the first turn.
async fn check_posts(router: &Running, good: &Instance, posts: u64) {
    let before = good.counts().requests();
    for front in [Front::H1, Front::H2c] {
        let client = router.client(front).await;
        for _ in 0..posts {
            let answer = client.send(post("/", &[("service_id", "pets")], "small body")).await;
            assert_eq!(answer.status, 200, "{front:?}: {}", answer.text());
            assert_eq!(answer.json()["body_bytes"], 10, "{front:?}");
        }
    }
    assert_eq!(good.counts().requests() - before, 2 * posts);
    router.settled("pets").await;
}

/// Traefik 4452, 7010.
/// Fabio 578, 704.
/// Fabio 991.
#[tokio::test]
async fn a_refused_connection_sends_the_request_elsewhere() {
    let good = Instance::h2c().start().await;
    let router = router(&[format!("h2c://{}", nobody().await), good.url()]);
    check_posts(&router, &good, 4).await;
}

/// Fabio 991.
#[tokio::test]
async fn a_refused_stream_sends_the_request_elsewhere() {
    let refuses = Instance::h2c().answer(|_| Reply::resets(REFUSED_STREAM)).start().await;
    let good = Instance::http().start().await;
    let router = router(&[refuses.url(), good.url()]);
    check_posts(&router, &good, 4).await;
    assert!(refuses.counts().requests() > 0, "it was asked");
}

/// Says GOAWAY for each request, naming an earlier stream as the last one processed.
async fn goes_away() -> Raw {
    Raw::start(|mut socket| async move {
        frame::accept_preface(&mut socket).await;
        while let Some(head) = frame::next(&mut socket, frame::HEADERS).await {
            let last = head.stream.saturating_sub(2);
            if frame::send(&mut socket, &Frame::go_away(last, 0)).await.is_err() {
                return;
            }
        }
    })
    .await
}

/// Envoy 36450, NGINX 1431.
#[tokio::test]
async fn a_stream_above_the_last_one_of_goaway_goes_elsewhere() {
    let away = goes_away().await;
    let good = Instance::h2c().start().await;
    let router = router(&[format!("h2c://{}", away.addr()), good.url()]);
    check_posts(&router, &good, 4).await;
    assert!(away.connections() > 0, "it was asked");
}

/// Sōzu 1442.
#[tokio::test]
async fn a_connection_the_instance_closed_while_idle_costs_nothing() {
    let first = Instance::http().start().await;
    let other = Instance::h2c().start().await;
    let router = Config::new().service("pets", &[first.url()]).service("other", &[other.url()]).start();
    let client = router.client(Front::H2c).await;
    for _ in 0..3 {
        let answer = client.send(post("/", &[("service_id", "pets")], "small body")).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["body_bytes"]), (200, &10.into()));
        first.cut();
        eventually("the connection is closed", || first.counts().open() == 0).await;
        // The core that has the connection hears of its end no later than of this request.
        assert_eq!(client.send(get("/", &[("service_id", "other")])).await.status, 200);
    }
    assert_eq!(first.counts().requests(), 3);
}

/// hyper 2136, 3553.
#[tokio::test]
async fn a_request_that_may_have_been_processed_is_never_sent_twice() {
    for reply in [Reply::closes(), Reply::resets(2)] {
        for back in [Instance::http(), Instance::h2c()] {
            let reply = reply.clone();
            let breaks = back.answer(move |_| reply.clone()).start().await;
            let second = Instance::h2c().start().await;
            let router = router(&[breaks.url(), second.url()]);
            let client = router.client(Front::H2c).await;
            let mut failed = 0;
            for _ in 0..4 {
                let answer = client.send(post("/", &[("service_id", "pets")], "pay 1")).await;
                failed += u64::from(answer.status == 502);
            }
            assert_eq!(breaks.counts().requests() + second.counts().requests(), 4, "each was delivered once");
            assert_eq!(breaks.counts().requests(), failed);
            assert!(failed > 0);
        }
    }
}

/// hyper 2136, 3553.
#[tokio::test]
async fn the_only_instance_is_asked_again_on_a_new_connection() {
    for frame in [Frame::go_away(0, 0), Frame::reset(1, REFUSED_STREAM)] {
        let refused = Arc::new(AtomicU64::new(0));
        let (counter, what) = (Arc::clone(&refused), frame.clone());
        let once = Raw::start(move |mut socket| {
            let (counter, refusal) = (Arc::clone(&counter), frame.clone());
            async move {
                frame::accept_preface(&mut socket).await;
                while let Some(head) = frame::next(&mut socket, frame::HEADERS).await {
                    let answer = match counter.fetch_add(1, Ordering::SeqCst) {
                        0 => refusal.clone(),
                        _ => Frame::headers(head.stream, &[(":status", "204")], true),
                    };
                    if frame::send(&mut socket, &answer).await.is_err() {
                        return;
                    }
                }
            }
        })
        .await;
        let router = Config::new().service("pets", &[format!("h2c://{}", once.addr())]).start();
        let answer = router.client(Front::H2c).await.send(post("/", &[("service_id", "pets")], "body")).await;
        assert_eq!(answer.status, 204, "after {what:?}: {}", answer.text());
        assert_eq!(refused.load(Ordering::SeqCst), 2);
    }
}

#[tokio::test]
async fn an_instance_that_always_refuses_is_not_asked_for_ever() {
    let refuses = Instance::h2c().answer(|_| Reply::resets(REFUSED_STREAM)).start().await;
    let router = router(&[refuses.url()]);
    let answer = router.client(Front::H2c).await.send(post("/", &[("service_id", "pets")], "body")).await;
    assert_eq!(told(&answer), (502, Some("reset")));
    assert!((1..=4).contains(&refuses.counts().requests()), "{}", refuses.counts().requests());
}
