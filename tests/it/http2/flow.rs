//! Windows of the router: what it takes of uploads, what it gives back, and what goes beyond. Then how a connection
//! ends while there is still something to say, and interim answers.

use std::time::Duration;

use testkit::{Gate, Instance, Reply, eventually, frame::Frame, hpack::Block};

use super::{
    stage::{PROBE, Stage, get, post, post_block},
    talk::{FLOW, NO_ERROR, Talk, WINDOW},
};
use crate::support::Config;

/// What the router lets a client send on a stream.
fn window(talk: &Talk, stream: u32) -> u64 {
    let first = talk.settings.get(&WINDOW).copied().unwrap_or(65_535);
    u64::from(first) + talk.granted.get(&stream).copied().unwrap_or(0)
}

#[tokio::test]
async fn an_upload_gets_its_window_back_padding_included() {
    /// Some windows full.
    const TOTAL: u64 = 600_000;
    let stage = Stage::new().await;
    for padding in [0, 255] {
        let mut talk = stage.open(&[]).await;
        assert!(talk.sync().await);
        talk.send(&[post(1)]).await;
        let (mut sent, mut frames) = (0, 0);
        let frame = Frame::data(1, vec![b'x'; if padding == 0 { 10_000 } else { 1000 }], false);
        let frame = if padding == 0 { frame } else { frame.padded(padding) };
        let size = frame.payload.len() as u64;
        while sent < TOTAL {
            talk.until(|talk| window(talk, 1) >= sent + size && window(talk, 0) + (1 << 30) >= sent).await;
            talk.send(std::slice::from_ref(&frame)).await;
            (sent, frames) = (sent + size, frames + 1);
        }
        talk.send(&[Frame::data(1, "", true)]).await;
        let answer = talk.answer(1).await;
        let body = frames * if padding == 0 { 10_000 } else { 1000 };
        assert_eq!((answer.status(), &answer.json()["body_bytes"]), (200, &body.into()));
    }
}

#[tokio::test]
async fn what_goes_beyond_the_window_is_refused() {
    let stage = Stage::new().await;
    for padding in [None, Some(255)] {
        let mut talk = stage.open(&[]).await;
        assert!(talk.sync().await);
        let head = Block::new().indexed(3).indexed(6).plain(":path", "/unread").plain(":authority", "a");
        let frame = Frame::data(1, vec![b'x'; 8000], false);
        let frame = padding.map_or_else(|| frame.clone(), |padding| frame.clone().padded(padding));
        talk.send(&[Frame::head(1, &head, false)]).await;
        // Ten windows, faster than any instance could take them. Later ones may not be taken at all.
        for _ in 0..80 {
            let sent = tokio::time::timeout(Duration::from_secs(1), talk.socket.send(frame.to_bytes())).await;
            if !matches!(sent, Ok(Ok(()))) {
                break;
            }
        }
        talk.until(|talk| talk.is_over(1) || talk.closed).await;
        let codes: Vec<u32> =
            talk.resets.iter().map(|(_, code)| *code).chain(talk.away.map(|(_, code)| code)).collect();
        assert!(codes.contains(&FLOW) || (codes.is_empty() && talk.closed), "{codes:?}");
    }
    stage.serves().await;
}

#[tokio::test]
async fn a_client_that_goes_away_still_gets_what_it_asked_for() {
    let stage = Stage::new().await;
    let gated = |stream| Frame::head(stream, &Block::get("/gated"), true);
    // GOAWAY; the end of its direction; both.
    for (away, half) in [(true, false), (false, true), (true, true)] {
        let gate = Gate::new();
        stage.instance.on("/gated", Reply::script().gate(&gate).head(200).data("late"));
        let mut talk = stage.open(&[]).await;
        talk.send(&[gated(1), gated(3)]).await;
        eventually("two requests wait", || stage.instance.counts().in_flight() == 2).await;
        if away {
            talk.send(&[Frame::go_away(0, NO_ERROR)]).await;
        }
        if half {
            talk.socket.half_close().await;
        } else {
            assert!(talk.sync().await);
        }
        gate.open();
        talk.until(|talk| talk.is_over(1) && talk.is_over(3)).await;
        let bodies: Vec<_> = talk.streams.values().map(|came| (came.ended, &came.body[..])).collect();
        // Whoever ends the connection's direction may be gone altogether.
        assert!(bodies == [(true, &b"late"[..]); 2] || (half && talk.closed), "{away} {half}: {talk:?}");
        eventually("nothing waits", || stage.instance.counts().in_flight() == 0).await;
    }
    stage.serves().await;
}

#[tokio::test]
async fn a_client_that_is_cut_off_in_a_frame_takes_its_requests_with_it() {
    let stage = Stage::new().await;
    for cut in [1, 8, 9, 12] {
        let mut talk = stage.open(&[]).await;
        talk.send(&[post(1)]).await;
        assert!(talk.sync().await);
        eventually("the request waits", || stage.instance.counts().in_flight() == 1).await;
        talk.write(&Frame::data(1, "body", true).to_bytes()[..cut]).await;
        drop(talk);
        eventually("the request is given up", || stage.instance.counts().in_flight() == 0).await;
    }
    assert_eq!(stage.instance.counts().completed(), 0);
    stage.serves().await;
}

#[tokio::test]
async fn interim_heads_come_before_the_head_and_end_nothing() {
    let hints = Reply::script().inform(103, &[("link", "</a.css>")]).inform(103, &[("link", "</b.js>")]).head(200);
    let instance = Instance::h2c().on("/hints", hints.data("page")).start().await;
    let config = Config::new().service("pets", &[instance.url()]).set("routes", "[ { prefix: /, service: pets } ]");
    let router = config.start();
    let mut talk = Talk::open(router.clear(), &[]).await;
    talk.send(&[Frame::head(1, &Block::get("/hints"), true)]).await;
    let came = talk.answer(1).await;
    let statuses: Vec<_> = came.heads.iter().map(|head| head[0].clone()).collect();
    let status = |code: &str| (":status".to_owned(), code.to_owned());
    assert_eq!(statuses, [status("103"), status("103"), status("200")]);
    assert_eq!(&came.body[..], b"page");

    let expecting = post_block().plain("expect", "100-continue");
    talk.send(&[Frame::head(3, &expecting, false)]).await;
    talk.until(|talk| talk.streams.contains_key(&3)).await;
    assert_eq!((talk.streams[&3].status(), talk.streams[&3].ended), (100, false));
    talk.send(&[Frame::data(3, "body", true)]).await;
    let came = talk.answer(3).await;
    assert_eq!((came.status(), &came.json()["body_bytes"]), (200, &4.into()));
}

#[tokio::test]
async fn an_answer_without_a_body_ends_with_its_head() {
    let stage = Stage::new().await;
    stage.instance.on("/none", Reply::status(204));
    let mut talk = stage.open(&[(WINDOW, 0)]).await;
    let head = |method: &str, path: &str| {
        Block::new().plain(":method", method).indexed(6).plain(":path", path).plain(":authority", "a")
    };
    talk.send(&[Frame::head(1, &head("GET", "/none"), true), Frame::head(3, &head("HEAD", "/small"), true)]).await;
    for (stream, status) in [(1, 204), (3, 200)] {
        let came = talk.answer(stream).await;
        assert_eq!((came.status(), came.ended, came.body.len()), (status, true, 0));
    }
    talk.send(&[get(PROBE)]).await;
    talk.until(|talk| talk.streams.contains_key(&PROBE)).await;
}

#[tokio::test]
async fn a_client_that_takes_an_answer_octet_by_octet_is_given_up() {
    let stage = Stage::with(Config::new().set("clients", "{ stall: 500ms }")).await;
    let mut talk = stage.open(&[(WINDOW, 0)]).await;
    talk.send(&[Frame::head(1, &Block::get("/large"), true)]).await;
    let drips = async {
        while !talk.is_over(1) && !talk.closed {
            talk.send(&[Frame::window_update(1, 1)]).await;
            tokio::time::timeout(Duration::from_millis(20), talk.turn()).await.ok();
        }
    };
    testkit::bounded("its end", drips).await;
    stage.serves().await;
}

/// What a client has not taken yet waits as long as any, however long there was nothing to take.
#[tokio::test]
async fn a_stream_that_was_silent_is_not_given_up_at_its_first_event() {
    let gate = Gate::new();
    let stage = Stage::with(Config::new().set("clients", "{ stall: 1s }")).await;
    stage.instance.on("/events", Reply::script().head(200).gate(&gate).data("event"));
    let mut talk = stage.open(&[]).await;
    let asks = |stream, path| Frame::head(stream, &Block::get(path), true);
    talk.send(&[asks(1, "/events"), asks(3, "/large")]).await;
    // The other stream uses up the connection's window, and is given up for that.
    talk.until(|talk| talk.is_over(3)).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    gate.open();
    tokio::time::timeout(Duration::from_millis(200), talk.until(|talk| talk.is_over(1))).await.ok();
    assert!(!talk.is_over(1), "{talk:?}");
    talk.send(&[Frame::window_update(0, 100_000)]).await;
    assert_eq!(&talk.answer(1).await.body[..], b"event");
}
