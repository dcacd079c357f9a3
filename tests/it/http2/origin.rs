//! What instances may answer, right and wrong: the client has a whole answer, or 502, or an answer that visibly breaks
//! off; and the next request is served.

use testkit::{
    frame::{self, Frame},
    hpack::Block,
};

use super::{
    origin_stage::{Due, Row, check, cut, ok, row, whole},
    talk::{
        BAD_BLOCK, BAD_SIZE, BAD_WINDOW, BEHIND_END, CALM, CLOSED, FLOW, FRAME_SIZE, INTERNAL, PROTOCOL, PUSH, SIZE,
        TABLE_SIZE, WINDOW,
    },
};
use Due::{Broken, Ends, Open, Refused, TooLarge, Whole};

const MALFORMED: Due = Refused(&[PROTOCOL]);

/// A head that ends the answer.
fn head(stream: u32, fields: &[(&str, &str)]) -> Vec<Frame> {
    vec![Frame::headers(stream, fields, true)]
}

/// 200 with one more field, and `body`.
fn with(stream: u32, name: &str, value: &str) -> Vec<Frame> {
    vec![Frame::headers(stream, &[(":status", "200"), (name, value)], false), Frame::data(stream, "body", true)]
}

/// These frames, and then a whole answer.
fn first(stream: u32, frames: &[Frame]) -> Vec<Frame> {
    [frames, &whole(stream)].concat()
}

/// A whole answer whose head is this block.
fn block(stream: u32, block: &Block) -> Vec<Frame> {
    vec![Frame::head(stream, block, false), Frame::data(stream, "body", true)]
}

fn interim(stream: u32) -> Frame {
    Frame::headers(stream, &[(":status", "103"), ("link", "</a>")], false)
}

fn trailers(stream: u32, name: &str, end: bool) -> Vec<Frame> {
    vec![ok(stream), Frame::data(stream, "body", false), Frame::headers(stream, &[(name, "1")], end)]
}

#[tokio::test]
async fn right_answers_come_through() {
    check(vec![
        row("plain", whole, Whole),
        row("with its length", |s| with(s, "content-length", "4"), Whole),
        row("with padding", |s| vec![ok(s).padded(9), Frame::data(s, "body", true).padded(255)], Whole),
        row(
            "in single octets",
            |s| {
                let octets = "body".bytes().map(|octet| Frame::data(s, vec![octet], false));
                [vec![ok(s)], octets.collect(), vec![Frame::data(s, "", true)]].concat()
            },
            Whole,
        ),
        row(
            "with empty DATA",
            |s| vec![ok(s), Frame::data(s, "", false), Frame::data(s, "", false), Frame::data(s, "body", true)],
            Whole,
        ),
        row("with trailers", |s| trailers(s, "x-late", true), Whole),
        row("behind interim heads", |s| first(s, &[interim(s), interim(s), interim(s)]), Whole),
        row(
            "in CONTINUATION",
            |s| {
                let rest = Block::new().plain("x-field", "1").to_bytes();
                let head = Frame::raw(frame::HEADERS, 0, s, vec![0x88]);
                vec![head, Frame::raw(9, 0, s, rest), Frame::raw(9, 4, s, ""), Frame::data(s, "body", true)]
            },
            Whole,
        ),
        row(
            "in Huffman code",
            |s| block(s, &Block::new().huffman(":status", "200").huffman("x-field", "value")),
            Whole,
        ),
        row("with entries to keep", |s| block(s, &Block::new().indexed(8).keep("x-field", "1").indexed(62)), Whole),
        row("with sizes of the table", |s| block(s, &Block::new().resize(0).resize(4096).indexed(8)), Whole),
        row(
            "with a priority",
            |s| {
                let head = [&[0, 0, 0, 0, 9], &Block::new().indexed(8).to_bytes()[..]].concat();
                vec![Frame::raw(frame::HEADERS, frame::PRIORITY_FLAG | 4, s, head), Frame::data(s, "body", true)]
            },
            Whole,
        ),
        row("behind PRIORITY", |s| first(s, &[Frame::raw(frame::PRIORITY, 0, s, vec![0, 0, 0, 0, 1])]), Whole),
        row("behind PING", |s| first(s, &[Frame::ping(0, [1; 8]), Frame::ping(frame::ACK, [2; 8])]), Whole),
        row("behind unknown frames", |s| first(s, &[Frame::raw(0xbe, 7, 0, "x"), Frame::raw(0xbe, 7, s, "y")]), Whole),
        row("behind unknown settings", |s| first(s, &[Frame::settings(&[(0xbeef, 1), (0, 0)])]), Whole),
        row("behind windows", |s| first(s, &[Frame::window_update(0, 9), Frame::window_update(s, 9)]), Whole),
        row("behind GOAWAY", |s| first(s, &[Frame::go_away(s, 0)]), Whole),
        row("behind an early GOAWAY", |s| first(s, &[Frame::go_away((1 << 31) - 1, 0), Frame::go_away(s, 0)]), Whole),
        row(
            "with flags nobody knows",
            |s| {
                vec![
                    Frame { flags: 0xd4 & !frame::PADDED, ..ok(s) },
                    Frame { flags: 0xf7, ..Frame::data(s, "body", true) },
                ]
            },
            Whole,
        ),
        row("with a reset in peace behind it", |s| [whole(s), vec![Frame::reset(s, 0)]].concat(), Whole),
        row("with windows behind it", |s| [whole(s), vec![Frame::window_update(s, 1)]].concat(), Whole),
    ])
    .await;
}

#[tokio::test]
async fn malformed_heads_are_a_502() {
    check(vec![
        row("no :status", |s| head(s, &[("x-field", "1")]), MALFORMED),
        row("nothing", |s| head(s, &[]), MALFORMED),
        row("two of :status", |s| head(s, &[(":status", "200"), (":status", "200")]), MALFORMED),
        row(":status behind a field", |s| head(s, &[("x-field", "1"), (":status", "200")]), MALFORMED),
        row(":status of letters", |s| head(s, &[(":status", "abc")]), MALFORMED),
        row(":status of two digits", |s| head(s, &[(":status", "20")]), MALFORMED),
        row(":status of four digits", |s| head(s, &[(":status", "2000")]), MALFORMED),
        row(":status of nothing", |s| head(s, &[(":status", "")]), MALFORMED),
        // The standard has both malformed, the h2 crate drops them.
        row(
            "a switch of protocols",
            |s| first(s, &[Frame::headers(s, &[(":status", "101")], false)]),
            Open(&[PROTOCOL]),
        ),
        row(":path", |s| with(s, ":path", "/"), Open(&[PROTOCOL])),
        row("an unknown pseudo field", |s| head(s, &[(":status", "200"), (":what", "1")]), MALFORMED),
        row("a name in upper case", |s| with(s, "Upper", "1"), MALFORMED),
        row("no name", |s| with(s, "", "1"), MALFORMED),
        row("a name with a space", |s| with(s, "x y", "1"), MALFORMED),
        row("a name with a line", |s| with(s, "x\r\ny", "1"), MALFORMED),
        row("a value with a line", |s| with(s, "x-field", "a\r\nb: c"), MALFORMED),
        row("a value with NUL", |s| with(s, "x-field", "a\0b"), MALFORMED),
        row("connection", |s| with(s, "connection", "close"), MALFORMED),
        row("transfer-encoding", |s| with(s, "transfer-encoding", "chunked"), MALFORMED),
        row("an interim head that ends", |s| head(s, &[(":status", "103")]), MALFORMED),
        row("DATA before its head", |s| vec![Frame::data(s, "body", true)], MALFORMED),
        row("DATA behind an interim head", |s| vec![interim(s), Frame::data(s, "body", true)], MALFORMED),
        row("a length of letters", |s| with(s, "content-length", "x"), MALFORMED),
        row("a reset before the head", |s| vec![Frame::reset(s, INTERNAL)], Refused(&[])),
        row("a reset in peace before the head", |s| vec![Frame::reset(s, 0)], Refused(&[])),
        row("a reset behind an interim head", |s| vec![interim(s), Frame::reset(s, INTERNAL)], Refused(&[])),
        cut("the end before the head", |_| vec![], b"", Refused(&[])),
        cut("the end within a frame", |_| vec![], &[0, 0, 9, 1], Refused(&[])),
        cut("the end within a block", |s| vec![Frame::raw(1, 0, s, vec![0x88])], b"", Refused(&[])),
        cut("the end behind an interim head", |s| vec![interim(s)], b"", Refused(&[])),
        cut("GOAWAY with a code", |s| vec![Frame::go_away(s, INTERNAL)], b"", Refused(&[])),
    ])
    .await;
}

#[tokio::test]
async fn answers_that_break_off_are_seen_to_do_so() {
    let half = |s: u32| vec![ok(s), Frame::data(s, "bo", false)];
    check(vec![
        row("shorter than it says", |s| with(s, "content-length", "5"), Broken(&[PROTOCOL])),
        row("longer than it says", |s| with(s, "content-length", "3"), Broken(&[PROTOCOL])),
        row(
            "nothing of what it says",
            |s| head(s, &[(":status", "200"), ("content-length", "5")]),
            Broken(&[PROTOCOL]),
        ),
        row(
            "two lengths",
            |s| {
                let fields = [(":status", "200"), ("content-length", "4"), ("content-length", "5")];
                vec![Frame::headers(s, &fields, false), Frame::data(s, "body", true)]
            },
            Broken(&[PROTOCOL]),
        ),
        row("trailers that do not end", |s| trailers(s, "x-late", false), Broken(&[PROTOCOL])),
        row("trailers in upper case", |s| trailers(s, "Upper", true), Broken(&[PROTOCOL])),
        // The standard has it malformed, the h2 crate drops the field.
        row("trailers with :status", |s| trailers(s, ":status", true), Open(&[PROTOCOL])),
        row("a reset", |s| vec![ok(s), Frame::data(s, "bo", false), Frame::reset(s, INTERNAL)], Broken(&[])),
        row("a reset in peace", |s| vec![ok(s), Frame::data(s, "bo", false), Frame::reset(s, 0)], Broken(&[])),
        cut("the end", half, b"", Broken(&[])),
        cut("the end within a frame", half, &[0, 0, 2, 0, 1, 0], Broken(&[])),
        cut("the end within DATA", half, &[0, 0, 2, 0, 1, 0, 0, 0, 1, b'd'], Broken(&[])),
        cut("GOAWAY and the end", |s| vec![ok(s), Frame::go_away(s, 0)], b"", Broken(&[])),
        cut(
            "the end where the head says its length",
            |s| {
                vec![
                    Frame::headers(s, &[(":status", "200"), ("content-length", "4")], false),
                    Frame::data(s, "bod", false),
                ]
            },
            b"",
            Broken(&[]),
        ),
        row("DATA behind the end", |s| [whole(s), vec![Frame::data(s, "more", true)]].concat(), Open(BEHIND_END)),
        row("HEADERS behind the end", |s| [whole(s), vec![ok(s)]].concat(), Open(&[CLOSED, PROTOCOL])),
    ])
    .await;
}

/// Rows that end the connection: with or without an answer before.
#[tokio::test]
async fn wrong_frames_end_the_connection() {
    fn raw(kind: u8, stream: u32, size: usize) -> Vec<Frame> {
        vec![Frame::raw(kind, 0, stream, vec![0; size])]
    }
    let protocol = Ends(&[PROTOCOL]);
    let size = Ends(BAD_SIZE);
    let rows: Vec<Row> = vec![
        row("a block with index 0", |s| vec![Frame::raw(1, 5, s, vec![0x80])], Ends(BAD_BLOCK)),
        row("a block with no such entry", |s| vec![Frame::raw(1, 5, s, vec![0x88, 0xbe])], Ends(BAD_BLOCK)),
        row("a block that is cut", |s| vec![Frame::raw(1, 5, s, vec![0x88, 0, 5, b'x'])], Ends(BAD_BLOCK)),
        row("a block with a table too large", |s| block(s, &Block::new().resize(4097).indexed(8)), Ends(BAD_BLOCK)),
        row("trailers of no block", |s| vec![ok(s), Frame::raw(1, 5, s, vec![0x80])], Ends(BAD_BLOCK)),
        row("PUSH_PROMISE", |s| vec![Frame::raw(5, 4, s, vec![0, 0, 0, 2, 0x82, 0x86, 0x84])], protocol),
        row("push neither on nor off", |_| vec![Frame::settings(&[(PUSH, 2)])], protocol),
        row("a window beyond the largest", |_| vec![Frame::settings(&[(WINDOW, 1 << 31)])], Ends(BAD_WINDOW)),
        row("frames too small", |_| vec![Frame::settings(&[(FRAME_SIZE, 16_383)])], protocol),
        row("frames too large", |_| vec![Frame::settings(&[(FRAME_SIZE, 1 << 24)])], protocol),
        row("DATA of a stream that never was", |s| vec![Frame::data(s + 100, "x", true)], protocol),
        row("HEADERS of a stream that never was", |s| whole(s + 100), protocol),
        row("HEADERS of a stream of its own", |_| whole(2), protocol),
        row("DATA on 0", |_| vec![Frame::data(0, "x", true)], protocol),
        row("RST_STREAM on 0", |_| vec![Frame::reset(0, 8)], protocol),
        row("RST_STREAM of a stream that never was", |s| vec![Frame::reset(s + 100, 8)], protocol),
        row("windows of a stream that never was", |s| vec![Frame::window_update(s + 100, 8)], protocol),
        row("no window for the connection", |_| vec![Frame::window_update(0, 0)], protocol),
        row("too much for the connection", |_| vec![Frame::window_update(0, (1 << 31) - 1)], Ends(&[FLOW])),
        row("CONTINUATION of nothing", |s| vec![Frame::raw(9, 4, s, "")], protocol),
        row("PING in a block", |s| vec![Frame::raw(1, 0, s, vec![0x88]), Frame::ping(0, [0; 8])], protocol),
        row("DATA in a block", |s| vec![Frame::raw(1, 0, s, vec![0x88]), Frame::data(s, "x", true)], protocol),
        row("SETTINGS on a stream", |s| raw(4, s, 0), protocol),
        row("SETTINGS of 5 octets", |_| raw(4, 0, 5), size),
        row("PING of 7 octets", |_| raw(6, 0, 7), size),
        row("PING on a stream", |s| raw(6, s, 8), protocol),
        row("GOAWAY on a stream", |s| raw(7, s, 8), protocol),
        row("WINDOW_UPDATE of 3 octets", |_| raw(8, 0, 3), size),
        row("RST_STREAM of 3 octets", |s| raw(3, s, 3), size),
        row("HEADERS too large", |s| raw(1, s, 16_385), size),
        row("DATA padded beyond its end", |s| vec![ok(s), Frame::raw(0, 9, s, vec![4, 0, 0, 0])], protocol),
        row("HEADERS padded beyond their end", |s| vec![Frame::raw(1, 13, s, vec![2, 0x88])], protocol),
    ];
    check(rows).await;
}

#[tokio::test]
async fn streams_that_go_wrong_are_a_502() {
    check(vec![
        row("no window for the stream", |s| vec![Frame::window_update(s, 0)], Refused(&[PROTOCOL])),
        // The standard has these end the stream or the connection, the h2 crate ignores them where it sends no more.
        row("too much for the stream", |s| first(s, &[Frame::window_update(s, (1 << 31) - 1)]), Open(&[FLOW])),
        row(
            "too much for the stream by SETTINGS",
            |s| first(s, &[Frame::window_update(s, 1 << 30), Frame::settings(&[(WINDOW, (1 << 31) - 1)])]),
            Open(&[FLOW]),
        ),
        // The standard has it end the connection, the h2 crate does not mind.
        row("push on", |s| first(s, &[Frame::settings(&[(PUSH, 1)])]), Open(&[PROTOCOL])),
        row("DATA too large", |s| vec![ok(s), Frame::data(s, vec![0; 16_385], true)], Broken(&[SIZE])),
        row("PRIORITY of 4 octets", |s| vec![Frame::raw(2, 0, s, vec![0; 4])], Refused(BAD_SIZE)),
        row(
            "a stream that depends on itself",
            |s| first(s, &[Frame::raw(2, 0, s, [&s.to_be_bytes()[..], &[1]].concat())]),
            Open(&[PROTOCOL]),
        ),
    ])
    .await;
}

#[tokio::test]
async fn heads_without_bounds_are_a_502() {
    const CODES: &[u32] = &[CALM, PROTOCOL, INTERNAL, SIZE];
    fn blocks(stream: u32, block: &[u8]) -> Vec<Frame> {
        let rest = block.chunks(16_384).map(|part| Frame::raw(9, 0, stream, part.to_vec()));
        let begin = [Frame::raw(1, 1, stream, vec![0x88])];
        begin.into_iter().chain(rest).chain([Frame::raw(9, 4, stream, "")]).collect()
    }
    check(vec![
        row(
            "a field of a megabyte",
            |s| blocks(s, &Block::new().plain("x", &"v".repeat(1 << 20)).to_bytes()),
            Refused(CODES),
        ),
        row(
            "a field named again and again",
            |s| {
                let named = Block::new().keep("x-bomb", &"b".repeat(4000)).octets(&[0xbe; 16_000]);
                blocks(s, &named.to_bytes())
            },
            TooLarge,
        ),
        row(
            "small fields without number",
            |s| blocks(s, &Block::new().plain("a", "").to_bytes().repeat(50_000)),
            TooLarge,
        ),
        row(
            "empty CONTINUATIONs",
            |s| [vec![Frame::raw(1, 1, s, vec![0x88])], vec![Frame::raw(9, 0, s, ""); 100_000]].concat(),
            Refused(CODES),
        ),
    ])
    .await;
}

#[tokio::test]
async fn tables_of_the_instance_are_obeyed() {
    check(vec![
        row("no table", |s| first(s, &[Frame::settings(&[(TABLE_SIZE, 0)])]), Whole),
        row("a small table", |s| first(s, &[Frame::settings(&[(TABLE_SIZE, 64)])]), Whole),
        row(
            "none, then one",
            |s| first(s, &[Frame::settings(&[(TABLE_SIZE, 0)]), Frame::settings(&[(TABLE_SIZE, 9000)])]),
            Whole,
        ),
    ])
    .await;
}
