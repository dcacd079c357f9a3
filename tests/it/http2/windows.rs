//! Windows of the client: WINDOW_UPDATE right and wrong, and the router sends no octet beyond them.

use testkit::{frame::Frame, hpack::Block};

use super::{
    stage::{Due, Stage, get, post, row},
    talk::{FLOW, FRAME_SIZE, PROTOCOL, Talk, WINDOW},
};
use Due::{Ends, Ignored, Served, Stream};

/// The largest window.
const MOST: u32 = (1 << 31) - 1;
/// The window of a connection, which SETTINGS do not change.
const CONNECTION: usize = 65_535;
/// The body of `/large`.
const LARGE: usize = 1 << 20;

fn large(stream: u32) -> Frame {
    Frame::head(stream, &Block::get("/large"), true)
}

fn held(stream: u32) -> Frame {
    Frame::head(stream, &Block::get("/held"), true)
}

#[tokio::test]
async fn updates_are_checked() {
    let stage = Stage::new().await;
    let more = Frame::window_update;
    stage
        .check(vec![
            row("nothing for the connection", &[more(0, 0)], Ends(&[PROTOCOL])),
            row("nothing for a stream", &[held(1), more(1, 0)], Stream(&[PROTOCOL])),
            row("nothing for a closed stream", &[get(1)], Due::Open(&[PROTOCOL])).then(&[more(1, 0)]),
            row("too much for the connection", &[more(0, MOST)], Ends(&[FLOW])),
            row("too much for the connection by one", &[more(0, MOST - 65_535), more(0, 1)], Ends(&[FLOW])),
            row("the most for the connection", &[more(0, MOST - 65_535), get(1)], Served),
            row("too much for a stream", &[held(1), more(1, MOST)], Stream(&[FLOW])),
            row("too much for a stream by one", &[held(1), more(1, MOST - 65_535), more(1, 1)], Stream(&[FLOW])),
            row("the most for a stream", &[post(1), more(1, MOST - 65_535), Frame::data(1, "", true)], Served),
            row("too much for a half-open stream", &[post(1), more(1, MOST)], Stream(&[FLOW])),
            row(
                "too much by SETTINGS",
                &[held(1), more(1, MOST - 65_535), Frame::settings(&[(WINDOW, 65_536)])],
                Ends(&[FLOW]),
            ),
            row(
                "less and more by SETTINGS",
                &[held(1), Frame::settings(&[(WINDOW, 0)]), Frame::settings(&[(WINDOW, MOST)])],
                Ignored,
            ),
        ])
        .await;
}

/// Waits until the router sent all it may, and checks that it was not more.
async fn sent_exactly(talk: &mut Talk, stream: u32, octets: usize) {
    talk.until(|talk| talk.received(stream) >= octets).await;
    // Two rounds: what goes beyond would come with the first.
    assert!(talk.sync().await && talk.sync().await);
    assert_eq!(talk.received(stream), octets);
}

#[tokio::test]
async fn the_first_window_may_be_changed_at_any_time() {
    let stage = Stage::new().await;
    let mut talk = stage.open(&[(WINDOW, 0)]).await;
    talk.send(&[large(1)]).await;
    talk.until(|talk| talk.streams.contains_key(&1)).await;
    sent_exactly(&mut talk, 1, 0).await;
    for (window, octets) in [(10, 10), (9, 10), (11, 11), (1000, 1000), (0, 1000), (999, 1000), (1001, 1001)] {
        talk.configure(&[(WINDOW, window)]).await;
        sent_exactly(&mut talk, 1, octets).await;
    }
    // Below nothing: -1001, and then as much again.
    talk.configure(&[(WINDOW, 0)]).await;
    talk.send(&[Frame::window_update(1, 1001)]).await;
    sent_exactly(&mut talk, 1, 1001).await;
    talk.send(&[Frame::window_update(1, 5)]).await;
    sent_exactly(&mut talk, 1, 1006).await;
    // A stream that begins later begins with what is said now.
    talk.send(&[large(3)]).await;
    sent_exactly(&mut talk, 3, 0).await;
    talk.configure(&[(WINDOW, MOST / 2)]).await;
    sent_exactly(&mut talk, 0, 0).await;
    talk.send(&[Frame::window_update(0, MOST / 2)]).await;
    assert_eq!((talk.answer(1).await.body.len(), talk.answer(3).await.body.len()), (LARGE, LARGE));
}

#[tokio::test]
async fn one_octet_at_a_time_is_enough() {
    let stage = Stage::new().await;
    let mut talk = stage.open(&[(WINDOW, 0)]).await;
    talk.send(&[Frame::head(1, &Block::get("/small"), true)]).await;
    for octets in 1..=24 {
        talk.send(&[Frame::window_update(1, 1)]).await;
        talk.until(|talk| talk.received(1) == octets).await;
    }
    assert!(talk.answer(1).await.ended, "the end needs no window");
    talk.send(&[large(3)]).await;
    talk.send(&vec![Frame::window_update(3, 1); 5000]).await;
    sent_exactly(&mut talk, 3, 5000).await;
}

#[tokio::test]
async fn all_streams_share_the_connections_window() {
    let stage = Stage::new().await;
    let mut talk = stage.open(&[(WINDOW, MOST)]).await;
    talk.send(&[large(1)]).await;
    sent_exactly(&mut talk, 1, CONNECTION).await;
    talk.send(&[large(3), Frame::head(5, &Block::get("/small"), true)]).await;
    talk.until(|talk| talk.streams.contains_key(&3) && talk.streams.contains_key(&5)).await;
    assert!(talk.sync().await);
    assert_eq!((talk.received(1), talk.received(3), talk.received(5)), (CONNECTION, 0, 0));
    // Small steps: each stream gets its turn long before the first is through.
    while !(talk.is_over(5) && talk.received(3) > 0) {
        talk.send(&[Frame::window_update(0, 20_000)]).await;
        assert!(talk.sync().await);
        assert!(talk.received(1) < LARGE, "the first stream has it all: {} and {}", talk.received(3), talk.received(5));
    }
    talk.send(&[Frame::window_update(0, MOST / 2)]).await;
    for (stream, octets) in [(1, LARGE), (3, LARGE), (5, 24)] {
        assert_eq!(talk.answer(stream).await.body.len(), octets);
    }
}

#[tokio::test]
async fn a_stream_that_is_reset_leaves_the_window_to_others() {
    let stage = Stage::new().await;
    let mut talk = stage.open(&[(WINDOW, 30_000)]).await;
    talk.send(&[large(1), large(3), large(5)]).await;
    talk.until(|talk| talk.received(1) + talk.received(3) + talk.received(5) == CONNECTION).await;
    talk.send(&[Frame::reset(1, 8), Frame::reset(3, 8), Frame::reset(5, 8)]).await;
    talk.send(&[Frame::head(7, &Block::get("/small"), true)]).await;
    talk.until(|talk| talk.streams.contains_key(&7)).await;
    // All that was taken came before, so that exactly this is needed.
    talk.send(&[Frame::window_update(0, 24)]).await;
    assert_eq!(talk.answer(7).await.body.len(), 24);
}

#[tokio::test]
async fn frames_are_as_large_as_the_client_takes() {
    let stage = Stage::new().await;
    for size in [16_384, 20_000, 1 << 20] {
        let mut talk = stage.open(&[(WINDOW, MOST), (FRAME_SIZE, size)]).await;
        talk.send(&[Frame::window_update(0, MOST / 2), large(1)]).await;
        assert_eq!(talk.answer(1).await.body.len(), LARGE);
        assert!(talk.largest <= size as usize, "{} of {size}", talk.largest);
    }
    // Smaller again: nothing larger comes after the acknowledgement.
    let mut talk = stage.open(&[(WINDOW, MOST), (FRAME_SIZE, 100_000)]).await;
    talk.configure(&[(FRAME_SIZE, 16_384)]).await;
    assert!(talk.sync().await);
    talk.frame_size = 16_384;
    talk.send(&[Frame::window_update(0, MOST / 2), large(1)]).await;
    assert_eq!(talk.answer(1).await.body.len(), LARGE);
}
