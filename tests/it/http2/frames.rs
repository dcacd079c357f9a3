//! Frames of a wrong size, on a wrong stream, with padding, of unknown types.

use testkit::frame::{self, Frame};

use super::{
    stage::{Due, Row, Stage, get, post, post_block, row},
    talk::{BAD_SIZE, CLOSED, PROTOCOL, SIZE, Talk},
};
use Due::{Ends, Ignored, Open, Served, Stream};

const MOST: usize = 16_384;

#[tokio::test]
async fn sizes_are_checked() {
    let stage = Stage::new().await;
    let long = post_block().plain("x-long", &"x".repeat(MOST));
    let sized = |what: &str, kind, stream, size: usize, due| -> Row {
        row(format!("{what} of {size} octets"), &[post(1), Frame::raw(kind, 0, stream, vec![1; size])], due)
    };
    let mut rows = vec![
        row("a body as large as allowed", &[post(1), Frame::data(1, vec![0; MOST], true)], Served),
        row("a body of no octets", &[post(1), Frame::data(1, "", true)], Served),
        row("DATA too large", &[post(1), Frame::data(1, vec![0; MOST + 1], true)], Stream(&[SIZE])),
        row("HEADERS too large", &[Frame::head(1, &long, true)], Ends(&[SIZE])),
        row("an unknown frame too large", &[Frame::raw(0xbe, 0, 0, vec![0; MOST + 1])], Stream(&[SIZE])),
        row("the largest length, and no more", &[Frame::raw(0, 0, 1, vec![0; (1 << 24) - 1])], Ends(&[SIZE, PROTOCOL])),
        row("GOAWAY of 7 octets", &[Frame::raw(frame::GOAWAY, 0, 0, vec![0; 7])], Ends(BAD_SIZE)),
    ];
    for size in [0, 7, 9] {
        rows.push(sized("PING", frame::PING, 0, size, Ends(BAD_SIZE)));
    }
    for size in [0, 3, 5] {
        rows.push(sized("WINDOW_UPDATE", frame::WINDOW_UPDATE, 0, size, Ends(BAD_SIZE)));
        rows.push(sized("WINDOW_UPDATE of a stream", frame::WINDOW_UPDATE, 1, size, Ends(BAD_SIZE)));
        rows.push(sized("RST_STREAM", frame::RST_STREAM, 1, size, Ends(BAD_SIZE)));
    }
    for size in [0, 4, 6] {
        rows.push(sized("PRIORITY", frame::PRIORITY, 1, size, Stream(BAD_SIZE)));
    }
    stage.check(rows).await;
}

#[tokio::test]
async fn frames_of_a_stream_and_of_the_connection_are_told_apart() {
    let stage = Stage::new().await;
    let head = post_block().to_bytes();
    stage
        .check(vec![
            row("DATA on 0", &[Frame::data(0, "x", false)], Ends(&[PROTOCOL])),
            row("HEADERS on 0", &[Frame::raw(frame::HEADERS, 5, 0, head)], Ends(&[PROTOCOL])),
            row("PRIORITY on 0", &[Frame::raw(frame::PRIORITY, 0, 0, vec![0; 5])], Ends(&[PROTOCOL])),
            row("RST_STREAM on 0", &[Frame::reset(0, 8)], Ends(&[PROTOCOL])),
            row("CONTINUATION on 0", &[Frame::raw(frame::CONTINUATION, 4, 0, "")], Ends(&[PROTOCOL])),
            row("PUSH_PROMISE on 0", &[Frame::raw(frame::PUSH_PROMISE, 4, 0, vec![0, 0, 0, 2])], Ends(&[PROTOCOL])),
            row("PING on a stream", &[post(1), Frame::raw(frame::PING, 0, 1, vec![0; 8])], Ends(&[PROTOCOL])),
            row("GOAWAY on a stream", &[post(1), Frame::raw(frame::GOAWAY, 0, 1, vec![0; 8])], Ends(&[PROTOCOL])),
            row(
                "PUSH_PROMISE of a client",
                &[post(1), Frame::raw(frame::PUSH_PROMISE, 4, 1, vec![0, 0, 0, 2])],
                Ends(&[PROTOCOL]),
            ),
        ])
        .await;
}

#[tokio::test]
async fn what_is_unknown_is_ignored() {
    let stage = Stage::new().await;
    let flagged = |frame: Frame, flags: u8| Frame { flags: frame.flags | flags, ..frame };
    let reserved = |frame: Frame| Frame { stream: frame.stream | 1 << 31, ..frame };
    stage
        .check(vec![
            row("an unknown frame", &[Frame::raw(0xbe, 0xff, 0, "what"), get(1)], Served),
            row("an unknown frame, empty", &[Frame::raw(0xff, 0, 0, ""), get(1)], Served),
            row(
                "an unknown frame in a body",
                &[post(1), Frame::raw(0xbe, 1, 1, "x"), Frame::data(1, "", true)],
                Served,
            ),
            row("an unknown frame on an idle stream", &[Frame::raw(0xbe, 0, 7, "")], Open(&[PROTOCOL])),
            row("ALTSVC and ORIGIN", &[Frame::raw(10, 0, 0, vec![0; 4]), Frame::raw(12, 0, 0, ""), get(1)], Served),
            row("PRIORITY_UPDATE", &[Frame::raw(16, 0, 0, &b"\0\0\0\x01u=1"[..]), get(1)], Served),
            row("flags of HEADERS", &[flagged(get(1), 0xd2)], Served),
            row("flags of DATA", &[post(1), flagged(Frame::data(1, "x", true), 0xf6)], Served),
            row("flags of PING", &[flagged(Frame::ping(0, [7; 8]), 0xfe), get(1)], Ignored),
            row("flags of RST_STREAM", &[post(1), flagged(Frame::reset(1, 8), 0xff)], Ignored),
            row("flags of WINDOW_UPDATE", &[get(1), flagged(Frame::window_update(0, 1), 0xff)], Served),
            row("a reserved bit of HEADERS", &[reserved(get(1))], Served),
            row("a reserved bit of DATA", &[post(1), reserved(Frame::data(1, "x", true))], Served),
            row("a reserved bit of SETTINGS", &[reserved(Frame::settings(&[])), get(1)], Served),
            row("a reserved bit of the increment", &[get(1), Frame::window_update(0, 1 << 31 | 1)], Served),
            row("an unknown code of RST_STREAM", &[post(1), Frame::reset(1, 0xffff_ffff)], Ignored),
        ])
        .await;
}

#[tokio::test]
async fn padding_is_taken_off_or_refused() {
    let stage = Stage::new().await;
    let raw = |kind, flags, payload: &[u8]| Frame::raw(kind, flags | frame::PADDED, 1, payload.to_vec());
    let head = post_block().to_bytes();
    let beyond = |octets: &[u8]| [&[octets.len() as u8 + 1], octets].concat();
    let mut prioritised = vec![4, 0, 0, 0, 0, 15];
    prioritised.extend_from_slice(&head);
    prioritised.extend_from_slice(&[0; 4]);
    let both = frame::END_HEADERS | frame::END_STREAM;
    let (data, headers) = (frame::DATA, frame::HEADERS);
    stage
        .check(vec![
            row("DATA", &[post(1), Frame::data(1, "body", true).padded(7)], Served),
            row("DATA with the most", &[post(1), Frame::data(1, "body", true).padded(255)], Served),
            row("DATA with none, but the flag", &[post(1), Frame::data(1, "body", true).padded(0)], Served),
            row("DATA of nothing else", &[post(1), Frame::data(1, "", true).padded(255)], Served),
            row("HEADERS", &[get(1).padded(200)], Served),
            row("HEADERS with priority", &[raw(headers, both | frame::PRIORITY_FLAG, &prioritised)], Served),
            row("DATA of padding beyond its end", &[post(1), raw(data, 1, &beyond(b"body"))], Ends(&[PROTOCOL])),
            row("DATA of padding as long as all", &[post(1), raw(data, 1, &[5, 0, 0, 0, 0])], Ends(&[PROTOCOL])),
            row("DATA without the length", &[post(1), raw(data, 1, &[])], Ends(&[PROTOCOL, SIZE])),
            row("HEADERS of padding beyond its end", &[raw(headers, both, &beyond(&head))], Ends(&[PROTOCOL])),
            row("HEADERS without the length", &[raw(headers, both, &[])], Ends(&[PROTOCOL, SIZE])),
            row(
                "HEADERS of padding into the priority",
                &[raw(headers, both | frame::PRIORITY_FLAG, &[2, 0, 0, 0, 0, 1])],
                Ends(&[PROTOCOL, SIZE]),
            ),
            row(
                "HEADERS too short for their priority",
                &[Frame::raw(headers, both | frame::PRIORITY_FLAG, 1, vec![0; 4])],
                Ends(&[PROTOCOL, SIZE]),
            ),
        ])
        .await;
    let posts: Vec<_> =
        stage.instance.seen().iter().filter(|seen| seen.method == "POST").map(|s| s.body_bytes).collect();
    assert_eq!(posts[..4], [4, 4, 4, 0], "padding is no body");
}

#[tokio::test]
async fn pings_are_answered_with_their_octets_and_answers_are_not() {
    let stage = Stage::new().await;
    let mut talk = stage.open(&[]).await;
    talk.send(&[Frame::ping(0, *b"12345678"), Frame::ping(frame::ACK, *b"nobody's"), Frame::ping(0, [255; 8])]).await;
    talk.until(|talk: &Talk| talk.pongs.len() == 2).await;
    assert_eq!(talk.pongs, [&b"12345678"[..], &[255; 8]]);
    talk.send(&[get(1)]).await;
    assert_eq!((talk.answer(1).await.status(), talk.pongs.len()), (200, 2));
}

#[tokio::test]
async fn priorities_are_advice() {
    let stage = Stage::new().await;
    let on =
        |stream: u32, parent: u32| Frame::raw(frame::PRIORITY, 0, stream, [&parent.to_be_bytes()[..], &[15]].concat());
    let head = |parent: u32| {
        let block = [&parent.to_be_bytes()[..], &[255], &post_block().to_bytes()].concat();
        Frame::raw(frame::HEADERS, frame::PRIORITY_FLAG | 5, 1, block)
    };
    stage
        .check(vec![
            row("of an idle stream", &[on(9, 7), get(1)], Served),
            row("of a closed stream", &[get(1)], Ignored).then(&[on(1, 3)]),
            row("of a stream on itself", &[on(1, 1), get(1)], Open(&[PROTOCOL, CLOSED])),
            row("in a head", &[head(1 << 31 | 11)], Served),
            row("in a head, on itself", &[head(1)], Open(&[PROTOCOL])),
        ])
        .await;
}
