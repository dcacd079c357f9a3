//! Streams in their states: idle, open, half closed, closed; and their numbers.

use testkit::{
    frame::{self, Frame},
    hpack::Block,
};

use super::{
    stage::{Due, Stage, begun, ended, get, post, post_block, row},
    talk::{BEHIND_END, CANCEL, CLOSED, PROTOCOL},
};
use crate::support::Config;
use Due::{Ends, Ignored, Open, Served, Stream};

fn held(stream: u32) -> Frame {
    Frame::head(stream, &Block::get("/held"), true)
}

#[tokio::test]
async fn numbers_are_odd_and_rise() {
    let stage = Stage::new().await;
    stage
        .check(vec![
            row("an even number", &[get(2)], Ends(&[PROTOCOL])),
            row("a lower number", &[held(5), get(3)], Ends(&[PROTOCOL, CLOSED])),
            row("a number again, while it is open", &[held(1), get(1)], Stream(&[PROTOCOL, CLOSED])),
            row("a number again, after its end", &[get(1)], Stream(&[PROTOCOL, CLOSED])).then(&[get(1)]),
            row(
                "a number again, after its reset",
                &[held(1), Frame::reset(1, CANCEL), get(1)],
                Open(&[PROTOCOL, CLOSED]),
            ),
            row("numbers left out", &[get(1), held(501)], Served),
        ])
        .await;
    let mut talk = stage.open(&[]).await;
    talk.send(&[Frame::head((1 << 31) - 1, &Block::get("/probe"), true)]).await;
    assert_eq!(talk.answer((1 << 31) - 1).await.status(), 200, "the last number there is");
}

#[tokio::test]
async fn an_idle_stream_has_only_heads_and_priorities() {
    let stage = Stage::new().await;
    stage
        .check(vec![
            row("DATA", &[Frame::data(1, "x", true)], Ends(&[PROTOCOL])),
            row("RST_STREAM", &[Frame::reset(1, CANCEL)], Ends(&[PROTOCOL])),
            row("WINDOW_UPDATE", &[Frame::window_update(1, 100)], Ends(&[PROTOCOL])),
            row("CONTINUATION", &[ended(1, &post_block())], Ends(&[PROTOCOL])),
            row("DATA above an open stream", &[held(1), Frame::data(3, "x", true)], Ends(&[PROTOCOL])),
            row("WINDOW_UPDATE of the router's own", &[Frame::window_update(2, 100)], Ends(&[PROTOCOL])),
        ])
        .await;
}

#[tokio::test]
async fn nothing_follows_the_end() {
    let stage = Stage::new().await;
    let trailers = Frame::head(1, &Block::new().plain("x-late", "1"), true);
    let body = Frame::data(1, "x", true);
    let reset = Frame::reset(1, CANCEL);
    stage
        .check(vec![
            row("DATA after END_STREAM", &[held(1), body.clone()], Stream(BEHIND_END)),
            row("HEADERS after END_STREAM", &[held(1), trailers.clone()], Stream(&[CLOSED, PROTOCOL])),
            row("DATA after trailers", &[post(1), trailers.clone(), body.clone()], Stream(BEHIND_END)),
            row("WINDOW_UPDATE after END_STREAM", &[get(1), Frame::window_update(1, 10)], Served),
            row("RST_STREAM after END_STREAM", &[held(1), reset.clone()], Ignored),
            row("DATA after our reset", &[held(1), reset.clone(), body.clone()], Open(&[CLOSED])),
            row("HEADERS after our reset", &[held(1), reset.clone(), trailers.clone()], Open(&[CLOSED, PROTOCOL])),
            row("RST_STREAM after our reset", &[held(1), reset.clone(), reset.clone()], Ignored),
            row("WINDOW_UPDATE after our reset", &[held(1), reset.clone(), Frame::window_update(1, 1)], Ignored),
            row("DATA on a closed stream", &[get(1)], Open(&[CLOSED])).then(&[body]),
            row("HEADERS on a closed stream", &[get(1)], Open(&[CLOSED, PROTOCOL])).then(&[trailers]),
            row("RST_STREAM on a closed stream", &[get(1)], Ignored).then(&[reset]),
            row("WINDOW_UPDATE on a closed stream", &[get(1)], Ignored).then(&[Frame::window_update(1, 1)]),
        ])
        .await;
}

#[tokio::test]
async fn a_block_is_not_interrupted() {
    let stage = Stage::new().await;
    let (first, rest) =
        (Block::new().indexed(2).indexed(6), Block::new().plain(":path", "/row").plain(":authority", "a"));
    let mut rows = vec![
        row("two parts", &[begun(1, &first), ended(1, &rest)], Served),
        row("an empty first part", &[begun(1, &Block::new()), ended(1, &Block::get("/row"))], Served),
        row("an empty last part", &[begun(1, &Block::get("/row")), ended(1, &Block::new())], Served),
        row("CONTINUATION of a whole block", &[post(1), ended(1, &rest)], Ends(&[PROTOCOL])),
        row("CONTINUATION in a body", &[post(1), Frame::data(1, "x", false), ended(1, &rest)], Ends(&[PROTOCOL])),
    ];
    for (what, frame) in [
        ("DATA", Frame::data(1, "x", false)),
        ("HEADERS", get(1)),
        ("HEADERS of another stream", get(3)),
        ("PRIORITY", Frame::raw(frame::PRIORITY, 0, 1, vec![0, 0, 0, 0, 1])),
        ("RST_STREAM", Frame::reset(1, CANCEL)),
        ("SETTINGS", Frame::settings(&[])),
        ("PING", Frame::ping(0, [0; 8])),
        ("WINDOW_UPDATE", Frame::window_update(0, 1)),
        ("GOAWAY", Frame::go_away(0, 0)),
        ("an unknown frame", Frame::raw(0xbe, 0, 1, "")),
        ("CONTINUATION of another stream", ended(3, &rest)),
        ("CONTINUATION of stream 0", ended(0, &rest)),
    ] {
        rows.push(row(format!("{what} within"), &[begun(1, &first), frame, ended(1, &rest)], Ends(&[PROTOCOL])));
    }
    stage.check(rows).await;
}

#[tokio::test]
async fn streams_above_the_limit_are_refused_and_leave_the_others_alone() {
    const REFUSED: u32 = super::talk::REFUSED;
    let stage = Stage::with(Config::new().set("limits", "{ streams: 3 }")).await;
    let mut talk = stage.open(&[]).await;
    // What a refused head keeps in the table, later heads may name.
    let kept = Block::get("/held").keep("x-kept", "yes");
    talk.send(&[held(1), held(3), held(5), Frame::head(7, &kept, true), Frame::head(9, &kept, true)]).await;
    talk.until(|talk| talk.resets.len() == 2).await;
    assert_eq!((talk.resets.as_slice(), talk.settings[&super::talk::STREAMS]), (&[(7, REFUSED), (9, REFUSED)][..], 3));
    talk.send(&[Frame::reset(3, CANCEL), Frame::head(11, &Block::get("/row").indexed(62).indexed(63), true)]).await;
    assert_eq!(talk.answer(11).await.status(), 200, "{talk:?}");
    let seen = stage.instance.seen();
    let kept = seen.iter().find(|seen| seen.path() == "/row").expect("the good request");
    assert_eq!(kept.headers.get_all("x-kept").iter().count(), 2);
    assert!(!talk.is_over(1) && !talk.is_over(5));
}
