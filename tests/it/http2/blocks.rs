//! Header blocks: HPACK that is right and wrong, the tables of both directions, CONTINUATION.

use testkit::{
    Raw,
    frame::{self, Frame},
    hpack::Block,
};

use super::{
    stage::{Due, Row, Stage, begun, ended, get, row},
    talk::{BAD_BLOCK, CALM, COMPRESSION, INTERNAL, PROTOCOL, SIZE, TABLE_SIZE, Talk},
};
use crate::support::Config;
use Due::{Ends, Open, Served};

/// A request whose head ends in this.
fn head(what: &str, end: impl FnOnce(Block) -> Block, due: Due) -> Row {
    row(what, &[Frame::head(1, &end(Block::get("/row")), true)], due)
}

#[tokio::test]
async fn wrong_blocks_end_the_connection() {
    let stage = Stage::new().await;
    let bad = Ends(BAD_BLOCK);
    let raw = |what: &str, octets: &'static [u8]| head(what, |block| block.octets(octets), bad);
    stage
        .check(vec![
            raw("index 0", &[0x80]),
            raw("the index behind the tables", &[0x80 | 62]),
            raw("an index far beyond", &[0xff, 0xff, 0xff, 0x01]),
            raw("a name behind the tables", &[0x40 | 62, 1, b'x']),
            raw("a name behind the tables, not kept", &[0x0f, 47, 1, b'x']),
            raw("an integer without its end", &[0xff]),
            raw("an integer without its last octet", &[0xff, 0x80, 0x80]),
            raw("an integer of too many octets", &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
            raw("an integer of many zeros", &[0xff, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0]),
            raw("a length that wraps", &[0, 1, b'x', 0x7f, 0xff, 0xff, 0xff, 0xff, 0x0f]),
            raw("a name and no value", &[0, 1, b'x']),
            raw("a name that is cut", &[0, 5, b'x']),
            raw("a value that is cut", &[0, 1, b'x', 5, b'y']),
            raw("a literal and nothing else", &[0x40]),
            raw("Huffman code with EOS", &[0, 1, b'x', 0x84, 0xff, 0xff, 0xff, 0xff]),
            raw("Huffman code with EOS within", &[0, 1, b'x', 0x85, 0x1f, 0xff, 0xff, 0xff, 0xfc]),
            raw("Huffman padding of an octet", &[0, 1, b'x', 0x82, 0x1f, 0xff]),
            raw("Huffman padding of more", &[0, 1, b'x', 0x83, 0x1f, 0xff, 0xff]),
            raw("Huffman padding of zeros", &[0, 1, b'x', 0x81, 0x18]),
            raw("Huffman padding in a name", &[0, 0x82, 0x1f, 0xff, 1, b'y']),
            head("a table beyond what is allowed", |_| Block::new().resize(1 << 20).indexed(2), bad),
            head("a table one octet beyond", |_| Block::new().resize(4097).indexed(2), bad),
            head("a change of the table in the middle", |block| block.resize(0).plain("x-field", "1"), bad),
            head("a change of the table at the end", |block| block.resize(100), bad),
            head("an entry the table was emptied of", |_| Block::new().resize(0).indexed(62), bad),
            row(
                "an entry that was driven out",
                &[
                    Frame::head(1, &Block::get("/row").keep("x-old", "1"), true),
                    Frame::head(3, &Block::get("/row").keep("x-new", &"n".repeat(4040)).indexed(63), true),
                ],
                bad,
            ),
            row(
                "an entry that one too large drove out",
                &[Frame::head(
                    1,
                    &Block::get("/row").keep("x-old", "1").keep("x-new", &"n".repeat(5000)).indexed(62),
                    true,
                )],
                bad,
            ),
            row("in trailers", &[super::stage::post(1), Frame::raw(frame::HEADERS, 5, 1, vec![0x80])], bad),
            row("over two frames", &[begun(1, &Block::get("/row").octets(&[0, 9])), ended(1, &Block::new())], bad),
        ])
        .await;
    assert!(stage.instance.seen().iter().all(|seen| !seen.headers.contains_key("x-field")));
}

#[tokio::test]
async fn right_blocks_are_read() {
    let stage = Stage::new().await;
    let all: String = (32..127_u8).map(char::from).collect::<String>().trim().to_owned();
    stage
        .check(vec![
            head("Huffman code", |block| block.huffman("x-huffman", "value"), Served),
            head("Huffman code of all letters", |block| block.huffman("x-huffman", &all), Served),
            head("Huffman code of nothing", |block| block.octets(&[0, 1, b'x', 0x80]), Served),
            head("Huffman padding of 7 bits", |block| block.huffman("x-huffman", "00000"), Served),
            head("never to be kept", |block| block.never("authorization", "secret"), Served),
            head("a name of the table, never to be kept", |block| block.integer(0x10, 4, 23).text("secret"), Served),
            head(
                "an integer longer than it had to be",
                |block| block.octets(&[0, 1, b'x', 0x7f, 0x80, 0x00]).octets(&[b'y'; 127]),
                Open(&[COMPRESSION]),
            ),
            head(
                "the table's size at the beginning",
                |_| Block::new().resize(4096).octets(&Block::get("/row").to_bytes()),
                Served,
            ),
            head(
                "two sizes at the beginning",
                |_| Block::new().resize(0).resize(4096).octets(&Block::get("/row").to_bytes()),
                Served,
            ),
            head("an entry larger than the table", |block| block.keep("x-long", &"x".repeat(5000)), Served),
            row(
                "three parts",
                &[
                    begun(1, &Block::new().indexed(2)),
                    Frame::raw(9, 0, 1, vec![0x86]),
                    ended(1, &Block::new().plain(":path", "/row").plain(":authority", "a")),
                ],
                Served,
            ),
        ])
        .await;
    let seen = stage.instance.seen();
    let values: Vec<_> = seen.iter().filter_map(|seen| seen.header("x-huffman")).collect();
    assert_eq!(values, ["value", &all, "00000"]);
}

#[tokio::test]
async fn the_table_lives_as_long_as_the_connection() {
    let stage = Stage::new().await;
    let mut talk = stage.open(&[]).await;
    let end = |block: Block, stream| [Frame::head(stream, &block, true)];
    let blocks = [
        Block::get("/row").keep("x-a", "1").keep("x-b", "2"),
        Block::get("/row").indexed(62).indexed(63),
        // The name of an entry with another value, kept in its turn; then the table is made to hold the newest only.
        Block::get("/row").integer(0x40, 6, 63).text("3").indexed(62),
        Block::new().resize(36).octets(&Block::get("/row").indexed(62).to_bytes()),
        Block::new().resize(4096).octets(&Block::get("/row").indexed(62).to_bytes()),
    ];
    for (block, stream) in blocks.into_iter().zip([1, 3, 5, 7, 9]) {
        talk.send(&end(block, stream)).await;
        // The instance gets them by several connections: only one after the other they keep their order.
        assert_eq!(talk.answer(stream).await.status(), 200, "stream {stream}: {talk:?}");
    }
    let seen = stage.instance.seen();
    let kept: Vec<Vec<(&str, &str)>> = seen
        .iter()
        .map(|seen| {
            let pairs = seen
                .headers
                .iter()
                .filter(|(name, _)| name.as_str().starts_with("x-a") || name.as_str().starts_with("x-b"));
            let mut pairs: Vec<_> = pairs.map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
            pairs.sort_unstable();
            pairs
        })
        .collect();
    let (a, b, new) = (("x-a", "1"), ("x-b", "2"), ("x-a", "3"));
    assert_eq!(kept, [vec![a, b], vec![a, b], vec![new, new], vec![new], vec![new]]);
}

/// Our reader refuses what does not obey.
#[tokio::test]
async fn the_router_keeps_no_more_than_the_client_allows() {
    let stage = Stage::new().await;
    for sizes in [&[0][..], &[64], &[0, 4096], &[100, 0, 200], &[65_536]] {
        let mut talk = stage.open(&[]).await;
        talk.send(&[get(1)]).await;
        assert_eq!(talk.answer(1).await.status(), 200);
        for size in sizes {
            talk.configure(&[(TABLE_SIZE, *size)]).await;
        }
        assert!(talk.sync().await);
        assert_eq!(talk.acks, 1 + sizes.len());
        for stream in [3, 5, 7] {
            talk.send(&[get(stream)]).await;
            assert_eq!(talk.answer(stream).await.status(), 200, "{sizes:?}");
        }
    }
    let mut talk = stage.open(&[(TABLE_SIZE, 0)]).await;
    talk.send(&[get(1), get(3)]).await;
    assert_eq!((talk.answer(1).await.status(), talk.answer(3).await.status(), talk.reader.kept()), (200, 200, 0));
}

/// Neither side takes more in one frame than it said; the books of both look.
#[tokio::test]
async fn large_heads_are_written_in_parts() {
    let long = |letter: &str| letter.repeat(20_000);
    let answer = Block::new().indexed(8).plain("x-long", &long("a")).plain("x-last", &long("z")).to_bytes();
    let raw = Raw::start(move |socket| {
        let answer = answer.clone();
        async move {
            let mut talk = Talk::accept(socket, &[]).await;
            talk.until(|talk| !talk.streams.is_empty()).await;
            let (stream, came) = talk.streams.iter().next().expect("a stream");
            let (stream, length) = (*stream, came.field("x-long").map_or(0, str::len));
            let mut parts = answer.chunks(16_384).map(<[u8]>::to_vec);
            talk.send(&[Frame::raw(frame::HEADERS, 0, stream, parts.next().expect("a part"))]).await;
            for part in parts {
                talk.send(&[Frame::raw(frame::CONTINUATION, 0, stream, part)]).await;
            }
            talk.send(&[ended(stream, &Block::new()), Frame::data(stream, length.to_string(), true)]).await;
            talk.end().await;
        }
    })
    .await;
    let config = Config::new().service("pets", &[format!("h2c://{}", raw.addr())]);
    let router = config.set("routes", "[ { prefix: /, service: pets } ]").start();
    let mut talk = Talk::open(router.clear(), &[]).await;
    let ask = Block::get("/row").plain("x-long", &long("q")).to_bytes();
    talk.send(&[Frame::raw(frame::HEADERS, frame::END_STREAM, 1, ask.slice(..16_000))]).await;
    talk.send(&[Frame::raw(frame::CONTINUATION, frame::END_HEADERS, 1, ask.slice(16_000..))]).await;
    let came = talk.answer(1).await;
    assert_eq!((came.status(), &came.body[..]), (200, &b"20000"[..]));
    assert_eq!((came.field("x-long"), came.field("x-last")), (Some(&*long("a")), Some(&*long("z"))));
}

#[tokio::test]
async fn a_block_in_very_small_parts_is_read_or_too_much() {
    let stage = Stage::new().await;
    let block = Block::get("/row").plain("x-field", "value").to_bytes();
    for size in [1, 7, 20] {
        let mut frames = vec![Frame::raw(frame::HEADERS, frame::END_STREAM, 1, "")];
        frames.extend(block.chunks(size).map(|part| Frame::raw(frame::CONTINUATION, 0, 1, part.to_vec())));
        frames.push(ended(1, &Block::new()));
        let codes = &[CALM, COMPRESSION, PROTOCOL, INTERNAL];
        stage.check(vec![row(format!("parts of {size} octets"), &frames, Open(codes))]).await;
    }
}

#[tokio::test]
async fn a_block_that_never_ends_ends_the_connection() {
    /// More than any router should read of one head.
    const MOST: usize = 64 << 20;
    let stage = Stage::new().await;
    let field = Block::new().plain("x-field", &"v".repeat(16_000)).to_bytes();
    for (what, part) in [
        ("empty parts", Frame::raw(frame::CONTINUATION, 0, 1, "")),
        ("parts of one octet of a name", Frame::raw(frame::CONTINUATION, 0, 1, "x")),
        ("large fields", Frame::raw(frame::CONTINUATION, 0, 1, field.clone())),
        ("small fields", Frame::raw(frame::CONTINUATION, 0, 1, vec![0x82; 16_000])),
        ("a name of the greatest length", Frame::raw(frame::CONTINUATION, 0, 1, vec![b'x'; 16_384])),
    ] {
        let mut talk = stage.open(&[]).await;
        let begin = if what.contains("name") { &[0, 0x7f, 0xff, 0xff, 0xff, 0x07][..] } else { &[0x82] };
        talk.send(&[Frame::raw(frame::HEADERS, 0, 1, begin.to_vec())]).await;
        let part = part.to_bytes().repeat(100);
        let mut sent = 0;
        while talk.socket.send(&part).await.is_ok() {
            sent += part.len();
            assert!(sent < MOST, "{what}: all of it was read");
        }
        talk.end().await;
        let code = talk.away.map(|(_, code)| code);
        assert!(
            code.is_none_or(|code| [CALM, COMPRESSION, PROTOCOL, INTERNAL, SIZE].contains(&code)),
            "{what}: {code:?}"
        );
    }
    stage.serves().await;
    assert_eq!(stage.arrived(), 0);
}
