//! How a connection begins: the preface, and SETTINGS.

use testkit::{
    frame::{self, Frame},
    hpack::Block,
};

use super::{
    stage::{Due, Stage, bare, get, post_block, row},
    talk::{BAD_SIZE, BAD_WINDOW, FRAME_SIZE, NO_ERROR, PROTOCOL, PUSH, STREAMS, TABLE_SIZE, Talk, WINDOW, octets},
};
use Due::{Ends, Open, Served};

#[tokio::test]
async fn a_connection_begins_with_the_preface_and_settings() {
    let stage = Stage::new().await;
    let prefaced = |frames: &[Frame]| [frame::PREFACE, &octets(frames)].concat();
    let mut wrong = frame::PREFACE.to_vec();
    *wrong.last_mut().unwrap() = b'x';
    // The connection preface may be wrong in a way that is HTTP/1, which is answered as such and not looked at here.
    stage
        .check(vec![
            bare(
                "a preface with a wrong end",
                [&wrong[..], &octets(&[Frame::settings(&[])])].concat(),
                Ends(&[PROTOCOL]),
            ),
            // The standard has them end the connection, the h2 crate does not mind.
            bare("a request before SETTINGS", prefaced(&[get(1)]), Open(&[PROTOCOL])),
            bare("PING before SETTINGS", prefaced(&[Frame::ping(0, [0; 8])]), Open(&[PROTOCOL])),
            bare("SETTINGS that acknowledge first", prefaced(&[Frame::raw(4, 1, 0, "")]), Open(&[PROTOCOL])),
            bare("right", prefaced(&[Frame::settings(&[]), get(1)]), Served),
        ])
        .await;
}

#[tokio::test]
async fn a_preface_that_is_cut_ends_with_the_connection() {
    let stage = Stage::new().await;
    for length in [1, 10, 23, 24, 30] {
        let mut talk = Talk::connect(stage.router.clear()).await;
        let whole = [frame::PREFACE, &octets(&[Frame::settings(&[])])].concat();
        talk.write(&whole[..length]).await;
        talk.socket.half_close().await;
        // Octets that are no preface yet may be answered as HTTP/1.
        talk.socket.read_to_end().await;
    }
    stage.serves().await;
}

#[tokio::test]
async fn octets_may_come_one_by_one() {
    let stage = Stage::new().await;
    let mut talk = Talk::connect(stage.router.clear()).await;
    let parts = [post_block().plain("x-half", "1"), Block::new().huffman("x-other", "two")];
    let frames = [
        Frame::settings(&[(WINDOW, 100_000)]),
        Frame::raw(frame::HEADERS, 0, 1, parts[0].to_bytes()),
        Frame::raw(frame::CONTINUATION, frame::END_HEADERS, 1, parts[1].to_bytes()),
        Frame::data(1, "body", false).padded(3),
        Frame::data(1, "", true),
    ];
    for octet in [frame::PREFACE, &octets(&frames)].concat() {
        talk.write(&[octet]).await;
        tokio::task::yield_now().await;
    }
    talk.until(|talk| talk.is_over(1)).await;
    let echo = talk.streams[&1].json();
    assert_eq!((&echo["body_bytes"], talk.streams[&1].status()), (&4.into(), 200));
    let seen = stage.instance.seen();
    assert_eq!((seen[0].header("x-half"), seen[0].header("x-other")), (Some("1"), Some("two")));
}

#[tokio::test]
async fn settings_are_checked() {
    let stage = Stage::new().await;
    let set = |what: &str, settings: &[(u16, u32)], due| row(what, &[Frame::settings(settings), get(1)], due);
    stage
        .check(vec![
            set("push that is neither on nor off", &[(PUSH, 2)], Ends(&[PROTOCOL])),
            set("push on", &[(PUSH, 1)], Served),
            set("push off", &[(PUSH, 0)], Served),
            set("a window beyond the largest", &[(WINDOW, 1 << 31)], Ends(BAD_WINDOW)),
            set("the largest window", &[(WINDOW, (1 << 31) - 1)], Served),
            set("frames below the smallest", &[(FRAME_SIZE, 16_383)], Ends(&[PROTOCOL])),
            set("no frames at all", &[(FRAME_SIZE, 0)], Ends(&[PROTOCOL])),
            set("frames beyond the largest", &[(FRAME_SIZE, 1 << 24)], Ends(&[PROTOCOL])),
            set("the largest frames", &[(FRAME_SIZE, (1 << 24) - 1)], Served),
            set("the largest table", &[(TABLE_SIZE, u32::MAX)], Served),
            set("no streams of the router's own", &[(STREAMS, 0)], Served),
            set("unknown parameters", &[(0, 1), (7, 1), (0xffff, u32::MAX)], Served),
            set("one twice, wrong first", &[(FRAME_SIZE, 1), (FRAME_SIZE, 16_384)], Ends(&[PROTOCOL])),
            set("one twice", &[(WINDOW, 0), (WINDOW, 70_000)], Served),
            set("no priorities", &[(9, 1)], Served),
            set("a list of heads of no size", &[(6, 0)], Open(&[])),
            row("an answer to nothing", &[Frame::raw(frame::SETTINGS, frame::ACK, 0, "")], Open(&[PROTOCOL])),
            row("half a parameter", &[Frame::raw(frame::SETTINGS, 0, 0, vec![0; 5])], Ends(BAD_SIZE)),
            row("one octet too many", &[Frame::raw(frame::SETTINGS, 0, 0, vec![0; 7])], Ends(BAD_SIZE)),
            row("an answer with more", &[Frame::raw(frame::SETTINGS, frame::ACK, 0, vec![0; 6])], Ends(BAD_SIZE)),
            row("on a stream", &[get(1), Frame::raw(frame::SETTINGS, 0, 1, "")], Ends(&[PROTOCOL])),
            row("an end in peace", &[Frame::go_away(0, NO_ERROR), Frame::ping(0, [0; 8])], Open(&[NO_ERROR])),
            row("flags nobody knows", &[Frame::raw(frame::SETTINGS, 0xfe, 0, ""), get(1)], Served),
        ])
        .await;
}

#[tokio::test]
async fn each_settings_frame_is_acknowledged_in_turn() {
    let stage = Stage::new().await;
    let mut talk = stage.open(&[]).await;
    for window in 0..10 {
        talk.configure(&[(WINDOW, window)]).await;
    }
    assert!(talk.sync().await);
    assert_eq!(talk.acks, 11);
}
