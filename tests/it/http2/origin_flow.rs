//! Instances that open and close windows, go beyond ours, answer early, octet by octet, or flood.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use testkit::{
    Raw, eventually,
    frame::{self, Frame},
    get,
    hpack::Block,
    post,
};

use super::{
    origin_stage::{asked, ok, router, serve, whole},
    talk::{FLOW, TABLE_SIZE, Talk, WINDOW, octets},
};
use crate::support::Front;

#[tokio::test]
async fn an_upload_waits_for_the_window_and_never_goes_beyond() {
    const TOTAL: usize = 100_000;
    let steps = [1_usize, 10, 1000, 20_000, 44_000];
    let raw = Raw::start(move |socket| async move {
        let mut talk = Talk::accept(socket, &[(WINDOW, 0)]).await;
        talk.until(|talk| talk.acks == 1 && !talk.streams.is_empty()).await;
        let stream = *talk.streams.keys().next().expect("a stream");
        // What was sent before our settings were known is taken for granted.
        talk.sync().await;
        let mut allowed = talk.received(stream);
        assert!(allowed <= 65_535, "more than the first window: {allowed}");
        if allowed > 0 {
            // It is owed to us now.
            talk.send(&[Frame::window_update(stream, allowed as u32), Frame::window_update(0, allowed as u32)]).await;
        }
        for step in steps {
            allowed += step;
            talk.send(&[Frame::window_update(stream, step as u32)]).await;
            talk.until(|talk| talk.received(stream) >= allowed.min(TOTAL)).await;
            talk.sync().await;
            assert!(talk.received(stream) <= allowed, "{} of {allowed}", talk.received(stream));
        }
        talk.send(&[Frame::window_update(stream, 1 << 20), Frame::window_update(0, 1 << 20)]).await;
        talk.until(|talk| talk.is_over(stream)).await;
        let got = talk.received(stream).to_string();
        talk.send(&[ok(stream), Frame::data(stream, got, true)]).await;
        serve(talk, BTreeSet::from([stream])).await;
    })
    .await;
    let router = router(&raw);
    let body = vec![b'x'; TOTAL];
    let answer = router.client(Front::H2c).await.send(post("/row", &[("service_id", "pets")], body)).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, TOTAL.to_string()));
}

#[tokio::test]
async fn an_answer_beyond_our_window_ends_it() {
    let code = Arc::new(AtomicU64::new(u64::MAX));
    let kept = Arc::clone(&code);
    let raw = Raw::start(move |socket| {
        let code = Arc::clone(&kept);
        async move {
            let mut talk = Talk::accept(socket, &[]).await;
            talk.until(|talk| !talk.streams.is_empty()).await;
            let stream = *talk.streams.keys().next().expect("a stream");
            talk.send(&[ok(stream)]).await;
            let frame = Frame::data(stream, vec![b'x'; 16_384], false).to_bytes();
            // Some windows, faster than a client takes them that does not read.
            for _ in 0..200 {
                if talk.socket.send(&frame).await.is_err() {
                    break;
                }
            }
            talk.until(|talk| talk.is_over(stream) || talk.closed).await;
            let said = talk.resets.last().map(|(_, code)| *code).or_else(|| talk.away.map(|(_, code)| code));
            code.store(u64::from(said.unwrap_or(FLOW)), Ordering::SeqCst);
            talk.end().await;
        }
    })
    .await;
    let router = router(&raw);
    let client = router.client(Front::H2c).await;
    let request = http::Request::get("/row").header("service_id", "pets").body(()).unwrap();
    let mut stream = client.open(request, true).await.unwrap();
    stream.head().await.unwrap();
    eventually("the router says something", || code.load(Ordering::SeqCst) != u64::MAX).await;
    assert_eq!(code.load(Ordering::SeqCst), u64::from(FLOW));
    let failed = loop {
        match stream.next().await {
            Ok(Some(_)) => {}
            other => break other.is_err(),
        }
    };
    assert!(failed, "an answer that broke off");
    router.settled("pets").await;
}

/// The whole answer is there before the upload ends: the client has it, and then the upload may be given up.
#[tokio::test]
async fn an_early_answer_with_a_reset_in_peace_is_an_answer() {
    let raw = Raw::start(|socket| async move {
        let mut talk = Talk::accept(socket, &[]).await;
        let mut answered = BTreeSet::new();
        loop {
            for stream in asked(&talk, &answered) {
                answered.insert(stream);
                talk.send(&whole(stream)).await;
                talk.send(&[Frame::reset(stream, 0)]).await;
            }
            if !talk.turn().await {
                return;
            }
        }
    })
    .await;
    let router = router(&raw);
    let client = router.client(Front::H2c).await;
    for _ in 0..3 {
        let request = http::Request::post("/row").header("service_id", "pets").body(()).unwrap();
        let mut stream = client.open(request, false).await.unwrap();
        // It may be given up at any time now.
        stream.data(Bytes::from_static(b"begun")).await.ok();
        let head = stream.head().await.unwrap();
        let body = stream.next().await.unwrap();
        assert_eq!((head.status().as_u16(), body.as_deref()), (200, Some(&b"body"[..])));
    }
    router.settled("pets").await;
}

#[tokio::test]
async fn an_answer_may_come_octet_by_octet() {
    let raw = Raw::start(|socket| async move {
        let mut talk = Talk::accept(socket, &[]).await;
        while talk.until(|talk| talk.streams.keys().any(|stream| talk.is_over(*stream))).await {
            let stream = *talk.streams.keys().next().expect("a stream");
            let head = Block::new().indexed(8).huffman("x-field", "value").to_bytes();
            let frames = [
                Frame::ping(0, [7; 8]),
                Frame::raw(frame::HEADERS, 0, stream, head.slice(..1)),
                Frame::raw(frame::CONTINUATION, frame::END_HEADERS, stream, head.slice(1..)),
                Frame::data(stream, "body", false).padded(2),
                Frame::headers(stream, &[("x-late", "1")], true),
            ];
            for octet in octets(&frames) {
                talk.write(&[octet]).await;
                tokio::task::yield_now().await;
            }
            talk.streams.clear();
        }
    })
    .await;
    let router = router(&raw);
    for front in Front::ALL {
        let answer = router.client(front).await.send(get("/row", &[("service_id", "pets")])).await;
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "body"), "{front:?}");
        assert_eq!(answer.header("x-field"), Some("value"));
    }
}

#[tokio::test]
async fn pings_of_the_instance_are_answered_and_floods_are_borne_or_end() {
    for frame in [Frame::ping(0, [7; 8]), Frame::settings(&[]), Frame::settings(&[(TABLE_SIZE, 100), (WINDOW, 70_000)])]
    {
        let raw = Raw::start(move |socket| {
            let frame = frame.clone();
            async move {
                let mut talk = Talk::accept(socket, &[]).await;
                talk.until(|talk| !talk.streams.is_empty()).await;
                for _ in 0..20 {
                    talk.write(&frame.to_bytes().repeat(500)).await;
                    if !talk.sync().await {
                        return;
                    }
                }
                assert!(talk.pongs.len() > 20 || talk.acks > 10_000, "{} and {}", talk.pongs.len(), talk.acks);
                serve(talk, BTreeSet::new()).await;
            }
        })
        .await;
        let router = router(&raw);
        let answer = router.client(Front::H2c).await.send(get("/row", &[("service_id", "pets")])).await;
        assert!(matches!(answer.status.as_u16(), 200 | 502), "{}", answer.text());
    }
}

/// A hundred interim heads are many; without end they are a flood, which has to end.
#[tokio::test]
async fn interim_heads_without_end_are_bounded() {
    let raw = Raw::start(|socket| async move {
        let mut talk = Talk::accept(socket, &[]).await;
        talk.until(|talk| !talk.streams.is_empty()).await;
        let stream = *talk.streams.keys().next().expect("a stream");
        let burst = Frame::headers(stream, &[(":status", "103"), ("link", "</a>")], false).to_bytes().repeat(500);
        for _ in 0..40 {
            talk.write(&burst).await;
            if !talk.sync().await || talk.is_over(stream) {
                return;
            }
        }
        serve(talk, BTreeSet::new()).await;
    })
    .await;
    let router = router(&raw);
    for front in [Front::H1, Front::H2c] {
        let answer = router.client(front).await.try_send(get("/row", &[("service_id", "pets")])).await;
        let status = answer.map_or(502, |answer| answer.status.as_u16());
        assert!(matches!(status, 200 | 502), "{front:?}: {status}");
    }
}
