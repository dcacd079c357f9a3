//! Instances that change their mind about streams: GOAWAY, limits lowered and raised; and about tables.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use testkit::{Gate, Raw, bounded, frame::Frame, get, hpack::Block, post};

use super::{
    origin_stage::{asked, ok, router, serve, whole},
    talk::{HEAD_SIZE, STREAMS, TABLE_SIZE, Talk},
};
use crate::support::{Config, Front, Running};

/// So many requests at once, each on a connection of its own; their statuses.
async fn at_once(router: &Running, requests: usize) -> Vec<u16> {
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..requests {
        let client = router.client(Front::H2c).await;
        clients.spawn(async move { client.send(post("/row", &[("service_id", "pets")], "x")).await.status.as_u16() });
    }
    bounded("the answers", clients.join_all()).await
}

/// Four requests are under way when GOAWAY comes: those up to its id are finished here, the others elsewhere.
#[tokio::test]
async fn goaway_parts_the_streams_into_finished_and_retried() {
    for processed in 0..=4_u32 {
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        let raw = Raw::start(move |socket| {
            let first = counter.fetch_add(1, Ordering::SeqCst) == 0;
            async move {
                let mut talk = Talk::accept(socket, &[]).await;
                if !first {
                    return serve(talk, BTreeSet::new()).await;
                }
                talk.until(|talk| talk.streams.len() == 4).await;
                let streams: Vec<u32> = talk.streams.keys().copied().collect();
                let last = (processed as usize).checked_sub(1).map_or(0, |at| streams[at]);
                talk.send(&[Frame::go_away(last, 0)]).await;
                talk.sync().await;
                assert_eq!(talk.streams.len(), 4, "no new stream after GOAWAY");
                for stream in streams.into_iter().filter(|stream| *stream <= last) {
                    talk.send(&whole(stream)).await;
                }
                talk.end().await;
            }
        })
        .await;
        let router = router(&raw);
        assert_eq!(at_once(&router, 4).await, [200; 4], "GOAWAY after {processed}");
        // All finished: nobody needs another connection.
        assert_eq!(connections.load(Ordering::SeqCst) > 1, processed < 4, "GOAWAY after {processed}");
        router.settled("pets").await;
    }
}

#[tokio::test]
async fn no_more_streams_than_the_instance_takes() {
    for limit in [1, 2] {
        let most = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&most);
        let raw = Raw::start(move |socket| {
            let most = Arc::clone(&counter);
            async move {
                let mut talk = Talk::accept(socket, &[(STREAMS, limit)]).await;
                // Those opened before the limit was known are served too.
                talk.until(|talk| talk.acks > 0).await;
                let early = asked(&talk, &BTreeSet::new());
                let mut answered = BTreeSet::new();
                loop {
                    let open = asked(&talk, &answered);
                    if open.iter().any(|stream| !early.contains(stream)) {
                        most.fetch_max(open.len(), Ordering::SeqCst);
                    }
                    if let Some(stream) = open.first().copied()
                        && talk.streams[&stream].ended
                    {
                        // What was sent too early shows before the answer.
                        talk.sync().await;
                        answered.insert(stream);
                        talk.send(&whole(stream)).await;
                        continue;
                    }
                    if !talk.turn().await {
                        return;
                    }
                }
            }
        })
        .await;
        let router = router(&raw);
        // One alone, so that the limit is known to the connection.
        assert_eq!(at_once(&router, 1).await, [200]);
        assert_eq!(at_once(&router, 12).await, [200; 12], "limit {limit}");
        assert!(most.load(Ordering::SeqCst) <= limit as usize);
    }
}

#[tokio::test]
async fn an_instance_that_takes_no_streams_for_a_while_is_waited_for() {
    let gate = Gate::new();
    let opened = gate.clone();
    let raw = Raw::start(move |socket| {
        let gate = opened.clone();
        async move {
            let mut talk = Talk::accept(socket, &[]).await;
            talk.until(|talk| !talk.streams.is_empty()).await;
            let first = *talk.streams.keys().next().expect("a stream");
            talk.configure(&[(STREAMS, 0)]).await;
            talk.sync().await;
            talk.send(&whole(first)).await;
            gate.passed().await;
            talk.configure(&[(STREAMS, 10)]).await;
            serve(talk, BTreeSet::from([first])).await;
        }
    })
    .await;
    let router = router(&raw);
    assert_eq!(at_once(&router, 1).await, [200]);
    let client = router.client(Front::H2c).await;
    let waits = tokio::spawn(async move { client.send(get("/row", &[("service_id", "pets")])).await.status });
    // It may wait for this connection, or have another, whose first stream is answered.
    tokio::time::sleep(Duration::from_millis(100)).await;
    gate.open();
    assert_eq!(bounded("the answer", waits).await.unwrap(), 200);
}

/// Its reader refuses what does not obey.
#[tokio::test]
async fn the_instance_keeps_no_more_than_it_said() {
    let raw = Raw::start(|socket| async move {
        let talk = Talk::accept(socket, &[(TABLE_SIZE, 0)]).await;
        serve(talk, BTreeSet::new()).await;
    })
    .await;
    let router = router(&raw);
    for _ in 0..3 {
        let request = get("/row", &[("service_id", "pets"), ("x-field", "value")]);
        assert_eq!(router.client(Front::H2c).await.send(request).await.status, 200);
    }
}

/// What nobody may keep is passed on as such (RFC 7541, 6.2.3). The h2 crate drops the mark, and has the instance keep
/// it.
#[tokio::test]
async fn what_is_never_to_be_kept_is_not_kept() {
    let raw = Raw::start(|socket| async move {
        let mut talk = Talk::accept(socket, &[]).await;
        talk.until(|talk| !talk.streams.is_empty()).await;
        let stream = *talk.streams.keys().next().expect("a stream");
        let marked = talk.reader.never().contains(&"x-secret".to_owned());
        // The newest entry of the table, if there is one, is what the router had the instance keep.
        let kept = (62..62 + talk.reader.kept()).any(|at| {
            let entry = talk.reader.read(&Block::new().indexed(at as u64).to_bytes());
            entry.is_ok_and(|fields| fields.iter().any(|(name, _)| name == "x-secret"))
        });
        let said = if marked {
            "marked"
        } else if kept {
            "kept"
        } else {
            "not kept"
        };
        talk.send(&[ok(stream), Frame::data(stream, said, true)]).await;
        serve(talk, BTreeSet::from([stream])).await;
    })
    .await;
    let config = Config::new().service("pets", &[format!("h2c://{}", raw.addr())]);
    let router = config.set("routes", "[ { prefix: /, service: pets } ]").start();
    let mut talk = Talk::open(router.clear(), &[]).await;
    talk.send(&[Frame::head(1, &Block::get("/row").never("x-secret", "12345"), true)]).await;
    let came = talk.answer(1).await;
    assert!([&b"marked"[..], b"kept"].contains(&&came.body[..]), "{came:?}");
}

/// It would reset the stream, and five such clients would put it out for all others.
#[tokio::test]
async fn a_head_larger_than_an_instance_takes_is_refused_and_nobody_s_fault_but_the_client_s() {
    let raw = Raw::start(|socket| async move {
        serve(Talk::accept(socket, &[(HEAD_SIZE, 2000)]).await, BTreeSet::new()).await;
    })
    .await;
    let router = router(&raw);
    let client = router.client(Front::H2c).await;
    let large = "x".repeat(2000);
    for _ in 0..10 {
        // The first tells the router what the instance takes.
        assert_eq!(client.send(get("/row", &[("service_id", "pets")])).await.status, 200);
        let answer = client.send(get("/row", &[("service_id", "pets"), ("x-large", &large)])).await;
        let reason = answer.header("x-pointsman-reason");
        assert_eq!((answer.status.as_u16(), reason), (431, Some("headers_too_large")));
    }
}
