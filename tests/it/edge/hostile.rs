//! HTTP/1 heads that no client library sends: what two parsers could read differently is refused, or reaches the
//! instance as one message with one reading. And the same for HTTP/2.

use testkit::{Instance, Socket, frame, frame::Frame};

use crate::support::{Config, Running};

/// An instance that would answer anything, behind a route for everything.
async fn stage() -> (Running, Instance) {
    let instance = Instance::http().start().await;
    let config = Config::new().service("pets", &[instance.url()]);
    (config.set("routes", "[ { prefix: /, service: pets } ]").start(), instance)
}

#[tokio::test]
async fn ambiguous_heads_are_refused_and_never_reach_an_instance() {
    let (router, instance) = stage().await;
    for (head, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: user@a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        ("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX-Nul: a\0b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX-Cr: a\rb\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX Y: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", 400),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/9.1\r\nHost: a\r\n\r\n", 400),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("PRI / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", 400),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\na", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\na", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\na", 400),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405),
        ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", 400),
    ] {
        let mut socket = Socket::connect(router.clear()).await;
        socket.send(head).await.unwrap();
        let answer = socket.read_response().await.unwrap_or_else(|| panic!("no answer to {head:?}"));
        assert_eq!(answer.status(), status, "{head:?}");
    }
    assert_eq!(instance.counts().requests(), 0, "{:?}", instance.seen());
}

#[tokio::test]
async fn chunks_that_cannot_be_read_are_a_400_with_the_reason() {
    let h1 = Instance::http().start().await;
    let h2c = Instance::h2c().start().await;
    let router = Config::new().service("h1", &[h1.url()]).service("h2c", &[h2c.url()]).start();
    for (service, instance) in [("h1", &h1), ("h2c", &h2c)] {
        for chunks in
            ["zz\r\nhello\r\n0\r\n\r\n", "-1\r\n", "5\r\nhelloX\r\n0\r\n\r\n", "5\r\nhello\r\n0\r\nx y: 1\r\n\r\n"]
        {
            let mut socket = Socket::connect(router.clear()).await;
            let head =
                format!("POST / HTTP/1.1\r\nHost: a\r\nservice_id: {service}\r\nTransfer-Encoding: chunked\r\n\r\n");
            socket.send(format!("{head}{chunks}")).await.unwrap();
            let answer = socket.read_response().await.unwrap_or_else(|| panic!("no answer to {chunks:?}"));
            let reason = answer.header("x-pointsman-reason");
            assert_eq!((answer.status(), reason), (400, Some("bad_request")), "{service} {chunks:?}");
            assert!(socket.is_closed_by_peer().await, "nobody knows where it ends");
        }
        router.settled(service).await;
        assert_eq!(instance.counts().completed(), 0, "{service}");
    }
}

#[tokio::test]
async fn a_length_beside_chunks_is_dropped_and_the_connection_closes() {
    let (router, instance) = stage().await;
    let mut socket = Socket::connect(router.clear()).await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let head =
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    socket.send(format!("{head}{smuggled}")).await.unwrap();
    assert_eq!(socket.read_response().await.expect("an answer").status(), 200);
    assert!(socket.is_closed_by_peer().await, "what follows is not read as a request");
    let seen = instance.seen();
    assert_eq!((seen.len(), seen[0].path(), seen[0].body_bytes), (1, "/", 3));
    assert_eq!((seen[0].header("content-length"), seen[0].header("transfer-encoding")), (None, Some("chunked")));
}

#[tokio::test]
async fn what_the_parser_forgives_reaches_the_instance_as_one_clean_message() {
    let (router, instance) = stage().await;
    for (head, length) in [
        ("GET /x HTTP/1.1\nHost: a\n\n", None),
        ("\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n", None),
        ("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", Some("3")),
    ] {
        let mut socket = Socket::connect(router.clear()).await;
        socket.send(head).await.unwrap();
        let answer = socket.read_response().await.unwrap_or_else(|| panic!("no answer to {head:?}"));
        assert_eq!(answer.status(), 200, "{head:?}");
        let seen = instance.seen().pop().expect("a request");
        assert_eq!((seen.path(), seen.header("content-length")), ("/x", length), "{head:?}");
        assert!(seen.headers.get_all("content-length").iter().count() <= 1, "{head:?}");
    }
}

#[tokio::test]
async fn http_1_0_without_a_host_is_served_and_ends_the_connection() {
    let (router, instance) = stage().await;
    let mut socket = Socket::connect(router.clear()).await;
    socket.send("GET /old HTTP/1.0\r\n\r\n").await.unwrap();
    assert_eq!(socket.read_response().await.expect("an answer").status(), 200);
    assert!(socket.is_closed_by_peer().await);
    assert_eq!(instance.seen()[0].authority(), Some(&*instance.addr().to_string()));
}

#[tokio::test]
async fn http_2_heads_with_connection_fields_or_no_host_are_refused() {
    let (router, instance) = stage().await;
    let plain = [(":method", "GET"), (":scheme", "http"), (":path", "/")];
    let named = [plain[0], plain[1], plain[2], (":authority", "a")];
    for extra in [
        &[("connection", "close")][..],
        &[("keep-alive", "1")],
        &[("proxy-connection", "x")],
        &[("transfer-encoding", "chunked")],
        &[("upgrade", "websocket")],
        &[("te", "gzip")],
        &[("host", "b")],
        &[("Upper", "x")],
        &[("content-length", "1")],
        &[("x-nul", "a\0b")],
        &[("x-newline", "a\r\nb: c")],
    ] {
        let fields = [&named[..], extra].concat();
        check_refused(&router, &fields).await;
    }
    check_refused(&router, &plain).await;
    for (place, value) in [(0, "PRI"), (1, "gopher"), (2, "/x#/../y"), (2, "/?a#b")] {
        let mut fields = named;
        fields[place].1 = value;
        check_refused(&router, &fields).await;
    }
    assert_eq!(instance.counts().requests(), 0, "{:?}", instance.seen());
}

/// The stream is reset, or the connection given up, or the answer is an error.
async fn check_refused(router: &Running, fields: &[(&str, &str)]) {
    let mut socket = Socket::connect(router.clear()).await;
    frame::send_preface(&mut socket, &[]).await.unwrap();
    frame::send(&mut socket, &Frame::headers(1, fields, true)).await.unwrap();
    loop {
        let Some(frame) = frame::read(&mut socket).await else { return };
        match frame.kind {
            frame::RST_STREAM | frame::GOAWAY => return assert_ne!(frame.code(), 0, "{fields:?}"),
            frame::HEADERS => {
                // The status is the first field: an entry of the static table (RFC 7541, A) or a literal.
                assert_eq!(frame.payload[0], 0x8c, "{fields:?}: not 400");
                return;
            }
            _ => {}
        }
    }
}
