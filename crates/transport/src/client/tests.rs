use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use testkit::{Certs, Instance, Reply};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::*;

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

fn client(url: String) -> Client {
    Client::new(ClientSettings { body_limit: 8, ..ClientSettings::new(url) }).unwrap()
}

/// A server that answers every request of a connection with the next of these texts, then closes. Counts connections.
async fn script(answers: &'static [&'static [&'static str]]) -> (Client, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        for texts in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                for text in *texts {
                    read_head(&mut stream).await;
                    stream.write_all(text.as_bytes()).await.unwrap();
                }
            });
        }
        std::future::pending::<()>().await;
    });
    (client(url), connections)
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[tokio::test]
async fn a_connection_is_kept_for_the_next_request() {
    let (client, connections) = script(&[&[OK, OK]]).await;
    for _ in 0..2 {
        let answer = client.get("/", soon()).await.unwrap();
        assert_eq!((answer.status, &*answer.body), (StatusCode::OK, &b"ok"[..]));
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    assert!(!client.multiplexes());
}

#[tokio::test]
async fn a_socket_of_this_machine_is_spoken_to_as_localhost() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let heads = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = vec![0; 200];
        let length = stream.read(&mut head).await.unwrap();
        stream.write_all(OK.as_bytes()).await.unwrap();
        String::from_utf8_lossy(&head[..length]).to_lowercase()
    });
    let at = client(format!("unix://{}", path.display()));
    assert_eq!(at.get("/v1/x", soon()).await.unwrap().body, "ok");
    assert!(heads.await.unwrap().contains("host: localhost"));
    drop(directory);
    let error = at.get("/", soon()).await.unwrap_err();
    assert!(matches!(&error, ClientError::Unreachable { address, .. } if path.ends_with(address)), "{error}");
}

#[tokio::test]
async fn an_answer_that_does_not_end_is_read_as_it_comes() {
    let (client, _) = script(&[&["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n"]]).await;
    let mut stream = client.stream(Method::GET, "/", Bytes::new(), soon()).await.unwrap();
    assert_eq!(stream.next(soon()).await.unwrap().unwrap(), "one");
    // The script closes the connection, which is not how such an answer ends.
    let broken = stream.next(soon()).await;
    assert!(matches!(broken, Err(ClientError::Broken { step: Step::Body, .. })), "{broken:?}");
}

#[tokio::test]
async fn a_get_that_finds_its_kept_connection_closed_goes_out_anew() {
    let (client, connections) = script(&[&[OK], &[OK]]).await;
    client.get("/", soon()).await.unwrap();
    client.get("/", soon()).await.unwrap();
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_first_connection_closed_without_a_word_is_an_error_at_once() {
    let (client, connections) = script(&[&[""], &[OK]]).await;
    let error = client.get("/", soon()).await.unwrap_err();
    assert!(matches!(error, ClientError::Broken { step: Step::Head, .. }), "{error}");
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_cut_body_is_no_answer() {
    let (client, _) = script(&[&["HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nhalf"]]).await;
    let error = client.get("/", soon()).await.unwrap_err();
    assert!(matches!(error, ClientError::Broken { step: Step::Body, .. }), "{error}");
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused() {
    let (client, _) = script(&[&["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nnine char"]]).await;
    assert!(matches!(client.get("/", soon()).await, Err(ClientError::TooLarge { limit: 8, .. })));
}

#[tokio::test]
async fn silence_ends_at_the_deadline_and_names_the_step() {
    let (client, _) = script(&[&["HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", ""], &["", ""]]).await;
    for step in [Step::Body, Step::Head] {
        let error = client.get("/", Instant::now() + Duration::from_millis(100)).await.unwrap_err();
        assert!(matches!(&error, ClientError::TimedOut { step: s, .. } if *s == step), "{error}");
    }
}

#[tokio::test]
async fn a_refused_connection_names_the_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = client(format!("http://{address}")).get("/", soon()).await.unwrap_err();
    assert!(matches!(&error, ClientError::Unreachable { address: a, .. } if *a == address.to_string()), "{error}");
}

#[tokio::test]
async fn the_request_carries_host_path_and_own_headers() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut settings = ClientSettings::new(format!("http://{address}"));
    settings.headers.insert("x-token", HeaderValue::from_static("secret"));
    let client = Client::new(settings).unwrap();
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = read_head(&mut stream).await;
        let mut body = [0; 4];
        stream.read_exact(&mut body).await.unwrap();
        stream.write_all(OK.as_bytes()).await.unwrap();
        (head, body)
    };
    let request = client.put("/v1/a%20b?x=1", Bytes::from_static(b"body"), soon());
    let (answer, (head, body)) = tokio::join!(request, server);
    answer.unwrap();
    assert!(head.starts_with("PUT /v1/a%20b?x=1 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("host: {address}\r\n")) && head.contains("x-token: secret\r\n"), "{head}");
    assert_eq!(&body, b"body");
}

#[test]
fn urls_that_cannot_work_are_refused_with_the_form_to_write() {
    let relative = Client::new(ClientSettings::new("unix://docker.sock")).unwrap_err().to_string();
    assert!(relative.contains("unix:///path"), "{relative}");
    for bad in ["127.0.0.1:8500", "ftp://a", "http://a/path", "http://user@a", "http://a/?x", "", "http://"] {
        let error = Client::new(ClientSettings::new(bad)).unwrap_err().to_string();
        assert!(error.contains("http://host:port"), "{bad}: {error}");
    }
}

#[test]
fn half_a_client_certificate_is_refused() {
    let tls = TlsSettings { client_key: Some("key.pem".into()), ..TlsSettings::default() };
    let error = Client::new(ClientSettings { tls, ..ClientSettings::new("https://a") }).unwrap_err();
    assert_eq!(error, ClientError::Settings("client_key needs client_certificate".into()));
}

// === TLS ===

/// An HTTP/2 server that allows 40 streams at once and answers each request after 50 ms.
async fn h2_server(certs: &Certs) -> Instance {
    Instance::https(certs)
        .max_concurrent_streams(40)
        .on("/close", Reply::closes())
        .answer(|_| Reply::script().wait(Duration::from_millis(50)).head(200).data("ok"))
        .start()
        .await
}

fn tls_client(server: &Instance, certs: &Certs) -> Client {
    let tls = TlsSettings { ca: Some(certs.ca()), ..TlsSettings::default() };
    Client::new(ClientSettings { tls, ..ClientSettings::new(server.url()) }).unwrap()
}

async fn many(client: &Client, count: usize) {
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..count {
        let client = client.clone();
        tasks.spawn(async move { client.get("/", soon()).await.unwrap().body });
    }
    while let Some(body) = tasks.join_next().await {
        assert_eq!(&*body.unwrap(), b"ok");
    }
}

#[tokio::test]
async fn requests_share_one_http2_connection_and_open_another_at_the_stream_limit() {
    let certs = Certs::new();
    let server = h2_server(&certs).await;
    let client = tls_client(&server, &certs);
    client.get("/", soon()).await.unwrap();
    many(&client, 40).await;
    assert!(client.multiplexes());
    assert_eq!(server.counts().connections(), 1);
    many(&client, 70).await;
    assert_eq!(server.counts().connections(), 2);
}

#[tokio::test]
async fn a_broken_http2_connection_is_replaced() {
    let certs = Certs::new();
    let server = h2_server(&certs).await;
    let client = tls_client(&server, &certs);
    client.get("/", soon()).await.unwrap();
    assert!(client.get("/close", soon()).await.is_err());
    client.get("/", soon()).await.unwrap();
}

#[tokio::test]
async fn failed_handshakes_say_what_to_do() {
    let certs = Certs::new();
    let server = h2_server(&certs).await;
    let error = client(server.url()).get("/", soon()).await.unwrap_err().to_string();
    assert!(error.contains("certificate authority") && error.contains("`ca`"), "{error}");

    let tls = TlsSettings { ca: Some(certs.ca()), server_name: Some("elsewhere".into()), ..TlsSettings::default() };
    let other = Client::new(ClientSettings { tls, ..ClientSettings::new(server.url()) }).unwrap();
    let error = other.get("/", soon()).await.unwrap_err().to_string();
    assert!(error.contains("`server_name`"), "{error}");

    // A server looks at our certificate when the handshake is over for us: its alert comes in place of an answer.
    let strict = Instance::https(&certs).require_client_certificate().start().await;
    let error = tls_client(&strict, &certs).get("/", soon()).await.unwrap_err();
    assert!(matches!(error, ClientError::Refused { .. }), "{error:?}");
    assert!(error.to_string().contains("`client_certificate`"), "{error}");

    // What plain servers say to a TLS hello, and what busy ones do.
    let said = |text: &'static str| async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_u8().await.unwrap();
            stream.write_all(text.as_bytes()).await.unwrap();
        });
        client(url).get("/", soon()).await.unwrap_err()
    };
    let error = said("HTTP/1.1 400 Bad Request\r\n\r\n").await.to_string();
    assert!(error.contains("without TLS (http://)"), "{error}");
    let error = said("").await;
    assert!(matches!(error, ClientError::Broken { step: Step::Tls, .. }), "{error}");
}

#[tokio::test]
async fn a_streamed_answer_is_read_as_it_comes() {
    let (client, _) = script(&[&["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n"]]).await;
    let mut answer = client.stream(Method::POST, "/watch", Bytes::new(), soon()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.next(soon()).await.unwrap().as_deref(), Some(&b"one"[..]));
    let error = answer.next(Instant::now() + Duration::from_millis(20)).await.unwrap_err();
    // The fake has closed its end or says nothing more; either way nothing is made up.
    assert!(matches!(error, ClientError::TimedOut { .. } | ClientError::Broken { .. }), "{error}");
    let (client, _) = script(&[&["HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"]]).await;
    let mut answer = client.stream(Method::GET, "/watch", Bytes::new(), soon()).await.unwrap();
    assert_eq!(answer.next(soon()).await.unwrap().as_deref(), Some(&b"ok"[..]));
    assert_eq!(answer.next(soon()).await.unwrap(), None);
}
