use std::time::Duration;

use bytes::Bytes;
use http::Request;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    time::timeout,
};

use super::*;

/// A request as checks send it.
fn request() -> Request<Bytes> {
    Request::get("http://pets:81/health?x=1").header("x-probe", "1").body(Bytes::new()).unwrap()
}

/// What an exchange by HTTP/1.1 finds at a peer that says this once it has the request, and what that was.
async fn http1(answer: &[u8], most: usize) -> (Result<Answer, String>, String) {
    let (ours, mut theirs) = duplex(1 << 20);
    let answer = answer.to_vec();
    let peer = async move {
        let mut request = vec![0; 4096];
        let read = theirs.read(&mut request).await.unwrap();
        request.truncate(read);
        theirs.write_all(&answer).await.ok();
        String::from_utf8(request).unwrap()
    };
    tokio::join!(exchange(Box::new(ours), Version::H1, request(), most), peer)
}

#[tokio::test]
async fn a_request_by_http_1_is_in_origin_form_and_closes() {
    let (answer, request) = http1(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx: y\r\n\r\nhello", 3).await;
    let answer = answer.unwrap();
    assert_eq!(
        (answer.status.as_u16(), &answer.body[..], &answer.headers["x"]),
        (200, &b"hel"[..], &"y".parse().unwrap())
    );
    assert!(request.starts_with("GET /health?x=1 HTTP/1.1\r\n"), "{request}");
    for field in ["host: pets:81\r\n", "connection: close\r\n", "x-probe: 1\r\n"] {
        assert!(request.contains(field), "{field} in {request}");
    }
}

#[tokio::test]
async fn a_body_that_ends_with_the_connection_is_read_and_one_that_breaks_is_an_error() {
    assert_eq!(http1(b"HTTP/1.1 200 OK\r\n\r\nhel", 9).await.0.unwrap().body, "hel");
    assert!(http1(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel", 9).await.0.is_err());
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n";
    assert_eq!(http1(chunked, 5).await.0.unwrap().body, "abcde");
}

#[tokio::test]
async fn what_is_no_answer_or_too_large_a_head_is_said() {
    for answer in [&b"220 mail ESMTP\r\n"[..], b"\0\x01\x02", b""] {
        let error = http1(answer, 0).await.0.unwrap_err();
        assert!(!error.is_empty());
    }
    let huge = [b"HTTP/1.1 200 OK\r\nx: ".to_vec(), vec![b'a'; 100_000]].concat();
    assert!(http1(&huge, 0).await.0.unwrap_err().contains("too large"));
}

/// Serves one request over HTTP/2 with the h2 crate.
async fn http2(theirs: DuplexStream, body: &'static [u8], trailers: bool) -> http::request::Parts {
    let mut connection = ::h2::server::handshake(theirs).await.unwrap();
    let (request, mut respond) = connection.accept().await.unwrap().unwrap();
    let mut stream = respond.send_response(http::Response::new(()), false).unwrap();
    stream.send_data(Bytes::from_static(body), !trailers).unwrap();
    if trailers {
        stream.send_trailers([("grpc-status".parse().unwrap(), "0".parse().unwrap())].into_iter().collect()).unwrap();
    }
    while connection.accept().await.is_some() {}
    request.into_parts().0
}

#[tokio::test]
async fn an_answer_by_http_2_has_its_trailers() {
    let (ours, theirs) = duplex(1 << 16);
    let serving = tokio::spawn(http2(theirs, b"hello", true));
    let answer = exchange(Box::new(ours), Version::H2, request(), 100).await.unwrap();
    assert_eq!((&answer.body[..], &answer.trailers["grpc-status"]), (&b"hello"[..], &"0".parse().unwrap()));
    let request = serving.await.unwrap();
    assert_eq!(request.uri.to_string(), "http://pets:81/health?x=1");
    assert!(!request.headers.contains_key("connection"));
}

#[tokio::test]
async fn of_a_long_body_by_http_2_only_the_beginning_is_read() {
    let (ours, theirs) = duplex(1 << 16);
    let serving = tokio::spawn(http2(theirs, &[b'a'; 200_000], false));
    let answer = timeout(Duration::from_secs(5), exchange(Box::new(ours), Version::H2, request(), 70_000)).await;
    assert_eq!(answer.unwrap().unwrap().body.len(), 70_000, "more than a window");
    timeout(Duration::from_secs(5), serving).await.unwrap().unwrap();
}
