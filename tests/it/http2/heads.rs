//! Heads and their bodies: what is malformed reaches no instance, and ends its stream at most.

use testkit::{frame::Frame, hpack::Block};

use super::{
    stage::{Due, Row, Stage, get, post, post_block, row},
    talk::{CANCEL, PROTOCOL},
};
use Due::{Malformed, Open, Served, Stream};

/// A whole head of exactly these fields.
fn head(what: &str, fields: &[(&str, &str)], due: Due) -> Row {
    let block = fields.iter().fold(Block::new(), |block, (name, value)| block.plain(name, value));
    row(what, &[Frame::head(1, &block, true)], due)
}

const METHOD: (&str, &str) = (":method", "GET");
const SCHEME: (&str, &str) = (":scheme", "http");
const AUTHORITY: (&str, &str) = (":authority", "a");
const PATH: (&str, &str) = (":path", "/row");

#[tokio::test]
async fn pseudo_fields_are_whole_and_come_first() {
    let stage = Stage::new().await;
    stage
        .check(vec![
            head("all four", &[METHOD, SCHEME, AUTHORITY, PATH], Served),
            head("in another order", &[PATH, AUTHORITY, METHOD, SCHEME], Served),
            head("host in the place of :authority", &[METHOD, SCHEME, PATH, ("host", "a")], Served),
            head("no :method", &[SCHEME, AUTHORITY, PATH], Malformed),
            head("no :scheme", &[METHOD, AUTHORITY, PATH], Malformed),
            head("no :path", &[METHOD, SCHEME, AUTHORITY], Malformed),
            head("nothing", &[], Malformed),
            head("two of :method", &[METHOD, METHOD, SCHEME, AUTHORITY, PATH], Malformed),
            head("two of :scheme", &[METHOD, SCHEME, SCHEME, AUTHORITY, PATH], Malformed),
            head("two of :authority", &[METHOD, SCHEME, AUTHORITY, AUTHORITY, PATH], Malformed),
            head("two of :path", &[METHOD, SCHEME, AUTHORITY, PATH, PATH], Malformed),
            head("an unknown one", &[METHOD, SCHEME, AUTHORITY, PATH, (":extra", "1")], Malformed),
            head(":protocol without being asked", &[METHOD, SCHEME, AUTHORITY, PATH, (":protocol", "x")], Malformed),
            head(":status", &[METHOD, SCHEME, AUTHORITY, PATH, (":status", "200")], Malformed),
            head("one behind a field", &[METHOD, SCHEME, AUTHORITY, ("x-field", "1"), PATH], Malformed),
            head("an empty :path", &[METHOD, SCHEME, AUTHORITY, (":path", "")], Malformed),
            head("an empty :method", &[(":method", ""), SCHEME, AUTHORITY, PATH], Malformed),
            head("an empty :authority and no host", &[METHOD, SCHEME, (":authority", ""), PATH], Malformed),
            head("a :path without its slash", &[METHOD, SCHEME, AUTHORITY, (":path", "row")], Malformed),
            head("a :path with a space", &[METHOD, SCHEME, AUTHORITY, (":path", "/row x")], Malformed),
            head("a :path with a line", &[METHOD, SCHEME, AUTHORITY, (":path", "/row HTTP/1.1\r\nx: y")], Malformed),
            head("a :method with a space", &[(":method", "GET /row"), SCHEME, AUTHORITY, PATH], Malformed),
            head("an :authority with a line", &[METHOD, SCHEME, (":authority", "a\r\nx: y"), PATH], Malformed),
            head("an :authority with a user", &[METHOD, SCHEME, (":authority", "u@a"), PATH], Malformed),
            head("a :scheme with a space", &[METHOD, (":scheme", "ht tp"), AUTHORITY, PATH], Malformed),
            head("another host", &[METHOD, SCHEME, AUTHORITY, PATH, ("host", "b")], Malformed),
        ])
        .await;
}

#[tokio::test]
async fn fields_are_fields_of_http_2() {
    let stage = Stage::new().await;
    let with = |what: &str, name: &str, value: &str, due| {
        row(what, &[Frame::head(1, &Block::get("/row").plain(name, value), true)], due)
    };
    let mut rows = vec![
        with("te: trailers", "te", "trailers", Served),
        with("te: gzip", "te", "gzip", Malformed),
        with("a length of no body", "content-length", "0", Served),
        with("a length of a body that does not come", "content-length", "1", Malformed),
        with("a length that is none", "content-length", "x", Malformed),
        with("a length below nothing", "content-length", "-1", Malformed),
        with("an empty value", "x-empty", "", Served),
        with("octets above ASCII", "x-text", "\u{e9}", Served),
        with("a tab", "x-tab", "a\tb", Served),
        with("no name", "", "x", Malformed),
        with("a space before a value", "x-space", " a", Open(&[PROTOCOL])),
        with("a space behind a value", "x-space", "a ", Open(&[PROTOCOL])),
    ];
    for name in ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"] {
        rows.push(with(name, name, if name == "connection" { "te" } else { "chunked" }, Malformed));
    }
    for name in ["Upper", "x y", "x\r\ny", "x\0", "x:y", "x\n", "x\u{7f}", "x\u{e9}", " x", "x "] {
        rows.push(with(&format!("the name {name:?}"), name, "1", Malformed));
    }
    for value in ["a\0b", "a\rb", "a\nb", "a\r\nb: c", "\0", "a\n"] {
        rows.push(with(&format!("the value {value:?}"), "x-field", value, Malformed));
    }
    let twice = Block::get("/row").plain("content-length", "0").plain("content-length", "1");
    rows.push(row("two lengths", &[Frame::head(1, &twice, true)], Malformed));
    stage.check(rows).await;
}

/// The head may have reached the instance; the request does not, as a whole.
#[tokio::test]
async fn bodies_are_as_long_as_they_say() {
    let stage = Stage::new().await;
    let post = |length: &str| Frame::head(1, &post_block().plain("content-length", length), false);
    let data = |bytes: &'static str, end| Frame::data(1, bytes, end);
    let trailers = Frame::head(1, &Block::new().plain("x-late", "1"), true);
    stage
        .check(vec![
            row("right", &[post("4"), data("body", true)], Served),
            row("right, in parts", &[post("4"), data("bo", false), data("", false), data("dy", true)], Served),
            row("right, with trailers", &[post("4"), data("body", false), trailers.clone()], Served),
            row("right, with padding", &[post("4"), data("body", true).padded(9)], Served),
        ])
        .await;
    let complete = stage.instance.counts().completed();
    stage
        .check(vec![
            row("too short", &[post("5"), data("body", true)], Stream(&[PROTOCOL])),
            row("too long", &[post("3"), data("body", true)], Stream(&[PROTOCOL])),
            row("too long at once", &[post("3"), data("body", false)], Stream(&[PROTOCOL])),
            row(
                "too long with its second part",
                &[post("3"), data("bod", false), data("y", true)],
                Stream(&[PROTOCOL]),
            ),
            row("nothing of it", &[post("5"), data("", true)], Stream(&[PROTOCOL])),
            row("too short, with trailers", &[post("5"), data("body", false), trailers], Stream(&[PROTOCOL])),
        ])
        .await;
    let rows = stage.instance.seen().iter().filter(|seen| seen.path() == "/row").count() as u64;
    let probes = stage.instance.seen().len() as u64 - rows;
    assert!(stage.instance.counts().completed() <= complete + probes, "one that does not fit was served");
}

#[tokio::test]
async fn trailers_are_fields_and_the_end() {
    let stage = Stage::new().await;
    let with = |what: &str, block: Block, end, due| {
        row(what, &[post(1), Frame::data(1, "x", false), Frame::head(1, &block, end)], due)
    };
    let plain = |name, value| Block::new().plain(name, value);
    stage
        .check(vec![
            with("right", plain("x-late", "1"), true, Served),
            with("of nothing", Block::new(), true, Served),
            with("without the end", plain("x-late", "1"), false, Stream(&[PROTOCOL])),
            // The standard has them malformed, the h2 crate drops the field.
            with("with :path", plain(":path", "/"), true, Open(&[PROTOCOL])),
            with("with :status", plain(":status", "200"), true, Open(&[PROTOCOL])),
            with("with an upper-case name", plain("Upper", "1"), true, Stream(&[PROTOCOL])),
            with("with connection", plain("connection", "close"), true, Stream(&[PROTOCOL])),
            row("without a body", &[post(1), Frame::head(1, &plain("x-late", "1"), true)], Served),
            row("where a second head would be", &[post(1), get(1)], Open(&[PROTOCOL])),
        ])
        .await;
}

#[tokio::test]
async fn crumbs_of_cookies_become_one_field_for_http_1() {
    let stage = Stage::new().await;
    let mut talk = stage.open(&[]).await;
    let block = Block::get("/row").plain("cookie", "a=1").plain("x-between", "1").plain("cookie", "b=2");
    talk.send(&[Frame::head(1, &block.never("cookie", "c=3"), true)]).await;
    assert_eq!(talk.answer(1).await.status(), 200);
    let seen = stage.instance.seen();
    let cookies: Vec<_> = seen[0].headers.get_all("cookie").iter().collect();
    assert_eq!(cookies, ["a=1; b=2; c=3"]);
}

#[tokio::test]
async fn a_malformed_request_leaves_the_others_alone() {
    let stage = Stage::new().await;
    let mut talk = stage.open(&[]).await;
    talk.send(&[post(1)]).await;
    for stream in (3..63).step_by(2) {
        let bad = Block::get("/bad").keep("x-kept", &stream.to_string()).plain("Upper", "1");
        talk.send(&[Frame::head(stream, &bad, true), Frame::reset(stream, CANCEL)]).await;
    }
    talk.send(&[Frame::head(63, &Block::get("/row").indexed(62), true), Frame::data(1, "end", true)]).await;
    let (late, early) = (talk.answer(63).await, talk.answer(1).await);
    if talk.away.is_none() {
        assert_eq!((late.status(), early.status(), early.ended), (200, 200, true), "{talk:?}");
        assert_eq!(late.json()["headers"].to_string().matches("\"x-kept\",\"61\"").count(), 1, "{late:?}");
    }
    assert!(stage.instance.seen().iter().all(|seen| seen.path() != "/bad"));
}
