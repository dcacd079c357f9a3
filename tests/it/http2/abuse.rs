//! Floods: each frame is right, and there are too many. The router ends the connection, or stops reading, or bears it;
//! other clients are served in any case.

use std::time::Duration;

use bytes::Bytes;
use testkit::{
    eventually,
    frame::{self, Frame},
    hpack::Block,
};

use super::{
    stage::{Stage, post},
    talk::{CALM, CANCEL, CLOSED, INTERNAL, PROTOCOL, REFUSED, Talk, octets},
};

/// Frames of one burst.
const BURST: usize = 500;
/// Bursts a client may send that waits for each to be read.
const BURSTS: usize = 60;

/// What became of a flood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flood {
    /// The connection ended.
    Ended,
    /// The router reads no more.
    Stopped,
    /// All of it was read.
    Borne,
}

/// Sends bursts and reads everything, waiting for each burst to be read.
async fn flood(talk: &mut Talk, mut burst: impl FnMut(usize) -> Vec<u8>) -> Flood {
    for round in 0..BURSTS {
        talk.write(&burst(round)).await;
        if !talk.sync().await {
            let code = talk.away.map(|(_, code)| code);
            assert!(code.is_none_or(|code| [CALM, PROTOCOL, CLOSED, INTERNAL].contains(&code)), "{code:?}");
            return Flood::Ended;
        }
    }
    Flood::Borne
}

/// Sends and never reads, until the router ends the connection, or stops reading, or has read `most` octets.
async fn flood_unread(talk: &mut Talk, burst: &[u8], most: usize) -> Flood {
    /// Longer than a laden router takes to read a burst.
    const PATIENCE: Duration = Duration::from_secs(2);
    let mut sent = 0;
    while sent < most {
        match tokio::time::timeout(PATIENCE, talk.socket.send(burst)).await {
            Ok(Ok(())) => sent += burst.len(),
            Ok(Err(_)) => return Flood::Ended,
            Err(_) => return Flood::Stopped,
        }
    }
    Flood::Borne
}

#[tokio::test]
async fn streams_reset_as_soon_as_they_begin_end_the_connection() {
    let stage = Stage::new().await;
    for path in ["/row", "/held"] {
        let mut talk = stage.open(&[]).await;
        let pair = |stream| [Frame::head(stream, &Block::get(path), true), Frame::reset(stream, CANCEL)];
        let mut stream = 1;
        let ended = flood(&mut talk, |_| {
            let pairs: Vec<_> = (0..BURST as u32).flat_map(|at| pair(stream + 2 * at)).collect();
            stream += 2 * BURST as u32;
            octets(&pairs)
        })
        .await;
        assert_eq!(ended, Flood::Ended, "{path}");
        stage.serves().await;
    }
    eventually("nothing is left", || stage.instance.counts().in_flight() == 0).await;
}

#[tokio::test]
async fn requests_that_come_to_no_instance_do_not_speak_for_a_client_that_resets_others() {
    let stage = Stage::new().await;
    let mut talk = stage.open(&[]).await;
    let refused = Block::new().plain(":method", "TRACE").indexed(6).plain(":path", "/").plain(":authority", "a");
    let mut stream = 1;
    let ended = flood(&mut talk, |_| {
        let burst = (0..BURST as u32).flat_map(|at| {
            let stream = stream + 6 * at;
            [
                Frame::head(stream, &Block::get("/held"), true),
                Frame::reset(stream, CANCEL),
                Frame::head(stream + 2, &refused, true),
                Frame::head(stream + 4, &refused, true),
            ]
        });
        let burst = octets(&burst.collect::<Vec<_>>());
        stream += 6 * BURST as u32;
        burst
    })
    .await;
    assert_eq!(ended, Flood::Ended);
    stage.serves().await;
}

/// Resets that the router itself has to send: by malformed heads, by windows, by frames behind the end.
#[tokio::test]
async fn resets_a_client_provokes_end_the_connection_or_cost_little() {
    let stage = Stage::new().await;
    let upper = |stream| vec![Frame::head(stream, &Block::get("/row").plain("Upper", "1"), true)];
    let window = |stream| vec![Frame::head(stream, &Block::get("/held"), true), Frame::window_update(stream, 0)];
    let overflow =
        |stream| vec![Frame::head(stream, &Block::get("/held"), true), Frame::window_update(stream, (1 << 31) - 1)];
    let late = |stream| vec![Frame::head(stream, &Block::get("/held"), true), Frame::data(stream, "x", true)];
    let ways: [&dyn Fn(u32) -> Vec<Frame>; 4] = [&upper, &window, &overflow, &late];
    for (at, way) in ways.into_iter().enumerate() {
        let mut talk = stage.open(&[]).await;
        let mut stream = 1;
        flood(&mut talk, |_| {
            let frames: Vec<_> = (0..BURST as u32).flat_map(|at| way(stream + 2 * at)).collect();
            stream += 2 * BURST as u32;
            octets(&frames)
        })
        .await;
        drop(talk);
        stage.serves().await;
        eventually("nothing is left", || stage.instance.counts().in_flight() == 0).await;
        assert!(stage.arrived() < 20_000, "way {at}: {}", stage.arrived());
    }
}

#[tokio::test]
async fn floods_of_small_frames_end_the_connection_or_are_borne() {
    let stage = Stage::new().await;
    let priority = Frame::raw(frame::PRIORITY, 0, 99, vec![0, 0, 0, 0, 1]);
    for (what, frame) in [
        ("SETTINGS", Frame::settings(&[])),
        ("SETTINGS that change a window", Frame::settings(&[(4, 1), (4, 70_000)])),
        ("PING", Frame::ping(0, [0; 8])),
        ("answers to PING", Frame::ping(frame::ACK, [0; 8])),
        ("PRIORITY", priority),
        ("WINDOW_UPDATE", Frame::window_update(0, 1)),
        ("WINDOW_UPDATE of a stream", Frame::window_update(1, 1)),
        ("WINDOW_UPDATE of a closed stream", Frame::window_update(3, 1)),
        ("RST_STREAM of a closed stream", Frame::reset(3, CANCEL)),
        ("empty DATA", Frame::data(1, "", false)),
        ("empty DATA with padding", Frame::data(1, "", false).padded(0)),
        ("unknown frames", Frame::raw(0xbe, 0, 0, "")),
        ("unknown settings", Frame::settings(&[(0xbeef, 1); 20])),
    ] {
        let mut talk = stage.open(&[]).await;
        talk.send(&[post(1), Frame::head(3, &Block::get("/probe"), true)]).await;
        assert_eq!(talk.answer(3).await.status(), 200);
        let burst = frame.to_bytes().repeat(BURST);
        if flood(&mut talk, |_| burst.clone()).await == Flood::Borne {
            talk.send(&[Frame::data(1, "body", true)]).await;
            assert_eq!(talk.answer(1).await.json()["body_bytes"], 4, "{what}");
        }
        drop(talk);
        stage.serves().await;
    }
}

/// What a flood asks the router to say cannot pile up: it stops reading, or ends.
#[tokio::test]
async fn a_client_that_asks_and_does_not_read_is_not_read_for_ever() {
    /// More than the sockets of both ends can hold, twice: asked and answered.
    const MOST: usize = 64 << 20;
    let stage = Stage::new().await;
    for (what, frame) in [("PING", Frame::ping(0, [0; 8])), ("SETTINGS", Frame::settings(&[]))] {
        let mut talk = stage.open(&[]).await;
        let burst = frame.to_bytes().repeat(4000);
        let end = flood_unread(&mut talk, &burst, MOST).await;
        assert_ne!(end, Flood::Borne, "{what}");
        stage.serves().await;
    }
    // Refused streams, whose resets and answers nobody reads.
    let mut talk = stage.open(&[]).await;
    let mut stream = 1;
    let end = loop {
        let upper: Vec<_> =
            (0..1000).map(|at| Frame::head(stream + 2 * at, &Block::get("/row").plain("Upper", "1"), true)).collect();
        stream += 2000;
        match flood_unread(&mut talk, &octets(&upper), 1).await {
            Flood::Borne if stream < 1_000_000 => {}
            end => break end,
        }
    };
    assert_ne!(end, Flood::Borne, "malformed heads");
    stage.serves().await;
}

#[tokio::test]
async fn a_body_in_single_octets_to_an_instance_that_does_not_read_is_bounded() {
    let stage = Stage::new().await;
    let head = Block::new().indexed(3).indexed(6).plain(":path", "/unread").plain(":authority", "a");
    for frame in [Frame::data(1, "x", false), Frame::data(1, "x", false).padded(255)] {
        let mut talk = stage.open(&[]).await;
        talk.send(&[Frame::head(1, &head, false)]).await;
        let burst = frame.to_bytes().repeat(BURST);
        // With no heed of windows, so that it ends in any case.
        let mut end = Flood::Borne;
        for _ in 0..1000 {
            end = flood_unread(&mut talk, &burst, 1).await;
            if end != Flood::Borne {
                break;
            }
        }
        if end == Flood::Borne && talk.sync().await && !talk.is_over(1) {
            // The sockets of the instance took it all; in the router it weighs no more than its octets.
            talk.send(&[Frame::reset(1, CANCEL)]).await;
        } else {
            talk.until(|talk| talk.closed || talk.is_over(1)).await;
        }
        drop(talk);
        stage.serves().await;
        stage.router.settled("pets").await;
    }
}

/// Few octets that stand for many.
#[tokio::test]
async fn heads_that_unfold_to_megabytes_are_refused() {
    let stage = Stage::new().await;
    let large = Block::get("/row").keep("x-bomb", &"b".repeat(4000));
    let bomb = Block::get("/row").octets(&[0x80 | 62; 16_000]);
    let fields = |field: Block| Block::get("/row").octets(&field.to_bytes().repeat(16_000 / field.to_bytes().len()));
    let crumbs = (0..5000).fold(Block::get("/row"), |block, _| block.integer(0, 4, 32).text("a=1"));
    for (what, blocks) in [
        ("an entry named again and again", vec![large.clone(), bomb]),
        ("the smallest fields", vec![fields(Block::new().plain("a", ""))]),
        ("fields of the table", vec![fields(Block::new().indexed(16))]),
        ("fields to be kept", vec![fields(Block::new().keep("a", ""))]),
        ("crumbs of a cookie", vec![crumbs]),
        ("one value", vec![Block::get("/row").plain("x-long", &"x".repeat(100_000))]),
    ] {
        let mut talk = stage.open(&[]).await;
        for (at, block) in blocks.iter().enumerate() {
            let stream = 1 + 2 * at as u32;
            talk.write(&split(stream, &block.to_bytes())).await;
            talk.until(|talk| talk.is_over(stream) || talk.closed).await;
        }
        let last = 2 * blocks.len() as u32 - 1;
        let status = talk.streams.get(&last).map_or(0, |came| came.status());
        let reset =
            talk.resets.iter().any(|(stream, code)| *stream == last && [CALM, PROTOCOL, REFUSED].contains(code));
        assert!(matches!(status, 431 | 400) || reset || talk.closed, "{what}: {status} {talk:?}");
        drop(talk);
        stage.serves().await;
    }
    assert!(stage.arrived() <= 1, "only the head that fills the table may come through");
}

/// A block in as many frames as it takes.
fn split(stream: u32, block: &Bytes) -> Vec<u8> {
    let parts: Vec<_> = block.chunks(16_384).collect();
    let frames = parts.iter().enumerate().map(|(at, part)| {
        let last = if at + 1 == parts.len() { frame::END_HEADERS } else { 0 };
        match at {
            0 => Frame::raw(frame::HEADERS, frame::END_STREAM | last, stream, part.to_vec()),
            _ => Frame::raw(frame::CONTINUATION, last, stream, part.to_vec()),
        }
    });
    octets(&frames.collect::<Vec<_>>())
}

#[tokio::test]
async fn a_bomb_on_every_stream_is_refused_too() {
    let stage = Stage::new().await;
    let mut talk = stage.open(&[]).await;
    talk.send(&[Frame::head(1, &Block::get("/probe").keep("x-bomb", &"b".repeat(4000)), true)]).await;
    talk.answer(1).await;
    let bomb = Block::get("/row").octets(&[0x80 | 62; 16_000]);
    for stream in (3..203).step_by(2) {
        talk.send(&[Frame::head(stream, &bomb, true)]).await;
        if !talk.sync().await {
            break;
        }
    }
    talk.until(|talk| talk.closed || talk.is_over(201)).await;
    assert!(talk.streams.values().skip(1).all(|came| came.status() != 200), "{talk:?}");
    assert_eq!(stage.arrived(), 0);
    stage.serves().await;
}
